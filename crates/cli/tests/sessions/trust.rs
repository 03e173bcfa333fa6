//! Sessions with signatures: sign, attest, verify, and what is refused.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::desk::Came;
use crate::desk::Desk;
use crate::desk::Served;
use crate::desk::field;

const PASSWORD: &str = "correct-horse";

/// Runs a command that knows the password of keys.
fn run(desk: &Desk, line: &str) -> Came {
    let came = Came::from(desk.command(line).env("SKEP_KEY_PASSWORD", PASSWORD).output().unwrap());
    assert!(!came.out.contains(PASSWORD) && !came.err.contains(PASSWORD), "{came:?}");
    came
}

fn ok(desk: &Desk, line: &str) -> String {
    let came = run(desk, line);
    assert_eq!(came.exit, 0, "{line}: {}{}", came.out, came.err);
    came.out
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// A desk with a key pair, and a signed site in a layout.
fn signed() -> Desk {
    let desk = Desk::new();
    ok(&desk, "generate-key-pair --output-prefix k");
    desk.ok("push site oci:store:v1");
    ok(&desk, "sign --key k.key oci:store:v1");
    desk
}

/// A Sigstore that names one identity, and the flags to sign and verify by it.
struct Sigstore {
    served: Served,
    sign: &'static str,
    verify: String,
}

fn sigstore(desk: &Desk, who: &str) -> Sigstore {
    let served = desk.serve(&format!("dev sigstore --out own --identity {who}"));
    let sign = "--signing-config own/signing_config.json --identity-token own/token";
    let verify = "--trusted-root own/trusted_root.json".to_owned();
    Sigstore { served, sign, verify }
}

#[test]
fn what_a_key_signed_is_verified_by_its_other_half() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    ok(&desk, "generate-key-pair --output-prefix k");
    for site in ["oci:store:v1".to_owned(), format!("{}/team/site:v1", served.addr)] {
        let digest = field(&desk.ok(&format!("push --json site {site}")), "digest");
        for format in ["statement", "message"] {
            let answer = json(&ok(&desk, &format!("sign --json --key k.key --format {format} {site}")));
            assert_eq!((&answer["schema"], &answer["digest"]), (&"skep/sign/v1".into(), &digest.as_str().into()));
            assert_eq!(answer["ref"], format!("{}@{digest}", site.strip_suffix(":v1").unwrap()));
            assert!(answer["signer"].as_str().unwrap().starts_with("key sha256:"), "{answer}");
            let referrers = desk.ok(&format!("referrers {site}"));
            assert!(referrers.contains(answer["referrer"].as_str().unwrap()), "{referrers}");
        }
        let said = ok(&desk, &format!("verify --key k.pub {site}"));
        for words in ["allowed: ", &digest, "signature by key sha256:", "checked: ", "subject"] {
            assert!(said.contains(words), "{words} in {said}");
        }
        // By its digest, too, and with a key of somebody else beside.
        ok(&desk, "generate-key-pair --output-prefix other");
        ok(&desk, &format!("verify --key other.pub --key k.pub {site}@{digest}"));
        let came = run(&desk, &format!("verify --key other.pub {site}"));
        assert!(came.exit == 5 && came.out.starts_with("denied: ") && came.err.starts_with("error: "), "{came:?}");
        assert!(came.out.contains("nearest: "), "{came:?}");
        for file in ["other.key", "other.pub"] {
            fs::remove_file(desk.path(file)).unwrap();
        }
    }
}

