//! What cosign wrote before version 3: signatures and attestations under tags.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_registry::Annotations;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::media_type;
use skep_trust::Check;
use skep_trust::Claim;
use skep_trust::IdentityPattern;
use skep_trust::Kind;
use skep_trust::Pattern;
use skep_trust::PrivateKey;
use skep_trust::Report;
use skep_trust::SignatureForm;
use skep_trust::Signer;
use skep_trust::Stage;
use skep_trust::Subject;
use skep_trust::TimeSource;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
const TYPE: &str = "cosign container image signature";

fn payload(digest: &str, kind: &str) -> Bytes {
    let identity = json!({"docker-reference": "registry.test/acme/site"});
    let image = json!({"docker-manifest-digest": digest});
    json!({"critical": {"identity": identity, "image": image, "type": kind}, "optional": null}).to_string().into()
}

/// Attaches layers by a tag, as cosign does.
async fn put(registry: &Memory, subject: &Subject, suffix: &str, layers: &[(Bytes, Annotations)]) {
    let kind = if suffix == "sig" { SIMPLE_SIGNING } else { DSSE };
    let mut described = Vec::new();
    for (bytes, annotations) in layers {
        let layer = Descriptor { annotations: annotations.clone(), ..Descriptor::of(kind, bytes) };
        registry.put_blob(&repo(), &layer, Body::from(bytes.clone())).await.unwrap();
        described.push(layer);
    }
    let config = Descriptor::of("application/vnd.oci.image.config.v1+json", b"{}");
    registry.put_blob(&repo(), &config, Body::from(Bytes::from_static(b"{}"))).await.unwrap();
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        config: Some(config),
        layers: Some(described),
        ..ManifestContent::default()
    };
    let tag = format!("sha256-{}.{suffix}", subject.digest().hex()).parse().unwrap();
    let options = PutManifest { tags: vec![tag], ..PutManifest::default() };
    registry.put_manifest(&repo(), &Manifest::new(media_type::IMAGE, content.to_bytes()), options).await.unwrap();
}

fn annotation(name: &str, value: impl Into<String>) -> Annotations {
    Annotations::from([(name.to_owned(), value.into())])
}

async fn inspect(verifier: &Verifier, registry: &Memory, subject: &Subject) -> Report {
    verifier.inspect(registry, &repo(), subject).await.unwrap()
}

#[tokio::test]
async fn a_signature_of_a_key_holds() {
    let (registry, subject) = site().await;
    let key = PrivateKey::generate().unwrap();
    let verifier = Verifier::default().trust_key(key.public_key().clone());
    let signed = |payload: Bytes| {
        let signature = STANDARD.encode(key.sign(&payload).unwrap());
        (payload, annotation("dev.cosignproject.cosign/signature", signature))
    };
    let good = signed(payload(subject.digest().as_str(), TYPE));
    put(&registry, &subject, "sig", std::slice::from_ref(&good)).await;
    let report = inspect(&verifier, &registry, &subject).await;
    let verified = report.require_signature().unwrap();
    assert_eq!(verified.kind(), &Kind::Signature { form: SignatureForm::SimpleSigning });

    let other = format!("sha256:{}", "0".repeat(64));
    let tampered = (payload(subject.digest().as_str(), "https://sigstore.dev/cosign/sign/v1"), good.1.clone());
    let stranger = PrivateKey::generate().unwrap();
    let stranger = STANDARD.encode(stranger.sign(&good.0).unwrap());
    let cases = [
        (signed(payload(&other, TYPE)), Stage::Subject),
        (signed(payload(subject.digest().as_str(), "something else")), Stage::Parse),
        (signed(Bytes::from_static(b"{}")), Stage::Parse),
        (tampered, Stage::Signature),
        ((good.0.clone(), annotation("dev.cosignproject.cosign/signature", stranger)), Stage::Signature),
        ((good.0.clone(), annotation("dev.cosignproject.cosign/signature", "%")), Stage::Parse),
        ((good.0.clone(), Annotations::new()), Stage::Parse),
    ];
    for (layer, stage) in cases {
        put(&registry, &subject, "sig", std::slice::from_ref(&layer)).await;
        let report = inspect(&verifier, &registry, &subject).await;
        assert_eq!(report.verified, [], "{layer:?}");
        assert_eq!(report.nearest().unwrap().stage, stage, "{report}");
        // What does not hold hides nothing that does.
        put(&registry, &subject, "sig", &[layer, good.clone()]).await;
        assert!(inspect(&verifier, &registry, &subject).await.require_signature().is_ok());
    }
}

/// The same signature in the form cosign wrote it: everything of a bundle in annotations.
fn annotations(bundle: &Value) -> Annotations {
    let material = &bundle["verificationMaterial"];
    let entry = &material["tlogEntries"][0];
    let number = |name: &str| entry[name].as_str().unwrap().parse::<u64>().unwrap();
    let hex = |text: &str| STANDARD.decode(text).unwrap().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let log = json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": number("integratedTime"),
            "logIndex": number("logIndex"),
            "logID": hex(entry["logId"]["keyId"].as_str().unwrap()),
        },
    });
    let der = STANDARD.decode(material["certificate"]["rawBytes"].as_str().unwrap()).unwrap();
    let mut all = annotation("dev.sigstore.cosign/bundle", log.to_string());
    all.insert("dev.sigstore.cosign/certificate".to_owned(), pem::encode(&pem::Pem::new("CERTIFICATE", der)));
    all.insert(
        "dev.cosignproject.cosign/signature".to_owned(),
        bundle["messageSignature"]["signature"].as_str().unwrap_or_default().to_owned(),
    );
    if let Some(stamp) = material["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"].as_str() {
        let stamp = json!({"SignedRFC3161Timestamp": stamp}).to_string();
        all.insert("dev.sigstore.cosign/rfc3161timestamp".to_owned(), stamp);
    }
    all
}

