//! Uploads arrive whole, whatever happens on their way and whatever the registry takes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Memory;
use skep_registry::RegistryExt;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::file_source;
use skep_registry::transfer::upload;

use crate::support::Commit;
use crate::support::Faults;
use crate::support::Faulty;
use crate::support::MIB;
use crate::support::Random;
use crate::support::describe;
use crate::support::noise;
use crate::support::repo;
use crate::support::source;

#[tokio::test(start_paused = true)]
async fn a_blob_through_200_cuts_arrives_with_little_sent_again() {
    let size = 64 * MIB;
    let faults = Faults { cut: Some(96 << 10..384 << 10), lost: 4 << 10, ..Faults::default() };
    let registry = Faulty::new(Memory::default(), faults);
    let bytes = noise(size);
    let done = send(&registry, &bytes, &UploadSettings::default()).await.unwrap();
    assert!(registry.cuts() >= 200, "{} cuts", registry.cuts());
    assert!(registry.moved() <= size + size / 20, "{} bytes", registry.moved());
    assert_eq!(done, size);
}

#[tokio::test(start_paused = true)]
async fn chunks_shrink_until_some_get_through() {
    let faults = Faults { cut: Some(MIB..2 * MIB), keep_nothing: true, ..Faults::default() };
    let registry = Faulty::new(Memory::default(), faults);
    send(&registry, &noise(16 * MIB), &UploadSettings::default()).await.unwrap();
    assert_eq!(registry.count("put_blob"), 0);
    assert!(registry.moved() <= 64 * MIB, "{} bytes", registry.moved());
}

