//! Witnesses of what a key signed: a transparency log, and a timestamp authority.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sigstore_bundle::BundleV03;
use sigstore_rekor::DsseEntry;
use sigstore_rekor::HashedRekord;
use sigstore_rekor::RekorClient;
use sigstore_tsa::TimestampClient;
use sigstore_types::KindVersion;
use sigstore_types::SignatureBytes;
use sigstore_types::SignatureContent;
use sigstore_types::TransparencyLogEntry;

use crate::error::Error;
use crate::error::Result;
use crate::key::PublicKey;

/// Who is told of each signature of a key, and vouches for it. Nobody, by default.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    log: Option<String>,
    timestamps: Option<String>,
}

impl Witnesses {
    /// Enters signatures into a Rekor of version 1, which shows them to everybody.
    pub fn with_log(self, url: &str) -> Self {
        Self { log: Some(url.to_owned()), ..self }
    }

    /// Has signatures stamped by an authority, by the address that takes requests (RFC 3161).
    pub fn with_timestamps(self, url: &str) -> Self {
        Self { timestamps: Some(url.to_owned()), ..self }
    }

    pub(crate) async fn witness(
        &self,
        mut bundle: BundleV03,
        content: &SignatureContent,
        key: &PublicKey,
    ) -> Result<BundleV03> {
        if let Some(url) = &self.log {
            bundle = bundle.with_tlog_entry(enter(url, content, key).await?);
        }
        if let Some(url) = &self.timestamps {
            let failed = |error: sigstore_tsa::Error| service("timestamp authority", error);
            let client = TimestampClient::new(url.as_str()).map_err(failed)?;
            let stamp = client.timestamp_signature(signature(content)?).await.map_err(failed)?;
            bundle = bundle.with_rfc3161_timestamp(stamp);
        }
        Ok(bundle)
    }
}

async fn enter(url: &str, content: &SignatureContent, key: &PublicKey) -> Result<TransparencyLogEntry> {
    let failed = |error: sigstore_rekor::Error| service("transparency log", error);
    let rekor = RekorClient::new(url).map_err(failed)?;
    let pem = STANDARD.encode(key.to_pem());
    // The client's own constructors take certificates only.
    let (entry, kind) = match content {
        SignatureContent::MessageSignature(signature) => {
            let Some(digest) = &signature.message_digest else {
                return Err(service("transparency log", "a signature without a digest cannot be entered"));
            };
            let request = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                "data": {"hash": {"algorithm": digest.algorithm.as_rekor_str(), "value": digest.digest.to_hex()}},
                "signature": {"content": signature.signature.to_base64(), "publicKey": {"content": pem}},
            }});
            let request: HashedRekord = read(request)?;
            (rekor.create_entry(request).await, KindVersion::HashedRekordV001)
        }
        SignatureContent::DsseEnvelope(envelope) => {
            let envelope = serde_json::to_string(envelope).map_err(|error| service("transparency log", error))?;
            let request = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
                "proposedContent": {"envelope": envelope, "verifiers": [pem]},
            }});
            let request: DsseEntry = read(request)?;
            (rekor.create_dsse_entry(request).await, KindVersion::DsseV001)
        }
        _ => return Err(service("transparency log", "a signature of a kind that cannot be entered")),
    };
    entry.map_err(failed)?.to_bundle_entry(kind).map_err(|error| service("transparency log", error))
}

fn signature(content: &SignatureContent) -> Result<&SignatureBytes> {
    match content {
        SignatureContent::MessageSignature(signature) => Ok(&signature.signature),
        SignatureContent::DsseEnvelope(envelope) => Ok(&envelope.signature.sig),
        _ => Err(service("timestamp authority", "a signature of a kind that cannot be stamped")),
    }
}

fn read<T: serde::de::DeserializeOwned>(request: serde_json::Value) -> Result<T> {
    serde_json::from_value(request).map_err(|error| service("transparency log", error))
}

fn service(service: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Service { service, why: error.to_string() }
}
