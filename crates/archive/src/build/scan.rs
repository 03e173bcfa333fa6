//! Scanning: the index that a directory would have, without an archive.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::BuildOptions;
use super::hash::hash_all;
use super::walk;
use crate::beneath::Root;
use crate::error::Result;
use crate::format::Codec;
use crate::format::Directory;
use crate::format::Entry;
use crate::format::HASH;
use crate::format::Index;
use crate::format::Symlink;
use crate::format::write_index;

/// Reads a directory as [`build`](super::build) does, and keeps only what an index says of it. Blocks.
///
/// Every file is read once, by as many threads as the options say, each with 256 KiB of it in memory; nothing is
/// written. The index is that of an archive that stores contents as they are; it is there to be compared, see
/// [`diff`](crate::diff()).
///
/// # Errors
/// As [`build`](super::build).
pub fn scan(dir: &Path, options: &BuildOptions) -> Result<Index> {
    let root = Root::open(dir)?;
    let tree = walk::walk(&root, options)?;
    let hashes = Mutex::new(vec![[0; HASH]; tree.files.len()]);
    hash_all(&root, &tree.files, options, &|_| {}, &|at, hash| {
        hashes.lock().unwrap_or_else(PoisonError::into_inner)[at] = hash;
        true
    })?;
    let hashes = hashes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let offsets = tree.files.iter().scan(0, |end, node| {
        let start = *end;
        *end += node.size;
        Some(start)
    });
    let offsets: Vec<u64> = offsets.collect();
    let entries = tree.files.iter().enumerate().map(|(at, node)| Entry {
        path: &node.path,
        data_offset: offsets[at],
        data_size: node.size,
        original_size: node.size,
        hash: &hashes[at],
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        mtime_ns: node.mtime_ns,
        codec: Codec::None,
        chunks: None,
    });
    let symlinks = tree.symlinks.iter().map(|(node, target)| Symlink {
        path: &node.path,
        target,
        uid: node.uid,
        gid: node.gid,
        mtime_ns: node.mtime_ns,
    });
    let directories = tree.directories.iter().map(|node| Directory {
        path: &node.path,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        mtime_ns: node.mtime_ns,
    });
    Index::parse(write_index(entries, symlinks, directories, tree.size(), &[])?, &options.limits)
}
