//! Witnesses of a signature: transparency logs, and timestamp authorities.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sigstore_bundle::BundleV03;
use sigstore_crypto::KeyAlgorithm;
use sigstore_rekor::DsseEntry;
use sigstore_rekor::HashedRekord;
use sigstore_rekor::HashedRekordV2;
use sigstore_rekor::LogEntry;
use sigstore_rekor::RekorClient;
use sigstore_rekor::RekorV2Client;
use sigstore_rekor::RekorV2KeyDetails;
use sigstore_tsa::TimestampClient;
use sigstore_types::DerCertificate;
use sigstore_types::EntryUuid;
use sigstore_types::HashAlgorithm;
use sigstore_types::KindVersion;
use sigstore_types::Sha256Hash;
use sigstore_types::SignatureBytes;
use sigstore_types::SignatureContent;
use sigstore_types::TransparencyLogEntry;

use crate::error::Error;
use crate::error::Result;
use crate::key::PublicKey;
use crate::services;
use crate::sign::SignFormat;

/// Who is told of each signature, and vouches for it. Nobody, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    pub(crate) logs: Vec<Log>,
    pub(crate) timestamps: Vec<String>,
}

/// A transparency log that shows its entries to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) url: String,
    pub(crate) version: LogVersion,
}

/// The versions of Rekor, which have nothing in common but the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogVersion {
    /// Gives the time of an entry.
    One,
    /// Made of tiles; gives no time.
    Two,
}

/// What an entry says by whom a signature was made.
#[derive(Clone, Copy)]
pub(crate) enum Signatory<'a> {
    Certificate(&'a DerCertificate),
    Key(&'a PublicKey),
}

impl Witnesses {
    /// Those of a signing configuration, version 0.2, as [`Services`](crate::Services) chooses them.
    ///
    /// # Errors
    /// As [`Services::from_signing_config`](crate::Services::from_signing_config), but for authorities of
    /// certificates, which a key has no need of.
    pub fn from_signing_config(json: &str) -> Result<Self> {
        services::witnesses(&services::parse(json)?, jiff::Timestamp::now())
    }

    /// Enters signatures into a Rekor of version 1, besides.
    pub fn with_log(mut self, url: &str) -> Self {
        self.logs.push(Log { url: url.to_owned(), version: LogVersion::One });
        self
    }

    /// Enters signatures into a Rekor of version 2, besides.
    ///
    /// It takes what P-256 keys signed, and wants a timestamp for what was signed with a certificate.
    pub fn with_log_tiles(mut self, url: &str) -> Self {
        self.logs.push(Log { url: url.to_owned(), version: LogVersion::Two });
        self
    }

    /// Has signatures stamped by an authority, besides, by the address that takes requests (RFC 3161).
    pub fn with_timestamps(mut self, url: &str) -> Self {
        self.timestamps.push(url.to_owned());
        self
    }

    /// Whether the logs take what this key signs in this form.
    ///
    /// Asked before anything is signed or sent, because a bundle that nobody can verify helps nobody.
    pub(crate) fn admit(&self, algorithm: KeyAlgorithm, format: SignFormat) -> Result<()> {
        let refused = |why: &str| Err(Error::key(format!("{why}, this one is {algorithm:?}")));
        for log in &self.logs {
            match (log.version, algorithm) {
                (_, KeyAlgorithm::EcdsaP256) => {}
                // It takes their hash, which with this key is another than the one that is verified by.
                (LogVersion::Two, _) => return refused("a Rekor of version 2 takes signatures of P-256 keys only"),
                (LogVersion::One, KeyAlgorithm::Rsa) => {}
                // The log sees a hash. Ed25519 signs whole messages, and the variant that signs hashes, which other
                // tools use for logs alone, is one that cannot be verified here.
                (LogVersion::One, _) if format == SignFormat::Message => {
                    return refused(
                        "a Rekor of version 1 takes statements of every key and messages of P-256 and RSA keys",
                    );
                }
                (LogVersion::One, _) => {}
            }
        }
        Ok(())
    }

    /// Adds what the witnesses say of a signature to a bundle.
    pub(crate) async fn witness(
        &self,
        mut bundle: BundleV03,
        content: &SignatureContent,
        signatory: Signatory<'_>,
    ) -> Result<BundleV03> {
        for log in &self.logs {
            let entry = match log.version {
                LogVersion::One => enter(&log.url, content, signatory).await?,
                LogVersion::Two => enter_tile(&log.url, content, signatory).await?,
            };
            bundle = bundle.with_tlog_entry(entry);
        }
        for url in &self.timestamps {
            let failed = |error: sigstore_tsa::Error| service("timestamp authority", format!("{url}: {error}"));
            let client = TimestampClient::new(url.as_str()).map_err(failed)?;
            let stamp = client.timestamp_signature(signature(content)?).await.map_err(failed)?;
            bundle = bundle.with_rfc3161_timestamp(stamp);
        }
        Ok(bundle)
    }
}

impl Signatory<'_> {
    fn to_pem(self) -> String {
        match self {
            // Rekor keeps the line ends it gets, and others compare the text.
            Self::Certificate(der) => {
                pem::encode_config(&pem::Pem::new("CERTIFICATE", der.as_bytes()), crate::key::unix())
            }
            Self::Key(key) => key.to_pem(),
        }
    }
}