#[test]
fn policies_are_explained() {
    let desk = signed();
    fs::write(desk.path("p.yaml"), "signature:\n  key:\n    path: k.pub\n").unwrap();
    ok(&desk, "generate-key-pair --output-prefix other");
    let said = ok(&desk, "verify --policy p.yaml oci:store:v1");
    assert!(said.starts_with("allowed: ") && said.contains("signature by key sha256:"), "{said}");
    // What the command line accepts does not take the place of a policy.
    for line in ["verify --policy p.yaml --key other.pub", "verify --key other.pub --policy p.yaml"] {
        let came = run(&desk, &format!("{line} oci:store:v1"));
        assert!(came.exit == 5 && came.out.contains("no: all of") && came.out.contains("yes: "), "{came:?}");
    }
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    let config = "[[policy]]\nreferences = ['**']\nfile = '../../p.yaml'\n";
    fs::write(desk.path(".config/skep/config.toml"), config).unwrap();
    ok(&desk, "verify oci:store:v1");
    fs::write(desk.path("site/index.html"), "new").unwrap();
    ok(&desk, "push site oci:store:v2");
    let came = run(&desk, "verify oci:store:v2");
    assert!(came.exit == 5 && came.out.starts_with("denied: "), "{came:?}");
    // It can be signed, so that it is allowed.
    ok(&desk, "sign --key k.key oci:store:v2");
    ok(&desk, "verify oci:store:v2");
    ok(&desk, "cat oci:store:v2 index.html");
}

#[test]
fn an_answer_in_json_says_who_and_why() {
    let desk = signed();
    let answer = json(&ok(&desk, "verify --json --key k.pub oci:store:v1"));
    let digest = desk.ok("digest oci:store:v1");
    assert_eq!(answer["schema"], "skep/verify/v1");
    assert_eq!((&answer["allowed"], &answer["digest"]), (&true.into(), &digest.trim().into()));
    let outcome = &answer["outcome"];
    assert_eq!((&outcome["rule"], &outcome["verdict"]), (&"signature".into(), &"allow".into()));
    let by = &outcome["by"][0];
    assert!(by["signer"]["key"]["fingerprint"].as_str().unwrap().starts_with("sha256:"), "{answer}");
    assert!(by["checks"].as_array().unwrap().contains(&"signature".into()), "{answer}");
    ok(&desk, "generate-key-pair --output-prefix other");
    let came = run(&desk, "verify --json --key other.pub oci:store:v1");
    assert_eq!((came.exit, &json(&came.out)["allowed"]), (5, &false.into()));
    let said = json(&came.err);
    assert_eq!((&said["code"], &said["exit"]), (&"policy".into(), &5.into()));
}

#[test]
fn another_manifest_under_the_tag_is_not_signed() {
    let desk = signed();
    let digest = desk.ok("digest oci:store:v1").trim().to_owned();
    fs::write(desk.path("site/index.html"), "<h1>evil</h1>\n").unwrap();
    desk.ok("push site oci:store:v1");
    let came = run(&desk, "verify --key k.pub oci:store:v1");
    assert_eq!((came.exit, came.out.contains(&digest)), (5, false), "{came:?}");
    ok(&desk, &format!("verify --key k.pub oci:store@{digest}"));
    // A tag beside a digest changes nothing.
    ok(&desk, &format!("verify --key k.pub oci:store:v1@{digest}"));
}

#[test]
fn what_is_signed_under_a_tag_is_what_the_registry_has_now() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    ok(&desk, "generate-key-pair --output-prefix k");
    desk.ok(&format!("push site {site}"));
    desk.ok(&format!("ls --tag-lifetime 1h {site}"));
    // Somebody else, with a cache of their own, moves the tag.
    fs::write(desk.path("site/new"), "new").unwrap();
    let new = field(&desk.ok(&format!("push --json --cache-dir elsewhere site {site}")), "digest");
    let signed = ok(&desk, &format!("sign --json --tag-lifetime 1h --key k.key {site}"));
    assert_eq!(field(&signed, "digest"), new);
    let came = run(&desk, &format!("sign --offline --key k.key {site}"));
    assert!(came.exit == 7 && came.err.contains("offline"), "{came:?}");
}

