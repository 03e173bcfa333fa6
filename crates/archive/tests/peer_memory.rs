//! A large archive, built, pushed and extracted in a process that stays small. Alone in its process.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::sync::Arc;

use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::BuildOptions;
use skep_archive::Limits;
use skep_archive::PushOptions;
use skep_archive::build;
use skep_archive::push;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::transfer::Place;
use tempfile::tempdir;

/// Bytes that the file has.
const SIZE: u64 = 512 << 20;

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_gigabyte_is_pushed_and_extracted_in_a_fifth_of_it() {
    let (tree, work) = (tempdir().unwrap(), tempdir().unwrap());
    let mut file = fs::File::create(tree.path().join("model")).unwrap();
    // Zeros are a hole on the disk, and are stored as they are.
    file.write_all(b"weights").unwrap();
    file.set_len(SIZE).unwrap();
    let options = BuildOptions { compression: skep_archive::Compression::None, ..Default::default() };
    let built = build(tree.path(), &options, &|_| {}).unwrap();
    let layout = Layout::tree(work.path().join("store"), LayoutOptions::default()).unwrap();
    let place = Place::new(Arc::new(layout), "a/b".parse().unwrap());
    let pushed = push(&place, &built, &PushOptions::default()).await.unwrap();
    drop(built);
    let manifest = ArchiveManifest::parse(&pushed.manifest).unwrap();
    let archive = Archive::open(place.registry, &place.repo, &manifest, Limits::default()).await.unwrap();
    assert_eq!(archive.entry("model").unwrap().data_size, SIZE);
    let dest = work.path().join("dest");
    archive.extract(&dest, &Default::default(), |_| {}).await.unwrap();
    assert_eq!(fs::metadata(dest.join("model")).unwrap().len(), SIZE);
    assert!(peak() < SIZE / 5, "{} MiB", peak() >> 20);
}