async fn enter(url: &str, content: &SignatureContent, signatory: Signatory<'_>) -> Result<TransparencyLogEntry> {
    let rekor = RekorClient::new(url).map_err(|error| log(url, error))?;
    let pem = STANDARD.encode(signatory.to_pem());
    // The client's own constructors take certificates only.
    let (entry, kind) = match content {
        SignatureContent::MessageSignature(signature) => {
            let Some(digest) = &signature.message_digest else {
                return Err(log(url, "a signature without a digest cannot be entered"));
            };
            let request = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                "data": {"hash": {"algorithm": digest.algorithm.as_rekor_str(), "value": digest.digest.to_hex()}},
                "signature": {"content": signature.signature.to_base64(), "publicKey": {"content": pem}},
            }});
            let request: HashedRekord = read(url, request)?;
            (rekor.create_entry(request).await, KindVersion::HashedRekordV001)
        }
        SignatureContent::DsseEnvelope(envelope) => {
            let envelope = serde_json::to_string(envelope).map_err(|error| log(url, error))?;
            let request = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
                "proposedContent": {"envelope": envelope, "verifiers": [pem]},
            }});
            let request: DsseEntry = read(url, request)?;
            (rekor.create_dsse_entry(request).await, KindVersion::DsseV001)
        }
        _ => return Err(log(url, "a signature of a kind that cannot be entered")),
    };
    let entry = match entry {
        Err(sigstore_rekor::Error::Status { status: 409, message }) => standing(url, &rekor, &message).await?,
        entry => entry.map_err(|error| log(url, error))?,
    };
    entry.to_bundle_entry(kind).map_err(|error| log(url, error))
}

/// The entry that a log has of this signature already: RSA and Ed25519 sign the same in the same way again.
async fn standing(url: &str, rekor: &RekorClient, message: &str) -> Result<LogEntry> {
    let words = message.split(|letter: char| !letter.is_ascii_hexdigit());
    let id = words.into_iter().find(|word| [64, 80].contains(&word.len()));
    let id = id.ok_or_else(|| log(url, format!("it has the entry and does not say where: {message}")))?;
    rekor.get_entry_by_uuid(&EntryUuid::new(id.to_owned())).await.map_err(|error| log(url, error))
}

/// Version 2 has entries of hashes only; that of an envelope is the hash of what its signature is over.
async fn enter_tile(url: &str, content: &SignatureContent, signatory: Signatory<'_>) -> Result<TransparencyLogEntry> {
    let rekor = RekorV2Client::new(url).map_err(|error| log(url, error))?;
    let hash = match content {
        SignatureContent::MessageSignature(signature) => signature
            .message_digest
            .as_ref()
            .filter(|digest| digest.algorithm == HashAlgorithm::Sha2256)
            .and_then(|digest| Sha256Hash::try_from(digest.digest.as_bytes()).ok())
            .ok_or_else(|| log(url, "wanted a signature over a SHA-256 digest"))?,
        SignatureContent::DsseEnvelope(envelope) => sigstore_crypto::sha256(&envelope.pae()),
        _ => return Err(log(url, "a signature of a kind that cannot be entered")),
    };
    let (signature, details) = (signature(content)?, RekorV2KeyDetails::PkixEcdsaP256Sha256);
    let request = match signatory {
        Signatory::Certificate(der) => HashedRekordV2::new_with_certificate(&hash, signature, der, details),
        Signatory::Key(key) => HashedRekordV2::new_with_public_key(&hash, signature, &key.spki, details),
    };
    rekor.create_entry(request).await.map_err(|error| log(url, error))
}

fn signature(content: &SignatureContent) -> Result<&SignatureBytes> {
    match content {
        SignatureContent::MessageSignature(signature) => Ok(&signature.signature),
        SignatureContent::DsseEnvelope(envelope) => Ok(&envelope.signature.sig),
        _ => Err(service("bundle", "a signature of a kind that is not known")),
    }
}

fn read<T: serde::de::DeserializeOwned>(url: &str, request: serde_json::Value) -> Result<T> {
    serde_json::from_value(request).map_err(|error| log(url, error))
}

fn log(url: &str, error: impl std::fmt::Display) -> Error {
    service("transparency log", format!("{url}: {error}"))
}

fn service(service: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Service { service, why: error.to_string() }
}
