//! SLSA: what is asked of a provenance, and of whom it is from.

use serde_json::Value;
use serde_json::json;
use skep_registry::Memory;
use skep_trust::Facts;
use skep_trust::GitHubActions;
use skep_trust::GitLab;
use skep_trust::IdentityPattern;
use skep_trust::Pattern;
use skep_trust::Policy;
use skep_trust::Provenance;
use skep_trust::Refs;
use skep_trust::Report;
use skep_trust::Rule;
use skep_trust::Slsa;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

const SITE: &str = "https://github.com/acme/site";
const MAIN: &str = "refs/heads/main";
const RELEASE: &str = ".github/workflows/release.yml";

/// A report of what a key attested: no certificate speaks against it.
async fn attested_by_key(kind: &str, content: &Value) -> (Subject, Report) {
    let (registry, subject) = site().await;
    let (signer, verifier) = trusted_key();
    attested(&registry, &subject, kind, content, &signer).await;
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    (subject, report)
}

fn reasons(rule: &Slsa, subject: &Subject, report: &Report) -> Vec<String> {
    match rule.check(&Facts::new("registry.test/acme/site:v1", subject, report)) {
        Ok(by) => {
            assert!(!by.is_empty());
            Vec::new()
        }
        Err(refusal) => refusal.reasons().to_vec(),
    }
}

#[tokio::test]
async fn both_versions_say_builder_source_ref_and_workflow() {
    let builder = format!("{SITE}/{RELEASE}@{MAIN}");
    let cases =
        [(SLSA_V1, provenance(SITE, MAIN, RELEASE)), (SLSA_V0_2, old_provenance(SITE, MAIN, RELEASE, &builder))];
    let any = Slsa::default;
    let on = |refs: Refs| any().with_refs(&refs).unwrap();
    let refs = Refs::default;
    let wanted = [
        (any(), None),
        (any().with_builder(Pattern::exact(&builder)), None),
        (any().with_builder(Pattern::glob("https://github.com/acme/site/.github/workflows/*@refs/**").unwrap()), None),
        (
            any().with_builder(Pattern::exact("https://github.com/acme/site")),
            Some(
                "builder: wanted https://github.com/acme/site, got https://github.com/acme/site/.github/workflows/release.yml@refs/heads/main",
            ),
        ),
        (any().with_repository("acme/site").unwrap(), None),
        (any().with_repository("https://GitHub.com/acme/site.git/").unwrap(), None),
        (any().with_repository("acme/*").unwrap(), None),
        (
            any().with_repository("acme/sit").unwrap(),
            Some("repository: wanted https://github.com/acme/sit, got https://github.com/acme/site"),
        ),
        (
            any().with_repository("https://gitlab.com/acme/site").unwrap(),
            Some("repository: wanted https://gitlab.com/acme/site, got https://github.com/acme/site"),
        ),
        (on(refs()), None),
        (on(refs().or_branch("main")), None),
        (on(refs().or_tag("v*").or_branch("m*")), None),
        (on(refs().or_ref(MAIN)), None),
        (on(refs().or_branch("mai")), Some("ref: wanted refs/heads/mai, got refs/heads/main")),
        (on(refs().or_tag("main")), Some("ref: wanted refs/tags/main, got refs/heads/main")),
        (
            on(refs().or_tag("v*").or_tag("w")),
            Some("ref: wanted glob refs/tags/v* or refs/tags/w, got refs/heads/main"),
        ),
        (any().with_workflow("release.yml").unwrap(), None),
        (any().with_workflow(RELEASE).unwrap(), None),
        (
            any().with_workflow("test.yml").unwrap(),
            Some("workflow: wanted .github/workflows/test.yml, got .github/workflows/release.yml"),
        ),
    ];
    for (kind, content) in cases {
        let (subject, report) = attested_by_key(kind, &content).await;
        let provenance = Provenance::parse(report.verified[0].attestation().unwrap()).unwrap();
        assert_eq!(provenance.repository.as_deref(), Some(SITE));
        assert_eq!(provenance.reference.as_deref(), Some(MAIN));
        assert_eq!(provenance.workflow.as_deref(), Some(RELEASE));
        assert_eq!(provenance.builder.as_deref(), Some(builder.as_str()));
        assert_eq!(provenance.commit.as_deref(), Some("c0ffee0000000000000000000000000000000000"));
        for (rule, reason) in &wanted {
            let came = reasons(rule, &subject, &report);
            assert_eq!(came, Vec::from_iter(reason.map(str::to_owned)), "{kind}: {}", rule.name());
        }
    }
}

