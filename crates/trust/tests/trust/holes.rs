//! Ways around signatures that are open in other tools, by their numbers in the list of holes; closed here.

use std::sync::Mutex;

use crate::common::*;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_registry::Annotations;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::forward_registry;
use skep_registry::media_type;
use skep_trust::BUNDLE;
use skep_trust::Limits;
use skep_trust::Predicate;
use skep_trust::Report;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::Signer;
use skep_trust::Stage;
use skep_trust::Subject;
use skep_trust::Verifier;
use skep_trust::attach;
use skep_trust::attest;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

fn statement(subject: &Subject, predicate_type: &str, predicate: Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "site", "digest": {"sha256": subject.digest().hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

async fn put(registry: &dyn Registry, subject: &Subject, bundle: impl Into<Bytes>) {
    attach(registry, &repo(), subject, bundle.into(), Annotations::new()).await.unwrap();
}

async fn inspect(verifier: &Verifier, registry: &dyn Registry, subject: &Subject) -> Report {
    verifier.inspect(registry, &repo(), subject).await.unwrap()
}

/// H1: a signature on one referrer does not lend itself to a statement on another that nobody signed.
#[tokio::test]
async fn h1_a_statement_that_nobody_signed_is_not_verified_by_a_signature_beside_it() {
    let (registry, subject) = site().await;
    let (signer, verifier) = trusted_key();
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    let forged = statement(&subject, PROVENANCE, json!({"runDetails": {"builder": {"id": "https://acme.example"}}}));
    let payload = STANDARD.encode(forged.to_string());
    let bundle = |signature: &str| {
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {
                "payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": signature}],
            },
        })
    };
    put(&registry, &subject, bundle("").to_string()).await;
    put(&registry, &subject, bundle(&STANDARD.encode("not a signature")).to_string()).await;
    let bare = json!({"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []});
    put(&registry, &subject, bare.to_string()).await;
    put(&registry, &subject, forged.to_string()).await;
    let report = inspect(&verifier, &registry, &subject).await;
    assert_eq!(report.verified.len(), 1);
    assert_eq!(report.rejected.len(), 4);
    assert!(report.require_signature().is_ok());
    assert!(report.require_attestation(PROVENANCE).is_err());
}

/// H1, the other half: the statement is signed, by somebody else than the one who is accepted.
#[tokio::test]
async fn h1_a_statement_of_a_stranger_is_not_verified_by_a_signature_beside_it() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = site().await;
    let dev = signer(&sigstore, sigstore.services(), &Who::person(EMAIL));
    let eve = signer(&sigstore, sigstore.services(), &Who::person("eve@acme.example"));
    sign(&registry, &repo(), &subject, &dev, &SignOptions::default()).await.unwrap();
    let content = json!({"runDetails": {"builder": {"id": "https://acme.example"}}});
    let predicate = Predicate { kind: PROVENANCE, content: &content, created: None };
    attest(&registry, &repo(), &subject, predicate, &eve).await.unwrap();
    let report = inspect(&verifier(&sigstore), &registry, &subject).await;
    assert!(report.require_signature().is_ok());
    assert!(report.require_attestation(PROVENANCE).is_err());
    assert_eq!(report.nearest().unwrap().stage, Stage::Identity);
}

/// H2: a statement about another artifact, signed as it should be, attached to this one.
#[tokio::test]
async fn h2_a_statement_about_other_bytes_does_not_hold_here() {
    let registry = Memory::default();
    let (good, evil) = (push(&registry, "good").await, push(&registry, "evil").await);
    let (signer, verifier) = trusted_key();
    let content = json!({});
    let predicate = Predicate { kind: PROVENANCE, content: &content, created: None };
    let attestation = attest(&registry, &repo(), &good, predicate, &signer).await.unwrap();
    let mut bundles = vec![attestation.bundle];
    for format in [SignFormat::Statement, SignFormat::Message] {
        let options = SignOptions { format, created: None };
        bundles.push(sign(&registry, &repo(), &good, &signer, &options).await.unwrap().bundle);
    }
    for bundle in bundles {
        put(&registry, &evil, bundle).await;
    }
    assert_eq!(inspect(&verifier, &registry, &good).await.verified.len(), 3);
    let report = inspect(&verifier, &registry, &evil).await;
    assert_eq!(report.verified, []);
    let mut stages: Vec<_> = report.rejected.iter().map(|rejection| rejection.stage).collect();
    stages.sort();
    assert_eq!(stages, [Stage::Signature, Stage::Subject, Stage::Subject]);
}

