//! What an index must keep before anything is believed of it.

use bytes::Bytes;

use super::Chunks;
use super::Codec;
use super::Entry;
use super::HASH;
use super::Index;
use super::List;
use super::read_directory;
use super::read_entry;
use super::read_symlink;
use crate::error::Error;
use crate::error::Result;
use crate::flat::Table;
use crate::flat::follow;
use crate::limits::Limits;
use crate::path;

pub(super) fn parse(bytes: Bytes, limits: &Limits) -> Result<Index> {
    let size = bytes.len() as u64;
    // References have 32 bits, signed in vtables.
    let largest = limits.index.min(i32::MAX as u64);
    if size > largest {
        return Err(Error::limit("the index, in bytes,", largest, size));
    }
    let malformed = |_| malformed_part("the root");
    let root = Table::root(&bytes).map_err(malformed)?;
    let version = root.u32(0, 1).map_err(malformed)?;
    if version != 1 {
        return Err(Error::index(format!("version {version}, only 1 is known")));
    }
    let algorithm = root.u8(1).map_err(malformed)?;
    if algorithm != 0 {
        return Err(Error::index(format!("hash algorithm {algorithm}, only 0 (SHA-256) is known")));
    }
    let data_size = root.u64(3).map_err(malformed)?;
    let data_hash = match root.vector(4, 1).map_err(malformed)? {
        None | Some([]) => None,
        Some(hash) => {
            Some(hash.try_into().map_err(|_| Error::index(format!("the data hash has {} bytes, not 32", hash.len())))?)
        }
    };
    let list = |slot| root.tables(slot).map_err(malformed);
    let entries = list(2)?.ok_or_else(|| Error::index("it has no entries"))?;
    let entries = entry_list(&bytes, entries, data_size, limits)?;
    let symlinks = symlink_list(&bytes, list(5)?.unwrap_or_default(), limits)?;
    let directories = directory_list(&bytes, list(6)?.unwrap_or_default(), limits)?;
    let index = Index { entries, symlinks, directories, data_size, data_hash, bytes: bytes.clone() };
    check_paths(&index)?;
    check_ranges(&index)?;
    Ok(index)
}

fn entry_list(bytes: &[u8], list: (usize, usize), data_size: u64, limits: &Limits) -> Result<List> {
    sorted(bytes, list, limits, "entry", |at, number| {
        let entry = read_entry(bytes, at).map_err(|_| explain_entry(bytes, at, number))?;
        check_path(entry.path, limits)?;
        check_entry(&entry, data_size, limits)?;
        Ok(entry.path)
    })
}

/// Finds words for an entry that could not be read.
fn explain_entry(bytes: &[u8], at: usize, number: usize) -> Error {
    let explain = || {
        let table = Table::at(bytes, at).ok()?;
        let path = table.str(0).ok()??;
        let codec = table.u8(9).ok()?;
        if codec > 1 {
            return Some(Error::index(format!("{path}: compression {codec}, only 0 (none) and 1 (zstd) are known")));
        }
        let hash = table.vector(4, 1).ok()??;
        (hash.len() != HASH).then(|| Error::index(format!("{path}: the hash has {} bytes, not 32", hash.len())))
    };
    explain().unwrap_or_else(|| malformed_item("entry", number))
}

fn malformed_item(what: &str, number: usize) -> Error {
    malformed_part(&format!("{what} {number}"))
}

fn malformed_part(what: &str) -> Error {
    Error::index(format!("{what} is not well-formed FlatBuffers of this format"))
}

fn check_path(path: &str, limits: &Limits) -> Result<()> {
    path::check(path, limits).map_err(|why| Error::index(format!("path {path:?}: {why}")))
}

fn check_entry(entry: &Entry<'_>, data_size: u64, limits: &Limits) -> Result<()> {
    let wrong = |why: String| Err(Error::index(format!("{}: {why}", entry.path)));
    if entry.original_size > limits.file {
        return Err(Error::limit(format!("{}, in bytes,", entry.path), limits.file, entry.original_size));
    }
    if entry.data_offset.checked_add(entry.data_size).is_none_or(|end| end > data_size) {
        let (offset, size) = (entry.data_offset, entry.data_size);
        return wrong(format!("{size} bytes at {offset} lie outside of the data, which has {data_size}"));
    }
    if entry.codec == Codec::None && entry.data_size != entry.original_size {
        return wrong(format!("{} bytes are stored as {} without compression", entry.original_size, entry.data_size));
    }
    if entry.codec == Codec::Zstd && entry.original_size > most_in(entry.data_size) {
        let (original, stored) = (entry.original_size, entry.data_size);
        return wrong(format!("{original} bytes cannot be compressed into {stored}"));
    }
    match &entry.chunks {
        Some(chunks) => check_chunks(entry, chunks),
        None => Ok(()),
    }
}

/// The most content that stored bytes can be; a bomb that claims more is not worth a request.
fn most_in(stored: u64) -> u64 {
    // RFC 8878, 3.1.1.2: a block has at most 128 KiB of content, and at least a header of 3 bytes and one more.
    (stored / 4).saturating_mul(128 << 10)
}

