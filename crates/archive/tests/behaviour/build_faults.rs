//! Faults that others had, each as a test that it is none here.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::support::Counting;
use crate::support::build;
use crate::support::describe;
use crate::support::noise;
use crate::support::open;
use crate::support::text;
use crate::support::write;
use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::BuildEntry;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::PushOptions;
use skep_archive::push;
use skep_registry::Memory;
use skep_registry::transfer::Place;
use tempfile::tempdir;

/// Pushes an archive and opens it, with the defaults.
async fn pushed(built: &Built) -> Archive {
    let place = Place::new(Arc::new(Memory::default()), "a/b".parse().unwrap());
    let pushed = push(&place, built, &PushOptions::default()).await.unwrap();
    let manifest = ArchiveManifest::parse(&pushed.manifest).unwrap();
    Archive::open(place.registry, &place.repo, &manifest, Limits::default()).await.unwrap()
}

#[tokio::test]
async fn each_path_is_found_whatever_sorts_around_the_slash() {
    let tree = tempdir().unwrap();
    let names = |number: u32| {
        [format!("mod{number:02}/mod.go"), format!("mod{number:02}.go"), format!("mod{number:02}-extra/x.go")]
    };
    for path in (0..50).flat_map(names) {
        write(tree.path(), &path, &path);
    }
    let archive = pushed(&build(tree.path(), &BuildOptions::default())).await;
    assert_eq!(archive.entries().len(), 150);
    for path in (0..50).flat_map(names) {
        assert_eq!(archive.read(&path).await.unwrap(), path);
    }
    assert_eq!(archive.read_dir("mod07").unwrap().len(), 1);
}

#[tokio::test]
async fn directories_without_any_bytes_round_trip() {
    for files in [&[][..], &["a", "b/c", "b/d"]] {
        let (tree, dest) = (tempdir().unwrap(), tempdir().unwrap());
        files.iter().for_each(|path| write(tree.path(), path, ""));
        let built = build(tree.path(), &BuildOptions::default());
        assert_eq!(built.data_descriptor().size, 0);
        let archive = pushed(&built).await;
        archive.extract(dest.path(), &Default::default(), |_| {}).await.unwrap();
        assert_eq!(describe(dest.path()), describe(tree.path()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_257_mib_round_trips_with_the_defaults() {
    let (tree, dest) = (tempdir().unwrap(), tempdir().unwrap());
    let size = 257 << 20;
    fs::File::create(tree.path().join("model")).unwrap().set_len(size).unwrap();
    let archive = pushed(&build(tree.path(), &BuildOptions::default())).await;
    archive.extract(dest.path(), &Default::default(), |_| {}).await.unwrap();
    assert_eq!(fs::metadata(dest.path().join("model")).unwrap().len(), size);
}

#[tokio::test]
async fn an_index_of_60_000_files_is_pushed_and_opened_with_the_defaults() {
    let name = |number: u32| format!("{}/{number:05}", "some-directory-name".repeat(3).split_at(49).0);
    let entry = |number| BuildEntry { uid: 1000, mtime_ns: 1 << 60, ..BuildEntry::file(name(number), &b"same"[..]) };
    let entries = (0..60_000).map(|number| Ok(entry(number)));
    let built = skep_archive::build_entries(entries, &BuildOptions::default(), &|_| {}).unwrap();
    assert_eq!(name(0).len(), 55);
    assert!(built.index_descriptor().size > 8 << 20, "{}", built.index_descriptor().size);
    let archive = pushed(&built).await;
    assert_eq!(archive.entries().len(), 60_000);
    assert_eq!(archive.read(&name(43_210)).await.unwrap(), "same");
}

#[tokio::test]
async fn a_second_push_of_the_same_tree_moves_nothing() {
    let tree = tempdir().unwrap();
    crate::support::nasty_tree(tree.path());
    let registry = Counting::default();
    let place = Place::new(Arc::new(registry.clone()), "a/b".parse().unwrap());
    let options = PushOptions { tags: vec!["v1".parse().unwrap()], ..Default::default() };
    let first = push(&place, &build(tree.path(), &BuildOptions::default()), &options).await.unwrap();
    registry.take();
    let second = push(&place, &build(tree.path(), &BuildOptions::default()), &options).await.unwrap();
    assert_eq!(registry.take(), ["head_manifest"]);
    assert_eq!((second.manifest.digest(), second.bytes_sent), (first.manifest.digest(), 0));
}

#[test]
fn a_file_that_changes_its_size_or_goes_while_it_is_packed_is_named() {
    type Change = fn(&Path);
    fn resize(path: &Path, size: u64) {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
    }
    let changes: [(&str, Change); 4] = [
        ("grows", |path| resize(path, 9 << 20)),
        ("shrinks", |path| resize(path, 5 << 20)),
        ("becomes a directory", |path| {
            let _ = fs::remove_file(path);
            let _ = fs::create_dir(path);
        }),
        ("vanishes", |path| {
            let _ = fs::remove_file(path);
        }),
    ];
    let (a, b) = (noise(9 << 20, 1), noise(8 << 20, 2));
    for (name, change) in changes {
        let tree = tempdir().unwrap();
        write(tree.path(), "a", &a);
        write(tree.path(), "b", &b);
        let options = BuildOptions { workers: 1, ..Default::default() };
        let error = skep_archive::build(tree.path(), &options, &|_| change(&tree.path().join("b"))).unwrap_err();
        match error {
            Error::Changed { path, .. } | Error::Io { path, .. } => assert!(path.ends_with("b"), "{name}: {path:?}"),
            error => panic!("{name}: {error}"),
        }
    }
}

#[tokio::test]
async fn output_inside_the_tree_is_not_packed_into_itself() {
    let tree = tempdir().unwrap();
    write(tree.path(), "file", text(5000));
    let options = BuildOptions { spool_dir: Some(tree.path().to_owned()), ..Default::default() };
    let built = build(tree.path(), &options);
    built.save_in(&tree.path().join("out")).unwrap();
    let archive = open(&built);
    assert_eq!(archive.entries().map(|entry| entry.path).collect::<Vec<_>>(), ["file"]);
    let seen: Vec<_> = describe(tree.path()).into_keys().collect();
    assert_eq!(seen, ["file", "out", "out/data.blob", "out/index.blob"]);
}
