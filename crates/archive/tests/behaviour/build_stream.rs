//! Archives of what comes in a stream: entries that are given, in any order.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use crate::support::build;
use crate::support::describe;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::open;
use crate::support::text;
use skep_archive::BuildEntry;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::EntryKind;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Patterns;
use skep_archive::Reason;
use skep_archive::Result;
use tempfile::tempdir;

fn pack(entries: Vec<BuildEntry<'_>>, options: &BuildOptions) -> Result<Built> {
    skep_archive::build_entries(entries.into_iter().map(Ok), options, &|_| {})
}

/// What is in a tree, in the order of paths.
fn entries_of(root: &Path) -> Vec<BuildEntry<'static>> {
    let entry = |path: &String| {
        let on_disk = root.join(path);
        let stat = fs::symlink_metadata(&on_disk).unwrap();
        let kind = if stat.is_dir() {
            EntryKind::Directory
        } else if stat.is_symlink() {
            EntryKind::Symlink { target: fs::read_link(&on_disk).unwrap().into_os_string().into_string().unwrap() }
        } else {
            EntryKind::File { content: Box::new(fs::File::open(&on_disk).unwrap()), size: Some(stat.len()) }
        };
        let (mode, uid, gid) = (stat.mode(), stat.uid(), stat.gid());
        let mtime_ns = stat.mtime() * 1_000_000_000 + stat.mtime_nsec();
        BuildEntry { path: path.clone(), kind, mode: mode & 0o7777, uid, gid, mtime_ns }
    };
    describe(root).keys().map(entry).collect()
}

fn without_sizes(entries: Vec<BuildEntry<'_>>) -> Vec<BuildEntry<'_>> {
    let without = |entry| match entry {
        BuildEntry { kind: EntryKind::File { content, .. }, .. } => {
            BuildEntry { kind: EntryKind::File { content, size: None }, ..entry }
        }
        entry => entry,
    };
    entries.into_iter().map(without).collect()
}

#[test]
fn entries_in_order_give_the_bytes_that_their_directory_gives() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let want = build(tree.path(), &BuildOptions::default());
    for workers in [1, 2, 5] {
        let options = BuildOptions { workers, ..Default::default() };
        for entries in [entries_of(tree.path()), without_sizes(entries_of(tree.path()))] {
            let built = pack(entries, &options).unwrap();
            assert_eq!(built.data_descriptor(), want.data_descriptor(), "{workers} workers");
            assert_eq!(built.index(), want.index(), "{workers} workers");
            // Which examples are given depends on the order in which they were met.
            let [mut came, mut wanted] = [&built, &want].map(|built| built.summary().clone());
            came.omitted.values_mut().chain(wanted.omitted.values_mut()).for_each(|omitted| omitted.examples.sort());
            assert_eq!(came, wanted);
        }
    }
}

#[tokio::test]
async fn entries_in_any_order_are_found() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let mut entries = entries_of(tree.path());
    entries.reverse();
    entries.rotate_left(5);
    let built = pack(entries, &BuildOptions::default()).unwrap();
    let (archive, dest) = (open(&built), tempdir().unwrap());
    let written: Vec<_> = archive.index().entries_as_written().map(|entry| entry.path).collect();
    assert!(written.is_sorted(), "{written:?}");
    archive.extract(dest.path(), &Default::default(), |_| {}).await.unwrap();
    assert_eq!(describe(dest.path()), describe(tree.path()));
}