#[test]
fn keys_are_never_overwritten() {
    let desk = Desk::new();
    let answer = json(&ok(&desk, "generate-key-pair --json --output-prefix k.v1"));
    assert_eq!((&answer["private_key"], &answer["public_key"]), (&"k.v1.key".into(), &"k.v1.pub".into()));
    let mode = |path| fs::metadata(desk.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("k.v1.key"), 0o600);
    let texts = ["k.v1.key", "k.v1.pub"].map(|path| fs::read_to_string(desk.path(path)).unwrap());
    assert!(texts[0].starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"), "{}", texts[0]);
    assert!(texts[1].starts_with("-----BEGIN PUBLIC KEY-----"), "{}", texts[1]);
    let came = run(&desk, "generate-key-pair --output-prefix k.v1");
    assert!(came.exit == 6 && came.err.contains("k.v1.key is there already"), "{came:?}");
    fs::remove_file(desk.path("k.v1.key")).unwrap();
    assert_eq!(run(&desk, "generate-key-pair --output-prefix k.v1").exit, 6);
    assert!(!desk.path("k.v1.key").exists());
    assert_eq!(fs::read_to_string(desk.path("k.v1.pub")).unwrap(), texts[1]);
    // Nobody says the password, and there is no terminal.
    let came = Came::from(desk.command("generate-key-pair").stdin(Stdio::null()).output().unwrap());
    assert!(came.exit == 2 && came.err.contains("SKEP_KEY_PASSWORD"), "{came:?}");
    assert!(!desk.path("cosign.key").exists());
}

#[test]
fn keys_open_with_their_password_only() {
    let desk = signed();
    let with = |variables: &[(&str, &str)], key: &str| {
        let mut command = desk.command(&format!("sign --key {key} oci:store:v1"));
        Came::from(command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap())
    };
    assert_eq!(with(&[("COSIGN_PASSWORD", PASSWORD)], "k.key").exit, 0);
    // The own variable goes before cosign's, also when it is wrong.
    let both = [("COSIGN_PASSWORD", PASSWORD), ("SKEP_KEY_PASSWORD", "s3cret-guess")];
    for (variables, words) in [(&both[..], "password is wrong"), (&[], "no terminal")] {
        let came = with(variables, "k.key");
        assert!(came.exit == 2 && came.err.contains(words) && !came.err.contains("s3cret-guess"), "{came:?}");
    }
    for (key, exit) in [("k.pub", 2), ("nothing", 12), ("site/css.txt", 2)] {
        let came = with(&both, key);
        assert!(came.exit == exit && came.err.contains(key), "{came:?}");
    }
    assert_eq!(desk.run("verify --key k.key oci:store:v1").exit, 2);
}

#[test]
fn an_identity_signs_and_is_verified() {
    let desk = Desk::new();
    let own = sigstore(&desk, "dev@acme.example");
    let (issuer, trust) = (format!("http://{}", own.served.addr), &own.verify);
    desk.ok("push site oci:store:v1");
    let signed = json(&desk.ok(&format!("sign --json {} oci:store:v1", own.sign)));
    assert_eq!(signed["signer"], "dev@acme.example");
    for who in [
        format!("--identity dev@acme.example --issuer {issuer}"),
        format!("--identity glob:*@acme.example --issuer {issuer}"),
        "--identity regex:(dev|ops)@acme[.]example --issuer glob:**".to_owned(),
        format!("--identity ops@acme.example --identity dev@acme.example --issuer {issuer}"),
    ] {
        // What is needed is in the layout: no connection is opened.
        let said = desk.ok(&format!("verify --offline {trust} {who} oci:store:v1"));
        assert!(said.contains(&format!("dev@acme.example ({issuer})")), "{said}");
        for words in ["certificate", "log", "identity", "signature", "subject"] {
            assert!(said.contains(words), "{words} in {said}");
        }
    }
    for (who, words) in [
        (format!("--identity dev@acme.exampl --issuer {issuer}"), "wanted dev@acme.exampl, got dev@acme.example"),
        (format!("--identity glob:*@evil.example --issuer {issuer}"), "got dev@acme.example"),
        (format!("--identity dev@acme.example --issuer {issuer}/"), "issuer: wanted"),
        (format!("--identity dev@acme.example --issuer {issuer} --claim repository=x"), "repository: wanted x"),
    ] {
        let came = desk.run(&format!("verify {trust} {who} oci:store:v1"));
        assert!(came.exit == 5 && came.out.contains(words) && came.err.contains(words), "{who}: {came:?}");
    }
    // The public root does not know this Sigstore.
    let came = desk.run(&format!("verify --identity dev@acme.example --issuer {issuer} oci:store:v1"));
    assert_eq!(came.exit, 5, "{came:?}");
    let (exit, log) = own.served.stop();
    assert!(exit == 0 && log.contains("FOR TESTS ONLY"), "{exit}: {log}");
}

#[test]
fn a_workflow_signs_by_what_actions_tells() {
    let desk = Desk::new();
    let own = sigstore(&desk, "acme/site/release.yml@refs/tags/v1");
    desk.ok("push site oci:store:v1");
    let token = fs::read_to_string(desk.path("own/token")).unwrap();
    let mut command = desk.command("sign --json --signing-config own/signing_config.json oci:store:v1");
    command.env("GITHUB_ACTIONS", "true").env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &token);
    command.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("http://{}/ambient?run=1", own.served.addr));
    let came = Came::from(command.output().unwrap());
    assert_eq!(came.exit, 0, "{came:?}");
    let who = "--identity https://github.com/acme/site/.github/workflows/release.yml@refs/tags/v1 \
               --issuer https://token.actions.githubusercontent.com";
    for (claim, exit) in [
        ("--claim repository=https://github.com/acme/site", 0),
        ("--claim ref=glob:refs/tags/* --claim trigger=push", 0),
        ("--claim repository=https://github.com/acme/other", 5),
        ("--claim ref=refs/heads/main", 5),
        ("--claim trigger=push --claim runner=self-hosted", 5),
    ] {
        let came = desk.run(&format!("verify {} {who} {claim} oci:store:v1", own.verify));
        assert_eq!(came.exit, exit, "{claim}: {came:?}");
    }
    for (who, exit) in [
        ("--github acme/site", 0),
        ("--github acme/site --git-tag v* --workflow release.yml", 0),
        ("--github acme/site --branch main --git-tag v*", 0),
        ("--github acme/other", 5),
        ("--github acme/sit", 5),
        ("--github acme/site --branch v1", 5),
        ("--github acme/site --git-tag w*", 5),
        ("--github acme/site --workflow test.yml", 5),
        ("--gitlab acme/site", 5),
        ("--github acme", 2),
        ("--gitlab acme/site --workflow release.yml", 2),
        ("--identity a --issuer b --branch main", 2),
    ] {
        let came = desk.run(&format!("verify {} {who} oci:store:v1", own.verify));
        assert_eq!(came.exit, exit, "{who}: {came:?}");
    }
}

