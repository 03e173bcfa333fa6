//! `Cached` asks for nothing twice, and answers what the registry would.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::double::Bodies;
use crate::double::Double;
use crate::double::noise;
use crate::double::push;
use crate::double::repo;
use crate::double::tag;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future;
use skep_registry::ByteRange;
use skep_registry::CacheStore;
use skep_registry::Cached;
use skep_registry::CachedOptions;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Key;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::Memory;
use skep_registry::MemoryStore;
use skep_registry::PutManifest;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Store;
use skep_registry::StoreOptions;
use skep_registry::media_type;

mod over_memory {
    use std::sync::Arc;
    use std::time::Duration;

    use skep_registry::Cached;
    use skep_registry::CachedOptions;
    use skep_registry::Memory;
    use skep_registry::MemoryStore;

    skep_registry::conformance_tests!({
        // Long enough that a tag which was not forgotten would be noticed.
        let options = CachedOptions { tag_lifetime: Duration::from_secs(3600), ..Default::default() };
        (Cached::new(Memory::default(), Arc::new(MemoryStore::new(64 << 20)), options), ())
    });
}

mod in_a_directory {
    use std::sync::Arc;

    use skep_registry::Cached;
    use skep_registry::Memory;
    use skep_registry::Store;

    skep_registry::conformance_tests!({
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Default::default()).unwrap();
        (Cached::new(Memory::default(), Arc::new(store), Default::default()), dir)
    });
}

mod that_keeps_nothing {
    use std::sync::Arc;

    use skep_registry::Cached;
    use skep_registry::Memory;
    use skep_registry::MemoryStore;

    skep_registry::conformance_tests!((
        Cached::new(Memory::default(), Arc::new(MemoryStore::new(0)), Default::default()),
        ()
    ));
}

#[tokio::test]
async fn what_was_read_is_not_asked_for_again() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let content = noise(2 * MIB + 5);
    let blob = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap();
    let manifest = push(&upstream.memory, "layer", &[]).await;
    let reference = manifest.digest().clone().into();
    assert_eq!(cached.read_blob(&repo(), &blob.digest, 9 << 20).await.unwrap(), content);
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), manifest);
    assert_eq!(upstream.calls(), ["get_blob", "get_manifest by digest"]);
    assert_eq!(cached.read_blob(&repo(), &blob.digest, 9 << 20).await.unwrap(), content);
    assert_eq!(cached.head_blob(&repo(), &blob.digest).await.unwrap().size, content.len() as u64);
    assert_eq!(read(&cached, &blob.digest, ByteRange::Last(7)).await, content[2 * MIB - 2..]);
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), manifest);
    assert_eq!(&cached.head_manifest(&repo(), &reference).await.unwrap(), manifest.descriptor());
    assert_eq!(upstream.calls(), [""; 0]);
}

