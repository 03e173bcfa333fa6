//! Object stores: an archive as one, for all that reads through the crate `object_store`.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures_util::StreamExt;
use futures_util::stream;
use futures_util::stream::BoxStream;
use object_store::CopyOptions;
use object_store::Error as StoreError;
use object_store::GetOptions;
use object_store::GetResult;
use object_store::GetResultPayload;
use object_store::ListResult;
use object_store::MultipartUpload;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::path::Path;

use crate::archive::Archive;
use crate::error::Error;
use crate::format::Entry;
use crate::format::Node;
use crate::read::ReadOptions;

/// An archive as an object store that is only read: DataFusion, Polars and others query what is in it.
///
/// Each regular file is an object. Its `e_tag` is `sha256:` and the hash of its content, and conditions are held
/// against that; its time is the one that was recorded. Of a range, only the chunks that have bytes of it are
/// fetched, and ranges that are asked for together and lie close to each other cost one request. Symbolic links are
/// followed when they are read and are not listed; neither are files with control characters in their names, which
/// the paths of object stores cannot have. What would change the archive is `NotSupported`.
///
/// ```
/// use object_store::ObjectStoreExt;
/// use skep_archive::ArchiveStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # std::fs::write(dir.path().join("greeting.txt"), "hello")?;
/// # let built = skep_archive::build(dir.path(), &Default::default(), &|_| {})?;
/// # let source = std::sync::Arc::new(built.source());
/// # let archive = skep_archive::Archive::new(built.index().clone(), source, Default::default())?;
/// let store = ArchiveStore::new(archive);
/// assert_eq!(store.get_range(&"greeting.txt".into(), 1..4).await?, "ell");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ArchiveStore {
    archive: Archive,
    options: ReadOptions,
}

impl ArchiveStore {
    /// An archive as an object store.
    pub fn new(archive: Archive) -> Self {
        Self::with_options(archive, ReadOptions::default())
    }

    /// An archive as an object store, with the options of reads of many ranges.
    pub fn with_options(archive: Archive, options: ReadOptions) -> Self {
        Self { archive, options }
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The objects at positions of the index.
    fn objects(&self, positions: Range<usize>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let archive = self.archive.clone();
        let objects = positions.filter_map(move |at| {
            let entry = archive.index().entry(at);
            Some(Ok(describe(Path::parse(entry.path).ok()?, &entry)))
        });
        stream::iter(objects).boxed()
    }

    /// The positions of the files below a directory.
    fn below(&self, prefix: Option<&Path>) -> Range<usize> {
        self.archive.index().below(prefix.map_or("", AsRef::as_ref))
    }
}

impl fmt::Display for ArchiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArchiveStore of {} files", self.archive.index().len())
    }
}

#[async_trait]
impl ObjectStore for ArchiveStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let failed = |error| failed(location, error);
        let entry = self.archive.entry(location.as_ref()).map_err(failed)?;
        let meta = describe(location.clone(), &entry);
        if options.version.is_some() {
            return Err(unsupported("reading a version of an object"));
        }
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|error| generic(error.into()))?,
            None => 0..meta.size,
        };
        let stream = if options.head {
            stream::empty().boxed()
        } else {
            let body = self.archive.read_range(location.as_ref(), range.clone()).await.map_err(failed)?;
            body.map(|part| part.map_err(|error| generic(error.into()))).boxed()
        };
        Ok(GetResult { payload: GetResultPayload::Stream(stream), meta, range, attributes: Default::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let reading = self.archive.read_ranges(location.as_ref(), ranges, self.options.clone());
        reading.await.map_err(|error| failed(location, error))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.objects(self.below(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let Range { start: mut low, end } = self.below(prefix);
        let mut high = end;
        while low < high {
            let middle = low + (high - low) / 2;
            if self.archive.index().entry(middle).path <= offset.as_ref() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.objects(low..end)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let index = self.archive.index();
        let dir = prefix.map_or("", AsRef::as_ref);
        let mut listed = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        for (name, node) in index.children(dir) {
            let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            let Ok(location) = Path::parse(&path) else { continue };
            match node {
                Node::File(entry) => listed.objects.push(describe(location, &entry)),
                // Object stores have no directories without objects.
                Node::Directory(_) if !index.below(&path).is_empty() => listed.common_prefixes.push(location),
                Node::Directory(_) | Node::Symlink(_) => {}
            }
        }
        Ok(listed)
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Err(unsupported("writing"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(unsupported("writing"))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        locations.map(|location| location.and(Err(unsupported("deleting")))).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(unsupported("copying"))
    }
}

fn describe(location: Path, entry: &Entry<'_>) -> ObjectMeta {
    let hex: String = entry.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    ObjectMeta {
        location,
        last_modified: DateTime::from_timestamp_nanos(entry.mtime_ns),
        size: entry.original_size,
        e_tag: Some(format!("sha256:{hex}")),
        version: None,
    }
}

/// The error of an object. Where others have a directory, object stores have nothing.
fn failed(location: &Path, error: Error) -> StoreError {
    let path = location.to_string();
    match &error {
        Error::NotFound { .. } | Error::IsDirectory { .. } | Error::InvalidPath { .. } => {
            StoreError::NotFound { path, source: error.into() }
        }
        _ => generic(error.into()),
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Generic { store: "archive", source }
}

fn unsupported(what: &str) -> StoreError {
    StoreError::NotSupported { source: format!("{what}: an archive does not change").into() }
}
