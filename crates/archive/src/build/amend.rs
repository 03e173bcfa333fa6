//! Amending: an archive that is another one with some paths added or replaced.
//!
//! What is new is packed first; then the data of the other archive is read through once, and what is still needed of it
//! is copied behind that as it is stored.

mod add;
mod carry;

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use super::BuildOptions;
use super::Built;
use super::assemble::ChunkTable;
use super::assemble::Ledger;
use super::assemble::Stored;
use super::entries::Entries;
use super::feed::Streamed;
use super::finish;
use super::pack;
use super::tree::Node;
use super::tree::Tree;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;
use crate::format::Index;
use crate::pattern::Patterns;
use crate::progress::Progress;

use add::Added;
use carry::carry;

pub use add::Addition;

/// Builds an archive that has what another one has, with some paths added or replaced. Blocks.
///
/// Entries that are not replaced keep their metadata, and their contents the bytes that are stored; contents that the
/// archive has already are not stored again, and those that nothing refers to any more are left out. A file or symbolic link
/// takes the place of a file or symbolic link, a directory only that of a directory, which keeps all else that is in it.
///
/// `data` is the data blob of the archive, from its start. It is read to its end, once, in blocks of 1 MiB, when all that
/// is new was packed, and held to the hash that the index has of it; not at all if nothing of it is needed.
///
/// [`BuildOptions::patterns`] and [`BuildOptions::ignore_files`] hold for what lies in directories that are added,
/// [`BuildOptions::changes`] has no meaning here. The summary counts what the new archive has; what was left out, not
/// carried or there already, of what was added.
///
/// `progress` is called as for [`build`](super::build), for contents that are packed and for data that is read.
///
/// # Errors
/// `InvalidEntry` for a path that is added twice, and for what does not fit to the archive: something in what is no
/// directory, a directory in place of something else, or the other way round; `InvalidIndex` for an index without a hash of
/// its data; `HashMismatch` and `SizeMismatch` for data that is not what the index says; otherwise as
/// [`build`](super::build).
pub fn amend<'a>(
    index: &Index,
    data: impl Read,
    additions: Vec<Addition<'a>>,
    options: &BuildOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Built> {
    let added = Added::find(additions, options)?;
    let before: Vec<Stored> = index.entries().map(Stored::before).collect();
    let entries = added.entries.into_iter().flatten().map(|entry| {
        let entry = entry?;
        add::check(index, &entry)?;
        Ok(entry)
    });
    // Patterns were relative to the directories that are added, and had their say.
    let given = BuildOptions { patterns: Patterns::default(), ..options.clone() };
    let mut feed = Streamed::new(Entries::new(entries), &given);
    let ledger = Ledger::of(before.iter().cloned());
    let packed = pack(&mut feed, None, &given, ledger, Progress::default(), progress)?;
    let (mut tree, mut packed) = feed.into_catalog().finish(packed);
    let done = Progress { files: tree.files.len() as u64, bytes: tree.size(), ..Progress::default() };
    tree.excluded += added.excluded;
    for (reason, omitted) in added.omitted {
        tree.omitted.entry(reason).or_default().merge(omitted);
    }
    keep(index, before, &mut tree, &mut packed.stored);
    let counts = [tree.files.len(), tree.symlinks.len(), tree.directories.len()];
    let limit = options.limits.entries;
    if counts.iter().any(|&count| count as u64 > limit) {
        return Err(Error::TooManyFiles { limit });
    }
    carry(index, data, &mut packed, options, &|bytes| {
        let (bytes, bytes_total) = (done.bytes + bytes, done.bytes + index.data_size());
        progress(Progress { files_total: done.files, bytes, bytes_total, ..done });
    })?;
    finish(&tree, packed, options)
}

/// Adds to what is new whatever of the archive it does not replace.
fn keep(index: &Index, before: Vec<Stored>, tree: &mut Tree, stored: &mut Vec<Stored>) {
    let files = tree.files.iter().map(|node| &node.path);
    let links = tree.symlinks.iter().map(|(node, _)| &node.path);
    let replaced: HashSet<Box<str>> =
        files.chain(links).chain(tree.directories.iter().map(|node| &node.path)).cloned().collect();
    let is_kept = |path: &str| !replaced.contains(path);
    let node = |path: &str, size, mtime_ns, mode, uid, gid| Node {
        path: path.into(),
        size,
        mtime_ns,
        mode,
        uid,
        gid,
        version: None,
    };

    // An empty file that was there stays where it was, so that what is added again changes nothing.
    for (node, stored) in tree.files.iter().zip(stored.iter_mut()).filter(|(node, _)| node.size == 0) {
        if let Some(at) = index.position(&node.path).filter(|&at| before[at].size == 0) {
            *stored = before[at].clone();
        }
    }
    let kept = index.entries().zip(before).filter(|(entry, _)| is_kept(entry.path)).map(|(entry, stored)| {
        let Entry { path, original_size, mtime_ns, mode, uid, gid, .. } = entry;
        (node(path, original_size, mtime_ns, mode, uid, gid), stored)
    });
    let new = std::mem::take(&mut tree.files).into_iter().zip(std::mem::take(stored));
    let mut files: Vec<_> = new.chain(kept).collect();
    files.sort_unstable_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    (tree.files, *stored) = files.into_iter().unzip();

    let kept = index.symlinks().filter(|link| is_kept(link.path));
    tree.symlinks.extend(
        kept.map(|link| (node(link.path, 0, link.mtime_ns, 0o777, link.uid, link.gid), Box::from(link.target))),
    );
    tree.symlinks.sort_unstable_by(|(a, _), (b, _)| a.path.cmp(&b.path));

    let kept = index.directories().filter(|directory| is_kept(directory.path));
    tree.directories.extend(kept.map(|kept| node(kept.path, 0, kept.mtime_ns, kept.mode, kept.uid, kept.gid)));
    tree.directories.sort_unstable_by(|a, b| a.path.cmp(&b.path));
}

impl Stored {
    /// How a file of the archive that is amended is stored there.
    fn before(entry: Entry<'_>) -> Self {
        let table = entry.chunks.map(|chunks| {
            let (mut stored, mut hashes) = (Vec::new(), Vec::new());
            for (size, hash) in chunks.iter() {
                stored.extend_from_slice(&size.to_le_bytes());
                hashes.extend_from_slice(hash);
            }
            Arc::new(ChunkTable { chunk_size: chunks.size(), stored, hashes })
        });
        Self {
            offset: entry.data_offset,
            size: entry.data_size,
            hash: *entry.hash,
            codec: entry.codec,
            table,
            is_before: true,
        }
    }
}
