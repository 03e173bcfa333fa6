//! Bytes between bodies and files: large reads and writes, on threads that may block.

use std::fs::File;
use std::future::Future;
use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future;
use futures_util::stream;

use crate::body::Body;
use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::digest::Hasher;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;

/// Runs work on a thread that may block. It starts now, and runs to its end even when nobody waits.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    let task = tokio::task::spawn_blocking(work);
    async {
        let failed = |error| Err(Error::new(Code::Unknown, "file operation did not end").with_source(error));
        task.await.unwrap_or_else(failed)
    }
}

/// A file and where it is, for errors.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

impl OpenFile {
    /// The next bytes, `left` at most and [`PART`] at most; none at the end of the file.
    pub(crate) fn read_part(&self, left: u64) -> Result<Bytes> {
        let len = left.min(PART);
        let mut part = Vec::with_capacity(len as usize);
        let read = (&self.file).take(len).read_to_end(&mut part);
        read.map_err(|error| Error::io(format_args!("read {}", self.path.display()), error))?;
        Ok(part.into())
    }

    /// Hashes the first `size` bytes of the file.
    pub(super) fn hash(&self, algorithm: Algorithm, size: u64) -> Result<Digest> {
        let failed = |error| Error::io(format_args!("read {}", self.path.display()), error);
        (&self.file).seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut hasher = Hasher::new(algorithm);
        while hasher.len() < size {
            let part = self.read_part(size - hasher.len())?;
            if part.is_empty() {
                return Err(failed(ErrorKind::UnexpectedEof.into()));
            }
            hasher.update(&part);
        }
        Ok(hasher.finish())
    }

    fn write_parts(&self, parts: &[Bytes]) -> Result<()> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match (&self.file).write_vectored(rest) {
                Ok(0) => return Err(self.write_failed(ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.write_failed(error)),
            }
        }
        Ok(())
    }

    pub(crate) fn write_failed(&self, error: io::Error) -> Error {
        Error::io(format_args!("write {}", self.path.display()), error)
    }
}

/// The bytes of a file from where it stands: `first`, which has been read, and `left` that come after.
///
/// The next part is read while the last one is on its way. A file that ends too soon is a body that does.
pub(crate) fn file_body(file: OpenFile, first: Bytes, left: u64) -> Body {
    let len = first.len() as u64 + left;
    let ready = future::ready(Ok((file, first))).boxed();
    let parts = stream::try_unfold(Some((ready, left)), |state| async {
        let Some((pending, left)) = state else { return Ok(None) };
        let (file, part): (OpenFile, Bytes) = pending.await?;
        if part.is_empty() {
            return Ok(None);
        }
        let next = (left > 0).then(|| {
            let pending = blocking(move || file.read_part(left).map(|part| (file, part)));
            (pending.boxed(), left.saturating_sub(PART))
        });
        Ok(Some((part, next)))
    });
    Body::new(Some(len), parts)
}

/// Where a body stands of which some was written.
pub(super) enum Spooled {
    /// It broke; all that came before is written.
    Broke(Error),
    Ended,
    /// There may be more.
    Paused,
}

/// Writes what comes of a body where a file stands, and hashes it.
///
/// It pauses behind the part that reaches `limit` bytes. The next bytes are awaited while the last ones are
/// written, so two times [`PART`] are in memory, or what the body yields at once if that is more.
pub(super) async fn spool(
    file: &Arc<OpenFile>,
    hasher: Hasher,
    body: &mut Body,
    limit: u64,
) -> Result<(Hasher, Spooled)> {
    let mut came = 0;
    let mut written = future::ready(Ok(hasher)).boxed();
    loop {
        let (parts, len, broke) = gather(body).await;
        let mut hasher = written.await?;
        if parts.is_empty() {
            return Ok((hasher, broke.map_or(Spooled::Ended, Spooled::Broke)));
        }
        let file = file.clone();
        let write = blocking(move || {
            parts.iter().for_each(|part| hasher.update(part));
            file.write_parts(&parts)?;
            Ok(hasher)
        });
        came += len;
        if let Some(error) = broke {
            return Ok((write.await?, Spooled::Broke(error)));
        }
        if came >= limit {
            return Ok((write.await?, Spooled::Paused));
        }
        written = write.boxed();
    }
}

/// Enough bytes that it is worth another thread's while; none when the body has ended. What came before the body
/// broke is not lost.
async fn gather(body: &mut Body) -> (Vec<Bytes>, u64, Option<Error>) {
    let mut parts = Vec::new();
    let mut len = 0;
    while len < PART && parts.len() < MAX_PARTS {
        match body.next().await {
            None => break,
            Some(Err(error)) => return (parts, len, Some(error)),
            Some(Ok(part)) if part.is_empty() => {}
            Some(Ok(part)) => {
                len += part.len() as u64;
                parts.push(part);
            }
        }
    }
    (parts, len, None)
}

/// Bytes that one task reads or writes.
const PART: u64 = 512 << 10;

/// Parts that one task writes; the kernel takes no more at once (IOV_MAX).
const MAX_PARTS: usize = 1024;
