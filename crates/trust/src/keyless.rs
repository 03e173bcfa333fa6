//! Signing with an identity: a key for one signature, certified by Fulcio, entered into a log, stamped with a time.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use sigstore_rekor::RekorApiVersion;
use sigstore_sign::SigningContext;
use sigstore_sign::SigningServices;
use sigstore_trust_root::SigningConfig;
use sigstore_trust_root::SigstoreInstance;
use skep_registry::Digest;

use crate::error::Error;
use crate::error::Result;
use crate::sign::Signer;
use crate::sign::to_bytes;

/// The services that sign with an identity.
#[derive(Clone, Debug)]
pub struct Services(SigningServices);

impl Services {
    /// Those of the public Sigstore, as of the release of this crate.
    ///
    /// # Errors
    /// `Trust`, never with the configuration that is built in.
    pub fn sigstore() -> Result<Self> {
        let services = SigningServices::from_embedded(SigstoreInstance::PublicGood);
        services.map(Self).map_err(|error| Error::trust("signing configuration", error))
    }

    /// Those of a signing configuration, version 0.2.
    ///
    /// # Errors
    /// `Trust` when it is malformed, or wants more logs or authorities than one.
    pub fn from_signing_config(json: &str) -> Result<Self> {
        let failed = |error: &dyn fmt::Display| Error::trust("signing configuration", error);
        let config = SigningConfig::from_json(json).map_err(|error| failed(&error))?;
        SigningServices::from_signing_config(&config).map(Self).map_err(|error| failed(&error))
    }

    /// A Fulcio and a Rekor of version 1, by their addresses.
    pub fn new(fulcio: &str, rekor: &str) -> Self {
        Self(SigningServices::new(fulcio, rekor))
    }

    /// Adds a timestamp authority, by the address that takes requests.
    pub fn with_timestamps(self, url: &str) -> Self {
        Self(self.0.with_tsa_url(url))
    }

    /// Uses a Rekor of version 2 instead, which wants a timestamp authority too.
    pub fn with_rekor_tiles(self, url: &str) -> Self {
        Self(self.0.with_rekor(url, RekorApiVersion::V2))
    }
}

/// What an identity provider says of who one is: a JSON web token for the audience `sigstore`.
#[derive(Clone)]
pub struct IdentityToken(sigstore_oidc::IdentityToken);

impl IdentityToken {
    /// Takes a token; that it is right is for Fulcio to say.
    ///
    /// # Errors
    /// `Service` when it is not a JSON web token, or is not for Sigstore.
    pub fn new(token: &str) -> Result<Self> {
        sigstore_oidc::IdentityToken::from_jwt(token.trim()).map(Self).map_err(|error| refused(&error))
    }

    /// The token of the machine this runs on, if it has one: of the environment (`SIGSTORE_ID_TOKEN`, as on GitLab), of
    /// GitHub Actions, Buildkite, CircleCI.
    ///
    /// # Errors
    /// `Service` when there should be one and it cannot be had.
    pub async fn ambient() -> Result<Option<Self>> {
        if let Some(token) = std::env::var("SIGSTORE_ID_TOKEN").ok().filter(|token| !token.trim().is_empty()) {
            return Self::new(&token).map(Some);
        }
        let token = sigstore_oidc::IdentityToken::detect_ambient().await;
        token.map(|token| token.map(Self)).map_err(|error| refused(&error))
    }

    /// Who it says one is, as the certificate will name it.
    pub fn identity(&self) -> &str {
        self.0.identity()
    }
}

/// Without the token.
impl fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentityToken").field(&self.identity()).finish()
    }
}

/// Signs with an identity.
pub struct KeylessSigner {
    signer: sigstore_sign::Signer,
    identity: String,
}

impl KeylessSigner {
    /// Signs as whom the token names. Each signature asks for a certificate, so the token has to be valid still.
    pub fn new(services: Services, token: IdentityToken) -> Self {
        let identity = token.identity().to_owned();
        Self { signer: SigningContext::new(services.0).signer(token.0), identity }
    }
}

#[async_trait]
impl Signer for KeylessSigner {
    async fn sign_message(&self, message: &[u8]) -> Result<Bytes> {
        // Only its hash goes to the services; the bytes stay here.
        let digest = Digest::sha256(message);
        let hash = sigstore_types::Sha256Hash::from_hex(digest.hex()).expect("a SHA-256 digest has 32 bytes");
        to_bytes(&self.signer.sign(hash).await.map_err(|error| failed(&error))?)
    }

    async fn sign_statement(&self, statement: &[u8]) -> Result<Bytes> {
        to_bytes(&self.signer.sign_raw_statement(statement).await.map_err(|error| failed(&error))?)
    }
}

impl fmt::Debug for KeylessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeylessSigner").field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn failed(error: &sigstore_sign::Error) -> Error {
    Error::Service { service: "sigstore", why: error.to_string() }
}

fn refused(error: &dyn fmt::Display) -> Error {
    Error::Service { service: "identity token", why: error.to_string() }
}