/// What a run on GitHub has in its environment, besides what gives it a token.
const RUN: [(&str, &str); 4] = [
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_SERVER_URL", "https://github.com"),
    ("GITHUB_REPOSITORY_ID", "11"),
    ("GITHUB_REPOSITORY_OWNER_ID", "7"),
];

#[test]
fn ci_tells_how_something_was_built() {
    let desk = Desk::new();
    let own = sigstore(&desk, "acme/site/release.yml@refs/tags/v1");
    let in_ci = |line: &str| Came::from(desk.command(line).envs(RUN).output().unwrap());
    let came = in_ci(&format!("push --json --sign --attest-provenance {} site oci:store:v1", own.sign));
    assert_eq!(came.exit, 0, "{came:?}");
    let pushed = json(&came.out);
    let workflow = "https://github.com/acme/site/.github/workflows/release.yml@refs/tags/v1";
    assert_eq!(pushed["signature"]["signer"], workflow);
    assert_eq!(pushed["provenance"]["predicate_type"], "https://slsa.dev/provenance/v1");
    for line in ["", "--type slsaprovenance1"] {
        desk.ok(&format!("verify {} --github acme/site {line} oci:store:v1", own.verify));
    }
    desk.ok("push site oci:other:v1");
    let came = in_ci(&format!("attest --provenance {} oci:other:v1", own.sign));
    assert!(came.exit == 0 && came.err.contains("attested as https://slsa.dev/provenance/v1"), "{came:?}");
    // Elsewhere nobody tells.
    let came = desk.run(&format!("attest --provenance {} oci:other:v1", own.sign));
    assert!(came.exit == 2 && came.err.contains("GITHUB_ACTIONS"), "{came:?}");
    let came = in_ci(&format!("attest --provenance --type spdx --predicate x {} oci:other:v1", own.sign));
    assert_eq!(came.exit, 2, "{came:?}");
}

