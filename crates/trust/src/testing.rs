//! A Sigstore of one's own, in this process: identities, certificates, logs and timestamps, for tests.
//!
//! ```no_run
//! use skep_trust::testing::{Sigstore, Who};
//! use skep_trust::{IdentityToken, KeylessSigner};
//!
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let sigstore = Sigstore::start().await?;
//! let token = IdentityToken::new(&sigstore.token(&Who::person("dev@acme.example"))?)?;
//! let signer = KeylessSigner::new(sigstore.services(), token);
//! # let _ = signer;
//! # Ok(())
//! # }
//! ```
//!
//! It certifies whoever has a token that it made, and keeps its logs in memory. Never trust its root outside of a test.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::key::PrivateKey;

mod der;
mod fulcio;
mod http;
mod identity;
mod login;
mod rekor;
mod timestamp;
mod tree;
mod updates;

pub use identity::Who;

/// What a service says when it refuses.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A running Sigstore: an identity provider, Fulcio with a certificate log, Rekor of both versions, and a timestamp
/// authority, at one address of the loopback. It ends when this is dropped.
///
/// The identity provider takes whoever logs in for who they say: a browser that opens `/authorize` or `/device` gets a
/// form, and a program adds `email=…` to the address, or `deny=1`.
#[derive(Debug)]
pub struct Sigstore {
    address: SocketAddr,
    services: Arc<All>,
    task: JoinHandle<()>,
}

/// The services behind the address.
struct All {
    url: String,
    identities: identity::Provider,
    logins: login::Logins,
    fulcio: fulcio::Fulcio,
    rekor: rekor::Rekor,
    tiles: rekor::Rekor,
    timestamps: timestamp::Authority,
    updates: updates::Updates,
}

impl Sigstore {
    /// Starts one on a free port of the loopback, with keys of its own.
    ///
    /// Runs in the runtime it is called in.
    ///
    /// # Errors
    /// `Service` when there is no port or no randomness.
    pub async fn start() -> Result<Self, Error> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts one at an address of the loopback.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when the port is in use.
    pub async fn start_at(address: SocketAddr) -> Result<Self, Error> {
        Self::begin(address).await.map_err(|error| Error::Service { service: "own sigstore", why: error.to_string() })
    }

    async fn begin(address: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let services = Arc::new(All {
            url: format!("http://{address}"),
            identities: identity::Provider::new(format!("http://{address}"))?,
            logins: login::Logins::default(),
            fulcio: fulcio::Fulcio::new()?,
            rekor: rekor::Rekor::new("rekor.test")?,
            tiles: rekor::Rekor::new("tiles.test")?,
            timestamps: timestamp::Authority::new()?,
            updates: updates::Updates::new()?,
        });
        let task = tokio::spawn(http::serve(listener, services.clone()));
        let sigstore = Self { address, services, task };
        sigstore.publish_updates(1, Timestamp::now() + SignedDuration::from_hours(24 * 365))?;
        Ok(sigstore)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of all services: `http://127.0.0.1:PORT`. Timestamps are at `/timestamp` there.
    pub fn url(&self) -> &str {
        &self.services.url
    }

    /// A token that says one is somebody; valid for ten minutes.
    ///
    /// # Errors
    /// `Key` when there is no randomness.
    pub fn token(&self, who: &Who) -> Result<String, Error> {
        self.services.identities.token(who)
    }

    /// The variables by which a run on GitHub Actions finds its token, for a process that signs as somebody.
    ///
    /// # Errors
    /// As [`token`](Self::token).
    pub fn actions_environment(&self, who: &Who) -> Result<[(&'static str, String); 3], Error> {
        Ok([
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/ambient?run=1", self.url())),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", self.token(who)?),
        ])
    }

    /// The address of its TUF repository, where it publishes trusted root and signing configuration.
    pub fn updates_url(&self) -> String {
        format!("{}/tuf", self.url())
    }

    /// The `root.json` that its updates are believed by.
    pub fn updates_root(&self) -> &str {
        self.services.updates.root()
    }

    /// Publishes trusted root and signing configuration again, as a version, which may be one that was before, until a
    /// time, which may be over. At first it is version 1, for a year.
    ///
    /// # Errors
    /// `Key` when there is no randomness.
    pub fn publish_updates(&self, version: u32, expires: Timestamp) -> Result<(), Error> {
        let targets = [("trusted_root.json", self.trusted_root()), ("signing_config.v0.2.json", self.signing_config())];
        self.services.updates.publish(version, expires, &targets).map_err(|error| Error::key(error.to_string()))
    }

    /// Ends the logins that are under way, as if nobody had come in time.
    pub fn expire_logins(&self) {
        self.services.logins.expire();
    }

    /// Its Fulcio, and its Rekor of version 1.
    #[cfg(feature = "keyless")]
    pub fn services(&self) -> crate::Services {
        crate::Services::new(self.url(), self.url())
    }

    /// The same with a Rekor of version 2 and timestamps.
    #[cfg(feature = "keyless")]
    pub fn services_with_tiles(&self) -> crate::Services {
        self.services().with_timestamps(&format!("{}/timestamp", self.url())).with_rekor_tiles(self.url())
    }

    /// What it signs with, in the format of `trusted_root.json`.
    pub fn trusted_root(&self) -> String {
        let log = |name: &str, key: &PrivateKey| {
            let spki = key.public_key().to_der();
            json!({
                "baseUrl": format!("https://{name}"),
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(spki), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid(),
                },
                "logId": {"keyId": STANDARD.encode(key.public_key().fingerprint().hash())},
            })
        };
        let authority = |name: &str, chain: &[&[u8]]| {
            let certificates: Vec<Value> = chain.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)})).collect();
            json!({
                "subject": {"organization": "skep", "commonName": name},
                "uri": format!("https://{name}"),
                "certChain": {"certificates": certificates},
                "validFor": valid(),
            })
        };
        let all = &self.services;
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("rekor.test", all.rekor.key()), log("tiles.test", all.tiles.key())],
            "ctlogs": [log("ct.test", all.fulcio.log_key())],
            "certificateAuthorities": [authority("fulcio.test", &[all.fulcio.certificate()])],
            "timestampAuthorities": [authority("timestamp.test", &all.timestamps.chain())],
        })
        .to_string()
    }

    /// Where its services are, in the format of `signing_config.json` version 0.2, with the Rekor of version 2.
    pub fn signing_config(&self) -> String {
        let service = |url: String, version: u32| json!([{"url": url, "majorApiVersion": version, "operator": "skep", "validFor": valid()}]);
        json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service(self.url().to_owned(), 1),
            "oidcUrls": service(self.url().to_owned(), 1),
            "rekorTlogUrls": service(self.url().to_owned(), 2),
            "tsaUrls": service(format!("{}/timestamp", self.url()), 1),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        })
        .to_string()
    }
}

impl Drop for Sigstore {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for All {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("All").field("url", &self.url).finish_non_exhaustive()
    }
}

fn valid() -> Value {
    json!({"start": "2020-01-01T00:00:00Z"})
}

/// The same value with all keys in lexical order, whichever map serde_json was built with.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
