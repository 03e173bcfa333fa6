//! Verified statements: who said what about which bytes, as a type that only the verifier can make.

use jiff::Timestamp;
use serde::Serialize;
use serde::Serializer;
use serde_json::Value;
use skep_registry::Descriptor;
use skep_registry::Digest;

use crate::identity::Certificate;

/// A statement about a subject whose signature, signer and subject were checked.
///
/// There is no other way to get one than from a [`Verifier`](crate::Verifier). So whatever decides by attestations and
/// takes this type cannot be given one that nobody signed, that a stranger signed, or that is about other bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    pub(crate) subject: Descriptor,
    #[serde(flatten)]
    pub(crate) kind: Kind,
    pub(crate) signer: SignedBy,
    pub(crate) times: Vec<SignedTime>,
    pub(crate) log: Vec<LogEntry>,
    pub(crate) checks: Vec<Check>,
    pub(crate) bundle: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) referrer: Option<Digest>,
}

impl Verified {
    /// What was signed.
    pub fn subject(&self) -> &Descriptor {
        &self.subject
    }

    /// Whether it is a signature or an attestation, and of what.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The statement that is attested; `None` for a signature.
    pub fn attestation(&self) -> Option<&Attestation> {
        match &self.kind {
            Kind::Attestation(attestation) => Some(attestation),
            Kind::Signature { .. } => None,
        }
    }

    /// Whether it is a signature of the subject, which states nothing else.
    pub fn is_signature(&self) -> bool {
        matches!(self.kind, Kind::Signature { .. })
    }

    /// Who signed.
    pub fn signer(&self) -> &SignedBy {
        &self.signer
    }

    /// When, as others vouch for it. Empty for keys without a log and without timestamps.
    pub fn times(&self) -> &[SignedTime] {
        &self.times
    }

    /// Where in transparency logs it stands; empty when that was not checked.
    pub fn log_entries(&self) -> &[LogEntry] {
        &self.log
    }

    /// What was checked, in no particular order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The digest of the bytes that hold signature and proofs.
    pub fn bundle(&self) -> &Digest {
        &self.bundle
    }

    /// The manifest that these were attached by; `None` when they came from elsewhere.
    pub fn referrer(&self) -> Option<&Digest> {
        self.referrer.as_ref()
    }
}

/// Signature or attestation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
#[non_exhaustive]
pub enum Kind {
    /// The signer states something about the subject. It is not a signature: who attests that the tests failed
    /// does not approve.
    Attestation(Attestation),
    /// The signer signed the subject and says nothing else.
    Signature {
        /// How.
        form: SignatureForm,
    },
}

/// What is stated about a subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Attestation {
    /// The type of the statement: `https://in-toto.io/Statement/v1`.
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What kind of thing is stated: `https://slsa.dev/provenance/v1`.
    pub predicate_type: String,
    /// What is stated.
    pub predicate: Value,
    /// Names and digests the statement is about; the subject is one of them.
    pub subjects: Vec<StatementSubject>,
}

/// One of the things a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatementSubject {
    /// A name that means something to the signer.
    pub name: String,
    /// Digests by algorithm, hexadecimal.
    pub digest: std::collections::BTreeMap<String, String>,
}

/// The form of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SignatureForm {
    /// Over the manifest itself.
    Message,
    /// Over the payload that cosign before version 3 wrote, which names the digest.
    SimpleSigning,
    /// Over a statement with [`SIGNATURE_PREDICATE`](crate::SIGNATURE_PREDICATE), as cosign writes since version 3.
    Statement,
}

/// Who signed, as checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SignedBy {
    /// Somebody with a certificate.
    Certificate(Box<Certificate>),
    /// The holder of a key that was given to the verifier.
    Key {
        /// `sha256:` and the hash of the public key, as SubjectPublicKeyInfo.
        fingerprint: Digest,
    },
}

impl SignedBy {
    /// The certificate, if there is one.
    pub fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Certificate(certificate) => Some(certificate),
            Self::Key { .. } => None,
        }
    }
}

impl std::fmt::Display for SignedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate(certificate) => write!(f, "{} ({})", certificate.identity, certificate.issuer),
            Self::Key { fingerprint } => write!(f, "key {fingerprint}"),
        }
    }
}

/// A time at which the signature was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SignedTime {
    /// Who vouches for it.
    pub source: TimeSource,
    /// The time.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
}

/// Who vouches for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeSource {
    /// A transparency log.
    Log,
    /// A timestamp authority (RFC 3161).
    TimestampAuthority,
}

/// A place in a transparency log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LogEntry {
    /// The number of the entry, over all trees of the log where it promises that, else within the tree.
    pub index: u64,
    /// The log, as its checkpoint calls it: `rekor.sigstore.dev - 1193050959916656506`; without one, the hash of its
    /// key, hexadecimal.
    pub log: String,
    /// The kind of entry: `hashedrekord`, `dsse`.
    pub kind: &'static str,
}

/// One thing that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Check {
    /// The certificate leads to the trusted root and was valid when the signature was made.
    Certificate,
    /// The certificate stands in a certificate transparency log.
    CertificateLog,
    /// Identity, issuer and claims are what was asked for.
    Identity,
    /// The signature stands in a transparency log.
    Log,
    /// The signature was made by the key, of the certificate or as given.
    Signature,
    /// What was signed is about exactly these bytes.
    Subject,
    /// A timestamp authority vouches for the time.
    Timestamp,
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::CertificateLog => "certificate log",
            Self::Identity => "identity",
            Self::Log => "log",
            Self::Signature => "signature",
            Self::Subject => "subject",
            Self::Timestamp => "timestamp",
        })
    }
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
