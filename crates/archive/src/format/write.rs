//! Writing an index, so that equal content gives equal bytes.

use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use flatbuffers::TableFinishedWIPOffset;
use flatbuffers::VOffsetT;
use flatbuffers::WIPOffset;
use sha2::Digest as _;
use sha2::Sha256;

use super::Codec;
use super::Directory;
use super::Entry;
use super::Index;
use super::Symlink;
use crate::error::Error;
use crate::error::Result;
use crate::limits::Limits;

/// Writes the index of an archive, with everything in the order given: sorted by path, if it is to be found.
///
/// The bytes are those that version 1 of the format in Go writes, when there are neither chunks nor symbolic
/// links nor directories. An empty `data_hash` is left out.
///
/// # Errors
/// `Limit` when the index might be larger than 2 GiB, which references cannot span.
pub fn write_index<'a>(
    entries: impl DoubleEndedIterator<Item = Entry<'a>> + Clone,
    symlinks: impl DoubleEndedIterator<Item = Symlink<'a>> + Clone,
    directories: impl DoubleEndedIterator<Item = Directory<'a>> + Clone,
    data_size: u64,
    data_hash: &[u8],
) -> Result<Bytes> {
    // A builder that grows copies everything it has and holds it twice meanwhile.
    let entry_size = |entry: Entry<'_>| {
        let chunks = entry.chunks.map_or(0, |chunks| chunks.stored.len() + chunks.hashes.len() + 20);
        entry.path.len() + 120 + chunks
    };
    let size = entries.clone().map(entry_size).sum::<usize>()
        + symlinks.clone().map(|link| link.path.len() + link.target.len() + 60).sum::<usize>()
        + directories.clone().map(|dir| dir.path.len() + 60).sum::<usize>();
    if size > LARGEST {
        return Err(Error::limit("the index, in bytes,", LARGEST as u64, size as u64));
    }
    let mut builder = FlatBufferBuilder::with_capacity(size + 256);

    // From last to first, each table behind its strings and vectors: the order in which Go writes them.
    let entries: Vec<_> = entries.rev().map(|entry| write_entry(&mut builder, &entry)).collect();
    let symlinks: Vec<_> = symlinks.rev().map(|link| write_symlink(&mut builder, &link)).collect();
    let directories: Vec<_> = directories.rev().map(|dir| write_directory(&mut builder, &dir)).collect();
    let entries = builder.create_vector_from_iter(entries.into_iter().rev());
    let symlinks = (!symlinks.is_empty()).then(|| builder.create_vector_from_iter(symlinks.into_iter().rev()));
    let directories = (!directories.is_empty()).then(|| builder.create_vector_from_iter(directories.into_iter().rev()));
    let data_hash = (!data_hash.is_empty()).then(|| builder.create_vector(data_hash));

    let table = builder.start_table();
    builder.push_slot(slot(0), 1u32, 1);
    builder.push_slot(slot(1), 0i8, 0);
    builder.push_slot_always(slot(2), entries);
    builder.push_slot(slot(3), data_size, 0);
    if let Some(data_hash) = data_hash {
        builder.push_slot_always(slot(4), data_hash);
    }
    if let Some(symlinks) = symlinks {
        builder.push_slot_always(slot(5), symlinks);
    }
    if let Some(directories) = directories {
        builder.push_slot_always(slot(6), directories);
    }
    let root = builder.end_table(table);
    builder.finish_minimal(root);
    let (bytes, start) = builder.collapse();
    Ok(Bytes::from(bytes).slice(start..))
}

impl Index {
    /// The index of an archive that has nothing.
    pub fn empty() -> Self {
        let bytes = write_index([].into_iter(), [].into_iter(), [].into_iter(), 0, &Sha256::digest(b""));
        let index = bytes.and_then(|bytes| Self::parse(bytes, &Limits::default()));
        index.expect("what is written of nothing is well-formed")
    }
}

type Written = WIPOffset<TableFinishedWIPOffset>;

fn write_entry(builder: &mut FlatBufferBuilder<'_>, entry: &Entry<'_>) -> Written {
    let path = builder.create_string(entry.path);
    let hash = builder.create_vector(entry.hash.as_slice());
    let chunks = entry.chunks.map(|chunks| {
        let (stored, _) = chunks.stored.as_chunks::<4>();
        let stored = builder.create_vector_from_iter(stored.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        (chunks.size, stored, builder.create_vector(chunks.hashes))
    });
    let table = builder.start_table();
    builder.push_slot_always(slot(0), path);
    builder.push_slot(slot(1), entry.data_offset, 0);
    builder.push_slot(slot(2), entry.data_size, 0);
    builder.push_slot(slot(3), entry.original_size, 0);
    builder.push_slot_always(slot(4), hash);
    builder.push_slot(slot(5), entry.mode, 0);
    builder.push_slot(slot(6), entry.uid, 0);
    builder.push_slot(slot(7), entry.gid, 0);
    builder.push_slot(slot(8), entry.mtime_ns, 0);
    builder.push_slot(slot(9), i8::from(entry.codec == Codec::Zstd), 0);
    if let Some((size, stored, hashes)) = chunks {
        builder.push_slot(slot(10), size, 0);
        builder.push_slot_always(slot(11), stored);
        builder.push_slot_always(slot(12), hashes);
    }
    let table = builder.end_table(table);
    WIPOffset::new(table.value())
}

fn write_symlink(builder: &mut FlatBufferBuilder<'_>, link: &Symlink<'_>) -> Written {
    let path = builder.create_string(link.path);
    let target = builder.create_string(link.target);
    let table = builder.start_table();
    builder.push_slot_always(slot(0), path);
    builder.push_slot_always(slot(1), target);
    builder.push_slot(slot(2), link.uid, 0);
    builder.push_slot(slot(3), link.gid, 0);
    builder.push_slot(slot(4), link.mtime_ns, 0);
    let table = builder.end_table(table);
    WIPOffset::new(table.value())
}

fn write_directory(builder: &mut FlatBufferBuilder<'_>, directory: &Directory<'_>) -> Written {
    let path = builder.create_string(directory.path);
    let table = builder.start_table();
    builder.push_slot_always(slot(0), path);
    builder.push_slot(slot(1), directory.mode, 0);
    builder.push_slot(slot(2), directory.uid, 0);
    builder.push_slot(slot(3), directory.gid, 0);
    builder.push_slot(slot(4), directory.mtime_ns, 0);
    let table = builder.end_table(table);
    WIPOffset::new(table.value())
}

/// Bytes of an index that references, of 31 bits, can span with some to spare.
const LARGEST: usize = (1 << 31) - 4096;

/// Where a vtable has the position of a field: behind its own length and that of the table.
fn slot(number: VOffsetT) -> VOffsetT {
    4 + 2 * number
}
