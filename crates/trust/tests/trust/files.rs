//! Policy files: what they say is what is asked for, and what is misspelt or missing is refused.

use std::path::PathBuf;

use serde_json::json;
use skep_trust::Error;
use skep_trust::KeySigner;
use skep_trust::Policy;
use skep_trust::PolicyFile;
use skep_trust::PrivateKey;
use skep_trust::SignOptions;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn policy(text: &str) -> Result<Policy, Error> {
    PolicyFile::parse(text, &fixtures())?.policy()
}

fn accepted(text: &str) -> Policy {
    policy(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn files_of_meigma_blob_are_read() {
    let files = [
        "
signature:
  keyless:
    issuer: https://token.actions.githubusercontent.com
    identity: https://github.com/acme/*/.github/workflows/*
provenance:
  slsa:
    repository: acme/configs
    branch: main
    tag: v*
",
        "provenance:\n  slsa:\n    repository: acme/configs\n    branch: main\n",
        "provenance:\n  slsa:\n    builder: https://github.com/slsa-framework/slsa-github-generator\n",
        "signature:\n  key:\n    path: keys/p256.pub\n",
    ];
    for text in files {
        accepted(text);
    }
}

#[test]
fn everything_that_can_be_said_is_read() {
    accepted(
        r#"
# Comments are fine.
trusted-root: [sigstore, github]
all-of:
  - any-of:
      - signature:
          keyless:
            - {issuer: https://accounts.acme.example, identity: "*@acme.example"}
            - issuer-regex: https://(a|b)\.acme\.example
              identity-regex: .*@acme\.example
              claims: {repository: "https://github.com/acme/*", ref: [refs/heads/main, "refs/tags/v*"], trigger: push}
      - signature:
          key: [{path: keys/p256.pub}, {path: keys/rsa.pub}]
          require-log: true
  - at-least:
      count: 2
      of:
        - attestation: {type: https://acme.example/tests, by: {gitlab: {project: acme/deep/site, branch: main}}}
        - attestation: {type: https://acme.example/scan, by: {anyone: true}}
        - provenance:
            slsa:
              repository: https://github.com/acme/site
              builder: https://github.com/acme/builder/.github/workflows/build.yml@refs/tags/v1
              workflow: release.yml
              ref: [refs/heads/main]
              tag: ["v*"]
  - not:
      attestation:
        type: https://acme.example/recall
        by: {github-actions: {repository: acme/*, workflow: recall.yml, trigger: workflow_dispatch, runner: github-hosted}}
"#,
    );
}

/// The line that is wrong, and a piece of what is said of it.
#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    let key = "key: {path: keys/p256.pub}";
    let cases = [
        ("".to_owned(), 1, ""),
        ("# nothing\n".to_owned(), 1, ""),
        ("{}".to_owned(), 1, "nothing is asked for"),
        ("null".to_owned(), 1, ""),
        ("- signature".to_owned(), 1, ""),
        ("signature".to_owned(), 1, ""),
        ("trusted-root: sigstore".to_owned(), 1, "nothing is asked for"),
        (format!("signatures:\n  {key}\n"), 1, "signatures"),
        (format!("signature:\n  {key}\nprovenence:\n  slsa: {{repository: a/b}}\n"), 3, "provenence"),
        (format!("signature:\n  {key}\nsignature:\n  {key}\n"), 3, "duplicate"),
        (format!("signature:\n  {key}\n---\nsignature:\n  {key}\n"), 3, ""),
        ("signature:\n".to_owned(), 1, ""),
        ("signature: {}\n".to_owned(), 1, "whose signatures count"),
        ("signature: yes\n".to_owned(), 1, ""),
        ("signature:\n  anyone: false\n".to_owned(), 2, "whose signatures count"),
        (format!("signature:\n  anyone: true\n  {key}\n"), 2, "got both"),
        ("signature:\n  anyone: maybe\n".to_owned(), 2, ""),
        ("signature:\n  keyless:\n".to_owned(), 2, ""),
        ("signature:\n  keyless: []\n".to_owned(), 2, "empty"),
        ("signature:\n  keyless: {}\n".to_owned(), 2, "wanted identity"),
        ("signature:\n  keyless:\n    identity: a@b\n".to_owned(), 2, "wanted issuer"),
        ("signature:\n  keyless:\n    issuer: https://a.example\n".to_owned(), 2, "wanted identity"),
        ("signature:\n  keyless:\n    issuer: https://a.example\n    identity:\n".to_owned(), 4, ""),
        ("signature:\n  keyless:\n    issuer: https://a.example\n    identity: ''\n".to_owned(), 2, "wanted identity"),
        ("signature:\n  keyless:\n    issuer: https://a.example\n    identity: [a]\n".to_owned(), 4, ""),
        ("signature:\n  keyless:\n    issuer: https://a.example\n    identity: 12\n".to_owned(), 4, ""),
        ("signature:\n  keyless:\n    issuer: https://a.example\n    subject: a@b\n".to_owned(), 4, "subject"),
        ("signature:\n  keyless: {issuer: a, identity: b, identity-regex: c}\n".to_owned(), 2, "got both"),
        ("signature:\n  keyless: {issuer: a, identity-regex: (}\n".to_owned(), 2, ""),
        ("signature:\n  keyless: {issuer: a, identity: b, claims: {}}\n".to_owned(), 2, "claims"),
        ("signature:\n  keyless: {issuer: a, identity: b, claims: {event: push}}\n".to_owned(), 2, "event"),
        ("signature:\n  key: {}\n".to_owned(), 2, "either path or pem"),
        ("signature:\n  key: {path: keys/p256.pub, pem: x}\n".to_owned(), 2, "either path or pem"),
        ("signature:\n  key: {path: keys/missing.pub}\n".to_owned(), 2, "missing.pub"),
        ("signature:\n  key: {path: keys/p256.pkcs8.pem}\n".to_owned(), 2, "p256.pkcs8.pem"),
        ("signature:\n  key: {url: https://acme.example/key.pub}\n".to_owned(), 2, "not fetched"),
        ("signature:\n  github-actions: {repository: acme}\n".to_owned(), 2, "owner/name"),
        ("signature:\n  github-actions: {repository: acme/site, branch: []}\n".to_owned(), 2, "empty"),
        ("signature:\n  github-actions: {branch: main}\n".to_owned(), 2, "repository"),
        ("signature:\n  gitlab: {project: site}\n".to_owned(), 2, "group/project"),
        (format!("signature:\n  {key}\n  trusted-root: missing.json\n"), 2, "missing.json"),
        (format!("signature:\n  {key}\n  trusted-root: {{}}\n"), 3, "file"),
        ("attestation: {type: https://a.example}\n".to_owned(), 1, "whose signatures count"),
        (format!("attestation: {{type: '', by: {{{key}}}}}\n"), 1, "type"),
        (format!("attestation: {{by: {{{key}}}}}\n"), 1, "type"),
        ("provenance:\n".to_owned(), 1, ""),
        ("provenance: {}\n".to_owned(), 1, "slsa"),
        ("provenance:\n  slsa: {}\n".to_owned(), 2, "repository or a builder"),
        ("provenance:\n  slsa:\n    branch: main\n".to_owned(), 3, "repository or a builder"),
        ("provenance:\n  slsa: {repository: acme}\n".to_owned(), 2, "owner/name"),
        ("provenance:\n  slsa: {repository: https://gitlab.com/acme/site}\n".to_owned(), 2, "whose signatures count"),
        ("provenance:\n  slsa: {builder: https://acme.example}\n".to_owned(), 2, "whose signatures count"),
        ("provenance:\n  slsa: {repository: acme/site, tag: 1.0}\n".to_owned(), 2, ""),
        ("provenance:\n  source_repo: acme/site\n".to_owned(), 2, "source_repo"),
        ("all-of: []\n".to_owned(), 1, "empty"),
        ("any-of:\n".to_owned(), 1, ""),
        ("any-of:\n  - {}\n".to_owned(), 2, "nothing is asked for"),
        (format!("signature: {{{key}}}\nany-of:\n  - signature: {{{key}}}\n  -\n"), 4, ""),
        ("at-least: {count: 1, of: []}\n".to_owned(), 1, "empty"),
        (format!("at-least:\n  count: 0\n  of: [{{signature: {{{key}}}}}]\n"), 2, "count"),
        (format!("at-least:\n  count: 2\n  of: [{{signature: {{{key}}}}}]\n"), 2, "count"),
        (format!("at-least:\n  count: -1\n  of: [{{signature: {{{key}}}}}]\n"), 2, ""),
        ("not:\n".to_owned(), 1, ""),
        ("not: {}\n".to_owned(), 1, "nothing is asked for"),
        ("rego: {file: policy.rego}\n".to_owned(), 1, "whose signatures count"),
        (format!("signature: &a\n  {key}\nnot:\n  signature:\n    <<: *a\n"), 5, ""),
        (format!("signature: !include\n  {key}\n"), 1, ""),
        ("signature: *nothing\n".to_owned(), 1, ""),
        ("signature: {key: [\n".to_owned(), 1, ""),
        ("\tsignature: {}\n".to_owned(), 1, ""),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|(text, line, piece)| {
            let Err(Error::Policy { what, why }) = policy(text) else {
                return Some(format!("this was taken:\n{text}"));
            };
            let came: usize = what.strip_prefix("policy:")?.parse().ok()?;
            // Some are only noticed in the line after.
            let is_right = why.contains(piece) && came.abs_diff(*line) <= 1 && !why.contains(" line ");
            (!is_right).then(|| format!("wanted line {line} and {piece:?}, got {what}: {why:?}:\n{text}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_bounded() {
    let nested = format!("{}{{signature: {{anyone: true}}}}{}", "{not: ".repeat(100), "}".repeat(100));
    let bomb = format!("all-of: &a [{}]\nany-of: [*a, *a]\n", "{not: {not: {signature: {anyone: true}}}},".repeat(400));
    let large = format!("# {}\nsignature: {{anyone: true}}\n", "a".repeat(300 << 10));
    let anchors: String = (0..100).map(|number| format!("  - &a{number} {{signature: {{anyone: true}}}}\n")).collect();
    for text in [nested, bomb, large, format!("all-of:\n{anchors}")] {
        let start = std::time::Instant::now();
        assert!(policy(&text).is_err(), "{}", &text[..200]);
        assert!(start.elapsed().as_secs() < 2);
    }
}

#[test]
fn a_file_that_is_not_there_is_refused_by_its_name() {
    let path = fixtures().join("missing.yaml");
    let Err(Error::Policy { what, .. }) = PolicyFile::read(&path) else { panic!("it is not there") };
    assert_eq!(what, path.display().to_string());
    assert!(PolicyFile::read(&fixtures()).is_err());
}

#[tokio::test]
async fn a_key_in_a_file_decides() {
    let (registry, subject) = site().await;
    let key = PrivateKey::from_pem(&text("keys/p256.pkcs8.pem"), None).unwrap();
    let named = accepted("signature: {key: {path: keys/p256.pub}}");
    let other = accepted("signature: {key: {path: keys/rsa.pub}}");
    let written = serde_json::to_string(&text("keys/p256.pub")).unwrap();
    let written = accepted(&format!("signature: {{key: {{pem: {written}}}}}"));
    assert!(!decide(&named, &registry, &subject).await.is_allowed());
    sign(&registry, &repo(), &subject, &KeySigner::new(key), &SignOptions::default()).await.unwrap();
    assert!(decide(&named, &registry, &subject).await.is_allowed());
    assert!(decide(&written, &registry, &subject).await.is_allowed());
    assert!(!decide(&other, &registry, &subject).await.is_allowed());
    let either =
        accepted("any-of: [{signature: {key: {path: keys/p256.pub}}}, {signature: {key: {path: keys/rsa.pub}}}]");
    assert!(decide(&either, &registry, &subject).await.is_allowed());
    let both = "{count: 2, of: [{signature: {key: {path: keys/p256.pub}}}, {signature: {key: {path: keys/rsa.pub}}}]}";
    assert!(!decide(&accepted(&format!("at-least: {both}")), &registry, &subject).await.is_allowed());
    let not =
        accepted("signature: {key: {path: keys/p256.pub}}\nnot: {attestation: {type: https://acme.example/recall}}");
    assert!(decide(&not, &registry, &subject).await.is_allowed());
    let key = PrivateKey::from_pem(&text("keys/p256.pkcs8.pem"), None).unwrap();
    attested(&registry, &subject, "https://acme.example/recall", &json!({}), &KeySigner::new(key)).await;
    assert!(!decide(&not, &registry, &subject).await.is_allowed());
}

/// The provenance of a repository counts when a workflow of that repository signed it.
#[tokio::test]
async fn provenance_without_signers_is_that_of_the_repositorys_workflows() {
    let sigstore = Sigstore::start().await.unwrap();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("policy-files");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("root.json"), sigstore.trusted_root()).unwrap();
    let slsa = "trusted-root: {file: root.json, log: true, certificate-log: true, timestamp: false}\nprovenance: {slsa: {repository: acme/site, branch: main}}\n";
    std::fs::write(directory.join("policy.yaml"), slsa).unwrap();
    let policy = PolicyFile::read(&directory.join("policy.yaml")).unwrap().policy().unwrap();
    let (main, path) = ("refs/heads/main", ".github/workflows/release.yml");
    let content = provenance("https://github.com/acme/site", main, path);
    let cases = [
        (Who::workflow("acme/site", "release.yml", main), true),
        (Who::workflow("acme/site", "release.yml", "refs/heads/feature"), false),
        (Who::workflow("acme/site-evil", "release.yml", main), false),
        (Who::person(EMAIL), false),
    ];
    for (who, is_allowed) in cases {
        let (registry, subject) = site().await;
        attested(&registry, &subject, SLSA_V1, &content, &signer(&sigstore, sigstore.services(), &who)).await;
        let decision = decide(&policy, &registry, &subject).await;
        assert_eq!(decision.is_allowed(), is_allowed, "{decision}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
