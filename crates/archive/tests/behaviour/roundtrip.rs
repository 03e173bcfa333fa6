//! Trees that become archives and trees again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::support::CHUNK;
use crate::support::build;
use crate::support::chmod;
use crate::support::data;
use crate::support::describe;
use crate::support::link;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::open;
use crate::support::text;
use crate::support::write;
use futures_util::StreamExt;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Codec;
use skep_archive::Compression;
use skep_archive::Error;
use skep_archive::ExtractOptions;
use skep_archive::Limits;
use skep_archive::Node;
use skep_archive::Reason;
use tempfile::tempdir;

async fn extract(archive: &Archive, dest: &Path, options: &ExtractOptions) -> skep_archive::Result<()> {
    archive.extract(dest, options, |_| {}).await.map(drop)
}

fn select(paths: &[&str]) -> ExtractOptions {
    ExtractOptions { select: paths.iter().map(|path| (*path).to_owned()).collect(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_comes_back_as_it_was() {
    let (tree, dest) = (tempdir().unwrap(), tempdir().unwrap());
    nasty_tree(tree.path());
    let want = describe(tree.path());
    for compression in [Compression::None, Compression::Zstd { level: 3 }] {
        for workers in [1, 3] {
            let built = build(tree.path(), &BuildOptions { compression, ..Default::default() });
            let place = dest.path().join(format!("{compression:?}/{workers}"));
            extract(&open(&built), &place, &ExtractOptions { workers, ..Default::default() }).await.unwrap();
            assert_eq!(describe(&place), want);
            // Over itself, too.
            extract(&open(&built), &place, &ExtractOptions { workers, ..Default::default() }).await.unwrap();
            assert_eq!(describe(&place), want);
        }
    }
}

#[tokio::test]
async fn the_archive_does_not_depend_on_the_number_of_workers() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    for number in 0..600 {
        write(tree.path(), &format!("many/{}/{number}", number % 7), text(number * 37 % 5000));
    }
    let mut first = None;
    for workers in [1, 2, 4, 4, 9] {
        let built = build(tree.path(), &BuildOptions { workers, ..Default::default() });
        let digests = (built.index_descriptor().clone(), built.data_descriptor().clone());
        assert_eq!(*first.get_or_insert(digests.clone()), digests, "{workers} workers");
    }
}

#[tokio::test]
async fn data_has_its_digest_and_contents_are_stored_once() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions::default());
    let data = data(&built).await;
    assert_eq!(skep_registry::Digest::sha256(&data), built.data_descriptor().digest);
    let archive = open(&built);
    let entry = |path| archive.entry(path).unwrap();
    assert_eq!(entry("same/one").data(), entry("same/two").data());
    assert_eq!(entry("same/one").data(), entry("same/three").data());
    assert_eq!(entry("large/text").data(), entry("large/text.copy").data());
    assert_eq!(entry("large/text").chunks, entry("large/text.copy").chunks);
    assert_eq!(built.summary().duplicates, 3);
    assert_eq!(built.summary().duplicate_size, 2 * 3000 + 3_500_000);
    let mut ends: Vec<_> = archive.entries().map(|entry| entry.data().end).collect();
    ends.sort_unstable();
    assert_eq!(ends.last(), Some(&(data.len() as u64)), "nothing is in the data that no file has");
}

#[tokio::test]
async fn contents_are_compressed_when_it_is_worth_it() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    for (path, codec, in_chunks) in [
        ("a.txt", Codec::None, None),
        ("empty", Codec::Zstd, None),
        ("same/one", Codec::Zstd, None),
        ("noise", Codec::None, None),
        ("photo.JPG", Codec::None, None),
        ("large/exactly", Codec::Zstd, None),
        ("large/one-more", Codec::Zstd, Some((1 << 20) + 1)),
        ("large/text", Codec::Zstd, Some(3_500_000)),
        ("large/noise", Codec::None, Some(3_300_001)),
    ] {
        let entry = archive.entry(path).unwrap();
        let chunks = in_chunks.map(|size: usize| (CHUNK as u32, size.div_ceil(CHUNK)));
        let came = entry.chunks.map(|chunks| (chunks.size(), chunks.len()));
        assert_eq!((entry.codec, came), (codec, chunks), "{path}");
    }
    assert_eq!(archive.entry("empty").unwrap().data_size, 0);
}

