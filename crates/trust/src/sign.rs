//! Signing: a subject or a statement about it, attached to it in its registry.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use sigstore_bundle::BundleV03;
use sigstore_bundle::VerificationMaterialV03;
use sigstore_types::Bundle;
use sigstore_types::DigestBytes;
use sigstore_types::DsseEnvelope;
use sigstore_types::DsseSignature;
use sigstore_types::HashAlgorithm;
use sigstore_types::KeyId;
use sigstore_types::PayloadBytes;
use sigstore_types::SignatureBytes;
use sigstore_types::SignatureContent;
use sigstore_types::bundle::MessageDigest;
use sigstore_types::bundle::MessageSignature;
use skep_registry::Annotations;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::media_type;

use crate::error::Error;
use crate::error::Result;
use crate::key;
use crate::key::PrivateKey;
use crate::statement;
use crate::statement::PAYLOAD_TYPE;
use crate::statement::SIGNATURE_PREDICATE;
use crate::subject::Subject;

/// The media type of bundles that are written.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Whoever can sign: the holder of a key, or of an identity.
#[async_trait]
pub trait Signer: fmt::Debug + Send + Sync {
    /// Signs bytes as they are, and gives a bundle of version 0.3 in JSON.
    ///
    /// # Errors
    /// `Key` when the key cannot sign; `Service` when a service failed.
    async fn sign_message(&self, message: &[u8]) -> Result<Bytes>;

    /// Signs an in-toto statement, in an envelope, and gives a bundle of version 0.3 in JSON.
    ///
    /// # Errors
    /// As [`sign_message`](Self::sign_message).
    async fn sign_statement(&self, statement: &[u8]) -> Result<Bytes>;
}

/// Signs with a key.
#[derive(Debug)]
pub struct KeySigner {
    key: PrivateKey,
    #[cfg(feature = "keyless")]
    witnesses: crate::witness::Witnesses,
}

impl KeySigner {
    /// Signs with this key, without a log and without timestamps.
    pub fn new(key: PrivateKey) -> Self {
        Self {
            key,
            #[cfg(feature = "keyless")]
            witnesses: crate::witness::Witnesses::default(),
        }
    }

    /// Has every signature witnessed: entered into a log, or stamped with a time.
    #[cfg(feature = "keyless")]
    pub fn with_witnesses(self, witnesses: crate::witness::Witnesses) -> Self {
        Self { witnesses, ..self }
    }

    async fn finish(&self, content: SignatureContent) -> Result<Bytes> {
        let public = self.key.public_key();
        let bundle = BundleV03::new(VerificationMaterialV03::PublicKey { hint: public.hint() }, content.clone());
        #[cfg(feature = "keyless")]
        let bundle = self.witnesses.witness(bundle, &content, crate::witness::Signatory::Key(public)).await?;
        to_bytes(&bundle.into_bundle())
    }
}

#[async_trait]
impl Signer for KeySigner {
    async fn sign_message(&self, message: &[u8]) -> Result<Bytes> {
        #[cfg(feature = "keyless")]
        self.witnesses.admit(self.key.public_key().algorithm, SignFormat::Message)?;
        let signature = SignatureBytes::new(self.key.sign(message)?);
        self.finish(message_signature(self.key.hash(), message, signature)).await
    }

    async fn sign_statement(&self, statement: &[u8]) -> Result<Bytes> {
        #[cfg(feature = "keyless")]
        self.witnesses.admit(self.key.public_key().algorithm, SignFormat::Statement)?;
        let signature = SignatureBytes::new(self.key.sign(&pae(statement))?);
        self.finish(envelope(statement, signature)).await
    }
}

/// The form a signature is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignFormat {
    /// A statement without content in an envelope, as cosign writes since version 3 and everybody reads.
    #[default]
    Statement,
    /// Over the manifest itself, as meigma/blob writes. `cosign verify` does not read it.
    Message,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignOptions {
    /// The form.
    pub format: SignFormat,
    /// When it is said to be made, in an annotation that nobody checks; none leaves it out.
    pub created: Option<Timestamp>,
}

/// What was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The manifest that refers to the subject.
    pub manifest: Manifest,
    /// The bundle.
    pub bundle: Bytes,
}

