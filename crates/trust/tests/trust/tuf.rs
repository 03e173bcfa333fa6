//! Updates: a root that is published holds; one that is too old, older than before, or of others does not.

use std::path::Path;

use jiff::SignedDuration;
use jiff::Timestamp;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::Pattern;
use skep_trust::Services;
use skep_trust::SignOptions;
use skep_trust::TrustedRoot;
use skep_trust::Updated;
use skep_trust::Updates;
use skep_trust::Verifier;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

fn updates(sigstore: &Sigstore, cache: &Path) -> Updates {
    Updates::new(&sigstore.updates_url(), sigstore.updates_root(), cache)
}

async fn fetch(updates: Updates) -> skep_trust::Result<Updated<TrustedRoot>> {
    updates.trusted_root(Evidence::default()).await
}

fn in_a_year() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24 * 365)
}

#[tokio::test]
async fn what_is_published_signs_and_verifies() {
    let (sigstore, cache) = (Sigstore::start().await.unwrap(), tempfile::tempdir().unwrap());
    let updates = updates(&sigstore, cache.path());
    let config = updates.signing_config().await.unwrap();
    assert_eq!(config.away, None);
    let (registry, subject) = site().await;
    let services = Services::from_signing_config(&config.value).unwrap();
    let signer = signer(&sigstore, services, &Who::person(EMAIL));
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    let root = fetch(updates).await.unwrap();
    assert_eq!(root.away, None);
    let person = IdentityPattern::new(Pattern::exact(EMAIL), Pattern::exact(sigstore.url()));
    let verifier = Verifier::default().trust_root(&root.value).unwrap().accept(person);
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    assert!(report.require_signature().is_ok(), "{report}");
}

#[tokio::test]
async fn what_was_kept_is_used_when_the_repository_is_away() {
    let (sigstore, cache) = (Sigstore::start().await.unwrap(), tempfile::tempdir().unwrap());
    let updates = updates(&sigstore, cache.path());
    // Nothing was kept yet.
    assert!(fetch(updates.clone().offline()).await.is_err());
    assert!(fetch(updates.clone().from_mirror("http://127.0.0.1:9/")).await.is_err());
    fetch(updates.clone()).await.unwrap();
    let root = fetch(updates.clone().from_mirror("http://127.0.0.1:9/")).await.unwrap();
    assert!(root.away.unwrap().contains("http://127.0.0.1:9/"));
    let root = fetch(updates.clone().offline()).await.unwrap();
    assert_eq!(root.away.as_deref(), Some("no connection was wanted"));
    // Who begins with another root has kept nothing.
    let other = Sigstore::start().await.unwrap();
    let stranger = Updates::new(&other.updates_url(), other.updates_root(), cache.path());
    assert!(fetch(stranger.offline()).await.is_err());
}

#[tokio::test]
async fn what_is_too_old_is_refused() {
    let (sigstore, cache) = (Sigstore::start().await.unwrap(), tempfile::tempdir().unwrap());
    sigstore.publish_updates(2, Timestamp::now() - SignedDuration::from_secs(1)).unwrap();
    let error = fetch(updates(&sigstore, cache.path())).await.unwrap_err().to_string();
    assert!(error.contains("timestamp metadata expired"), "{error}");
    // Kept, and too old by now: neither offline nor when the repository is away.
    sigstore.publish_updates(3, Timestamp::now() + SignedDuration::from_millis(1500)).unwrap();
    let updates = updates(&sigstore, cache.path());
    fetch(updates.clone()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1600)).await;
    for updates in [updates.clone().offline(), updates.clone().from_mirror("http://127.0.0.1:9/"), updates] {
        assert!(fetch(updates).await.is_err());
    }
}

#[tokio::test]
async fn what_is_older_than_before_is_refused() {
    let (sigstore, cache) = (Sigstore::start().await.unwrap(), tempfile::tempdir().unwrap());
    sigstore.publish_updates(5, in_a_year()).unwrap();
    let updates = updates(&sigstore, cache.path());
    fetch(updates.clone()).await.unwrap();
    sigstore.publish_updates(4, in_a_year()).unwrap();
    let error = fetch(updates.clone()).await.unwrap_err().to_string();
    assert!(error.contains("rollback detected for timestamp: trusted version 5 > new version 4"), "{error}");
    sigstore.publish_updates(6, in_a_year()).unwrap();
    assert_eq!(fetch(updates).await.unwrap().away, None);
}

#[tokio::test]
async fn what_others_signed_is_refused() {
    let (sigstore, other) = (Sigstore::start().await.unwrap(), Sigstore::start().await.unwrap());
    let cache = tempfile::tempdir().unwrap();
    let stranger = Updates::new(&other.updates_url(), sigstore.updates_root(), cache.path());
    let error = fetch(stranger).await.unwrap_err().to_string();
    assert!(error.contains("signature threshold not met for role timestamp"), "{error}");
    // What was kept is verified as what comes: nobody gains by writing there.
    let updates = updates(&sigstore, cache.path());
    fetch(updates.clone()).await.unwrap();
    let kept = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    let mut files: Vec<_> = walk(&kept);
    files.retain(|path| path.to_string_lossy().contains("trusted_root"));
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::write(&files[0], other.trusted_root()).unwrap();
    assert!(fetch(updates.clone().offline()).await.is_err());
    assert_eq!(fetch(updates).await.unwrap().away, None, "it is fetched again");
}

fn walk(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
