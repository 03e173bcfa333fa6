//! Pulling: opening archives, looking at them and at what refers to them.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future;
use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::BlobSource;
use skep_archive::BlockOptions;
use skep_archive::CachedSource;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Result;
use skep_archive::Source;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;

use super::Client;
use super::policy::Wanted;
use crate::address::Address;
use crate::pulled::Inspected;
use crate::pulled::Pulled;
use crate::remote::Remote;

/// How to open an archive.
///
/// That content is verified is no option: whatever is read was checked by its hash, and a part of a file by the
/// hashes of its chunks. Neither is how much is decoded at once: each read decodes by itself, so they are as
/// parallel as they are made.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// What to refuse; what the client refuses if nothing is said.
    pub limits: Option<Limits>,
    /// Ask the registry where a tag points, however short ago that was; unless the client is offline.
    ///
    /// What it says holds for later pulls, too. A registry that is not there is an error.
    pub fresh: bool,
    /// Neither look into caches nor fill them; unless the client is offline, when there is nothing else.
    ///
    /// Files that are read of the archive pass them by, too.
    pub skip_caches: bool,
}

/// Referrers that are listed at most.
const MAX_REFERRERS: usize = 10_000;

impl Client {
    /// Opens an archive: reads manifest and index, and no more. Files are read from it when they are asked for.
    ///
    /// The index is read while it is decided whether the manifest is [allowed](crate::ClientOptions::policies) to be used,
    /// and is given to nobody before.
    ///
    /// # Errors
    /// `ManifestUnknown` of the registry; `InvalidManifest`, `MissingIndex` or `MissingData` when it is
    /// something else than an archive; `InvalidIndex`, `Limit`; `PolicyViolation`.
    pub async fn pull(&self, from: &Address) -> Result<Pulled> {
        self.pull_with(from, PullOptions::default()).await
    }

    /// Opens an archive as options say, otherwise as [`pull`](Self::pull) does.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub async fn pull_with(&self, from: &Address, options: PullOptions) -> Result<Pulled> {
        let (remote, repo) = self.remote(&from.store)?;
        let wanted = wanted(&remote, &repo, from, &options);
        let open = |manifest: Manifest| {
            let parsed = ArchiveManifest::parse(&manifest);
            async {
                let manifest = parsed?;
                let archive = self.open(&remote, &repo, &manifest, options.clone()).await?;
                Ok(Pulled::new(manifest, archive))
            }
        };
        self.manifest_while(wanted, open).await
    }

    /// Reads the manifest of an archive, and no more.
    ///
    /// # Errors
    /// As [`pull`](Self::pull), for the manifest.
    pub async fn fetch(&self, from: &Address) -> Result<ArchiveManifest> {
        self.fetch_with(from, PullOptions::default()).await
    }

    /// Reads the manifest of an archive as options say, and no more.
    ///
    /// # Errors
    /// As [`pull`](Self::pull), for the manifest.
    pub async fn fetch_with(&self, from: &Address, options: PullOptions) -> Result<ArchiveManifest> {
        let (remote, repo) = self.remote(&from.store)?;
        let parse = |manifest: Manifest| future::ready(ArchiveManifest::parse(&manifest));
        self.manifest_while(wanted(&remote, &repo, from, &options), parse).await
    }

    /// Reads manifest and index, and counts what is in the archive.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub async fn inspect(&self, from: &Address) -> Result<Inspected> {
        self.inspect_with(from, PullOptions::default()).await
    }

    /// Reads manifest and index as options say, and counts what is in the archive.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub async fn inspect_with(&self, from: &Address, options: PullOptions) -> Result<Inspected> {
        let pulled = self.pull_with(from, options).await?;
        let place = from.at(pulled.digest().clone());
        Ok(Inspected::new(pulled.manifest().clone(), pulled.index(), self.clone(), place))
    }

    /// Lists what refers to a manifest: signatures, attestations and the like, all or those of one type.
    ///
    /// What a tag stands for is asked for. Registries without a list of referrers keep it under a tag, which is
    /// read then.
    ///
    /// # Errors
    /// `ManifestUnknown` of the registry for a tag that is not there; `Unsupported` when it cannot tell; `Limit`
    /// for more than 10,000.
    pub async fn referrers(&self, of: &Address, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let (remote, repo) = self.remote(&of.store)?;
        let subject = subject(&*remote.acting, &repo, of).await?;
        let mut found = Vec::new();
        let mut referrers = remote.acting.referrers(&repo, &subject, artifact_type);
        while let Some(referrer) = referrers.next().await {
            if found.len() == MAX_REFERRERS {
                let (limit, came) = (MAX_REFERRERS as u64, MAX_REFERRERS as u64 + 1);
                return Err(Error::Limit { what: format!("the list of what refers to {subject}"), limit, came });
            }
            found.push(referrer?);
        }
        Ok(found)
    }

    async fn open(
        &self,
        remote: &Remote,
        repo: &RepoName,
        manifest: &ArchiveManifest,
        options: PullOptions,
    ) -> Result<Archive> {
        let limits = options.limits.unwrap_or_else(|| self.options.limits.clone());
        let data = BlobSource::new(remote.direct.clone(), repo.clone(), manifest.data.clone());
        if options.skip_caches || remote.is_here {
            return Archive::open_over(&*remote.direct, repo, manifest, Arc::new(data), limits).await;
        }
        let data: Arc<dyn Source> = match &self.options.caches.blocks {
            Some(store) => {
                let id = manifest.data.digest.as_str();
                Arc::new(CachedSource::new(Arc::new(data), store.clone(), id, BlockOptions::default()))
            }
            None => Arc::new(data),
        };
        let archive = Archive::open_over(&*remote.looking, repo, manifest, data, limits).await?;
        Ok(match &self.content {
            Some(cache) => archive.with_cache(cache.clone()),
            None => archive,
        })
    }
}

fn wanted<'a>(remote: &'a Remote, repo: &'a RepoName, from: &'a Address, options: &PullOptions) -> Wanted<'a> {
    let (registry, attached) = match options {
        PullOptions { skip_caches: true, .. } => (&remote.direct, &remote.direct),
        PullOptions { fresh: true, .. } => (&remote.acting, &remote.deciding),
        _ => (&remote.looking, &remote.deciding),
    };
    Wanted { from, repo, registry, attached }
}

/// The digest of what an address names.
async fn subject(registry: &dyn Registry, repo: &RepoName, of: &Address) -> Result<Digest> {
    match of.manifest() {
        ManifestRef::Digest(digest) => Ok(digest),
        tag => Ok(registry.head_manifest(repo, &tag).await.map_err(|error| error.context(of))?.digest),
    }
}
