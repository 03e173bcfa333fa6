//! Lists made of other lists: pages cut out of a stream of repositories.

use std::pin::pin;

use futures_util::Stream;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;

use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::ext::pages;
use crate::name::RepoName;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Registry;

/// The repositories of a registry that come after a name, read in parts that are right for a page.
pub(crate) fn repos<'a>(
    registry: &'a dyn Registry,
    after: Option<String>,
    page: &Page,
) -> BoxStream<'a, Result<RepoName>> {
    // One more than is wanted tells whether there is more; a few more, where some are left out, save asking.
    let limit = (size(page) + 1).clamp(MIN_ASKED, MAX_PAGE);
    let first = Page { limit: Some(limit), after };
    Box::pin(pages(first, move |page| Box::pin(async move { registry.list_repos(&page).await })))
}

/// The repositories of a registry beneath a prefix, by their full names.
///
/// `after` is a full name.
pub(crate) fn repos_beneath<'a>(
    registry: &'a dyn Registry,
    prefix: &'a RepoName,
    after: Option<&str>,
    page: &Page,
) -> BoxStream<'a, Result<RepoName>> {
    let first = format!("{prefix}/");
    let after = after.filter(|after| **after > *first).unwrap_or(&first).to_owned();
    // All beneath a prefix stand together, whether a list is sorted by bytes or as directories are walked.
    let repos = repos(registry, Some(after), page).try_take_while(move |repo| {
        std::future::ready(Ok(*repo.as_str() < *first || repo.as_str().starts_with(&first)))
    });
    Box::pin(repos.try_filter(|repo| std::future::ready(beneath(prefix, repo).is_some())))
}

/// The part of a name that follows a prefix of whole components.
pub(crate) fn beneath<'a>(prefix: &RepoName, repo: &'a RepoName) -> Option<&'a str> {
    repo.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/')
}

/// Cuts a page out of a stream. Of all that comes, no more than the page is kept.
pub(crate) async fn gather(
    repos: impl Stream<Item = Result<RepoName>> + Send,
    page: &Page,
) -> Result<Listing<RepoName>> {
    let size = size(page);
    let mut items: Vec<RepoName> = Vec::new();
    let mut repos = pin!(repos);
    while size > 0
        && let Some(repo) = repos.try_next().await?
    {
        if items.len() == size {
            let next = items.last().map(ToString::to_string);
            return Ok(Listing { items, next });
        }
        items.push(repo);
    }
    Ok(Listing::complete(items))
}

/// Refuses to mount a blob from whichever repository has it.
pub(crate) fn from_anywhere(digest: &Digest) -> Error {
    Error::new(Code::Unsupported, format!("{digest} cannot be mounted without the repository to mount it from"))
}

fn size(page: &Page) -> usize {
    page.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE)
}

/// The most items of a page; bounds what is held at once.
const MAX_PAGE: usize = 1000;
/// The fewest items that are asked for.
const MIN_ASKED: usize = 100;
