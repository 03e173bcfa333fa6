//! What the tests share: a registry with a manifest, and bundles of others.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::json;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::media_type;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::IdentityToken;
use skep_trust::KeylessSigner;
use skep_trust::Pattern;
use skep_trust::Services;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
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