#[tokio::test]
async fn without_extensions_the_archive_is_plain_version_1() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions { extensions: false, ..Default::default() });
    let archive = open(&built);
    assert_eq!(archive.index().symlinks().len() + archive.index().directories().len(), 0);
    assert!(archive.entries().all(|entry| entry.chunks.is_none()));
    let omitted = &built.summary().omitted;
    assert_eq!(omitted[&Reason::Symlink].count, 6);
    assert!(omitted[&Reason::Directory].count > 10);
    assert!(archive.read("large/text").await.unwrap() == text(3_500_000));
    let part = archive.read_range("large/text", 1_000_000..3_000_000).await.unwrap();
    assert!(part.bytes(1 << 30).await.unwrap() == text(3_500_000)[1_000_000..3_000_000]);
    let dest = tempdir().unwrap();
    extract(&archive, dest.path(), &ExtractOptions::default()).await.unwrap();
    assert!(fs::read(dest.path().join("large/text.copy")).unwrap() == text(3_500_000));
}

#[tokio::test]
async fn what_is_not_carried_is_counted() {
    let tree = tempdir().unwrap();
    let root = tree.path();
    write(root, "file", "x");
    fs::hard_link(root.join("file"), root.join("hard")).unwrap();
    chmod(root, "file", 0o2755);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    use std::os::unix::ffi::OsStrExt;
    fs::create_dir(root.join(std::ffi::OsStr::from_bytes(b"\xff\xfe"))).unwrap();
    let built = build(root, &BuildOptions::default());
    let omitted: Vec<_> = built.summary().omitted.iter().map(|(reason, omitted)| (*reason, omitted.count)).collect();
    assert_eq!(
        omitted,
        [(Reason::Fifo, 1), (Reason::HardLink, 2), (Reason::NonUtf8, 1), (Reason::Socket, 1), (Reason::SpecialBits, 2)]
    );
    assert_eq!(built.summary().omitted[&Reason::Fifo].examples, ["pipe"]);
    assert_eq!(open(&built).entries().map(|entry| entry.path).collect::<Vec<_>>(), ["file", "hard"]);
}

#[tokio::test]
async fn an_empty_directory_is_an_archive() {
    let (tree, dest) = (tempdir().unwrap(), tempdir().unwrap());
    let built = build(tree.path(), &BuildOptions::default());
    assert_eq!((built.data_descriptor().size, built.newest_ns()), (0, None));
    extract(&open(&built), dest.path(), &ExtractOptions::default()).await.unwrap();
    assert!(describe(dest.path()).is_empty());
}

#[tokio::test]
async fn saved_archives_are_opened_from_files() {
    let (tree, place) = (tempdir().unwrap(), tempdir().unwrap());
    nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions::default());
    let (index, data) = (place.path().join("index.blob"), place.path().join("data.blob"));
    built.save(&index, &data).unwrap();
    let archive = Archive::open_files(&index, &data, Limits::default()).unwrap();
    assert!(archive.read("large/noise").await.unwrap() == noise(3_300_001, 1));
}

#[test]
fn limits_and_cancelling_stop_a_build() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let limited = |limits| {
        let options = BuildOptions { limits, ..Default::default() };
        skep_archive::build(tree.path(), &options, &|_| {}).unwrap_err()
    };
    let limits = Limits::default;
    assert!(matches!(limited(Limits { entries: 5, ..limits() }), Error::TooManyFiles { limit: 5 }));
    assert!(matches!(limited(Limits { depth: 4, ..limits() }), Error::InvalidPath { .. }));
    assert!(matches!(limited(Limits { file: 1000, ..limits() }), Error::Limit { .. }));
    let options = BuildOptions { workers: 1, ..Default::default() };
    let cancelled = skep_archive::build(tree.path(), &options, &|_| options.cancel.cancel());
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
fn a_file_that_grows_while_it_is_read_is_an_error_that_names_it() {
    let tree = tempdir().unwrap();
    write(tree.path(), "a", noise(3 << 20, 1));
    write(tree.path(), "b", noise(8 << 20, 2));
    let grow = |_| {
        fs::OpenOptions::new().append(true).open(tree.path().join("b")).unwrap().set_len(9 << 20).unwrap();
    };
    let options = BuildOptions { workers: 1, ..Default::default() };
    let error = skep_archive::build(tree.path(), &options, &grow).unwrap_err();
    assert!(matches!(&error, Error::Changed { path, .. } if path.ends_with("b")), "{error}");
}

