//! Downloads arrive whole and verified, whatever happens on their way, in bounded memory.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::transfer::DownloadOptions;
use skep_registry::transfer::download;
use skep_registry::transfer::download_to_file;

use crate::support::Faults;
use crate::support::MIB;
use crate::support::Random;
use crate::support::describe;
use crate::support::noise;
use crate::support::with_blob;

#[tokio::test(start_paused = true)]
async fn a_blob_through_200_cuts_arrives_with_little_sent_again() {
    let size = 64 * MIB;
    let faults = Faults { cut: Some(96 << 10..384 << 10), lost: 4 << 10, ..Faults::default() };
    let (registry, place, bytes, blob) = with_blob(size, faults).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    let done = download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap();
    assert_eq!((done.received, done.resumed), (size, 0));
    assert!(fs::read(&path).unwrap() == bytes);
    assert!(registry.cuts() >= 200, "{} cuts", registry.cuts());
    assert!(registry.moved() <= size + size / 20, "{} bytes", registry.moved());
    assert_eq!(names(dir.path()), ["blob"]);
    let (cuts, moved) = (registry.cuts(), registry.moved());
    let body = download(&place, &blob, &DownloadOptions::default());
    assert!(body.bytes(size).await.unwrap() == bytes);
    assert!(registry.cuts() - cuts >= 200, "{} cuts", registry.cuts());
    assert!(registry.moved() - moved <= size + size / 20, "{} bytes", registry.moved());
}

