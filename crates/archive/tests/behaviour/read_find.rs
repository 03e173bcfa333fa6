//! What is found in an archive: by walking, by patterns, by paths that lead somewhere.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeSet;

use crate::support::build;
use crate::support::link;
use crate::support::nasty_tree;
use crate::support::open;
use crate::support::write;
use proptest::prelude::*;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Codec;
use skep_archive::Directory;
use skep_archive::Entry;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Node;
use skep_archive::Symlink;
use skep_archive::write_index;
use tempfile::tempdir;

fn nasty(extensions: bool) -> Archive {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    open(&build(tree.path(), &BuildOptions { extensions, ..Default::default() }))
}

fn kind(node: &Node<'_>) -> char {
    match node {
        Node::Directory(_) => 'd',
        Node::File(_) => 'f',
        Node::Symlink(_) => 'l',
    }
}

/// All that lies below a directory, found by listing one directory after the other.
fn listed(archive: &Archive, dir: &str, found: &mut BTreeSet<(String, char)>) {
    for (name, node) in archive.read_dir(dir).unwrap() {
        let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        found.insert((path.clone(), kind(&node)));
        if kind(&node) == 'd' {
            listed(archive, &path, found);
        }
    }
}

fn walked(archive: &Archive, dir: &str) -> Vec<(String, char)> {
    archive.walk(dir).unwrap().map(|(path, node)| (path.to_owned(), kind(&node))).collect()
}

#[test]
fn walking_finds_what_listing_finds_in_the_order_of_paths() {
    for archive in [nasty(true), nasty(false)] {
        for dir in ["", "a", "deep", "deep/1/2", "é"] {
            let mut want = BTreeSet::new();
            listed(&archive, dir, &mut want);
            assert!(!want.is_empty());
            assert_eq!(walked(&archive, dir), want.into_iter().collect::<Vec<_>>(), "{dir}");
        }
    }
}

fn file(path: &str) -> Entry<'_> {
    let (data_offset, data_size, original_size, mtime_ns) = (0, 0, 0, 0);
    let (mode, uid, gid) = (0o644, 0, 0);
    let (codec, chunks, hash) = (Codec::None, None, &[7; 32]);
    Entry { path, data_offset, data_size, original_size, hash, mode, uid, gid, mtime_ns, codec, chunks }
}

/// An archive of empty files, and of links and directories, at paths.
fn paths(files: &BTreeSet<String>, links: &[&str], directories: &[&str]) -> skep_archive::Result<Archive> {
    let links = links.iter().map(|path| Symlink { path, target: "x", uid: 0, gid: 0, mtime_ns: 0 });
    let directories = directories.iter().map(|path| Directory { path, mode: 0o755, uid: 0, gid: 0, mtime_ns: 0 });
    let index = write_index(files.iter().map(|path| file(path)), links, directories, 0, &[]).unwrap();
    Archive::new(index, std::sync::Arc::new(bytes::Bytes::new()), Limits::default())
}

#[test]
fn a_directory_comes_before_what_sorts_between_it_and_what_lies_in_it() {
    let files = ["a!/z", "a-b", "a-b.c/y", "a.txt", "a/b-c", "a/b/c"].map(str::to_owned).into();
    let archive = paths(&files, &["a+"], &["a,"]).unwrap();
    let want = ["a", "a!", "a!/z", "a+", "a,", "a-b", "a-b.c", "a-b.c/y", "a.txt", "a/b", "a/b-c", "a/b/c"];
    assert_eq!(walked(&archive, "").into_iter().map(|(path, _)| path).collect::<Vec<_>>(), want);
}

