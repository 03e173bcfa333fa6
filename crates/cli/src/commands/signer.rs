//! Who signs: the holder of a key in a file, or whom a token names.

use std::io::IsTerminal;
use std::path::Path;

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

/// Bytes of a key, a token or a configuration; each has a few thousand at most.
const MAX_FILE: u64 = 1 << 20;

/// A signer, as far as it can be known before there is something to sign.
pub(super) enum Prepared {
    /// With a token that was given; else one is asked for when it is needed, as it lives for minutes only.
    Identity { services: Services, given: Option<IdentityToken> },
    /// With a key.
    Key { key: PrivateKey, witnesses: Witnesses },
}

/// A signer, and who that is.
pub(super) struct Ready {
    pub(super) signer: Box<dyn skep_trust::Signer>,
    pub(super) who: String,
}

impl Prepared {
    /// Finds out what is wrong with flags and files before anything is done.
    pub(super) async fn new(session: &Session, flags: &args::Signer) -> Outcome<Self> {
        let prepared = match &flags.key {
            Some(_) if flags.identity_token.is_some() => {
                return Err(Failure::new(Exit::Usage, "both a key and an identity token are given, and one signs"));
            }
            Some(path) => Self::Key { witnesses: witnesses(flags).await?, key: key(path).await? },
            None => Self::Identity { services: services(flags).await?, given: given(flags).await? },
        };
        prepared.expect_token(session).await?;
        Ok(prepared)
    }

    /// Refuses to go on where it is sure that nobody will say who one is.
    async fn expect_token(&self, session: &Session) -> Outcome {
        let Self::Identity { given: None, .. } = self else { return Ok(()) };
        if session.client.options().caches.offline {
            let failure = Failure::new(Exit::Network, "offline: nobody can be asked to certify who signs");
            return Err(failure.hint("sign with --key, or leave out --offline"));
        }
        match IdentityToken::ambient().await? {
            Some(_) => Ok(()),
            None => Err(nobody()),
        }
    }

    /// Gets what is missing, which is a token.
    pub(super) async fn ready(self) -> Outcome<Ready> {
        let (services, given) = match self {
            Self::Key { key, witnesses } => {
                let who = format!("key {}", key.public_key().fingerprint());
                let signer = Box::new(KeySigner::new(key).with_witnesses(witnesses));
                return Ok(Ready { signer, who });
            }
            Self::Identity { services, given } => (services, given),
        };
        let token = match given {
            Some(token) => token,
            None => IdentityToken::ambient().await?.ok_or_else(nobody)?,
        };
        let who = token.identity().to_owned();
        Ok(Ready { signer: Box::new(KeylessSigner::new(services, token)), who })
    }
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
async fn given(flags: &args::Signer) -> Outcome<Option<IdentityToken>> {
    let Some(given) = &flags.identity_token else { return Ok(None) };
    // The first part of every token is an object in base64, `{"`.
    let is_token = given.starts_with("eyJ") && given.matches('.').count() == 2;
    let token = if is_token { given.clone() } else { text(Path::new(given)).await? };
    Ok(Some(IdentityToken::new(&token)?))
}

fn nobody() -> Failure {
    Failure::new(Exit::Usage, "nobody says who signs: there is no key, no token, and no CI system that is known")
        .hint("give --key or --identity-token; on GitHub Actions, give the job the permission id-token: write")
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

async fn witnesses(flags: &args::Signer) -> Outcome<Witnesses> {
    if flags.signing_config.is_some() {
        let message = "a signing configuration is for identities: wanted --rekor-url or --timestamp-url with a key";
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut witnesses = Witnesses::default();
    if let Some(url) = &flags.rekor_url {
        witnesses = witnesses.with_log(url);
    }
    if let Some(url) = &flags.timestamp_url {
        witnesses = witnesses.with_timestamps(url);
    }
    Ok(witnesses)
}

fn said_twice() -> Failure {
    Failure::new(Exit::Usage, "the services are said twice: by --signing-config, and by their addresses")
}
