//! A registry that remembers: a cache before any registry, over any store.

mod blob;
mod flight;
mod manifest;
mod origin;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use crate::body::Body;
use crate::body::ByteRange;
use crate::cache::origin::Origin;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Blob;
use crate::registry::Mount;
use crate::registry::PutManifest;
use crate::registry::ReferrerQuery;
use crate::registry::Registry;
use crate::registry::Upload;
use crate::registry::UploadOptions;
use crate::store::CacheStore;

/// How a [`Cached`] registry remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CachedOptions {
    /// Tells this registry from others that use the same store: its host, for instance.
    pub namespace: String,
    /// How long a tag is believed without asking. Zero asks each time, by a HEAD when the manifest is known.
    pub tag_lifetime: Duration,
    /// Never ask the registry: answer from the store, or not at all.
    pub offline: bool,
}

/// A registry before another one, which is asked only for what is not in a store yet.
///
/// **Manifests and blobs by digest** are kept until the store evicts them. That a repository has them is
/// kept for each repository: content that came by way of one is given from another only after the registry
/// has said that it is there.
///
/// **Blobs** are kept as blocks of 1 MiB, counted from their beginning, so that any range is a number of
/// blocks. A run of blocks that are missing is one request. Bytes are given block by block, as they come.
/// A blob that is read whole is checked against its digest on its way; if it is not right, its blocks are
/// removed. A block of a part cannot be checked, here as anywhere: who reads parts checks them. A body that
/// breaks off leaves the blocks that were whole, never a part of one.
///
/// **At the same time** any number of callers who miss the same cause one request. It goes on at the pace
/// of the fastest of them, four blocks ahead at most; who is slower reads from the store. So nobody waits
/// for a slow reader, nothing is held for it, and a download ends when nobody wants it any more. Only when
/// the store keeps nothing does a slow reader cause requests of its own. Memory: six blocks for a download
/// and one for each reader.
///
/// **Tags** are believed for [`CachedOptions::tag_lifetime`]. A registry that is `Unavailable` is stood in
/// for by what it said last, however old. That something is not there is never kept.
///
/// **Writes** pass through, and tags they move are forgotten, by every process with the same store: what was asked
/// before a write is not believed after it, whoever notes it when. Lists pass through; what refers to a manifest is kept
/// on its way, for those who are offline. [`locate_blob`](Registry::locate_blob) says that there is no other place, since who reads elsewhere
/// reads past the cache.
///
/// What is kept is given to whoever may call this registry. Whether a caller may read it is for whoever
/// stands before: put the rules before the cache, or one cache (one namespace) behind each identity.
///
/// Calls want a Tokio runtime, which downloads run on.
#[derive(Clone, Debug)]
pub struct Cached<R> {
    origin: Arc<Origin<R>>,
    fresh: bool,
}

impl<R: Registry> Cached<R> {
    /// Puts a cache before a registry.
    pub fn new(upstream: R, store: Arc<dyn CacheStore>, options: CachedOptions) -> Self {
        Self { origin: Arc::new(Origin::new(upstream, store, options)), fresh: false }
    }

    /// The same cache for those who act on what they find: where a tag points is what the registry says now, by a
    /// HEAD when the manifest is known, or an error; offline, it is what was said last.
    pub fn fresh(&self) -> Self {
        Self { origin: self.origin.clone(), fresh: true }
    }

    /// The registry behind the cache.
    pub fn upstream(&self) -> &R {
        &self.origin.upstream
    }

    /// The registry, unless it is not to be asked.
    fn online(&self) -> Result<&R> {
        self.origin.online("the registry is not asked")
    }
}

#[async_trait]
impl<R: Registry> Registry for Cached<R> {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        blob::get(&self.origin, repo, digest, range).await
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        blob::head(&self.origin, repo, digest).await
    }

    async fn locate_blob(&self, _repo: &RepoName, _digest: &Digest) -> Result<Option<Url>> {
        Ok(None)
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        manifest::get(&self.origin, repo, reference, self.fresh).await
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        manifest::head(&self.origin, repo, reference, self.fresh).await
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        self.online()?.put_blob(repo, descriptor, body).await
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        self.online()?.upload_blob(repo, options).await
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        self.online()?.mount_blob(repo, digest, from).await
    }

    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        let upstream = self.online()?;
        let tags = options.tags.clone();
        // Before, lest the old one be given while the new one is on its way; and after, because of those who
        // asked in between.
        self.origin.forget_tags(repo, &tags).await;
        let put = upstream.put_manifest(repo, manifest, options).await;
        self.origin.forget_tags(repo, &tags).await;
        if let Err(error) = &put
            && *error.code() == Code::ManifestBlobUnknown
        {
            // The registry has lost what we said was there. Who tries again will be told the truth.
            self.origin.forget_parts(repo, manifest).await;
        }
        put
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        let upstream = self.online()?;
        self.origin.forget_blob(repo, digest).await;
        let deleted = upstream.delete_blob(repo, digest).await;
        self.origin.forget_blob(repo, digest).await;
        deleted
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        let upstream = self.online()?;
        self.origin.forget_manifest(repo, reference).await;
        let deleted = upstream.delete_manifest(repo, reference).await;
        self.origin.forget_manifest(repo, reference).await;
        deleted
    }

    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
        self.online()?.list_tags(repo, page).await
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        if self.origin.options.offline
            && let Some(kept) = self.origin.referrers(repo, subject, query).await
        {
            return Ok(kept);
        }
        let before = self.origin.moment();
        let upstream = self.origin.online(format_args!("what refers to {subject} of {repo} is not in the cache"))?;
        let listing = upstream.list_referrers(repo, subject, query).await?;
        self.origin.note_referrers(repo, subject, query, &listing, before).await;
        Ok(listing)
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        self.online()?.list_repos(page).await
    }
}
