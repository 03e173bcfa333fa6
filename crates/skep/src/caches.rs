//! Caches: what a client remembers, and for how long it believes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skep_archive::Result;
use skep_registry::CacheStore;
use skep_registry::Store;
use skep_registry::StoreOptions;

/// What a [`Client`](crate::Client) remembers of registries. Nothing if nothing is said.
///
/// `docs/caches.md` has the rules. Stores may be shared by any number of clients in any number of processes. What
/// is in one is given to whoever uses it, so those with other credentials want other stores. Layouts are on this
/// machine already, and nothing of them is kept.
#[derive(Clone, Debug)]
pub struct Caches {
    /// Keeps manifests, indexes and where tags point.
    pub metadata: Option<Arc<dyn CacheStore>>,
    /// Keeps content that was read and verified, by its hash: small files and chunks.
    pub content: Option<Arc<dyn CacheStore>>,
    /// Keeps data as it is stored, in blocks of 1 MiB: what lies beside a file that was read comes along.
    pub blocks: Option<Arc<dyn CacheStore>>,
    /// How long those who only look believe where a tag points. A minute if nothing is said.
    pub tag_lifetime: Duration,
    /// Never ask a registry: answer with what is kept, however old, or with `Unavailable`.
    pub offline: bool,
}

impl Caches {
    /// Keeps metadata and content in a bounded directory, which is made with the first thing to keep.
    ///
    /// # Errors
    /// `Unknown` of the registry when there is something else than a directory in its place.
    pub fn in_dir(dir: impl Into<PathBuf>, options: StoreOptions) -> Result<Self> {
        Ok(Self::over(Arc::new(Store::open(dir, options)?)))
    }

    /// Keeps metadata and content in a store of one's own.
    pub fn over(store: Arc<dyn CacheStore>) -> Self {
        Self { metadata: Some(store.clone()), content: Some(store), ..Self::default() }
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self { metadata: None, content: None, blocks: None, tag_lifetime: Duration::from_secs(60), offline: false }
    }
}
