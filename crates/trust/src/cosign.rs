//! What cosign wrote before version 3: a payload, and everything else in annotations; made a bundle.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use sigstore_types::Bundle;
use skep_registry::Annotations;

use crate::bundle;
use crate::bundle::fits;
use crate::limits::Limits;
use crate::report::Rejection;
use crate::report::Stage;
use crate::subject::Subject;

/// The media types of payloads: of signatures, and of attestations.
pub(crate) const MEDIA_TYPES: [&str; 2] = [SIMPLE_SIGNING, DSSE];

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE: &str = "application/vnd.dsse.envelope.v1+json";

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOG: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// A layer under a tag `sha256-….sig` or `.att`.
#[derive(Clone, Debug)]
pub(crate) struct Legacy {
    media_type: String,
    payload: Bytes,
    annotations: Annotations,
}

impl Legacy {
    pub(crate) fn new(media_type: String, payload: Bytes, annotations: Annotations) -> Self {
        Self { media_type, payload, annotations }
    }

    /// The same as a bundle, and the payload if the signature is over it.
    ///
    /// The bundle is written as JSON and parsed like one of a stranger, so that the same limits hold.
    pub(crate) fn convert(&self, limits: &Limits) -> Result<(Bundle, Option<Bytes>), Rejection> {
        let size = self.payload.len() + self.annotations.values().map(String::len).sum::<usize>();
        fits("bytes of payload and annotations", size as u64, limits.bundle)?;
        let mut material = self.key_or_certificates(limits)?;
        material["tlogEntries"] = json!(self.log_entry()?.into_iter().collect::<Vec<_>>());
        if let Some(text) = self.annotations.get(TIMESTAMP) {
            let timestamp: Rfc3161 = parse(TIMESTAMP, text)?;
            material["timestampVerificationData"] =
                json!({"rfc3161Timestamps": [{"signedTimestamp": timestamp.signed_rfc3161_timestamp}]});
        }
        // Version 0.1 is the one whose entries may have a promise instead of a proof; it wants one.
        let is_logged = self.annotations.contains_key(LOG);
        let version = if is_logged { "0.1" } else { "0.2" };
        let mut converted = json!({
            "mediaType": format!("application/vnd.dev.sigstore.bundle+json;version={version}"),
            "verificationMaterial": material,
        });
        let message = match self.media_type.as_str() {
            SIMPLE_SIGNING => {
                let signature = self.annotation(SIGNATURE)?;
                converted["messageSignature"] = json!({"signature": signature});
                Some(self.payload.clone())
            }
            _ => {
                converted["dsseEnvelope"] = parse("envelope", &String::from_utf8_lossy(&self.payload))?;
                None
            }
        };
        // What is signed may have become longer on the way into JSON, but was counted above.
        let limits = Limits { bundle: u64::MAX, ..limits.clone() };
        Ok((bundle::parse(converted.to_string().as_bytes(), &limits)?, message))
    }

    fn annotation(&self, name: &str) -> Result<&str, Rejection> {
        let missing = || malformed(&format!("no annotation {name}"));
        self.annotations.get(name).map(String::as_str).ok_or_else(missing)
    }

    fn key_or_certificates(&self, limits: &Limits) -> Result<Value, Rejection> {
        let Some(leaf) = self.annotations.get(CERTIFICATE).filter(|text| !text.is_empty()) else {
            return Ok(json!({"publicKey": {"hint": ""}}));
        };
        let chain = self.annotations.get(CHAIN).map_or("", String::as_str);
        let mut certificates = Vec::new();
        for text in [leaf, chain] {
            let blocks = pem::parse_many(text).map_err(|error| malformed(&error))?;
            fits("certificates", blocks.len() as u64, limits.certificates as u64)?;
            certificates.extend(blocks.iter().map(|block| json!({"rawBytes": STANDARD.encode(block.contents())})));
        }
        Ok(json!({"x509CertificateChain": {"certificates": certificates}}))
    }

    fn log_entry(&self) -> Result<Option<Value>, Rejection> {
        let Some(text) = self.annotations.get(LOG) else { return Ok(None) };
        let log: Log = parse(LOG, text)?;
        let body = STANDARD.decode(&log.payload.body).map_err(|error| malformed(&error))?;
        let kind: EntryKind = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
        let id = from_hex(&log.payload.log_id).ok_or_else(|| malformed(&"a log id that is not hexadecimal"))?;
        Ok(Some(json!({
            "logIndex": log.payload.log_index.to_string(),
            "logId": {"keyId": STANDARD.encode(id)},
            "kindVersion": {"kind": kind.kind, "version": kind.api_version},
            "integratedTime": log.payload.integrated_time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": log.signed_entry_timestamp},
            "canonicalizedBody": log.payload.body,
        })))
    }
}

/// Checks that a payload of a signature is one, and about the subject.
pub(crate) fn about(payload: &[u8], subject: &Subject) -> Result<(), Rejection> {
    let payload: Payload = serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
    let critical = payload.critical;
    if !PAYLOAD_TYPES.contains(&critical.kind.as_str()) {
        return Err(malformed(&format!("payload type {:?}, wanted one of {PAYLOAD_TYPES:?}", critical.kind)));
    }
    if critical.image.digest != subject.digest().as_str() {
        let why = format!("the payload is about {}, wanted {}", critical.image.digest, subject.digest());
        return Err(Rejection::new(Stage::Subject, why));
    }
    Ok(())
}

const PAYLOAD_TYPES: [&str; 2] = ["cosign container image signature", "https://sigstore.dev/cosign/sign/v1"];

fn parse<'de, T: Deserialize<'de>>(what: &str, text: &'de str) -> Result<T, Rejection> {
    serde_json::from_str(text).map_err(|error| malformed(&format!("{what}: {error}")))
}

fn malformed(error: &dyn std::fmt::Display) -> Rejection {
    Rejection::new(Stage::Parse, format!("malformed signature of cosign: {error}"))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Log {
    signed_entry_timestamp: String,
    payload: LogPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: u64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryKind {
    kind: String,
    api_version: String,
}

#[derive(Deserialize)]
struct Rfc3161 {
    #[serde(rename = "SignedRFC3161Timestamp")]
    signed_rfc3161_timestamp: String,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}