#[tokio::test]
async fn a_download_that_dies_60_times_goes_on_where_it_was() {
    let size = 32 * MIB;
    let (registry, place, bytes, blob) = with_blob(size, Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    let options = DownloadOptions { checkpoint: 64 << 10, connections: 3, memory: 2 * MIB, ..Default::default() };
    let mut random = Random::new(1);
    let mut deaths = 0;
    let mut resumed = 0;
    let done = loop {
        let death = registry.moved() + if deaths < 60 { random.next() % MIB } else { 2 * size };
        tokio::select! {
            biased;
            () = registry.until_moved(death) => deaths += 1,
            done = download_to_file(&place, &blob, &path, &options) => break done.unwrap(),
        }
        resumed += u64::from(fs::exists(dir.path().join("blob.skep-journal")).unwrap());
        assert!(!path.exists());
    };
    assert!(fs::read(&path).unwrap() == bytes);
    assert!(deaths >= 50, "{deaths} deaths");
    assert!(resumed > deaths / 2, "{resumed} of {deaths} left a journal");
    assert!(done.resumed > 0);
    assert!(registry.moved() < 3 * size, "{} bytes", registry.moved());
    assert_eq!(names(dir.path()), ["blob"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_costs_nothing_that_came_before_it() {
    let size = 8 * MIB;
    let (registry, place, bytes, blob) = with_blob(size, Faults { slow_start: SECOND, ..Faults::default() }).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    let options = DownloadOptions::default();
    let death = tokio::time::timeout(SECOND * 3, download_to_file(&place, &blob, &path, &options));
    death.await.unwrap_err();
    let moved = registry.moved();
    let done = download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap();
    assert!(fs::read(&path).unwrap() == bytes);
    assert!(done.resumed > size / 2, "{done:?}");
    assert_eq!(done.received + done.resumed, size);
    assert!(registry.moved() - moved <= done.received);
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_whatever_the_size() {
    let size = 32 * MIB;
    let dir = tempfile::tempdir().unwrap();
    for memory in [MIB, 4 * MIB, 16 * MIB] {
        // The first segment comes last, so that all others have to wait for it or be put away.
        let faults = Faults { slow_start: SECOND, ..Faults::default() };
        let options = DownloadOptions { memory, ..DownloadOptions::default() };
        let (registry, place, bytes, blob) = with_blob(size, faults.clone()).await;
        let path = dir.path().join(memory.to_string());
        download_to_file(&place, &blob, &path, &options).await.unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        assert!(registry.peak() <= memory, "file: {} of {memory} bytes", registry.peak());
        assert_eq!(registry.moved(), size);

        let (registry, place, bytes, blob) = with_blob(size, faults).await;
        let mut body = download(&place, &blob, &options);
        let mut at = 0;
        while let Some(part) = body.next().await.transpose().unwrap() {
            assert!(part == bytes[at..at + part.len()]);
            at += part.len();
            tokio::task::yield_now().await;
        }
        assert_eq!(at as u64, size);
        assert!(registry.peak() <= memory, "body: {} of {memory} bytes", registry.peak());
        assert_eq!(registry.moved(), size);
    }
}

#[tokio::test(start_paused = true)]
async fn without_ranges_one_stream_does_it() {
    let size = 8 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let cut = Some(6 * MIB..10 * MIB);
    for (name, requests, faults) in [
        ("ignored", Some(1), Faults { ignore_ranges: true, ..Faults::default() }),
        ("refused", Some(2), Faults { refuse_ranges: Some(Code::RangeInvalid), ..Faults::default() }),
        ("unknown", Some(2), Faults { refuse_ranges: Some(Code::Unsupported), ..Faults::default() }),
        ("ignored, cut", None, Faults { ignore_ranges: true, cut: cut.clone(), ..Faults::default() }),
        ("refused, cut", None, Faults { refuse_ranges: Some(Code::Unsupported), cut, ..Faults::default() }),
    ] {
        let (registry, place, bytes, blob) = with_blob(size, faults).await;
        let path = dir.path().join(name);
        download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap();
        assert!(fs::read(&path).unwrap() == bytes, "{name}");
        let count = registry.requests().len();
        assert!(requests.is_none_or(|want| want == count), "{name}: {count} requests");
        let body = download(&place, &blob, &DownloadOptions::default());
        assert!(body.bytes(size).await.unwrap() == bytes, "{name}");
        assert!(registry.peak() <= 64 * MIB, "{name}: {} bytes", registry.peak());
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_for_patience_gets_it() {
    let (registry, place, bytes, blob) = with_blob(16 * MIB, Faults { throttle: Some(2), ..Faults::default() }).await;
    let began = tokio::time::Instant::now();
    let body = download(&place, &blob, &DownloadOptions::default());
    assert!(body.bytes(16 * MIB).await.unwrap() == bytes);
    assert!(began.elapsed() > SECOND, "{:?} with {} requests", began.elapsed(), registry.requests().len());
}

#[tokio::test(start_paused = true)]
async fn requests_that_bring_nothing_are_counted() {
    let (registry, place, _, blob) = with_blob(16 * MIB, Faults { down: true, ..Faults::default() }).await;
    let options = DownloadOptions { attempts: 4, ..DownloadOptions::default() };
    let error = download(&place, &blob, &options).bytes(u64::MAX).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert_eq!(registry.requests().len(), 4);
    let dir = tempfile::tempdir().unwrap();
    let error = download_to_file(&place, &blob, &dir.path().join("blob"), &options).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert_eq!(registry.requests().len(), 4);
}

#[tokio::test]
async fn small_blobs_take_one_request_and_empty_ones_none() {
    let dir = tempfile::tempdir().unwrap();
    for (size, requests) in [(0, 0), (1, 1), (8 << 10, 1), (2 * MIB, 1)] {
        let (registry, place, bytes, blob) = with_blob(size, Faults::default()).await;
        let path = dir.path().join(size.to_string());
        download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        assert_eq!(registry.requests().len(), requests, "{size}");
        assert!(download(&place, &blob, &DownloadOptions::default()).bytes(size).await.unwrap() == bytes);
        assert_eq!(registry.requests().len(), requests, "{size}");
    }
}

#[tokio::test]
async fn wrong_bytes_are_an_error_and_leave_nothing() {
    let (_, place, _, blob) = with_blob(4 * MIB, Faults { corrupt: true, ..Faults::default() }).await;
    let error = download(&place, &blob, &DownloadOptions::default()).bytes(u64::MAX).await.unwrap_err();
    assert_eq!(error.code(), &Code::DigestInvalid);
    let dir = tempfile::tempdir().unwrap();
    let error =
        download_to_file(&place, &blob, &dir.path().join("blob"), &DownloadOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::DigestInvalid);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_blob_of_another_size_is_an_error() {
    for (size, stated) in [(4 * MIB, 4 * MIB - 1), (4 * MIB, 4 * MIB + 1), (10, 11), (10, 9)] {
        let (_, place, _, mut blob) = with_blob(size, Faults::default()).await;
        blob.size = stated;
        let error = download(&place, &blob, &DownloadOptions::default()).bytes(u64::MAX).await.unwrap_err();
        assert_eq!(error.code(), &Code::SizeInvalid, "{size} {stated}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let error = download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap_err();
        assert_eq!(error.code(), &Code::SizeInvalid, "{size} {stated}");
        assert!(!path.exists());
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_does_not_fit_is_not_believed() {
    let size = 8 * MIB;
    let faults = Faults { slow_start: SECOND, ..Faults::default() };
    for damage in ["digest", "journal", "part", "version"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let (_, place, _, blob) = with_blob(size, faults.clone()).await;
        let options = DownloadOptions::default();
        let download = download_to_file(&place, &blob, &path, &options);
        tokio::time::timeout(SECOND * 3, download).await.unwrap_err();
        let (part, journal) = (dir.path().join("blob.skep-part"), dir.path().join("blob.skep-journal"));
        assert!(journal.exists());
        let mut other = size;
        match damage {
            "digest" => other += 1,
            "journal" => fs::write(&journal, &fs::read(&journal).unwrap()[..100]).unwrap(),
            "part" => fs::write(&part, "short").unwrap(),
            _ => fs::write(&journal, fs::read_to_string(&journal).unwrap().replacen("-1", "-2", 1)).unwrap(),
        }
        let (_, place, bytes, blob) = with_blob(other, Faults::default()).await;
        let done = download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap();
        assert_eq!(done.resumed, 0, "{damage}");
        assert!(fs::read(&path).unwrap() == bytes, "{damage}");
        assert_eq!(names(dir.path()), ["blob"]);
    }
}

#[tokio::test]
async fn of_downloads_to_one_file_one_does_it_and_the_others_wait() {
    let size = 8 * MIB;
    let (registry, place, bytes, blob) = with_blob(size, Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    let options = DownloadOptions::default();
    let all = (0..4).map(|_| download_to_file(&place, &blob, &path, &options));
    let done = futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!(done.iter().map(|done| done.received).sum::<u64>(), size);
    assert!(fs::read(&path).unwrap() == bytes);
    assert_eq!(registry.moved(), size);
    assert_eq!(names(dir.path()), ["blob"]);
}

#[tokio::test]
async fn a_file_that_is_right_is_left_and_another_is_replaced() {
    let (registry, place, bytes, blob) = with_blob(3 * MIB, Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    fs::write(&path, &bytes).unwrap();
    let done = download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap();
    assert_eq!((done.received, registry.requests()), (0, Vec::new()));
    let other = noise(3 * MIB + 8).slice(8..);
    assert_ne!(describe(&other).digest, blob.digest);
    fs::write(&path, &other).unwrap();
    let done = download_to_file(&place, &blob, &path, &DownloadOptions::default()).await.unwrap();
    assert_eq!(done.received, 3 * MIB);
    assert_eq!(Digest::sha256(&fs::read(&path).unwrap()), blob.digest);
    assert_eq!(names(dir.path()), ["blob"]);
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const SECOND: Duration = Duration::from_secs(1);