#[tokio::test]
async fn what_a_provenance_does_not_say_is_not_as_it_should_be() {
    let rule = Slsa::default()
        .with_builder(Pattern::any())
        .with_repository("acme/site")
        .unwrap()
        .with_refs(&Refs::default().or_branch("**"))
        .unwrap()
        .with_workflow("*")
        .unwrap();
    for kind in [SLSA_V1, SLSA_V0_2] {
        for content in
            [json!({}), json!([]), json!(null), json!({"buildDefinition": [], "builder": 1, "runDetails": ""})]
        {
            let (subject, report) = attested_by_key(kind, &content).await;
            assert!(!reasons(&rule, &subject, &report).is_empty(), "{kind}: {content}");
        }
    }
    let (subject, report) =
        attested_by_key("https://acme.example/provenance/v1", &provenance(SITE, MAIN, RELEASE)).await;
    assert_eq!(reasons(&rule, &subject, &report), ["wanted provenance, got none among 1 that hold"]);
}

#[tokio::test]
async fn provenance_that_says_two_things_is_refused() {
    let changed = |pointer: &str, value: Value| {
        let mut content = provenance(SITE, MAIN, RELEASE);
        *content.pointer_mut(pointer).unwrap() = value;
        content
    };
    let definition = "/buildDefinition";
    let cases = [
        (changed(&format!("{definition}/externalParameters/workflow/ref"), json!("refs/heads/evil")), "two refs"),
        (changed(&format!("{definition}/externalParameters/workflow/repository"), json!(["a"])), "wanted a text"),
        (
            changed(&format!("{definition}/externalParameters/workflow/repository"), json!("acme/site")),
            "wanted the URL",
        ),
        (changed(&format!("{definition}/resolvedDependencies"), json!({})), "wanted a list"),
        (
            changed(
                &format!("{definition}/externalParameters"),
                json!({
                    "workflow": {"repository": SITE}, "source": {"uri": "git+https://github.com/acme/evil"},
                }),
            ),
            "two repositories",
        ),
    ];
    for (content, why) in cases {
        let (subject, report) = attested_by_key(SLSA_V1, &content).await;
        let reasons = reasons(&Slsa::default(), &subject, &report);
        assert!(reasons.len() == 1 && reasons[0].contains(why), "{why}: {reasons:?}");
    }
}

/// Signs a provenance as a workflow and asks a rule of it.
async fn attested_by(sigstore: &Sigstore, who: &Who, content: &Value) -> (Subject, Report) {
    let (registry, subject) = site().await;
    attested(&registry, &subject, SLSA_V1, content, &signer(sigstore, sigstore.services(), who)).await;
    let verifier = Verifier::default().trust_root(&root(sigstore)).unwrap().accept(IdentityPattern::anyone());
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    assert_eq!(report.verified.len(), 1, "{report}");
    (subject, report)
}