#[tokio::test]
async fn runs_of_missing_blocks_are_one_request() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let content = noise(8 * MIB + 100);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    for (range, asked) in [
        // One byte is a block, and a range over a border is two.
        ((3 * MIB + 7, 3 * MIB + 8), &["get_blob bytes=3145728-4194303"][..]),
        ((3 * MIB, 4 * MIB), &[]),
        ((MIB - 1, MIB + 1), &["get_blob bytes=0-2097151"]),
        // Blocks 2 and 4 to 5 are missing around the one that is there.
        ((2 * MIB, 6 * MIB - 9), &["get_blob bytes=2097152-3145727", "get_blob bytes=4194304-6291455"]),
        ((0, 6 * MIB), &[]),
        ((7 * MIB, 9 * MIB), &["get_blob bytes=7340032-8388707"]),
        ((0, 9 * MIB), &["get_blob bytes=6291456-7340031"]),
        ((0, 9 * MIB), &[]),
    ] {
        let end = range.1.min(content.len());
        let got = read(&cached, &digest, ByteRange::Span(range.0 as u64, range.1 as u64)).await;
        assert!(got == content[range.0..end], "{range:?}");
        assert_eq!(upstream.calls(), asked, "{range:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_blob_is_read_without_knowing_its_size() {
    for (size, last) in [(5, 3), (5, 5), (5, 100), (MIB, 1), (3 * MIB + 9, 20), (3 * MIB + 9, 2 * MIB), (MIB + 1, 2)] {
        let (upstream, cached) = in_memory(CachedOptions::default());
        let content = noise(size);
        let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
        let want = content.slice(size.saturating_sub(last)..);
        assert!(read(&cached, &digest, ByteRange::Last(last as u64)).await == want, "{last} of {size}");
        assert_eq!(upstream.calls().len(), 1);
        assert!(read(&cached, &digest, ByteRange::Last(last as u64)).await == want);
        assert_eq!(upstream.calls().len(), 0);
    }
}

#[tokio::test]
async fn registries_that_ignore_ranges_are_asked_once() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let content = noise(3 * MIB + 9);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    upstream.bodies(Bodies::IgnoreRanges);
    let part = read(&cached, &digest, ByteRange::Span(2 * MIB as u64, 3 * MIB as u64)).await;
    assert!(part == content[2 * MIB..3 * MIB]);
    assert!(read(&cached, &digest, ByteRange::Span(0, 2 * MIB as u64)).await == content[..2 * MIB]);
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_callers_are_one_request() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let content = noise(6 * MIB + 1);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let manifest = push(&upstream.memory, "layer", &["v1"]).await;
    let callers = (0..50).map(|_| {
        let (cached, digest, content, manifest) = (cached.clone(), digest.clone(), content.clone(), manifest.clone());
        tokio::spawn(async move {
            assert!(cached.read_blob(&repo(), &digest, 9 << 20).await.unwrap() == content);
            let reference = manifest.digest().clone().into();
            assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), manifest);
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(upstream.calls(), ["get_blob", "get_manifest by digest"]);
}

#[tokio::test]
async fn who_finds_the_size_before_the_first_block_is_there_waits_for_it() {
    let store = Arc::new(Slow { store: MemoryStore::new(64 << 20), asked: false.into(), noted: false.into() });
    let (upstream, cached) = over(store, CachedOptions::default());
    let content = noise(MIB + 1);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let read = || async { cached.read_blob(&repo(), &digest, 9 << 20).await.unwrap() };
    let (late, first) = future::join(read(), read()).await;
    assert!(late == content && first == content);
    assert_eq!(upstream.calls(), ["get_blob"]);
}

#[tokio::test]
async fn callers_who_wait_share_the_error_and_the_next_one_asks_again() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let digest = Digest::sha256(b"hello");
    push(&upstream.memory, "layer", &[]).await;
    upstream.hold();
    let reference = digest.clone().into();
    let calls = (0..10).map(|_| async {
        let repo = repo();
        let blob = cached.get_blob(&repo, &digest, None);
        let manifest = cached.get_manifest(&repo, &reference);
        let (blob, manifest) = future::join(blob, manifest).await;
        (blob.unwrap_err().code().clone(), manifest.unwrap_err().code().clone())
    });
    let release = async {
        while upstream.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        upstream.release();
    };
    let (codes, ()) = future::join(future::join_all(calls), release).await;
    assert_eq!(codes, vec![(Code::BlobUnknown, Code::ManifestUnknown); 10]);
    upstream.calls();
    // That it was not there is not kept.
    upstream.memory.write_blob(&repo(), "hello".into()).await.unwrap();
    assert_eq!(cached.read_blob(&repo(), &digest, 5).await.unwrap(), "hello");
}

#[tokio::test]
async fn nobody_waits_for_a_slow_reader() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let content = noise(12 * MIB);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let mut slow = cached.get_blob(&repo(), &digest, None).await.unwrap().body;
    assert_eq!(slow.next().await.unwrap().unwrap().len(), MIB);
    // The slow one reads no more until the other is done.
    assert!(cached.read_blob(&repo(), &digest, 16 << 20).await.unwrap() == content);
    assert!(slow.bytes(16 << 20).await.unwrap() == content[MIB..]);
    assert_eq!(upstream.calls(), ["get_blob"]);
}

#[tokio::test]
async fn a_download_does_not_run_away_from_its_readers() {
    let store = Arc::new(MemoryStore::new(64 << 20));
    let (upstream, cached) = over(store.clone(), CachedOptions::default());
    let content = noise(12 * MIB);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let blob = cached.get_blob(&repo(), &digest, None).await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    drop(blob);
    // Then nobody wants it any more: it goes on where it stood.
    assert!(cached.read_blob(&repo(), &digest, 16 << 20).await.unwrap() == content);
    assert_eq!(upstream.calls(), ["get_blob", "get_blob bytes=4194304-12582911"]);
}

