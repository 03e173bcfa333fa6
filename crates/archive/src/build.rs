//! Building an archive: of a directory, of a tar archive, or of entries that the caller gives.
//!
//! A walk or a stream finds out what there is; one pipeline packs the contents.

mod amend;
mod assemble;
mod built;
mod catalog;
mod entries;
mod feed;
mod hash;
mod ignored;
mod options;
mod pack;
mod pipeline;
mod scan;
mod tar;
mod tree;
mod unchanged;
mod walk;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use sha2::Digest as _;

use crate::beneath::Root;
use crate::error::Error;
use crate::error::Result;
use crate::format::Chunks;
use crate::format::Directory;
use crate::format::Entry;
use crate::format::Index;
use crate::format::Symlink;
use crate::format::write_index;
use crate::progress::Progress;

use assemble::Ledger;
use assemble::Packed;
use assemble::Stored;
use feed::Listed;
use feed::Stream;
use feed::Streamed;
use tree::Tree;

pub use amend::Addition;
pub use amend::amend;
pub use built::Built;
pub use entries::BuildEntry;
pub use entries::EntryKind;
pub use options::BuildOptions;
pub use options::Changes;
pub use options::Compression;
pub use options::Skip;
pub use scan::scan;
pub use unchanged::Unchanged;
pub use unchanged::unchanged;

/// Something that an archive does not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Devices.
    Device,
    /// Directories, without [`BuildOptions::extensions`]; they come back if a file lies in them.
    Directory,
    /// Named pipes.
    Fifo,
    /// That several names are one file: each becomes a file, the content is stored once.
    HardLink,
    /// Names that are not UTF-8, and all below them; links to such names.
    NonUtf8,
    /// Sockets.
    Socket,
    /// The bits setuid, setgid and sticky of files and directories that are carried otherwise.
    SpecialBits,
    /// Symbolic links, without [`BuildOptions::extensions`].
    Symlink,
}

impl Reason {
    /// What one of these things is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Directory => "directory",
            Self::Fifo => "named pipe",
            Self::HardLink => "hard link",
            Self::NonUtf8 => "name that is not UTF-8",
            Self::Socket => "socket",
            Self::SpecialBits => "setuid, setgid or sticky bit",
            Self::Symlink => "symbolic link",
        }
    }
}

/// How many things of a kind were not carried, and which for example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// How many.
    pub count: u64,
    /// The paths of the first five that were met.
    pub examples: Vec<String>,
}

impl Omitted {
    fn add(&mut self, path: &str) {
        self.count += 1;
        if self.examples.len() < 5 {
            self.examples.push(path.to_owned());
        }
    }
}

/// What went into an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Regular files.
    pub files: u64,
    /// Directories that are recorded.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of content.
    pub original_size: u64,
    /// Bytes of the data blob.
    pub stored_size: u64,
    /// Files whose content was there already, under another path.
    pub duplicates: u64,
    /// Bytes of content of those.
    pub duplicate_size: u64,
    /// Files, links and directories that patterns and files of the name `.skepignore` left out. What lies in a
    /// directory that was left out was not looked at and does not count, except in streams.
    pub excluded: u64,
    /// What is not in the archive because it cannot be.
    pub omitted: BTreeMap<Reason, Omitted>,
}

impl Summary {
    /// What an index knows of it.
    fn of(index: &Index) -> Self {
        Self {
            files: index.len() as u64,
            directories: index.directories().len() as u64,
            symlinks: index.symlinks().len() as u64,
            original_size: index.entries().map(|entry| entry.original_size).sum(),
            stored_size: index.data_size(),
            ..Self::default()
        }
    }
}

/// Builds the archive of a directory; the same tree and options give the same bytes. Blocks.
///
/// The directory itself is not in the archive, only what is in it. Symbolic links are recorded and not
/// followed, but for those that lead to `dir`. Every file is read once.
///
/// `progress` is called from one thread, about once for each MiB.
///
/// # Errors
/// `Changed` for a file that changes meanwhile, see [`Changes`]; `Io` for what cannot be read; `InvalidPattern`
/// in a file of the name `.skepignore`; `TooManyFiles`, `Limit`; `InvalidPath` for a path above the limits;
/// `Cancelled`.
pub fn build(dir: &Path, options: &BuildOptions, progress: &(dyn Fn(Progress) + Sync)) -> Result<Built> {
    let root = Root::open(dir)?;
    let tree = walk::walk(&root, options)?;
    let (files, bytes) = (tree.files.len() as u64, tree.size());
    let total = Progress { files_total: files, bytes_total: bytes, ..Progress::default() };
    let packed = pack(&mut Listed::new(&tree.files), Some(&root), options, Ledger::default(), total, progress)?;
    finish(&tree, packed, options)
}