#[tokio::test]
async fn a_provenance_agrees_with_the_certificate_of_who_signed_it() {
    let sigstore = Sigstore::start().await.unwrap();
    let who = Who::workflow("acme/site", "release.yml", MAIN);
    let (subject, report) = attested_by(&sigstore, &who, &provenance(SITE, MAIN, RELEASE)).await;
    assert_eq!(reasons(&Slsa::default(), &subject, &report), [""; 0]);
    let cases = [
        (
            provenance("https://github.com/acme/other", MAIN, RELEASE),
            "repository: wanted https://github.com/acme/site, as the signer's certificate says, got https://github.com/acme/other",
        ),
        (
            provenance(SITE, "refs/heads/other", RELEASE),
            "ref: wanted refs/heads/main, as the signer's certificate says, got refs/heads/other",
        ),
        (
            provenance(SITE, MAIN, ".github/workflows/other.yml"),
            "workflow: wanted .github/workflows/release.yml, as the signer's certificate says, got .github/workflows/other.yml",
        ),
    ];
    for (content, reason) in cases {
        let (subject, report) = attested_by(&sigstore, &who, &content).await;
        assert_eq!(reasons(&Slsa::default(), &subject, &report), [reason]);
    }
    let mut commit = provenance(SITE, MAIN, RELEASE);
    commit["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"] = json!("bad");
    let (subject, report) = attested_by(&sigstore, &who, &commit).await;
    assert!(reasons(&Slsa::default(), &subject, &report)[0].starts_with("commit: "));
}

#[tokio::test]
async fn a_builder_is_believed_of_itself_its_runner_and_who_runs_it() {
    let sigstore = Sigstore::start().await.unwrap();
    let generator = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows";
    let of = |workflow: &str| {
        let workflow = format!("slsa-framework/slsa-github-generator/.github/workflows/{workflow}");
        Who::workflow("acme/site", "release.yml", MAIN).with_claim("job_workflow_ref", &workflow)
    };
    let own = Who::workflow("acme/site", "release.yml", MAIN);
    let cases = [
        (own.clone(), format!("{SITE}/{RELEASE}@{MAIN}"), true),
        (own.clone(), format!("{generator}/generator_generic_slsa3.yml@refs/tags/v2.1.0"), false),
        (own.clone(), "https://github.com/actions/runner/github-hosted".to_owned(), true),
        (own.clone(), "https://github.com/actions/runner/self-hosted".to_owned(), false),
        (own.clone(), "https://github.com/actions/runner".to_owned(), true),
        (own.clone(), "https://github.com/actions/runner-evil".to_owned(), false),
        (own, "https://acme.example/builder".to_owned(), false),
        (
            of("generator_generic_slsa3.yml@refs/tags/v2.1.0"),
            format!("{generator}/generator_generic_slsa3.yml@refs/tags/v2.1.0"),
            true,
        ),
        (
            of("generator_generic_slsa3.yml@refs/tags/v2.1.0"),
            format!("{generator}/builder_go_slsa3.yml@refs/tags/v2.1.0"),
            false,
        ),
        (
            of("delegator_generic_slsa3.yml@refs/tags/v2.1.0"),
            "https://github.com/acme/builder/.github/workflows/build.yml@refs/tags/v1".to_owned(),
            true,
        ),
        (
            of("delegator_generic_slsa3.yml@refs/heads/main"),
            "https://github.com/acme/builder/.github/workflows/build.yml@refs/tags/v1".to_owned(),
            false,
        ),
    ];
    for (who, builder, is_believed) in cases {
        let mut content = provenance(SITE, MAIN, RELEASE);
        content["runDetails"]["builder"]["id"] = json!(builder);
        let (subject, report) = attested_by(&sigstore, &who, &content).await;
        let asked = Slsa::default().with_builder(Pattern::exact(&builder));
        assert_eq!(reasons(&asked, &subject, &report).is_empty(), is_believed, "{builder}");
        // Who is not asked for decides nothing.
        assert_eq!(reasons(&Slsa::default(), &subject, &report), [""; 0]);
    }
}

#[tokio::test]
async fn provenance_of_the_generator_of_slsa_holds() {
    let generator =
        "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml";
    for release in ["v1.10.0", "v2.0.0", "v2.1.0"] {
        let (registry, subject) = real_image(release).await;
        let policy = |repository: &str, release: &str| {
            let builder = Pattern::exact(format!("{generator}@refs/tags/{release}"));
            let workflows = GitHubActions::of("slsa-framework/example-package").with_builder(builder.clone());
            let verifier = Verifier::default()
                .trust_root(&TrustedRoot::sigstore().unwrap())
                .unwrap()
                .accept(workflows.identity().unwrap());
            let rule = Slsa::default().with_builder(builder).with_repository(repository).unwrap();
            Policy::rule(verifier.into(), rule)
        };
        let decision = decide(&policy("slsa-framework/example-package", release), &registry, &subject).await;
        assert!(decision.is_allowed(), "{decision}");
        assert!(!decide(&policy("slsa-framework/example", release), &registry, &subject).await.is_allowed());
        assert!(!decide(&policy("slsa-framework/example-package", "v1.0.0"), &registry, &subject).await.is_allowed());
    }
}

