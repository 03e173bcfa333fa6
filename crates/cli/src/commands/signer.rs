//! Who signs: the holder of a key in a file, or whom a token names.

use std::io::IsTerminal;
use std::path::Path;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use skep_trust::DeviceCode;
use skep_trust::IdentityToken;
use skep_trust::KeySigner;
use skep_trust::KeylessSigner;
use skep_trust::PrivateKey;
use skep_trust::Services;
use skep_trust::Witnesses;

use super::Session;
use super::manifest::read;
use crate::args;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output::escape;

/// Bytes of a key, a token or a configuration; each has a few thousand at most.
const MAX_FILE: u64 = 1 << 20;

/// A signer, as far as it can be known before there is something to sign.
pub(super) enum Prepared {
    /// With whom one says to be.
    Identity { services: Services, login: Login },
    /// With a key.
    Key { key: PrivateKey, witnesses: Witnesses },
}

/// Where the token comes from. People are asked when it is needed, for it lives for minutes.
pub(super) enum Login {
    Ambient(Box<IdentityToken>),
    Browser { issuer: String, client_id: String },
    Device { issuer: String, client_id: String },
    Given(Box<IdentityToken>),
}

/// A signer, and who that is.
pub(super) struct Ready {
    pub(super) signer: Box<dyn skep_trust::Signer>,
    pub(super) who: String,
    /// What the identity provider says of this run.
    pub(super) claims: Option<Value>,
}

impl Prepared {
    /// Finds out what is wrong with flags and files before anything is done.
    pub(super) async fn new(session: &Session, flags: &args::Signer) -> Outcome<Self> {
        let Some(path) = &flags.key else {
            let services = services(flags).await?;
            let login = Login::new(session, flags, &services).await?;
            return Ok(Self::Identity { services, login });
        };
        if flags.identity_token.is_some() || flags.device {
            return Err(Failure::new(Exit::Usage, "both a key and an identity are given, and one signs"));
        }
        let witnesses = witnesses(flags).await?;
        Ok(Self::Key { key: key(path).await?, witnesses })
    }

    /// Gets what is missing, which is a token.
    pub(super) async fn ready(self) -> Outcome<Ready> {
        match self {
            Self::Identity { services, login } => {
                let token = login.token().await?;
                let (who, claims) = (certified(&token), Some(token.claims().clone()));
                Ok(Ready { signer: Box::new(KeylessSigner::new(services, token)), who, claims })
            }
            Self::Key { key, witnesses } => {
                let who = format!("key {}", key.public_key().fingerprint());
                Ok(Ready { signer: Box::new(KeySigner::new(key).with_witnesses(witnesses)), who, claims: None })
            }
        }
    }
}

impl Login {
    async fn new(session: &Session, flags: &args::Signer, services: &Services) -> Outcome<Self> {
        if session.client.options().caches.offline {
            let failure = Failure::new(Exit::Network, "offline: nobody can be asked to certify who signs");
            return Err(failure.hint("sign with --key, or leave out --offline"));
        }
        if let Some(given) = &flags.identity_token {
            return Ok(Self::Given(Box::new(given_token(given).await?)));
        }
        let issuer = flags.oidc_issuer.as_deref().or(services.issuer()).unwrap_or(IdentityToken::ISSUER).to_owned();
        let client_id = flags.oidc_client_id.clone();
        if flags.device {
            return Ok(Self::Device { issuer, client_id });
        }
        // That there is none is found out before anything is done.
        if let Some(token) = IdentityToken::ambient().await? {
            return Ok(Self::Ambient(Box::new(token)));
        }
        match std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            true => Ok(Self::Browser { issuer, client_id }),
            false => Err(nobody()),
        }
    }

    async fn token(self) -> Outcome<IdentityToken> {
        match self {
            Self::Ambient(token) if token.expires() > Timestamp::now() + ENOUGH => Ok(*token),
            // What was pushed before took long.
            Self::Ambient(_) => IdentityToken::ambient().await?.ok_or_else(nobody),
            Self::Browser { issuer, client_id } => {
                let open = |url: &str| eprintln!("{PUBLIC}\nto say who you are, open {}", escape(url));
                Ok(IdentityToken::by_browser(&issuer, &client_id, open).await?)
            }
            Self::Device { issuer, client_id } => {
                let show = |code: &DeviceCode| {
                    let url = code.verification_uri_complete.as_ref().unwrap_or(&code.verification_uri);
                    eprintln!("{PUBLIC}\nto say who you are, open {} anywhere", escape(url));
                    eprintln!("the code there is {}", escape(&code.user_code));
                };
                Ok(IdentityToken::by_device(&issuer, &client_id, show).await?)
            }
            Self::Given(token) => Ok(*token),
        }
    }
}

/// How long a token has to be good for when somebody signs with it.
const ENOUGH: SignedDuration = SignedDuration::from_mins(1);

