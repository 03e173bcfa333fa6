//! Several registries as one: content is read from any of them and written to all, or to the first.

mod ask;
mod merge;
mod repair;
mod tee;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future;
use url::Url;

use crate::body::Body;
use crate::body::ByteRange;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
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
use crate::unify::ask::join;
use crate::unify::ask::outcome;
use crate::unify::ask::removed;
use crate::unify::tee::tee;

pub use crate::unify::repair::RepairOptions;
pub use crate::unify::repair::Repaired;

/// How several registries behave as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnifyOptions {
    /// Who is asked for content by digest.
    pub read: ReadPolicy,
    /// Who gets what is written.
    pub write: WritePolicy,
    /// Who must answer where one answer is not enough: for tags and for lists.
    pub quorum: Quorum,
}

/// Who is asked for what is found by its digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadPolicy {
    /// One after the other, until one has it.
    #[default]
    InOrder,
    /// All at once; the first that has it wins, the others are given up.
    Race,
}

/// Who gets what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WritePolicy {
    /// All registries, at once.
    #[default]
    All,
    /// The first registry; the others are only read.
    Primary,
}

/// Who must answer when tags are resolved and lists are made. That something is not there is an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quorum {
    /// All registries: one that fails may be the one that knows the tag moved.
    #[default]
    All,
    /// Any registry: those that fail are left out, as long as one answers.
    Any,
}

/// Several registries as one.
///
/// **Reads by digest** succeed when one registry has what is asked for. When none has, the error is "not
/// found" if all say so, else the first error that says something else. A body that breaks off on its way
/// is not taken up again elsewhere.
///
/// **Tags** are asked of all registries. One that does not know the tag does not count; those that know it
/// must agree, else the error is `TAG_CONFLICT` with status 409 and names what each of them has. (No code
/// of the specification means this, and each would be acted on: 404 by creating the tag, 5xx by trying
/// again.) [`Quorum`] says what becomes of registries that fail.
///
/// **Writes** go to all registries at once, bodies at the pace of the slowest and with two parts of them in
/// memory for each registry. A registry that has a blob already and does not read it holds up nobody. When
/// only some of them have done it, the error is that of the first that failed, and says who has and who has
/// not; writing again, or [`repair`](Self::repair), mends it. Something is deleted when one registry had it.
///
/// **Uploads** stand where the one that is furthest behind stands; the others skip what they have.
///
/// **Lists** are merged page by page, with one page of each registry in memory.
///
/// Errors name registries by their place, counted from 0.
#[derive(Clone, Debug)]
pub struct Unified {
    members: Arc<[Arc<dyn Registry>]>,
    options: UnifyOptions,
}

impl Unified {
    /// Joins registries, the most important one first.
    ///
    /// # Errors
    /// `Unsupported` when there are none.
    pub fn new(registries: Vec<Arc<dyn Registry>>, options: UnifyOptions) -> Result<Self> {
        if registries.is_empty() {
            return Err(Error::new(Code::Unsupported, "expected one registry or more to unify, got none"));
        }
        Ok(Self { members: registries.into(), options })
    }

    /// Those that are written to.
    fn targets(&self) -> &[Arc<dyn Registry>] {
        match self.options.write {
            WritePolicy::All => &self.members,
            WritePolicy::Primary => &self.members[..1],
        }
    }

    /// Refuses a manifest whose tags one of the registries has for another one.
    ///
    /// Each decides it again with the write, but then the others would have written.
    async fn require_absent(&self, repo: &RepoName, manifest: &Manifest, tags: &[Tag]) -> Result<()> {
        for tag in tags {
            let reference = ManifestRef::Tag(tag.clone());
            let heads = join(self.targets(), |member| member.head_manifest(repo, &reference)).await;
            for (place, head) in heads.into_iter().enumerate() {
                match head {
                    Ok(head) if head.digest != *manifest.digest() => {
                        let message = format!("registry {place}: tag {tag} in {repo} points to {}", head.digest);
                        return Err(Error::new(Code::PreconditionFailed, message));
                    }
                    Err(error) if !error.is_not_found() => return Err(error.context(ask::Place(place))),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Registry for Unified {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        self.first(|member| member.get_blob(repo, digest, range)).await
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        self.first(|member| member.head_blob(repo, digest)).await
    }

    async fn locate_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<Url>> {
        self.first(|member| member.locate_blob(repo, digest)).await
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        let ManifestRef::Tag(tag) = reference else {
            return self.first(|member| member.get_manifest(repo, reference)).await;
        };
        // The manifest comes from the first; of the others it is enough to know which one they mean.
        let (primary, others) = self.members.split_first().expect("there is a registry");
        let manifest = primary.get_manifest(repo, reference);
        let heads = join(others, |member| member.head_manifest(repo, reference));
        let (manifest, heads) = future::join(manifest, heads).await;
        let (manifest, head) = match manifest {
            Ok(manifest) => (Some(manifest.clone()), Ok(manifest.descriptor().clone())),
            Err(error) => (None, Err(error)),
        };
        let (place, agreed) = self.agree(repo, tag, std::iter::once(head).chain(heads).collect())?;
        match manifest {
            Some(manifest) => Ok(manifest),
            None => self.members[place].get_manifest(repo, &agreed.digest.into()).await,
        }
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        let ManifestRef::Tag(tag) = reference else {
            return self.first(|member| member.head_manifest(repo, reference)).await;
        };
        let heads = join(&self.members, |member| member.head_manifest(repo, reference)).await;
        self.agree(repo, tag, heads).map(|(_, agreed)| agreed)
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        if let [only] = self.targets() {
            return only.put_blob(repo, descriptor, body).await;
        }
        let puts = self.targets().iter().map(|member| (0, |body| member.put_blob(repo, descriptor, body)));
        outcome(tee(body, puts).await?).map(|_| ())
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        match self.targets() {
            [only] => only.upload_blob(repo, options).await,
            targets => upload::begin(targets, repo, options).await,
        }
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        match self.targets() {
            [only] => only.mount_blob(repo, digest, from).await,
            targets => upload::mount(targets, repo, digest, from).await,
        }
    }

    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        if let [only] = self.targets() {
            return only.put_manifest(repo, manifest, options).await;
        }
        if options.if_absent {
            self.require_absent(repo, manifest, &options.tags).await?;
        }
        let puts = join(self.targets(), |member| member.put_manifest(repo, manifest, options.clone()));
        outcome(puts.await).map(|_| ())
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        removed(join(self.targets(), |member| member.delete_blob(repo, digest)).await)
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        removed(join(self.targets(), |member| member.delete_manifest(repo, reference)).await)
    }

    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
        let list = |member| move |page| async move { Registry::list_tags(member, repo, &page).await }.boxed();
        self.merge(page, list, ToString::to_string).await
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        let artifact_type = &query.artifact_type;
        let list = |member| {
            move |page| {
                let query = ReferrerQuery { artifact_type: artifact_type.clone(), page };
                async move { Registry::list_referrers(member, repo, subject, &query).await }.boxed()
            }
        };
        self.merge(&query.page, list, |referrer| referrer.digest.to_string()).await
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        let list = |member| move |page| async move { Registry::list_repos(member, &page).await }.boxed();
        self.merge(page, list, ToString::to_string).await
    }
}
