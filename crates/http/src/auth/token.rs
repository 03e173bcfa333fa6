//! Tokens: had from the server that a challenge names.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use http::HeaderValue;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use url::Host;
use url::Url;
use url::form_urlencoded;

use crate::auth::Credential;
use crate::auth::Scope;
use crate::auth::basic;
use crate::auth::bearer;
use crate::auth::challenge::Challenge;
use crate::client::answer::Answer;
use crate::client::retry::Verdict;
use crate::client::send::place;
use crate::client::send::same_origin;
use crate::client::send::transport_error;
use crate::client::transport::Transport;

/// A token as the header that carries it, and its end.
#[derive(Clone)]
pub(crate) struct Token {
    /// None when the server gave an empty one: the registry is then asked anonymously.
    pub(crate) header: Option<HeaderValue>,
    pub(crate) expires: Instant,
}

impl fmt::Debug for Token {
    /// Prints no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// What a token server gave.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) token: Token,
    /// Takes the place of the refresh token that was used.
    pub(crate) refresh: Option<String>,
}

/// Asks the server that a challenge names for a token.
///
/// # Errors
/// `Unauthorized` when it refuses, or when the challenge is not one to answer; `Unavailable`.
pub(crate) async fn fetch(
    transport: &Transport,
    origin: &Url,
    challenge: &Challenge,
    credential: &Credential,
    scope: &Scope,
) -> Result<Grant> {
    let realm = realm(origin, challenge)?;
    let http = transport.to(&realm, false);
    let asked = Instant::now();
    let response = match credential {
        Credential::Identity(refresh) => {
            let response = post(http, &realm, challenge, scope, refresh).await?;
            // Not every token server knows OAuth 2 (its specification is younger than the one with GET).
            match response.status() {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                    get(http, &realm, challenge, scope, &Credential::Anonymous).await?
                }
                _ => response,
            }
        }
        credential => get(http, &realm, challenge, scope, credential).await?,
    };
    let status = response.status();
    if !status.is_success() {
        let code = match status.as_u16() {
            429 => Code::TooManyRequests,
            500.. => Code::Unavailable,
            _ => Code::Unauthorized,
        };
        // Not a word of its body: it may echo what was sent.
        let verdict = Verdict::of_answer(status, response.headers(), SystemTime::now());
        return Err(Error::new(code, format!("token server {} answered {status}", place(&realm))).with_source(verdict));
    }
    let bytes = Answer::new(http::Method::GET, response, TIMEOUT).bytes(MAX_ANSWER).await?;
    let answer: Granted = serde_json::from_slice(&bytes).map_err(|_| {
        Error::new(Code::Unauthorized, format!("token server {} did not answer with a token", place(&realm)))
    })?;
    let text = [answer.token, answer.access_token].into_iter().flatten().find(|text| !text.is_empty());
    let seconds = answer.expires_in.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_SECONDS);
    // Clocks differ and requests take time: a token is left alone shortly before its end.
    let life = Duration::from_secs(seconds.min(MAX_SECONDS));
    let expires = asked + life.saturating_sub(MARGIN.min(life / 2));
    let header = text.map(|text| bearer(&text)).transpose()?;
    Ok(Grant { token: Token { header, expires }, refresh: answer.refresh_token.filter(|text| !text.is_empty()) })
}

async fn get(
    http: &reqwest::Client,
    realm: &Url,
    challenge: &Challenge,
    scope: &Scope,
    credential: &Credential,
) -> Result<reqwest::Response> {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = challenge.service() {
            query.append_pair("service", service);
        }
        query.extend_pairs(scope.parts().map(|part| ("scope", part)));
    }
    let mut request = http.get(url);
    if let Credential::Basic { user, password } = credential {
        request = request.header(header::AUTHORIZATION, basic(user, password)?);
    }
    request.timeout(TIMEOUT).send().await.map_err(|error| transport_error("GET", realm, error))
}

async fn post(
    http: &reqwest::Client,
    realm: &Url,
    challenge: &Challenge,
    scope: &Scope,
    refresh: &str,
) -> Result<reqwest::Response> {
    let scope = scope.to_string();
    let fields =
        [("grant_type", "refresh_token"), ("client_id", "skep"), ("refresh_token", refresh), ("scope", &scope)];
    let service = challenge.service().map(|service| ("service", service));
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).extend_pairs(service).finish();
    let request = http.post(realm.clone()).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = request.body(form).timeout(TIMEOUT);
    request.send().await.map_err(|error| transport_error("POST", realm, error))
}

/// The URL of the token server, if it is one that credentials may be sent to.
fn realm(origin: &Url, challenge: &Challenge) -> Result<Url> {
    let refuse = |why: &str| Err(Error::new(Code::Unauthorized, format!("the registry's token server {why}")));
    let Some(realm) = challenge.realm() else { return refuse("is not named") };
    let Ok(realm) = origin.join(realm) else { return refuse("has a malformed URL") };
    if same_origin(origin, &realm) {
        return Ok(realm);
    }
    match realm.scheme() {
        "https" => {}
        "http" if origin.scheme() == "http" => {}
        _ => return refuse(&format!("{} is not reached by https", place(&realm))),
    }
    if is_inside(&realm) && !is_inside(origin) {
        return refuse(&format!("{} is an address of an inner network", place(&realm)));
    }
    Ok(realm)
}

/// Tells whether a URL names an address that only machines nearby reach: a registry out there has no business
/// to send anyone to it, least of all with credentials.
pub(crate) fn is_inside(url: &Url) -> bool {
    let inside_v4 = |ip: std::net::Ipv4Addr| {
        ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast()
    };
    let address = match url.host() {
        Some(Host::Domain(name)) => return name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => ip.to_canonical(),
        None => return false,
    };
    match address {
        IpAddr::V4(ip) => inside_v4(ip),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// Token servers that do not say how long a token lasts mean this (distribution's token specification).
const DEFAULT_SECONDS: u64 = 60;
/// Keeps the arithmetic of clocks in bounds.
const MAX_SECONDS: u64 = 24 * 60 * 60;
const MARGIN: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::auth::challenge;

    #[test]
    fn credentials_go_to_no_doubtful_token_server() {
        for (origin, realm_text, want) in [
            ("https://registry.example.com/", "https://auth.example.com/token", true),
            ("https://registry.example.com/", "/token", true),
            ("https://registry.example.com/", "http://auth.example.com/token", false),
            ("https://registry.example.com/", "http://registry.example.com/token", false),
            ("https://registry.example.com/", "https://127.0.0.1/token", false),
            ("https://registry.example.com/", "https://[::1]/token", false),
            ("https://registry.example.com/", "https://[::ffff:10.0.0.1]/token", false),
            ("https://registry.example.com/", "https://169.254.169.254/token", false),
            ("https://registry.example.com/", "https://192.168.1.1/token", false),
            ("https://registry.example.com/", "https://localhost/token", false),
            ("https://registry.example.com/", "file:///etc/passwd", false),
            ("https://10.0.0.1/", "https://10.0.0.1/token", true),
            ("https://10.0.0.1/", "https://10.0.0.2/token", true),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token", true),
            ("http://registry.example.com/", "http://auth.example.com/token", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::WWW_AUTHENTICATE, format!("Bearer realm=\"{realm_text}\"").parse().unwrap());
            let challenge = challenge::choose(&headers).unwrap();
            let got = realm(&origin.parse().unwrap(), &challenge);
            assert_eq!(got.is_ok(), want, "{origin} {realm_text}: {got:?}");
        }
    }
}
