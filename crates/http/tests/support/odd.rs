//! A registry that does one thing or another differently.

use async_trait::async_trait;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Upload;
use skep_registry::UploadOptions;
use url::Url;

#[derive(Debug, Default)]
pub(crate) struct Odd {
    pub(crate) inner: Memory,
    /// Where every blob is.
    pub(crate) elsewhere: Option<Url>,
    /// Answers with the whole blob, whatever range is asked for.
    pub(crate) ignores_ranges: bool,
    /// What uploads say of the length of their chunks.
    pub(crate) min_chunk: u64,
    /// Why nothing can be deleted or mounted.
    pub(crate) refuses: Option<Code>,
}

impl Odd {
    async fn check(&self, _call: &str) -> Result<()> {
        self.refuses.clone().map_or(Ok(()), |code| Err(Error::new(code, "as configured")))
    }
}

#[async_trait]
impl Registry for Odd {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        self.inner.get_blob(repo, digest, range.filter(|_| !self.ignores_ranges)).await
    }
    async fn locate_blob(&self, _: &RepoName, _: &Digest) -> Result<Option<Url>> {
        Ok(self.elsewhere.clone())
    }
    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        let inner = self.inner.upload_blob(repo, options).await?;
        Ok(Box::new(OddUpload { inner, min_chunk: self.min_chunk }))
    }

    skep_registry::forward_registry!(self => self.inner, after check; mount_blob, delete_blob, delete_manifest);
    skep_registry::forward_registry!(self => self.inner; head_blob, get_manifest, head_manifest, put_blob,
        put_manifest, list_tags, list_referrers, list_repos);
}

#[derive(Debug)]
struct OddUpload {
    inner: Box<dyn Upload>,
    min_chunk: u64,
}

#[async_trait]
impl Upload for OddUpload {
    fn id(&self) -> &str {
        self.inner.id()
    }
    fn offset(&self) -> u64 {
        self.inner.offset()
    }
    fn min_chunk(&self) -> u64 {
        self.min_chunk
    }
    async fn append(&mut self, body: Body) -> Result<()> {
        self.inner.append(body).await
    }
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor> {
        self.inner.commit(digest).await
    }
    async fn cancel(self: Box<Self>) -> Result<()> {
        self.inner.cancel().await
    }
}
