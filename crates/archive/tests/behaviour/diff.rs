//! Two trees compared by their indexes.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::link;
use crate::support::write;
use skep_archive::BuildOptions;
use skep_archive::Change;
use skep_archive::ChangeKind;
use skep_archive::Compression;
use skep_archive::DiffOptions;
use skep_archive::Index;
use skep_archive::Limits;
use skep_archive::Node;
use skep_archive::build;
use skep_archive::diff;
use skep_archive::scan;

fn index_of(dir: &Path) -> Index {
    let built = build(dir, &BuildOptions::default(), &|_| {}).unwrap();
    Index::parse(built.index().clone(), &Limits::default()).unwrap()
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        match content.strip_prefix("-> ") {
            Some(target) => link(dir.path(), path, target),
            None => write(dir.path(), path, content),
        }
    }
    dir
}

/// One line for each change: its letter, its paths, and what is different.
fn lines(changes: &[Change<'_>]) -> Vec<String> {
    let line = |change: &Change<'_>| {
        let old = match (change.kind, change.before) {
            (ChangeKind::Rename, Some(Node::File(old))) => format!("{} ", old.path),
            _ => String::new(),
        };
        let aspects = change.aspects;
        let named = [
            (aspects.content, "content"),
            (aspects.kind, "kind"),
            (aspects.mode, "mode"),
            (aspects.owner, "owner"),
            (aspects.target, "target"),
            (aspects.time, "time"),
        ];
        let named: Vec<_> = named.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        format!("{:?} {old}{} {}", change.kind, change.path, named.join(",")).trim_end().to_owned()
    };
    changes.iter().map(line).collect()
}

fn compared(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<String> {
    let (before, after) = (tree(before), tree(after));
    lines(&diff(&index_of(before.path()), &index_of(after.path()), &DiffOptions::default()))
}

#[test]
fn what_is_the_same_is_no_change() {
    let files = [("a/b", "1"), ("a-b", "2"), ("a.txt", "3"), ("z", "-> a")];
    assert_eq!(compared(&files, &files), [""; 0]);
    assert_eq!(compared(&[], &[]), [""; 0]);
}

#[test]
fn changes_come_in_the_order_of_paths() {
    let before = [("a/b", "1"), ("a-b", "2"), ("c", "3"), ("l", "-> a"), ("x", "old")];
    let after = [("a/b", "other"), ("a.new", "new"), ("c/d", "4"), ("l", "-> c"), ("x", "-> c")];
    assert_eq!(
        compared(&before, &after),
        [
            "Remove a-b",
            "Add a.new",
            "Change a/b content",
            "Change c kind",
            "Add c/d",
            "Change l target",
            "Change x kind"
        ]
    );
}

#[test]
fn equal_content_under_another_path_is_a_rename() {
    let before = [("old/one", "same"), ("old/two", "same"), ("keep", "same"), ("gone", "")];
    let after = [("new/two", "same"), ("new/three", "same"), ("keep", "same"), ("come", "")];
    assert_eq!(
        compared(&before, &after),
        // The one with the same name is the same file; empty files say nothing about where they come from.
        ["Add come", "Remove gone", "Add new", "Rename old/one new/three", "Rename old/two new/two", "Remove old"]
    );
    let options = DiffOptions { renames: false, ..Default::default() };
    let (before, after) = (tree(&[("a", "x")]), tree(&[("b", "x")]));
    let (before, after) = (index_of(before.path()), index_of(after.path()));
    assert_eq!(lines(&diff(&before, &after, &options)), ["Remove a", "Add b"]);
}

#[test]
fn metadata_counts_where_it_is_asked_for() {
    let (before, after) = (tree(&[("d/f", "x")]), tree(&[("d/f", "x")]));
    fs::set_permissions(before.path().join("d/f"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(after.path().join("d/f"), fs::Permissions::from_mode(0o640)).unwrap();
    let file = fs::File::options().write(true).open(after.path().join("d/f")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let (before, after) = (index_of(before.path()), index_of(after.path()));
    assert_eq!(lines(&diff(&before, &after, &DiffOptions::default())), ["Change d/f mode"]);
    let none = DiffOptions { mode: false, ..Default::default() };
    assert_eq!(lines(&diff(&before, &after, &none)), [""; 0]);
    let time = DiffOptions { mode: false, time: true, ..Default::default() };
    assert!(lines(&diff(&before, &after, &time)).contains(&"Change d/f time".to_owned()));
}

#[test]
fn directories_that_nobody_recorded_are_no_change() {
    let dir = tree(&[("a/b/c", "1")]);
    let options = BuildOptions { extensions: false, ..Default::default() };
    let plain = build(dir.path(), &options, &|_| {}).unwrap();
    let plain = Index::parse(plain.index().clone(), &Limits::default()).unwrap();
    let full = index_of(dir.path());
    assert_eq!(lines(&diff(&plain, &full, &DiffOptions::default())), [""; 0]);
    assert_eq!(lines(&diff(&full, &plain, &DiffOptions::default())), [""; 0]);
    assert_eq!(
        lines(&diff(&index_of(tree(&[]).path()), &full, &DiffOptions::default())),
        ["Add a", "Add a/b", "Add a/b/c"]
    );
}

#[test]
fn a_scan_says_of_a_directory_what_its_archive_says() {
    let dir = tree(&[("a/b", "1"), ("a.txt", "2"), ("copy", "2"), ("empty/.keep", ""), ("l", "-> a/b")]);
    write(dir.path(), "large", crate::support::text(3 << 20));
    for compression in [Compression::None, Compression::default()] {
        let options = BuildOptions { compression, ..Default::default() };
        let built = build(dir.path(), &options, &|_| {}).unwrap();
        let built = Index::parse(built.index().clone(), &Limits::default()).unwrap();
        let scanned = scan(dir.path(), &options).unwrap();
        let all = DiffOptions { mode: true, owner: true, time: true, renames: true };
        assert_eq!(lines(&diff(&built, &scanned, &all)), [""; 0]);
        assert_eq!(scanned.len(), built.len());
    }
    assert!(scan(&dir.path().join("nowhere"), &BuildOptions::default()).is_err());
    assert!(scan(&dir.path().join("large"), &BuildOptions::default()).is_err());
}
