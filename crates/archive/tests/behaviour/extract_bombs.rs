//! Bombs: archives that claim or hold far more than they are, refused at once and in bounded memory.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::support::Counting;
use crate::support::forged::CONTENT;
use crate::support::forged::Sandbox;
use crate::support::forged::file;
use crate::support::forged::forge;
use crate::support::forged::hash;
use crate::support::forged::open;
use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::BuildEntry;
use skep_archive::Codec;
use skep_archive::Entry;
use skep_archive::Error;
use skep_archive::ExtractOptions;
use skep_archive::Extracted;
use skep_archive::Limits;
use skep_archive::Result;
use skep_archive::push;
use skep_archive::write_index;
use skep_registry::transfer::Place;
use tempfile::tempdir;

/// How long refusing may take. Code that is not optimised is an order of magnitude slower.
const SOON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// Runs something that must end soon.
async fn soon<T>(what: &str, running: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let came = running.await;
    let took = start.elapsed();
    assert!(took < SOON, "{what} took {took:?}");
    came
}

async fn extract(archive: &Archive, dest: &Path) -> Result<Extracted> {
    archive.extract(dest, &ExtractOptions::default(), |_| {}).await
}

/// A frame of zeros: 4 bytes for each 128 KiB, as dense as zstd can be.
///
/// `window` is the exponent of its window, `claim` the size that its header states.
fn zeros(blocks: usize, window: u8, claim: Option<u64>) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, if claim.is_some() { 0xc0 } else { 0x00 }, (window - 10) << 3];
    frame.extend(claim.map(u64::to_le_bytes).into_iter().flatten());
    for block in 1..=blocks {
        // Last block, or not; repeat one byte; 128 KiB.
        let header = u32::from(block == blocks) | 1 << 1 | (128 << 10) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

fn bomb(stored: &[u8], claim: u64) -> Entry<'static> {
    let data_size = stored.len() as u64;
    Entry { data_size, original_size: claim, codec: Codec::Zstd, hash: hash(b""), ..file("bomb") }
}

