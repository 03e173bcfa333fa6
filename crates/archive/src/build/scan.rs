//! Scanning: the index that a directory would have, without an archive.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use sha2::Digest as _;
use sha2::Sha256;

use super::BuildOptions;
use super::Compression;
use super::pack::Packer;
use super::walk;
use super::walk::Node;
use crate::beneath::Root;
use crate::error::Error;
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
    let hashes = hash_all(&root, &tree.files, options)?;
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
    Index::parse(write_index(entries, symlinks, directories, tree.size, &[])?, &options.limits)
}

/// The hashes of all files, in their order.
fn hash_all(root: &Root, files: &[Node], options: &BuildOptions) -> Result<Vec<[u8; HASH]>> {
    let workers = match options.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut packer, mut piece) = (Packer::new(root, Compression::None), vec![0; PIECE]);
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(node) = files.get(at) else { return Ok(done) };
            match options.cancel.check().and_then(|()| hash(&mut packer, root, node, &mut piece)) {
                Ok(hash) => done.push((at, hash)),
                Err(error) => {
                    // The others need not go on.
                    next.store(files.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let mut hashes = vec![[0; HASH]; files.len()];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let done: Result<Vec<_>> = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done?.into_iter().for_each(|(at, hash)| hashes[at] = hash);
        }
        Ok(hashes)
    })
}

fn hash(packer: &mut Packer, root: &Root, node: &Node, piece: &mut [u8]) -> Result<[u8; HASH]> {
    let mut file = File::from(packer.open(node)?);
    let (mut hasher, mut came) = (Sha256::new(), 0);
    // A file that grows meanwhile must not be read for ever.
    while came <= node.size {
        match file.read(piece) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&piece[..read]);
                came += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Io { what: "read", path: root.path(&node.path), source }),
        }
    }
    if came != node.size {
        let why = format!("expected {} bytes, got {came}{}", node.size, if came > node.size { " or more" } else { "" });
        return Err(Error::Changed { path: root.path(&node.path), why });
    }
    Ok(hasher.finalize().into())
}

/// Bytes of a file that are read at once.
const PIECE: usize = 256 << 10;