#[tokio::test]
async fn without_a_store_everything_is_still_right() {
    let (upstream, cached) = over(Arc::new(MemoryStore::new(0)), CachedOptions::default());
    let content = noise(9 * MIB + 3);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let mut slow = cached.get_blob(&repo(), &digest, None).await.unwrap().body;
    assert!(slow.next().await.unwrap().is_ok());
    assert!(cached.read_blob(&repo(), &digest, 16 << 20).await.unwrap() == content);
    assert!(slow.bytes(16 << 20).await.unwrap() == content[MIB..]);
    assert!(upstream.calls().len() <= 3);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_goes_on_from_there() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let content = noise(3 * MIB);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    upstream.bodies(Bodies::BreakOff(MIB as u64 + MIB as u64 / 2));
    let error = cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    upstream.bodies(Bodies::Whole);
    upstream.calls();
    assert!(cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap() == content);
    assert_eq!(upstream.calls(), ["get_blob bytes=1048576-3145727"]);
}

#[tokio::test]
async fn a_forged_body_is_an_error_and_not_kept() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let content = noise(2 * MIB);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    upstream.bodies(Bodies::Forged);
    let error = cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap_err();
    assert_eq!(error.code(), &Code::DigestInvalid);
    upstream.bodies(Bodies::Whole);
    assert!(cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap() == content);
}

#[tokio::test]
async fn tags_are_believed_for_their_lifetime() {
    let options = CachedOptions { tag_lifetime: Duration::from_secs(3600), ..Default::default() };
    let (upstream, cached) = in_memory(options);
    let old = push(&upstream.memory, "old", &["v1"]).await;
    let reference = tag("v1").into();
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), old);
    assert_eq!(upstream.calls(), ["get_manifest by tag"]);
    push(&upstream.memory, "new", &["v1"]).await;
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), old);
    assert_eq!(&cached.head_manifest(&repo(), &reference).await.unwrap(), old.descriptor());
    assert_eq!(upstream.calls(), [""; 0]);
}

#[tokio::test]
async fn tags_without_a_lifetime_are_asked_for_each_time() {
    for tag_lifetime in [Duration::ZERO, Duration::from_nanos(1)] {
        let (upstream, cached) = in_memory(CachedOptions { tag_lifetime, ..Default::default() });
        let old = push(&upstream.memory, "old", &["v1"]).await;
        let reference = tag("v1").into();
        for _ in 0..3 {
            assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), old);
        }
        // What is known is not sent again.
        assert_eq!(upstream.calls(), ["get_manifest by tag", "head_manifest by tag", "head_manifest by tag"]);
        let new = push(&upstream.memory, "new", &["v1"]).await;
        assert_eq!(&cached.head_manifest(&repo(), &reference).await.unwrap(), new.descriptor());
        assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), new);
        upstream.memory.delete_manifest(&repo(), &reference).await.unwrap();
        assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap_err().code(), &Code::ManifestUnknown);
    }
}

#[tokio::test]
async fn writes_are_seen_at_once() {
    let options = CachedOptions { tag_lifetime: Duration::from_secs(3600), ..Default::default() };
    let (_upstream, cached) = in_memory(options);
    let reference = tag("v1").into();
    assert!(cached.get_manifest(&repo(), &reference).await.unwrap_err().is_not_found());
    for layer in ["one", "two", "three"] {
        let manifest = push(&cached, layer, &["v1"]).await;
        assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), manifest);
        assert_eq!(&cached.head_manifest(&repo(), &reference).await.unwrap(), manifest.descriptor());
    }
    cached.delete_manifest(&repo(), &reference).await.unwrap();
    assert!(cached.get_manifest(&repo(), &reference).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn who_asks_after_a_write_does_not_get_an_answer_from_before() {
    let options = CachedOptions { tag_lifetime: Duration::from_secs(3600), ..Default::default() };
    let (upstream, cached) = in_memory(options);
    let old = push(&cached, "old", &["v1"]).await;
    let new = push(&cached, "new", &[]).await;
    upstream.calls();
    upstream.hold();
    let reference = tag("v1").into();
    let before = tokio::spawn({
        let cached = cached.clone();
        async move { cached.get_manifest(&repo(), &tag("v1").into()).await }
    });
    while upstream.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    let write = tokio::spawn({
        let (cached, new) = (cached.clone(), new.clone());
        async move {
            let options = PutManifest { tags: vec![tag("v1")], if_absent: false };
            cached.put_manifest(&repo(), &new, options).await.unwrap();
        }
    });
    while upstream.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    upstream.release();
    write.await.unwrap();
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), new);
    assert!([old, new].contains(&before.await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_registry_that_is_away_is_stood_in_for() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let manifest = push(&upstream.memory, "layer", &["v1"]).await;
    let reference = tag("v1").into();
    cached.get_manifest(&repo(), &reference).await.unwrap();
    upstream.fail(Code::Unavailable);
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), manifest);
    assert_eq!(&cached.head_manifest(&repo(), &reference).await.unwrap(), manifest.descriptor());
    assert_eq!(cached.get_manifest(&repo(), &tag("v2").into()).await.unwrap_err().code(), &Code::Unavailable);
    for code in [Code::Unauthorized, Code::Denied, Code::ManifestUnknown] {
        upstream.fail(code.clone());
        assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap_err().code(), &code);
        assert_eq!(cached.head_manifest(&repo(), &reference).await.unwrap_err().code(), &code);
    }
}

