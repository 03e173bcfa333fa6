//! Properties of whatever parses words from outside: for fuzzers, and for a short run with the tests.
//!
//! Each function takes what somebody else wrote, and panics where a property does not hold. They are there only in what
//! `cargo fuzz` builds, which sets `cfg(fuzzing)`, and in tests.

mod session;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;
use std::time::SystemTime;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use tokio::time::Instant;
use url::Host;
use url::Url;

use crate::auth::Scope;
use crate::auth::challenge;
use crate::auth::token;
use crate::client::list;
use crate::client::origin;
use crate::client::retry::Patience;
use crate::client::retry::RetryOptions;
use crate::client::retry::Verdict;
use crate::client::send::same_origin;
use crate::endpoint::Endpoint;
use crate::wire;

pub use session::session;

/// `WWW-Authenticate`: what is read prints as what reads the same, and leads to no doubtful token server.
pub fn challenges(text: &[u8]) {
    let Some((headers, text)) = headers(header::WWW_AUTHENTICATE, text) else { return };
    for challenge in text.as_deref().map(challenge::parse).unwrap_or_default() {
        assert_eq!(challenge::parse(&challenge.to_string()), [challenge]);
    }
    let Some(challenge) = challenge::choose(&headers) else { return };
    for base in BASES {
        let base = url(base);
        if let Ok(realm) = token::realm(&base, &challenge) {
            assert_allowed(&base, &base, &realm);
        }
    }
    scopes(&challenge.scope().unwrap_or_else(|| Scope::new("")));
}

fn scopes(scope: &Scope) {
    let canonical = scope.canonical();
    assert_eq!(canonical, *scope);
    assert_eq!(canonical.canonical().to_string(), canonical.to_string());
    assert!(scope.covers(&canonical) && canonical.covers(scope) && Scope::unlimited().covers(scope));
    assert_eq!(scope.union(&canonical).to_string(), scope.to_string());
    let more = scope.union(&Scope::catalog());
    assert!(more.covers(scope) && more.covers(&Scope::catalog()));
}

