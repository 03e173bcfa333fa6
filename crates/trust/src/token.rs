//! Identity tokens: given, of the machine this runs on, or by logging in.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;

use crate::error::Error;
use crate::error::Result;

mod ambient;
mod browser;
mod device;
mod provider;

pub use device::DeviceCode;

/// What an identity provider says of who one is: a JSON web token for the audience `sigstore`.
#[derive(Clone)]
pub struct IdentityToken {
    pub(crate) inner: sigstore_oidc::IdentityToken,
    claims: Value,
}

impl IdentityToken {
    /// Where people log in for the public Sigstore.
    pub const ISSUER: &str = "https://oauth2.sigstore.dev/auth";

    /// As whom programs of Sigstore ask there, and whom tokens are for.
    pub const CLIENT_ID: &str = "sigstore";

    /// Takes a token of at most 64 KiB; that its signature is right and its issuer known is for Fulcio to say.
    ///
    /// # Errors
    /// `Service` when it is not a JSON web token, or its time is over.
    pub fn new(token: &str) -> Result<Self> {
        let token = token.trim();
        if token.len() > MAX_TOKEN {
            return Err(refused(&format!("at most {MAX_TOKEN} bytes, got {}", token.len())));
        }
        let inner = sigstore_oidc::IdentityToken::from_jwt(token).map_err(|error| refused(&error))?;
        let payload = token.split('.').nth(1).unwrap_or_default();
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|error| refused(&error))?;
        let claims = serde_json::from_slice(&payload).map_err(|error| refused(&error))?;
        // Fulcio's answer to an old one is hard to understand; clocks may differ.
        if inner.expiration() + SignedDuration::from_secs(60) < Timestamp::now() {
            return Err(refused(&format!("it was valid until {}", inner.expiration())));
        }
        Ok(Self { inner, claims })
    }

    /// The token of the machine this runs on, if it has one.
    ///
    /// Looked for in this order: the variable `SIGSTORE_ID_TOKEN` (GitLab, Codefresh and others that can set one), the
    /// file `/var/run/sigstore/cosign/oidc-token` (Kubernetes, SPIFFE), GitHub Actions, Buildkite, CircleCI, and the
    /// metadata server of Google Cloud.
    ///
    /// # Errors
    /// `Service` when there should be one and it cannot be had: a workflow without the permission `id-token: write`, a
    /// job on GitLab without `id_tokens`.
    pub async fn ambient() -> Result<Option<Self>> {
        ambient::token().await
    }

    /// Logs in by a browser: authorization code with PKCE, answered to a port of the loopback (RFC 8252).
    ///
    /// `open` gets the address to open, once; it returns at once. Waits five minutes for the answer.
    ///
    /// # Errors
    /// `Service` when the provider cannot be reached, is not reached safely (`https`, or the loopback), refuses, or does
    /// not answer; and when the answer is not to this login.
    ///
    /// # Cancel safety
    /// Nothing is left when the future is dropped, and the port is closed.
    pub async fn by_browser(issuer: &str, client_id: &str, open: impl FnOnce(&str) + Send) -> Result<Self> {
        browser::login(issuer, client_id, PATIENCE, open).await
    }

    /// Logs in by another device, where there is no browser (RFC 8628).
    ///
    /// `show` gets what the person is to be told, once. Waits as long as the provider does, half an hour at most.
    ///
    /// # Errors
    /// As [`by_browser`](Self::by_browser).
    ///
    /// # Cancel safety
    /// Nothing is left when the future is dropped.
    pub async fn by_device(issuer: &str, client_id: &str, show: impl FnOnce(&DeviceCode) + Send) -> Result<Self> {
        device::login(issuer, client_id, show).await
    }

    /// Who it says one is, as the certificate will name it.
    pub fn identity(&self) -> &str {
        self.inner.identity()
    }

    /// Who says so.
    pub fn issuer(&self) -> &str {
        self.inner.issuer()
    }

    /// Until when it says so.
    pub fn expires(&self) -> Timestamp {
        self.inner.expiration()
    }

    /// All that it says, which nobody has verified here.
    pub fn claims(&self) -> &Value {
        &self.claims
    }
}

/// Without the token.
impl fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentityToken").field(&self.identity()).finish()
    }
}

fn refused(error: &dyn fmt::Display) -> Error {
    Error::Service { service: "identity token", why: error.to_string() }
}

const PATIENCE: Duration = Duration::from_secs(300);

const MAX_TOKEN: usize = 64 << 10;
