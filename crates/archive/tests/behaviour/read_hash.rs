//! Which hashes are compared when a file is read: its own for all of it, those of its chunks for a part.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;

use crate::support::CHUNK;
use crate::support::build;
use crate::support::noise;
use crate::support::text;
use crate::support::write;
use futures_util::StreamExt;
use sha2::Digest as _;
use sha2::Sha256;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Result;
use skep_archive::write_index;
use skep_registry::Code;
use tempfile::tempdir;
use tokio::io::AsyncReadExt;

const SIZE: usize = (3 << 20) + 5;

/// An archive of `text` and `noise`, both in chunks, with an index in which some bytes are replaced.
fn forged(forge: impl Fn(&mut Vec<u8>, &[u8])) -> Archive {
    let tree = tempdir().unwrap();
    write(tree.path(), "text", text(SIZE));
    write(tree.path(), "noise", noise(SIZE, 1));
    let built = build(tree.path(), &BuildOptions::default());
    let (mut index, data) = (built.index().to_vec(), Arc::new(built.source()));
    forge(&mut index, &text(SIZE));
    forge(&mut index, &noise(SIZE, 1));
    Archive::new(index.into(), data, Limits::default()).unwrap()
}

/// Replaces the hash of a content where it stands in an index.
fn spoil(index: &mut [u8], content: &[u8]) {
    let hash = Sha256::digest(content);
    let at = index.windows(32).position(|bytes| bytes == hash.as_slice()).unwrap();
    index[at..at + 32].fill(7);
}

/// Every way to read a whole file.
async fn read_whole(archive: &Archive, path: &str) -> [Result<Vec<u8>>; 4] {
    let stream = async { Ok(archive.stream(path).await?.bytes(u64::MAX).await?.to_vec()) };
    let range = async { Ok(archive.read_range(path, 0..SIZE as u64).await?.bytes(u64::MAX).await?.to_vec()) };
    let many = async {
        let mut files = Box::pin(archive.read_many([path])?);
        Ok(files.next().await.unwrap()?.1.to_vec())
    };
    [archive.read(path).await.map(|content| content.to_vec()), stream.await, range.await, many.await]
}

fn is_mismatch(error: &Error) -> bool {
    match error {
        Error::HashMismatch { .. } => true,
        Error::Registry(error) => error.code() == &Code::DigestInvalid,
        _ => false,
    }
}

#[tokio::test]
async fn a_whole_file_is_held_to_its_own_hash_and_a_part_to_those_of_chunks() {
    let archive = forged(|index, content| spoil(index, content));
    for (path, content) in [("text", text(SIZE)), ("noise", noise(SIZE, 1))] {
        for read in read_whole(&archive, path).await {
            assert!(is_mismatch(&read.unwrap_err()), "{path}");
        }
        let part = archive.read_range(path, 1..SIZE as u64).await.unwrap().bytes(u64::MAX).await.unwrap();
        assert!(part == content[1..], "{path}");
        let mut file = archive.file(path).unwrap();
        assert!(file.read_at(5..2_000_000).await.unwrap() == content[5..2_000_000]);
        let mut came = Vec::new();
        file.read_to_end(&mut came).await.unwrap();
        assert!(came == content, "a file is verified chunk by chunk");
    }
}

#[tokio::test]
async fn chunks_that_are_not_what_they_should_be_spoil_a_part_and_not_the_whole() {
    const BEGIN: u64 = CHUNK as u64;
    let archive = forged(|index, content| spoil(index, &content[CHUNK..2 * CHUNK]));
    for (path, content) in [("text", text(SIZE)), ("noise", noise(SIZE, 1))] {
        for read in read_whole(&archive, path).await {
            assert!(read.unwrap() == content, "{path}");
        }
        let body = archive.read_range(path, BEGIN + 7..BEGIN + 8).await.unwrap();
        assert_eq!(body.bytes(1).await.unwrap_err().code(), &Code::DigestInvalid);
        let other = archive.read_range(path, 2 * BEGIN..3 * BEGIN).await.unwrap().bytes(u64::MAX).await.unwrap();
        assert!(other == content[2 * CHUNK..3 * CHUNK]);
        let mut file = archive.file(path).unwrap();
        assert!(matches!(file.read_at(BEGIN..BEGIN + 1).await, Err(Error::HashMismatch { .. })));
        let mut came = Vec::new();
        let error = file.read_to_end(&mut came).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(came == content[..CHUNK], "nothing of a wrong chunk leaves");
    }
}

#[tokio::test]
async fn no_last_byte_of_a_whole_file_leaves_before_its_hash_was_compared() {
    let archive = forged(|index, content| spoil(index, content));
    let mut body = archive.stream("text").await.unwrap();
    let mut came = 0;
    let error = loop {
        match body.next().await.unwrap() {
            Ok(part) => came += part.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), &Code::DigestInvalid);
    assert!(came < SIZE, "{came}");
}

#[tokio::test]
async fn a_large_file_without_chunks_is_held_to_its_hash_however_it_is_read() {
    let (content, hash) = (noise(6 << 20, 3), [7; 32]);
    let entry = skep_archive::Entry {
        path: "a",
        data_offset: 0,
        data_size: content.len() as u64,
        original_size: content.len() as u64,
        hash: &hash,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_ns: 0,
        codec: skep_archive::Codec::None,
        chunks: None,
    };
    let none = std::iter::empty::<skep_archive::Symlink<'_>>();
    let index = write_index([entry].into_iter(), none, std::iter::empty(), content.len() as u64, &[]).unwrap();
    let archive = Archive::new(index, Arc::new(bytes::Bytes::from(content.clone())), Limits::default()).unwrap();
    assert!(is_mismatch(&archive.read("a").await.unwrap_err()));
    let file = archive.file("a").unwrap();
    assert!(is_mismatch(&file.read_at(0..10).await.unwrap_err()));
    let mut came = Vec::new();
    let mut file = file;
    assert_eq!(file.read_to_end(&mut came).await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    assert!(came.len() < content.len());
}
