//! Archives with paths added and replaced.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::support::build;
use crate::support::chmod;
use crate::support::data;
use crate::support::describe;
use crate::support::link;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::open;
use crate::support::text;
use crate::support::touch;
use crate::support::write;
use bytes::Bytes;
use skep_archive::Addition;
use skep_archive::BuildEntry;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::Compression;
use skep_archive::Entry;
use skep_archive::Error;
use skep_archive::Index;
use skep_archive::Limits;
use skep_archive::Patterns;
use skep_archive::Result;
use skep_archive::amend;
use tempfile::tempdir;

async fn amended(built: &Built, additions: Vec<Addition<'_>>) -> Result<Built> {
    amended_with(built, additions, &BuildOptions::default()).await
}

async fn amended_with(built: &Built, additions: Vec<Addition<'_>>, options: &BuildOptions) -> Result<Built> {
    let data = data(built).await;
    amend(open(built).index(), &data[..], additions, options, &|_| {})
}

fn disk(from: &Path, path: &str) -> Addition<'static> {
    Addition::Disk { from: from.to_owned(), path: path.to_owned() }
}

fn file(path: &str, content: &'static [u8]) -> Addition<'static> {
    Addition::Entry(BuildEntry::file(path, content))
}

fn built_of(files: &[(&str, Vec<u8>)]) -> Built {
    let dir = tempdir().unwrap();
    for (path, content) in files {
        write(dir.path(), path, content);
        touch(dir.path(), path, 1_000_000_000);
    }
    build(dir.path(), &BuildOptions::default())
}

/// All of an entry but where it is stored.
fn without_offset(entry: Entry<'_>) -> Entry<'_> {
    Entry { data_offset: 0, ..entry }
}

/// The stored bytes of a file.
fn stored(data: &Bytes, entry: &Entry<'_>) -> Bytes {
    data.slice(entry.data_offset as usize..(entry.data_offset + entry.data_size) as usize)
}

#[tokio::test]
async fn what_is_not_replaced_stays_byte_for_byte() {
    let dir = tempdir().unwrap();
    nasty_tree(dir.path());
    // Stored otherwise than it would be now: nothing is compressed again.
    let old = build(dir.path(), &BuildOptions { compression: Compression::Zstd { level: 1 }, ..Default::default() });
    let new = amended(&old, vec![file("large/more", b"added"), file("z", b"replaced")]).await.unwrap();
    let (before, after) = (open(&old), open(&new));
    let (old_data, new_data) = (data(&old).await, data(&new).await);
    assert_eq!(after.entries().len(), before.entries().len() + 1);
    for entry in before.entries().filter(|entry| entry.path != "z") {
        let now = after.index().find(entry.path).unwrap();
        assert_eq!(without_offset(now), without_offset(entry));
        assert_eq!(stored(&new_data, &now), stored(&old_data, &entry), "{}", entry.path);
    }
    assert!(after.index().symlinks().eq(before.index().symlinks()));
    assert!(after.index().directories().eq(before.index().directories()));
    assert_eq!(after.read("large/more").await.unwrap(), "added");
    assert_eq!(after.read("z").await.unwrap(), "replaced");
    assert_eq!(after.read("large/text").await.unwrap(), text(3_500_000));
    let part = after.read_range("large/noise", 2_000_000..2_000_100).await.unwrap().bytes(100).await.unwrap();
    assert_eq!(part, noise(3_300_001, 1)[2_000_000..2_000_100]);
    assert_eq!(new.summary().files, old.summary().files + 1);
}

#[tokio::test]
async fn a_tree_that_is_added_to_nothing_or_to_itself_is_the_archive_of_the_tree() {
    let dir = tempdir().unwrap();
    nasty_tree(dir.path());
    let whole = build(dir.path(), &BuildOptions::default());
    let nothing =
        amend(&Index::empty(), &b""[..], vec![disk(dir.path(), "")], &BuildOptions::default(), &|_| {}).unwrap();
    assert_eq!((nothing.index(), nothing.newest_ns()), (whole.index(), whole.newest_ns()));
    assert_eq!(data(&nothing).await, data(&whole).await);
    assert_eq!(nothing.summary(), whole.summary());

    let again = amended(&whole, vec![disk(dir.path(), "")]).await.unwrap();
    assert_eq!((again.index(), again.data_descriptor()), (whole.index(), whole.data_descriptor()));
    let untouched = amended(&whole, Vec::new()).await.unwrap();
    assert_eq!((untouched.index(), untouched.data_descriptor()), (whole.index(), whole.data_descriptor()));
}

#[tokio::test]
async fn directories_are_merged_and_take_their_metadata_along() {
    let (old, new) = (tempdir().unwrap(), tempdir().unwrap());
    for (dir, content) in [(old.path(), "old"), (new.path(), "new")] {
        write(dir, "shared", content);
        write(dir, &format!("{content}/file"), content);
    }
    link(new.path(), "link", "shared");
    chmod(new.path(), "shared", 0o600);
    chmod(new.path(), "new", 0o700);
    touch(new.path(), "new", 7_000_000_001);
    let built = build(old.path(), &BuildOptions::default());
    let built =
        amended(&built, vec![disk(new.path(), ""), disk(&new.path().join("shared"), "old/copy")]).await.unwrap();
    // As cp does it.
    for path in ["shared", "new/file"] {
        write(old.path(), path, "new");
    }
    let (index, found) = (built.index().clone(), open(&built));
    let names: Vec<_> = found.entries().map(|entry| (entry.path, entry.original_size)).collect();
    assert_eq!(names, [("new/file", 3), ("old/copy", 3), ("old/file", 3), ("shared", 3)]);
    assert_eq!(found.read("shared").await.unwrap(), "new");
    assert_eq!(found.read("link").await.unwrap(), "new");
    assert_eq!((found.entry("shared").unwrap().mode, found.entry("old/copy").unwrap().mode), (0o600, 0o600));
    let directory = found.index().find_directory("new").unwrap();
    assert_eq!((directory.mode, directory.mtime_ns), (0o700, 7_000_000_001));
    assert!(Index::parse(index, &Limits::default()).is_ok());

    let copy = tempdir().unwrap();
    found.extract(copy.path(), &Default::default(), |_| {}).await.unwrap();
    let kept: Vec<_> = describe(copy.path()).into_keys().collect();
    assert_eq!(kept, ["link", "new", "new/file", "old", "old/copy", "old/file", "shared"]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let dir = tempdir().unwrap();
    write(dir.path(), "dir/file", "file");
    write(dir.path(), "file", "file");
    link(dir.path(), "link", "dir");
    let old = build(dir.path(), &BuildOptions::default());
    let entry = Addition::Entry;
    for (additions, path, words) in [
        (vec![file("dir", b"")], "dir", "a file, and a directory"),
        (vec![entry(BuildEntry::symlink("dir", "x"))], "dir", "a symbolic link, and a directory"),
        (vec![entry(BuildEntry::directory("file"))], "file", "a directory, and a file"),
        (vec![entry(BuildEntry::directory("link"))], "link", "a directory, and a symbolic link"),
        (vec![file("file/a/b", b"")], "file/a/b", "file, which is a file"),
        (vec![file("link/file", b"")], "link/file", "link, which is a symbolic link"),
        (vec![disk(dir.path(), "file")], "file", "a directory, and a file"),
        (vec![disk(Path::new("/dev/null"), "null")], "null", "expected a file or a directory"),
        (vec![file("new", b""), file("new", b"")], "new", "twice"),
        (vec![file("new", b""), file("new/a", b"")], "new/a", "new, which is a file"),
    ] {
        match amended(&old, additions).await.unwrap_err() {
            Error::InvalidEntry { path: came, why } => assert!(came == path && why.contains(words), "{came}: {why}"),
            error => panic!("{path}: {error}"),
        }
    }
    assert!(matches!(amended(&old, vec![file("a/../b", b"")]).await, Err(Error::InvalidPath { .. })));
    assert!(matches!(amended(&old, vec![disk(&dir.path().join("no"), "no")]).await, Err(Error::Io { .. })));
    let limits = Limits { entries: 2, ..Limits::default() };
    let few = amended_with(&old, vec![file("a", b"")], &BuildOptions { limits, ..Default::default() }).await;
    assert!(matches!(few, Err(Error::TooManyFiles { limit: 2 })));
    // A file may take the place of a link, and a link that of a file.
    let new = amended(&old, vec![file("link", b"now"), entry(BuildEntry::symlink("file", "link"))]).await.unwrap();
    assert_eq!(open(&new).read("file").await.unwrap(), "now");
}

#[tokio::test]
async fn contents_are_stored_once_and_only_as_long_as_they_are_needed() {
    let (one, two, three) = (noise(3_000_000, 1), noise(5_000, 2), noise(70_000, 3));
    let old = built_of(&[("a", one.clone()), ("b", two.clone()), ("c", three.clone()), ("same", two.clone())]);
    let known: Vec<_> = [("x", one.clone()), ("y", two.clone())]
        .into_iter()
        .map(|(path, content)| Addition::Entry(BuildEntry::file(path, std::io::Cursor::new(content))))
        .collect();
    let more = amended(&old, known).await.unwrap();
    assert_eq!(more.data_descriptor(), old.data_descriptor());
    assert_eq!((more.summary().duplicates, more.summary().duplicate_size), (2, 3_005_000));
    assert_eq!(open(&more).read("x").await.unwrap(), one);

    // The middle goes, unless something else has the same content.
    let less = amended(&more, vec![file("c", b"short"), file("b", b"other")]).await.unwrap();
    assert_eq!(less.data_descriptor().size, 3_000_000 + 5_000 + 10);
    let found = open(&less);
    for (path, content) in [("a", &one[..]), ("x", &one), ("same", &two), ("y", &two), ("b", b"other"), ("c", b"short")]
    {
        assert_eq!(found.read(path).await.unwrap(), content, "{path}");
    }
    // What is replaced by its own content keeps it.
    let moved = Addition::Entry(BuildEntry { mtime_ns: 5, ..BuildEntry::file("a", std::io::Cursor::new(one)) });
    let moved = amended(&old, vec![moved]).await.unwrap();
    assert_eq!(moved.data_descriptor(), old.data_descriptor());
    assert_eq!(open(&moved).entry("a").unwrap().mtime_ns, 5);
}

#[tokio::test]
async fn data_that_is_not_needed_is_not_read() {
    struct Untouched;
    impl Read for Untouched {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("nobody needs it")
        }
    }
    let old = built_of(&[("a", text(1000)), ("empty", Vec::new())]);
    let new = amend(open(&old).index(), Untouched, vec![file("a", b"new")], &BuildOptions::default(), &|_| {}).unwrap();
    assert_eq!(open(&new).read("a").await.unwrap(), "new");
    assert_eq!(open(&new).read("empty").await.unwrap(), "");
}

#[tokio::test]
async fn data_that_is_not_what_the_index_says_is_refused() {
    let old = built_of(&[("a", noise(3_000_000, 1)), ("b", noise(100, 2))]);
    let good = data(&old).await;
    let attempt = |data: Vec<u8>| {
        amend(open(&old).index(), &data[..], vec![file("b", b"new")], &BuildOptions::default(), &|_| {}).unwrap_err()
    };
    // Also where it is wrong in what nobody needs any more.
    for at in [0, 2_999_999, 3_000_050] {
        let mut wrong = good.to_vec();
        wrong[at] ^= 1;
        assert!(matches!(attempt(wrong), Error::HashMismatch { .. }), "{at}");
    }
    let [short, long] = [good[1..].to_vec(), [&good[..], b"x"].concat()];
    assert!(matches!(attempt(short), Error::SizeMismatch { want: 3_000_100, came: 3_000_099, .. }));
    assert!(matches!(attempt(long), Error::SizeMismatch { want: 3_000_100, came: 3_000_101, .. }));
}

#[tokio::test]
async fn patterns_and_ignore_files_hold_in_directories_that_are_added() {
    let dir = tempdir().unwrap();
    for path in ["keep.txt", "drop.log", "ignored", "sub/keep.txt", "sub/drop.log"] {
        write(dir.path(), path, path);
    }
    write(dir.path(), ".skepignore", "ignored\n.skepignore\n");
    let old = built_of(&[("drop.log", b"stays".to_vec())]);
    let patterns = Patterns::new(std::iter::empty::<&str>(), ["*.log"]).unwrap();
    let options = BuildOptions { patterns, ..Default::default() };
    let additions = vec![disk(dir.path(), "in"), disk(&dir.path().join("drop.log"), "by-name.log")];
    let new = amended_with(&old, additions, &options).await.unwrap();
    let paths: Vec<_> = open(&new).entries().map(|entry| entry.path.to_owned()).collect();
    assert_eq!(paths, ["by-name.log", "drop.log", "in/keep.txt", "in/sub/keep.txt"]);
    assert_eq!(new.summary().excluded, 4);
    fs::remove_file(dir.path().join(".skepignore")).unwrap();
    fs::write(dir.path().join("s"), "").unwrap();
    chmod(dir.path(), "s", 0o4755);
    let noted = amended(&old, vec![disk(dir.path(), "in")]).await.unwrap();
    assert_eq!(noted.summary().omitted.values().map(|omitted| omitted.count).collect::<Vec<_>>(), [1]);
}
