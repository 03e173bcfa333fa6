//! Looking whether a directory is what an archive holds already, which takes no packing.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use super::BuildOptions;
use super::Compression;
use super::Summary;
use super::hash::hash_all;
use super::pack::CHUNKED;
use super::pack::Packer;
use super::pack::chunk_size;
use super::tree::Node;
use super::tree::Tree;
use super::walk;
use crate::beneath::Root;
use crate::error::Result;
use crate::format::Codec;
use crate::format::Entry;
use crate::format::Index;
use crate::progress::Progress;

/// A directory that an archive holds already, as [`unchanged`] found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unchanged {
    /// What is in the archive, and what of the directory is not.
    pub summary: Summary,
    /// The newest time of modification in the tree, in nanoseconds since the epoch; none of an empty tree.
    pub newest_ns: Option<i64>,
}

/// Tells whether an archive of a directory would have the contents of another archive. Blocks.
///
/// Names, sizes, modes, owners and times are compared first, as the options have them, and then the hashes of all files:
/// a directory that is not the same is mostly told by the walk alone. Each file is read once, and nothing is kept. By which level,
/// and by which [`Skip`](super::Skip), contents are compressed does not count, only whether they are.
///
/// `progress` is called from several threads, about once for each MiB.
///
/// # Errors
/// As [`build`](super::build).
pub fn unchanged(
    dir: &Path,
    options: &BuildOptions,
    index: &Index,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Option<Unchanged>> {
    let root = Root::open(dir)?;
    let tree = walk::walk(&root, options)?;
    if !is_alike(&tree, options, index) || !is_compressed_alike(&root, &tree, options, index)? {
        return Ok(None);
    }
    let differs = AtomicBool::new(false);
    hash_all(&root, &tree.files, options, progress, &|at, hash| {
        let is_same = hash == *index.entry(at).hash;
        differs.fetch_or(!is_same, Ordering::Relaxed);
        is_same
    })?;
    if differs.into_inner() {
        return Ok(None);
    }
    let newest_ns = tree.newest_ns();
    let mut summary = Summary::of(index);
    summary.omitted = tree.omitted;
    summary.excluded = tree.excluded;
    Ok(Some(Unchanged { summary, newest_ns }))
}

/// Tells whether all but the contents is the same.
fn is_alike(tree: &Tree, options: &BuildOptions, index: &Index) -> bool {
    let symlinks = index.symlinks().zip(&tree.symlinks).all(|(link, (node, target))| {
        let owner = (link.uid, link.gid) == (node.uid, node.gid);
        link.path == &*node.path && link.target == &**target && owner && link.mtime_ns == node.mtime_ns
    });
    let directories = index.directories().zip(&tree.directories).all(|(directory, node)| {
        let owner = (directory.uid, directory.gid) == (node.uid, node.gid);
        directory.path == &*node.path && directory.mode == node.mode && owner && directory.mtime_ns == node.mtime_ns
    });
    index.len() == tree.files.len()
        && index.symlinks().len() == tree.symlinks.len()
        && index.directories().len() == tree.directories.len()
        && symlinks
        && directories
        && index.entries().zip(&tree.files).all(|(entry, node)| is_file_alike(&entry, node, options))
}

/// Tells whether something is compressed if that is wanted, and worth it.
///
/// A file that is stored as it is may be one that compressing did not make smaller. Where all are, the smallest files, which
/// are the likely ones, are tried once more.
fn is_compressed_alike(root: &Root, tree: &Tree, options: &BuildOptions, index: &Index) -> Result<bool> {
    if options.compression == Compression::None || index.entries().any(|entry| entry.codec == Codec::Zstd) {
        return Ok(true);
    }
    if tree.files.iter().any(|node| node.size == 0) {
        // An empty file has the codec that was wanted when it was packed.
        return Ok(false);
    }
    let mut files: Vec<_> = tree.files.iter().filter(|node| !options.skip.applies(&node.path, node.size)).collect();
    files.sort_unstable_by_key(|node| node.size);
    let (mut packer, mut tried) = (Packer::new(Some(root), options), 0);
    for node in files {
        if tried >= TRIED {
            break;
        }
        if packer.codec(node)? == Codec::Zstd {
            return Ok(false);
        }
        tried += node.size;
    }
    Ok(true)
}

/// Bytes of files that are compressed to see whether that is worth it.
const TRIED: u64 = 4 << 20;

fn is_file_alike(entry: &Entry<'_>, node: &Node, options: &BuildOptions) -> bool {
    let chunk = (options.extensions && node.size > CHUNKED).then(|| chunk_size(node.size));
    entry.path == &*node.path
        && (entry.original_size, entry.mode, entry.mtime_ns) == (node.size, node.mode, node.mtime_ns)
        && (entry.uid, entry.gid) == (node.uid, node.gid)
        && entry.chunks.map(|chunks| u64::from(chunks.size())) == chunk
        && (entry.codec == Codec::None || options.compression != Compression::None)
}
