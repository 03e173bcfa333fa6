//! Reading: one file, or a part of it, each with one request.

mod content;
mod file;
mod many;
mod parts;

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream;
use skep_registry::Body;

use crate::archive::Archive;
use crate::error::Error;
use crate::error::Result;
use crate::read::content::Content;

pub(crate) use content::Piece;
pub(crate) use many::fetch_group;

pub use file::File;
pub use many::ReadOptions;

/// Bytes of other files that are read and dropped rather than asking once more, where one request follows another.
///
/// At 100 Mbit/s they take as long as an answer over 22 ms.
pub(crate) const GAP: u64 = 256 << 10;

impl Archive {
    /// Reads a file whole into memory, [`Limits::memory`](crate::Limits::memory) bytes at most. One request.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `InvalidPath`; `Limit` when it is larger; `Decompression`, `HashMismatch`,
    /// `SizeMismatch` when the data is not what the index says; `Registry`, `Io`.
    pub async fn read(&self, path: &str) -> Result<Bytes> {
        self.read_limited(path, self.limits().memory).await
    }

    /// Reads a file whole into memory, `limit` bytes at most, otherwise as [`read`](Self::read) does.
    pub async fn read_limited(&self, path: &str, limit: u64) -> Result<Bytes> {
        let (at, size) = self.locate(path)?;
        if size > limit {
            return Err(Error::limit(format!("{path}, in bytes,"), limit, size));
        }
        self.read_part(at, 0..size).await
    }

    /// Reads a part of a file. One request, none if it is empty.
    ///
    /// Of a file in chunks, only those that have bytes in the range are fetched, and each is verified before its
    /// bytes leave. Another file is read whole. The hash of a file is compared whenever all of it is read: an error
    /// then comes in place of the end, and bytes count only once there was none.
    ///
    /// # Errors
    /// As [`read`](Self::read), and `InvalidRange` when the range is not in the file. The body yields
    /// `DigestInvalid` and `SizeInvalid`, with the error of this crate as its source.
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Body> {
        let (at, size) = self.locate(path)?;
        check_range(path, &range, size)?;
        let len = range.end - range.start;
        if len == 0 && size > 0 {
            return Ok(Body::empty());
        }
        let content = Content::begin(self, at, range.clone()).await?;
        let pieces = stream::try_unfold((content, range), |(mut content, range)| async move {
            while let Some(piece) = content.next().await.map_err(skep_registry::Error::from)? {
                let bytes = piece.cut(&range);
                if !bytes.is_empty() {
                    return Ok(Some((bytes, (content, range))));
                }
            }
            Ok(None)
        });
        Ok(Body::new(Some(len), pieces))
    }

    /// Streams a file, in bounded memory. One request.
    ///
    /// Its hash is compared at the end: bytes count only once the stream has ended without an error.
    ///
    /// # Errors
    /// As [`read_range`](Self::read_range).
    pub async fn stream(&self, path: &str) -> Result<Body> {
        let size = self.entry(path)?.original_size;
        self.read_range(path, 0..size).await
    }

    /// Position and size of the file that a path leads to.
    fn locate(&self, path: &str) -> Result<(usize, u64)> {
        let entry = self.entry(path)?;
        let at = self.index().position(entry.path).expect("the entry comes from this index");
        Ok((at, entry.original_size))
    }
}

fn check_range(path: &str, range: &Range<u64>, size: u64) -> Result<()> {
    if range.start > range.end || range.end > size {
        return Err(Error::InvalidRange { path: path.to_owned(), start: range.start, end: range.end, size });
    }
    Ok(())
}
