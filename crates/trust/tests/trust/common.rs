//! What the tests share: a registry with a manifest, and bundles of others.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::media_type;
use skep_trust::Decision;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::IdentityToken;
use skep_trust::KeySigner;
use skep_trust::KeylessSigner;
use skep_trust::Pattern;
use skep_trust::Policy;
use skep_trust::Predicate;
use skep_trust::PrivateKey;
use skep_trust::Services;
use skep_trust::Signer;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
use skep_trust::attest;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

pub(crate) const EMAIL: &str = "dev@acme.example";

pub(crate) fn repo() -> RepoName {
    "acme/site".parse().unwrap()
}

/// A manifest that no other name gives.
pub(crate) async fn push(registry: &dyn Registry, name: &str) -> Subject {
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [], "annotations": {"name": name},
    });
    let manifest = Manifest::new(media_type::INDEX, index.to_string());
    registry.put_manifest(&repo(), &manifest, PutManifest::default()).await.unwrap();
    Subject::from(&manifest)
}

pub(crate) async fn site() -> (Memory, Subject) {
    let registry = Memory::default();
    let subject = push(&registry, "site").await;
    (registry, subject)
}

pub(crate) fn fixture(name: &str) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

pub(crate) fn text(name: &str) -> String {
    String::from_utf8(fixture(name).to_vec()).unwrap()
}

/// Any bytes as if they were a manifest.
pub(crate) fn subject_of(bytes: &Bytes) -> Subject {
    Subject::new(Descriptor::of("application/octet-stream", bytes), bytes.clone()).unwrap()
}

pub(crate) fn token(sigstore: &Sigstore, who: &Who) -> IdentityToken {
    IdentityToken::new(&sigstore.token(who).unwrap()).unwrap()
}

pub(crate) fn signer(sigstore: &Sigstore, services: Services, who: &Who) -> KeylessSigner {
    KeylessSigner::new(services, token(sigstore, who))
}

pub(crate) fn root(sigstore: &Sigstore) -> TrustedRoot {
    TrustedRoot::from_json(&sigstore.trusted_root(), Evidence::default()).unwrap()
}

/// Believes one's own Sigstore, and accepts the person.
pub(crate) fn verifier(sigstore: &Sigstore) -> Verifier {
    let person = IdentityPattern::new(Pattern::exact(EMAIL), Pattern::exact(sigstore.url()));
    Verifier::default().trust_root(&root(sigstore)).unwrap().accept(person)
}

/// A real image of a release of the generator of SLSA, with its provenance of version 0.2 as cosign attached it.
pub(crate) async fn real_image(release: &str) -> (Memory, Subject) {
    let file = |name: &str| fixture(&format!("slsa-verifier/{release}/{name}.json"));
    let registry = Memory::default();
    let subject = Subject::from(&Manifest::new(media_type::INDEX, file("subject")));
    let att = Manifest::new(media_type::IMAGE, file("att"));
    let content = att.content().unwrap();
    for (blob, name) in [(&content.config.unwrap(), "config"), (&content.layers.unwrap()[0], "envelope")] {
        registry.put_blob(&repo(), blob, Body::from(file(name))).await.unwrap();
    }
    let tag = format!("sha256-{}.att", subject.digest().hex()).parse().unwrap();
    let options = PutManifest { tags: vec![tag], ..PutManifest::default() };
    registry.put_manifest(&repo(), &att, options).await.unwrap();
    (registry, subject)
}

/// A key that is trusted, and the verifier that trusts it.
pub(crate) fn trusted_key() -> (KeySigner, Verifier) {
    let key = PrivateKey::generate().unwrap();
    let verifier = Verifier::default().trust_key(key.public_key().clone());
    (KeySigner::new(key), verifier)
}

/// What GitHub's action writes into a provenance.
pub(crate) fn provenance(repository: &str, reference: &str, path: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {
                "workflow": {"repository": repository, "ref": reference, "path": path},
            },
            "resolvedDependencies": [{
                "uri": format!("git+{repository}@{reference}"),
                "digest": {"gitCommit": "c0ffee0000000000000000000000000000000000"},
            }],
        },
        "runDetails": {"builder": {"id": format!("{repository}/{path}@{reference}")}},
    })
}

/// What the generator of SLSA writes into a provenance of the version before.
pub(crate) fn old_provenance(repository: &str, reference: &str, path: &str, builder: &str) -> Value {
    json!({
        "builder": {"id": builder},
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/container@v1",
        "invocation": {"configSource": {
            "uri": format!("git+{repository}@{reference}"),
            "digest": {"sha1": "c0ffee0000000000000000000000000000000000"},
            "entryPoint": path,
        }},
        "materials": [],
    })
}

pub(crate) const SLSA_V1: &str = "https://slsa.dev/provenance/v1";
pub(crate) const SLSA_V0_2: &str = "https://slsa.dev/provenance/v0.2";

pub(crate) async fn attested(
    registry: &dyn Registry,
    subject: &Subject,
    kind: &str,
    content: &Value,
    signer: &dyn Signer,
) {
    let predicate = Predicate { kind, content, created: None };
    attest(registry, &repo(), subject, predicate, signer).await.unwrap();
}

/// Decides, and holds the decision to what it says of itself.
pub(crate) async fn decide(policy: &Policy, registry: &dyn Registry, subject: &Subject) -> Decision {
    let decision = policy.decide(registry, &repo(), subject, "registry.test/acme/site:v1").await.unwrap();
    assert_eq!(decision.require().is_ok(), decision.is_allowed());
    decision
}
