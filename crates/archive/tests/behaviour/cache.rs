//! What was read once is not asked for again, and what is broken is not given.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::support::CHUNK;
use crate::support::build;
use crate::support::data;
use crate::support::noise;
use crate::support::text;
use crate::support::write;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::future;
use futures_util::stream;
use skep_archive::Archive;
use skep_archive::BlockOptions;
use skep_archive::BuildOptions;
use skep_archive::CachedSource;
use skep_archive::ContentCache;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Source;
use skep_registry::Body;
use skep_registry::CacheStore;
use skep_registry::Key;
use skep_registry::MemoryStore;
use skep_registry::Store;
use tempfile::tempdir;
use tokio::sync::watch;

const MIB: u64 = 1 << 20;

/// Data in memory, that counts what is read of it.
#[derive(Debug)]
struct Counted {
    data: Bytes,
    reads: AtomicU64,
    bytes: Arc<AtomicU64>,
    fails: AtomicBool,
    open: watch::Sender<bool>,
}

impl Counted {
    fn new(data: Bytes) -> Arc<Self> {
        let (reads, bytes, fails) = (AtomicU64::new(0), Arc::default(), AtomicBool::new(false));
        Arc::new(Self { data, reads, bytes, fails, open: watch::Sender::new(true) })
    }

    /// Reads since this was asked last.
    fn reads(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }

