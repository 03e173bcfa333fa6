//! Several registries as one, each keeping the repositories of some names.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
use futures_util::stream::BoxStream;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::list;
use crate::name::RepoName;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Registry;
use crate::route::Route;
use crate::route::Router;

/// Some names of repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// All names.
    All,
    /// All beneath a prefix of whole components, itself excluded.
    Beneath(RepoName),
    /// This one.
    One(RepoName),
}

impl Names {
    /// Tells whether a name is one of these.
    pub fn contain(&self, repo: &RepoName) -> bool {
        match self {
            Self::All => true,
            Self::Beneath(prefix) => list::beneath(prefix, repo).is_some(),
            Self::One(name) => name == repo,
        }
    }
}

impl fmt::Display for Names {
    /// `*`, `team/*` or `team/site`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Beneath(prefix) => write!(f, "{prefix}/*"),
            Self::One(name) => name.fmt(f),
        }
    }
}

/// Routes by name: of those that a name is among, the first one counts. Names stay what they are.
///
/// The list of repositories has, in order, what each registry lists of the names that lead to it; when one
/// cannot list them, there is no list. It needs registries that keep the order of the trait. A page of names
/// of each registry is held at once.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<(Names, Arc<dyn Registry>)>);

impl Routes {
    /// Makes routes of names and the registries to which they lead.
    pub fn new(routes: impl IntoIterator<Item = (Names, Arc<dyn Registry>)>) -> Self {
        Self(routes.into_iter().collect())
    }

    fn find(&self, repo: &RepoName) -> Option<usize> {
        self.0.iter().position(|(names, _)| names.contain(repo))
    }

    /// The repositories that a route leads to.
    fn repos<'a>(&'a self, index: usize, page: &'a Page) -> BoxStream<'a, Result<RepoName>> {
        let (names, registry) = &self.0[index];
        let repos = match names {
            Names::All => list::repos(&**registry, page.after.clone(), page),
            Names::Beneath(prefix) => list::repos_beneath(&**registry, prefix, page.after.as_deref(), page),
            Names::One(name) => {
                stream::once(one(&**registry, name, page)).try_filter_map(|found| std::future::ready(Ok(found))).boxed()
            }
        };
        let own = repos.try_filter(move |repo| std::future::ready(self.find(repo) == Some(index)));
        own.map_err(move |error| error.context(format_args!("repositories {names}"))).boxed()
    }
}

#[async_trait]
impl Router for Routes {
    fn route(&self, repo: &RepoName) -> Result<Route> {
        let index = self.find(repo).ok_or_else(|| Error::new(Code::NameUnknown, repo.to_string()))?;
        Ok(Route { registry: self.0[index].1.clone(), repo: repo.clone() })
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        let begun = stream::iter(0..self.0.len()).map(|index| Lane::begin(self.repos(index, page)));
        let lanes: Vec<Option<Lane<'_>>> = begun.buffered(CONCURRENCY).try_collect().await?;
        list::gather(merge(lanes.into_iter().flatten().collect()), page).await
    }
}

/// The name of a repository, if it exists and comes after where a page begins.
async fn one(registry: &dyn Registry, name: &RepoName, page: &Page) -> Result<Option<RepoName>> {
    if page.after.as_deref().is_some_and(|after| name.as_str() <= after) {
        return Ok(None);
    }
    // Its tags tell with one small answer; a list of repositories can begin at no name just before this one.
    match registry.list_tags(name, &Page { limit: Some(1), after: None }).await {
        Ok(_) => Ok(Some(name.clone())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A list of which the first name is known.
struct Lane<'a> {
    head: RepoName,
    rest: BoxStream<'a, Result<RepoName>>,
}

impl<'a> Lane<'a> {
    async fn begin(mut rest: BoxStream<'a, Result<RepoName>>) -> Result<Option<Self>> {
        Ok(rest.try_next().await?.map(|head| Self { head, rest }))
    }
}

/// The names of all lanes, in lexical order when those of each lane are.
fn merge<'a>(lanes: Vec<Lane<'a>>) -> impl Stream<Item = Result<RepoName>> + Send + 'a {
    stream::try_unfold(lanes, |mut lanes| async move {
        let Some(first) = (0..lanes.len()).min_by_key(|&lane| &lanes[lane].head) else { return Ok(None) };
        let name = match lanes[first].rest.try_next().await? {
            Some(next) => std::mem::replace(&mut lanes[first].head, next),
            None => lanes.swap_remove(first).head,
        };
        Ok(Some((name, lanes)))
    })
}

/// Registries that are asked for their first repositories at once.
const CONCURRENCY: usize = 8;