/// Whom the certificate will name: for what runs on GitHub and GitLab, Fulcio takes the workflow instead of the subject.
fn certified(token: &IdentityToken) -> String {
    let claim = |name: &str| token.claims()[name].as_str();
    match (claim("job_workflow_ref"), claim("ci_config_ref_uri")) {
        (Some(workflow), None) => format!("https://github.com/{workflow}"),
        (None, Some(pipeline)) => format!("https://{pipeline}"),
        _ => token.identity().to_owned(),
    }
}

/// Said before somebody says who they are: there is no way to take it back.
const PUBLIC: &str =
    "your e-mail address and the digest go into a log that stays, and the public one shows it to everybody";

fn nobody() -> Failure {
    Failure::new(
        Exit::Usage,
        "nobody says who signs: there is no key, no token, no terminal, and no CI system that is known",
    )
    .hint("give --key, --identity-token or --device; on GitHub Actions, give the job the permission id-token: write")
}

/// The text of a file, or of standard input for `-`.
pub(super) async fn text(path: &Path) -> Outcome<String> {
    let bytes = read(path, MAX_FILE).await?;
    let malformed = |_| Failure::new(Exit::Usage, format!("{} is no text", path.display()));
    String::from_utf8(bytes.into()).map_err(malformed)
}

async fn key(path: &Path) -> Outcome<PrivateKey> {
    let text = text(path).await?;
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {error}", path.display()));
    match PrivateKey::from_pem(&text, None) {
        Ok(key) => Ok(key),
        Err(skep_trust::Error::Password { .. }) => {
            let password = password(&format!("password of {}: ", path.display()))?;
            // The work that makes guessing dear keeps a thread busy.
            let opening = tokio::task::spawn_blocking(move || PrivateKey::from_pem(&text, Some(&password)));
            opening.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// The password of a key: what a variable says, also if that is nothing, or else what is typed.
pub(super) fn password(prompt: &str) -> Outcome<String> {
    for name in PASSWORDS {
        if let Some(value) = std::env::var_os(name) {
            let malformed = |_| Failure::new(Exit::Usage, format!("what {name} says is not UTF-8"));
            return value.into_string().map_err(malformed);
        }
    }
    if !std::io::stdin().is_terminal() {
        let failure = Failure::new(Exit::Usage, "a password is needed, and there is no terminal to ask for it at");
        return Err(failure.hint(format!("set {}", PASSWORDS[0])));
    }
    let failed = |error| Failure::new(Exit::Other, format!("cannot read the password: {error}"));
    rpassword::prompt_password(prompt).map_err(failed)
}

pub(super) const PASSWORDS: [&str; 2] = ["SKEP_KEY_PASSWORD", "COSIGN_PASSWORD"];

/// The token of the command line: itself, or the file it is in.
async fn given_token(given: &str) -> Outcome<IdentityToken> {
    // The first part of every token is an object in base64, `{"`.
    let is_token = given.starts_with("eyJ") && given.matches('.').count() == 2;
    let token = if is_token { given.to_owned() } else { text(Path::new(given)).await? };
    Ok(IdentityToken::new(&token)?)
}

async fn services(flags: &args::Signer) -> Outcome<Services> {
    let tiles = flags.rekor_version == 2;
    let services = match (&flags.signing_config, &flags.fulcio_url, &flags.rekor_url) {
        (Some(_), None, None) if flags.timestamp_url.is_some() => return Err(said_twice()),
        (Some(path), None, None) => return Ok(Services::from_signing_config(&text(path).await?)?),
        (Some(_), ..) => return Err(said_twice()),
        (None, Some(fulcio), Some(rekor)) if tiles => Services::new(fulcio, rekor).with_rekor_tiles(rekor),
        (None, Some(fulcio), Some(rekor)) => Services::new(fulcio, rekor),
        (None, None, None) => Services::sigstore()?,
        (None, ..) => {
            let message = "a Fulcio and a Rekor go together: wanted both --fulcio-url and --rekor-url";
            return Err(Failure::new(Exit::Usage, message));
        }
    };
    Ok(match &flags.timestamp_url {
        Some(url) => services.with_timestamps(url),
        None => services,
    })
}

/// Who is told of what a key signs; nobody if nobody is named.
async fn witnesses(flags: &args::Signer) -> Outcome<Witnesses> {
    if let Some(path) = &flags.signing_config {
        if flags.rekor_url.is_some() || flags.timestamp_url.is_some() {
            return Err(said_twice());
        }
        return Ok(Witnesses::from_signing_config(&text(path).await?)?);
    }
    let mut witnesses = Witnesses::default();
    witnesses = match &flags.rekor_url {
        Some(url) if flags.rekor_version == 2 => witnesses.with_log_tiles(url),
        Some(url) => witnesses.with_log(url),
        None => witnesses,
    };
    Ok(match &flags.timestamp_url {
        Some(url) => witnesses.with_timestamps(url),
        None => witnesses,
    })
}

fn said_twice() -> Failure {
    Failure::new(Exit::Usage, "the services are said twice: by --signing-config, and by their addresses")
}
