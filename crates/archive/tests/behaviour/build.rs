//! Directories that become archives: what is left out, what is made equal, and where the archive goes.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::support::build;
use crate::support::chmod;
use crate::support::data;
use crate::support::link;
use crate::support::noise;
use crate::support::open;
use crate::support::text;
use crate::support::touch;
use crate::support::write;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::Changes;
use skep_archive::Codec;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Patterns;
use skep_archive::Skip;
use tempfile::tempdir;

/// All that is recorded, directories with a slash behind them.
fn paths(built: &Built) -> Vec<String> {
    let archive = open(built);
    let index = archive.index();
    let mut paths: Vec<String> = index.entries().map(|entry| entry.path.to_owned()).collect();
    paths.extend(index.symlinks().map(|link| link.path.to_owned()));
    paths.extend(index.directories().map(|directory| format!("{}/", directory.path)));
    paths.sort();
    paths
}

fn select(include: &[&str], exclude: &[&str]) -> BuildOptions {
    let patterns = Patterns::new(include.iter().copied(), exclude.iter().copied()).unwrap();
    BuildOptions { patterns, ..Default::default() }
}

#[test]
fn patterns_say_what_is_packed() {
    let tree = tempdir().unwrap();
    for path in ["docs/guide.md", "docs/deep/note.md", "src/main.rs", "src/main.tmp", "target/x/y.md", "Makefile"] {
        write(tree.path(), path, path);
    }
    link(tree.path(), "docs/link.md", "guide.md");
    fs::create_dir(tree.path().join("void")).unwrap();
    for (include, exclude, excluded, want) in [
        (
            &[][..],
            &["/target", "*.tmp"][..],
            2,
            &[
                "Makefile",
                "docs/",
                "docs/deep/",
                "docs/deep/note.md",
                "docs/guide.md",
                "docs/link.md",
                "src/",
                "src/main.rs",
                "void/",
            ][..],
        ),
        // Directories that lead to nothing that is wanted are not there.
        (&["*.md"], &["target/"], 6, &["docs/", "docs/deep/", "docs/deep/note.md", "docs/guide.md", "docs/link.md"]),
        (&["src/"], &[], 10, &["src/", "src/main.rs", "src/main.tmp"]),
        (&["void/"], &[], 12, &["void/"]),
        (&["/docs/deep/**"], &[], 10, &["docs/", "docs/deep/", "docs/deep/note.md"]),
    ] {
        let built = build(tree.path(), &select(include, exclude));
        assert_eq!(paths(&built), want, "{include:?} {exclude:?}");
        assert_eq!(built.summary().excluded, excluded, "{include:?} {exclude:?}");
    }
}

#[test]
fn ignore_files_count_as_git_has_them() {
    let tree = tempdir().unwrap();
    for path in [
        "a.log",
        "keep.log",
        "build/out",
        "src/build/out",
        "src/a.log",
        "src/b.tmp",
        "src/sub/b.tmp",
        "src/sub/c",
        "other/sub/c",
        "tmp/keep",
        "crlf",
        "space ",
    ] {
        write(tree.path(), path, "");
    }
    write(
        tree.path(),
        ".skepignore",
        "\u{feff}# a comment\n*.log\n!keep.log\n/build\ntmp/\n!tmp/keep\ncrlf\r\nspace\\ \n",
    );
    write(tree.path(), "src/.skepignore", "!a.log\n*.tmp\n/sub/c\n.skepignore\n");
    write(tree.path(), "src/sub/.skepignore", "!b.tmp\n");
    // What is ignored is not read.
    write(tree.path(), "tmp/.skepignore", "a{b\n");
    let built = build(tree.path(), &BuildOptions::default());
    let want = [
        ".skepignore",
        "keep.log",
        "other/",
        "other/sub/",
        "other/sub/c",
        "src/",
        "src/a.log",
        "src/build/",
        "src/build/out",
        "src/sub/",
        "src/sub/b.tmp",
    ];
    assert_eq!(paths(&built), want);
    let off = BuildOptions { ignore_files: false, ..Default::default() };
    assert_eq!((build(tree.path(), &off).summary().files, built.summary().excluded), (16, 9));
}

