//! Authentication: from a registry's challenge to the header that answers it.

pub(crate) mod challenge;
mod docker;
mod helper;
mod login;
mod scope;
pub(crate) mod token;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::HeaderValue;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use tokio::time::Instant;
use url::Url;

use crate::auth::challenge::Challenge;
use crate::auth::token::Token;
use crate::client::transport::Transport;

pub use docker::DockerConfig;
pub use docker::Found;
pub use login::DockerLogin;
pub use login::Kept;
pub use scope::Scope;

/// Who the client is, to one registry.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user with a password, or with an access token in its place.
    Basic {
        /// The name of the user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry takes as it is.
    Bearer(String),
    /// A token with which others are obtained: docker's identity token, a refresh token in the words of OAuth 2.
    Identity(String),
}

impl fmt::Debug for Credential {
    /// Prints no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::Bearer(_) => f.write_str("Bearer(..)"),
            Self::Identity(_) => f.write_str("Identity(..)"),
        }
    }
}

impl fmt::Display for Credential {
    /// Says who it is, without the secret: `nobody`, `user "me"`, `a token`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("nobody"),
            Self::Basic { user, .. } => write!(f, "user {user:?}"),
            Self::Bearer(_) | Self::Identity(_) => f.write_str("a token"),
        }
    }
}

/// Knows who the client is to each registry.
///
/// A [`Credential`] is the simplest one: the same to every registry that it is given for. [`OnlyFor`] binds it to
/// one, as is right where several clients share their options.
#[async_trait]
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// Says who the client is to the registry at a host, `registry.example.com:5000`.
    ///
    /// Asked once for each client, when the registry first wants to know.
    ///
    /// # Errors
    /// `Unauthorized` when they should be known and cannot be had.
    async fn for_registry(&self, host: &str) -> Result<Credential>;

    /// Says who the client is to one repository, if that is somebody else than to the rest of the registry.
    ///
    /// Asked often, so the answer should be at hand.
    ///
    /// # Errors
    /// As [`Credentials::for_registry`].
    async fn for_repository(&self, _host: &str, _repo: &str) -> Result<Option<Credential>> {
        Ok(None)
    }
}

/// A credential for one registry; to all others, the client is nobody.
#[derive(Clone, Debug)]
pub struct OnlyFor {
    host: String,
    credential: Credential,
}

impl OnlyFor {
    /// Binds a credential to the registry at a host.
    pub fn new(host: impl Into<String>, credential: Credential) -> Self {
        Self { host: host.into(), credential }
    }
}

#[async_trait]
impl Credentials for OnlyFor {
    async fn for_registry(&self, host: &str) -> Result<Credential> {
        Ok(if host == self.host { self.credential.clone() } else { Credential::Anonymous })
    }
}

#[async_trait]
impl Credentials for Credential {
    async fn for_registry(&self, _: &str) -> Result<Credential> {
        Ok(self.clone())
    }
}

/// Answers the challenges of one registry, and remembers the answers.
pub(crate) struct Authenticator {
    /// The origin of the registry; nothing of this is ever sent elsewhere, except to its token server.
    origin: Url,
    /// The host by which people know the registry.
    host: String,
    credentials: Arc<dyn Credentials>,
    transport: Transport,
    known: tokio::sync::OnceCell<Credential>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// By the token of the credential, what the token server has given in its place.
    refresh: HashMap<String, String>,
    tokens: Vec<Held>,
    /// Who asks for a scope holds its lock, so that others with the same wish wait for the one answer.
    flights: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// A token, what it was asked for, and which need was met by it.
struct Held {
    need: Scope,
    scope: Scope,
    token: Token,
}

/// The header that a request carries, and what to do when it is not enough.
#[derive(Debug, Default)]
pub(crate) struct Authorization {
    /// None when the registry is asked anonymously.
    pub(crate) header: Option<HeaderValue>,
    /// What a token was asked for, if the header came just now and for this request.
    fresh: Option<Scope>,
}

/// What to do about a request that was answered by 401.
#[derive(Debug)]
pub(crate) enum Next {
    /// Tell the caller that it may not do this: the registry knows who it is.
    Deny,
    /// Send the request again with another header.
    Retry(Authorization),
    /// Tell the caller what the registry says.
    Tell,
}

impl Authenticator {
    pub(crate) fn new(origin: Url, host: String, credentials: Arc<dyn Credentials>, transport: Transport) -> Self {
        let known = tokio::sync::OnceCell::new();
        Self { origin, host, credentials, transport, known, state: Mutex::default() }
    }

    /// The header for a request that needs a scope, as far as can be told before the registry was asked.
    pub(crate) async fn authorize(&self, need: &Scope) -> Result<Authorization> {
        let challenge = self.lock().challenge.clone();
        match challenge {
            // A token that was given needs no challenge; everything else waits for one.
            None => match self.credential(need).await? {
                Credential::Bearer(token) => Ok(Authorization { header: Some(bearer(&token)?), fresh: None }),
                _ => Ok(Authorization::default()),
            },
            Some(challenge) => self.answer(&challenge, need, need).await,
        }
    }