#[test]
fn a_key_is_witnessed_where_that_is_wanted() {
    let desk = Desk::new();
    ok(&desk, "generate-key-pair --output-prefix k");
    let own = sigstore(&desk, "dev@acme.example");
    let url = format!("http://{}", own.served.addr);
    let verify = format!("verify --key k.pub {} --require-log", own.verify);
    for (at, (services, exit)) in [
        (String::new(), 5),
        (format!("--timestamp-url {url}/timestamp"), 5),
        ("--signing-config own/signing_config.json".to_owned(), 0),
        (format!("--rekor-url {url}"), 0),
        (format!("--rekor-url {url} --rekor-version 2 --timestamp-url {url}/timestamp"), 0),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(desk.path("site/at"), at.to_string()).unwrap();
        desk.ok(&format!("push site oci:store:v{at}"));
        ok(&desk, &format!("sign --key k.key {services} oci:store:v{at}"));
        let came = run(&desk, &format!("{verify} oci:store:v{at}"));
        assert_eq!(came.exit, exit, "{services}: {came:?}");
        ok(&desk, &format!("verify --key k.pub oci:store:v{at}"));
    }
    // The services of an identity, by their addresses.
    let sign = format!("sign --fulcio-url {url} --rekor-url {url} --identity-token own/token oci:store:v0");
    ok(&desk, &sign);
    ok(&desk, &format!("verify {} --identity dev@acme.example --issuer {url} oci:store:v0", own.verify));
    let came = run(&desk, &format!("sign --key k.key {} oci:store:v0", own.sign));
    assert!(came.exit == 2 && came.err.contains("one signs"), "{came:?}");
    let line = format!("sign --key k.key --signing-config own/signing_config.json --rekor-url {url} oci:store:v0");
    assert_eq!(run(&desk, &line).exit, 2);
}

#[test]
fn another_device_says_who_signs() {
    let desk = Desk::new();
    let own = sigstore(&desk, "dev@acme.example");
    desk.ok("push site oci:store:v1");
    for (answer, exit) in [("email=me@acme.example", 0), ("deny=1", 3)] {
        let line = "sign --json --device --signing-config own/signing_config.json oci:store:v1";
        let mut child = desk.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.next().unwrap().contains("log that stays"));
        let shown = said.next().unwrap();
        let (_, address) = shown.split_once("http://").unwrap();
        let (host, path) = address.split_once('/').unwrap();
        let path = path.split(' ').next().unwrap();
        assert_eq!(host, own.served.addr);
        let mut stream = TcpStream::connect(host).unwrap();
        let request = format!("GET /{path}&{answer} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
        let rest: Vec<_> = said.collect();
        let came = Came::from(child.wait_with_output().unwrap());
        assert_eq!(came.exit, exit, "{rest:?}");
        assert_eq!(came.out.contains("me@acme.example"), exit == 0, "{came:?}");
    }
    let who = format!("--identity me@acme.example --issuer http://{}", own.served.addr);
    desk.ok(&format!("verify {} {who} oci:store:v1", own.verify));
}