    /// Bytes that were taken since this was asked last.
    fn bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Source for Counted {
    fn size(&self) -> u64 {
        self.data.len() as u64
    }

    async fn read(&self, range: std::ops::Range<u64>) -> skep_archive::Result<Body> {
        if range.is_empty() {
            return Ok(Body::empty());
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        if self.fails.load(Ordering::Relaxed) {
            return Err(skep_registry::Error::new(skep_registry::Code::Unavailable, "told to fail").into());
        }
        let part = self.data.slice(range.start as usize..range.end as usize);
        // As it comes over a line, which lets others have their turn.
        let parts: Vec<_> =
            (0..part.len()).step_by(70_001).map(|at| part.slice(at..part.len().min(at + 70_001))).collect();
        let bytes = self.bytes.clone();
        let parts = stream::iter(parts).then(move |part| {
            bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Ok(part)
            }
        });
        Ok(Body::new(Some(range.end - range.start), parts))
    }
}

async fn archived(tree: &Path, options: &BuildOptions) -> (Arc<Counted>, Archive) {
    let built = build(tree, options);
    let source = Counted::new(data(&built).await);
    (source.clone(), Archive::new(built.index().clone(), source, Limits::default()).unwrap())
}

fn memory() -> ContentCache {
    ContentCache::new(Arc::new(MemoryStore::new(256 << 20)))
}

async fn all(body: Body) -> Bytes {
    body.bytes(1 << 30).await.unwrap()
}

/// Small files, one in chunks that compress, and one in chunks that do not.
fn tree() -> tempfile::TempDir {
    let tree = tempdir().unwrap();
    for number in 0..20 {
        write(tree.path(), &format!("small/{number:02}"), noise(5000, number));
    }
    write(tree.path(), "empty", "");
    write(tree.path(), "text", text(3_500_000));
    write(tree.path(), "noise", noise(5_300_001, 99));
    tree
}

#[tokio::test]
async fn what_was_read_is_not_asked_for_again() {
    let tree = tree();
    let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
    let archive = archive.with_cache(memory());
    for (path, content) in [("small/03", noise(5000, 3)), ("text", text(3_500_000)), ("noise", noise(5_300_001, 99))] {
        assert!(archive.read(path).await.unwrap() == content);
        assert_eq!(source.reads(), 1, "{path}");
        assert!(archive.read(path).await.unwrap() == content);
        assert!(all(archive.stream(path).await.unwrap()).await == content);
        assert!(all(archive.read_range(path, 1234..4321).await.unwrap()).await == content[1234..4321]);
        assert!(all(archive.read_range(path, 77..77).await.unwrap()).await.is_empty());
        assert_eq!(source.reads(), 0, "{path}");
    }
    assert!(archive.read("empty").await.unwrap().is_empty());
    assert_eq!(source.reads(), 0);
}

#[tokio::test]
async fn only_chunks_that_are_missing_are_asked_for() {
    let tree = tree();
    let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
    let archive = archive.with_cache(memory());
    let content = noise(5_300_001, 99);
    // Chunks from the middle.
    let part = all(archive.read_range("noise", 2 * MIB + 5..3 * MIB - 7).await.unwrap()).await;
    assert!(part == content[(2 * MIB + 5) as usize..(3 * MIB - 7) as usize]);
    assert_eq!((source.reads(), source.bytes()), (1, MIB));
    assert!(archive.read("noise").await.unwrap() == content);
    assert_eq!((source.reads(), source.bytes()), (2, content.len() as u64 - MIB));
    // The chunks of this one are so small that one between is read once more rather than asking twice.
    assert!(
        all(archive.read_range("text", 2 * MIB..2 * MIB + 7).await.unwrap()).await == text(3_500_000)[2 << 20..][..7]
    );
    assert_eq!(source.reads(), 1);
    assert!(archive.read("text").await.unwrap() == text(3_500_000));
    assert_eq!(source.reads(), 1);
}

#[tokio::test]
async fn of_many_files_only_those_that_are_missing_are_asked_for() {
    let tree = tree();
    let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
    let archive = archive.with_cache(memory());
    let paths: Vec<_> = archive.entries().map(|entry| entry.path.to_owned()).collect();
    let read = |paths: Vec<String>| {
        let archive = archive.clone();
        async move { archive.read_many(paths).unwrap().try_collect::<Vec<_>>().await.unwrap() }
    };
    read(vec!["small/07".to_owned(), "small/09".to_owned()]).await;
    assert_eq!(source.reads(), 1);
    source.bytes();
    let files = read(paths[..].to_vec()).await;
    for (path, content) in &files {
        assert!(fs::read(tree.path().join(path)).unwrap() == *content, "{path}");
    }
    assert_eq!(files.len(), paths.len());
    let (reads, bytes) = (source.reads(), source.bytes());
    assert!(reads <= 4, "{reads}");
    // The gap between two small files is read rather than asking again; the large ones come as they are stored.
    assert!(bytes <= archive.source().size(), "{bytes}");
    assert_eq!(read(paths).await, files);
    assert_eq!(source.reads(), 0);
    // Also by others.
    assert!(archive.read("small/01").await.unwrap() == noise(5000, 1));
    assert_eq!(source.reads(), 0);
}

#[tokio::test]
async fn archives_share_what_they_have_in_common() {
    let (one, two) = (tree(), tree());
    write(two.path(), "new", "new");
    fs::rename(two.path().join("noise"), two.path().join("a-other-name")).unwrap();
    let (_, first) = archived(one.path(), &BuildOptions::default()).await;
    let (source, second) = archived(two.path(), &BuildOptions::default()).await;
    let cache = memory();
    let (first, second) = (first.with_cache(cache.clone()), second.with_cache(cache));
    for path in ["noise", "text", "small/00"] {
        first.read(path).await.unwrap();
    }
    for path in ["a-other-name", "text", "small/00"] {
        assert!(second.read(path).await.unwrap() == fs::read(two.path().join(path)).unwrap());
    }
    assert_eq!(source.reads(), 0);
    assert_eq!(second.read("new").await.unwrap(), "new");
    assert_eq!(source.reads(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_readers_at_once_are_one_request() {
    let tree = tree();
    for (path, content) in [("small/03", noise(5000, 3)), ("text", text(3_500_000)), ("noise", noise(5_300_001, 99))] {
        let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
        let archive = archive.with_cache(memory());
        source.open.send_replace(false);
        let readers: Vec<_> = (0..50)
            .map(|at| {
                let archive = archive.clone();
                tokio::spawn(async move {
                    match at % 2 {
                        0 => archive.read(path).await.unwrap(),
                        _ => all(archive.stream(path).await.unwrap()).await,
                    }
                })
            })
            .collect();
        while source.reads.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        source.open.send_replace(true);
        for reader in readers {
            assert!(reader.await.unwrap() == content, "{path}");
        }
        assert_eq!(source.reads(), 1, "{path}");
    }
}

#[tokio::test]
async fn who_reads_no_further_holds_up_nobody_and_who_leaves_takes_nothing_along() {
    let tree = tree();
    let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
    let archive = archive.with_cache(memory());
    let content = noise(5_300_001, 99);
    // Polled once, in the middle of the first chunk, and then never again.
    let mut stuck = Box::pin(archive.stream("noise"));
    assert!(stuck.as_mut().now_or_never().is_none());
    let mut slow = archive.stream("noise").await.unwrap();
    assert!(slow.next().await.unwrap().unwrap()[..] == content[..CHUNK]);
    assert!(archive.read("noise").await.unwrap() == content);
    assert_eq!(source.reads(), 1);
    assert!(all(slow).await == content[CHUNK..]);
    assert!(all(stuck.await.unwrap()).await == content);
    assert_eq!(source.reads(), 0);

    // The first of two goes away.
    source.open.send_replace(false);
    let mut first = Box::pin(archive.read("text"));
    let mut second = Box::pin(archive.read("text"));
    while source.reads.load(Ordering::Relaxed) == 0 {
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(first);
    source.open.send_replace(true);
    assert!(second.await.unwrap() == text(3_500_000));
    assert_eq!(source.reads(), 1);
}

#[tokio::test]
async fn what_one_archive_has_lost_another_still_gives() {
    let tree = tree();
    let built = build(tree.path(), &BuildOptions::default());
    let good = data(&built).await;
    let mut bad = good.to_vec();
    bad.iter_mut().for_each(|byte| *byte ^= 0x55);
    let open = |source| Archive::new(built.index().clone(), source, Limits::default()).unwrap();
    let (bad, good) = (Counted::new(bad.into()), Counted::new(good));
    let cache = memory();
    let broken = open(bad.clone()).with_cache(cache.clone());
    let whole = open(good.clone()).with_cache(cache.clone());
    for path in ["small/03", "text"] {
        let (one, two) = future::join(broken.read(path), whole.read(path)).await;
        let error = one.unwrap_err();
        assert!(matches!(error, Error::HashMismatch { .. } | Error::Decompression { .. }), "{error}");
        assert!(two.unwrap() == fs::read(tree.path().join(path)).unwrap());
    }
    // Nothing wrong was kept, and what is right is given to the broken one, too.
    bad.reads();
    assert!(broken.read("text").await.unwrap() == text(3_500_000));
    assert_eq!(bad.reads(), 0);
    good.fails.store(true, Ordering::Relaxed);
    let readers = (0..5).map(|_| whole.read("small/11"));
    for read in future::join_all(readers).await {
        assert!(
            matches!(read.unwrap_err(), Error::Registry(error) if error.code() == &skep_registry::Code::Unavailable)
        );
    }
    good.fails.store(false, Ordering::Relaxed);
    assert!(whole.read("small/11").await.unwrap() == noise(5000, 11));
}

/// A store whose values were changed by others, who have cut some and made others up.
#[derive(Debug)]
struct Liar(Option<Bytes>);

#[async_trait]
impl CacheStore for Liar {
    async fn get(&self, key: &Key) -> Option<Bytes> {
        self.0.clone().filter(|value| key.accepts(value))
    }

    async fn has(&self, _key: &Key) -> bool {
        true
    }

    async fn put(&self, _key: &Key, _value: Bytes) {}

    async fn remove(&self, _key: &Key) {}
}

#[tokio::test]
async fn stores_that_keep_nothing_or_lie_cost_requests_and_no_answer() {
    let tree = tree();
    let stores: [Arc<dyn CacheStore>; 3] =
        [Arc::new(MemoryStore::new(0)), Arc::new(Liar(None)), Arc::new(Liar(Some("made up".into())))];
    for store in stores {
        let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
        let archive = archive.with_cache(ContentCache::new(store));
        for entry in archive.entries() {
            let want = fs::read(tree.path().join(entry.path)).unwrap();
            assert!(archive.read(entry.path).await.unwrap() == want, "{}", entry.path);
        }
        assert!(source.reads() >= archive.entries().len() as u64 - 1);
    }
    // One that keeps nothing costs no request that would not be without it.
    let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
    let archive = archive.with_cache(ContentCache::new(Arc::new(MemoryStore::new(0))));
    assert!(archive.read("noise").await.unwrap() == noise(5_300_001, 99));
    assert_eq!(source.reads(), 1);
}

/// All files below a directory.
fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn a_broken_store_costs_a_request_and_no_answer() {
    let (tree, dir) = (tree(), tempdir().unwrap());
    let store = Arc::new(Store::open(dir.path(), Default::default()).unwrap());
    let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
    let archive = archive.with_cache(ContentCache::new(store));
    let want = noise(5_300_001, 99);
    archive.read("noise").await.unwrap();
    for (at, path) in files_below(dir.path()).iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        match at % 3 {
            0 => bytes.truncate(100),
            1 => bytes.clear(),
            _ => *bytes.last_mut().unwrap() ^= 1,
        }
        fs::write(path, bytes).unwrap();
    }
    source.reads();
    assert!(archive.read("noise").await.unwrap() == want);
    assert!(source.reads() >= 1);
    assert!(archive.read("noise").await.unwrap() == want);
    assert_eq!(source.reads(), 0, "what was broken is replaced");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_costs_requests_only() {
    let (tree, dir) = (tree(), tempdir().unwrap());
    let place = dir.path().join("cache");
    let store = Arc::new(Store::open(&place, Default::default()).unwrap());
    // Something else has taken its place meanwhile.
    fs::write(&place, "a file").unwrap();
    let (source, archive) = archived(tree.path(), &BuildOptions::default()).await;
    let archive = archive.with_cache(ContentCache::new(store));
    for _ in 0..2 {
        assert!(archive.read("noise").await.unwrap() == noise(5_300_001, 99));
        assert_eq!(source.reads(), 1);
    }
    let paths = (0..20).map(|number| format!("small/{number:02}"));
    assert_eq!(archive.read_many(paths).unwrap().try_collect::<Vec<_>>().await.unwrap().len(), 20);
    assert_eq!(fs::read(&place).unwrap(), b"a file");
}

#[tokio::test]
async fn what_is_too_large_for_a_store_passes_by() {
    let tree = tempdir().unwrap();
    write(tree.path(), "large", noise((16 << 20) + 1, 1));
    let plain = BuildOptions { extensions: false, ..Default::default() };
    let (source, archive) = archived(tree.path(), &plain).await;
    let archive = archive.with_cache(memory());
    for _ in 0..2 {
        assert!(archive.read("large").await.unwrap() == noise((16 << 20) + 1, 1));
        assert_eq!(source.reads(), 1);
    }
}

#[tokio::test]
async fn the_block_cache_never_makes_more_requests() {
    let tree = tempdir().unwrap();
    // 2.2 MB that do not compress much, in one frame, as other writers have it.
    let content: Vec<u8> = noise(2_900_000, 5).into_iter().map(|byte| byte & 0x3f).collect();
    write(tree.path(), "a", noise(300_000, 6));
    write(tree.path(), "large", &content);
    write(tree.path(), "z", noise(300_000, 7));
    let plain = BuildOptions { extensions: false, ..Default::default() };
    let built = build(tree.path(), &plain);
    let source = Counted::new(data(&built).await);
    let store = Arc::new(MemoryStore::new(64 << 20));
    let cached = CachedSource::new(source.clone(), store, "sha256:1234", BlockOptions::default());
    let archive = Archive::new(built.index().clone(), Arc::new(cached), Limits::default()).unwrap();
    let stored = archive.entry("large").unwrap().data_size;
    assert!((2_100_000..2_400_000).contains(&stored), "{stored}");
    assert!(archive.read("large").await.unwrap() == content);
    assert_eq!(source.reads(), 1);
    assert!(archive.read("large").await.unwrap() == content);
    assert!(all(archive.stream("large").await.unwrap()).await == content);
    // What lies in the same blocks has come along.
    assert!(archive.read("a").await.unwrap() == noise(300_000, 6));
    assert!(archive.read("z").await.unwrap() == noise(300_000, 7));
    assert_eq!(source.reads(), 0);
}

#[tokio::test]
async fn reads_through_the_block_cache_are_right_and_one_request_at_most() {
    let content = Bytes::from(noise(100_003, 8));
    for (block, max_read) in [(1, 500), (100, 7_000), (4096, 20_000), (65_536, 1 << 20), (0, 300)] {
        let source = Counted::new(content.clone());
        let store = Arc::new(MemoryStore::new(50_000));
        let options = BlockOptions { block, max_read };
        let cached = CachedSource::new(source.clone(), store, "it", options);
        let mut state = u64::from(block) + 1;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..100 {
            let start = random(100_003);
            let end = start + random((100_003 - start).min(25_000)) + 1;
            let mut body = cached.read(start..end).await.unwrap();
            assert_eq!(body.len(), Some(end - start));
            if random(5) == 0 {
                // Somebody who has seen enough.
                body.next().await;
                drop(body);
            } else {
                assert!(all(body).await == content[start as usize..end as usize], "{block} {start}..{end}");
            }
            assert!(source.reads() <= 1, "{block} {start}..{end}");
        }
        assert!(all(cached.read(5..5).await.unwrap()).await.is_empty());
        assert_eq!(source.reads(), 0);
    }
}

#[tokio::test]
async fn blocks_are_kept_when_only_a_part_of_them_was_wanted() {
    let content = Bytes::from(noise(3 << 20, 8));
    let source = Counted::new(content.clone());
    let store = Arc::new(MemoryStore::new(64 << 20));
    let cached = CachedSource::new(source.clone(), store.clone(), "it", BlockOptions::default());
    let mut body = cached.read(MIB + 5..MIB + 10).await.unwrap();
    assert!(body.next().await.unwrap().unwrap() == content[(MIB + 5) as usize..(MIB + 10) as usize]);
    drop(body);
    assert_eq!((source.reads(), source.bytes()), (1, MIB));
    assert!(all(cached.read(MIB..2 * MIB).await.unwrap()).await == content[MIB as usize..2 * MIB as usize]);
    assert_eq!(source.reads(), 0);
    // A source with another name has nothing of it.
    let other = CachedSource::new(source.clone(), store, "other", BlockOptions::default());
    all(other.read(MIB..2 * MIB).await.unwrap()).await;
    assert_eq!(source.reads(), 1);
}
