//! Hashing the files of a directory by many threads, and keeping nothing of them.

use std::fs::File;
use std::io::ErrorKind;
use std::io::Read;
use std::panic;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use sha2::Digest as _;
use sha2::Sha256;

use super::BuildOptions;
use super::Compression;
use super::pack::Packer;
use super::tree::Node;
use crate::beneath::Root;
use crate::error::Error;
use crate::error::Result;
use crate::format::HASH;
use crate::progress::Progress;

/// Tells the hash of each file by its place in the list, in no order, until somebody has heard enough and says so by `false`.
///
/// Every file is read once, by as many threads as the options say, each with 256 KiB of it in memory.
pub(super) fn hash_all(
    root: &Root,
    files: &[Node],
    options: &BuildOptions,
    progress: &(dyn Fn(Progress) + Sync),
    tell: &(dyn Fn(usize, [u8; HASH]) -> bool + Sync),
) -> Result<()> {
    let workers = match options.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let packing = BuildOptions { compression: Compression::None, ..options.clone() };
    let (next, hashed) = (AtomicUsize::new(0), AtomicU64::new(0));
    let (files_total, bytes_total) = (files.len() as u64, files.iter().map(|node| node.size).sum());
    let work = || {
        let (mut packer, mut piece, mut unsaid) = (Packer::new(Some(root), &packing), vec![0; PIECE], 0);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(node) = files.get(at) else { return Ok(()) };
            let hashed = hash(&mut packer, root, node, &mut piece, &mut |read| {
                unsaid += read;
                if unsaid >= REPORT {
                    let bytes = hashed.fetch_add(unsaid, Ordering::Relaxed) + std::mem::take(&mut unsaid);
                    progress(Progress { files: at as u64, files_total, bytes, bytes_total });
                }
                options.cancel.check()
            });
            // The others need not go on behind an error either.
            if !hashed.as_ref().is_ok_and(|hash| tell(at, *hash)) {
                next.store(files.len(), Ordering::Relaxed);
                return hashed.map(|_| ());
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

fn hash(
    packer: &mut Packer<'_>,
    root: &Root,
    node: &Node,
    piece: &mut [u8],
    read: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<[u8; HASH]> {
    let mut file = File::from(packer.open(node)?);
    let (mut hasher, mut came) = (Sha256::new(), 0);
    // A file that grows meanwhile must not be read for ever.
    while came <= node.size {
        match file.read(piece) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&piece[..count]);
                came += count as u64;
                read(count as u64)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
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

/// Bytes after which a thread says how far it is.
const REPORT: u64 = 1 << 20;