proptest! {
    #[test]
    fn walking_any_paths_finds_what_listing_finds(files in prop::collection::btree_set("[a!./]{1,7}", 1..20)) {
        // Those that cannot be together are no archive.
        if let Ok(archive) = paths(&files, &[], &[]) {
            let mut want = BTreeSet::new();
            listed(&archive, "", &mut want);
            prop_assert_eq!(walked(&archive, ""), want.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn only_directories_are_walked() {
    let archive = nasty(true);
    assert!(matches!(archive.walk("a/x").map(drop), Err(Error::NotDirectory { .. })));
    assert!(matches!(archive.walk("missing").map(drop), Err(Error::NotFound { .. })));
    assert!(matches!(archive.walk("../a").map(drop), Err(Error::InvalidPath { .. })));
    assert_eq!(walked(&archive, "links/dir"), walked(&archive, "a"), "links on the way are followed");
    assert_eq!(walked(&archive, "void"), [("void/in".to_owned(), 'd'), ("void/in/side".to_owned(), 'd')]);
    assert_eq!(walked(&archive, "void/in/side"), []);
}

#[test]
fn patterns_match_whole_paths() {
    let tree = tempdir().unwrap();
    for path in ["src/main.rs", "src/lib.rs", "src/a/b.rs", "src/a/b/c.rs", "src/[x].rs", "top.rs", "a{b", "docs/x.md"]
    {
        write(tree.path(), path, path);
    }
    link(tree.path(), "src/link.rs", "lib.rs");
    let archive = open(&build(tree.path(), &BuildOptions::default()));
    let cases: &[(&str, &[&str])] = &[
        ("*", &["a{b", "docs", "src", "top.rs"]),
        ("*.rs", &["top.rs"]),
        ("/src//*.rs", &["src/[x].rs", "src/lib.rs", "src/link.rs", "src/main.rs"]),
        ("src/l*.rs", &["src/lib.rs", "src/link.rs"]),
        ("src/*/*.rs", &["src/a/b.rs"]),
        ("**/b*", &["src/a/b", "src/a/b.rs"]),
        ("src/**/*.rs", &["src/[x].rs", "src/a/b.rs", "src/a/b/c.rs", "src/lib.rs", "src/link.rs", "src/main.rs"]),
        ("src/a/**", &["src/a/b", "src/a/b.rs", "src/a/b/c.rs"]),
        ("{docs,src}/[lx]*", &["docs/x.md", "src/lib.rs", "src/link.rs"]),
        ("src/\\[x].rs", &["src/[x].rs"]),
        ("a\\{b", &["a{b"]),
        ("src/????.rs", &["src/link.rs", "src/main.rs"]),
        ("src/lib.rs", &["src/lib.rs"]),
        ("src/a", &["src/a"]),
        ("missing/**", &[]),
        ("src/../top.rs", &[]),
        ("", &[]),
    ];
    for (pattern, want) in cases {
        let found: Vec<_> = archive.glob(pattern).unwrap().map(|(path, _)| path).collect();
        assert_eq!(found, *want, "{pattern}");
    }
    assert!(matches!(archive.glob("src/link.rs").unwrap().next(), Some((_, Node::Symlink(_)))));
    assert!(matches!(archive.glob("**").unwrap().next(), Some(("a{b", Node::File(_)))));
    for broken in ["a{b", "[a"] {
        let error = archive.glob(broken).map(drop).unwrap_err();
        assert!(matches!(&error, Error::InvalidPattern { pattern, .. } if pattern == broken), "{error}");
    }
}

#[test]
fn a_link_is_followed_by_stat_and_not_by_node() {
    let archive = nasty(true);
    assert!(matches!(archive.stat("links/file"), Ok(Node::File(entry)) if entry.path == "a/b/c"));
    assert!(matches!(archive.node("links/file"), Ok(Node::Symlink(_))));
    assert!(matches!(archive.stat("links/dir/b"), Ok(Node::Directory(_))));
    assert!(matches!(archive.stat("/"), Ok(Node::Directory(None))));
    for path in ["links/dangling", "links/loop", "links/out", "links/absolute", "missing"] {
        assert!(matches!(archive.stat(path), Err(Error::NotFound { .. })), "{path}");
    }
}

#[test]
fn all_paths_are_files_or_the_first_that_is_not_is_named() {
    let archive = nasty(true);
    assert_eq!(archive.validate(["/a//x", "links/file"]).unwrap(), ["a/x", "links/file"]);
    assert_eq!(archive.validate([""; 0]).unwrap(), [""; 0]);
    let refuse = |path: &str| archive.validate(["z", path, "also/missing"]).unwrap_err();
    assert!(matches!(refuse("/a/"), Error::IsDirectory { path } if path == "/a/"));
    assert!(matches!(refuse("missing"), Error::NotFound { path, .. } if path == "missing"));
    assert!(matches!(refuse("a/../x"), Error::InvalidPath { path, .. } if path == "a/../x"));
}