#[test]
fn entries_that_do_not_fit_together_are_named() {
    let file = |path: &str| BuildEntry::file(path, &b"x"[..]);
    let directory = |path: &str| BuildEntry::directory(path);
    let link = |path: &str, target: &str| BuildEntry::symlink(path, target);
    let sized = |path: &str, size| BuildEntry {
        kind: EntryKind::File { content: Box::new(&b"abc"[..]), size: Some(size) },
        ..file(path)
    };
    for (entries, words) in [
        (vec![file("a"), file("b"), file("a")], "a: it came twice, as a file and as a file"),
        (vec![file("a"), directory("a")], "a: it came twice, as a file and as a directory"),
        (vec![directory("a"), link("a", "b")], "a: it came twice, as a directory and as a symbolic link"),
        (vec![file("a"), file("a-b"), file("a/b/c")], "a/b/c: it lies in a, which is a file"),
        (vec![link("a", "b"), file("a/b")], "a/b: it lies in a, which is a symbolic link"),
        (vec![file("a/b/c"), file("a b"), file("a")], "a: it is a file, and a/b/c lies in it"),
        (vec![directory("a/b"), link("a", "c")], "a: it is a symbolic link, and a/b lies in it"),
        (vec![link("a", "")], "a: its target is empty"),
        (vec![file("/a")], "\"/a\" is not a path of an archive: a name is empty"),
        (vec![file("a/../b")], "a name is `.` or `..`"),
        (vec![file("")], "a name is empty"),
        (vec![sized("a", 2)], "a: expected 2 bytes, got 3 or more"),
        (vec![sized("a", 4)], "a: expected 4 bytes, got 3"),
        (vec![sized("a", u64::MAX)], "a, in bytes, has 18446744073709551615, more than the limit"),
        (vec![sized("a", 5 << 20)], "a: expected 5242880 bytes, got 3"),
    ] {
        let error = pack(entries, &BuildOptions::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn limits_hold_for_streams() {
    let files = |count: usize, size| {
        let entry = move |number: usize| BuildEntry::file(format!("d/{number:05}"), std::io::repeat(0).take(size));
        (0..count).map(entry).collect::<Vec<_>>()
    };
    let limited = |entries, limits| pack(entries, &BuildOptions { limits, ..Default::default() }).unwrap_err();
    let limits = Limits::default;
    assert!(matches!(limited(files(6, 1), Limits { entries: 5, ..limits() }), Error::TooManyFiles { limit: 5 }));
    assert!(matches!(limited(files(6, 1), Limits { path: 6, ..limits() }), Error::InvalidPath { .. }));
    assert!(matches!(limited(files(6, 1), Limits { depth: 1, ..limits() }), Error::InvalidPath { .. }));
    assert!(matches!(limited(files(600, 1), Limits { index: 1000, ..limits() }), Error::Limit { .. }));
    for size in [11, 3 << 20, u64::MAX] {
        let error = limited(files(1, size), Limits { file: 10, ..limits() });
        assert!(matches!(error, Error::Limit { limit: 10, .. }), "{size}: {error}");
    }
    let links = (0..6).map(|number| BuildEntry::symlink(number.to_string(), "x")).collect();
    assert!(matches!(limited(links, Limits { entries: 5, ..limits() }), Error::TooManyFiles { limit: 5 }));
}

#[test]
fn what_goes_wrong_with_a_content_or_the_list_ends_the_work() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the wire was cut"))
        }
    }
    for size in [None, Some(10), Some(10 << 20)] {
        let content = Box::new((&b"abc"[..]).chain(Broken));
        let entry = BuildEntry { kind: EntryKind::File { content, size }, ..BuildEntry::directory("a/b") };
        let error = pack(vec![entry], &BuildOptions::default()).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("a/b")), "{size:?} {error}");
    }
    let entries = [Ok(BuildEntry::file("a", &b"x"[..])), Err(Error::Cancelled), Ok(BuildEntry::file("b", &b"x"[..]))];
    let error = skep_archive::build_entries(entries, &BuildOptions::default(), &|_| {}).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    let options = BuildOptions::default();
    let cancel = options.cancel.clone();
    let endless = (0..).map(|number: u64| Ok(BuildEntry::file(number.to_string(), text(300_000).leak() as &[u8])));
    let cancelled = skep_archive::build_entries(endless, &options, &|_| cancel.cancel());
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_panic_of_a_reader_ends_the_work() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("the caller's mistake")
        }
    }
    let _built = pack(vec![BuildEntry::file("a", Panics)], &BuildOptions { workers: 3, ..Default::default() });
}

#[test]
fn patterns_and_reproducibility_hold_for_streams() {
    let entries = || {
        let mut entries: Vec<_> = ["a/x.md", "a/y.rs", "b/z.rs"].map(|path| BuildEntry::file(path, &b"x"[..])).into();
        entries.extend(["a", "b", "c.md"].map(BuildEntry::directory));
        entries.iter_mut().for_each(|entry| (entry.uid, entry.mtime_ns, entry.mode) = (7, 1 << 60, 0o4700));
        entries
    };
    let patterns = Patterns::new(["*.md"], [""; 0]).unwrap();
    let built = pack(entries(), &BuildOptions { patterns, reproducible: true, ..Default::default() }).unwrap();
    let archive = open(&built);
    let files: Vec<_> = archive.entries().map(|file| (file.path, file.mode, file.uid, file.mtime_ns)).collect();
    assert_eq!(files, [("a/x.md", 0o755, 0, 0)]);
    let directories: Vec<_> = archive.index().directories().map(|directory| directory.path).collect();
    assert_eq!((directories, built.summary().excluded), (vec!["a", "c.md"], 3));

    let plain = pack(entries(), &BuildOptions { extensions: false, ..Default::default() }).unwrap();
    let omitted: BTreeMap<_, _> = plain.summary().omitted.iter().map(|(why, what)| (*why, what.count)).collect();
    assert_eq!(omitted, BTreeMap::from([(Reason::Directory, 3), (Reason::SpecialBits, 3)]));
}

#[test]
fn progress_of_a_stream_has_totals_at_its_end() {
    let steps = Mutex::new(Vec::new());
    let entries = (0..6).map(|number| Ok(BuildEntry::file(number.to_string(), noise(900_000, number).leak() as &[u8])));
    let options = BuildOptions { workers: 2, ..Default::default() };
    skep_archive::build_entries(entries, &options, &|step| steps.lock().unwrap().push(step)).unwrap();
    let steps = steps.into_inner().unwrap();
    let (last, before) = steps.split_last().unwrap();
    assert_eq!((last.files, last.files_total, last.bytes, last.bytes_total), (6, 6, 5_400_000, 5_400_000));
    assert!(before.len() >= 6 && before.iter().all(|step| (step.files_total, step.bytes_total) == (0, 0)));
    assert!(before.is_sorted_by_key(|step| step.bytes));
}