/// `Link`: the next page is at the same registry, and what is kept of it leads there again. `Warning`: what people
/// are shown does not steer their terminal.
pub fn links(text: &[u8]) {
    let Some((headers, text)) = headers(header::LINK, text) else { return };
    for warning in text.as_deref().map(wire::parse_warnings).unwrap_or_default() {
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    let from = url("https://registry.example.com/v2/a/tags/list?n=2&last=x");
    let Ok(Some(next)) = list::next_of(&from, &headers) else { return };
    assert!(same_origin(&next, &from), "{next}");
    let cursor = list::cursor(&next);
    let again = list::first_url(from.clone(), None, Some(&cursor));
    assert!(same_origin(&again, &from) && again.path() == from.path(), "{again}");
    match cursor.strip_prefix('?') {
        Some(query) => assert_eq!((again.query(), next.query().unwrap_or_default()), (Some(query), query)),
        None => assert!(next.query_pairs().any(|(key, last)| key == "last" && last == cursor.as_str()), "{next}"),
    }
}

/// `Range`: what is read prints as what reads the same, and is never beyond the content.
pub fn ranges(text: &str, size: u64) {
    let Ok(Some(range)) = wire::parse_range(text) else { return };
    assert_eq!(wire::parse_range(&range.to_string()).expect("what was printed parses"), Some(range));
    if let Ok(part) = range.of(size) {
        assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
        let printed = wire::content_range(&part, size);
        assert_eq!(wire::parse_content_range(&printed), Some((part, Some(size))));
    }
}

/// `Content-Range` of parts and of chunks, and `Range` of uploads: what is read prints as what reads the same.
pub fn content_ranges(text: &str) {
    if let Some((range, size)) = wire::parse_content_range(text) {
        assert!(range.start < range.end && size.is_none_or(|size| range.end <= size), "{range:?} of {size:?}");
        let printed = wire::content_range(&range, size.unwrap_or(range.end));
        assert_eq!(wire::parse_content_range(&printed), Some((range.clone(), Some(size.unwrap_or(range.end)))));
    }
    if let Some(range) = wire::parse_chunk_range(text) {
        assert!(range.start < range.end, "{range:?}");
        assert_eq!(wire::parse_chunk_range(&wire::chunk_range(&range)), Some(range));
    }
    if let Some(offset) = wire::parse_upload_range(text) {
        assert_eq!(wire::parse_upload_range(&wire::upload_range(offset)), Some(offset));
    }
}

/// `Location` and other addresses: a client goes from nowhere to where it should not.
pub fn locations(base: u8, from: u8, address: &str) {
    let base = url(BASES[usize::from(base) % BASES.len()]);
    let from = url(BASES.get(usize::from(from)).unwrap_or(&base.as_str()));
    let Ok(target) = origin::checked(&base, &from, address) else { return };
    assert_allowed(&base, &from, &target);
    assert_eq!(origin::checked(&base, &from, target.as_str()), Ok(target));
}

/// Answers of token servers: a token ends within a day, and neither it nor the answer is ever printed.
pub fn tokens(answer: &[u8]) {
    let asked = Instant::now();
    let grant = match token::grant(answer, asked) {
        Ok(grant) => grant,
        Err(error) => {
            let words = error.message();
            assert!(words.ends_with("does not grant a token") || words.ends_with("cannot be sent"), "{words}");
            return;
        }
    };
    let life = grant.token.expires.duration_since(asked);
    assert!(!life.is_zero() && life <= Duration::from_secs(24 * 60 * 60), "{life:?}");
    let header = grant.token.header.as_ref();
    assert!(header.is_none_or(|header| header.is_sensitive() && header.as_bytes().starts_with(b"Bearer ")));
    let printed = format!("{grant:?}");
    let token = header.and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    // Shorter ones could be a part of the names that are printed.
    let secrets = [token, grant.refresh.as_deref()].into_iter().flatten().filter(|secret| secret.len() > 40);
    assert!(secrets.into_iter().all(|secret| !printed.contains(secret)), "{printed}");
}

/// Paths of requests: what is read prints as what reads the same, leads nowhere else and is a path of URLs.
pub fn paths(path: &str) {
    let Ok(Some(endpoint)) = Endpoint::parse(path) else { return };
    let printed = endpoint.to_string();
    assert_eq!(Endpoint::parse(&printed).expect("what was printed parses"), Some(endpoint));
    assert!(printed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._:-+".contains(&byte)), "{printed}");
    assert!(printed.split('/').all(|part| !matches!(part, "." | "..")) && !printed.contains("//"), "{printed}");
    let mut url = url(BASES[0]);
    url.set_path(&printed);
    assert_eq!(url.path(), printed);
}

/// `Retry-After`, line by line: a client waits for no longer than it bears, and for no shorter than it is asked.
pub fn waits(lines: &[u8]) {
    let options = RetryOptions::default();
    let (mut patience, mut pauses, mut asked) = (Patience::new(&options), 0, Duration::ZERO);
    for (at, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        let Some((headers, _)) = headers(header::RETRY_AFTER, line) else { return };
        let status = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE][at % 2];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let verdict = Verdict::of_answer(status, &headers, now);
        let Some(pause) = patience.pause(verdict) else { break };
        pauses += 1;
        if let Verdict::Throttled(Some(wait)) = verdict {
            asked += wait;
            assert!(pause >= wait && pause <= wait + options.base, "{pause:?} for {wait:?}");
        } else {
            assert!(pause <= options.max_delay, "{pause:?}");
        }
    }
    assert!(asked <= options.max_wait && pauses < options.attempts, "{asked:?} in {pauses}");
}

/// A header, if the bytes can be one, and its text, if it is text.
fn headers(name: HeaderName, bytes: &[u8]) -> Option<(HeaderMap, Option<String>)> {
    let value = HeaderValue::from_bytes(bytes).ok()?;
    let text = value.to_str().ok().map(str::to_owned);
    Some((HeaderMap::from_iter([(name, value)]), text))
}

fn url(text: &str) -> Url {
    text.parse().expect("it is one of ours")
}

/// Judges by other means than the client does.
fn assert_allowed(base: &Url, from: &Url, target: &Url) {
    let is_plain = target.scheme() == "http" && base.scheme() == "http" && from.scheme() == "http";
    assert!(target.scheme() == "https" || is_plain, "{from} leads to {target}");
    assert!(target.username().is_empty() && target.password().is_none(), "{target}");
    let may_name = target.host() == base.host() || is_public(target) || !is_public(base);
    assert!(may_name, "{base} leads to {target}");
}

fn is_public(url: &Url) -> bool {
    match url.host().expect("http has hosts") {
        Host::Domain(name) => name != "localhost" && !name.trim_end_matches('.').ends_with(".localhost"),
        Host::Ipv4(ip) => is_public_ip(ip.into()),
        Host::Ipv6(ip) => is_public_ip(ip.into()),
    }
}

fn is_public_ip(ip: IpAddr) -> bool {
    let v4 = |ip: Ipv4Addr| !(ip.is_private() || ip.is_link_local() || ip.is_broadcast());
    let v6 = |ip: Ipv6Addr| !(ip.is_unique_local() || ip.is_unicast_link_local() || ip.to_ipv4().is_some());
    let is_special = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
    !is_special
        && match ip {
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| v6(ip), v4),
        }
}

