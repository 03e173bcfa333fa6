//! What is kept in memory of layouts: parsed indexes and manifests. A file's change is seen at once.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fs::File;
use std::fs::Metadata;
use std::hash::Hash;
use std::io::ErrorKind;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use serde::Deserialize;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::dir::Dir;
use crate::layout::index::Index;
use crate::layout::sweep::Abandoned;
use crate::manifest::Manifest;
use crate::manifest::ManifestContent;

/// Parsed files of any number of layouts, of at most 64 MiB each for indexes and for manifests.
#[derive(Debug, Default)]
pub(super) struct Cache {
    indexes: Mutex<Bounded<PathBuf, Seen>>,
    manifests: Mutex<Bounded<Digest, Parsed>>,
    swept: Mutex<Bounded<PathBuf, Instant>>,
}

/// An `index.json` that was read, and what the file was then.
#[derive(Clone, Debug)]
struct Seen {
    stamp: Stamp,
    read_at: SystemTime,
    index: Arc<Index>,
}

/// The content of a manifest as one media type; none if it is opaque or malformed.
#[derive(Clone, Debug)]
struct Parsed {
    media_type: String,
    content: Option<Arc<ManifestContent>>,
}

impl Cache {
    /// The index of a layout as it is now; none if there is no layout.
    ///
    /// # Errors
    /// `Unknown`, naming the file that is not what it should be; `Unsupported` for a layout version that
    /// is not known.
    pub(super) fn index(&self, dir: &Dir) -> Result<Option<Arc<Index>>> {
        let path = dir.index_path();
        if let Ok(metadata) = path.metadata()
            && let Some(seen) = locked(&self.indexes).get(&path)
            && seen.is_of(&Stamp::of(&metadata))
        {
            return Ok(Some(seen.index));
        }
        if !dir.exists()? {
            return Ok(None);
        }
        check_version(&dir.layout_path())?;
        let read_at = SystemTime::now();
        let failed = |error| Error::io(format_args!("read {}", path.display()), error);
        let file = match File::open(&path) {
            // The specification wants the file, yet without it a layout is well readable: it lists nothing.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Arc::default())),
            opened => opened.map_err(failed)?,
        };
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        let bytes = read_at_most(&file, MAX_INDEX, &path)?;
        let index = Index::parse(&bytes).map_err(|error| malformed(&path, error))?;
        let index = Arc::new(index);
        let seen = Seen { stamp, read_at, index: index.clone() };
        locked(&self.indexes).insert(path, seen, bytes.len());
        Ok(Some(index))
    }

    /// The content of a manifest, none if it is opaque or malformed.
    ///
    /// # Errors
    /// Whatever stands in the way of reading it.
    pub(super) fn content(&self, dir: &Dir, manifest: &Descriptor) -> Result<Option<Arc<ManifestContent>>> {
        if let Some(parsed) = locked(&self.manifests).get(&manifest.digest)
            && parsed.media_type == manifest.media_type
        {
            return Ok(parsed.content);
        }
        let read = read_manifest(dir, &manifest.media_type, &manifest.digest)?;
        let Some(read) = read else {
            return Err(Error::new(Code::ManifestUnknown, manifest.digest.to_string()));
        };
        let content = read.to_store().ok().flatten().map(Arc::new);
        let parsed = Parsed { media_type: manifest.media_type.clone(), content: content.clone() };
        locked(&self.manifests).insert(manifest.digest.clone(), parsed, read.bytes().len());
        Ok(content)
    }

    /// Removes what dead processes left in a layout, once in a while.
    pub(super) fn sweep(&self, dir: &Dir) {
        let path = dir.uploads_path();
        let mut swept = locked(&self.swept);
        if swept.get(&path).is_some_and(|at| at.elapsed() < SWEEP_EVERY) {
            return;
        }
        swept.insert(path, Instant::now(), 0);
        drop(swept);
        Abandoned::usually(SystemTime::now()).sweep(dir, false);
    }
}

/// Reads a manifest and verifies it; none if it is not there.
pub(super) fn read_manifest(dir: &Dir, media_type: &str, digest: &Digest) -> Result<Option<Manifest>> {
    let Some((file, _)) = dir.open_blob(digest)? else { return Ok(None) };
    let bytes = read_at_most(&file.file, crate::manifest::MAX_MANIFEST, &file.path)?;
    let manifest = Manifest::verified(media_type, digest, bytes);
    manifest.map(Some).map_err(|error| error.context(file.path.display()))
}

pub(super) fn read_at_most(file: &File, limit: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::io(format_args!("read {}", path.display()), error))?;
    if bytes.len() as u64 > limit {
        let message = format!("{} is larger than {limit} bytes", path.display());
        return Err(Error::new(Code::SizeInvalid, message));
    }
    Ok(bytes)
}

/// image-spec, "oci-layout file": `imageLayoutVersion` is 1.0.0; later 1.x would be read by the same rules.
fn check_version(path: &Path) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        image_layout_version: String,
    }

    let failed = |error| Error::io(format_args!("read {}", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    let bytes = read_at_most(&file, 64 << 10, path)?;
    let version: Version = serde_json::from_slice(&bytes).map_err(|error| malformed(path, error))?;
    if !version.image_layout_version.starts_with("1.") {
        let message =
            format!("{}: imageLayoutVersion is {:?}, not 1.0.0", path.display(), version.image_layout_version);
        return Err(Error::new(Code::Unsupported, message));
    }
    Ok(())
}

fn malformed(path: &Path, error: serde_json::Error) -> Error {
    Error::new(Code::Unknown, format!("{}: {error}", path.display())).with_source(error)
}

impl Seen {
    /// A file written twice within one tick of its clock can look the same, so one that was read so soon
    /// after it was written is not trusted.
    fn is_of(&self, stamp: &Stamp) -> bool {
        let settled = stamp.modified.and_then(|modified| modified.checked_add(CLOCK_TICK));
        self.stamp == *stamp && settled.is_some_and(|settled| settled <= self.read_at)
    }
}

/// What tells a file from another that was put in its place, or from itself before a write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        #[cfg(unix)]
        let (device, inode) = (metadata.dev(), metadata.ino());
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        Self { device, inode, len: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// A map that forgets everything when it would weigh too much: what is needed comes back soon.
#[derive(Debug)]
struct Bounded<K, V> {
    map: HashMap<K, V>,
    weight: usize,
}

impl<K: Eq + Hash, V: Clone> Bounded<K, V> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.map.get(key).cloned()
    }

    fn insert(&mut self, key: K, value: V, weight: usize) {
        let weight = weight + ITEM_WEIGHT;
        if self.weight + weight > MAX_WEIGHT {
            self.map.clear();
            self.weight = 0;
        }
        // A key that comes again is counted again: then the map forgets sooner, that is all.
        self.weight += weight;
        self.map.insert(key, value);
    }
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), weight: 0 }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while the lock was held can only have come from an allocation; the maps are whole.
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// The largest `index.json`, in bytes; some 200,000 entries.
const MAX_INDEX: u64 = 64 << 20;

/// Bytes of files whose content one map keeps.
const MAX_WEIGHT: usize = 64 << 20;

/// Bytes that an item takes beside its content.
const ITEM_WEIGHT: usize = 512;

/// The coarsest clock that files of local file systems are stamped by, with room to spare.
const CLOCK_TICK: Duration = Duration::from_millis(100);

/// How often one process looks for what others left in a layout.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