/// Builds an archive of what is in a tar archive, plain or compressed by gzip or zstd. Blocks.
///
/// It is read once, from the beginning to the end, in bounded memory. POSIX and GNU archives are read, with long
/// names and extended headers. A hard link becomes a file, whose content is stored once; of several entries with
/// one path the last counts. Devices, pipes and names that are not UTF-8 are counted as omitted, as those of a
/// directory are. [`BuildOptions::ignore_files`] and [`BuildOptions::changes`] have no meaning here.
///
/// The index is sorted; contents stand in the order in which they came. So archives of the same files in another
/// order have other digests.
///
/// `progress` is called as for [`build`]; totals are not known before the end.
///
/// # Errors
/// `InvalidTar`, also when it is cut off; `InvalidEntry` for absolute paths, paths with `..`, a hard link to what
/// did not come before or was left out, and what lies in something that is no directory; `Io` when it cannot be
/// read or decompressed; otherwise as [`build`]. A read that blocks is waited for, also when the word to stop is
/// given.
pub fn build_tar(
    input: impl Read + Send,
    options: &BuildOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Built> {
    build_stream(tar::Tar::new(input, &options.limits)?, options, progress)
}

/// Builds an archive of entries that come in any order. Blocks.
///
/// Each is taken when the contents before it have been read; contents stand in the order in which they came. An
/// error in place of an entry ends the work. [`BuildOptions::ignore_files`] and [`BuildOptions::changes`] have no
/// meaning here.
///
/// `progress` is called as for [`build`]; totals are not known before the end.
///
/// # Errors
/// `InvalidEntry` for a path that comes twice, and for what lies in something that is no directory; `SizeMismatch` for
/// a content that has not the size that was stated; `Io` for one that cannot be read; otherwise as [`build`].
pub fn build_entries<'a>(
    entries: impl IntoIterator<Item = Result<BuildEntry<'a>>, IntoIter: Send>,
    options: &BuildOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Built> {
    build_stream(entries::Entries::new(entries.into_iter()), options, progress)
}

fn build_stream(stream: impl Stream, options: &BuildOptions, progress: &(dyn Fn(Progress) + Sync)) -> Result<Built> {
    let mut feed = Streamed::new(stream, options);
    let packed = pack(&mut feed, None, options, Ledger::default(), Progress::default(), progress)?;
    let (tree, packed) = feed.into_catalog().finish(packed);
    finish(&tree, packed, options)
}

fn pack<'a>(
    feed: &mut impl feed::Feed<'a>,
    root: Option<&Root>,
    options: &BuildOptions,
    ledger: Ledger,
    total: Progress,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Packed> {
    let spool = temporary(options)?;
    pipeline::pack(feed, root, options, (spool, &options.temporary_place()), ledger, total, progress)
}

/// A file without a name.
fn temporary(options: &BuildOptions) -> Result<File> {
    let place = options.temporary_place();
    tempfile::tempfile_in(&place).map_err(|source| Error::Io { what: "make a temporary file in", path: place, source })
}

fn finish(tree: &Tree, packed: Packed, options: &BuildOptions) -> Result<Built> {
    let summary = Summary {
        files: tree.files.len() as u64,
        directories: tree.directories.len() as u64,
        symlinks: tree.symlinks.len() as u64,
        original_size: tree.size(),
        stored_size: packed.size,
        duplicates: packed.duplicates,
        duplicate_size: packed.duplicate_size,
        excluded: tree.excluded,
        omitted: tree.omitted.clone(),
    };
    let index = index_of(tree, &packed.stored, packed.size, &packed.hasher.clone().finalize())?;
    let limit = options.limits.index;
    if index.len() as u64 > limit {
        return Err(Error::limit("the index, in bytes,", limit, index.len() as u64));
    }
    Built::new(index, packed, summary, tree.newest_ns())
}

/// The index of what is in a tree and how that is stored, in data of a size and a hash, if it has one.
fn index_of(tree: &Tree, stored: &[Stored], data_size: u64, data_hash: &[u8]) -> Result<Bytes> {
    let entries = tree.files.iter().zip(stored).map(|(node, stored)| Entry {
        path: &node.path,
        data_offset: stored.offset,
        data_size: stored.size,
        original_size: node.size,
        hash: &stored.hash,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        mtime_ns: node.mtime_ns,
        codec: stored.codec,
        chunks: stored.table.as_deref().map(|table| Chunks::new(table.chunk_size, &table.stored, &table.hashes)),
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
    write_index(entries, symlinks, directories, data_size, data_hash)
}
