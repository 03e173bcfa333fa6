//! Sources: where the data of an archive is read from.

use std::fmt::Debug;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use rustix::buffer::spare_capacity;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Registry;
use skep_registry::RepoName;

use crate::error::Error;
use crate::error::Result;

/// Bytes that a file is read by.
const BLOCK: u64 = 1 << 20;

/// Blocks that are kept to be used again.
const SPARE: usize = 8;

/// Something that has the data blob of an archive, or any other run of bytes that does not change.
#[async_trait]
pub trait Source: Debug + Send + Sync + 'static {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// Reads a range; the body has exactly its bytes.
    ///
    /// A range of no bytes costs nothing. The body yields `SizeInvalid` if it breaks off.
    async fn read(&self, range: Range<u64>) -> Result<Body>;

    /// What names these bytes and no others, wherever they are read: a digest, or a place with its version.
    ///
    /// None when that is not known. It is for caches and may be long; it is not for people to read.
    fn id(&self) -> Option<String> {
        None
    }
}

/// Bytes in memory.
#[async_trait]
impl Source for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if start <= end && end <= self.len() => Ok(self.slice(start..end).into()),
            _ => {
                let message = format!("bytes {} to {} of {}", range.start, range.end, self.len());
                Err(skep_registry::Error::new(skep_registry::Code::RangeInvalid, message).into())
            }
        }
    }
}

/// A blob in a registry. Each read is one request, and nothing else is ever asked.
#[derive(Clone, Debug)]
pub struct BlobSource {
    registry: Arc<dyn Registry>,
    repo: RepoName,
    blob: Descriptor,
}

impl BlobSource {
    /// Takes a blob by its descriptor, from a manifest for instance; of it, digest and size count.
    pub fn new(registry: Arc<dyn Registry>, repo: RepoName, blob: Descriptor) -> Self {
        Self { registry, repo, blob }
    }
}

#[async_trait]
impl Source for BlobSource {
    fn size(&self) -> u64 {
        self.blob.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        if range.is_empty() {
            return Ok(Body::empty());
        }
        let blob = self.registry.get_blob(&self.repo, &self.blob.digest, Some(range.clone().into())).await?;
        Ok(blob.narrow(range)?)
    }

    fn id(&self) -> Option<String> {
        Some(self.blob.digest.to_string())
    }
}

/// A file.
#[derive(Clone, Debug)]
pub struct FileSource {
    file: Arc<File>,
    size: u64,
    path: Arc<Path>,
    /// Blocks to use again: fresh memory costs as much as the reading.
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl FileSource {
    /// Opens a file. Blocks.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::Io { what: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self::new(Arc::new(file), size, path.to_owned()))
    }

    pub(crate) fn new(file: Arc<File>, size: u64, path: PathBuf) -> Self {
        Self { file, size, path: path.into(), spare: Arc::default() }
    }

    /// The bytes of a range, block by block; none is read before it is asked for.
    pub(crate) fn body(&self, range: Range<u64>) -> Body {
        let len = range.end - range.start;
        let is_all = range == (0..self.size);
        let blocks = stream::try_unfold((self.clone(), range), |(source, mut range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let (at, len) = (range.start, BLOCK.min(range.end - range.start));
            let reading = tokio::task::spawn_blocking(move || (source.block(at, len), source));
            let (block, source) = reading.await.expect("reading a file does not panic");
            let block = block.map_err(skep_registry::Error::from)?;
            range.start += block.len() as u64;
            if block.is_empty() {
                // Let the length be found wrong.
                range.end = range.start;
            }
            Ok(Some((block, (source, range))))
        });
        let body = Body::new(Some(len), blocks).exactly(len);
        if is_all { body.with_file(self.file.clone()) } else { body }
    }

    fn block(&self, at: u64, len: u64) -> Result<Bytes> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut block = spare.unwrap_or_else(|| Vec::with_capacity(BLOCK as usize));
        block.clear();
        while (block.len() as u64) < len {
            let at = at + block.len() as u64;
            let count = rustix::io::retry_on_intr(|| rustix::io::pread(&*self.file, spare_capacity(&mut block), at));
            if count.map_err(Error::io("read", &*self.path))? == 0 {
                break;
            }
        }
        block.truncate(len as usize);
        Ok(Bytes::from_owner(Block { bytes: block, spare: self.spare.clone() }))
    }

    /// The whole file, for blocking readers.
    pub(crate) fn reader(&self) -> impl Read + use<> {
        Reader { source: self.clone(), at: 0 }
    }
}

/// Bytes of a file; the memory goes back to the source.
struct Block {
    bytes: Vec<u8>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[async_trait]
impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        Ok(self.body(range))
    }
}

struct Reader {
    source: FileSource,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(&*self.source.file, &mut *buffer, self.at))?;
        self.at += count as u64;
        Ok(count)
    }
}
