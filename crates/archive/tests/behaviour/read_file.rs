//! Files of an archive that are open for reading and seeking, and how often their data is asked for.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
#![allow(clippy::single_range_in_vec_init, reason = "a list of reads may have one")]

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Arc;

use crate::support::CHUNK;
use crate::support::Noted;
use crate::support::build;
use crate::support::link;
use crate::support::noise;
use crate::support::open_noted;
use crate::support::text;
use crate::support::write;
use async_trait::async_trait;
use bytes::Bytes;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Compression;
use skep_archive::Error;
use skep_archive::FileSource;
use skep_archive::Limits;
use skep_archive::Source;
use skep_registry::Body;
use tempfile::tempdir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncSeekExt;

const MIB: usize = 1 << 20;

fn one(content: &[u8], options: &BuildOptions) -> (Archive, Arc<Noted<FileSource>>) {
    let tree = tempdir().unwrap();
    write(tree.path(), "file", content);
    link(tree.path(), "link", "file");
    open_noted(&build(tree.path(), options))
}

fn plain() -> BuildOptions {
    BuildOptions { extensions: false, ..Default::default() }
}

fn raw() -> BuildOptions {
    BuildOptions { compression: Compression::None, ..Default::default() }
}

async fn take(file: &mut skep_archive::File, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_file_reads_as_it_was_written() {
    for len in [0, 1, MIB, MIB + 1, 3 * MIB + 77] {
        for (content, options) in [(text(len), Default::default()), (text(len), plain()), (noise(len, 1), raw())] {
            let (archive, _) = one(&content, &options);
            let mut file = archive.file(if archive.exists("link") { "link" } else { "file" }).unwrap();
            assert_eq!((file.entry().path, file.size()), ("file", len as u64));
            let mut came = Vec::new();
            assert_eq!(file.read_to_end(&mut came).await.unwrap(), len);
            assert!(came == content);
            assert_eq!(file.read(&mut [0; 9]).await.unwrap(), 0, "the end is an end");
        }
    }
}

#[tokio::test]
async fn a_stream_of_a_small_file_is_one_request() {
    for options in [raw(), plain(), BuildOptions::default()] {
        let (archive, source) = one(&noise(300_000, 1), &options);
        let mut file = archive.file("file").unwrap();
        assert_eq!(source.take(), [], "nothing is fetched before it is read");
        let mut parts = 0;
        while file.read(&mut [0; 32 << 10]).await.unwrap() > 0 {
            parts += 1;
        }
        assert!(parts >= 10);
        assert_eq!(source.take().len(), 1);
    }
}

#[tokio::test]
async fn reading_on_reads_twice_as_far_ahead_each_time() {
    let (archive, source) = one(&noise(40 * MIB, 1), &raw());
    let mut file = archive.file("file").unwrap();
    take(&mut file, 10).await;
    assert_eq!(source.take(), [0..CHUNK as u64], "one chunk, before it is known whether reading goes on");
    let mut came = Vec::new();
    file.read_to_end(&mut came).await.unwrap();
    let reads = source.take();
    let chunks: Vec<_> = reads.iter().map(|range| (range.end - range.start) / CHUNK as u64).collect();
    let most = (8 * MIB / CHUNK) as u64;
    assert_eq!(chunks, [2, 4, 8, 16, most, most, most, most, 1]);
    assert_eq!(reads.iter().map(|range| range.end - range.start).sum::<u64>(), (40 * MIB - CHUNK) as u64);
    assert_eq!(came.len(), 40 * MIB - 10);
}

#[tokio::test]
async fn the_next_request_is_sent_before_reading_comes_to_it() {
    let (archive, source) = one(&noise(16 * MIB, 1), &raw());
    let mut file = archive.file("file").unwrap();
    take(&mut file, CHUNK + 10).await;
    assert_eq!(source.take().len(), 2);
    take(&mut file, CHUNK - 10).await;
    assert_eq!(source.take(), [], "half of the second was not read yet");
    take(&mut file, 10).await;
    assert_eq!(source.take(), [3 * CHUNK as u64..7 * CHUNK as u64]);
}

#[tokio::test]
async fn a_seek_within_what_is_there_costs_nothing() {
    let content = noise(8 * CHUNK, 1);
    let (archive, source) = one(&content, &raw());
    let mut file = archive.file("file").unwrap();
    take(&mut file, CHUNK + CHUNK / 2).await;
    source.take();
    for (seek, at) in [
        (SeekFrom::Start(5), 5),
        (SeekFrom::Current(CHUNK as i64), CHUNK + 15),
        (SeekFrom::End(-(7 * CHUNK as i64)), CHUNK),
        (SeekFrom::Current(-20), CHUNK - 10),
    ] {
        assert_eq!(file.seek(seek).await.unwrap(), at as u64);
        assert!(take(&mut file, 10).await == content[at..at + 10]);
    }
    assert_eq!(source.take(), []);
    // Elsewhere it begins with one chunk again.
    file.seek(SeekFrom::Start(5 * CHUNK as u64 + 7)).await.unwrap();
    assert_eq!(source.take(), [], "a seek is no request");
    assert!(take(&mut file, 10).await == content[5 * CHUNK + 7..5 * CHUNK + 17]);
    assert_eq!(source.take(), [5 * CHUNK as u64..6 * CHUNK as u64]);
}

#[tokio::test]
async fn seeks_end_where_files_do() {
    let (archive, _) = one(b"hello", &BuildOptions::default());
    let mut file = archive.file("file").unwrap();
    assert_eq!(file.seek(SeekFrom::End(3)).await.unwrap(), 8);
    assert_eq!(file.read(&mut [0; 3]).await.unwrap(), 0);
    assert_eq!(file.seek(SeekFrom::Current(-9)).await.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(file.position(), 8, "a seek that fails moves nothing");
    file.seek(SeekFrom::End(-2)).await.unwrap();
    assert_eq!(take(&mut file, 2).await, b"lo");
}

#[tokio::test]
async fn a_part_is_read_from_a_file_that_several_share() {
    let content = text(5 * MIB);
    let (archive, source) = one(&content, &BuildOptions::default());
    let file = Arc::new(archive.file("file").unwrap());
    let parts = [0..1, MIB - 1..MIB + 1, 0..5 * MIB, 7..7].map(|range| {
        let file = file.clone();
        tokio::spawn(async move { (range.clone(), file.read_at(range.start as u64..range.end as u64).await) })
    });
    for part in parts {
        let (range, part) = part.await.unwrap();
        assert!(part.unwrap() == content[range]);
    }
    assert_eq!(source.take().len(), 3, "one request each, and none for nothing");
    assert!(matches!(file.read_at(0..5 * MIB as u64 + 1).await, Err(Error::InvalidRange { .. })));
    let limits = Limits { memory: 100, ..Limits::default() };
    let limited = Archive::new(archive.index().bytes().clone(), archive.source().clone(), limits).unwrap();
    let file = limited.file("file").unwrap();
    assert!(file.read_at(1000..1100).await.unwrap() == content[1000..1100]);
    assert!(matches!(file.read_at(1000..1101).await, Err(Error::Limit { .. })));
}

#[tokio::test]
async fn a_large_file_of_another_writer_is_read_from_its_start() {
    // Larger than what is decoded at once, with incompressible stretches.
    let content = [text(3 * MIB), noise(6 * MIB, 1), text(3 * MIB)].concat();
    let (archive, source) = one(&content, &plain());
    assert!(archive.entry("file").unwrap().chunks.is_none());
    let mut file = archive.file("file").unwrap();
    assert!(take(&mut file, 100).await == content[..100]);
    file.seek(SeekFrom::Start(8 * MIB as u64)).await.unwrap();
    assert!(take(&mut file, 100).await == content[8 * MIB..8 * MIB + 100]);
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).await.unwrap();
    assert!(rest == content[8 * MIB + 100..]);
    assert_eq!(source.take().len(), 1, "forward, it is one request");
    file.seek(SeekFrom::Start(3)).await.unwrap();
    assert!(take(&mut file, 100).await == content[3..103]);
    assert_eq!(source.take().len(), 1, "back is a second one");
}

/// A source that fails once.
#[derive(Debug)]
struct Flaky(FileSource, std::sync::atomic::AtomicBool);

#[async_trait]
impl Source for Flaky {
    fn size(&self) -> u64 {
        self.0.size()
    }

    async fn read(&self, range: Range<u64>) -> skep_archive::Result<Body> {
        if self.1.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Err(skep_registry::Error::new(skep_registry::Code::Unavailable, "once").into());
        }
        self.0.read(range).await
    }
}

#[tokio::test]
async fn reading_goes_on_after_an_error() {
    let tree = tempdir().unwrap();
    write(tree.path(), "file", text(3 * MIB));
    let built = build(tree.path(), &BuildOptions::default());
    let source = Arc::new(Flaky(built.source(), true.into()));
    let archive = Archive::new(built.index().clone(), source, Limits::default()).unwrap();
    let mut file = archive.file("file").unwrap();
    let error = file.read(&mut [0; 10]).await.unwrap_err();
    assert!(error.into_inner().unwrap().downcast::<Error>().is_ok());
    let mut came = Vec::new();
    file.read_to_end(&mut came).await.unwrap();
    assert!(came == text(3 * MIB));
}

#[tokio::test]
async fn memory_is_a_source() {
    let source = Bytes::from_static(b"hello");
    assert_eq!(Source::size(&source), 5);
    assert_eq!(source.read(1..4).await.unwrap().bytes(9).await.unwrap(), "ell");
    assert!(source.read(4..4).await.unwrap().bytes(9).await.unwrap().is_empty());
    assert!(source.read(3..6).await.is_err());
    assert_eq!(source.id(), None);
}
