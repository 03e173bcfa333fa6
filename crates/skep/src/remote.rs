//! Remotes: one registry, as those see it who look, and those who act on what they see.

use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use skep_registry::Blob;
use skep_registry::ByteRange;
use skep_registry::Cached;
use skep_registry::CachedOptions;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::MemoryStore;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;

use crate::caches::Caches;

/// A registry, and what is remembered of it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// Tags are believed for a while, and what is read is kept.
    pub(crate) looking: Arc<dyn Registry>,
    /// Tags are what the registry says now, and blobs are not kept.
    pub(crate) acting: Arc<dyn Registry>,
    /// What is attached to manifests, to decide by: tags and lists are what the registry says now, and what is read is kept
    /// for when it is not to be asked.
    pub(crate) deciding: Arc<dyn Registry>,
    /// The registry without any cache; but when it is not to be asked, what is kept of it.
    pub(crate) direct: Arc<dyn Registry>,
    /// It is on this machine, and nothing of it is kept.
    pub(crate) is_here: bool,
    offline: bool,
}

impl Remote {
    /// A registry on this machine.
    pub(crate) fn here(registry: Arc<dyn Registry>) -> Self {
        Self { is_here: true, ..Self::same(registry) }
    }

    fn same(registry: Arc<dyn Registry>) -> Self {
        let (looking, acting, deciding) = (registry.clone(), registry.clone(), registry.clone());
        Self { looking, acting, deciding, direct: registry, is_here: false, offline: false }
    }

    /// Refuses to write what would be told to nobody.
    pub(crate) fn writable(&self, what: impl Display) -> Result<()> {
        match self.offline {
            true => Err(Error::new(Code::Unavailable, format!("offline: {what} cannot be written"))),
            false => Ok(()),
        }
    }

    /// A registry with the caches of a client. The namespace tells it from others.
    pub(crate) fn new(upstream: Arc<dyn Registry>, namespace: String, caches: &Caches) -> Self {
        let Caches { tag_lifetime, offline, .. } = *caches;
        let store = match &caches.metadata {
            Some(store) => store.clone(),
            // What is not to be asked is not asked, whether there is something to answer with or not.
            None if offline => Arc::new(MemoryStore::new(0)),
            None => return Self::same(upstream),
        };
        let cached = Cached::new(upstream.clone(), store, CachedOptions { namespace, tag_lifetime, offline });
        if offline {
            return Self { offline, ..Self::same(Arc::new(cached)) };
        }
        let (acting, deciding) = (Arc::new(Acting(cached.fresh())), Arc::new(cached.fresh()));
        Self { looking: Arc::new(cached), acting, deciding, direct: upstream, is_here: false, offline }
    }
}

/// A cached registry for those who act: push, tag, copy, remove, sign.
///
/// Manifests come from the cache, since their digest says what they are. What the registry has, it says itself: who
/// pushes relies on it.
#[derive(Debug)]
struct Acting(Cached<Arc<dyn Registry>>);

#[async_trait]
impl Registry for Acting {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        self.0.upstream().get_blob(repo, digest, range).await
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        self.0.upstream().head_blob(repo, digest).await
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        self.0.get_manifest(repo, reference).await
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        match reference {
            ManifestRef::Digest(_) => self.0.upstream().head_manifest(repo, reference).await,
            ManifestRef::Tag(_) => self.0.head_manifest(repo, reference).await,
        }
    }

    skep_registry::forward_registry!(self => self.0.upstream(); locate_blob, list_tags, list_referrers, list_repos);
    skep_registry::forward_registry!(self => self.0; put_blob, upload_blob, mount_blob, put_manifest, delete_blob,
        delete_manifest);
}
