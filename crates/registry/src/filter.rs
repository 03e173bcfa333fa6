//! Filters: registries that see every call to another registry, and the bytes that go with it.

mod call;
mod guard;
mod limit;
mod timeout;
mod upload;
mod watch;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
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

pub use call::Access;
pub use call::Call;
pub use call::Op;
pub use guard::guarded;
pub use guard::read_only;
pub use guard::select;
pub use limit::LimitOptions;
pub use limit::limited;
pub use timeout::idle_timeout;
use upload::FilteredUpload;
pub use watch::Meter;
pub use watch::Outcome;
pub use watch::Usage;
pub use watch::metered;
pub use watch::traced;

/// Sees every call to a registry: whether it may happen, what runs around it, what wraps its bytes.
///
/// A call goes through [`admit`](Self::admit), [`enter`](Self::enter), [`receive`](Self::receive) if it
/// brings a body, [`around`](Self::around), and [`send`](Self::send) if it answers with one. Each part of
/// an upload is a call of its own, and so is its end.
///
/// What may leave something open has no default: a filter says what it admits and what it hides.
pub trait Filter: Debug + Send + Sync + 'static {
    /// What goes with one call, from its beginning to the last byte of its body; dropped, the call is over.
    type Pass: Send + 'static;

    /// Decides whether a call may happen. It is not begun when the answer is an error.
    ///
    /// This is also asked without a call to follow: with [`Op::GetBlob`] of the repository that a blob is to
    /// be mounted from, and with [`Op::GetManifest`] of each repository that is to be listed.
    fn admit(&self, call: Call<'_>) -> Result<()>;

    /// Tells whether there may be repositories that must not be read.
    ///
    /// Then they are left out of the list of repositories, and a mount has to say where from.
    fn hides(&self) -> bool;

    /// Begins a call that was admitted; may wait.
    fn enter(&self, call: Call<'_>) -> impl Future<Output = Result<Self::Pass>> + Send;

    /// Wraps a body on its way into the registry.
    fn receive(&self, _pass: &mut Self::Pass, body: Body) -> Body {
        body
    }

    /// Runs around the call, until it is answered.
    fn around<T: Send>(
        &self,
        _pass: &mut Self::Pass,
        call: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send {
        call
    }

    /// Hears of the bytes of a manifest, which goes in one piece.
    fn carry(&self, _pass: &mut Self::Pass, _bytes: u64) {}

    /// Wraps a body on its way out of the registry; keeps the pass until that has ended or was dropped.
    fn send(&self, pass: Self::Pass, body: Body) -> Body {
        hold(body, pass)
    }
}

/// A registry seen through a [`Filter`].
#[derive(Debug)]
pub struct Filtered<R, F> {
    inner: R,
    filter: Arc<F>,
}

impl<R: Registry, F: Filter> Filtered<R, F> {
    /// Puts a filter before a registry, which is not to be reached around it from then on.
    pub fn new(inner: R, filter: F) -> Self {
        Self { inner, filter: Arc::new(filter) }
    }

    async fn enter(&self, op: Op, repo: &RepoName) -> Result<F::Pass> {
        enter(&*self.filter, Call { op, repo: Some(repo) }).await
    }

    fn upload(&self, repo: &RepoName, inner: Box<dyn Upload>) -> Box<dyn Upload> {
        Box::new(FilteredUpload::new(inner, self.filter.clone(), repo.clone()))
    }

    /// One page of the repositories that may be read, as full as if there were no others.
    async fn list_open_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        let repos = list::repos(&self.inner, page.after.clone(), page);
        let open = repos.try_filter_map(|repo| {
            let read = self.filter.admit(Call { op: Op::GetManifest, repo: Some(&repo) });
            std::future::ready(match read {
                Ok(()) => Ok(Some(repo)),
                Err(error) if is_refusal(&error) => Ok(None),
                // Whoever decides cannot say; a shorter list would be a wrong one.
                Err(error) => Err(error),
            })
        });
        list::gather(open, page).await
    }
}

fn is_refusal(error: &Error) -> bool {
    error.is_not_found() || matches!(error.code(), Code::Denied | Code::Unauthorized | Code::Unsupported)
}

#[async_trait]
impl<R: Registry, F: Filter> Registry for Filtered<R, F> {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        let mut pass = self.enter(Op::GetBlob, repo).await?;
        let mut blob = self.filter.around(&mut pass, self.inner.get_blob(repo, digest, range)).await?;
        blob.body = self.filter.send(pass, blob.body);
        Ok(blob)
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        let mut pass = self.enter(Op::HeadBlob, repo).await?;
        self.filter.around(&mut pass, self.inner.head_blob(repo, digest)).await
    }

    async fn locate_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<Url>> {
        let mut pass = self.enter(Op::LocateBlob, repo).await?;
        self.filter.around(&mut pass, self.inner.locate_blob(repo, digest)).await
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        let mut pass = self.enter(Op::GetManifest, repo).await?;
        let manifest = self.filter.around(&mut pass, self.inner.get_manifest(repo, reference)).await?;
        self.filter.carry(&mut pass, manifest.bytes().len() as u64);
        Ok(manifest)
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        let mut pass = self.enter(Op::HeadManifest, repo).await?;
        self.filter.around(&mut pass, self.inner.head_manifest(repo, reference)).await
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        let mut pass = self.enter(Op::PutBlob, repo).await?;
        let body = self.filter.receive(&mut pass, body);
        self.filter.around(&mut pass, self.inner.put_blob(repo, descriptor, body)).await
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        let mut pass = self.enter(Op::UploadBlob, repo).await?;
        let upload = self.filter.around(&mut pass, self.inner.upload_blob(repo, options)).await?;
        Ok(self.upload(repo, upload))
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        // A mount reads one repository and writes another. From any repository it would read them all, and
        // what came of it would tell what is in those that are hidden.
        match from {
            Some(_) => self.filter.admit(Call { op: Op::GetBlob, repo: from })?,
            None if self.filter.hides() => return Err(list::from_anywhere(digest)),
            None => {}
        }
        let mut pass = self.enter(Op::MountBlob, repo).await?;
        Ok(match self.filter.around(&mut pass, self.inner.mount_blob(repo, digest, from)).await? {
            Mount::Mounted => Mount::Mounted,
            Mount::Upload(upload) => Mount::Upload(self.upload(repo, upload)),
        })
    }

    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        let mut pass = self.enter(Op::PutManifest, repo).await?;
        self.filter.carry(&mut pass, manifest.bytes().len() as u64);
        self.filter.around(&mut pass, self.inner.put_manifest(repo, manifest, options)).await
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        let mut pass = self.enter(Op::DeleteBlob, repo).await?;
        self.filter.around(&mut pass, self.inner.delete_blob(repo, digest)).await
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        let mut pass = self.enter(Op::DeleteManifest, repo).await?;
        self.filter.around(&mut pass, self.inner.delete_manifest(repo, reference)).await
    }

    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
        let mut pass = self.enter(Op::ListTags, repo).await?;
        self.filter.around(&mut pass, self.inner.list_tags(repo, page)).await
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        let mut pass = self.enter(Op::ListReferrers, repo).await?;
        self.filter.around(&mut pass, self.inner.list_referrers(repo, subject, query)).await
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        let mut pass = enter(&*self.filter, Call { op: Op::ListRepos, repo: None }).await?;
        if self.filter.hides() {
            self.filter.around(&mut pass, self.list_open_repos(page)).await
        } else {
            self.filter.around(&mut pass, self.inner.list_repos(page)).await
        }
    }
}

async fn enter<F: Filter>(filter: &F, call: Call<'_>) -> Result<F::Pass> {
    filter.admit(call)?;
    filter.enter(call).await
}

/// Keeps a value until a body has ended, broken off or been dropped.
fn hold<T: Send + 'static>(body: Body, value: T) -> Body {
    let len = body.len();
    let parts = stream::unfold(Some((body, value)), |state| async {
        let (mut body, value) = state?;
        let part = body.next().await?;
        let rest = part.is_ok().then_some((body, value));
        Some((part, rest))
    });
    Body::new(len, parts)
}