#[tokio::test]
async fn some_of_a_tree_is_extracted() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let paths = |dest: &Path| describe(dest).into_keys().collect::<Vec<_>>();

    let dest = tempdir().unwrap();
    extract(&archive, dest.path(), &select(&["a/b/c", "/same/", "a/b"])).await.unwrap();
    assert_eq!(paths(dest.path()), ["a", "a/b", "a/b/c", "same", "same/one", "same/three", "same/two"]);

    let dest = tempdir().unwrap();
    let options = ExtractOptions { strip: "a".to_owned(), ..select(&["a"]) };
    extract(&archive, dest.path(), &options).await.unwrap();
    assert_eq!(paths(dest.path()), ["b", "b/c", "x"]);

    let dest = tempdir().unwrap();
    let options =
        ExtractOptions { strip: "large".to_owned(), name: Some("new".to_owned()), ..select(&["large/noise"]) };
    extract(&archive, dest.path(), &options).await.unwrap();
    assert_eq!(paths(dest.path()), ["new"]);
    assert!(fs::read(dest.path().join("new")).unwrap() == noise(3_300_001, 1));

    let dest = tempdir().unwrap();
    let error = extract(&archive, dest.path(), &select(&["a/b/d"])).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    let options = ExtractOptions { strip: "a/b".to_owned(), ..select(&["a/x"]) };
    assert!(matches!(extract(&archive, dest.path(), &options).await, Err(Error::InvalidPath { .. })));
    let options = ExtractOptions { name: Some("../x".to_owned()), ..select(&["z"]) };
    assert!(matches!(extract(&archive, dest.path(), &options).await, Err(Error::InvalidPath { .. })));
    assert!(paths(dest.path()).is_empty());
}

#[tokio::test]
async fn what_is_there_is_replaced_or_in_the_way() {
    let tree = tempdir().unwrap();
    write(tree.path(), "d/file", "new");
    link(tree.path(), "d/link", "file");
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let outside = tempdir().unwrap();
    write(outside.path(), "victim", "safe");

    let dest = tempdir().unwrap();
    write(dest.path(), "d/file", "old");
    write(dest.path(), "d/link", "old");
    write(dest.path(), "d/other", "kept");
    extract(&archive, dest.path(), &ExtractOptions::default()).await.unwrap();
    assert_eq!(fs::read(dest.path().join("d/file")).unwrap(), b"new");
    assert_eq!(fs::read_link(dest.path().join("d/link")).unwrap(), Path::new("file"));
    assert_eq!(fs::read(dest.path().join("d/other")).unwrap(), b"kept");

    // A symbolic link is replaced, what it leads to is not touched.
    let dest = tempdir().unwrap();
    fs::create_dir(dest.path().join("d")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("victim"), dest.path().join("d/file")).unwrap();
    extract(&archive, dest.path(), &ExtractOptions::default()).await.unwrap();
    assert_eq!(fs::read(dest.path().join("d/file")).unwrap(), b"new");
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"safe");

    // A symbolic link to a directory is not entered.
    let dest = tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), dest.path().join("d")).unwrap();
    let error = extract(&archive, dest.path(), &ExtractOptions::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict { path, .. } if path.ends_with("d")), "{error}");
    assert_eq!(describe(outside.path()).len(), 1);

    for (way, path) in [("d", "d"), ("d/file/x", "d/file"), ("d/link/x", "d/link")] {
        let dest = tempdir().unwrap();
        write(dest.path(), way, "in the way");
        let error = extract(&archive, dest.path(), &ExtractOptions::default()).await.unwrap_err();
        assert!(matches!(&error, Error::Conflict { path: at, .. } if at.ends_with(path)), "{error}");
        assert_eq!(fs::read(dest.path().join(way)).unwrap(), b"in the way");
        let staging = describe(dest.path()).into_keys().find(|path| path.starts_with(".skep-"));
        assert_eq!(staging, None, "nothing is left behind");
    }
}

