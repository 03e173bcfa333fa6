//! Archives that somebody made to do harm, or that broke on the way.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::symlink;
use std::sync::Arc;

use crate::support::CHUNK;
use crate::support::build;
use crate::support::data;
use crate::support::describe;
use crate::support::nasty_tree;
use crate::support::text;
use crate::support::write;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use sha2::Digest as _;
use sha2::Sha256;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Codec;
use skep_archive::Directory;
use skep_archive::Entry;
use skep_archive::Error;
use skep_archive::ExtractOptions;
use skep_archive::Index;
use skep_archive::Limits;
use skep_archive::Result;
use skep_archive::Source;
use skep_archive::Symlink;
use skep_archive::write_index;
use skep_registry::Body;
use skep_registry::Code;
use tempfile::tempdir;

const HASH: [u8; 32] = [7; 32];

fn file(path: &str) -> Entry<'_> {
    Entry {
        path,
        data_offset: 0,
        data_size: 0,
        original_size: 0,
        hash: &HASH,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_ns: 0,
        codec: Codec::None,
        chunks: None,
    }
}

fn link<'a>(path: &'a str, target: &'a str) -> Symlink<'a> {
    Symlink { path, target, uid: 0, gid: 0, mtime_ns: 0 }
}

fn directory(path: &str) -> Directory<'_> {
    Directory { path, mode: 0o755, uid: 0, gid: 0, mtime_ns: 0 }
}

fn parse(entries: &[Entry<'_>], links: &[Symlink<'_>], directories: &[Directory<'_>], size: u64) -> Result<Index> {
    let (entries, links) = (entries.iter().copied(), links.iter().copied());
    let bytes = write_index(entries, links, directories.iter().copied(), size, &HASH).unwrap();
    Index::parse(bytes, &Limits::default())
}

#[derive(Debug)]
struct Bytewise(Bytes);

#[async_trait]
impl Source for Bytewise {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, range: std::ops::Range<u64>) -> Result<Body> {
        Ok(self.0.slice(range.start as usize..range.end as usize).into())
    }
}

