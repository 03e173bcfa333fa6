//! A registry in which nothing that was stored changes or goes away.

use async_trait::async_trait;

use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::registry::PutManifest;
use crate::registry::Registry;

/// A registry to which content and tags can be added, and in which none can be deleted and no tag moved.
///
/// `Denied` is the answer to whoever tries. Storing again what is there already is fine. Whether a tag moves
/// is decided by the registry behind, at once with the write ([`PutManifest::if_absent`]), so of two who make
/// the same tag at the same time one succeeds; when it cannot decide, nothing is stored.
#[derive(Clone, Debug)]
pub struct Immutable<R>(R);

impl<R: Registry> Immutable<R> {
    /// Makes a registry immutable for whoever reaches it through this value.
    pub fn new(inner: R) -> Self {
        Self(inner)
    }

    /// Holds a manifest to the media type under which its bytes are known already.
    ///
    /// A manifest without a type in its content would be another one under another type.
    async fn check_type(&self, repo: &RepoName, manifest: &Manifest) -> Result<()> {
        let known = match self.0.head_manifest(repo, &manifest.digest().clone().into()).await {
            Ok(known) => known.media_type,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        if known != manifest.media_type() {
            let message = format!(
                "{} in {repo} has the type {known:?} and cannot get {:?}",
                manifest.digest(),
                manifest.media_type()
            );
            return Err(Error::new(Code::Denied, message));
        }
        Ok(())
    }
}

#[async_trait]
impl<R: Registry> Registry for Immutable<R> {
    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        self.check_type(repo, manifest).await?;
        let asked = options.if_absent;
        let tags = options.tags.clone();
        let stored = self.0.put_manifest(repo, manifest, PutManifest { if_absent: true, ..options }).await;
        stored.map_err(|error| match error.code() {
            // To whoever asked for new tags only, the answer is the one of any registry.
            Code::PreconditionFailed if !asked => cannot_move(repo, &tags).with_source(error),
            _ => error,
        })
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        Err(cannot_delete(repo, digest.as_str()))
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        Err(cannot_delete(repo, &reference.to_string()))
    }

    crate::forward_registry!(self => self.0; get_blob, head_blob, locate_blob, get_manifest, head_manifest,
        put_blob, upload_blob, mount_blob, list_tags, list_referrers, list_repos);
}

fn cannot_move(repo: &RepoName, tags: &[Tag]) -> Error {
    let message = match tags {
        [tag] => format!("tag {tag} in {repo} cannot be moved"),
        tags => format!("one of the tags {tags:?} in {repo} cannot be moved"),
    };
    Error::new(Code::Denied, message)
}

fn cannot_delete(repo: &RepoName, what: &str) -> Error {
    Error::new(Code::Denied, format!("{what} in {repo} cannot be deleted"))
}
