//! What is asked of those who sign and verify.

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_registry::Digest;
use skep_trust::SIGNATURE_PREDICATE;

use crate::world::World;

/// Somebody who signs and verifies. Errors say why they cannot, or what they refuse.
pub(crate) trait Peer {
    fn name(&self) -> &str;

    /// Signs, and gives a bundle.
    fn sign(&self, world: &World, case: Case, artifact: &Bytes) -> Result<Bytes, String>;

    /// Verifies a bundle.
    fn verify(&self, world: &World, case: Case, expected: &Expected, bundle: &Bytes) -> Result<(), String>;
}

/// What is signed, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) how: How,
    pub(crate) what: What,
}

/// What one signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// A token, a certificate and a log.
    Identity,
    /// A key.
    Key,
    /// A key and a log.
    LoggedKey,
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A statement with a predicate.
    Attestation,
    /// The bytes.
    Message,
    /// A statement that is a signature.
    Signature,
}

impl What {
    pub(crate) const ALL: [Self; 3] = [Self::Attestation, Self::Message, Self::Signature];

    /// The type of the statement; none for the bytes themselves.
    pub(crate) fn predicate_type(self) -> Option<&'static str> {
        match self {
            Self::Attestation => Some(PROVENANCE),
            Self::Message => None,
            Self::Signature => Some(SIGNATURE_PREDICATE),
        }
    }

    pub(crate) fn predicate(self) -> Value {
        match self {
            Self::Attestation => json!({"buildDefinition": {"buildType": "https://acme.example/build"}}),
            Self::Message | Self::Signature => json!({}),
        }
    }

    pub(crate) fn statement(self, artifact: &Bytes) -> Option<String> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "site", "digest": {"sha256": Digest::sha256(artifact).hex()}}],
            "predicateType": self.predicate_type()?,
            "predicate": self.predicate(),
        });
        Some(statement.to_string())
    }
}

/// Who has to have signed, and what.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) artifact: Bytes,
    pub(crate) identity: String,
    /// In PEM.
    pub(crate) key: String,
}

pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
