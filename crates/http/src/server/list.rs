//! Lists over HTTP: tags, repositories and referrers, page by page.

use http::Response;
use http::StatusCode;
use http::header;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Listing;
use skep_registry::MAX_MANIFEST;
use skep_registry::ReferrerQuery;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::media_type;

use crate::endpoint::Endpoint;
use crate::server::Call;
use crate::server::query::Query;
use crate::server::reply::ResponseBody;
use crate::server::reply::json;
use crate::wire;

pub(super) async fn tags(call: &Call<'_>, repo: &RepoName) -> Result<Response<ResponseBody>> {
    let Listing { items, next } = call.registry.list_tags(repo, &call.query.page(call.options.max_page)?).await?;
    let tags = items.iter().map(ToString::to_string).collect();
    let mut response = json(StatusCode::OK, [], &wire::TagList { name: repo.to_string(), tags: Some(tags) })?;
    link(&mut response, &Endpoint::Tags(repo.clone()), call.query, next);
    Ok(response)
}

pub(super) async fn repos(call: &Call<'_>) -> Result<Response<ResponseBody>> {
    let Listing { items, next } = call.registry.list_repos(&call.query.page(call.options.max_page)?).await?;
    let repositories = items.iter().map(ToString::to_string).collect();
    let mut response = json(StatusCode::OK, [], &wire::RepoList { repositories: Some(repositories) })?;
    link(&mut response, &Endpoint::Catalog, call.query, next);
    Ok(response)
}

pub(super) async fn referrers(call: &Call<'_>, repo: &RepoName, subject: &Digest) -> Result<Response<ResponseBody>> {
    let artifact_type = call.query.get(wire::ARTIFACT_TYPE).filter(|text| !text.is_empty());
    let asked = ReferrerQuery {
        artifact_type: artifact_type.map(str::to_owned),
        page: call.query.page(call.options.max_page)?,
    };
    let listing = match call.registry.list_referrers(repo, subject, &asked).await {
        // spec, "Listing Referrers": "the registry MUST NOT return a 404".
        Err(error) if error.is_not_found() => Listing::complete(Vec::new()),
        listing => listing?,
    };
    let Listing { items, next } = bounded(listing);
    let content_type = (header::CONTENT_TYPE, media_type::INDEX.to_owned());
    let mut response = json(StatusCode::OK, [content_type], &wire::ReferrerList::new(items))?;
    if artifact_type.is_some() {
        let value = wire::ARTIFACT_TYPE.parse().expect("letters can stand in a header");
        response.headers_mut().insert(wire::FILTERS_APPLIED, value);
    }
    link(&mut response, &Endpoint::Referrers(repo.clone(), subject.clone()), call.query, next);
    Ok(response)
}

/// Cuts a list where it would outgrow what clients read as a manifest; annotations can be of any length.
fn bounded(listing: Listing<Descriptor>) -> Listing<Descriptor> {
    let Listing { mut items, next } = listing;
    let mut len = 0;
    let fits = items.iter().take_while(|item| {
        len += serde_json::to_vec(item).map_or(0, |bytes| bytes.len() as u64 + 1);
        len < MAX_MANIFEST - 1024
    });
    let fit = fits.count().max(1);
    if fit >= items.len() {
        return Listing { items, next };
    }
    items.truncate(fit);
    let next = items.last().map(|last| last.digest.to_string());
    Listing { items, next }
}

fn link(response: &mut Response<ResponseBody>, endpoint: &Endpoint, query: &Query, next: Option<String>) {
    if let Some(next) = next {
        let value = wire::next_link(&format!("{endpoint}?{}", query.after(&next)));
        let value = value.parse().expect("paths and encoded queries can stand in a header");
        response.headers_mut().insert(header::LINK, value);
    }
}
