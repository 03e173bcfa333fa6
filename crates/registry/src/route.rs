//! Routes: registries whose repositories are kept elsewhere, under other names or by several registries.

mod names;
mod prefix;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::body::Body;
use crate::body::ByteRange;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::list;
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

pub use names::Names;
pub use names::Routes;
pub use prefix::prefixed;

/// Says where repositories are kept.
#[async_trait]
pub trait Router: Debug + Send + Sync + 'static {
    /// Where a repository is kept, whether it exists or not. Two names must not lead to one place.
    ///
    /// # Errors
    /// `NameUnknown` when it is kept nowhere.
    fn route(&self, repo: &RepoName) -> Result<Route>;

    /// Lists the repositories by the names that [`route`](Self::route) takes, in lexical order.
    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>>;
}

/// Where one repository is kept.
#[derive(Clone, Debug)]
pub struct Route {
    /// The registry that has it.
    pub registry: Arc<dyn Registry>,
    /// Its name there.
    pub repo: RepoName,
}

/// A registry of the repositories to which a [`Router`] knows the way.
///
/// Blobs can be mounted between repositories that one registry keeps, when it is said where from.
#[derive(Clone, Debug)]
pub struct Routed<T>(T);

impl<T: Router> Routed<T> {
    /// Makes a registry of a router.
    pub fn new(router: T) -> Self {
        Self(router)
    }
}

#[async_trait]
impl<T: Router> Registry for Routed<T> {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        let to = self.0.route(repo)?;
        to.registry.get_blob(&to.repo, digest, range).await
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        let to = self.0.route(repo)?;
        to.registry.head_blob(&to.repo, digest).await
    }

    async fn locate_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<Url>> {
        let to = self.0.route(repo)?;
        to.registry.locate_blob(&to.repo, digest).await
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        let to = self.0.route(repo)?;
        to.registry.get_manifest(&to.repo, reference).await
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        let to = self.0.route(repo)?;
        to.registry.head_manifest(&to.repo, reference).await
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        let to = self.0.route(repo)?;
        to.registry.put_blob(&to.repo, descriptor, body).await
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        let to = self.0.route(repo)?;
        to.registry.upload_blob(&to.repo, options).await
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        // The registry behind would look through repositories to which no route leads.
        let Some(source) = from else { return Err(list::from_anywhere(digest)) };
        let (to, from) = (self.0.route(repo)?, self.0.route(source)?);
        if !Arc::ptr_eq(&to.registry, &from.registry) {
            let message = format!("{digest} cannot be mounted, {source} and {repo} are kept by different registries");
            return Err(Error::new(Code::Unsupported, message));
        }
        to.registry.mount_blob(&to.repo, digest, Some(&from.repo)).await
    }

    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        let to = self.0.route(repo)?;
        to.registry.put_manifest(&to.repo, manifest, options).await
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        let to = self.0.route(repo)?;
        to.registry.delete_blob(&to.repo, digest).await
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        let to = self.0.route(repo)?;
        to.registry.delete_manifest(&to.repo, reference).await
    }

    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
        let to = self.0.route(repo)?;
        to.registry.list_tags(&to.repo, page).await
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        let to = self.0.route(repo)?;
        to.registry.list_referrers(&to.repo, subject, query).await
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        self.0.list_repos(page).await
    }
}
