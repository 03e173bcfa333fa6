//! Extracting as options say: what is verified, kept, replaced, removed and restored, and how much at once.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::support::CHUNK;
use crate::support::build;
use crate::support::chmod;
use crate::support::data;
use crate::support::describe;
use crate::support::forged;
use crate::support::forged::Bytewise;
use crate::support::link;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::open;
use crate::support::text;
use crate::support::touch;
use crate::support::write;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Entry;
use skep_archive::Error;
use skep_archive::ExtractOptions;
use skep_archive::Extracted;
use skep_archive::Limits;
use skep_archive::Overwrite;
use skep_archive::Patterns;
use skep_archive::Result;
use skep_archive::Source;
use skep_archive::write_index;
use skep_registry::Body;
use tempfile::tempdir;

async fn extract(archive: &Archive, dest: &Path, options: ExtractOptions) -> Result<Extracted> {
    archive.extract(dest, &options, |_| {}).await
}

fn paths(dest: &Path) -> Vec<String> {
    describe(dest).into_keys().collect()
}

/// An archive with one file in chunks, whose index was changed.
async fn changed(change: impl Fn(Entry<'_>) -> Entry<'_>) -> Archive {
    let tree = tempdir().unwrap();
    write(tree.path(), "file", text(9_500_000));
    let built = build(tree.path(), &BuildOptions::default());
    let good = open(&built);
    assert_eq!(good.entry("file").unwrap().chunks.unwrap().len(), 9_500_000usize.div_ceil(CHUNK));
    let bytes = data(&built).await;
    let entries: Vec<_> = good.entries().map(&change).collect();
    let none = || [].into_iter();
    let index = write_index(entries.into_iter(), none(), [].into_iter(), bytes.len() as u64, &[7; 32]).unwrap();
    Archive::new(index, Arc::new(Bytewise(bytes)), Limits::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_chunks_are_right_and_whose_hash_is_wrong_does_not_appear() {
    let archive = changed(|entry| Entry { hash: &[9; 32], ..entry }).await;
    for (workers, memory) in [(1, 64 << 20), (4, 64 << 20), (1, 0), (4, 100_000)] {
        let dest = tempdir().unwrap();
        let options = ExtractOptions { workers, memory, ..Default::default() };
        let error = extract(&archive, dest.path(), options).await.unwrap_err();
        assert!(matches!(&error, Error::HashMismatch { path, .. } if path == "file"), "{error}");
        assert!(paths(dest.path()).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_whole_file_only_its_own_hash_counts_and_of_a_part_that_of_the_chunk() {
    // A hash of the third chunk is found in the bytes of the index, and broken.
    let tree = tempdir().unwrap();
    write(tree.path(), "file", text(9_500_000));
    let built = build(tree.path(), &BuildOptions::default());
    let good = open(&built);
    let (_, third) = good.entry("file").unwrap().chunks.unwrap().get(2).unwrap();
    let mut index = built.index().to_vec();
    let at = index.windows(32).position(|bytes| bytes == third).unwrap();
    index[at] ^= 1;
    let source = Arc::new(Bytewise(data(&built).await));
    let archive = Archive::new(index.into(), source, Limits::default()).unwrap();
    let dest = tempdir().unwrap();
    extract(&archive, dest.path(), Default::default()).await.unwrap();
    assert!(fs::read(dest.path().join("file")).unwrap() == text(9_500_000));
    let part = |range| archive.read_range("file", range);
    part(0..2 * CHUNK as u64).await.unwrap().bytes(1 << 30).await.unwrap();
    part(2 * CHUNK as u64..2 * CHUNK as u64 + 1).await.unwrap().bytes(1 << 30).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_replaced_skipped_or_refused() {
    let tree = tempdir().unwrap();
    for path in ["a", "d/b", "d/c", "new/e"] {
        write(tree.path(), path, "new!");
    }
    link(tree.path(), "d/link", "c");
    link(tree.path(), "d/other", "c");
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let there = || {
        let dest = tempdir().unwrap();
        write(dest.path(), "d/b", "old");
        link(dest.path(), "a", "nowhere");
        write(dest.path(), "d/link", "old");
        write(dest.path(), "d/mine", "old");
        dest
    };
    let content = |dest: &Path, path: &str| fs::read_to_string(dest.join(path)).unwrap();

    let dest = there();
    let options = ExtractOptions { overwrite: Overwrite::Skip, ..Default::default() };
    let came = extract(&archive, dest.path(), options).await.unwrap();
    assert_eq!((came.files, came.symlinks, came.skipped, came.bytes, came.removed), (2, 1, 3, 8, 0));
    assert_eq!((content(dest.path(), "d/b"), content(dest.path(), "d/c")), ("old".into(), "new!".into()));
    assert_eq!(content(dest.path(), "d/link"), "old");
    assert_eq!(fs::read_link(dest.path().join("a")).unwrap(), Path::new("nowhere"));
    assert_eq!(content(dest.path(), "new/e"), "new!");

    let dest = there();
    let before = describe(dest.path());
    let options = ExtractOptions { overwrite: Overwrite::Fail, ..Default::default() };
    let error = extract(&archive, dest.path(), options.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict { .. }), "{error}");
    assert_eq!(describe(dest.path()), before, "nothing is written");
    let dest = tempdir().unwrap();
    assert_eq!(extract(&archive, &dest.path().join("not/there"), options).await.unwrap().files, 4);

    let dest = there();
    let came = extract(&archive, dest.path(), Default::default()).await.unwrap();
    assert_eq!((came.files, came.symlinks, came.skipped, came.bytes), (4, 2, 0, 16));
    assert_eq!((content(dest.path(), "a"), content(dest.path(), "d/mine")), ("new!".into(), "old".into()));
}

#[tokio::test]
async fn cleaning_leaves_exactly_what_was_extracted() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let outside = tempdir().unwrap();
    write(outside.path(), "victim", "safe");

    let dest = tempdir().unwrap();
    let clean = || ExtractOptions { clean: true, ..Default::default() };
    extract(&archive, &dest.path().join("new"), clean()).await.unwrap();
    assert_eq!(describe(&dest.path().join("new")), describe(tree.path()), "a place that is not there will do");

    let dest = tempdir().unwrap();
    let root = dest.path();
    for path in ["more", "a/more/deep", "large/b/c/d", "z/in/the/way", "a.txt/way", "links/dir/way", "noise"] {
        write(root, path, "old");
    }
    write(root, "deep", "a file where a directory must go");
    link(root, "void", "../nowhere");
    std::os::unix::fs::symlink(outside.path(), root.join("outside")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("same")).unwrap();
    fs::create_dir(root.join("closed")).unwrap();
    let came = extract(&archive, root, clean()).await.unwrap();
    assert_eq!(describe(root), describe(tree.path()));
    assert_eq!(came.removed, 11);
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"safe");

    // Together with a selection and with what is kept.
    let dest = tempdir().unwrap();
    for path in ["x", "b/c", "b/d", "y"] {
        write(dest.path(), path, "old");
    }
    let options =
        ExtractOptions { select: vec!["a".to_owned()], strip: "a".to_owned(), overwrite: Overwrite::Skip, ..clean() };
    let came = extract(&archive, dest.path(), options).await.unwrap();
    assert_eq!((came.skipped, came.removed), (2, 2));
    assert_eq!(paths(dest.path()), ["b", "b/c", "x"]);
    assert_eq!(fs::read(dest.path().join("x")).unwrap(), b"old");
}

#[tokio::test]
async fn nothing_is_removed_when_extracting_fails_or_the_place_is_precious() {
    let archive = changed(|entry| Entry { hash: &[9; 32], ..entry }).await;
    let dest = tempdir().unwrap();
    write(dest.path(), "mine", "old");
    let clean = || ExtractOptions { clean: true, ..Default::default() };
    extract(&archive, dest.path(), clean()).await.unwrap_err();
    assert_eq!(paths(dest.path()), ["mine"]);

    let here = std::env::current_dir().unwrap();
    for place in [Path::new("/"), Path::new("."), Path::new(".."), &here, here.parent().unwrap(), Path::new("src/..")] {
        let error = extract(&archive, place, clean()).await.unwrap_err();
        assert!(matches!(&error, Error::Conflict { path, .. } if path == place), "{error}");
    }
    assert!(matches!(extract(&archive, Path::new(""), clean()).await, Err(Error::Io { .. })));
    if let Some(home) = std::env::home_dir().filter(|home| home.is_dir()) {
        assert!(matches!(extract(&archive, &home, clean()).await, Err(Error::Conflict { .. })));
    }
}

#[tokio::test]
async fn patterns_choose_among_what_is_selected() {
    let tree = tempdir().unwrap();
    for path in ["docs/guide.md", "docs/raw/notes.txt", "docs/raw/x.md", "src/a.rs", "src/readme.md", "top.md"] {
        write(tree.path(), path, path);
    }
    link(tree.path(), "docs/link.md", "guide.md");
    fs::create_dir(tree.path().join("docs/empty")).unwrap();
    chmod(tree.path(), "docs", 0o750);
    touch(tree.path(), "docs", 1_000_000_000_000_000_000);
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let chosen = async |select: &[&str], include: &[&str], exclude: &[&str]| {
        let dest = tempdir().unwrap();
        let patterns = Patterns::new(include.iter().copied(), exclude.iter().copied()).unwrap();
        let select = select.iter().map(|path| (*path).to_owned()).collect();
        extract(&archive, dest.path(), ExtractOptions { select, patterns, ..Default::default() }).await.unwrap();
        dest
    };
    let dest = chosen(&[], &["*.md"], &["/src/"]).await;
    let want = ["docs", "docs/guide.md", "docs/link.md", "docs/raw", "docs/raw/x.md", "top.md"];
    assert_eq!(paths(dest.path()), want);
    let stat = fs::metadata(dest.path().join("docs")).unwrap();
    assert_eq!((stat.mode() & 0o777, stat.mtime()), (0o750, 1_000_000_000), "directories on the way are restored");
    let dest = chosen(&["docs"], &[], &["raw/", "*.md"]).await;
    assert_eq!(paths(dest.path()), ["docs", "docs/empty"]);
    let dest = chosen(&[], &["nothing"], &[]).await;
    assert!(paths(dest.path()).is_empty());
}

#[tokio::test]
async fn permissions_and_times_are_restored_only_if_wanted() {
    let tree = tempdir().unwrap();
    write(tree.path(), "d/file", "x");
    link(tree.path(), "d/link", "file");
    for path in ["d/file", "d/link", "d"] {
        touch(tree.path(), path, 1_000_000_000_000_000_000);
    }
    chmod(tree.path(), "d/file", 0o611);
    chmod(tree.path(), "d", 0o711);
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    // What the mask of this process makes of new files and directories.
    let usual = tempdir().unwrap();
    write(usual.path(), "d/file", "x");
    let mode = |dest: &Path, path: &str| fs::metadata(dest.join(path)).unwrap().permissions().mode() & 0o777;
    for (modes, times) in [(true, true), (true, false), (false, true), (false, false)] {
        for there in [false, true] {
            let dest = tempdir().unwrap();
            if there {
                write(dest.path(), "d/file", "old");
            }
            extract(&archive, dest.path(), ExtractOptions { modes, times, ..Default::default() }).await.unwrap();
            for path in ["d/file", "d"] {
                let want = mode(if modes { tree.path() } else { usual.path() }, path);
                assert_eq!(mode(dest.path(), path), want, "{path}, modes {modes}, there {there}");
            }
            for path in ["d/file", "d/link", "d"] {
                let mtime = fs::symlink_metadata(dest.path().join(path)).unwrap().mtime();
                assert_eq!(mtime == 1_000_000_000, times, "{path}, times {times}, there {there}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_budget_is_enough() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    write(tree.path(), "huge", text(40 << 20));
    let want = describe(tree.path());
    for extensions in [true, false] {
        let archive = open(&build(tree.path(), &BuildOptions { extensions, ..Default::default() }));
        for memory in [0, 1, 4096, 1 << 20, u64::MAX] {
            for in_flight in [0, 3] {
                let dest = tempdir().unwrap();
                let options = ExtractOptions { memory, in_flight, workers: 3, gap: 0, ..Default::default() };
                let extracting = extract(&archive, dest.path(), options);
                let extracted = tokio::time::timeout(std::time::Duration::from_secs(60), extracting).await;
                let extracted = extracted.unwrap_or_else(|_| panic!("it hangs with {memory} bytes")).unwrap();
                assert_eq!(extracted.bytes, archive.entries().map(|entry| entry.original_size).sum::<u64>());
                if extensions {
                    assert_eq!(describe(dest.path()), want, "{memory}");
                } else {
                    assert!(fs::read(dest.path().join("huge")).unwrap() == text(40 << 20));
                }
            }
        }
    }
}

/// A source that counts how many of its bodies are read at the same time, and the bytes that were given out.
#[derive(Debug)]
struct Watched {
    data: Bytes,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    ranges: Mutex<Vec<Range<u64>>>,
}

/// Counts down when a body ends.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Source for Watched {
    fn size(&self) -> u64 {
        self.data.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        let now = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.ranges.lock().unwrap().push(range.clone());
        let open = Open(self.open.clone());
        let content = self.data.slice(range.start as usize..range.end as usize);
        // Slow enough that all who want to be at work are.
        let later = async move {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let _open = open;
            Ok(content)
        };
        Ok(Body::new(None, futures_util::stream::once(later).boxed()))
    }
}

#[tokio::test]
async fn files_far_apart_are_asked_for_at_once_and_those_together_once() {
    let tree = tempdir().unwrap();
    for number in 0..40 {
        write(tree.path(), &format!("{number:02}"), noise(20_000, number));
    }
    let built = build(tree.path(), &BuildOptions::default());
    let bytes = data(&built).await;
    let watched = || {
        let (open, most) = (Arc::default(), Arc::default());
        Arc::new(Watched { data: bytes.clone(), open, most, ranges: Mutex::default() })
    };
    let select = (0..40).step_by(2).map(|number| format!("{number:02}"));
    let scattered = ExtractOptions { select: select.collect(), gap: 0, ..Default::default() };
    for (in_flight, want) in [(1, 1), (4, 4), (100, 20)] {
        let source = watched();
        let archive = Archive::new(built.index().clone(), source.clone(), Limits::default()).unwrap();
        let dest = tempdir().unwrap();
        extract(&archive, dest.path(), ExtractOptions { in_flight, ..scattered.clone() }).await.unwrap();
        assert_eq!(source.most.load(Ordering::SeqCst), want, "{in_flight}");
        assert_eq!(source.ranges.lock().unwrap().len(), 20);
        for number in (0..40).step_by(2) {
            assert!(fs::read(dest.path().join(format!("{number:02}"))).unwrap() == noise(20_000, number));
        }
    }
    let source = watched();
    let archive = Archive::new(built.index().clone(), source.clone(), Limits::default()).unwrap();
    let dest = tempdir().unwrap();
    extract(&archive, dest.path(), Default::default()).await.unwrap();
    let ranges = source.ranges.lock().unwrap();
    assert!(matches!(&ranges[..], [all] if *all == (0..bytes.len() as u64)), "a whole archive is one request");
}

#[tokio::test]
async fn names_that_the_disk_takes_for_one_are_never_written_over_each_other() {
    let (content, other) = (noise(2 << 20, 1), noise(2 << 20, 2));
    let tree = tempdir().unwrap();
    write(tree.path(), "README", &content);
    write(tree.path(), "readme", &other);
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let dest = tempdir().unwrap();
    let place = dest.path().to_owned();
    // Disks that do not tell the two apart show the first under the name of the second; a hard link does that, too.
    let (first, second) = (place.join("README"), place.join("readme"));
    let folding = move |_| {
        if first.exists() && !second.exists() {
            fs::hard_link(&first, &second).unwrap();
        }
    };
    let options = ExtractOptions { workers: 1, ..Default::default() };
    let error = archive.extract(&place, &options, folding).await.unwrap_err();
    let want = format!("{}: this disk takes it for {}", place.join("readme").display(), place.join("README").display());
    assert!(matches!(error, Error::Collision { .. }) && error.to_string().starts_with(&want), "{error}");
    assert!(fs::read(place.join("README")).unwrap() == content);

    // On this disk they are two files.
    let dest = tempdir().unwrap();
    extract(&archive, dest.path(), Default::default()).await.unwrap();
    assert!(fs::read(dest.path().join("readme")).unwrap() == other);
    // The same goes for one name twice, which no index may have.
    assert!(forged::forge(&[forged::file("a"), forged::file("a")], &[], &[], forged::CONTENT).is_err());
}
