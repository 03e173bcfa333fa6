//! Properties of whatever is read of archives that others wrote: for fuzzers, and for a short run with the tests.
//!
//! Each function takes what somebody else wrote, and panics where a property does not hold. They are there only in what
//! `cargo fuzz` builds, which sets `cfg(fuzzing)`, and in tests.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sha2::Digest as _;
use sha2::Sha256;

use crate::archive::Archive;
use crate::error::Error;
use crate::error::Result;
use crate::format::Chunks;
use crate::format::Codec;
use crate::format::Entry;
use crate::format::HASH;
use crate::format::Index;
use crate::format::write_index;
use crate::limits::Limits;

/// Frames: whatever is stored and claimed, what is read is the content, or there is an error; never more than claimed.
///
/// The first bytes say what is claimed and where a part begins, the others are stored, as they are or compressed.
pub fn frames(input: &[u8]) {
    let Some((head, rest)) = input.split_first_chunk::<12>() else { return };
    let [how, claim @ .., start, len, flip] = *head;
    let is_compressed = how & 1 != 0;
    let mut stored = if is_compressed { compress(rest, how >> 4 & 3) } else { rest.to_vec() };
    let is_whole = is_compressed && how & 8 == 0;
    if let Some(byte) = stored.get_mut(usize::from(flip)).filter(|_| how & 8 != 0) {
        *byte ^= 1 << (flip & 7);
    }
    let Some(content) = decoded(&stored) else { return };
    let original_size = match how >> 1 & 3 {
        0 => u64::from_le_bytes(claim),
        1 => u64::from(claim[0]) << (claim[1] & 31),
        _ => content.len() as u64,
    };
    let hash: [u8; HASH] = Sha256::digest(&content).into();
    let entry = Entry { original_size, data_size: stored.len() as u64, codec: Codec::Zstd, ..entry(&hash) };
    let Ok(archive) = open(entry, &stored, &[]) else {
        assert!(!is_whole || original_size != content.len() as u64, "frames of what they hold are refused");
        return;
    };
    let read = wait(archive.read("f"));
    match &read {
        Ok(read) => assert!(*read == content, "{} bytes were read as {}", content.len(), read.len()),
        Err(_) => assert!(!is_whole || original_size != content.len() as u64, "frames that are right are not read"),
    }
    assert_eq!(wait(stream(&archive, 0..original_size)).is_ok(), read.is_ok(), "a stream is as a read");
    let part = part(start, len, original_size);
    if let Ok(came) = wait(stream(&archive, part.clone())) {
        assert_eq!(came.len() as u64, part.end - part.start);
        assert!(read.is_err() || came == content[part.start as usize..part.end as usize]);
    }
}

