//! What was built: an index in memory and data in a file, to be sent or saved.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::Digest as _;
use sha2::Sha256;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Digest;

use super::Summary;
use super::assemble::Packed;
use crate::archive::read_index;
use crate::archive::save;
use crate::error::Error;
use crate::error::Result;
use crate::format::DATA_TYPE;
use crate::format::INDEX_TYPE;
use crate::format::Index;
use crate::limits::Limits;
use crate::source::FileSource;

/// An archive that was built: the index in memory, the data in a file without a name.
#[derive(Debug)]
pub struct Built {
    index: Bytes,
    index_descriptor: Descriptor,
    data_descriptor: Descriptor,
    data: Arc<File>,
    /// By what errors call it.
    data_path: PathBuf,
    summary: Summary,
    newest_ns: Option<i64>,
}

impl Built {
    pub(super) fn new(index: Bytes, packed: Packed, summary: Summary, newest_ns: Option<i64>) -> Result<Self> {
        let digest = Digest::from_hash(Algorithm::Sha256, &packed.hasher.finalize())?;
        Ok(Self {
            index_descriptor: Descriptor::of(INDEX_TYPE, &index),
            data_descriptor: Descriptor::new(DATA_TYPE, digest, packed.size),
            index,
            data: Arc::new(packed.spool),
            data_path: "the data that was built".into(),
            summary,
            newest_ns,
        })
    }

    /// Takes an archive in two files, as [`save`](Self::save) writes them, or any other writer of the format. Blocks.
    ///
    /// The index is checked as if it were opened, and the data, which is read once, by the hash that the index has
    /// of it. The summary counts what the index says; what was not carried is not known any more.
    ///
    /// # Errors
    /// `InvalidIndex`, also when it is of other data or has no hash of it; `Limit`, `TooManyFiles`, `Io`.
    pub fn from_files(index_path: &Path, data_path: &Path, limits: &Limits) -> Result<Self> {
        let index = read_index(index_path, limits)?;
        let parsed = Index::parse(index.clone(), limits)?;
        let failed = |source| Error::Io { what: "read", path: data_path.to_owned(), source };
        let mut data = File::open(data_path).map_err(failed)?;
        let (mut hasher, mut size, mut block) = (Sha256::new(), 0, vec![0; 1 << 20]);
        loop {
            match data.read(&mut block).map_err(failed)? {
                0 => break,
                count => {
                    hasher.update(&block[..count]);
                    size += count as u64;
                }
            }
        }
        if size != parsed.data_size() {
            return Err(Error::index(format!("it is of {} bytes of data, there are {size}", parsed.data_size())));
        }
        let digest = Digest::from_hash(Algorithm::Sha256, &hasher.finalize())?;
        match parsed.data_hash() {
            None => return Err(Error::index("it has no hash of the data, so no manifest can be made of it")),
            Some(hash) if hash[..] != digest.hash()[..] => {
                let want = Digest::from_hash(Algorithm::Sha256, hash)?;
                return Err(Error::index(format!("it is of the data {want}, there is {digest}")));
            }
            Some(_) => {}
        }
        let files = parsed.entries().map(|entry| entry.mtime_ns);
        let links = parsed.symlinks().map(|link| link.mtime_ns);
        let directories = parsed.directories().map(|directory| directory.mtime_ns);
        Ok(Self {
            index_descriptor: Descriptor::of(INDEX_TYPE, &index),
            data_descriptor: Descriptor::new(DATA_TYPE, digest, size),
            data: Arc::new(data),
            data_path: data_path.to_owned(),
            newest_ns: files.chain(links).chain(directories).max(),
            summary: Summary::of(&parsed),
            index,
        })
    }

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
        FileSource::new(self.data.clone(), self.data_descriptor.size, self.data_path.clone())
    }

    /// What went into the archive, and what did not.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The newest time of modification in the tree, in nanoseconds since the epoch; none of an empty tree.
    pub fn newest_ns(&self) -> Option<i64> {
        self.newest_ns
    }

    /// Writes both blobs to files, which appear when both are whole. Blocks.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, index_path: &Path, data_path: &Path) -> Result<()> {
        let data = save::write(data_path, &mut self.source().reader())?;
        let index = save::write(index_path, &mut &self.index[..])?;
        save::appear(data, data_path)?;
        save::appear(index, index_path)
    }

    /// Writes both blobs into a directory, which is made if it is not there, as `index.blob` and `data.blob`. Blocks.
    ///
    /// Each file appears when it is whole, the index last. The directory may lie in the tree that was packed: it
    /// does not change what was built.
    ///
    /// # Errors
    /// `Io`.
    pub fn save_in(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Io { what: "make", path: dir.to_owned(), source })?;
        self.save(&dir.join(save::INDEX_NAME), &dir.join(save::DATA_NAME))
    }

    /// Writes both blobs, the data first. Blocks.
    ///
    /// # Errors
    /// `Io`.
    pub fn write_to(&self, index: &mut dyn Write, data: &mut dyn Write) -> Result<()> {
        let failed = |path: &'static str| move |source| Error::Io { what: "write", path: path.into(), source };
        let copied = std::io::copy(&mut self.source().reader(), data).and_then(|_| data.flush());
        copied.map_err(failed("the data"))?;
        index.write_all(&self.index).and_then(|()| index.flush()).map_err(failed("the index"))
    }
}
