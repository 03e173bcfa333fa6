//! The provider of identities: where its endpoints are, what it is asked, and which answers are believed.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use skep_registry::Digest;
use url::Host;
use url::Url;

use crate::error::Error;
use crate::error::Result;
use crate::error::chain;
use crate::token::IdentityToken;

/// A provider whose endpoints are known.
pub(super) struct Provider<'a> {
    pub(super) client_id: &'a str,
    pub(super) issuer: String,
    endpoints: Endpoints,
    http: reqwest::Client,
}

/// OpenID Connect Discovery 1.0, section 3; RFC 8628, section 4.
#[derive(Deserialize)]
struct Endpoints {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
}

/// What was refused, as RFC 6749 has it (section 5.2).
pub(super) struct Refusal {
    pub(super) error: String,
    description: Option<String>,
}

/// That who fetches a token is who asked for it: PKCE, RFC 7636.
pub(super) struct Proof {
    pub(super) verifier: String,
    pub(super) challenge: String,
}

impl<'a> Provider<'a> {
    pub(super) async fn discover(issuer: &str, client_id: &'a str) -> Result<Self> {
        let issuer = issuer.trim_end_matches('/');
        let url = safe(&format!("{issuer}/.well-known/openid-configuration"))?;
        // Addresses are as they were found, or not at all.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        let http = http.build().map_err(|error| failed(issuer, &error))?;
        let answer = http.get(url).send().await.map_err(|error| failed(issuer, &chain(&error)))?;
        if !answer.status().is_success() {
            return Err(failed(issuer, &format!("wanted its configuration, got status {}", answer.status())));
        }
        let endpoints: Endpoints =
            serde_json::from_slice(&body(answer).await?).map_err(|error| failed(issuer, &error))?;
        if endpoints.issuer.trim_end_matches('/') != issuer {
            return Err(failed(issuer, &format!("it says it is {}", endpoints.issuer)));
        }
        Ok(Self { client_id, issuer: endpoints.issuer.clone(), endpoints, http })
    }

    pub(super) fn authorization(&self) -> Result<Url> {
        let url = self.endpoints.authorization_endpoint.as_deref();
        safe(url.ok_or_else(|| failed(&self.issuer, &"nobody can log in there by browser"))?)
    }

    pub(super) fn device_authorization(&self) -> Result<Url> {
        let url = self.endpoints.device_authorization_endpoint.as_deref();
        safe(url.ok_or_else(|| failed(&self.issuer, &"nobody can log in there by another device"))?)
    }

    /// Asks for a token.
    pub(super) async fn exchange(&self, form: &[(&str, &str)]) -> Result<Result<Value, Refusal>> {
        self.post(safe(&self.endpoints.token_endpoint)?, form).await
    }

    /// Sends a form, and gives the answer or the refusal.
    pub(super) async fn post(&self, url: Url, form: &[(&str, &str)]) -> Result<Result<Value, Refusal>> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", self.client_id)
            .extend_pairs(form)
            .finish();
        let request = self.http.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.map_err(|error| failed(&self.issuer, &chain(&error)))?;
        let status = answer.status();
        let body: Option<Value> = serde_json::from_slice(&body(answer).await?).ok();
        let text = |name: &str| body.as_ref().and_then(|body| Some(body.get(name)?.as_str()?.to_owned()));
        match (status.is_success(), text("error")) {
            (true, _) => Ok(Ok(body.ok_or_else(|| failed(&self.issuer, &"wanted JSON, got something else"))?)),
            (false, Some(error)) => Ok(Err(Refusal { error, description: text("error_description") })),
            (false, None) => Err(failed(&self.issuer, &format!("status {status}"))),
        }
    }

    /// The token in an answer, if it is from this provider, for this program and for this login.
    ///
    /// Its signature is for Fulcio to check: it came from the provider itself (OpenID Connect Core, 3.1.3.7).
    pub(super) fn token(&self, answer: &Value, nonce: Option<&str>) -> Result<IdentityToken> {
        let token = answer["id_token"].as_str().ok_or_else(|| failed(&self.issuer, &"the answer has no token"))?;
        let token = IdentityToken::new(token)?;
        let claims = token.claims();
        let is_ours = |audience: &Value| audience == self.client_id;
        if !is_ours(&claims["aud"]) && !claims["aud"].as_array().is_some_and(|all| all.iter().any(is_ours)) {
            return Err(failed(
                &self.issuer,
                &format!("the token is for {}, wanted {}", claims["aud"], self.client_id),
            ));
        }
        if token.issuer() != self.issuer {
            return Err(failed(&self.issuer, &format!("the token is of {}", token.issuer())));
        }
        if nonce.is_some_and(|nonce| claims["nonce"] != nonce) {
            return Err(failed(&self.issuer, &"the token is of another login: its nonce is not the one that was sent"));
        }
        Ok(token)
    }
}

impl Refusal {
    pub(super) fn into_error(self, issuer: &str) -> Error {
        let why = match (self.error.as_str(), &self.description) {
            (error, Some(description)) => format!("{error}: {description}"),
            (error, None) => error.to_owned(),
        };
        failed(issuer, &format!("the login was refused: {why:?}"))
    }
}

impl Proof {
    pub(super) fn new() -> Result<Self> {
        let verifier = random()?;
        let challenge = URL_SAFE_NO_PAD.encode(Digest::sha256(verifier.as_bytes()).hash());
        Ok(Self { verifier, challenge })
    }
}

/// 256 bits that nobody can guess, as text.
pub(super) fn random() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::key("no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// An address that nobody on the way can read or change: encrypted, or on this machine.
pub(super) fn safe(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| failed(text, &error))?;
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "https" || url.scheme() == "http" && is_here {
        return Ok(url);
    }
    Err(failed(text, &"wanted https, or http on the loopback"))
}

/// What came, 1 MiB at most.
pub(super) async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>> {
    let url = answer.url().clone();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(url.as_str(), &chain(&error)))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(failed(url.as_str(), &format!("an answer of more than {MAX_BODY} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn failed(issuer: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Service { service: "identity provider", why: format!("{issuer}: {why}") }
}

const MAX_BODY: usize = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_are_safe_are_asked() {
        for url in ["https://id.example/auth", "http://127.0.0.1:1/a", "http://[::1]:1/", "http://localhost/"] {
            assert!(safe(url).is_ok(), "{url}");
        }
        for url in ["http://id.example/auth", "http://127.0.0.1.id.example/", "http://10.0.0.1/", "file:///etc", "x"] {
            assert!(safe(url).is_err(), "{url}");
        }
    }
}
