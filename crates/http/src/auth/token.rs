//! Tokens: had from the server that a challenge names.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use http::HeaderValue;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded;

use crate::auth::Credential;
use crate::auth::Scope;
use crate::auth::basic;
use crate::auth::bearer;
use crate::auth::challenge::Challenge;
use crate::client::answer::Answer;
use crate::client::answer::Asked;
use crate::client::origin;
use crate::client::retry::Verdict;
use crate::client::send::place;
use crate::client::send::same_origin;
use crate::client::send::transport_error;
use crate::client::transport::Transport;
use crate::wire;

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
pub(crate) struct Grant {
    pub(crate) token: Token,
    /// Takes the place of the refresh token that was used.
    pub(crate) refresh: Option<String>,
}

impl fmt::Debug for Grant {
    /// Prints no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("token", &self.token).finish_non_exhaustive()
    }
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
    let http = transport.shared(&realm);
    let asked = Instant::now();
    let response = match credential {
        Credential::Identity(refresh) => {
            let response = post(http, &realm, challenge, scope, refresh).await?;
            // Not every token server knows OAuth 2 (its specification is younger than the one with GET).
            match response.status() {
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                    get(transport, origin, &realm, challenge, scope, &Credential::Anonymous).await?
                }
                _ => response,
            }
        }
        credential => get(transport, origin, &realm, challenge, scope, credential).await?,
    };
    let status = response.status();
    if !status.is_success() {
        let code = match status.as_u16() {
            429 => Code::TooManyRequests,
            500.. => Code::Unavailable,
            _ => Code::Unauthorized,
        };
        // Not a word of its body: it may echo what was sent.
        let message = format!("token server {} answered {status}", place(&realm));
        if code == Code::Unauthorized {
            return Err(Error::new(code, message).with_source(Asked::new("asked for a token", credential)));
        }
        let verdict = Verdict::of_answer(status, response.headers(), SystemTime::now());
        let error = Error::new(code, message).with_source(verdict);
        return Err(match verdict {
            Verdict::Throttled(Some(wait)) => error.with_retry_after(wait),
            _ => error,
        });
    }
    let bytes = Answer::new(http::Method::GET, response, TIMEOUT).bytes(MAX_ANSWER).await?;
    grant(&bytes, asked).map_err(|error| error.context(format_args!("token server {}", place(&realm))))
}

/// What the answer of a token server grants, that was asked at some time.
///
/// # Errors
/// `Unauthorized`, without a word of the answer.
pub(crate) fn grant(answer: &[u8], asked: Instant) -> Result<Grant> {
    let answer: Granted = serde_json::from_slice(answer)
        .map_err(|_| Error::new(Code::Unauthorized, "the answer does not grant a token"))?;
    let text = [answer.token, answer.access_token].into_iter().flatten().find(|text| !text.is_empty());
    let seconds = answer.expires_in.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_SECONDS);
    // Clocks differ and requests take time: a token is left alone shortly before its end.
    let life = Duration::from_secs(seconds.min(MAX_SECONDS));
    let expires = asked + life.saturating_sub(MARGIN.min(life / 2));
    let header = text.map(|text| bearer(&text)).transpose()?;
    Ok(Grant { token: Token { header, expires }, refresh: answer.refresh_token.filter(|text| !text.is_empty()) })
}

/// Asks by GET, and goes where that leads. The password goes with it within the token server's origin only.
async fn get(
    transport: &Transport,
    origin: &Url,
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
    for _ in 0..=MAX_HOPS {
        let mut request = transport.shared(&url).get(url.clone());
        if let Credential::Basic { user, password } = credential
            && same_origin(&url, realm)
        {
            request = request.header(header::AUTHORIZATION, basic(user, password)?);
        }
        let answer = request.timeout(TIMEOUT).send().await.map_err(|error| transport_error("GET", &url, error))?;
        let location = match answer.status().as_u16() {
            301..=303 | 307 | 308 => wire::text(answer.headers(), &header::LOCATION),
            _ => None,
        };
        let Some(location) = location else { return Ok(answer) };
        url = origin::checked(origin, &url, location)
            .map_err(|why| Error::new(Code::Unauthorized, format!("token server {} leads to {why}", place(realm))))?;
    }
    Err(Error::new(Code::Unauthorized, format!("token server {} leads in circles", place(realm))))
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
pub(crate) fn realm(origin: &Url, challenge: &Challenge) -> Result<Url> {
    let refuse = |why: &str| Err(Error::new(Code::Unauthorized, format!("the registry's token server {why}")));
    let Some(realm) = challenge.realm() else { return refuse("is not named") };
    origin::checked(origin, origin, realm).or_else(|why| refuse(&format!("is at {why}")))
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
const MAX_HOPS: usize = 10;

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
