//! Archives: an index in memory and the data wherever it is, looked up by path.

mod find;
mod resolve;
pub(crate) mod save;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use skep_registry::Registry;
use skep_registry::RepoName;

use crate::cache::ContentCache;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;
use crate::format::Index;
use crate::format::Node;
use crate::limits::Limits;
use crate::manifest::ArchiveManifest;
use crate::path;
use crate::source::BlobSource;
use crate::source::FileSource;
use crate::source::Source;

/// An archive that is open for reading. Cheap to clone.
///
/// Paths are taken as people write them, see [`normalize`](crate::normalize). Where content is read, symbolic
/// links in the archive are followed inside of it, by their names and 40 at most; what leads out of it is
/// not found.
#[derive(Clone, Debug)]
pub struct Archive {
    inner: Arc<Inner>,
    cache: Option<ContentCache>,
}

#[derive(Debug)]
struct Inner {
    index: Index,
    source: Arc<dyn Source>,
    limits: Limits,
}

/// What lies below a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Regular files.
    pub files: u64,
    /// Bytes of content.
    pub original_size: u64,
    /// Stored bytes; those that several files share count for each.
    pub stored_size: u64,
}

impl Archive {
    /// Opens an archive by the bytes of its index and a source of its data. Nothing is read.
    ///
    /// # Errors
    /// `InvalidIndex`, `Limit`, `TooManyFiles`.
    pub fn new(index: Bytes, source: Arc<dyn Source>, limits: Limits) -> Result<Self> {
        Self::with_index(Index::parse(index, &limits)?, source, limits)
    }

    /// Opens an archive by its index and a source of its data. Nothing is read.
    ///
    /// # Errors
    /// `InvalidIndex` when the source has another size than the index says.
    pub fn with_index(index: Index, source: Arc<dyn Source>, limits: Limits) -> Result<Self> {
        if index.data_size() != source.size() {
            let (want, came) = (index.data_size(), source.size());
            return Err(Error::index(format!("it is of {want} bytes of data, there are {came}")));
        }
        Ok(Self { inner: Arc::new(Inner { index, source, limits }), cache: None })
    }

    /// Opens an archive in a registry: one request, for the index.
    ///
    /// # Errors
    /// `InvalidIndex`, also when it is not of the data that the manifest names; `Limit`; `TooManyFiles`;
    /// `Registry`.
    pub async fn open(
        registry: Arc<dyn Registry>,
        repo: &RepoName,
        manifest: &ArchiveManifest,
        limits: Limits,
    ) -> Result<Self> {
        let source = BlobSource::new(registry.clone(), repo.clone(), manifest.data.clone());
        Self::open_over(&*registry, repo, manifest, Arc::new(source), limits).await
    }