#[test]
fn the_newest_root_is_fetched_and_kept() {
    let desk = Desk::new();
    let own = sigstore(&desk, "dev@acme.example");
    let url = format!("http://{}", own.served.addr);
    let line = format!("trusted-root --tuf-url {url}/tuf --tuf-root own/root.json");
    let root = desk.ok(&line);
    assert_eq!(
        json(&root)["certificateAuthorities"],
        json(&fs::read_to_string(desk.path("own/trusted_root.json")).unwrap())["certificateAuthorities"]
    );
    fs::write(desk.path("newest.json"), &root).unwrap();
    desk.ok("push site oci:store:v1");
    desk.ok(&format!("sign {} oci:store:v1", own.sign));
    desk.ok(&format!("verify --trusted-root newest.json --identity dev@acme.example --issuer {url} oci:store:v1"));
    // Its updates are not believed by the keys of another one.
    let came = desk.run(&format!("trusted-root --no-cache --tuf-url {url}/tuf"));
    assert_eq!((came.exit, came.out.as_str()), (5, ""), "{came:?}");
    own.served.stop();
    assert_eq!(desk.ok(&format!("{line} --offline")), root);
    assert_eq!(desk.run(&format!("{line} --offline --no-cache")).exit, 5);
}

#[test]
fn an_attestation_is_found_by_its_type_and_is_no_signature() {
    let desk = Desk::new();
    ok(&desk, "generate-key-pair --output-prefix k");
    desk.ok("push site oci:store:v1");
    fs::write(desk.path("sbom.json"), "{\"spdxVersion\": \"SPDX-2.3\"}").unwrap();
    let line = "attest --json --key k.key --type spdxjson --predicate sbom.json oci:store:v1";
    let answer = json(&ok(&desk, line));
    assert_eq!(answer["predicate_type"], "https://spdx.dev/Document");
    let said = ok(&desk, "verify --key k.pub --type https://spdx.dev/Document oci:store:v1");
    assert!(said.contains("https://spdx.dev/Document by key"), "{said}");
    ok(&desk, "verify --key k.pub --type spdx oci:store:v1");
    assert_eq!(run(&desk, "verify --key k.pub oci:store:v1").exit, 5);
    assert_eq!(run(&desk, "verify --key k.pub --type slsaprovenance1 oci:store:v1").exit, 5);
    fs::write(desk.path("broken.json"), "{").unwrap();
    for (line, exit, words) in [
        ("--type sbom --predicate sbom.json", 2, "one of custom"),
        ("--type spdx --predicate broken.json", 2, "not JSON"),
        ("--type spdx --predicate nothing", 12, "nothing"),
        ("--type https://sigstore.dev/cosign/sign/v1 --predicate sbom.json", 2, "skep sign"),
    ] {
        let came = run(&desk, &format!("attest --key k.key {line} oci:store:v1"));
        assert!(came.exit == exit && came.err.contains(words), "{line}: {came:?}");
    }
    assert_eq!(desk.ok("referrers oci:store:v1").lines().count(), 2);
}

#[test]
fn a_push_signs_what_it_pushed() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    ok(&desk, "generate-key-pair --output-prefix k");
    for site in ["oci:store:v1".to_owned(), format!("{}/site:v1", served.addr)] {
        let answer = json(&ok(&desk, &format!("push --json --sign --key k.key site {site}")));
        assert!(answer["signature"]["referrer"].as_str().unwrap().starts_with("sha256:"), "{answer}");
        ok(&desk, &format!("verify --key k.pub {site}"));
    }
    // A key that cannot sign is found out before anything is pushed.
    let came = run(&desk, "push --sign --key k.pub site oci:store:v2");
    assert_eq!((came.exit, desk.run("digest oci:store:v2").exit), (2, 4), "{came:?}");
    // A service that fails afterwards is said beside what was pushed.
    let own = sigstore(&desk, "dev@acme.example");
    own.served.stop();
    let came = run(&desk, &format!("push --sign {} site oci:store:v3", own.sign));
    assert!(came.exit != 0 && came.err.contains("pushed oci:store@sha256:"), "{came:?}");
    assert_eq!(desk.run("digest oci:store:v3").exit, 0);
}