/// Registries, and where they may have led already.
const BASES: [&str; 7] = [
    "https://registry.example.com/",
    "http://registry.example.com:5000/v2/",
    "https://203.0.113.1/a/b?c",
    "https://10.0.0.1/",
    "http://127.0.0.1:5000/",
    "https://[::1]/",
    "http://localhost/",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "(https?:|ftp:|//|/|\\\\|@|#|\\?|%2f|\\.\\.|127\\.1|0x7f000001|localhost|\\[::1\\]|\\[::ffff:10\\.0\\.0\\.1\\]|cdn\\.example\\.com|registry\\.example\\.com|:443|:80|:|a|\\PC){0,9}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn challenges_hold(
            text in "(Bearer |Basic |Negotiate|realm=|scope=|\"|\\\\|,| |=|repository:a:pull|https://127\\.1/|https://cdn\\.example\\.com/t|[ -~]){0,14}"
        ) {
            challenges(text.as_bytes());
        }

        #[test]
        fn links_hold(text in "(<|>|;|,| |rel=|next|\"|\\?|&|n=1|last=|=|%3F|/v2/a|https://other\\.example\\.com|299 - |[ -~\\x80-\\xff]){0,14}") {
            links(text.as_bytes());
        }

        #[test]
        fn ranges_hold(text in "(bytes|items)?[ =]?[0-9*-]{0,24}[/,]?[0-9*-]{0,21}", size in prop_oneof![any::<u64>(), 0u64..20]) {
            ranges(&text, size);
            content_ranges(&text);
        }

        #[test]
        fn locations_hold(base in 0u8..7, from in 0u8..9, address in ADDRESS) {
            locations(base, from, &address);
        }

        #[test]
        fn tokens_hold(text in "\\{(\"(token|access_token|refresh_token|expires_in)\":(\"[ -~&&[^\"\\\\]]{0,60}\"|[0-9]{1,20}|null),?){0,4}\\}") {
            tokens(text.as_bytes());
            tokens(text.replace(",}", "}").as_bytes());
        }

        #[test]
        fn paths_hold(path in "/v2/(a|b-c|\\.\\.|blobs|uploads|manifests|tags|list|referrers|_catalog|/|%2[eEfF]|%00|%|sha256:|[0-9a-f]{64}|v1|\\PC){0,9}") {
            paths(&path);
        }

        #[test]
        fn waits_hold(lines in "([0-9]{1,3}|[0-9]{1,21}|-1|soon|Fri, 15 Jan 2027 08:0[0-9]:00 GMT|\n){0,12}") {
            waits(lines.as_bytes());
        }

        #[test]
        fn sessions_hold(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            session(&bytes);
        }
    }
}