#[tokio::test]
async fn the_largest_chunk_is_found_out() {
    for (limit, want) in
        [(None, 16 * MIB), (Some(4 * MIB), 4 * MIB), (Some(MIB - 1), MIB / 2), (Some(100 << 10), 64 << 10)]
    {
        let registry = Faulty::new(Memory::default(), Faults { max_chunk: limit, ..Faults::default() });
        let settings = UploadSettings { max_chunk: 16 * MIB, ..UploadSettings::default() };
        let sent = send(&registry, &noise(40 * MIB), &settings).await.unwrap();
        assert_eq!(registry.largest_chunk(), want, "{limit:?}");
        assert_eq!((sent, registry.count("put_blob")), (40 * MIB, 0), "{limit:?}");
    }
    // No chunk is small enough: the blob goes in one piece.
    let registry = Faulty::new(Memory::default(), Faults { max_chunk: Some(1 << 10), ..Faults::default() });
    send(&registry, &noise(10 * MIB), &UploadSettings::default()).await.unwrap();
    assert_eq!(registry.count("put_blob"), 1);
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_wants() {
    let faults = Faults { min_chunk: 5 * MIB, ..Faults::default() };
    let registry = Faulty::new(Memory::default(), faults);
    let settings = UploadSettings { max_chunk: MIB, ..UploadSettings::default() };
    send(&registry, &noise(12 * MIB), &settings).await.unwrap();
    assert_eq!(registry.largest_chunk(), 5 * MIB);
    assert_eq!(registry.count("append"), 3);
}

#[tokio::test(start_paused = true)]
async fn when_chunks_are_broken_the_blob_goes_in_one_piece() {
    let cut = Some(MIB..2 * MIB);
    for (name, faults) in [
        ("hollow", Faults { commit: Commit::Hollow, ..Faults::default() }),
        ("invalid", Faults { commit: Commit::Invalid, ..Faults::default() }),
        ("forgotten", Faults { forget_sessions: true, cut: cut.clone(), ..Faults::default() }),
        (
            "backwards",
            Faults { go_backwards: true, keep_nothing: true, cut: Some(5 * MIB..6 * MIB), ..Faults::default() },
        ),
    ] {
        let registry = Faulty::new(Memory::default(), faults);
        let sent = send(&registry, &noise(12 * MIB), &UploadSettings::default()).await.unwrap();
        assert_eq!(registry.count("put_blob"), 1, "{name}");
        assert!(sent <= 24 * MIB, "{name}: {sent} bytes");
    }
}

#[tokio::test]
async fn an_answer_to_a_commit_that_is_lost_is_looked_up() {
    let registry = Faulty::new(Memory::default(), Faults { commit: Commit::Lost, ..Faults::default() });
    let sent = send(&registry, &noise(12 * MIB), &UploadSettings::default()).await.unwrap();
    assert_eq!((sent, registry.count("commit"), registry.count("put_blob")), (12 * MIB, 1, 0));
}

#[tokio::test]
async fn a_source_with_other_bytes_is_digest_invalid() {
    for size in [MIB, 12 * MIB] {
        let registry = Faulty::new(Memory::default(), Faults::default());
        let place = Place::new(registry.clone(), repo("a/b"));
        let blob = describe(&noise(size));
        let other = noise(size + 8).slice(8..);
        let error = upload(&place, &blob, source(&other), &UploadSettings::default()).await.unwrap_err();
        assert_eq!(error.code(), &Code::DigestInvalid);
        assert!(!registry.has_blob(&place.repo, &blob.digest).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_source_is_the_error() {
    for (size, code) in [(MIB, Code::Unknown), (12 * MIB, Code::Unknown), (12 * MIB, Code::SizeInvalid)] {
        let registry = Faulty::new(Memory::default(), Faults::default());
        let place = Place::new(registry.clone(), repo("a/b"));
        let bytes = noise(size);
        let failing = |_| {
            let parts = [Ok(Bytes::from_static(b"some")), Err(Error::new(code.clone(), "the disk is gone"))];
            Body::new(None, futures_util::stream::iter(parts))
        };
        let error = upload(&place, &describe(&bytes), failing, &UploadSettings::default()).await.unwrap_err();
        assert_eq!(error.code(), &code);
        assert!(registry.requests().len() < 8);
    }
}

#[tokio::test]
async fn what_is_there_is_not_sent() {
    let (registry, place, bytes, blob) = crate::support::with_blob(12 * MIB, Faults::default()).await;
    let done = upload(&place, &blob, source(&bytes), &UploadSettings::default()).await.unwrap();
    assert!(done.existed);
    assert_eq!(registry.requests(), ["head_blob"]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_for_patience_gets_it() {
    for size in [0, 10, 12 * MIB] {
        let registry = Faulty::new(Memory::default(), Faults { throttle: Some(2), ..Faults::default() });
        let began = tokio::time::Instant::now();
        let sent = send(&registry, &noise(size), &UploadSettings::default()).await.unwrap();
        assert_eq!(sent, size);
        assert!(began.elapsed() >= Duration::from_millis(500), "{size}: {:?}", began.elapsed());
    }
    let registry = Faulty::new(Memory::default(), Faults { down: true, ..Faults::default() });
    let error = send(&registry, &noise(12 * MIB), &UploadSettings::default()).await.unwrap_err();
    assert_eq!((error.code(), registry.requests().len()), (&Code::Unavailable, 6));
}

#[tokio::test]
async fn an_upload_that_dies_60_times_goes_on_where_it_was() {
    let size = 32 * MIB;
    let registry = Faulty::new(Memory::default(), Faults::default());
    let bytes = noise(size);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let settings = UploadSettings { max_chunk: 256 << 10, journal: Some(journal.clone()), ..UploadSettings::default() };
    let mut random = Random::new(2);
    let mut deaths = 0;
    let sent = loop {
        let death = registry.moved() + if deaths < 60 { random.next() % MIB } else { 2 * size };
        tokio::select! {
            biased;
            () = registry.until_moved(death) => deaths += 1,
            done = send(&registry, &bytes, &settings) => break done.unwrap(),
        }
        assert!(journal.exists() || deaths < 3);
    };
    assert!(deaths >= 50, "{deaths} deaths");
    assert!(sent < size, "{sent} bytes");
    assert!(registry.moved() < size + 60 * (256 << 10), "{} bytes", registry.moved());
    assert!(!journal.exists());
}

#[tokio::test]
async fn a_file_goes_into_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::tree(dir.path().join("layouts"), LayoutOptions::default()).unwrap();
    let place = Place::new(std::sync::Arc::new(layout), repo("a/b"));
    let bytes = noise(10 * MIB + 7);
    let file = dir.path().join("file");
    fs::write(&file, &bytes).unwrap();
    let blob = describe(&bytes);
    upload(&place, &blob, file_source(&file), &UploadSettings::default()).await.unwrap();
    assert!(place.registry.read_blob(&place.repo, &blob.digest, u64::MAX).await.unwrap() == bytes);
    let middle = file_source(&file)(5..9 * MIB).bytes(u64::MAX).await.unwrap();
    assert!(middle == bytes[5..9 * MIB as usize]);
    let error = file_source(dir.path().join("none"))(0..1).bytes(1).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unknown);
    assert_eq!(file_source(&file)(10 * MIB..11 * MIB).bytes(MIB).await.unwrap_err().code(), &Code::SizeInvalid);
}

/// Uploads bytes to a registry and looks whether they arrived; how many were sent.
async fn send(registry: &std::sync::Arc<Faulty>, bytes: &Bytes, settings: &UploadSettings) -> Result<u64, Error> {
    let place = Place::new(registry.clone(), repo("a/b"));
    let blob = describe(bytes);
    let done = upload(&place, &blob, source(bytes), settings).await?;
    assert!(registry.inner().read_blob(&place.repo, &blob.digest, u64::MAX).await.unwrap() == *bytes);
    Ok(done.sent)
}
