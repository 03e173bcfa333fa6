//! Identities: signed with one's own Sigstore, verified with its root; everything else is refused.

use crate::common::*;
use serde_json::json;
use skep_registry::ManifestContent;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_trust::BUNDLE;
use skep_trust::Check;
use skep_trust::Claim;
use skep_trust::Error;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::IdentityToken;
use skep_trust::Kind;
use skep_trust::Pattern;
use skep_trust::Predicate;
use skep_trust::SIGNATURE_PREDICATE;
use skep_trust::Services;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::SignatureForm;
use skep_trust::Stage;
use skep_trust::Subject;
use skep_trust::TimeSource;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
use skep_trust::attest;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

async fn signed(sigstore: &Sigstore, services: Services, who: &Who) -> (Memory, Subject) {
    let (registry, subject) = site().await;
    let signer = signer(sigstore, services, who);
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    (registry, subject)
}

#[tokio::test]
async fn a_person_signs_in_both_formats_and_with_both_logs() {
    let sigstore = Sigstore::start().await.unwrap();
    let config = Services::from_signing_config(&sigstore.signing_config()).unwrap();
    for (services, source) in [
        (sigstore.services(), TimeSource::Log),
        (sigstore.services_with_tiles(), TimeSource::TimestampAuthority),
        (config, TimeSource::TimestampAuthority),
    ] {
        for (format, form) in
            [(SignFormat::Statement, SignatureForm::Statement), (SignFormat::Message, SignatureForm::Message)]
        {
            let (registry, subject) = site().await;
            let signer = signer(&sigstore, services.clone(), &Who::person(EMAIL));
            let options = SignOptions { format, created: None };
            let attached = sign(&registry, &repo(), &subject, &signer, &options).await.unwrap();
            let report = verifier(&sigstore).inspect(&registry, &repo(), &subject).await.unwrap();
            let verified = report.require_signature().unwrap_or_else(|error| panic!("{error}\n{report}"));
            assert_eq!(verified.kind(), &Kind::Signature { form });
            let certificate = verified.signer().certificate().unwrap();
            assert_eq!((certificate.identity.as_str(), certificate.issuer.as_str()), (EMAIL, sigstore.url()));
            assert_eq!(verified.times().iter().map(|time| time.source).collect::<Vec<_>>(), [source]);
            assert_eq!(verified.log_entries().len(), 1);
            assert_eq!(verified.referrer(), Some(attached.manifest.digest()));
            for check in [Check::Certificate, Check::CertificateLog, Check::Log, Check::Signature, Check::Identity] {
                assert!(verified.checks().contains(&check), "{check:?}");
            }
        }
    }
}

#[tokio::test]
async fn signatures_are_written_as_cosign_writes_them() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = signed(&sigstore, sigstore.services(), &Who::person(EMAIL)).await;
    let listed = registry.list_referrers(&repo(), subject.digest(), &Default::default()).await.unwrap().items;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].artifact_type.as_deref(), Some(BUNDLE));
    let manifest = registry.get_manifest(&repo(), &listed[0].digest.clone().into()).await.unwrap();
    let content: ManifestContent = manifest.content().unwrap();
    let layers = content.layers.unwrap();
    assert_eq!(content.subject.as_ref(), Some(subject.descriptor()));
    assert_eq!(layers.iter().map(|layer| layer.media_type.as_str()).collect::<Vec<_>>(), [BUNDLE]);
    assert_eq!(content.annotations["dev.sigstore.bundle.content"], "dsse-envelope");
    assert_eq!(content.annotations["dev.sigstore.bundle.predicateType"], SIGNATURE_PREDICATE);
    let bundle = registry.read_blob(&repo(), &layers[0].digest, 1 << 20).await.unwrap();
    let bundle: serde_json::Value = serde_json::from_slice(&bundle).unwrap();
    use base64::Engine;
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&payload).unwrap(),
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": subject.digest().hex()}}],
            "predicateType": SIGNATURE_PREDICATE,
            "predicate": {},
        })
    );
}