#[test]
fn a_broken_line_of_an_ignore_file_is_named_with_the_file() {
    let tree = tempdir().unwrap();
    write(tree.path(), "sub/.skepignore", "fine\na{b\n");
    let error = skep_archive::build(tree.path(), &BuildOptions::default(), &|_| {}).unwrap_err();
    assert!(matches!(&error, Error::InvalidPattern { pattern, .. } if pattern == "a{b"), "{error}");
    assert!(error.to_string().contains("sub/.skepignore"), "{error}");
    // One that is a link, or no file, says nothing.
    fs::remove_file(tree.path().join("sub/.skepignore")).unwrap();
    link(tree.path(), "sub/.skepignore", "/etc/passwd");
    fs::create_dir(tree.path().join(".skepignore")).unwrap();
    assert_eq!(paths(&build(tree.path(), &BuildOptions::default())), [".skepignore/", "sub/", "sub/.skepignore"]);
}

#[test]
fn a_reproducible_archive_tells_nothing_of_the_machine() {
    let make = |mode: u32, time: i64| {
        let tree = tempdir().unwrap();
        write(tree.path(), "sub/file", "content");
        write(tree.path(), "program", text(5000));
        write(tree.path(), "old", "x");
        link(tree.path(), "sub/link", "file");
        chmod(tree.path(), "sub/file", mode);
        chmod(tree.path(), "program", mode | 0o100);
        for path in ["sub/link", "sub/file", "program", "sub"] {
            touch(tree.path(), path, time);
        }
        touch(tree.path(), "old", 7);
        tree
    };
    let (one, two) = (make(0o600, 1_700_000_000_123_456_789), make(0o664, 1_800_000_000_000_000_000));
    let digests = |tree: &Path, options: &BuildOptions| {
        let built = build(tree, options);
        (built.index_descriptor().clone(), built.data_descriptor().clone())
    };
    let usual = BuildOptions::default();
    assert_ne!(digests(one.path(), &usual), digests(two.path(), &usual));
    let options = BuildOptions { reproducible: true, epoch: Some(1_600_000_000), ..Default::default() };
    assert_eq!(digests(one.path(), &options), digests(two.path(), &options));

    let built = build(one.path(), &options);
    let archive = open(&built);
    let latest = 1_600_000_000_000_000_000;
    let seen: Vec<_> =
        archive.entries().map(|file| (file.path, file.mode, file.uid, file.gid, file.mtime_ns)).collect();
    assert_eq!(seen[0].4, 7, "earlier times stay");
    assert_eq!(seen[1], ("program", 0o755, 0, 0, latest));
    assert_eq!(seen[2], ("sub/file", 0o644, 0, 0, latest));
    let directory = archive.index().find_directory("sub").unwrap();
    assert_eq!((directory.mode, directory.mtime_ns), (0o755, latest));
    assert_eq!(built.newest_ns(), Some(latest));
    let without_epoch = BuildOptions { reproducible: true, ..Default::default() };
    assert_eq!(build(one.path(), &without_epoch).newest_ns(), Some(0));
}

#[test]
fn skip_says_what_is_not_compressed() {
    let tree = tempdir().unwrap();
    for (path, size) in [("small.txt", 400), ("some.txt", 3100), ("photo.jpg", 3000), ("large.jpg", 2 << 20)] {
        write(tree.path(), path, text(size));
    }
    let codecs = |skip| {
        let archive = open(&build(tree.path(), &BuildOptions { skip, ..Default::default() }));
        archive.entries().map(|entry| entry.codec == Codec::Zstd).collect::<Vec<_>>()
    };
    // large.jpg, photo.jpg, small.txt, some.txt
    assert_eq!(codecs(Skip::default()), [false, false, false, true]);
    assert_eq!(codecs(Skip::nothing()), [true, true, true, true]);
    assert_eq!(codecs(Skip { below: 4000, ..Skip::nothing() }), [true, false, false, false]);
    let when = Arc::new(|path: &str, size| path == "some.txt" || size == 2 << 20);
    assert_eq!(codecs(Skip { when: Some(when), ..Skip::nothing() }), [false, true, true, false]);
}

