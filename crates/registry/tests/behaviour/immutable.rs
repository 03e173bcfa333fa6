//! `Immutable`: tags that stay where they are, and content that stays.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;

use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Immutable;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::Op;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
#[cfg(feature = "conformance")]
use skep_registry::conformance::PROMISES;
use skep_registry::guarded;

#[tokio::test]
async fn tags_can_be_made_and_not_moved() {
    let registry = Immutable::new(Memory::default());
    put(&registry, "one", &["v1"]).await.unwrap();
    put(&registry, "one", &["v2", "latest"]).await.unwrap();
    let error = put(&registry, "two", &["v1"]).await.unwrap_err();
    assert_eq!(error.to_string(), "requested access to the resource is denied: tag v1 in a cannot be moved");
    assert_eq!(tagged(&registry, "v1").await, Some(manifest("one")));
}

#[tokio::test]
async fn storing_the_same_again_is_fine() {
    let registry = Immutable::new(Memory::default());
    put(&registry, "one", &["v1"]).await.unwrap();
    put(&registry, "one", &["v1"]).await.unwrap();
    put(&registry, "one", &[]).await.unwrap();
    put(&registry, "two", &[]).await.unwrap();
    assert_eq!(tagged(&registry, "v1").await, Some(manifest("one")));
}

#[tokio::test]
async fn each_of_several_tags_counts() {
    let registry = Immutable::new(Memory::default());
    put(&registry, "one", &["v1"]).await.unwrap();
    put(&registry, "two", &["v2"]).await.unwrap();
    // A tag that is right already does not hide the others.
    put(&registry, "one", &["v1", "new"]).await.unwrap();
    assert_eq!(tagged(&registry, "new").await, Some(manifest("one")));
    let error = put(&registry, "one", &["v1", "newer", "v2"]).await.unwrap_err();
    assert_eq!(error.code(), &Code::Denied);
    assert_eq!(tagged(&registry, "newer").await, None);
    assert_eq!(tagged(&registry, "v2").await, Some(manifest("two")));
}

#[tokio::test]
async fn nothing_can_be_deleted() {
    let memory = Memory::default();
    let registry = Immutable::new(memory.clone());
    let blob = registry.write_blob(&repo(), "hello".into()).await.unwrap();
    put(&registry, "one", &["v1"]).await.unwrap();
    let digest = manifest("one").digest().clone();
    for reference in [ManifestRef::Digest(digest), ManifestRef::Tag(tag("v1")), ManifestRef::Tag(tag("v2"))] {
        let error = registry.delete_manifest(&repo(), &reference).await.unwrap_err();
        assert_eq!(error.code(), &Code::Denied);
    }
    for digest in [blob.digest, Digest::sha256(b"other")] {
        let error = registry.delete_blob(&repo(), &digest).await.unwrap_err();
        assert_eq!(error.code(), &Code::Denied);
    }
    assert!(memory.has_blob(&repo(), &Digest::sha256(b"hello")).await.unwrap());
    assert_eq!(tagged(&memory, "v1").await, Some(manifest("one")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_make_a_tag_at_once_one_succeeds() {
    for round in 0..50 {
        let registry = Arc::new(Immutable::new(Memory::default()));
        let puts = ["one", "two", "three", "four"].map(|seed| {
            let registry = registry.clone();
            tokio::spawn(async move { put(&*registry, seed, &["v1"]).await.is_ok().then_some(seed) })
        });
        let done = futures_util::future::join_all(puts).await;
        let winners: Vec<_> = done.into_iter().filter_map(|won| won.unwrap()).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(tagged(&*registry, "v1").await, Some(manifest(winners[0])));
    }
}

#[tokio::test]
async fn error_while_asking_is_never_taken_for_a_free_tag() {
    let memory = Memory::default();
    put(&memory, "one", &["v1"]).await.unwrap();
    for op in [Op::HeadManifest, Op::PutManifest] {
        let failing = guarded(memory.clone(), move |call| {
            if call.op == op { Err(Error::new(Code::Unavailable, "no route")) } else { Ok(()) }
        });
        let registry = Immutable::new(failing);
        for name in ["v1", "v2"] {
            let error = put(&registry, "two", &[name]).await.unwrap_err();
            assert_eq!(error.code(), &Code::Unavailable, "{op:?}");
        }
    }
    assert_eq!(tagged(&memory, "v1").await, Some(manifest("one")));
    assert_eq!(tagged(&memory, "v2").await, None);
}

#[tokio::test]
async fn the_same_bytes_keep_their_type() {
    let registry = Immutable::new(Memory::default());
    put(&registry, "one", &["v1"]).await.unwrap();
    let other = Manifest::new("application/vnd.other", manifest("one").bytes().clone());
    let error = registry.put_manifest(&repo(), &other, PutManifest::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Denied);
    assert_eq!(tagged(&registry, "v1").await, Some(manifest("one")));
}

#[tokio::test]
async fn whoever_asks_for_a_new_tag_is_told_that_it_is_taken() {
    let registry = Immutable::new(Memory::default());
    put(&registry, "one", &["v1"]).await.unwrap();
    let options = PutManifest { tags: vec![tag("v1")], if_absent: true };
    let error = registry.put_manifest(&repo(), &manifest("two"), options).await.unwrap_err();
    assert_eq!(error.code(), &Code::PreconditionFailed);
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn promises_about_what_stays_are_kept() {
    for (name, promise) in PROMISES.iter().filter(|(name, _)| !OF_CHANGE.contains(name)) {
        println!("{name}");
        promise(&Immutable::new(Memory::default())).await;
    }
}

async fn put(registry: &dyn Registry, seed: &str, tags: &[&str]) -> Result<()> {
    let options = PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), ..Default::default() };
    registry.put_manifest(&repo(), &manifest(seed), options).await
}

async fn tagged(registry: &dyn Registry, name: &str) -> Option<Manifest> {
    match registry.get_manifest(&repo(), &tag(name).into()).await {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            assert_eq!(error.code(), &Code::ManifestUnknown);
            None
        }
    }
}

fn manifest(seed: &str) -> Manifest {
    Manifest::new("application/vnd.example", format!("{{\"seed\":\"{seed}\"}}"))
}

fn repo() -> RepoName {
    "a".parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// Promises about what moves or goes away.
#[cfg(feature = "conformance")]
const OF_CHANGE: [&str; 9] = [
    "deleted_blob_is_gone",
    "deleted_manifest_takes_its_tags",
    "deleted_tag_leaves_the_manifest",
    "mounted_blob_is_there",
    "referrers_are_found_by_subject",
    "tags_move",
    "unknown_blob_is_not_found",
    "unknown_manifest_is_not_found",
    "unknown_repository_has_nothing",
];