#[tokio::test]
async fn another_identity_or_issuer_is_refused_and_named() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = signed(&sigstore, sigstore.services(), &Who::person(EMAIL)).await;
    let own = || Pattern::exact(sigstore.url());
    let cases = [
        (
            Pattern::exact("eve@acme.example"),
            own(),
            "identity: wanted eve@acme.example, got dev@acme.example".to_owned(),
        ),
        (Pattern::regex("dev").unwrap(), own(), "identity: wanted regex dev, got dev@acme.example".to_owned()),
        (
            Pattern::glob("dev@*.org").unwrap(),
            own(),
            "identity: wanted glob dev@*.org, got dev@acme.example".to_owned(),
        ),
        (
            Pattern::exact(EMAIL),
            Pattern::exact("https://id.example"),
            format!("issuer: wanted https://id.example, got {}", sigstore.url()),
        ),
    ];
    for (identity, issuer, why) in cases {
        let verifier =
            Verifier::default().trust_root(&root(&sigstore)).unwrap().accept(IdentityPattern::new(identity, issuer));
        let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
        let nearest = report.nearest().unwrap();
        assert_eq!((nearest.stage, nearest.why.as_str()), (Stage::Identity, why.as_str()));
        assert_eq!(nearest.signer.as_ref().unwrap().certificate().unwrap().identity, EMAIL);
        let Err(Error::Rejected(rejection)) = report.require_signature() else { panic!("{report}") };
        assert!(rejection.why.contains(&why), "{rejection}");
    }
    // Who accepts nobody in particular accepts nobody.
    let verifier = Verifier::default().trust_root(&root(&sigstore)).unwrap();
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    assert_eq!(report.nearest().unwrap().why, "no identity is accepted");
}

#[tokio::test]
async fn claims_of_a_workflow_are_matched() {
    let sigstore = Sigstore::start().await.unwrap();
    let who = Who::workflow("acme/site", "release.yml", "refs/tags/v1");
    let (registry, subject) = signed(&sigstore, sigstore.services(), &who).await;
    let workflow = || {
        IdentityPattern::new(
            Pattern::glob("https://github.com/acme/site/.github/workflows/*@refs/tags/*").unwrap(),
            Pattern::exact("https://token.actions.githubusercontent.com"),
        )
    };
    let inspect = async |pattern: IdentityPattern| {
        let verifier = Verifier::default().trust_root(&root(&sigstore)).unwrap().accept(pattern);
        verifier.inspect(&registry, &repo(), &subject).await.unwrap()
    };
    let pattern = workflow()
        .with_claim(Claim::Repository, Pattern::exact("https://github.com/acme/site"))
        .with_claim(Claim::Ref, Pattern::glob("refs/tags/v*").unwrap())
        .with_claim(Claim::Trigger, Pattern::exact("push"))
        .with_claim(Claim::Runner, Pattern::exact("github-hosted"))
        .with_claim(Claim::Workflow, Pattern::regex("https://github.com/acme/site/.*").unwrap());
    let report = inspect(pattern).await;
    let verified = report.require_signature().unwrap();
    let claims = &verified.signer().certificate().unwrap().claims;
    assert_eq!(claims.reference.as_deref(), Some("refs/tags/v1"));
    assert_eq!(claims.owner.as_deref(), Some("https://github.com/acme"));
    for (claim, pattern) in [
        (Claim::Repository, "https://github.com/acme/sit"),
        (Claim::Ref, "refs/tags/v2"),
        (Claim::Trigger, "pull_request"),
        (Claim::Runner, "self-hosted"),
        (Claim::Commit, "deadbeef"),
    ] {
        let report = inspect(workflow().with_claim(claim, Pattern::exact(pattern))).await;
        assert_eq!(report.verified, [], "{claim:?}");
        assert_eq!(report.nearest().unwrap().stage, Stage::Identity);
    }
}

#[tokio::test]
async fn other_roots_are_refused() {
    let (sigstore, foreign) = (Sigstore::start().await.unwrap(), Sigstore::start().await.unwrap());
    let (registry, subject) = signed(&sigstore, sigstore.services(), &Who::person(EMAIL)).await;
    for root in [root(&foreign), TrustedRoot::sigstore().unwrap(), TrustedRoot::github().unwrap()] {
        let verifier = Verifier::default().trust_root(&root).unwrap().accept(IdentityPattern::anyone());
        assert_eq!(verifier.inspect(&registry, &repo(), &subject).await.unwrap().verified, []);
        // Several roots are alternatives: one that does not know the signer takes nothing from one that does.
        let verifier = verifier.trust_root(&crate::common::root(&sigstore)).unwrap();
        assert!(verifier.inspect(&registry, &repo(), &subject).await.unwrap().require_signature().is_ok());
    }
}

#[tokio::test]
async fn evidence_that_is_required_is_missed() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = signed(&sigstore, sigstore.services(), &Who::person(EMAIL)).await;
    let inspect = async |json: &str, evidence: Evidence| {
        let root = TrustedRoot::from_json(json, evidence).unwrap();
        let verifier = Verifier::default().trust_root(&root).unwrap().accept(IdentityPattern::anyone());
        verifier.inspect(&registry, &repo(), &subject).await.unwrap()
    };
    let timestamp = Evidence { timestamp: true, ..Evidence::default() };
    assert_eq!(inspect(&sigstore.trusted_root(), timestamp).await.nearest().unwrap().stage, Stage::Time);
    let mut without: serde_json::Value = serde_json::from_str(&sigstore.trusted_root()).unwrap();
    without["ctlogs"] = json!([]);
    let without = without.to_string();
    assert_eq!(inspect(&without, Evidence::default()).await.nearest().unwrap().stage, Stage::Trust);
    let report = inspect(&without, Evidence { certificate_log: false, ..Evidence::default() }).await;
    assert!(!report.require_signature().unwrap().checks().contains(&Check::CertificateLog));
}