/// H2: digests that are nearly right.
#[tokio::test]
async fn h2_digests_are_compared_whole_and_with_their_algorithm() {
    let (registry, subject) = site().await;
    let (signer, verifier) = trusted_key();
    let hex = subject.digest().hex().to_owned();
    let digests = [
        json!({"sha256": hex[..62]}),
        json!({"sha256": format!("{hex}00")}),
        json!({"sha256": hex.to_uppercase()}),
        json!({"sha512": hex}),
        json!({"md5": hex}),
        json!({"": hex}),
        json!({}),
    ];
    for digest in digests {
        let mut statement = statement(&subject, PROVENANCE, json!({}));
        statement["subject"][0]["digest"] = digest.clone();
        let bundle = signer.sign_statement(statement.to_string().as_bytes()).await.unwrap();
        assert!(verifier.verify_bundle(&subject, &bundle).is_err(), "{digest}");
    }
    let mut without = statement(&subject, PROVENANCE, json!({}));
    without["subject"] = json!([]);
    let bundle = signer.sign_statement(without.to_string().as_bytes()).await.unwrap();
    assert_eq!(verifier.verify_bundle(&subject, &bundle).unwrap_err().stage, Stage::Subject);
    let _ = registry;
}

/// A registry that answers with other bytes than those it is asked for, and remembers what it was asked.
#[derive(Debug)]
struct Liar {
    honest: Memory,
    manifest: Option<Manifest>,
    blob: Option<Bytes>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Registry for Liar {
    forward_registry!(self => (self.honest); head_blob, locate_blob, head_manifest, put_blob, upload_blob, mount_blob,
        put_manifest, delete_blob, delete_manifest, list_tags, list_referrers, list_repos);

    async fn get_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> skep_registry::Result<Blob> {
        let blob = self.honest.get_blob(repo, digest, range).await?;
        let Some(bytes) = &self.blob else { return Ok(blob) };
        let range = 0..bytes.len() as u64;
        let descriptor = Descriptor { size: range.end, ..blob.descriptor };
        Ok(Blob { descriptor, range, body: Body::from(bytes.clone()) })
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> skep_registry::Result<Manifest> {
        self.asked.lock().unwrap().push(reference.to_string());
        match &self.manifest {
            Some(manifest) => Ok(manifest.clone()),
            None => self.honest.get_manifest(repo, reference).await,
        }
    }
}

/// H6: the registry showed other bytes than the signed ones, and shows the signed ones to whoever asks again.
#[tokio::test]
async fn h6_the_bytes_in_hand_are_verified_and_never_fetched_again() {
    let honest = Memory::default();
    let (good, evil) = (push(&honest, "good").await, push(&honest, "evil").await);
    let (signer, verifier) = trusted_key();
    for format in [SignFormat::Statement, SignFormat::Message] {
        let options = SignOptions { format, created: None };
        let signed = sign(&honest, &repo(), &good, &signer, &options).await.unwrap();
        put(&honest, &evil, signed.bundle).await;
    }
    let registry = Liar { honest, manifest: None, blob: None, asked: Mutex::default() };
    let report = inspect(&verifier, &registry, &evil).await;
    assert_eq!(report.verified, []);
    assert_eq!(report.rejected.len(), 2);
    let asked = registry.asked.into_inner().unwrap();
    assert!(!asked.contains(&evil.digest().to_string()) && !asked.contains(&good.digest().to_string()), "{asked:?}");
    // Bytes and a digest that they do not have are no subject to begin with.
    assert!(Subject::new(good.descriptor().clone(), evil.bytes().clone()).is_err());
}

/// H6 and H7: what is attached is only read if it has the digest it was asked for by.
#[tokio::test]
async fn h6_attachments_with_another_digest_are_not_read() {
    let (honest, subject) = site().await;
    let (signer, verifier) = trusted_key();
    let signed = sign(&honest, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    let (stranger, _) = trusted_key();
    let (other, _) = site().await;
    let forged = sign(&other, &repo(), &subject, &stranger, &SignOptions::default()).await.unwrap();

    // Of the same size, so that nothing but the digest tells.
    let mut bytes = forged.bundle.to_vec();
    bytes.resize(signed.bundle.len(), b' ');
    let registry = Liar { honest, manifest: None, blob: Some(bytes.into()), asked: Mutex::default() };
    let report = inspect(&verifier, &registry, &subject).await;
    assert_eq!(report.rejected.iter().map(|rejection| rejection.stage).collect::<Vec<_>>(), [Stage::Fetch]);

    let registry = Liar { manifest: Some(forged.manifest), blob: None, ..registry };
    let report = inspect(&verifier, &registry, &subject).await;
    assert_eq!(report.verified, []);
    assert!(report.rejected.iter().any(|rejection| rejection.stage == Stage::Fetch), "{report}");
}

/// H7: whatever is attached is bounded before it is read, and hides nothing that is good.
#[tokio::test]
async fn h7_what_is_too_large_or_too_many_is_refused_and_hides_nothing() {
    let (registry, subject) = site().await;
    let (signer, verifier) = trusted_key();
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();

    put(&registry, &subject, vec![b' '; (8 << 20) + 1]).await;
    let mut layers = Vec::new();
    for number in 0..40 {
        let bytes = Bytes::from(format!("{{\"number\":{number}}}"));
        let layer = Descriptor::of(BUNDLE, &bytes);
        registry.put_blob(&repo(), &layer, Body::from(bytes)).await.unwrap();
        layers.push(layer);
    }
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        artifact_type: Some(BUNDLE.to_owned()),
        config: Some(Descriptor::of(media_type::EMPTY, b"{}")),
        layers: Some(layers),
        subject: Some(subject.descriptor().clone()),
        ..ManifestContent::default()
    };
    let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
    registry.put_manifest(&repo(), &manifest, PutManifest::default()).await.unwrap();

    let report = inspect(&verifier, &registry, &subject).await;
    assert!(report.require_signature().is_ok());
    let limits: Vec<_> = report.rejected.iter().filter(|rejection| rejection.stage == Stage::Limit).collect();
    assert_eq!(limits.len(), 2, "{report}");
    let parsed = report.rejected.iter().filter(|rejection| rejection.stage == Stage::Parse).count();
    assert_eq!(parsed, 16);
}

#[tokio::test]
async fn h7_referrers_beyond_the_limit_are_counted_and_not_read() {
    let (registry, subject) = site().await;
    for number in 0..70 {
        put(&registry, &subject, format!("{{\"number\":{number}}}")).await;
    }
    let (_, verifier) = trusted_key();
    let report = inspect(&verifier, &registry, &subject).await;
    assert_eq!((report.rejected.len(), report.unread), (64, 6));
    let verifier = verifier.with_limits(Limits { listed: 10, referrers: 64, ..Limits::default() });
    let report = inspect(&verifier, &registry, &subject).await;
    assert_eq!((report.rejected.len(), report.unread), (10, 1));
    let verifier = verifier.with_limits(Limits { referrers: 3, total: 20, ..Limits::default() });
    let report = inspect(&verifier, &registry, &subject).await;
    assert_eq!((report.rejected.len(), report.unread), (3, 67));
    assert!(report.rejected.iter().any(|rejection| rejection.stage == Stage::Limit), "{report}");
}

#[tokio::test]
async fn h7_parts_of_a_bundle_are_counted_before_it_is_parsed() {
    let (_, subject) = site().await;
    let (signer, verifier) = trusted_key();
    let statement = statement(&subject, PROVENANCE, json!({}));
    let good = signer.sign_statement(statement.to_string().as_bytes()).await.unwrap();
    let good: Value = serde_json::from_slice(&good).unwrap();
    let entries = |count| Value::Array(vec![json!({}); count]);
    let cases = [
        ("/verificationMaterial/tlogEntries", entries(33), "log entries: at most 32, got 33"),
        (
            "/verificationMaterial/tlogEntries",
            json!([{"inclusionProof": {"hashes": vec![""; 65]}}]),
            "hashes of a proof: at most 64, got 65",
        ),
        (
            "/verificationMaterial/timestampVerificationData",
            json!({"rfc3161Timestamps": entries(33)}),
            "timestamps: at most 32, got 33",
        ),
    ];
    for (pointer, value, why) in cases {
        let mut bundle = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        bundle.pointer_mut(parent).unwrap()[name] = value;
        let rejection = verifier.verify_bundle(&subject, &bundle.to_string().into()).unwrap_err();
        assert_eq!((rejection.stage, rejection.why), (Stage::Limit, format!("too many {why}")));
    }
    let mut chain = good.clone();
    chain["verificationMaterial"] = json!({"x509CertificateChain": {"certificates": entries(17)}, "tlogEntries": []});
    let rejection = verifier.verify_bundle(&subject, &chain.to_string().into()).unwrap_err();
    assert_eq!(rejection.why, "too many certificates: at most 16, got 17");
}

#[tokio::test]
async fn h7_subjects_and_digests_are_counted() {
    let (_, subject) = site().await;
    let (signer, verifier) = trusted_key();
    let mut many = statement(&subject, PROVENANCE, json!({}));
    let one = many["subject"][0].clone();
    many["subject"] = Value::Array(vec![one; 1025]);
    let bundle = signer.sign_statement(many.to_string().as_bytes()).await.unwrap();
    let rejection = verifier.verify_bundle(&subject, &bundle).unwrap_err();
    assert_eq!(rejection.why, "too many subjects: at most 1024, got 1025");
    let mut many = statement(&subject, PROVENANCE, json!({}));
    for number in 0..32 {
        many["subject"][0]["digest"][number.to_string()] = json!("00");
    }
    let bundle = signer.sign_statement(many.to_string().as_bytes()).await.unwrap();
    let rejection = verifier.verify_bundle(&subject, &bundle).unwrap_err();
    assert_eq!(rejection.why, "too many digests of a subject: at most 32, got 33");
    // One less of each holds.
    many["subject"][0]["digest"].as_object_mut().unwrap().remove("0");
    let bundle = signer.sign_statement(many.to_string().as_bytes()).await.unwrap();
    assert!(verifier.verify_bundle(&subject, &bundle).is_ok());
}

/// H10: whoever attests something, whatever it is, has not signed.
#[tokio::test]
async fn h10_no_predicate_but_that_of_signatures_is_a_signature() {
    let (registry, subject) = site().await;
    let (signer, verifier) = trusted_key();
    for kind in ["https://acme.example/vulnerable/v1", PROVENANCE, "https://sigstore.dev/cosign/sign/v2"] {
        let content = json!({"approved": false});
        let predicate = Predicate { kind, content: &content, created: None };
        attest(&registry, &repo(), &subject, predicate, &signer).await.unwrap();
    }
    let report = inspect(&verifier, &registry, &subject).await;
    assert_eq!(report.verified.len(), 3);
    assert_eq!(report.signatures().count(), 0);
    assert!(report.require_signature().is_err());
}

#[tokio::test]
async fn h10_a_signature_with_something_to_say_is_refused() {
    let (_, subject) = site().await;
    let (signer, verifier) = trusted_key();
    for (predicate, holds) in [
        (json!({}), true),
        (Value::Null, true),
        (json!({"approved": false}), false),
        (json!("no"), false),
        (json!([]), false),
    ] {
        let statement = statement(&subject, skep_trust::SIGNATURE_PREDICATE, predicate.clone());
        let bundle = signer.sign_statement(statement.to_string().as_bytes()).await.unwrap();
        assert_eq!(verifier.verify_bundle(&subject, &bundle).is_ok(), holds, "{predicate}");
    }
}

/// An envelope for something else than statements is not one, though its content reads like one.
#[tokio::test]
async fn payloads_of_another_type_are_refused() {
    let (_, subject) = site().await;
    let (signer, verifier) = trusted_key();
    let statement = statement(&subject, PROVENANCE, json!({}));
    let bundle = signer.sign_statement(statement.to_string().as_bytes()).await.unwrap();
    let mut bundle: Value = serde_json::from_slice(&bundle).unwrap();
    bundle["dsseEnvelope"]["payloadType"] = json!("text/plain");
    let rejection = verifier.verify_bundle(&subject, &bundle.to_string().into()).unwrap_err();
    assert_eq!(rejection.stage, Stage::Parse);
    let mut other = statement;
    other["_type"] = json!("https://acme.example/Statement/v9");
    let bundle = signer.sign_statement(other.to_string().as_bytes()).await.unwrap();
    assert_eq!(verifier.verify_bundle(&subject, &bundle).unwrap_err().stage, Stage::Parse);
}

/// An entry of a log that nobody vouches for, beside one that is proven.
#[tokio::test]
async fn entries_with_neither_proof_nor_promise_are_refused() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = site().await;
    let dev = signer(&sigstore, sigstore.services(), &Who::person(EMAIL));
    let signed = sign(&registry, &repo(), &subject, &dev, &SignOptions::default()).await.unwrap();
    let mut bundle: Value = serde_json::from_slice(&signed.bundle).unwrap();
    let mut entry = bundle["verificationMaterial"]["tlogEntries"][0].clone();
    entry.as_object_mut().unwrap().remove("inclusionProof");
    entry.as_object_mut().unwrap().remove("inclusionPromise");
    entry["logIndex"] = json!("4711");
    bundle["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(entry);
    let rejection = verifier(&sigstore).verify_bundle(&subject, &bundle.to_string().into()).unwrap_err();
    assert_eq!(rejection.stage, Stage::Log);
}

/// What strangers wrote is quoted in reasons, which go to terminals and logs.
#[tokio::test]
async fn reasons_are_short_and_have_no_control_characters() {
    let (_, subject) = site().await;
    let (signer, verifier) = trusted_key();
    let mut long = statement(&subject, PROVENANCE, json!({}));
    long["subject"][0]["digest"] = json!({"\u{1b}[2J": "x".repeat(1 << 20)});
    let mut strange = statement(&subject, PROVENANCE, json!({}));
    strange["_type"] = json!("\u{1b}]0;owned\u{7}".repeat(1000));
    for statement in [long, strange] {
        let bundle = signer.sign_statement(statement.to_string().as_bytes()).await.unwrap();
        let rejection = verifier.verify_bundle(&subject, &bundle).unwrap_err();
        assert!(rejection.why.chars().count() <= 1001, "{}", rejection.why.len());
        assert!(!rejection.why.chars().any(char::is_control), "{:?}", rejection.why);
    }
}