#[test]
fn strictly_a_file_must_be_the_same_before_and_after() {
    let first = noise(9 << 20, 1);
    for (size, changes, is_refused) in [
        (8 << 20, Changes::Strict, true),
        (8 << 20, Changes::Size, false),
        (900_000, Changes::Strict, true),
        (900_000, Changes::Size, false),
    ] {
        let tree = tempdir().unwrap();
        write(tree.path(), "a", &first);
        write(tree.path(), "b", &first[..size]);
        let options = BuildOptions { workers: 1, changes, ..Default::default() };
        // In its place: a file that is cut off for a moment has another size.
        let rewrite = |_| {
            let file = fs::OpenOptions::new().write(true).open(tree.path().join("b")).unwrap();
            file.write_all_at(&first[first.len() - size..], 0).unwrap();
        };
        match skep_archive::build(tree.path(), &options, &rewrite) {
            Ok(_) => assert!(!is_refused, "{size} {changes:?}"),
            Err(Error::Changed { path, .. }) => assert!(is_refused && path.ends_with("b"), "{size} {changes:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    // A tree that rests is packed.
    let tree = tempdir().unwrap();
    crate::support::nasty_tree(tree.path());
    build(tree.path(), &BuildOptions { changes: Changes::Strict, ..Default::default() });
}

#[tokio::test]
async fn an_archive_goes_to_a_directory_and_is_taken_from_there() {
    let (tree, place) = (tempdir().unwrap(), tempdir().unwrap());
    crate::support::nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions::default());
    let dir = place.path().join("new/archive");
    built.save_in(&dir).unwrap();
    let (index, stored) = (dir.join("index.blob"), dir.join("data.blob"));
    let taken = Built::from_files(&index, &stored, &Limits::default()).unwrap();
    assert_eq!(
        (taken.index_descriptor(), taken.data_descriptor(), taken.newest_ns()),
        (built.index_descriptor(), built.data_descriptor(), built.newest_ns())
    );
    assert_eq!(
        (taken.summary().files, taken.summary().directories, taken.summary().original_size),
        (built.summary().files, built.summary().directories, built.summary().original_size)
    );
    assert_eq!(data(&taken).await, data(&built).await);
    let archive = Archive::open_files(&index, &stored, Limits::default()).unwrap();
    assert_eq!(archive.read("a/x").await.unwrap(), "a/x");

    let (mut index, mut stored) = (Vec::new(), Vec::new());
    built.write_to(&mut index, &mut stored).unwrap();
    assert!(index == **built.index() && stored == data(&built).await);
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_not_taken() {
    let (tree, place) = (tempdir().unwrap(), tempdir().unwrap());
    write(tree.path(), "file", noise(5000, 1));
    let built = build(tree.path(), &BuildOptions::default());
    built.save_in(place.path()).unwrap();
    let (index, stored) = (place.path().join("index.blob"), place.path().join("data.blob"));
    let refused = |words: &str| {
        let error = Built::from_files(&index, &stored, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::InvalidIndex { .. }) && error.to_string().contains(words), "{error}");
    };
    let mut bytes = noise(5000, 1);
    bytes[2500] ^= 1;
    fs::write(&stored, &bytes).unwrap();
    refused("it is of the data sha256:");
    fs::write(&stored, &bytes[1..]).unwrap();
    refused("it is of 5000 bytes of data, there are 4999");
    fs::write(&stored, noise(5000, 1)).unwrap();
    let archive = open(&built);
    let entry = [archive.entry("file").unwrap()];
    let without = skep_archive::write_index(entry.into_iter(), [].into_iter(), [].into_iter(), 5000, &[]).unwrap();
    fs::write(&index, without).unwrap();
    refused("it has no hash of the data");
    fs::write(&index, "nonsense").unwrap();
    refused("invalid index");
}

#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_panic_of_the_caller_ends_the_work() {
    let tree = tempdir().unwrap();
    write(tree.path(), "a", text(5000));
    let when = Arc::new(|_: &str, _| panic!("the caller's mistake"));
    let skip = Skip { when: Some(when), ..Default::default() };
    let _built = build(tree.path(), &BuildOptions { skip, workers: 3, ..Default::default() });
}
