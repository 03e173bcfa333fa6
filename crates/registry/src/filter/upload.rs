//! An upload seen through a filter: each of its calls is one.

use std::sync::Arc;

use async_trait::async_trait;

use crate::body::Body;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Result;
use crate::filter::Call;
use crate::filter::Filter;
use crate::filter::Op;
use crate::filter::enter;
use crate::name::RepoName;
use crate::registry::Upload;

#[derive(Debug)]
pub(super) struct FilteredUpload<F> {
    inner: Box<dyn Upload>,
    filter: Arc<F>,
    repo: RepoName,
}

impl<F: Filter> FilteredUpload<F> {
    pub(super) fn new(inner: Box<dyn Upload>, filter: Arc<F>, repo: RepoName) -> Self {
        Self { inner, filter, repo }
    }
}

#[async_trait]
impl<F: Filter> Upload for FilteredUpload<F> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn offset(&self) -> u64 {
        self.inner.offset()
    }

    fn min_chunk(&self) -> u64 {
        self.inner.min_chunk()
    }

    async fn append(&mut self, body: Body) -> Result<()> {
        let mut pass = enter(&*self.filter, Call { op: Op::AppendUpload, repo: Some(&self.repo) }).await?;
        let body = self.filter.receive(&mut pass, body);
        self.filter.around(&mut pass, self.inner.append(body)).await
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor> {
        let mut pass = enter(&*self.filter, Call { op: Op::CommitUpload, repo: Some(&self.repo) }).await?;
        self.filter.around(&mut pass, self.inner.commit(digest)).await
    }

    async fn cancel(self: Box<Self>) -> Result<()> {
        let mut pass = enter(&*self.filter, Call { op: Op::CancelUpload, repo: Some(&self.repo) }).await?;
        self.filter.around(&mut pass, self.inner.cancel()).await
    }
}
