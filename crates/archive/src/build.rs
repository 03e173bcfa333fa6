//! Building an archive from a directory.

mod pack;
mod pipeline;
mod scan;
mod walk;

use std::collections::BTreeMap;
use std::fs::File;
use std::fs::Permissions;
use std::io::BufWriter;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use skep_registry::Body;
use skep_registry::Descriptor;
use tempfile::Builder;

use crate::beneath::Root;
use crate::error::Error;
use crate::error::Result;
use crate::format::Chunks;
use crate::format::DATA_TYPE;
use crate::format::Directory;
use crate::format::Entry;
use crate::format::INDEX_TYPE;
use crate::format::Symlink;
use crate::format::write_index;
use crate::limits::Limits;
use crate::progress::Cancel;
use crate::progress::Progress;
use crate::source::FileSource;

pub use scan::scan;

/// How to build an archive.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// How contents are stored. zstd of level 3 by default.
    pub compression: Compression,
    /// Record what version 1 of the format in Go has no place for: symbolic links, directories, chunks.
    ///
    /// Readers of that version see the regular files either way. On by default.
    pub extensions: bool,
    /// Threads that read and compress; 0 is one for each processor. The archive does not depend on it.
    ///
    /// Each has at most 8 MiB of content in memory, or twice a chunk when that is more: chunks are 1 MiB
    /// in files of up to 4 GiB, and 1/4096 of the file above.
    pub workers: usize,
    /// Where the data is kept until it is sent, in a file without a name. The system's place by default.
    pub spool_dir: Option<PathBuf>,
    /// What is refused because it could not be read back.
    pub limits: Limits,
    /// The word to stop.
    pub cancel: Cancel,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            extensions: true,
            workers: 0,
            spool_dir: None,
            limits: Limits::default(),
            cancel: Cancel::default(),
        }
    }
}

/// How contents are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Compressed, unless that does not save at least 1/16.
    Zstd {
        /// From -7, fast, to 22, small; 3 is usual.
        level: i32,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd { level: 3 }
    }
}

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
    fn add(&mut self, path: String) {
        self.count += 1;
        if self.examples.len() < 5 {
            self.examples.push(path);
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
    /// What is not in the archive.
    pub omitted: BTreeMap<Reason, Omitted>,
}

/// Builds the archive of a directory; the same tree and options give the same bytes. Blocks.
///
/// The directory itself is not in the archive, only what is in it. Symbolic links are recorded and not
/// followed, but for those that lead to `dir`. Every file is read once.
///
/// `progress` is called from one thread, about once for each MiB.
///
/// # Errors
/// `Changed` for a file that changes its size meanwhile; `Io` for what cannot be read; `TooManyFiles`,
/// `Limit`; `InvalidPath` for a path above the limits; `Cancelled`.
pub fn build(dir: &Path, options: &BuildOptions, progress: &(dyn Fn(Progress) + Sync)) -> Result<Built> {
    let root = Root::open(dir)?;
    let tree = walk::walk(&root, options)?;
    let spool = match &options.spool_dir {
        Some(dir) => tempfile::tempfile_in(dir),
        None => tempfile::tempfile(),
    };
    let place = || options.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
    let spool = spool.map_err(|source| Error::Io { what: "make a temporary file in", path: place(), source })?;
    let packed = pipeline::pack(&root, &tree, options, spool, &place(), progress)?;
    let summary = Summary {
        files: tree.files.len() as u64,
        directories: tree.directories.len() as u64,
        symlinks: tree.symlinks.len() as u64,
        original_size: tree.size,
        stored_size: packed.size,
        duplicates: packed.duplicates,
        duplicate_size: packed.duplicate_size,
        omitted: tree.omitted.clone(),
    };
    let index = index_of(&tree, &packed)?;
    let limit = options.limits.index;
    if index.len() as u64 > limit {
        return Err(Error::limit("the index, in bytes,", limit, index.len() as u64));
    }
    let data_digest = skep_registry::Digest::from_hash(skep_registry::Algorithm::Sha256, &packed.hash)?;
    Ok(Built {
        index_descriptor: Descriptor::of(INDEX_TYPE, &index),
        data_descriptor: Descriptor::new(DATA_TYPE, data_digest, packed.size),
        index,
        spool: Arc::new(packed.spool),
        summary,
        newest_ns: tree.newest_ns,
    })
}

fn index_of(tree: &walk::Tree, packed: &pipeline::Packed) -> Result<Bytes> {
    let entries = tree.files.iter().zip(&packed.stored).map(|(node, stored)| Entry {
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
    write_index(entries, symlinks, directories, packed.size, &packed.hash)
}

/// An archive that was built: the index in memory, the data in a file without a name.
#[derive(Debug)]
pub struct Built {
    index: Bytes,
    index_descriptor: Descriptor,
    data_descriptor: Descriptor,
    spool: Arc<File>,
    summary: Summary,
    newest_ns: Option<i64>,
}

impl Built {
    /// The index blob.
    pub fn index(&self) -> &Bytes {
        &self.index
    }

    /// Type, digest and size of the index blob.
    pub fn index_descriptor(&self) -> &Descriptor {
        &self.index_descriptor
    }

    /// Type, digest and size of the data blob.
    pub fn data_descriptor(&self) -> &Descriptor {
        &self.data_descriptor
    }

    /// The data blob, from its start; may be called again.
    pub fn data(&self) -> Body {
        self.source().body(0..self.data_descriptor.size)
    }

    /// The data blob as a source, to read the archive without sending it anywhere.
    pub fn source(&self) -> FileSource {
        FileSource::new(self.spool.clone(), self.data_descriptor.size, "the data that was built".into())
    }

    /// What went into the archive, and what did not.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The newest time of modification in the tree, in nanoseconds since the epoch; none of an empty tree.
    pub fn newest_ns(&self) -> Option<i64> {
        self.newest_ns
    }

    /// Writes both blobs to files, each of which appears when it is whole. Blocks.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, index_path: &Path, data_path: &Path) -> Result<()> {
        save(data_path, &mut self.source().reader())?;
        save(index_path, &mut &self.index[..])
    }
}

fn save(path: &Path, content: &mut impl Read) -> Result<()> {
    let failed = |source| Error::Io { what: "write", path: path.to_owned(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As others make files: the mask decides.
    let file = Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(dir).map_err(failed)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    std::io::copy(content, &mut file).map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