#[tokio::test]
async fn an_attestation_names_what_it_is_about() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = site().await;
    let signer = signer(&sigstore, sigstore.services_with_tiles(), &Who::person(EMAIL));
    let content = json!({"buildDefinition": {"buildType": "https://acme.example/build"}});
    let predicate = Predicate { kind: "https://slsa.dev/provenance/v1", content: &content, created: None };
    attest(&registry, &repo(), &subject, predicate, &signer).await.unwrap();
    let report = verifier(&sigstore).inspect(&registry, &repo(), &subject).await.unwrap();
    let verified = report.require_attestation("https://slsa.dev/provenance/v1").unwrap();
    assert_eq!(verified.attestation().unwrap().predicate, content);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verified"][0]["kind"], "attestation");
    assert_eq!(json["verified"][0]["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(json["verified"][0]["signer"]["certificate"]["identity"], EMAIL);
    assert_eq!(json["verified"][0]["log"][0]["index"], 0);
}

#[tokio::test]
async fn a_predicate_of_signatures_is_not_attested() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = site().await;
    let signer = signer(&sigstore, sigstore.services(), &Who::person(EMAIL));
    let content = json!({"approved": "by nobody"});
    let predicate = Predicate { kind: SIGNATURE_PREDICATE, content: &content, created: None };
    let error = attest(&registry, &repo(), &subject, predicate, &signer).await.unwrap_err();
    assert!(matches!(error, Error::Subject { .. }), "{error}");
}

#[tokio::test]
async fn many_signatures_in_one_log_all_hold() {
    let sigstore = Sigstore::start().await.unwrap();
    let registry = Memory::default();
    let signer = signer(&sigstore, sigstore.services(), &Who::person(EMAIL));
    for number in 0..9 {
        let subject = push(&registry, &number.to_string()).await;
        sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
        let report = verifier(&sigstore).inspect(&registry, &repo(), &subject).await.unwrap();
        assert_eq!(report.require_signature().unwrap().log_entries()[0].index, number);
    }
}

#[tokio::test]
async fn services_that_refuse_or_are_away_are_errors() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = site().await;
    let away = Services::new("http://127.0.0.1:9", "http://127.0.0.1:9");
    let other = Sigstore::start().await.unwrap();
    for services in [away, other.services()] {
        let signer = signer(&sigstore, services, &Who::person(EMAIL));
        let error = sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap_err();
        assert!(matches!(error, Error::Service { .. }), "{error}");
    }
    assert!(registry.list_referrers(&repo(), subject.digest(), &Default::default()).await.unwrap().items.is_empty());
}

/// Run by the test below in a process of its own, whose environment it looks at.
#[tokio::test]
async fn say_who_the_ambient_token_is_of() {
    let Ok(expected) = std::env::var("SKEP_TEST_AMBIENT") else { return };
    match (IdentityToken::ambient().await, expected.as_str()) {
        (Ok(None), "nobody") | (Err(Error::Service { .. }), "error") => {}
        (Ok(Some(token)), identity) => assert_eq!(token.identity(), identity),
        (came, _) => panic!("expected {expected}, got {came:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_ci_are_found() {
    let sigstore = Sigstore::start().await.unwrap();
    let who = Who::workflow("acme/site", "release.yml", "refs/tags/v1");
    let actions = sigstore.actions_environment(&who).unwrap().to_vec();
    let given = ("SIGSTORE_ID_TOKEN", sigstore.token(&Who::person(EMAIL)).unwrap());
    let without = vec![actions[0].clone()];
    let cases = [
        (vec![], "nobody"),
        (actions, "repo:acme/site:ref:refs/tags/v1"),
        (vec![given.clone()], EMAIL),
        (vec![("GITLAB_CI", "true".to_owned()), given], EMAIL),
        (vec![("SIGSTORE_ID_TOKEN", "not a token".to_owned())], "error"),
        (without, "error"),
        (vec![("GCE_METADATA_HOST", sigstore.address().to_string())], "builder@acme.iam.gserviceaccount.com"),
        (vec![("GITLAB_CI", "true".to_owned())], "error"),
    ];
    for (environment, expected) in cases {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "keyless::say_who_the_ambient_token_is_of"]).env("SKEP_TEST_AMBIENT", expected);
        // This may run in a CI itself.
        for variable in ["GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "SIGSTORE_ID_TOKEN"] {
            command.env_remove(variable);
        }
        // And on a machine that has an account.
        command.env("GCE_METADATA_HOST", "127.0.0.1:9");
        let output = command.envs(environment.clone()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{expected}: {environment:?}: {said}");
    }
}