    /// Opens an archive in a registry whose data is read from elsewhere, through a cache for instance.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_over(
        registry: &dyn Registry,
        repo: &RepoName,
        manifest: &ArchiveManifest,
        source: Arc<dyn Source>,
        limits: Limits,
    ) -> Result<Self> {
        let (index, data) = (&manifest.index, &manifest.data);
        if index.size > limits.index {
            return Err(Error::limit("the index, in bytes,", limits.index, index.size));
        }
        let blob = registry.get_blob(repo, &index.digest, None).await?;
        let bytes = blob.body.verify(&index.digest, Some(index.size)).bytes(limits.index).await?;
        // Checking a large index takes a while.
        let opening = tokio::task::spawn_blocking(move || Self::new(bytes, source, limits));
        let archive = opening.await.expect("opening an archive does not panic")?;
        if archive.index().data_hash().map(<[u8; 32]>::as_slice) != Some(&data.digest.hash()) {
            return Err(Error::index(format!("it is not of the data of the manifest, {}", data.digest)));
        }
        Ok(archive)
    }

    /// Opens an archive in two files. Blocks.
    ///
    /// # Errors
    /// `InvalidIndex`, `Limit`, `TooManyFiles`, `Io`.
    pub fn open_files(index_path: &Path, data_path: &Path, limits: Limits) -> Result<Self> {
        Self::new(read_index(index_path, &limits)?, Arc::new(FileSource::open(data_path)?), limits)
    }

    /// The same archive, with a cache for what is read of it.
    pub fn with_cache(self, cache: ContentCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    pub(crate) fn cache(&self) -> Option<&ContentCache> {
        self.cache.as_ref()
    }

    /// What the index says.
    pub fn index(&self) -> &Index {
        &self.inner.index
    }

    /// Where the data is read from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.inner.source
    }

    /// What is refused.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// The regular file that a path leads to.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `InvalidPath`.
    pub fn entry(&self, path: &str) -> Result<Entry<'_>> {
        let resolved = self.resolve(path)?;
        match self.index().node(&resolved) {
            Some(Node::File(entry)) => Ok(entry),
            Some(Node::Directory(_)) => Err(Error::IsDirectory { path: path.to_owned() }),
            _ => Err(Error::not_found(path)),
        }
    }

    /// What has a path, be it a symbolic link; links on the way to it are followed.
    ///
    /// # Errors
    /// `NotFound`, `InvalidPath`.
    pub fn node(&self, path: &str) -> Result<Node<'_>> {
        let normal = path::parse(path)?;
        let (dir, name) = path::split(&normal);
        let dir = self.resolve(dir)?;
        let found = match (&*dir, name) {
            ("", name) => self.index().node(name),
            (dir, name) => self.index().node(&format!("{dir}/{name}")),
        };
        found.ok_or_else(|| Error::not_found(path))
    }

    /// Tells whether a path leads to anything.
    pub fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|path| self.index().node(&path).is_some())
    }

    /// Tells whether a path leads to a regular file.
    pub fn is_file(&self, path: &str) -> bool {
        self.entry(path).is_ok()
    }

    /// Tells whether a path leads to a directory.
    pub fn is_dir(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|path| matches!(self.index().node(&path), Some(Node::Directory(_))))
    }

    /// All regular files, in the order of their paths.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + DoubleEndedIterator {
        self.index().entries()
    }

    /// The regular files whose path begins with a text: `a/b` is the start of `a/bc`, too.
    pub fn entries_with_prefix(&self, prefix: &str) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.index().starting_with(prefix).map(|at| self.index().entry(at))
    }

    /// What lies in a directory, in the order of names, also directories that are recorded nowhere.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `InvalidPath`.
    pub fn read_dir(&self, path: &str) -> Result<Vec<(&str, Node<'_>)>> {
        let resolved = self.resolve(path)?;
        match self.index().node(&resolved) {
            Some(Node::Directory(_)) => Ok(self.index().children(&resolved)),
            Some(_) => Err(Error::NotDirectory { path: path.to_owned() }),
            None => Err(Error::not_found(path)),
        }
    }

    /// Counts what lies below a path, or the file that has it; nothing if nothing has it.
    pub fn stats(&self, path: &str) -> Stats {
        let mut stats = Stats::default();
        let Ok(resolved) = self.resolve(path) else { return stats };
        let index = self.index();
        let files = match index.position(&resolved) {
            Some(at) => at..at + 1,
            None => index.below(&resolved),
        };
        for entry in files.map(|at| index.entry(at)) {
            stats.files += 1;
            stats.original_size += entry.original_size;
            stats.stored_size += entry.data_size;
        }
        stats
    }
}

/// Reads the index in a file, if it is not above the limit.
pub(crate) fn read_index(path: &Path, limits: &Limits) -> Result<Bytes> {
    let failed = |source| Error::Io { what: "read", path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > limits.index {
        return Err(Error::limit("the index, in bytes,", limits.index, size));
    }
    Ok(std::fs::read(path).map_err(failed)?.into())
}
