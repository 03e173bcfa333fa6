//! Saving: an archive as two files on the disk.

use std::fs::Permissions;
use std::io;
use std::io::BufWriter;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Buf;
use bytes::Bytes;
use futures_util::StreamExt;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Digest;
use tempfile::Builder;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::Archive;
use crate::error::Error;
use crate::error::Result;

/// The name of the index in a directory of its own, as meigma/blob has it.
pub(crate) const INDEX_NAME: &str = "index.blob";

/// The name of the data.
pub(crate) const DATA_NAME: &str = "data.blob";

/// Parts of the data that wait to be written.
const PARTS: usize = 4;

impl Archive {
    /// Saves index and data as files, which appear when both are whole. One request, for all of the data.
    ///
    /// The data is held to the hash that the index has for it, and streamed in bounded memory. What is there is
    /// replaced; after a failure nothing new is left.
    ///
    /// # Errors
    /// `InvalidIndex` when the index has no hash of its data; `Registry`, `DigestInvalid` and `SizeInvalid`, when the
    /// data is not what the index says, else what the source says; `Io`.
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing appears and what was written is removed.
    pub async fn save(&self, index_path: &Path, data_path: &Path) -> Result<()> {
        let Some(hash) = self.index().data_hash() else {
            return Err(Error::index("it has no hash of its data, which cannot be verified without"));
        };
        let (digest, size) = (Digest::from_hash(Algorithm::Sha256, hash)?, self.index().data_size());
        let body = self.source().read(0..size).await?.verify(&digest, Some(size));
        let index = self.index().bytes().clone();
        let (index_path, data_path) = (index_path.to_owned(), data_path.to_owned());
        let (parts, received) = mpsc::channel(PARTS);
        let writing = tokio::task::spawn_blocking(move || {
            let data = write(&data_path, &mut Parts { received, part: Bytes::new(), is_over: false })?;
            let index = write(&index_path, &mut &index[..])?;
            appear(data, &data_path)?;
            // One without the other is no archive.
            appear(index, &index_path).inspect_err(|_| drop(std::fs::remove_file(&data_path)))
        });
        let sent = send(body, parts).await;
        let written = writing.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        // What broke off says more than that there was too little to write.
        sent.and(written)
    }

    /// Saves index and data in a directory, as `index.blob` and `data.blob`, otherwise as [`save`](Self::save).
    pub async fn save_in(&self, dir: &Path) -> Result<()> {
        self.save(&dir.join(INDEX_NAME), &dir.join(DATA_NAME)).await
    }
}

/// Writes content to a file that has no name of its own yet, beside where it is to appear. Blocks.
pub(crate) fn write(path: &Path, content: &mut impl Read) -> Result<NamedTempFile> {
    let failed = |source| Error::Io { what: "write", path: path.to_owned(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As others make files: the mask decides.
    let file = Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(dir).map_err(failed)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    io::copy(content, &mut file).map_err(failed)?;
    file.into_inner().map_err(|error| failed(error.into_error()))
}

/// Gives a file its name.
pub(crate) fn appear(file: NamedTempFile, path: &Path) -> Result<()> {
    let failed = |source| Error::Io { what: "write", path: path.to_owned(), source };
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Sends the parts of a body to their writer, and none behind the last, when all was right.
async fn send(mut body: Body, parts: mpsc::Sender<Option<Bytes>>) -> Result<()> {
    while let Some(part) = body.next().await.transpose()? {
        if parts.send(Some(part)).await.is_err() {
            // The writer knows why.
            return Ok(());
        }
    }
    let _ = parts.send(None).await;
    Ok(())
}

/// The parts of a body, for a blocking reader.
struct Parts {
    received: mpsc::Receiver<Option<Bytes>>,
    part: Bytes,
    is_over: bool,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.is_over {
            match self.received.blocking_recv() {
                Some(Some(part)) => self.part = part,
                Some(None) => self.is_over = true,
                None => return Err(io::Error::other("the data broke off")),
            }
        }
        let len = self.part.len().min(buffer.len());
        self.part.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}