#[tokio::test]
async fn offline_answers_come_from_the_store_or_not_at_all() {
    let store = Arc::new(MemoryStore::new(64 << 20));
    let (upstream, cached) = over(store.clone(), CachedOptions::default());
    let content = noise(2 * MIB);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let manifest = push(&upstream.memory, "layer", &["v1"]).await;
    cached.get_manifest(&repo(), &tag("v1").into()).await.unwrap();
    cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap();

    let (upstream, offline) = over(store, CachedOptions { offline: true, ..Default::default() });
    assert_eq!(offline.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), manifest);
    assert_eq!(&offline.head_manifest(&repo(), &tag("v1").into()).await.unwrap(), manifest.descriptor());
    assert!(offline.read_blob(&repo(), &digest, 4 << 20).await.unwrap() == content);
    let missing = Digest::sha256(b"missing");
    let codes = [
        offline.get_manifest(&repo(), &tag("v2").into()).await.unwrap_err(),
        offline.get_manifest(&repo(), &missing.clone().into()).await.unwrap_err(),
        offline.get_blob(&repo(), &missing, None).await.unwrap_err(),
        offline.head_blob(&repo(), &missing).await.unwrap_err(),
        offline.write_blob(&repo(), "hello".into()).await.unwrap_err(),
        offline.list_repos(&Default::default()).await.unwrap_err(),
    ];
    for error in codes {
        assert_eq!(error.code(), &Code::Unavailable, "{error}");
    }
    assert_eq!(upstream.calls(), [""; 0]);
}

#[tokio::test]
async fn what_refers_to_a_manifest_is_asked_each_time_and_kept_for_offline() {
    let store = Arc::new(MemoryStore::new(64 << 20));
    let (upstream, cached) = over(store.clone(), CachedOptions::default());
    let subject = push(&upstream.memory, "layer", &["v1"]).await;
    let content = ManifestContent {
        schema_version: 2,
        artifact_type: Some("application/x-signature".to_owned()),
        config: Some(upstream.memory.write_blob(&repo(), "{}".into()).await.unwrap()),
        layers: Some(vec![]),
        subject: Some(subject.descriptor().clone()),
        ..Default::default()
    };
    let referrer = Manifest::new(media_type::IMAGE, content.to_bytes());
    upstream.memory.put_manifest(&repo(), &referrer, PutManifest::default()).await.unwrap();
    let (other, query) = (Digest::sha256(b"other"), ReferrerQuery::default());
    upstream.calls();
    for _ in 0..2 {
        let listing = cached.list_referrers(&repo(), subject.digest(), &query).await.unwrap();
        assert_eq!(&listing.items[0].digest, referrer.digest());
        assert_eq!(upstream.calls(), ["list_referrers"]);
    }
    let (upstream, offline) = over(store, CachedOptions { offline: true, ..Default::default() });
    let online = cached.list_referrers(&repo(), subject.digest(), &query).await.unwrap();
    assert_eq!(offline.list_referrers(&repo(), subject.digest(), &query).await.unwrap(), online);
    // Of what was not asked for nothing is known, not even that there is nothing.
    let of_type = ReferrerQuery { artifact_type: Some("application/x-other".to_owned()), ..Default::default() };
    for (subject, query) in [(&other, &query), (subject.digest(), &of_type)] {
        let error = offline.list_referrers(&repo(), subject, query).await.unwrap_err();
        assert_eq!(error.code(), &Code::Unavailable);
        assert!(error.to_string().contains("offline: what refers to "), "{error}");
    }
    assert_eq!(upstream.calls(), [""; 0]);
}

