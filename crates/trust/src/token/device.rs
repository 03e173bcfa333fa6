//! Logging in by another device: a code to enter there, and asking until it was.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::error::Result;
use crate::token::IdentityToken;
use crate::token::provider::Proof;
use crate::token::provider::Provider;
use crate::token::provider::failed;
use crate::token::provider::safe;

/// What to tell a person who logs in by another device (RFC 8628, section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceCode {
    /// The address to open there.
    pub verification_uri: String,
    /// The code to enter there: visible ASCII, at most 64.
    pub user_code: String,
    /// The address with the code, if the provider has one.
    pub verification_uri_complete: Option<String>,
    /// How long the code can be used.
    pub expires_in: Duration,
}

pub(super) async fn login(
    issuer: &str,
    client_id: &str,
    show: impl FnOnce(&DeviceCode) + Send,
) -> Result<IdentityToken> {
    let provider = Provider::discover(issuer, client_id).await?;
    let proof = Proof::new()?;
    let form =
        [("scope", "openid email"), ("code_challenge", proof.challenge.as_str()), ("code_challenge_method", "S256")];
    let answer = provider.post(provider.device_authorization()?, &form).await?;
    let answer = answer.map_err(|refusal| refusal.into_error(issuer))?;
    let answer: Answer = serde_json::from_value(answer).map_err(|error| failed(issuer, &error))?;
    let code = answer.code(issuer)?;
    let end = Instant::now() + code.expires_in;
    let mut pause = Duration::from_secs(answer.interval.unwrap_or(5)).clamp(MIN_PAUSE, MAX_PAUSE);
    show(&code);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", answer.device_code.as_str()),
        ("code_verifier", &proof.verifier),
    ];
    loop {
        sleep(pause).await;
        if Instant::now() >= end {
            return Err(failed(issuer, &format!("nobody entered the code within {} s", code.expires_in.as_secs())));
        }
        match provider.exchange(&form).await? {
            Ok(answer) => return provider.token(&answer, None),
            Err(refusal) if refusal.error == "authorization_pending" => {}
            // RFC 8628, section 3.5: five more seconds, now and from now on.
            Err(refusal) if refusal.error == "slow_down" => pause = (pause + SLOWER).min(MAX_PAUSE),
            Err(refusal) => return Err(refusal.into_error(issuer)),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

impl Answer {
    /// What can be shown: people are going to type and open it.
    fn code(&self, issuer: &str) -> Result<DeviceCode> {
        let is_visible = |letter: char| letter.is_ascii_graphic() || letter == ' ';
        if self.user_code.is_empty() || self.user_code.len() > 64 || !self.user_code.chars().all(is_visible) {
            return Err(failed(issuer, &format!("wanted a code to show, got {:?}", self.user_code)));
        }
        let complete = self.verification_uri_complete.as_deref().map(safe).transpose()?;
        Ok(DeviceCode {
            verification_uri: safe(&self.verification_uri)?.into(),
            user_code: self.user_code.clone(),
            verification_uri_complete: complete.map(String::from),
            expires_in: Duration::from_secs(self.expires_in).min(PATIENCE),
        })
    }
}

const MIN_PAUSE: Duration = Duration::from_secs(1);

const MAX_PAUSE: Duration = Duration::from_secs(60);

const SLOWER: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_secs(1800);