#[tokio::test]
async fn workflows_are_accepted_by_repository_ref_and_file() {
    let sigstore = Sigstore::start().await.unwrap();
    let signed_by = async |who: &Who| {
        let (registry, subject) = site().await;
        let signer = signer(&sigstore, sigstore.services(), who);
        skep_trust::sign(&registry, &repo(), &subject, &signer, &Default::default()).await.unwrap();
        (registry, subject)
    };
    let accepts = async |pattern: IdentityPattern, signed: &(Memory, Subject)| {
        let verifier = Verifier::default().trust_root(&root(&sigstore)).unwrap().accept(pattern);
        decide(&Policy::signed(verifier.into()), &signed.0, &signed.1).await.is_allowed()
    };
    let main = signed_by(&Who::workflow("acme/site", "release.yml", MAIN)).await;
    let release = || GitHubActions::of("acme/site");
    let cases = [
        (release(), true),
        (release().on(Refs::default().or_branch("main")), true),
        (release().on(Refs::default().or_branch("m*")), true),
        (release().on(Refs::default().or_branch("*").or_tag("v*")), true),
        (release().on(Refs::default().or_tag("main")), false),
        (release().on(Refs::default().or_branch("mai")), false),
        (release().with_workflow("release.yml"), true),
        (release().with_workflow(RELEASE), true),
        (release().with_workflow("rel*.yml"), true),
        (release().with_workflow("test.yml"), false),
        (release().at("github.acme.example"), false),
        (GitHubActions::of("acme/*"), true),
        (GitHubActions::of("acme/sit"), false),
        (GitHubActions::of("acme/site-evil"), false),
        (GitHubActions::of("acme/sit?"), false),
    ];
    for (workflows, is_accepted) in cases {
        let Ok(identity) = workflows.identity() else {
            assert!(!is_accepted);
            continue;
        };
        assert_eq!(accepts(identity, &main).await, is_accepted, "{workflows:?}");
    }
    // A branch whose name looks like another branch's, and a workflow of another repository that this one reuses.
    let evil = signed_by(&Who::workflow("acme/site", "release.yml", "refs/heads/x@refs/heads/main")).await;
    assert!(!accepts(release().on(Refs::default().or_branch("main")).identity().unwrap(), &evil).await);
    let reused = Who::workflow("acme/site", "release.yml", MAIN)
        .with_claim("job_workflow_ref", "evil/site/.github/workflows/release.yml@refs/heads/main");
    let reused = signed_by(&reused).await;
    assert!(!accepts(release().identity().unwrap(), &reused).await);
    let builder = Pattern::exact("https://github.com/evil/site/.github/workflows/release.yml@refs/heads/main");
    assert!(accepts(release().with_builder(builder).identity().unwrap(), &reused).await);
    for wrong in ["site", "a/b/c", "acme/", "/site", "acme/site@main", "acme/../site", ""] {
        assert!(GitHubActions::of(wrong).identity().is_err(), "{wrong}");
    }
}

#[test]
fn projects_and_hosts_of_gitlab_are_names() {
    for wrong in ["site", "", "acme/../site", "acme/site@main", "*"] {
        assert!(GitLab::of(wrong).identity().is_err(), "{wrong}");
    }
    for wrong in ["", "gitlab.com/evil", "user@gitlab.com", "GitLab.com"] {
        assert!(GitLab::of("acme/site").at(wrong).identity().is_err(), "{wrong}");
    }
    assert!(GitLab::of("acme/deep/site").on(Refs::default().or_branch("main")).identity().is_ok());
}