#[tokio::test]
async fn content_is_given_only_where_the_registry_has_it() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let other: RepoName = "other".parse().unwrap();
    let digest = upstream.memory.write_blob(&repo(), noise(MIB)).await.unwrap().digest;
    cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap();
    assert!(cached.get_blob(&other, &digest, None).await.unwrap_err().is_not_found());
    upstream.memory.write_blob(&other, noise(MIB)).await.unwrap();
    upstream.calls();
    // There it is enough to know that it is there.
    assert!(cached.read_blob(&other, &digest, 4 << 20).await.unwrap() == noise(MIB));
    assert_eq!(upstream.calls(), ["head_blob"]);
}

#[tokio::test]
async fn caches_of_other_registries_in_the_same_store_are_separate() {
    let store = Arc::new(MemoryStore::new(64 << 20));
    let named = |name: &str| CachedOptions { namespace: name.to_owned(), offline: name == "two", ..Default::default() };
    let (upstream, one) = over(store.clone(), named("one"));
    let digest = upstream.memory.write_blob(&repo(), "hello".into()).await.unwrap().digest;
    one.read_blob(&repo(), &digest, 5).await.unwrap();
    let (_upstream, two) = over(store, named("two"));
    assert_eq!(two.head_blob(&repo(), &digest).await.unwrap_err().code(), &Code::Unavailable);
}

#[tokio::test]
async fn what_the_registry_lost_is_not_said_to_be_there_for_ever() {
    let (upstream, cached) = in_memory(CachedOptions::default());
    let manifest = push(&cached, "layer", &["v1"]).await;
    let digest = Digest::sha256(b"layer");
    cached.read_blob(&repo(), &digest, 10).await.unwrap();
    upstream.memory.delete_blob(&repo(), &digest).await.unwrap();
    let error = cached.put_manifest(&repo(), &manifest, PutManifest::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::ManifestBlobUnknown);
    assert!(!cached.has_blob(&repo(), &digest).await.unwrap());
}

#[tokio::test]
async fn a_corrupted_cache_costs_a_request_and_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (upstream, cached) = over(store(dir.path()), CachedOptions::default());
    let content = noise(3 * MIB);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let manifest = push(&upstream.memory, "layer", &["v1"]).await;
    cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap();
    cached.get_manifest(&repo(), &tag("v1").into()).await.unwrap();
    let mut corrupted = 0;
    for shard in dir.path().read_dir().unwrap().map(|shard| shard.unwrap().path()).filter(|shard| shard.is_dir()) {
        for file in shard.read_dir().unwrap().map(|file| file.unwrap().path()) {
            let mut bytes = fs::read(&file).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&file, bytes).unwrap();
            corrupted += 1;
        }
    }
    // Three blocks and the size; the manifest, its description and the tag.
    assert_eq!(corrupted, 7);
    assert!(cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap() == content);
    assert_eq!(cached.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), manifest);
    upstream.calls();
    assert!(cached.read_blob(&repo(), &digest, 4 << 20).await.unwrap() == content);
    assert_eq!(upstream.calls(), [""; 0]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_costs_requests_and_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let (upstream, cached) = over(store(&dir.path().join("file/store")), CachedOptions::default());
    let content = noise(6 * MIB);
    let digest = upstream.memory.write_blob(&repo(), content.clone()).await.unwrap().digest;
    let manifest = push(&upstream.memory, "layer", &["v1"]).await;
    for _ in 0..2 {
        assert!(cached.read_blob(&repo(), &digest, 8 << 20).await.unwrap() == content);
        assert_eq!(cached.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), manifest);
    }
    assert_eq!(upstream.calls(), ["get_blob", "get_manifest by tag", "get_blob", "get_manifest by tag"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_caches_share_a_directory_that_is_too_small() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Arc::new(Double::new());
    let blobs: Vec<_> = (0..4).map(|at| noise(2 * MIB + at)).collect();
    for blob in &blobs {
        upstream.memory.write_blob(&repo(), blob.clone()).await.unwrap();
    }
    let readers = (0..4).map(|reader| {
        let small = Store::open(dir.path(), StoreOptions { max_bytes: 4 << 20 }).unwrap();
        let cached = Cached::new(upstream.clone(), Arc::new(small), CachedOptions::default());
        let blobs = blobs.clone();
        tokio::spawn(async move {
            for at in 0..8 {
                let blob = &blobs[(at + reader) % 4];
                assert!(cached.read_blob(&repo(), &Digest::sha256(blob), 4 << 20).await.unwrap() == blob);
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
    assert!(Store::open(dir.path(), StoreOptions::default()).unwrap().stats().await.bytes <= 4 << 20);
}

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_fresh_view_asks_for_tags_and_is_not_stood_in_for() {
    let options = CachedOptions { tag_lifetime: Duration::from_secs(3600), ..Default::default() };
    let (upstream, cached) = in_memory(options);
    let one = push(&upstream.memory, "one", &["v1"]).await;
    let reference = tag("v1").into();
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), one);
    assert_eq!(cached.fresh().get_manifest(&repo(), &reference).await.unwrap(), one);
    assert_eq!(upstream.calls(), ["get_manifest by tag", "head_manifest by tag"]);
    let two = push(&upstream.memory, "two", &["v1"]).await;
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), one);
    assert_eq!(&cached.fresh().head_manifest(&repo(), &reference).await.unwrap(), two.descriptor());
    // What it has learned holds for all.
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), two);
    upstream.fail(Code::Unavailable);
    let error = cached.fresh().get_manifest(&repo(), &reference).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert!(cached.fresh().head_manifest(&repo(), &reference).await.is_err());
    assert_eq!(cached.get_manifest(&repo(), &reference).await.unwrap(), two);
}

