//! Scanning: the index that a directory would have, without an archive.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::BuildOptions;
use super::assemble::Stored;
use super::hash::hash_all;
use super::index_of;
use super::walk;
use crate::beneath::Root;
use crate::error::Result;
use crate::format::Codec;
use crate::format::HASH;
use crate::format::Index;

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
    let mut end = 0;
    let stored = tree.files.iter().zip(hashes).map(|(node, hash)| {
        let offset = end;
        end += node.size;
        Stored { offset, size: node.size, hash, codec: Codec::None, table: None, is_before: false }
    });
    let stored: Vec<_> = stored.collect();
    Index::parse(index_of(&tree, &stored, end, &[])?, &options.limits)
}