fn check_chunks(entry: &Entry<'_>, chunks: &Chunks<'_>) -> Result<()> {
    let wrong = |why: &str| Err(Error::index(format!("{}: {why}", entry.path)));
    if chunks.size == 0 {
        return wrong("it has a chunk table without a chunk size");
    }
    let count = entry.original_size.div_ceil(u64::from(chunks.size));
    if count == 0 {
        return wrong("it is empty and has a chunk table");
    }
    if chunks.stored.len() as u64 / 4 != count || Some(chunks.hashes.len() as u64) != count.checked_mul(HASH as u64) {
        return wrong("the chunk table does not have an item for each chunk");
    }
    let (mut stored, mut left) = (0, entry.original_size);
    for (size, _) in chunks.iter() {
        let original = left.min(u64::from(chunks.size));
        if entry.codec == Codec::None && u64::from(size) != original {
            return wrong("a chunk is stored with another size without compression");
        }
        stored += u64::from(size);
        left -= original;
    }
    if stored != entry.data_size {
        return wrong("the stored sizes of its chunks do not add up");
    }
    Ok(())
}

fn symlink_list(bytes: &[u8], list: (usize, usize), limits: &Limits) -> Result<List> {
    sorted(bytes, list, limits, "symlink", |at, number| {
        let link = read_symlink(bytes, at).map_err(|_| malformed_item("symlink", number))?;
        check_path(link.path, limits)?;
        if link.target.is_empty() || link.target.contains('\0') || link.target.len() as u64 > limits.path {
            return Err(Error::index(format!("{}: its target is empty, too long, or has a NUL byte", link.path)));
        }
        Ok(link.path)
    })
}

fn directory_list(bytes: &[u8], list: (usize, usize), limits: &Limits) -> Result<List> {
    sorted(bytes, list, limits, "directory", |at, number| {
        let directory = read_directory(bytes, at).map_err(|_| malformed_item("directory", number))?;
        check_path(directory.path, limits)?;
        Ok(directory.path)
    })
}

/// Reads every table of a list by a function that gives its path, and puts them in order.
fn sorted<'a>(
    bytes: &'a [u8],
    (start, len): (usize, usize),
    limits: &Limits,
    what: &str,
    read: impl Fn(usize, usize) -> Result<&'a str>,
) -> Result<List> {
    if len as u64 > limits.entries {
        return Err(Error::TooManyFiles { limit: limits.entries });
    }
    let mut last = "";
    let mut is_sorted = true;
    for number in 0..len {
        let at = follow(bytes, start + 4 * number).map_err(|_| malformed_item(what, number))?;
        let path = read(at, number)?;
        is_sorted &= last <= path;
        last = path;
    }
    let mut list = List::new(start, len);
    // Go walks directories: `a/x` comes before `a-b` and `a.txt`. Searching that as if it were sorted
    // finds half of the files.
    if !is_sorted {
        let mut order: Box<[u32]> = (0..u32::try_from(len).expect("a list fits in 2 GiB")).collect();
        order.sort_by_key(|&at| list.path(bytes, at as usize));
        list.order = Some(order);
    }
    Ok(list)
}

/// No path occurs twice, and nothing lies below a file or a symbolic link.
fn check_paths(index: &Index) -> Result<()> {
    let lists = [&index.entries, &index.symlinks, &index.directories];
    let mut next = [0; 3];
    let mut last: &[u8] = b"";
    loop {
        let heads = lists.iter().zip(next).enumerate().filter(|(_, (list, next))| *next < list.len);
        let heads = heads.map(|(which, (list, next))| (list.path(&index.bytes, next), which));
        let Some((path, which)) = heads.min() else { return Ok(()) };
        next[which] += 1;
        if path == last {
            return Err(Error::index(format!("{} occurs twice", String::from_utf8_lossy(path))));
        }
        // Directories that this path shares with the last one were looked at then.
        let shared = last.iter().zip(path).take_while(|(a, b)| a == b).count();
        for (slash, _) in path.iter().enumerate().skip(shared).filter(|(_, byte)| **byte == b'/') {
            let parent = &path[..slash];
            if index.entries.find(&index.bytes, parent).is_some() || index.symlinks.find(&index.bytes, parent).is_some()
            {
                let (parent, path) = (String::from_utf8_lossy(parent), String::from_utf8_lossy(path));
                return Err(Error::index(format!("{parent} is no directory, and {path} lies in it")));
            }
        }
        last = path;
    }
}

/// Stored ranges are apart, or the same range with the same content.
fn check_ranges(index: &Index) -> Result<()> {
    let mut ranges: Vec<(u64, u32)> = Vec::with_capacity(index.len());
    for (at, entry) in index.entries().enumerate().filter(|(_, entry)| entry.data_size > 0) {
        ranges.push((entry.data_offset, u32::try_from(at).expect("a list fits in 2 GiB")));
    }
    // Stable: it takes advantage of runs that are sorted already, usually all of it.
    ranges.sort_by_key(|(offset, _)| *offset);
    let mut last: Option<Entry<'_>> = None;
    for (offset, at) in ranges {
        let entry = index.entry(at as usize);
        match last {
            Some(last) if offset < last.data().end => {
                let same = Entry { path: last.path, mode: last.mode, mtime_ns: last.mtime_ns, ..entry };
                if (Entry { uid: last.uid, gid: last.gid, ..same }) != last {
                    return Err(Error::index(format!("the data of {} and {} overlap", last.path, entry.path)));
                }
            }
            _ => last = Some(entry),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_are_refused_without_a_panic() {
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            assert!(Index::parse(bytes.into(), &Limits::default()).is_err());
        }
    }
}
