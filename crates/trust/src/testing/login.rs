//! Logging in at the identity provider: by browser and by another device. Nobody has a password.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;
use skep_registry::Digest;
use url::Url;

use crate::testing::Failure;
use crate::testing::identity::Provider;
use crate::testing::identity::Who;

/// What came in the address and in the form.
pub(super) type Fields = HashMap<String, String>;

/// The logins that are under way.
#[derive(Default)]
pub(super) struct Logins {
    codes: Mutex<HashMap<String, Grant>>,
    devices: Mutex<HashMap<String, Device>>,
}

/// Somebody who logged in by browser, until the program fetches the token.
struct Grant {
    who: Who,
    client_id: String,
    redirect_uri: String,
    challenge: String,
    end: Instant,
}

/// A program that waits for somebody to enter a code.
struct Device {
    user_code: String,
    client_id: String,
    challenge: String,
    answer: Option<Result<Who, ()>>,
    asked: Instant,
    pause: Duration,
    end: Instant,
}

/// What a page leads to.
pub(super) enum Page {
    /// To ask who one is.
    Form,
    /// Back to the program.
    Redirect(String),
    /// The end.
    Text(&'static str),
}

impl Logins {
    /// Asks who it is that logs in, and sends them back with a code. `email` answers, `deny` refuses.
    pub(super) fn authorize(&self, fields: &Fields) -> Result<Page, Failure> {
        let field = |name: &str| fields.get(name).ok_or_else(|| format!("no {name}"));
        let redirect_uri = field("redirect_uri")?;
        let mut redirect = Url::parse(redirect_uri)?;
        if field("response_type")? != "code" || field("code_challenge_method")? != "S256" {
            return Err("wanted a code, with a challenge by S256".into());
        }
        if redirect.scheme() != "http" || !["127.0.0.1", "localhost"].contains(&redirect.host_str().unwrap_or_default())
        {
            return Err("wanted to be sent to the loopback".into());
        }
        let state = field("state")?;
        if fields.contains_key("deny") {
            let answer = [("error", "access_denied"), ("error_description", "the person said no"), ("state", state)];
            redirect.query_pairs_mut().extend_pairs(answer);
            return Ok(Page::Redirect(redirect.into()));
        }
        let Some(email) = fields.get("email") else { return Ok(Page::Form) };
        let who = Who::person(email);
        let who = fields.get("nonce").map_or(who.clone(), |nonce| who.with_claim("nonce", nonce));
        let grant = Grant {
            who,
            client_id: field("client_id")?.clone(),
            redirect_uri: redirect_uri.clone(),
            challenge: field("code_challenge")?.clone(),
            end: Instant::now() + PATIENCE,
        };
        let code = random()?;
        redirect.query_pairs_mut().extend_pairs([("code", code.as_str()), ("state", state)]);
        insert(&self.codes, code, grant, |grant| grant.end)?;
        Ok(Page::Redirect(redirect.into()))
    }

    /// Gives a program a code that somebody is to enter.
    pub(super) fn device(&self, url: &str, fields: &Fields) -> Result<Value, Failure> {
        let field = |name: &str| fields.get(name).ok_or_else(|| format!("no {name}"));
        let (code, user_code) = (random()?, random()?[..8].to_uppercase());
        let device = Device {
            user_code: user_code.clone(),
            client_id: field("client_id")?.clone(),
            challenge: field("code_challenge")?.clone(),
            answer: None,
            asked: Instant::now(),
            pause: Duration::from_secs(1),
            end: Instant::now() + PATIENCE,
        };
        insert(&self.devices, code.clone(), device, |device| device.end)?;
        let mut complete = Url::parse(&format!("{url}/device"))?;
        complete.query_pairs_mut().append_pair("user_code", &user_code);
        Ok(json!({
            "device_code": code,
            "user_code": user_code,
            "verification_uri": format!("{url}/device"),
            "verification_uri_complete": complete.as_str(),
            "expires_in": PATIENCE.as_secs(),
            "interval": 1,
        }))
    }

    /// Ends what is under way, as if its time were over.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|grant| grant.end = now);
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|device| device.end = now);
    }

    /// Takes the code that somebody enters, and who they are; `deny` refuses.
    pub(super) fn enter(&self, fields: &Fields) -> Result<Page, Failure> {
        let (Some(code), email) = (fields.get("user_code"), fields.get("email")) else { return Ok(Page::Form) };
        let answer = match (fields.contains_key("deny"), email) {
            (true, _) => Err(()),
            (false, Some(email)) => Ok(Who::person(email)),
            (false, None) => return Ok(Page::Form),
        };
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let device = devices.values_mut().find(|device| device.user_code == *code).ok_or("no such code")?;
        device.answer = Some(answer);
        Ok(Page::Text("Done. The program goes on."))
    }

    /// Gives the token for a code, once (RFC 6749, section 4.1.3; RFC 8628, section 3.4). Refusals come with their name.
    pub(super) fn token(&self, provider: &Provider, fields: &Fields) -> Result<Value, &'static str> {
        let field = |name: &str| fields.get(name).ok_or("invalid_request");
        let client_id = field("client_id")?;
        let challenge = URL_SAFE_NO_PAD.encode(Digest::sha256(field("code_verifier")?.as_bytes()).hash());
        let who = match field("grant_type")?.as_str() {
            "authorization_code" => {
                let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
                let grant = codes.remove(field("code")?).ok_or("invalid_grant")?;
                let is_own = grant.client_id == *client_id && grant.challenge == challenge;
                if !is_own || grant.redirect_uri != *field("redirect_uri")? || grant.end < Instant::now() {
                    return Err("invalid_grant");
                }
                grant.who
            }
            "urn:ietf:params:oauth:grant-type:device_code" => {
                let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
                let code = field("device_code")?;
                let device = devices.get_mut(code).ok_or("invalid_grant")?;
                if device.client_id != *client_id || device.challenge != challenge {
                    return Err("invalid_grant");
                }
                if device.end < Instant::now() {
                    return Err("expired_token");
                }
                // A twentieth less, for clocks that tick apart.
                let is_hasty = device.asked.elapsed() < device.pause * 19 / 20;
                device.asked = Instant::now();
                if is_hasty {
                    device.pause += Duration::from_secs(5);
                    return Err("slow_down");
                }
                let answer = device.answer.clone().ok_or("authorization_pending")?;
                devices.remove(code);
                answer.map_err(|()| "access_denied")?
            }
            _ => return Err("unsupported_grant_type"),
        };
        let token = provider.token(&who.with_claim("aud", client_id)).map_err(|_| "server_error")?;
        Ok(json!({"id_token": token, "access_token": "of no use", "token_type": "Bearer", "expires_in": 600}))
    }
}

/// Keeps what is under way, and not what is over.
fn insert<T>(
    map: &Mutex<HashMap<String, T>>,
    key: String,
    value: T,
    end: impl Fn(&T) -> Instant,
) -> Result<(), Failure> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    map.retain(|_, value| end(value) > Instant::now());
    if map.len() >= MAX_LOGINS {
        return Err("too many logins at once".into());
    }
    map.insert(key, value);
    Ok(())
}

fn random() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const PATIENCE: Duration = Duration::from_secs(300);

const MAX_LOGINS: usize = 1024;