#[tokio::test]
async fn what_another_process_asked_before_a_write_is_not_believed_after_it() {
    let options = || CachedOptions { tag_lifetime: Duration::from_secs(3600), ..Default::default() };
    let store = Arc::new(MemoryStore::new(64 << 20));
    // What the registry was, to one who asks before a write and hears of it after that.
    let before = Arc::new(Double::new());
    let slow = Cached::new(before.clone(), store.clone(), options());
    push(&before.memory, "one", &["v1"]).await;
    before.hold();
    let asked = tokio::spawn(async move { slow.get_manifest(&repo(), &tag("v1").into()).await });
    while before.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    let quick = Cached::new(Memory::default(), store, options());
    let two = push(&quick, "two", &["v1"]).await;
    before.release();
    assert_ne!(asked.await.unwrap().unwrap(), two);
    assert_eq!(quick.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), two);
}

/// A store that answers the first question when something was kept, and says late that it was.
#[derive(Debug)]
struct Slow {
    store: MemoryStore,
    asked: AtomicBool,
    noted: AtomicBool,
}

#[async_trait]
impl CacheStore for Slow {
    async fn get(&self, key: &Key) -> Option<Bytes> {
        if !self.asked.swap(true, Ordering::SeqCst) {
            while !self.noted.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        }
        self.store.get(key).await
    }

    async fn has(&self, key: &Key) -> bool {
        self.store.has(key).await
    }

    async fn put(&self, key: &Key, value: Bytes) {
        self.store.put(key, value).await;
        if !self.noted.swap(true, Ordering::SeqCst) {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn remove(&self, key: &Key) {
        self.store.remove(key).await;
    }
}

fn in_memory(options: CachedOptions) -> (Arc<Double>, Cached<Arc<Double>>) {
    over(Arc::new(MemoryStore::new(64 << 20)), options)
}

fn over(store: Arc<dyn CacheStore>, options: CachedOptions) -> (Arc<Double>, Cached<Arc<Double>>) {
    let upstream = Arc::new(Double::new());
    (upstream.clone(), Cached::new(upstream, store, options))
}

fn store(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(dir, StoreOptions::default()).unwrap())
}

async fn read(registry: &dyn Registry, digest: &Digest, range: ByteRange) -> Bytes {
    let blob = registry.get_blob(&repo(), digest, Some(range)).await.unwrap();
    assert_eq!(blob.body.len(), Some(blob.range.end - blob.range.start));
    blob.body.bytes(16 << 20).await.unwrap()
}
