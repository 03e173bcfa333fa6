//! Mirrors: registries that are read in place of another one.

use std::sync::Arc;

use async_trait::async_trait;
use skep_registry::Blob;
use skep_registry::ByteRange;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use url::Url;

use crate::client::Client;
use crate::client::ClientOptions;

/// A registry whose blobs and manifests are read from others first.
///
/// Mirrors are asked in order, and whatever one of them says but the thing itself leads to the next one and at
/// last to the registry. Lists come from the registry, because mirrors know of what passed them only; so does
/// whatever writes.
#[derive(Debug)]
pub struct Mirrors {
    mirrors: Vec<Arc<dyn Registry>>,
    origin: Arc<dyn Registry>,
}

impl Mirrors {
    /// Puts mirrors in front of a registry.
    pub fn new(mirrors: Vec<Arc<dyn Registry>>, origin: Arc<dyn Registry>) -> Self {
        Self { mirrors, origin }
    }

    /// Makes the client for a registry, with the mirrors that its settings name in front.
    ///
    /// Each mirror has the settings of its own host, and is tried once: the next one is faster than a pause.
    /// The credentials of `options` are asked for the mirror's own host.
    ///
    /// # Errors
    /// As [`Client::new`], for the registry and each mirror.
    pub fn of(host: &str, options: ClientOptions) -> Result<Self> {
        let known_as = host.split_once("://").map_or(host, |(_, rest)| rest).trim_end_matches('/');
        let names = options.registries.get(known_as).map(|settings| settings.mirrors.clone()).unwrap_or_default();
        let mut mirrors: Vec<Arc<dyn Registry>> = Vec::new();
        for name in &names {
            let mut options = options.clone();
            options.retry.attempts = 1;
            mirrors.push(Arc::new(Client::new(name, options)?));
        }
        Ok(Self::new(mirrors, Arc::new(Client::new(host, options)?)))
    }

    /// Asks one registry after the other.
    async fn read<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn(Arc<dyn Registry>) -> F) -> Result<T> {
        for mirror in &self.mirrors {
            match ask(mirror.clone()).await {
                Ok(found) => return Ok(found),
                Err(error) => tracing::debug!(%error, ?mirror, "not from the mirror"),
            }
        }
        ask(self.origin.clone()).await
    }
}

#[async_trait]
impl Registry for Mirrors {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        self.read(|registry| async move { registry.get_blob(repo, digest, range).await }).await
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        self.read(|registry| async move { registry.head_blob(repo, digest).await }).await
    }

    async fn locate_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<Url>> {
        self.read(|registry| async move { registry.locate_blob(repo, digest).await }).await
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        self.read(|registry| async move { registry.get_manifest(repo, reference).await }).await
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        self.read(|registry| async move { registry.head_manifest(repo, reference).await }).await
    }

    skep_registry::forward_registry!(self => self.origin; put_blob, upload_blob, mount_blob, put_manifest,
        delete_blob, delete_manifest, list_tags, list_referrers, list_repos);
}