fn archive(entries: &[Entry<'_>], data: &[u8], limits: Limits) -> Archive {
    let index = write_index(entries.iter().copied(), [].into_iter(), [].into_iter(), data.len() as u64, &HASH).unwrap();
    Archive::new(index, Arc::new(Bytewise(Bytes::copy_from_slice(data))), limits).unwrap()
}

#[test]
fn paths_that_lead_anywhere_else_are_refused() {
    let long = "a/".repeat(256) + "b";
    for path in ["../x", "a/../../x", "/etc/passwd", "a//b", "a/", "./a", ".", "", "a\0b", &long, &"x".repeat(4097)] {
        for error in [
            parse(&[file(path)], &[], &[], 0),
            parse(&[], &[link(path, "x")], &[], 0),
            parse(&[], &[], &[directory(path)], 0),
        ] {
            assert!(matches!(error, Err(Error::InvalidIndex { .. })), "{path:?}");
        }
    }
}

#[test]
fn contradictions_are_refused_with_a_name() {
    let refused = |entries: &[Entry<'_>], links: &[Symlink<'_>], directories: &[Directory<'_>], why: &str| {
        let error = parse(entries, links, directories, 100).unwrap_err().to_string();
        assert!(error.contains(why), "{error}, not {why}");
    };
    refused(&[file("a"), file("a")], &[], &[], "a occurs twice");
    refused(&[file("a")], &[link("a", "x")], &[], "a occurs twice");
    refused(&[file("a")], &[], &[directory("a")], "a occurs twice");
    refused(&[], &[link("a", "x")], &[directory("a")], "a occurs twice");
    refused(&[file("a"), file("a-b"), file("a/x")], &[], &[], "a is no directory, and a/x lies in it");
    refused(&[file("a/b"), file("a/b-c/d"), file("a/b/c/d")], &[], &[], "a/b is no directory");
    refused(&[file("a/x")], &[link("a", "/etc")], &[], "a is no directory");
    refused(&[file("a")], &[link("a/x", "y")], &[], "a is no directory");
    refused(&[file("a")], &[], &[directory("a/x")], "a is no directory");
    refused(&[], &[link("a", "")], &[], "its target");
    refused(&[], &[link("a", "b\0")], &[], "its target");
    let raw = |path, data_offset, size| Entry { data_offset, data_size: size, original_size: size, ..file(path) };
    refused(&[raw("a", 90, 11)], &[], &[], "outside of the data");
    refused(&[raw("a", u64::MAX, 2)], &[], &[], "outside of the data");
    refused(&[raw("a", 0, 10), raw("b", 9, 10)], &[], &[], "the data of a and b overlap");
    refused(&[raw("a", 0, 10), raw("b", 0, 11)], &[], &[], "overlap");
    refused(&[raw("a", 0, 50), raw("b", 60, 10), raw("c", 10, 10)], &[], &[], "overlap");
    refused(&[raw("a", 0, 10), Entry { hash: &[8; 32], ..raw("b", 0, 10) }], &[], &[], "overlap");
    refused(&[Entry { original_size: 11, ..raw("a", 0, 10) }], &[], &[], "without compression");
    parse(&[raw("a", 0, 10), raw("b", 0, 10), raw("c", 10, 90), file("d")], &[], &[], 100).unwrap();
}

#[test]
fn limits_are_kept() {
    let index = |limits| {
        let entries = [file("a/b"), Entry { original_size: 10, data_size: 10, ..file("c") }];
        let bytes = write_index(entries.into_iter(), [].into_iter(), [].into_iter(), 10, &HASH).unwrap();
        Index::parse(bytes, &limits)
    };
    let limits = Limits::default;
    index(limits()).unwrap();
    assert!(matches!(index(Limits { index: 100, ..limits() }), Err(Error::Limit { .. })));
    assert!(matches!(index(Limits { entries: 1, ..limits() }), Err(Error::TooManyFiles { limit: 1 })));
    assert!(matches!(index(Limits { path: 2, ..limits() }), Err(Error::InvalidIndex { .. })));
    assert!(matches!(index(Limits { depth: 1, ..limits() }), Err(Error::InvalidIndex { .. })));
    assert!(matches!(index(Limits { file: 9, ..limits() }), Err(Error::Limit { .. })));
}

#[tokio::test]
async fn bombs_end_where_the_index_says() {
    let zeros = vec![0; 20 << 20];
    let stored = zstd::encode_all(&zeros[..], 3).unwrap();
    for claimed in [0, 1000, 10 << 20, 20_971_521] {
        let hash = Sha256::digest(&zeros).into();
        let bomb = Entry {
            data_size: stored.len() as u64,
            original_size: claimed,
            codec: Codec::Zstd,
            hash: &hash,
            ..file("bomb")
        };
        let archive = archive(&[bomb], &stored, Limits { memory: 64 << 20, ..Limits::default() });
        archive.read("bomb").await.unwrap_err();
        let mut body = archive.stream("bomb").await.unwrap();
        let (mut came, mut failed) = (0, false);
        while let Some(part) = body.next().await {
            match part {
                Ok(part) => came += part.len() as u64,
                Err(error) => {
                    assert!(matches!(error.code(), Code::SizeInvalid | Code::DigestInvalid));
                    failed = true;
                    break;
                }
            }
        }
        assert!(failed && came <= claimed, "{came} of {claimed}");
        let dest = tempdir().unwrap();
        archive.extract(dest.path(), &ExtractOptions::default(), |_| {}).await.unwrap_err();
        assert!(describe(dest.path()).is_empty());
    }
}

#[tokio::test]
async fn broken_data_is_never_given_out_as_good() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions::default());
    let good = data(&built).await;
    let archive = crate::support::open(&built);
    for path in ["large/text", "large/noise", "same/one", "a/x", "noise"] {
        let entry = archive.entry(path).unwrap();
        for at in [entry.data_offset, entry.data_offset + entry.data_size / 2, entry.data().end - 1] {
            let mut bad = good.to_vec();
            bad[at as usize] ^= 0x55;
            let source = Arc::new(Bytewise(bad.into()));
            let broken = Archive::new(built.index().clone(), source, Limits::default()).unwrap();
            let error = broken.read(path).await.unwrap_err();
            assert!(matches!(error, Error::HashMismatch { .. } | Error::Decompression { .. }), "{path}: {error}");
            let error = broken.stream(path).await.unwrap().bytes(1 << 30).await.unwrap_err();
            assert_eq!(error.code(), &Code::DigestInvalid, "{path}");
            let dest = tempdir().unwrap();
            let options = ExtractOptions { select: vec![path.to_owned()], ..Default::default() };
            broken.extract(dest.path(), &options, |_| {}).await.unwrap_err();
            assert!(describe(dest.path()).is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn only_the_chunk_that_is_broken_cannot_be_read() {
    let tree = tempdir().unwrap();
    write(tree.path(), "text", text(3_500_000));
    let built = build(tree.path(), &BuildOptions::default());
    let mut bad = data(&built).await.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let broken = Archive::new(built.index().clone(), Arc::new(Bytewise(bad.into())), Limits::default()).unwrap();
    let last = (3_500_000 / CHUNK * CHUNK) as u64;
    let part = broken.read_range("text", 0..last).await.unwrap().bytes(1 << 30).await.unwrap();
    assert!(part == text(3_500_000)[..last as usize]);
    broken.read_range("text", 0..last + 1).await.unwrap().bytes(1 << 30).await.unwrap_err();
}

#[tokio::test]
async fn data_that_ends_early_is_an_error() {
    #[derive(Debug)]
    struct Short(Bytewise);

    #[async_trait]
    impl Source for Short {
        fn size(&self) -> u64 {
            self.0.size()
        }

        async fn read(&self, range: std::ops::Range<u64>) -> Result<Body> {
            self.0.read(range.start..range.end.saturating_sub(1).max(range.start)).await
        }
    }

    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions::default());
    let source = Arc::new(Short(Bytewise(data(&built).await)));
    let archive = Archive::new(built.index().clone(), source, Limits::default()).unwrap();
    archive.read("a/x").await.unwrap_err();
    archive.read("large/text").await.unwrap_err();
    let dest = tempdir().unwrap();
    archive.extract(dest.path(), &ExtractOptions::default(), |_| {}).await.unwrap_err();
    assert!(!dest.path().join("z").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_changes_meanwhile_leads_nowhere_else() {
    let (tree, dest, outside) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    for number in 0..300 {
        write(tree.path(), &format!("d/{}/{number}", number % 3), "content");
    }
    let archive = crate::support::open(&build(tree.path(), &BuildOptions::default()));
    for number in 0..3 {
        std::fs::create_dir_all(dest.path().join(format!("d/{number}"))).unwrap();
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = {
        let (stop, place, outside) = (stop.clone(), dest.path().join("d/1"), outside.path().to_owned());
        let aside = dest.path().join("aside");
        std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if std::fs::rename(&place, &aside).is_ok() {
                    let _ = symlink(&outside, &place);
                    std::thread::yield_now();
                    let _ = std::fs::remove_file(&place);
                    let _ = std::fs::rename(&aside, &place);
                }
            }
        })
    };
    for _ in 0..20 {
        // It may fail, and say that something is in the way; it may not write elsewhere.
        let _ = archive.extract(dest.path(), &ExtractOptions::default(), |_| {}).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(describe(outside.path()).is_empty());
}

/// A source that never gives a byte.
#[derive(Debug)]
struct Silent(u64, Arc<tokio::sync::Notify>);

#[async_trait]
impl Source for Silent {
    fn size(&self) -> u64 {
        self.0
    }

    async fn read(&self, _: std::ops::Range<u64>) -> Result<Body> {
        self.1.notify_one();
        Ok(Body::new(None, futures_util::stream::pending()))
    }
}

#[test]
fn extracting_from_a_source_that_is_silent_can_be_stopped_and_dropped() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions::default());
    let asked = Arc::new(tokio::sync::Notify::new());
    let source = Arc::new(Silent(built.data_descriptor().size, asked.clone()));
    let archive = Archive::new(built.index().clone(), source, Limits::default()).unwrap();
    let dest = tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = ExtractOptions::default();
        let stopping = async {
            asked.notified().await;
            options.cancel.cancel();
        };
        let (extracted, ()) = tokio::join!(archive.extract(dest.path(), &options, |_| {}), stopping);
        assert!(matches!(extracted, Err(Error::Cancelled)));
        let options = ExtractOptions::default();
        tokio::select! {
            _ = archive.extract(dest.path(), &options, |_| {}) => unreachable!("it never ends"),
            () = asked.notified() => {}
        }
    });
    drop(runtime);
    // The writers learn that nobody waits for them, and clean up.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::fs::read_dir(dest.path()).unwrap().next().is_some() {
        assert!(std::time::Instant::now() < deadline, "something is left behind");
        std::thread::yield_now();
    }
}
