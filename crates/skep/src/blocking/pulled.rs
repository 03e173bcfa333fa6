//! Archives that were pulled, for programs that are not asynchronous.

use std::ops::Deref;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::ExtractOptions;
use skep_archive::Extracted;
use skep_archive::Result;
use skep_registry::Digest;

use super::Engine;
use super::file::File;
use crate::progress::OnProgress;

/// An archive in a registry, with its index read and its files still there, and calls that wait.
///
/// It is an [`Archive`]: what takes no time, as looking up and listing, is called on that.
#[derive(Clone, Debug)]
pub struct Pulled {
    pulled: crate::Pulled,
    engine: Arc<Engine>,
}

impl Pulled {
    pub(super) fn new(pulled: crate::Pulled, engine: Arc<Engine>) -> Self {
        Self { pulled, engine }
    }

    /// What the manifest says.
    pub fn manifest(&self) -> &ArchiveManifest {
        self.pulled.manifest()
    }

    /// The digest of the manifest, which names this archive and no other.
    pub fn digest(&self) -> &Digest {
        self.pulled.digest()
    }

    /// Reads a file whole into memory, as [`Archive::read`] does.
    ///
    /// # Errors
    /// As that.
    pub fn read(&self, path: &str) -> Result<Bytes> {
        self.read_limited(path, self.limits().memory)
    }

    /// Reads a file whole into memory, `limit` bytes at most, as [`Archive::read_limited`] does.
    ///
    /// # Errors
    /// As that.
    pub fn read_limited(&self, path: &str, limit: u64) -> Result<Bytes> {
        let (pulled, path) = (self.pulled.clone(), path.to_owned());
        self.engine.wait(async move { pulled.read_limited(&path, limit).await })
    }

    /// Reads a part of a file into memory, as [`Archive::read_range`] does: all of it is verified when this returns.
    ///
    /// # Errors
    /// As that, and as its body; `Limit` when the part is larger than [`Limits::memory`](crate::Limits::memory).
    pub fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let (pulled, path) = (self.pulled.clone(), path.to_owned());
        self.engine.wait(async move {
            let limit = pulled.limits().memory;
            let came = range.end.saturating_sub(range.start);
            let body = pulled.read_range(&path, range).await?;
            if came > limit {
                return Err(crate::Error::Limit { what: format!("the part of {path}, in bytes,"), limit, came });
            }
            Ok(body.bytes(limit).await?)
        })
    }

    /// Opens a file, to be read from anywhere. Nothing is asked yet.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `InvalidPath`.
    pub fn open(&self, path: &str) -> Result<File> {
        let size = self.entry(path)?.original_size;
        Ok(File::new(self.pulled.clone().into_archive(), self.engine.clone(), path.to_owned(), size))
    }

    /// Reads many files, those that are stored close to each other with one request, as [`Archive::read_many`] does.
    ///
    /// # Errors
    /// As that; also each item may be one, and then is the last.
    pub fn read_many<P: Into<String>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<impl Iterator<Item = Result<(String, Bytes)>> + Send + 'static> {
        let files = self.pulled.read_many(paths)?;
        Ok(Many { files: Some(Box::pin(files)), engine: self.engine.clone() })
    }

    /// Extracts files, links and directories below a directory, as [`Pulled::extract`](crate::Pulled::extract) does.
    ///
    /// # Errors
    /// As that.
    pub fn extract(&self, dest: &Path, options: ExtractOptions, progress: OnProgress) -> Result<Extracted> {
        let (pulled, dest) = (self.pulled.clone(), dest.to_owned());
        self.engine.wait(async move { pulled.extract(&dest, options, progress).await })
    }
}

impl Deref for Pulled {
    type Target = Archive;

    fn deref(&self) -> &Archive {
        &self.pulled
    }
}

type Files = Pin<Box<dyn Stream<Item = Result<(String, Bytes)>> + Send>>;

/// Files that come one by one.
struct Many {
    /// None behind the last one.
    files: Option<Files>,
    engine: Arc<Engine>,
}

impl Iterator for Many {
    type Item = Result<(String, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut files = self.files.take()?;
        let (file, files) = self.engine.wait(async move { (files.next().await, files) });
        if file.is_some() {
            self.files = Some(files);
        }
        file
    }
}