#[tokio::test]
async fn permissions_do_not_depend_on_what_is_there() {
    let tree = tempdir().unwrap();
    write(tree.path(), "d/file", "new");
    chmod(tree.path(), "d/file", 0o666);
    chmod(tree.path(), "d", 0o770);
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let dest = tempdir().unwrap();
    write(dest.path(), "d/file", "old");
    chmod(dest.path(), "d", 0o500);
    extract(&archive, dest.path(), &ExtractOptions::default()).await.unwrap();
    let mode = |path| fs::metadata(dest.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("d"), mode("d/file")), (0o770, 0o666));
    assert!(fs::metadata(dest.path().join("d/file")).unwrap().nlink() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn extracting_stops_and_leaves_nothing_half_done() {
    let tree = tempdir().unwrap();
    for number in 0..50 {
        write(tree.path(), &format!("{number}"), noise(400_000, number));
    }
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let dest = tempdir().unwrap();
    let options = ExtractOptions { workers: 1, ..Default::default() };
    let cancel = options.cancel.clone();
    let calls = Arc::new(AtomicU64::new(0));
    let seen = calls.clone();
    let progress = move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        cancel.cancel();
    };
    let stopped = archive.extract(dest.path(), &options, progress).await;
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    for (path, _) in describe(dest.path()) {
        assert!(!path.starts_with(".skep-"), "{path}");
        assert!(fs::read(dest.path().join(&path)).unwrap() == noise(400_000, path.parse().unwrap()), "{path}");
    }
    let total = Limits { total: 1 << 20, ..Limits::default() };
    let archive = Archive::new(archive.index().bytes().clone(), archive.source().clone(), total).unwrap();
    assert!(matches!(extract(&archive, dest.path(), &Default::default()).await, Err(Error::Limit { .. })));
}

#[tokio::test]
async fn links_inside_of_the_archive_are_followed() {
    let tree = tempdir().unwrap();
    let root = tree.path();
    write(root, "a/b/file", "content");
    link(root, "one", "a/b");
    link(root, "two", "./one/../b/file");
    link(root, "a/up", "../one/file");
    link(root, "out", "../../etc/passwd");
    link(root, "abs", "/a/b/file");
    link(root, "loop", "loop2");
    link(root, "loop2", "loop");
    link(root, "gone", "nothing");
    let archive = open(&build(root, &BuildOptions::default()));
    for path in ["one/file", "two", "a/up", "/a//b/file"] {
        assert_eq!(archive.read(path).await.unwrap(), "content", "{path}");
    }
    for (path, why) in [("out", "leads out"), ("abs", "leads out"), ("loop", "more than 40"), ("gone", "not found")] {
        let error = archive.read(path).await.unwrap_err().to_string();
        assert!(error.contains(why), "{path}: {error}");
        assert!(!archive.exists(path));
        assert!(matches!(archive.node(path), Ok(Node::Symlink(_))));
    }
    assert!(archive.is_dir("one") && matches!(archive.node("one/file"), Ok(Node::File(_))));
    assert!(matches!(archive.read("a").await, Err(Error::IsDirectory { .. })));
    assert!(matches!(archive.read("../a").await, Err(Error::InvalidPath { .. })));
    let names: Vec<_> = archive.read_dir("one").unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["file"]);
    assert!(matches!(archive.read_dir("a/b/file"), Err(Error::NotDirectory { .. })));
}

#[tokio::test]
async fn many_files_are_read_with_their_names() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let mut want: Vec<String> = archive.entries().map(|entry| entry.path.to_owned()).collect();
    want.push("links/file".to_owned());
    let mut came = Vec::new();
    let mut files = Box::pin(archive.read_many(want.clone()).unwrap());
    while let Some(file) = files.next().await {
        let (path, content) = file.unwrap();
        assert!(content == fs::read(tree.path().join(&path)).unwrap(), "{path}");
        came.push(path);
    }
    came.sort();
    want.sort();
    assert_eq!(came, want);
    assert!(archive.read_many(["a/x", "missing"]).is_err());
}
