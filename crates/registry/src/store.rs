//! Stores of values under caches: the trait, and the bounded directory that any number of processes share.

mod entry;
mod file;
mod key;
mod ledger;
mod memory;

use std::fmt::Debug;
use std::io;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::store::file::Dir;
use crate::store::ledger::Ledger;

pub use crate::store::key::Key;
pub use crate::store::memory::MemoryStore;

/// The largest value that a [`Store`] takes, in bytes.
pub const MAX_VALUE: usize = 16 << 20;

/// A place for values that may vanish at any time, and never change.
///
/// Nothing here fails: what cannot be read is not there, what cannot be kept is dropped.
#[async_trait]
pub trait CacheStore: Debug + Send + Sync + 'static {
    /// The value of a key: the bytes that were put last, or none. A value that may have been changed since is
    /// given only if [`Key::accepts`] it.
    async fn get(&self, key: &Key) -> Option<Bytes>;

    /// Tells whether there seems to be a value, for less than it takes to read it.
    async fn has(&self, key: &Key) -> bool;

    /// Keeps a value, if it can. It is there for [`get`](Self::get) when this returns.
    ///
    /// A value that does not have the digest that its key names is dropped.
    async fn put(&self, key: &Key, value: Bytes);

    /// Forgets a value.
    async fn remove(&self, key: &Key);
}

#[async_trait]
impl<S: CacheStore + ?Sized> CacheStore for Arc<S> {
    async fn get(&self, key: &Key) -> Option<Bytes> {
        (**self).get(key).await
    }

    async fn has(&self, key: &Key) -> bool {
        (**self).has(key).await
    }

    async fn put(&self, key: &Key, value: Bytes) {
        (**self).put(key, value).await;
    }

    async fn remove(&self, key: &Key) {
        (**self).remove(key).await;
    }
}

/// How a [`Store`] is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes that the files have together, at most. Four gibibytes if nothing is said.
    ///
    /// What is being written just now, one file for each writer, comes on top, and so does what the file
    /// system needs for names and for the ends of files.
    pub max_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { max_bytes: 4 << 30 }
    }
}

/// A bounded directory of values, for any number of caches in any number of processes.
///
/// Each value is a file that is checked against a hash whenever it is read, is written whole before it is
/// seen, and is not synced: what a crash leaves broken is found out and is a miss. When there is no more
/// room, files go that were not used for longest, to the minute; in a large store that is so by sampling,
/// so that no write ever walks the whole directory. Opening a store looks at nothing.
///
/// A full disk, a directory that cannot be written or a broken file costs speed, never an answer. The first
/// such event of a handle is a warning, the others are for debugging.
///
/// Values of up to [`MAX_VALUE`] bytes are kept. Calls want a Tokio runtime, whose blocking threads do the
/// work on files. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Store {
    dir: Dir,
    options: StoreOptions,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    complained: AtomicBool,
    swept: AtomicBool,
}

/// What is in a [`Store`], and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes of all files.
    pub bytes: u64,
    /// How many values there are.
    pub entries: u64,
    /// Bytes that there may be.
    pub max_bytes: u64,
    /// Values that were asked of this handle and were there.
    pub hits: u64,
    /// Values that were asked of this handle and were not there, or were broken.
    pub misses: u64,
}

/// What [`Store::verify`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCheck {
    /// Values that are as they were written.
    pub whole: u64,
    /// Values that were not, and were removed.
    pub broken: u64,
}

impl Store {
    /// Opens a store. Nothing is read or written; the directory is made with the first value.
    ///
    /// # Errors
    /// `Unknown` when there is something else than a directory in its place.
    pub fn open(dir: impl Into<PathBuf>, options: StoreOptions) -> Result<Self> {
        let dir = dir.into();
        let failed = |error| Error::io(format_args!("open {}", dir.display()), error);
        if dir.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(failed(ErrorKind::NotADirectory.into()));
        }
        // Absolute, so that it stays where it is when the process goes elsewhere.
        let dir = std::path::absolute(&dir).map_err(failed)?;
        Ok(Self { dir: Dir::new(dir), options, counters: Arc::default() })
    }

    /// What is in the store. No file but one is looked at.
    pub async fn stats(&self) -> StoreStats {
        let tally = self.work(|dir| Ok(Ledger::peek(dir.path()))).await.unwrap_or_default();
        StoreStats {
            bytes: tally.bytes,
            entries: tally.entries,
            max_bytes: self.options.max_bytes,
            hits: self.counters.hits.load(Ordering::Relaxed),
            misses: self.counters.misses.load(Ordering::Relaxed),
        }
    }

    /// Removes every value.
    ///
    /// # Errors
    /// `Unknown` when a file cannot be removed.
    pub async fn clear(&self) -> Result<()> {
        self.work(|dir| dir.clear()).await.map_err(|error| self.failed("clear", error))
    }

    /// Removes what was not used for longest, until the files have so many bytes at most.
    ///
    /// # Errors
    /// `Unknown` when a file cannot be removed.
    pub async fn prune(&self, to: u64) -> Result<()> {
        self.work(move |dir| dir.prune(to)).await.map_err(|error| self.failed("prune", error))
    }

    /// Reads every value, removes those that are broken, and counts anew.
    ///
    /// # Errors
    /// `Unknown` when a file cannot be removed.
    pub async fn verify(&self) -> Result<StoreCheck> {
        let verified = self.work(|dir| dir.verify()).await;
        let (whole, broken) = verified.map_err(|error| self.failed("verify", error))?;
        Ok(StoreCheck { whole, broken })
    }

    /// Does work on files, on a thread that may block.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Dir) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || work(&dir)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::new(Code::Unknown, format!("{what} {}", self.dir.path().display())).with_source(error)
    }

    fn complain(&self, what: &str, error: &io::Error) {
        let dir = self.dir.path().display();
        if self.counters.complained.swap(true, Ordering::Relaxed) {
            tracing::debug!(%dir, %error, "cannot {what} the cache");
        } else {
            tracing::warn!(%dir, %error, "cannot {what} the cache; going on without");
        }
    }
}

#[async_trait]
impl CacheStore for Store {
    async fn get(&self, key: &Key) -> Option<Bytes> {
        let key = key.clone();
        let value = self.work(move |dir| dir.get(&key)).await;
        let value = value.inspect_err(|error| self.complain("read", error)).unwrap_or_default();
        let counter = if value.is_some() { &self.counters.hits } else { &self.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        value
    }

    async fn has(&self, key: &Key) -> bool {
        let key = key.clone();
        self.work(move |dir| Ok(dir.has(&key))).await.unwrap_or_default()
    }

    async fn put(&self, key: &Key, value: Bytes) {
        let (key, max) = (key.clone(), self.options.max_bytes);
        let sweep = !self.counters.swept.swap(true, Ordering::Relaxed);
        let put = self.work(move |dir| {
            if sweep {
                dir.sweep(SystemTime::now());
            }
            dir.put(&key, &value, max)
        });
        if let Err(error) = put.await {
            self.complain("write", &error);
        }
    }

    async fn remove(&self, key: &Key) {
        let key = key.clone();
        if let Err(error) = self.work(move |dir| dir.remove(&key)).await {
            self.complain("write", &error);
        }
    }
}
