//! Lists from a registry: pages of tags and repositories, however the registry links them.

use http::HeaderMap;
use http::header;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Listing;
use skep_registry::Page;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use url::Url;

use crate::auth::Scope;
use crate::client::Client;
use crate::client::answer::Answer;
use crate::client::send::Request;
use crate::client::send::place;
use crate::client::send::same_origin;
use crate::endpoint::Endpoint;
use crate::wire;

pub(super) async fn tags(client: &Client, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
    list(client, &Endpoint::Tags(repo.clone()), &Scope::pull(repo), page, |body| {
        serde_json::from_slice::<wire::TagList>(body).map(|list| list.tags.unwrap_or_default())
    })
    .await
}

pub(super) async fn repos(client: &Client, page: &Page) -> Result<Listing<RepoName>> {
    list(client, &Endpoint::Catalog, &Scope::catalog(), page, |body| {
        serde_json::from_slice::<wire::RepoList>(body).map(|list| list.repositories.unwrap_or_default())
    })
    .await
}

/// Reads one page.
///
/// Where the next one begins is an item, or the query of the registry's own link behind a question mark, when
/// it has more in it than an item.
async fn list<T: std::str::FromStr + AsRef<str>>(
    client: &Client,
    endpoint: &Endpoint,
    scope: &Scope,
    page: &Page,
    parse: fn(&[u8]) -> serde_json::Result<Vec<String>>,
) -> Result<Listing<T>> {
    let limit = match page.limit {
        // Registries read `n=0` as they like.
        Some(0) => return Ok(Listing::complete(Vec::new())),
        limit => limit.unwrap_or(usize::MAX),
    };
    let asked = page.limit.map(|limit| limit.min(MAX_PAGE));
    let after = page.after.as_deref().filter(|after| !after.starts_with('?'));
    let mut url = first_url(client.url(endpoint), asked, page.after.as_deref());
    let (mut items, mut ignores_after, mut followed) = (Vec::new(), false, 0);
    loop {
        let answer = client.send(Request::get(url.clone(), scope.clone()).whole(MAX_BYTES)).await?;
        let answer = answer.expect(&[200], Code::NameUnknown).await?;
        let link = next_url(&answer)?;
        let place = place(answer.url());
        let body = answer.bytes(MAX_BYTES).await?;
        let names = parse(&body)
            .map_err(|error| Error::new(Code::Unsupported, format!("{place} is not a list")).with_source(error))?;
        let came = names.len();
        let is_full = asked == Some(came);
        // A full page is the whole list if it is not one: in no order, or with what should lie behind it.
        let is_page = is_full
            && names.is_sorted_by(|one, other| is_after(other, one))
            && after.is_none_or(|after| names.iter().all(|name| name != after));
        let names = rest(names, after, link.is_none() && !is_page, asked.is_some_and(|asked| came > asked));
        ignores_after |= names.len() < came;
        items.extend(names.into_iter().filter_map(|name| name.parse::<T>().ok()));
        // A registry that names its pages by tokens need not know `last`; what comes after it is some pages on
        // (regclient#272).
        if let Some(next) = &link
            && ignores_after
            && after.is_some()
            && items.len() < limit
            && cursor(next).starts_with('?')
            && *next != url
            && followed < MAX_FOLLOWED
        {
            url = next.clone();
            followed += 1;
            continue;
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().map(|last| last.as_ref().to_owned());
        let next = match link {
            _ if more => last,
            Some(link) => {
                let next = cursor(&link);
                let is_behind = |after: &str| !next.starts_with('?') && !is_after(&next, after);
                if Some(&next) == page.after.as_ref() || after.is_some_and(is_behind) {
                    return Err(Error::new(Code::Unsupported, format!("{place}: the list does not advance")));
                }
                Some(next)
            }
            // Where no link says whether there is more, a full page may be followed by one of nothing.
            None if is_full => last,
            None => None,
        };
        return Ok(Listing { items, next });
    }
}

/// What comes after an item, whether the registry began there or ignored it and gave everything again.
///
/// A list is whole when nothing links to more; then it is put into order, which not every registry does.
fn rest(mut names: Vec<String>, after: Option<&str>, ends_here: bool, is_beyond_asked: bool) -> Vec<String> {
    let begins_anew = is_beyond_asked || after.is_none_or(|after| names.iter().any(|name| name == after));
    if ends_here && begins_anew {
        names.sort_unstable();
        names.retain(|name| after.is_none_or(|after| name.as_str() > after));
    } else {
        names.retain(|name| after.is_none_or(|after| is_after(name, after)));
    }
    names
}

/// Tells whether a name may come after another one: byte by byte, or as directories are walked, part by part.
///
/// Registries that keep repositories in directories list `b/index` before `b-c`.
fn is_after(name: &str, other: &str) -> bool {
    name > other || name.split('/').gt(other.split('/'))
}

pub(crate) fn first_url(mut url: Url, asked: Option<usize>, after: Option<&str>) -> Url {
    if let Some(query) = after.and_then(|after| after.strip_prefix('?')) {
        url.set_query(Some(query));
        return url;
    }
    if let Some(asked) = asked {
        url.query_pairs_mut().append_pair("n", &asked.to_string());
    }
    if let Some(after) = after {
        url.query_pairs_mut().append_pair("last", after);
    }
    url
}

/// The page that an answer links to.
///
/// # Errors
/// `Unsupported` when it is at another registry.
pub(super) fn next_url(answer: &Answer) -> Result<Option<Url>> {
    next_of(answer.url(), answer.headers())
}

/// The page that headers link to, which came from a URL.
///
/// # Errors
/// As [`next_url`].
pub(crate) fn next_of(from: &Url, headers: &HeaderMap) -> Result<Option<Url>> {
    let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(link) = wire::parse_next_link(values) else { return Ok(None) };
    match from.join(&link) {
        Ok(url) if same_origin(&url, from) => Ok(Some(url)),
        _ => {
            let message = format!("{}: the next page is at {link:?}", place(from));
            Err(Error::new(Code::Unsupported, message))
        }
    }
}

/// Where the page of a link begins: at an item, if that is all that the link says.
pub(crate) fn cursor(link: &Url) -> String {
    let pairs: Vec<_> = link.query_pairs().collect();
    let only_place = pairs.iter().all(|(key, _)| key == "n" || key == "last");
    match pairs.iter().find(|(key, _)| key == "last") {
        Some((_, last)) if only_place && !last.is_empty() && !last.starts_with('?') => last.to_string(),
        _ => format!("?{}", link.query().unwrap_or_default()),
    }
}

/// The most items that every registry gives at once; ECR refuses to be asked for more.
const MAX_PAGE: usize = 1000;
/// Pages that are read to find the one that comes after an item.
const MAX_FOLLOWED: usize = 10_000;
/// Bytes of one page that are read.
const MAX_BYTES: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_items_where_links_are_plain() {
        for (query, want) in [
            ("n=2&last=v1", "v1"),
            ("last=a%2Fb", "a/b"),
            ("n=2&last=v1&next_page=xyz", "?n=2&last=v1&next_page=xyz"),
            ("n=2", "?n=2"),
            ("last=%3Fn%3D1", "?last=%3Fn%3D1"),
        ] {
            let link: Url = format!("https://r.example.com/v2/a/tags/list?{query}").parse().unwrap();
            let next = cursor(&link);
            assert_eq!(next, want);
            let url = first_url(client_url(), Some(3), Some(&next));
            let expected =
                if next.starts_with('?') { query.to_owned() } else { format!("n=3&last={}", next.replace('/', "%2F")) };
            assert_eq!(url.query(), Some(expected.as_str()));
        }
    }

    #[test]
    fn what_comes_after_is_found_in_any_order() {
        for (names, after, ends_here, is_beyond_asked, want) in [
            (&["c", "a", "b"][..], None, true, false, &["a", "b", "c"][..]),
            (&["c", "a", "b"], None, false, false, &["c", "a", "b"]),
            (&["c", "a", "b"], Some("a"), true, false, &["b", "c"]),
            (&["c", "a", "d"], Some("b"), true, true, &["c", "d"]),
            (&["c", "d"], Some("b"), true, false, &["c", "d"]),
            (&["a", "b", "c"], Some("b"), false, false, &["c"]),
            (&["b-c", "c"], Some("b/index"), true, false, &["b-c", "c"]),
            (&["b-c", "c"], Some("b/index"), false, false, &["b-c", "c"]),
            (&["b/index", "b-c"], Some("b"), false, false, &["b/index", "b-c"]),
        ] {
            let names = names.iter().map(ToString::to_string).collect();
            assert_eq!(rest(names, after, ends_here, is_beyond_asked), want, "{after:?}");
        }
    }

    fn client_url() -> Url {
        "https://r.example.com/v2/a/tags/list".parse().unwrap()
    }
}
