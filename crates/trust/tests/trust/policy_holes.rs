//! The ways around signatures of `holes.rs`, against policies: the rule holds of what was verified, or not at all.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use skep_registry::Annotations;
use skep_registry::Memory;
use skep_trust::BUNDLE;
use skep_trust::IdentityPattern;
use skep_trust::Limits;
use skep_trust::Pattern;
use skep_trust::Policy;
use skep_trust::Refs;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::Slsa;
use skep_trust::Verifier;
use skep_trust::attach;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

const SITE: &str = "https://github.com/acme/site";
const MAIN: &str = "refs/heads/main";
const RELEASE: &str = ".github/workflows/release.yml";

fn slsa() -> Slsa {
    Slsa::default().with_repository("acme/site").unwrap()
}

/// Signed, and built from the repository.
fn signed_and_built(verifier: Verifier) -> Policy {
    let verifier = Arc::new(verifier);
    Policy::all_of([Policy::signed(Arc::clone(&verifier)), Policy::rule(verifier, slsa())])
}

/// H1: a signature on one referrer, and provenance on another that nobody signed, or a stranger.
#[tokio::test]
async fn h1_provenance_that_nobody_signed_satisfies_no_rule() {
    let (registry, subject) = site().await;
    let ((signer, verifier), (stranger, _)) = (trusted_key(), trusted_key());
    let policy = signed_and_built(verifier);
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    let content = provenance(SITE, MAIN, RELEASE);
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "site", "digest": {"sha256": subject.digest().hex()}}],
        "predicateType": SLSA_V1,
        "predicate": content,
    });
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": ""}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement.to_string()),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": STANDARD.encode("not a signature")}],
        },
    });
    attach(&registry, &repo(), &subject, bundle.to_string().into(), Annotations::new()).await.unwrap();
    attested(&registry, &subject, SLSA_V1, &content, &stranger).await;
    let decision = decide(&policy, &registry, &subject).await;
    assert!(!decision.is_allowed(), "{decision}");
    assert!(decision.summary().contains("slsa provenance of https://github.com/acme/site"), "{decision}");
    attested(&registry, &subject, SLSA_V1, &content, &signer).await;
    assert!(decide(&policy, &registry, &subject).await.is_allowed());
}

/// H2: provenance of another artifact, attached to this one.
#[tokio::test]
async fn h2_provenance_of_other_bytes_satisfies_no_rule() {
    let registry = Memory::default();
    let (good, evil) = (push(&registry, "good").await, push(&registry, "evil").await);
    let (signer, verifier) = trusted_key();
    let policy = signed_and_built(verifier);
    for subject in [&good, &evil] {
        sign(&registry, &repo(), subject, &signer, &SignOptions::default()).await.unwrap();
    }
    let content = provenance(SITE, MAIN, RELEASE);
    let predicate = skep_trust::Predicate { kind: SLSA_V1, content: &content, created: None };
    let attestation = skep_trust::attest(&registry, &repo(), &good, predicate, &signer).await.unwrap();
    attach(&registry, &repo(), &evil, attestation.bundle, Annotations::new()).await.unwrap();
    assert!(decide(&policy, &registry, &good).await.is_allowed());
    assert!(!decide(&policy, &registry, &evil).await.is_allowed());
}

/// Whether provenance that a trusted key signed satisfies a rule.
async fn satisfies(rule: Slsa, kind: &str, content: &Value) -> bool {
    let (registry, subject) = site().await;
    let (signer, verifier) = trusted_key();
    attested(&registry, &subject, kind, content, &signer).await;
    decide(&Policy::rule(verifier.into(), rule), &registry, &subject).await.is_allowed()
}

/// H3: repositories are not compared by how they begin.
#[tokio::test]
async fn h3_a_repository_whose_name_begins_like_another_is_another() {
    let written = [
        "https://github.com/acme/site",
        "git+https://github.com/acme/site",
        "https://github.com/acme/site.git",
        "https://github.com/acme/site/",
        "https://GITHUB.com/acme/site",
    ];
    for repository in written {
        let content = json!({"buildDefinition": {"externalParameters": {"workflow": {"repository": repository}}}});
        assert!(satisfies(slsa(), SLSA_V1, &content).await, "{repository}");
    }
    let others = [
        "https://github.com/acme/site-evil",
        "https://github.com/acme/site.git-evil",
        "https://github.com/acme/site/evil",
        "https://github.com/acme/sit",
        "https://github.com.evil.example/acme/site",
        "https://github.com@evil.example/acme/site",
        "https://evil.example/https://github.com/acme/site",
        "https://evil.example/github.com/acme/site",
        "https://evil.example/?https://github.com/acme/site",
        "https://github.com/acme/site?evil",
        "https://github.com/acme/site#evil",
        "https://github.com/evil/../acme/site",
        "http://github.com/acme/site",
        "acme/site",
    ];
    for repository in others {
        let content = json!({"buildDefinition": {"externalParameters": {"workflow": {"repository": repository}}}});
        assert!(!satisfies(slsa(), SLSA_V1, &content).await, "{repository}");
    }
}