/// Tables of chunks: one that adds up is read in any part, another is refused or gives content that has its hash.
///
/// The first bytes say how large chunks are, how they are stored, and what is wrong in the table and in the index.
pub fn chunks(input: &[u8]) {
    let Some((head, content)) = input.split_first_chunk::<12>() else { return };
    let [how, size, start, len, wrong @ ..] = *head;
    let codec = if how & 1 == 0 { Codec::None } else { Codec::Zstd };
    let (mut data, mut stored, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    let mut chunk_size = u32::from(size).max(1);
    for chunk in content.chunks(chunk_size as usize) {
        let bytes = if codec == Codec::None { chunk.to_vec() } else { compress(chunk, how >> 4 & 3) };
        stored.extend_from_slice(&u32::try_from(bytes.len()).expect("a chunk is small").to_le_bytes());
        hashes.extend_from_slice(&Sha256::digest(chunk));
        data.extend_from_slice(&bytes);
    }
    let mut original_size = content.len() as u64;
    let word = u32::from_le_bytes([wrong[0], wrong[1], wrong[2], wrong[3]]);
    // What is wrong in the table, if anything is.
    let at = usize::from(wrong[4]);
    match how >> 1 & 7 {
        1 => chunk_size = word,
        2 => original_size = u64::from(word) << (at & 31),
        3 => stored.truncate(at * 4),
        4 => hashes.truncate(at),
        5 => stored.as_chunks_mut::<4>().0.iter_mut().skip(at).take(2).for_each(|size| *size = word.to_le_bytes()),
        6 => data.truncate(at * 4),
        _ => {}
    }
    let hash: [u8; HASH] = Sha256::digest(content).into();
    let data_size = stored.as_chunks().0.iter().map(|size| u64::from(u32::from_le_bytes(*size))).sum();
    let chunks = Some(Chunks::new(chunk_size, &stored, &hashes));
    let entry = Entry { original_size, data_size, codec, chunks, ..entry(&hash) };
    // And in the bytes of the index.
    let edits: &[_] =
        if how & 0x80 == 0 { &[] } else { &[(usize::from(wrong[5]), wrong[6]), (usize::from(wrong[7]), wrong[6])] };
    let is_right = !content.is_empty() && edits.is_empty() && matches!(how >> 1 & 7, 0 | 7);
    let archive = match open(entry, &data, edits) {
        Ok(archive) => archive,
        Err(error) => return assert!(!is_right, "{error}"),
    };
    let Some(entry) = archive.entries().next() else { return };
    if let Some(chunks) = entry.chunks {
        assert_eq!(chunks.len() as u64, entry.original_size.div_ceil(u64::from(chunks.size())));
        assert_eq!(chunks.iter().map(|(stored, _)| u64::from(stored)).sum::<u64>(), entry.data_size);
    }
    let whole = wait(archive.read(entry.path));
    match &whole {
        Ok(whole) => assert_eq!(Sha256::digest(whole)[..], entry.hash[..]),
        Err(error) => assert!(!is_right, "{error}"),
    }
    let part = part(start, len, entry.original_size);
    match wait(stream(&archive, part.clone())) {
        Ok(came) => {
            assert_eq!(came.len() as u64, part.end - part.start);
            assert!(!is_right || came == content[part.start as usize..part.end as usize]);
        }
        Err(error) => assert!(!is_right, "{error}"),
    }
}

/// Content as two frames.
fn compress(content: &[u8], level: u8) -> Vec<u8> {
    let (one, other) = content.split_at(content.len() / 2);
    let frame = |part| zstd::encode_all(part, i32::from(level)).expect("memory takes anything");
    [frame(one), frame(other)].concat()
}

/// What stored bytes are when the whole of them is decoded without any index, or up to where they break.
///
/// None when it is too much to compare.
fn decoded(stored: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    if let Ok(mut decoder) = zstd::Decoder::new(stored)
        && decoder.window_log_max(WINDOW.ilog2()).is_ok()
    {
        // An error ends what can be compared.
        let _ = decoder.by_ref().take(MOST + 1).read_to_end(&mut content);
    }
    (content.len() as u64 <= MOST).then_some(content)
}

fn entry(hash: &[u8; HASH]) -> Entry<'_> {
    let (data_offset, data_size, original_size) = (0, 0, 0);
    let (mode, uid, gid, mtime_ns, codec, chunks) = (0o644, 0, 0, 0, Codec::None, None);
    Entry { path: "f", data_offset, data_size, original_size, hash, mode, uid, gid, mtime_ns, codec, chunks }
}

/// An archive of one file over data, after bytes of its index were changed.
fn open(entry: Entry<'_>, data: &[u8], edits: &[(usize, u8)]) -> Result<Archive> {
    let size = data.len() as u64;
    let index = write_index([entry].into_iter(), [].into_iter(), [].into_iter(), size, &Sha256::digest(data))?;
    let mut index = index.to_vec();
    for (at, by) in edits {
        let len = index.len();
        index[at % len] ^= by;
    }
    let limits = Limits { file: 64 << 20, memory: MOST, window: WINDOW, ..Limits::default() };
    let index = Index::parse(index.into(), &limits)?;
    Archive::with_index(index, Arc::new(Bytes::copy_from_slice(data)), limits)
}

/// A part of so many bytes.
fn part(start: u8, len: u8, size: u64) -> Range<u64> {
    let start = u64::from(start).min(size);
    start..(start + u64::from(len)).min(size)
}

/// All bytes of a part, which are held to be no more than it has.
async fn stream(archive: &Archive, range: Range<u64>) -> Result<Bytes> {
    let path = archive.entries().next().expect("it has a file").path.to_owned();
    let limit = range.end - range.start;
    if limit > MOST {
        return Err(Error::limit("the part, in bytes,", MOST, limit));
    }
    Ok(archive.read_range(&path, range).await?.bytes(limit).await?)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers starts").block_on(future)
}

/// Bytes of content that are compared at most.
const MOST: u64 = 1 << 20;

/// Bytes that a decoder looks back at most; levels up to 3 want 2 MiB.
const WINDOW: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn frames_hold(
            head in prop::collection::vec(any::<u8>(), 12),
            content in prop::collection::vec(0u8..4, 0..600),
            is_frame in any::<bool>(),
        ) {
            let rest = if is_frame { compress(&content, 3) } else { content };
            frames(&[head, rest].concat());
        }

        #[test]
        fn chunks_hold(
            head in prop::collection::vec(any::<u8>(), 12),
            content in prop::collection::vec(0u8..8, 0..900),
        ) {
            chunks(&[head, content].concat());
        }
    }
}