    /// What to do about a request that was answered by 401.
    ///
    /// # Errors
    /// `Unauthorized` when the challenge cannot be met, and whatever the token server says.
    pub(crate) async fn respond(&self, headers: &HeaderMap, need: &Scope, tried: &Authorization) -> Result<Next> {
        let Some(challenge) = challenge::choose(headers) else { return Ok(Next::Tell) };
        let scope = challenge.scope().unwrap_or_else(|| need.clone());
        // The token server knows the client, and what it gives to it does not open the door.
        let named = matches!(self.credential(need).await?, Credential::Basic { .. } | Credential::Identity(_));
        let enough = if named && challenge.is_bearer() { Next::Deny } else { Next::Tell };
        if tried.fresh.as_ref() == Some(&scope) {
            return Ok(enough);
        }
        {
            let mut state = self.lock();
            // A token may be revoked before its time; it must not be tried again.
            state.tokens.retain(|held| held.token.header != tried.header);
            state.challenge = Some(challenge.clone());
        }
        let answer = self.answer(&challenge, need, &scope).await?;
        // The same words once more would get the same answer.
        Ok(if answer.header == tried.header { enough } else { Next::Retry(answer) })
    }

    async fn answer(&self, challenge: &Challenge, need: &Scope, scope: &Scope) -> Result<Authorization> {
        let credential = self.credential(need).await?;
        if let Credential::Bearer(token) = credential {
            return Ok(Authorization { header: Some(bearer(&token)?), fresh: None });
        }
        if !challenge.is_bearer() {
            let header = match credential {
                Credential::Basic { user, password } => Some(basic(&user, &password)?),
                _ => None,
            };
            return Ok(Authorization { header, fresh: None });
        }
        if let Some(token) = self.held(need, scope) {
            return Ok(Authorization { header: token.header, fresh: None });
        }
        let flight = self.flight(scope);
        let _alone = flight.lock().await;
        if let Some(token) = self.held(need, scope) {
            return Ok(Authorization { header: token.header, fresh: None });
        }
        let (credential, given) = match credential {
            Credential::Identity(given) => {
                let current = self.lock().refresh.get(&given).cloned().unwrap_or_else(|| given.clone());
                (Credential::Identity(current), Some(given))
            }
            credential => (credential, None),
        };
        let granted = token::fetch(&self.transport, &self.origin, challenge, &credential, scope).await?;
        let mut state = self.lock();
        if let (Some(given), Some(new)) = (given, granted.refresh) {
            state.refresh.insert(given, new);
        }
        let token = granted.token;
        if state.tokens.len() >= MAX_TOKENS {
            state.tokens.remove(0);
        }
        state.tokens.push(Held { need: need.clone(), scope: scope.clone(), token: token.clone() });
        Ok(Authorization { header: token.header, fresh: Some(scope.clone()) })
    }

    /// Who is asking, as far as it is known.
    pub(crate) async fn whom(&self, need: &Scope) -> Credential {
        self.credential(need).await.unwrap_or_default()
    }

    /// A token that is good still, and was asked for this or for more.
    fn held(&self, need: &Scope, scope: &Scope) -> Option<Token> {
        let mut state = self.lock();
        let now = Instant::now();
        state.tokens.retain(|held| held.token.expires > now);
        // A registry may want another scope than the protocol suggests; then it is remembered by the need.
        let exact =
            state.tokens.iter().rev().find(|held| held.need == *need && (held.scope == *scope || need == scope));
        exact.or_else(|| state.tokens.iter().find(|held| held.scope.covers(scope))).map(|held| held.token.clone())
    }

    fn flight(&self, scope: &Scope) -> Arc<tokio::sync::Mutex<()>> {
        let mut state = self.lock();
        if state.flights.len() >= MAX_TOKENS {
            state.flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        state.flights.entry(scope.to_string()).or_default().clone()
    }

    async fn credential(&self, need: &Scope) -> Result<Credential> {
        if let Some(repo) = need.repository()
            && let Some(credential) = self.credentials.for_repository(&self.host, repo).await?
        {
            return Ok(credential);
        }
        self.known.get_or_try_init(|| self.credentials.for_registry(&self.host)).await.cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl fmt::Debug for Authenticator {
    /// Prints no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("host", &self.host).finish_non_exhaustive()
    }
}

fn bearer(token: &str) -> Result<HeaderValue> {
    secret(format!("Bearer {token}"))
}

fn basic(user: &str, password: &str) -> Result<HeaderValue> {
    secret(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn secret(text: String) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Error::new(Code::Unauthorized, "the credential has characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Tokens to remember; each serves one repository, or a few.
const MAX_TOKENS: usize = 1024;