#[tokio::test]
async fn a_signature_of_an_identity_holds_with_its_log_and_time() {
    let sigstore = Sigstore::start().await.unwrap();
    let services = sigstore.services().with_timestamps(&format!("{}/timestamp", sigstore.url()));
    let signer = signer(&sigstore, services, &Who::person(EMAIL));
    let (registry, subject) = site().await;
    let payload = payload(subject.digest().as_str(), TYPE);
    let bundle: Value = serde_json::from_slice(&signer.sign_message(&payload).await.unwrap()).unwrap();
    let good = annotations(&bundle);
    put(&registry, &subject, "sig", &[(payload.clone(), good.clone())]).await;
    let report = inspect(&verifier(&sigstore), &registry, &subject).await;
    let verified = report.require_signature().unwrap_or_else(|error| panic!("{error}\n{report}"));
    assert_eq!(verified.signer().certificate().unwrap().identity, EMAIL);
    let sources: Vec<_> = verified.times().iter().map(|time| time.source).collect();
    assert_eq!(sources, [TimeSource::TimestampAuthority, TimeSource::Log]);
    assert!(verified.checks().contains(&Check::Log) && verified.checks().contains(&Check::Timestamp));

    for name in ["dev.sigstore.cosign/bundle", "dev.sigstore.cosign/certificate"] {
        let mut without = good.clone();
        without.remove(name);
        put(&registry, &subject, "sig", &[(payload.clone(), without)]).await;
        assert_eq!(inspect(&verifier(&sigstore), &registry, &subject).await.verified, [], "without {name}");
    }
    let mut later = good.clone();
    let log = later["dev.sigstore.cosign/bundle"].replacen("\"integratedTime\":1", "\"integratedTime\":2", 1);
    assert_ne!(log, good["dev.sigstore.cosign/bundle"]);
    later.insert("dev.sigstore.cosign/bundle".to_owned(), log);
    put(&registry, &subject, "sig", &[(payload, later)]).await;
    assert_eq!(inspect(&verifier(&sigstore), &registry, &subject).await.verified, []);
}

#[tokio::test]
async fn an_attestation_holds_and_is_no_signature() {
    let sigstore = Sigstore::start().await.unwrap();
    let signer = signer(&sigstore, sigstore.services(), &Who::workflow("acme/site", "build.yml", "refs/heads/main"));
    let (registry, subject) = site().await;
    let statement = |hex: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "subject": [{"name": "registry.test/acme/site", "digest": {"sha256": hex}}],
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "predicate": {"builder": {"id": "https://acme.example"}},
        })
    };
    let root = root(&sigstore);
    let verifier = Verifier::default().trust_root(&root).unwrap().accept(IdentityPattern::anyone());
    for (hex, holds) in [(subject.digest().hex().to_owned(), true), ("0".repeat(64), false)] {
        let bundle = signer.sign_statement(statement(&hex).to_string().as_bytes()).await.unwrap();
        let bundle: Value = serde_json::from_slice(&bundle).unwrap();
        let envelope = Bytes::from(bundle["dsseEnvelope"].to_string());
        put(&registry, &subject, "att", &[(envelope, annotations(&bundle))]).await;
        let report = inspect(&verifier, &registry, &subject).await;
        assert_eq!(report.require_attestation("https://slsa.dev/provenance/v0.2").is_ok(), holds, "{report}");
        assert!(report.require_signature().is_err());
    }
}

/// Real ones, of the public Sigstore: provenance that the generator of SLSA attached to images.
#[tokio::test]
async fn provenance_that_cosign_attached_to_real_images_holds() {
    let workflow = IdentityPattern::new(
        Pattern::glob("https://github.com/slsa-framework/slsa-github-generator/.github/workflows/*@refs/tags/*")
            .unwrap(),
        Pattern::exact("https://token.actions.githubusercontent.com"),
    )
    .with_claim(Claim::Runner, Pattern::exact("github-hosted"));
    let root = TrustedRoot::sigstore().unwrap();
    let verifier = Verifier::default().trust_root(&root).unwrap().accept(workflow);
    for version in ["v1.10.0", "v2.0.0", "v2.1.0"] {
        let (registry, subject) = real_image(version).await;
        let report = inspect(&verifier, &registry, &subject).await;
        let verified = report.require_attestation("https://slsa.dev/provenance/v0.2");
        let verified = verified.unwrap_or_else(|error| panic!("{version}: {error}"));
        assert_eq!(verified.log_entries().len(), 1);
        let claims = &verified.signer().certificate().unwrap().claims;
        let source = verified.attestation().unwrap().predicate["invocation"]["configSource"]["uri"].as_str().unwrap();
        assert!(source.contains(claims.repository.as_deref().unwrap()), "{source}: {claims:?}");
        assert!(report.require_signature().is_err());
    }
}