/// H4: the builder is compared when it is asked for, also beside a repository, and with who signed.
#[tokio::test]
async fn h4_a_workflow_cannot_pass_for_another_builder() {
    let generator = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml@refs/tags/v2.1.0";
    let asked = || slsa().with_builder(Pattern::exact(generator));
    assert!(!satisfies(asked(), SLSA_V1, &provenance(SITE, MAIN, RELEASE)).await);

    let sigstore = Sigstore::start().await.unwrap();
    let mut forged = provenance(SITE, MAIN, RELEASE);
    forged["runDetails"]["builder"]["id"] = json!(generator);
    let own = Who::workflow("acme/site", "release.yml", MAIN);
    let other = Who::workflow("acme/other", "release.yml", MAIN);
    let job = generator.strip_prefix("https://github.com/").unwrap();
    let builder = own.clone().with_claim("job_workflow_ref", job);
    for (who, is_allowed) in [(builder, true), (own, false), (other, false)] {
        let (registry, subject) = site().await;
        attested(&registry, &subject, SLSA_V1, &forged, &signer(&sigstore, sigstore.services(), &who)).await;
        let verifier = Verifier::default().trust_root(&root(&sigstore)).unwrap().accept(IdentityPattern::anyone());
        let decision = decide(&Policy::rule(verifier.into(), asked()), &registry, &subject).await;
        assert_eq!(decision.is_allowed(), is_allowed, "{decision}");
    }
}

/// H5: provenance of version 0.2 names its ref behind an `@`.
#[tokio::test]
async fn h5_refs_of_the_version_before_are_read() {
    let on = |refs: Refs| slsa().with_refs(&refs).unwrap();
    let builder = "https://acme.example/builder";
    let main = old_provenance(SITE, MAIN, RELEASE, builder);
    let tag = old_provenance(SITE, "refs/tags/v1.0", RELEASE, builder);
    assert!(satisfies(on(Refs::default().or_branch("main")), SLSA_V0_2, &main).await);
    assert!(satisfies(on(Refs::default().or_tag("v*")), SLSA_V0_2, &tag).await);
    assert!(!satisfies(on(Refs::default().or_branch("main")), SLSA_V0_2, &tag).await);
    assert!(!satisfies(on(Refs::default().or_tag("v*")), SLSA_V0_2, &main).await);
    let evil = old_provenance("https://github.com/acme/site-evil", MAIN, RELEASE, builder);
    assert!(!satisfies(on(Refs::default().or_branch("main")), SLSA_V0_2, &evil).await);
}

/// H6: what is decided about is the bytes in hand.
#[tokio::test]
async fn h6_a_signature_of_other_bytes_in_the_same_place_does_not_allow() {
    let registry = Memory::default();
    let (good, evil) = (push(&registry, "good").await, push(&registry, "evil").await);
    let (signer, verifier) = trusted_key();
    let policy = Policy::signed(verifier.into());
    let signed = sign(&registry, &repo(), &good, &signer, &SignOptions::default()).await.unwrap();
    attach(&registry, &repo(), &evil, signed.bundle, Annotations::new()).await.unwrap();
    assert!(decide(&policy, &registry, &good).await.is_allowed());
    assert!(!decide(&policy, &registry, &evil).await.is_allowed());
}

/// H7: more than the limits hold back nothing that is good, and allow nothing that is not known.
#[tokio::test]
async fn h7_a_flood_of_referrers_neither_allows_nor_hides() {
    let (registry, subject) = site().await;
    let ((signer, verifier), (stranger, _)) = (trusted_key(), trusted_key());
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    attach(&registry, &repo(), &subject, vec![b' '; (8 << 20) + 1].into(), Annotations::new()).await.unwrap();
    assert!(decide(&Policy::signed(verifier.into()), &registry, &subject).await.is_allowed());

    for number in 0..5 {
        attested(&registry, &subject, &format!("https://acme.example/{number}"), &json!({}), &stranger).await;
    }
    let limited = Verifier::default().with_limits(Limits { referrers: 2, ..Limits::default() });
    let policy = Policy::not(Policy::signed(limited.into()));
    assert!(!decide(&policy, &registry, &subject).await.is_allowed());
}

/// H10: who attests has not signed, whatever it is that is attested.
#[tokio::test]
async fn h10_an_attestation_is_no_signature() {
    let (signer, verifier) = trusted_key();
    let verifier = Arc::new(verifier);
    for kind in [SLSA_V1, "https://acme.example/tests-failed", "https://sigstore.dev/cosign/sign/v2"] {
        let (registry, subject) = site().await;
        attested(&registry, &subject, kind, &json!({}), &signer).await;
        assert!(!decide(&Policy::signed(Arc::clone(&verifier)), &registry, &subject).await.is_allowed());
        assert!(decide(&Policy::attested(Arc::clone(&verifier), kind), &registry, &subject).await.is_allowed());
    }
    for format in [SignFormat::Message, SignFormat::Statement] {
        let (registry, subject) = site().await;
        sign(&registry, &repo(), &subject, &signer, &SignOptions { format, created: None }).await.unwrap();
        assert!(decide(&Policy::signed(Arc::clone(&verifier)), &registry, &subject).await.is_allowed());
        let rule = Policy::rule(Arc::clone(&verifier), Slsa::default());
        assert!(!decide(&rule, &registry, &subject).await.is_allowed());
    }
}
