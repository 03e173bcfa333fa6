//! Thousands of single wrong bytes, in indexes and in data that another writer wrote: an error or what is right.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use skep_archive::Archive;
use skep_archive::Limits;
use skep_registry::Digest;

/// An archive of another writer.
struct Case {
    name: String,
    index: Vec<u8>,
    data: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/meigma-v1");
    let dirs = fs::read_dir(root).unwrap().map(|item| item.unwrap().path()).filter(|path| path.is_dir());
    let read = |dir: &Path, name| fs::read(dir.join(name)).unwrap();
    let case = |dir: std::path::PathBuf| Case {
        name: dir.file_name().unwrap().to_str().unwrap().to_owned(),
        index: read(&dir, "index.blob"),
        data: read(&dir, "data.blob"),
    };
    let mut cases: Vec<_> = dirs.map(case).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(cases.len(), 24);
    cases
}

/// A position below `len` and what its byte is changed by, the same ones in each run.
fn changes(len: usize, count: usize) -> impl Iterator<Item = (usize, u8)> {
    let mut state = len as u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..count).map(move |_| (random(len as u64) as usize, random(255) as u8 + 1))
}

fn open(index: Vec<u8>, data: &Bytes) -> Option<Archive> {
    Archive::new(index.into(), Arc::new(data.clone()), Limits::default()).ok()
}

/// How many files have content that has its hash; the others must not be read at all.
async fn files_that_are_right(archive: &Archive, what: &str) -> usize {
    let mut right = 0;
    for entry in archive.entries() {
        let read = archive.read(entry.path).await;
        let streamed = async { archive.stream(entry.path).await?.bytes(1 << 30).await.map_err(Into::into) };
        let streamed: skep_archive::Result<Bytes> = streamed.await;
        assert_eq!(streamed.ok(), read.as_ref().ok().cloned(), "{what}: {}", entry.path);
        if let Ok(content) = read {
            assert_eq!(Digest::sha256(&content).hash(), entry.hash, "{what}: {}", entry.path);
            right += 1;
        }
    }
    right
}

#[test]
fn of_20_000_broken_indexes_none_makes_a_reader_panic() {
    let cases = cases();
    let (mut refused, mut opened) = (0, 0);
    for case in &cases {
        let data = Bytes::from(case.data.clone());
        for (at, by) in changes(case.index.len(), 20_000usize.div_ceil(cases.len())) {
            let mut index = case.index.clone();
            index[at] ^= by;
            let Some(archive) = open(index, &data) else {
                refused += 1;
                continue;
            };
            opened += 1;
            for entry in archive.entries() {
                assert_eq!(archive.entry(entry.path).unwrap(), entry, "{} {at} {by}", case.name);
                assert!(entry.data().end <= archive.index().data_size());
            }
            let walked = archive.walk("").unwrap().filter(|(path, _)| archive.is_file(path)).count();
            assert_eq!(walked, archive.entries().len(), "{} {at} {by}", case.name);
            assert_eq!(archive.stats("").files, archive.entries().len() as u64, "{} {at} {by}", case.name);
        }
    }
    assert!(refused + opened >= 20_000 && refused > 5000 && opened > 1000, "{refused} {opened}");
}

#[tokio::test]
async fn what_a_broken_index_lets_be_read_has_its_hash() {
    // Large ones would spend the time on hashes.
    for case in cases().into_iter().filter(|case| case.data.len() < 10_000) {
        let data = Bytes::from(case.data);
        for (at, by) in changes(case.index.len(), 200) {
            let mut index = case.index.clone();
            index[at] ^= by;
            if let Some(archive) = open(index, &data) {
                files_that_are_right(&archive, &format!("{} {at} {by}", case.name)).await;
            }
        }
    }
}

#[tokio::test]
async fn of_5_000_broken_data_none_is_given_out_as_good() {
    let cases: Vec<_> = cases().into_iter().filter(|case| (1..10_000).contains(&case.data.len())).collect();
    let (mut tried, mut spoiled) = (0, 0);
    for case in &cases {
        for (at, by) in changes(case.data.len(), 5000usize.div_ceil(cases.len())) {
            let mut data = case.data.clone();
            data[at] ^= by;
            let archive = open(case.index.clone(), &data.into()).unwrap();
            let right = files_that_are_right(&archive, &format!("{} {at} {by}", case.name)).await;
            tried += 1;
            spoiled += usize::from(right < archive.entries().len());
        }
    }
    // Some bits of a frame mean nothing to a decoder.
    assert!(tried >= 5000 && spoiled * 100 > tried * 90, "{spoiled} of {tried}");
}