#[test]
fn a_frame_of_zeros_is_one() {
    let content = zstd::decode_all(&zeros(8, 20, None)[..]).unwrap();
    assert!(content.len() == 1 << 20 && content.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn what_cannot_be_in_so_few_bytes_is_refused_before_anything_is_read() {
    let stored = zeros(2500, 27, Some(1 << 40));
    assert!(stored.len() < 10 << 10);
    for claim in [1 << 40, 1 << 50, 1 << 63, u64::MAX, 1 << 30] {
        let archive = soon("opening", async { forge(&[bomb(&stored, claim)], &[], &[], &stored) }).await;
        let error = archive.unwrap_err();
        assert!(matches!(&error, Error::InvalidIndex { why } if why.contains("bomb")), "{error}");
    }
}

#[tokio::test]
async fn content_stops_where_the_index_says() {
    for claim in [0, 1, 1000, 128 << 10, 1 << 20, 4 << 20, 5 << 20, 16 << 20] {
        for (blocks, window) in [(2500, 27), (2500, 10), (2500, 20), (300, 23)] {
            let stored = zeros(blocks, window, None);
            let sandbox = Sandbox::new();
            let archive = forge(&[bomb(&stored, claim)], &[], &[], &stored).unwrap();
            let error = soon("extracting", extract(&archive, &sandbox.dest())).await.unwrap_err();
            let is_refused = matches!(error, Error::SizeMismatch { .. } | Error::Decompression { .. });
            assert!(is_refused, "{claim} {blocks} {window}: {error}");
            assert!(sandbox.paths().is_empty());
        }
    }
}

#[tokio::test]
async fn windows_above_the_limit_are_refused_without_their_memory() {
    for window in [28, 29, 30, 31, 41] {
        let stored = zeros(64, window, None);
        let sandbox = Sandbox::new();
        let archive = forge(&[bomb(&stored, 8 << 20)], &[], &[], &stored).unwrap();
        let error = soon("extracting", extract(&archive, &sandbox.dest())).await.unwrap_err();
        assert!(matches!(&error, Error::Decompression { why, .. } if why.contains("too much memory")), "{error}");
        assert!(sandbox.paths().is_empty());
    }
}

#[tokio::test]
async fn many_files_of_one_range_are_bounded_by_the_total() {
    let content = vec![b'x'; 1 << 20];
    let stored = zstd::encode_all(&content[..], 3).unwrap();
    let paths: Vec<String> = (0..200_000).map(|number| format!("{number:06}")).collect();
    let whole = Entry { hash: hash(&content), ..bomb(&stored, 1 << 20) };
    let entries = paths.iter().map(|path| Entry { path, ..whole });
    let index = write_index(entries, [].into_iter(), [].into_iter(), stored.len() as u64, hash(&stored)).unwrap();
    let limited = |total| Limits { total, ..Limits::default() };
    let archive = open(index.clone(), &stored).unwrap();
    let archive = Archive::new(index, archive.source().clone(), limited(1 << 30)).unwrap();
    let dest = tempdir().unwrap();
    let error = soon("planning", extract(&archive, dest.path())).await.unwrap_err();
    assert!(matches!(error, Error::Limit { limit, came, .. } if (limit, came) == (1 << 30, 200_000 << 20)));
    assert_eq!(std::fs::read_dir(dest.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn ranges_that_overlap_are_refused_however_many_they_are() {
    let data = vec![0; 200_001];
    let paths: Vec<String> = (0..200_000).map(|number| format!("{number:06}")).collect();
    let overlapping = |offset: fn(usize) -> u64, size: fn(usize) -> u64| {
        let entries = paths.iter().enumerate().map(move |(number, path)| Entry {
            data_offset: offset(number),
            data_size: size(number),
            original_size: size(number),
            ..file(path)
        });
        write_index(entries, [].into_iter(), [].into_iter(), data.len() as u64, &[7; 32]).unwrap()
    };
    for index in [
        overlapping(|number| number as u64, |_| 2),
        overlapping(|_| 0, |number| number as u64 + 1),
        overlapping(|number| number as u64, |number| 200_000 - number as u64),
    ] {
        let opened = soon("opening", async { open(index, &data) }).await;
        assert!(matches!(opened, Err(Error::InvalidIndex { why }) if why.contains("overlap")));
    }
}

#[tokio::test]
async fn an_index_that_claims_4_gib_is_not_asked_for() {
    let entries = [Ok(BuildEntry::file("a".to_owned(), CONTENT))];
    let built = skep_archive::build_entries(entries, &Default::default(), &|_| {}).unwrap();
    let registry = Counting::default();
    let place = Place::new(Arc::new(registry.clone()), "a/b".parse().unwrap());
    let pushed = push(&place, &built, &Default::default()).await.unwrap();
    let mut manifest = ArchiveManifest::parse(&pushed.manifest).unwrap();
    for claim in [4 << 30, u64::MAX] {
        manifest.index.size = claim;
        registry.take();
        let opened = Archive::open(place.registry.clone(), &place.repo, &manifest, Limits::default()).await;
        assert!(matches!(opened, Err(Error::Limit { came, .. }) if came == claim));
        assert!(registry.take().is_empty());
    }
}

#[tokio::test]
async fn vectors_that_claim_more_than_there_is_are_refused() {
    let entries = [file("a"), file("b")];
    let size = CONTENT.len() as u64;
    let index = write_index(entries.into_iter(), [].into_iter(), [].into_iter(), size, hash(CONTENT)).unwrap();
    let lengths = |len: u32| index.windows(4).enumerate().filter(move |(_, word)| *word == len.to_le_bytes());
    // The entries are two, hashes have 32 bytes, paths have one.
    let places: Vec<usize> = [2, 32, 1].into_iter().flat_map(|len| lengths(len).map(|(at, _)| at)).collect();
    assert!(places.len() >= 6);
    let mut refused = 0;
    for at in places {
        for claim in [u32::MAX, 0x8000_0000, 0x7fff_ffff, 0x4000_0000, 0x0fff_ffff] {
            let mut index = index.to_vec();
            index[at..at + 4].copy_from_slice(&claim.to_le_bytes());
            let opened: Result<Archive> = soon("opening", async { open(index.into(), CONTENT) }).await;
            refused += u32::from(opened.is_err());
        }
    }
    assert!(refused >= 25, "{refused}");
}

#[tokio::test]
async fn the_total_is_checked_before_the_first_byte() {
    let sandbox = Sandbox::new();
    let archive = forge(&[file("a"), file("b")], &[], &[], CONTENT).unwrap();
    let limits = Limits { total: 13, ..Limits::default() };
    let limited = Archive::new(archive.index().bytes().clone(), archive.source().clone(), limits).unwrap();
    let error = extract(&limited, &sandbox.dest()).await.unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 13, came: 14, .. }), "{error}");
    assert!(sandbox.paths().is_empty());
    let options = ExtractOptions { select: vec!["b".to_owned()], ..Default::default() };
    limited.extract(&sandbox.dest(), &options, |_| {}).await.unwrap();
    assert_eq!(sandbox.paths(), ["b"]);
    let options = ExtractOptions { total: 6, ..options };
    let error = limited.extract(&sandbox.dest(), &options, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Limit { limit: 6, came: 7, .. }), "{error}");
}
