//! A part of a registry as a registry: the repositories beneath a prefix.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;

use crate::error::Result;
use crate::list;
use crate::name::RepoName;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Registry;
use crate::route::Route;
use crate::route::Routed;
use crate::route::Router;

/// A registry of the repositories beneath a prefix, by what follows it: `team/site` beneath `team` is `site`.
///
/// A prefix is of whole components, so neither `team` nor `teams/site` is beneath `team`; and since names
/// have no `..`, none leads out of it. Names that are too long with the prefix are `NameInvalid`.
pub fn prefixed<R: Registry>(inner: R, prefix: RepoName) -> Routed<impl Router> {
    Routed::new(Prefix { registry: Arc::new(inner), prefix })
}

#[derive(Debug)]
struct Prefix {
    registry: Arc<dyn Registry>,
    prefix: RepoName,
}

#[async_trait]
impl Router for Prefix {
    fn route(&self, repo: &RepoName) -> Result<Route> {
        Ok(Route { registry: self.registry.clone(), repo: format!("{}/{repo}", self.prefix).parse()? })
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        let after = page.after.as_ref().map(|after| format!("{}/{after}", self.prefix));
        let repos = list::repos_beneath(&*self.registry, &self.prefix, after.as_deref(), page);
        let short = repos
            .try_filter_map(|repo| std::future::ready(list::beneath(&self.prefix, &repo).map(str::parse).transpose()));
        list::gather(short, page).await
    }
}