/// Signs a subject and attaches the signature to it.
///
/// What is signed is the bytes given, whatever a tag points to by now.
///
/// # Errors
/// As [`Signer::sign_statement`]; `Registry` when the signature cannot be stored.
///
/// # Cancel safety
/// When the future is dropped, the signature may be in the log and in the registry, or not.
pub async fn sign(
    registry: &dyn Registry,
    repo: &RepoName,
    subject: &Subject,
    signer: &dyn Signer,
    options: &SignOptions,
) -> Result<Attached> {
    match options.format {
        SignFormat::Statement => {
            let statement = statement::write(subject, SIGNATURE_PREDICATE, &json!({}));
            let bundle = signer.sign_statement(&statement).await?;
            attach(registry, repo, subject, bundle, annotations(SIGNATURE_PREDICATE, options.created)).await
        }
        SignFormat::Message => {
            let bundle = signer.sign_message(subject.bytes()).await?;
            attach(registry, repo, subject, bundle, Annotations::new()).await
        }
    }
}

/// States something about a subject, signs it and attaches it.
///
/// # Errors
/// `Subject` when the predicate type is the one of signatures; else as [`sign`].
///
/// # Cancel safety
/// As [`sign`].
pub async fn attest(
    registry: &dyn Registry,
    repo: &RepoName,
    subject: &Subject,
    predicate: Predicate<'_>,
    signer: &dyn Signer,
) -> Result<Attached> {
    if predicate.kind == SIGNATURE_PREDICATE || predicate.kind.is_empty() {
        return Err(Error::Subject { why: format!("wanted the type of a predicate, got {:?}", predicate.kind) });
    }
    let bundle = signer.sign_statement(&statement::write(subject, predicate.kind, predicate.content)).await?;
    attach(registry, repo, subject, bundle, annotations(predicate.kind, predicate.created)).await
}

/// What is stated about a subject.
#[derive(Clone, Copy, Debug)]
pub struct Predicate<'a> {
    /// What kind of thing it is: `https://slsa.dev/provenance/v1`.
    pub kind: &'a str,
    /// What is stated.
    pub content: &'a Value,
    /// As [`SignOptions::created`].
    pub created: Option<Timestamp>,
}

/// Attaches a bundle to a subject, as a referrer.
///
/// Several at the same time are all kept, where the registry lists referrers. Where a tag stands in for the list, that
/// holds for the callers of one client; of several, if the registry knows conditions.
///
/// # Errors
/// `Registry`.
///
/// # Cancel safety
/// When the future is dropped, the bundle may be stored; the manifest is or is not.
pub async fn attach(
    registry: &dyn Registry,
    repo: &RepoName,
    subject: &Subject,
    bundle: Bytes,
    annotations: Annotations,
) -> Result<Attached> {
    let config = Descriptor::of(media_type::EMPTY, b"{}");
    let layer = Descriptor::of(BUNDLE, &bundle);
    for (blob, bytes) in [(&config, Bytes::from_static(b"{}")), (&layer, bundle.clone())] {
        if !registry.has_blob(repo, &blob.digest).await? {
            registry.put_blob(repo, blob, Body::from(bytes)).await?;
        }
    }
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        artifact_type: Some(BUNDLE.to_owned()),
        config: Some(config),
        layers: Some(vec![layer]),
        subject: Some(subject.descriptor().clone()),
        annotations,
        ..ManifestContent::default()
    };
    let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
    registry.put_manifest(repo, &manifest, PutManifest::default()).await?;
    Ok(Attached { manifest, bundle })
}

/// A signature over a message, with the hash that the message is found by.
pub(crate) fn message_signature(
    algorithm: HashAlgorithm,
    message: &[u8],
    signature: SignatureBytes,
) -> SignatureContent {
    let digest = MessageDigest::new(algorithm, DigestBytes::new(key::hash(algorithm, message)));
    SignatureContent::MessageSignature(MessageSignature::new(signature).with_message_digest(digest))
}

/// A statement with a signature over its [`pae`].
pub(crate) fn envelope(statement: &[u8], signature: SignatureBytes) -> SignatureContent {
    let signature = DsseSignature::new(signature, KeyId::default());
    SignatureContent::DsseEnvelope(DsseEnvelope::new(PAYLOAD_TYPE, PayloadBytes::from_bytes(statement), signature))
}

/// What the signature of an envelope is over.
pub(crate) fn pae(statement: &[u8]) -> Vec<u8> {
    sigstore_types::pae(PAYLOAD_TYPE, statement)
}

pub(crate) fn to_bytes(bundle: &Bundle) -> Result<Bytes> {
    let json = bundle.to_json().map_err(|error| Error::Service { service: "bundle", why: error.to_string() })?;
    Ok(Bytes::from(json))
}

fn annotations(predicate_type: &str, created: Option<Timestamp>) -> Annotations {
    let mut annotations = Annotations::from([
        ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType".to_owned(), predicate_type.to_owned()),
    ]);
    if let Some(created) = created {
        annotations.insert("org.opencontainers.image.created".to_owned(), created.to_string());
    }
    annotations
}
