//! Lists: pages that are too long, in no order, or named in other ways.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;
use http::header;
use http_body_util::BodyExt;
use url::form_urlencoded;

use crate::endpoint::Endpoint;
use crate::server::ResponseBody;
use crate::testing::NextLink;
use crate::testing::Profile;
use crate::testing::quirky::asked::Asked;
use crate::testing::quirky::said::refuse;
use crate::testing::quirky::said::say;
use crate::testing::quirky::said::set;
use crate::wire;

/// Refuses to give too long a page.
pub(super) fn refusal(profile: &Profile, asked: &Asked) -> Option<Response<ResponseBody>> {
    let max = profile.max_n?;
    let n = asked.get("n").and_then(wire::number)?;
    let message = format!(
        "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to {max}'"
    );
    (n > max as u64).then(|| refuse(400, "UNSUPPORTED", &message))
}

/// Asks for the page that this registry would give.
pub(super) fn rewrite(profile: &Profile, endpoint: &Endpoint, asked: &mut Asked) {
    if profile.ignores_paging_of_tags && matches!(endpoint, Endpoint::Tags(_)) {
        asked.query.clear();
        return;
    }
    if profile.next_link == NextLink::Token {
        asked.remove("last");
        let token = asked.get(NEXT_PAGE).and_then(|token| URL_SAFE_NO_PAD.decode(token).ok());
        if let Some(last) = token.and_then(|last| String::from_utf8(last).ok()) {
            asked.set("last", &last);
        }
        asked.remove(NEXT_PAGE);
    }
    if let Some(n) = profile.default_n
        && asked.get("n").is_none()
    {
        asked.set("n", &n.to_string());
    }
}

/// Makes of a page what this registry would.
pub(super) async fn answer(
    profile: &Profile,
    endpoint: &Endpoint,
    answer: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let (mut parts, body) = answer.into_parts();
    let link = wire::text(&parts.headers, &header::LINK).and_then(|link| wire::parse_next_link([link]));
    parts.headers.remove(header::LINK);
    let is_tags = matches!(endpoint, Endpoint::Tags(_));
    let changes = is_tags && (profile.disorders_tags || profile.null_tags) && parts.status.is_success();
    let mut answer = if changes {
        // One page, which the server's own bound on items keeps short.
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = changed(profile, &bytes).unwrap_or_default();
        say(parts.status.as_u16(), "application/json", text)
    } else {
        Response::from_parts(parts, body)
    };
    if let Some(link) = link.and_then(|link| next_link(profile, endpoint, &link)) {
        set(&mut answer, header::LINK, &wire::next_link(&link));
    }
    answer
}

fn changed(profile: &Profile, bytes: &Bytes) -> serde_json::Result<String> {
    let mut list: wire::TagList = serde_json::from_slice(bytes)?;
    if let Some(tags) = &mut list.tags
        && profile.disorders_tags
    {
        tags.reverse();
    }
    list.tags = list.tags.filter(|tags| !tags.is_empty() || !profile.null_tags);
    serde_json::to_string(&list)
}

/// The link to the next page in the manner of this registry.
fn next_link(profile: &Profile, endpoint: &Endpoint, link: &str) -> Option<String> {
    let (path, query) = link.split_once('?').unwrap_or((link, ""));
    match (profile.next_link, endpoint) {
        (NextLink::None, _) => None,
        (NextLink::Token, _) => {
            let pairs = form_urlencoded::parse(query.as_bytes()).map(|(key, value)| match &*key {
                "last" => (NEXT_PAGE.to_owned(), URL_SAFE_NO_PAD.encode(&*value)),
                _ => (key.into_owned(), value.into_owned()),
            });
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            Some(format!("{path}?{query}"))
        }
        (NextLink::WrongPath, Endpoint::Tags(repo)) => {
            let rest = repo.as_str().split_once('/').map_or(repo.as_str(), |(_, rest)| rest);
            Some(format!("/v2/{rest}/tags/list?{query}"))
        }
        (NextLink::Last | NextLink::WrongPath, _) => Some(link.to_owned()),
    }
}

/// The parameter that names the next page by a token.
const NEXT_PAGE: &str = "next_page";
