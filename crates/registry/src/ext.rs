//! Conveniences: what can be had from the calls of any registry.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::BoxStream;

use crate::body::Body;
use crate::descriptor::Descriptor;
use crate::descriptor::OCTET_STREAM;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::ReferrerQuery;
use crate::registry::Registry;

/// Calls that every registry has, because they are made of others.
#[async_trait]
pub trait RegistryExt: Registry {
    /// Tells whether a blob is there.
    async fn has_blob(&self, repo: &RepoName, digest: &Digest) -> Result<bool> {
        found(self.head_blob(repo, digest).await)
    }

    /// Reads a blob whole into memory, `limit` bytes at most, and checks its digest.
    ///
    /// # Errors
    /// As [`Registry::get_blob`]; `SizeInvalid` when it is larger than `limit`; `DigestInvalid`.
    async fn read_blob(&self, repo: &RepoName, digest: &Digest, limit: u64) -> Result<Bytes> {
        // The registry checks whole blobs on their way; hashing them here again would add nothing.
        let blob = self.get_blob(repo, digest, None).await?;
        let size = blob.descriptor.size;
        blob.narrow(0..size)?.bytes(limit).await
    }

    /// Stores bytes as a blob.
    async fn write_blob(&self, repo: &RepoName, bytes: Bytes) -> Result<Descriptor> {
        let descriptor = Descriptor::of(OCTET_STREAM, &bytes);
        self.put_blob(repo, &descriptor, Body::from(bytes)).await?;
        Ok(descriptor)
    }

    /// Deletes a manifest, or a tag, if it is there. Tells whether it was.
    ///
    /// # Errors
    /// As [`Registry::delete_manifest`], but for what is not there.
    async fn remove_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<bool> {
        found(self.delete_manifest(repo, reference).await)
    }

    /// All tags of a repository, in lexical order, page by page as they are asked for.
    fn tags<'a>(&'a self, repo: &'a RepoName) -> BoxStream<'a, Result<Tag>> {
        pages(Page::default(), move |page| Box::pin(async move { self.list_tags(repo, &page).await })).boxed()
    }

    /// All repositories, in lexical order, page by page as they are asked for.
    fn repos(&self) -> BoxStream<'_, Result<RepoName>> {
        pages(Page::default(), move |page| Box::pin(async move { self.list_repos(&page).await })).boxed()
    }

    /// All manifests whose subject is a digest, page by page as they are asked for.
    fn referrers<'a>(
        &'a self,
        repo: &'a RepoName,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Descriptor>> {
        pages(Page::default(), move |page| {
            let query = ReferrerQuery { artifact_type: artifact_type.map(str::to_owned), page };
            Box::pin(async move { self.list_referrers(repo, subject, &query).await })
        })
        .boxed()
    }
}

impl<R: Registry + ?Sized> RegistryExt for R {}

fn found<T>(result: Result<T>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The items of a page and of all that follow it; the stream ends after the first error.
pub(crate) fn pages<'a, T: Send + 'a>(
    first: Page,
    list: impl Fn(Page) -> BoxFuture<'a, Result<Listing<T>>> + Send + 'a,
) -> impl Stream<Item = Result<T>> + Send + 'a {
    let first = (Some(first), Vec::new().into_iter(), list);
    stream::try_unfold(first, |(mut page, mut items, list)| async move {
        loop {
            if let Some(item) = items.next() {
                return Ok(Some((item, (page, items, list))));
            }
            let Some(asked) = page.take() else { return Ok(None) };
            let listing = list(asked.clone()).await?;
            items = listing.items.into_iter();
            // A registry that points back to the page it just gave would keep us here for ever.
            if listing.next.is_some() && listing.next == asked.after {
                return Err(Error::new(Code::Unsupported, "the registry's list does not advance"));
            }
            page = listing.next.map(|next| Page { limit: asked.limit, after: Some(next) });
        }
    })
}