#[test]
fn whoever_accepts_nobody_made_a_mistake() {
    let desk = signed();
    for (line, words) in [
        ("verify oci:store:v1", "nobody is accepted"),
        ("verify --trusted-root sigstore oci:store:v1", "nobody is accepted"),
        ("verify --type spdx oci:store:v1", "nobody is accepted"),
        ("verify --identity dev@acme.example oci:store:v1", "wanted --issuer"),
        ("verify --issuer https://id.example oci:store:v1", "wanted --identity"),
        ("verify --key k.pub --claim ref=x oci:store:v1", "--claim is about an identity"),
        ("verify --identity *@acme.example --issuer https://id.example oci:store:v1", "glob:*@acme.example"),
        ("verify --identity regex:( --issuer https://id.example oci:store:v1", "regex"),
        ("verify --identity a --issuer b --claim sha=x oci:store:v1", "there is no claim"),
        ("verify --key k.pub --trusted-root nothing.json oci:store:v1", "nothing.json"),
        ("verify --key nothing.pub oci:store:v1", "nothing.pub"),
        ("sign oci:store:v1", "nobody says who signs"),
        ("sign --key k.key --identity-token k.pub oci:store:v1", "both a key and an identity are given"),
        ("config set default.identity-token own/token", "no flag"),
        ("sign --identity-token k.pub oci:store:v1", "identity token"),
        ("sign --fulcio-url http://127.0.0.1:1 --identity-token k.pub oci:store:v1", "--rekor-url"),
        ("sign --fulcio-url id.example --rekor-url http://127.0.0.1:1 oci:store:v1", "https://"),
        ("dev sigstore --addr 0.0.0.0:0", "believes everybody"),
        ("dev sigstore --identity nobody", "neither an e-mail address"),
    ] {
        let came = run(&desk, line);
        let exits = if words.contains("nothing.pub") {
            12
        } else if words == "identity token" {
            3
        } else {
            2
        };
        assert!(came.exit == exits && came.err.contains(words) && came.out.is_empty(), "{line}: {came:?}");
    }
    let came = run(&desk, "verify --key k.pub oci:store:v9");
    assert_eq!((came.exit, came.out.as_str()), (4, ""), "{came:?}");
    desk.ok("push site oci:unsigned:v1");
    assert_eq!(run(&desk, "verify --key k.pub oci:unsigned:v1").exit, 5);
}

#[test]
fn hostile_names_are_only_shown() {
    let desk = Desk::new();
    let own = sigstore(&desk, "evil\u{1b}[2J@acme.example");
    desk.ok("push site oci:store:v1");
    let came = desk.run(&format!("sign {} oci:store:v1", own.sign));
    assert_eq!(came.exit, 0, "{came:?}");
    let steers = |text: &str| text.contains(['\u{202e}', '\u{1b}']);
    assert!(!steers(&came.err) && !steers(&came.out), "{came:?}");
    for (identity, exit) in [("glob:**", 0), ("dev@acme.example", 5)] {
        for json in ["", "--json"] {
            let line = format!("verify {json} {} --identity {identity} --issuer glob:** oci:store:v1", own.verify);
            let came = desk.run(&line);
            assert!(came.exit == exit && !steers(&came.out) && !steers(&came.err), "{line}: {came:?}");
        }
    }
    let (_, log) = own.served.stop();
    assert!(!steers(&log), "{log}");
    // What is stated has a name of strangers, too.
    ok(&desk, "generate-key-pair --output-prefix k");
    fs::write(desk.path("stated.json"), "{}").unwrap();
    let kind = "https://evil.example/\u{202e}\u{1b}[2J";
    for (line, exit) in [
        (format!("attest --key k.key --type {kind} --predicate stated.json oci:store:v1"), 0),
        (format!("verify --key k.pub --type {kind} oci:store:v1"), 0),
        (format!("verify --key k.pub --type {kind}x oci:store:v1"), 5),
        ("verify --key k.pub --type spdx oci:store:v1".to_owned(), 5),
    ] {
        let came = run(&desk, &line);
        assert!(came.exit == exit && !steers(&came.out) && !steers(&came.err), "{line}: {came:?}");
    }
}
