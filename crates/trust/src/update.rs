//! Updates: trusted roots and signing configurations over the network, by TUF.

use std::path::PathBuf;

use jiff::Timestamp;
use sigstore_trust_root::SigstoreInstance;
use sigstore_tuf::FileStore;
use sigstore_tuf::HttpRepository;
use sigstore_tuf::Repository;
use sigstore_tuf::StoreRepository;
use sigstore_tuf::Updater;
use sigstore_tuf::UpdaterConfig;
use skep_registry::Digest;

use crate::error::Error;
use crate::error::Result;
use crate::error::chain;
use crate::root::Evidence;
use crate::root::TrustedRoot;

/// Where a Sigstore publishes its trusted root and its signing configuration: a TUF repository.
///
/// What comes from it is signed by the keys of the `root.json` one begins with, or by those that these hand over to; it
/// is not older than what came before, and its time is not over. What came is kept in a directory, for anti-rollback
/// and for when the repository is away; it is verified anew whenever it is read.
///
/// ```no_run
/// use skep_trust::{Evidence, Updates};
///
/// # async fn refresh() -> skep_trust::Result<()> {
/// let updates = Updates::sigstore("/var/cache/skep/trust");
/// let root = updates.trusted_root(Evidence::default()).await?;
/// if let Some(why) = &root.away {
///     eprintln!("the root is the one of the last time: {why}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Updates {
    url: String,
    root: Vec<u8>,
    cache: PathBuf,
    offline: bool,
}

/// What came of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updated<T> {
    /// What is published.
    pub value: T,
    /// Why the repository was not asked, if this is what it said the last time, whose own time is not over.
    pub away: Option<String>,
}

impl Updates {
    /// Those of the public Sigstore, from the `root.json` that is built in; kept in `cache`.
    pub fn sigstore(cache: impl Into<PathBuf>) -> Self {
        Self::of(SigstoreInstance::PublicGood, cache)
    }

    /// Those of GitHub's Sigstore for private repositories.
    pub fn github(cache: impl Into<PathBuf>) -> Self {
        Self::of(SigstoreInstance::GitHub, cache)
    }

    /// Those of another Sigstore: the address of its repository, and the `root.json` that one believes.
    pub fn new(url: &str, root: impl Into<Vec<u8>>, cache: impl Into<PathBuf>) -> Self {
        Self { url: url.to_owned(), root: root.into(), cache: cache.into(), offline: false }
    }

    /// Asks a mirror instead. It is believed nothing that is not signed.
    pub fn from_mirror(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    /// Opens no connection: only what was kept, while its time is not over.
    pub fn offline(self) -> Self {
        Self { offline: true, ..self }
    }

    /// The trusted root.
    ///
    /// # Errors
    /// `Trust` when what the repository says is not signed as it should, older than what it said before, or too old; and
    /// when it is away and what was kept is missing or too old.
    ///
    /// # Cancel safety
    /// What was kept is whole.
    pub async fn trusted_root(&self, evidence: Evidence) -> Result<Updated<TrustedRoot>> {
        let Updated { value, away } = self.target("trusted_root.json").await?;
        Ok(Updated { value: TrustedRoot::parse(&self.url, &value, evidence)?, away })
    }

    /// The signing configuration, for [`Services::from_signing_config`](crate::Services::from_signing_config).
    ///
    /// # Errors
    /// As [`trusted_root`](Self::trusted_root).
    ///
    /// # Cancel safety
    /// As [`trusted_root`](Self::trusted_root).
    pub async fn signing_config(&self) -> Result<Updated<String>> {
        self.target("signing_config.v0.2.json").await
    }

    fn of(instance: SigstoreInstance, cache: impl Into<PathBuf>) -> Self {
        Self::new(instance.tuf_url(), instance.tuf_root(), cache)
    }

    async fn target(&self, name: &str) -> Result<Updated<String>> {
        let failed = |error: sigstore_tuf::Error| Error::trust(&self.url, chain(&error));
        // Each root has a directory of its own, so that versions of one are not held against those of another.
        let store = FileStore::new(self.cache.join(&Digest::sha256(&self.root).hex()[..16]));
        let kept = || self.read(StoreRepository::new(store.clone()), store.clone(), name);
        if self.offline {
            let value = kept().await.map_err(failed)?;
            return Ok(Updated { value, away: Some("no connection was wanted".to_owned()) });
        }
        let repository = HttpRepository::new(&self.url).map_err(failed)?;
        match self.read(repository, store.clone(), name).await {
            Ok(value) => Ok(Updated { value, away: None }),
            // What is away may be kept from us, which is bounded by the time that what was kept is signed for. What is
            // there and does not hold is no reason to go on.
            Err(error @ sigstore_tuf::Error::Transport { .. }) => match kept().await {
                Ok(value) => Ok(Updated { value, away: Some(chain(&error)) }),
                Err(_) => Err(failed(error)),
            },
            Err(error) => Err(failed(error)),
        }
    }

    async fn read(
        &self,
        repository: impl Repository + 'static,
        store: FileStore,
        name: &str,
    ) -> sigstore_tuf::Result<String> {
        let mut config = UpdaterConfig::default();
        config.target_max_length = 1 << 20;
        let now = Timestamp::now();
        let mut updater = Updater::new(repository, &self.root)?.with_config(config).with_store(store);
        updater.refresh(now).await?;
        let bytes = updater.get_target(name, now).await?;
        String::from_utf8(bytes).map_err(|error| sigstore_tuf::Error::Malformed(format!("{name}: {error}")))
    }
}
