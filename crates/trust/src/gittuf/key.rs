//! Keys of developers: SSH, OpenPGP, and identities that Sigstore certifies.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_registry::Descriptor;
use ssh_key::HashAlg;
use ssh_key::SshSig;

use super::envelope::Envelope;
use super::envelope::EnvelopeSignature;
use super::object::Signed;
use super::pgp::PgpKey;
use crate::error::Error;
use crate::subject::Subject;
use crate::verifier::Verifier;

/// A key that signs in a repository: of SSH, of OpenPGP, or an identity that Sigstore certifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GittufKey {
    /// What gittuf calls it.
    id: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Pgp(Box<PgpKey>),
    Sigstore {
        identity: String,
        issuer: String,
    },
    Ssh(Box<ssh_key::PublicKey>),
    /// Never verifies anything.
    Unusable,
}

impl GittufKey {
    /// Reads an SSH key as OpenSSH writes it: `ssh-ed25519 AAAA… name`. Ed25519, ECDSA and RSA sign commits.
    ///
    /// # Errors
    /// `Key` when it is malformed.
    pub fn ssh(text: &str) -> Result<Self, Error> {
        let key = ssh_key::PublicKey::from_openssh(text).map_err(|error| Error::key(format!("SSH: {error}")))?;
        Ok(Self::of_ssh(key))
    }

    /// Reads an OpenPGP key in armour.
    ///
    /// # Errors
    /// `Key` when it is malformed, or does not vouch for itself.
    pub fn pgp(armoured: &str) -> Result<Self, Error> {
        let key = PgpKey::parse(armoured).map_err(|why| Error::key(format!("OpenPGP: {why}")))?;
        Ok(Self { id: key.fingerprint(), form: Form::Pgp(Box::new(key)) })
    }

    /// Whoever an identity provider says to be this: an e-mail address, or the URI of a workflow.
    ///
    /// Needs a root: [`Gittuf::trust_root`](super::Gittuf::trust_root).
    pub fn identity(identity: &str, issuer: &str) -> Self {
        let form = Form::Sigstore { identity: identity.to_owned(), issuer: issuer.to_owned() };
        Self { id: format!("{identity}::{issuer}"), form }
    }

    fn of_ssh(key: ssh_key::PublicKey) -> Self {
        Self { id: key.fingerprint(HashAlg::Sha256).to_string(), form: Form::Ssh(Box::new(key)) }
    }

    /// What gittuf calls the key: a fingerprint, or identity and issuer with `::` between.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A key out of metadata. What is not supported is there and never verifies.
    ///
    /// `None` when the key does not have the id that it goes by.
    pub(super) fn of_metadata(id: &str, kind: &str, value: &KeyValue) -> Option<Self> {
        let unusable = || Self { id: id.to_owned(), form: Form::Unusable };
        let key = match kind {
            "ssh" => STANDARD.decode(&value.public).ok().and_then(|bytes| ssh_key::PublicKey::from_bytes(&bytes).ok()),
            "gpg" => return Some(Self::pgp(&value.public).unwrap_or_else(|_| unusable())).filter(|key| key.id == id),
            "sigstore-oidc" => return Some(Self::identity(&value.identity, &value.issuer)).filter(|key| key.id == id),
            _ => None,
        };
        Some(key.map_or_else(unusable, Self::of_ssh)).filter(|key| key.id == id)
    }

    /// Whether it signed an object of Git.
    fn signed_object(&self, object: &Signed) -> bool {
        let Some(signature) = &object.signature else { return false };
        match &self.form {
            Form::Pgp(key) => key.verifies(&object.payload, signature),
            Form::Ssh(key) => verifies_ssh(key, &object.payload, signature),
            // Certificates in commits are in another format, which is not supported.
            Form::Sigstore { .. } | Form::Unusable => false,
        }
    }

    /// Whether it signed an envelope.
    fn signed_envelope(&self, envelope: &Envelope, sigstore: Option<&Verifier>) -> bool {
        let bytes = envelope.signed_bytes();
        let by_this = |signature: &&EnvelopeSignature| signature.key.is_empty() || signature.key == self.id;
        envelope.signatures.iter().filter(by_this).any(|signature| match (&self.form, sigstore) {
            (Form::Pgp(key), _) => {
                std::str::from_utf8(&signature.bytes).is_ok_and(|armoured| key.verifies(&bytes, armoured))
            }
            (Form::Ssh(key), _) => {
                std::str::from_utf8(&signature.bytes).is_ok_and(|armoured| verifies_ssh(key, &bytes, armoured))
            }
            (Form::Sigstore { identity, issuer }, Some(sigstore)) => {
                verifies_sigstore(sigstore, (identity, issuer), &bytes, signature).unwrap_or(false)
            }
            (Form::Sigstore { .. }, None) | (Form::Unusable, _) => false,
        })
    }
}

impl fmt::Display for GittufKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// The material of a key in metadata.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    public: String,
    identity: String,
    issuer: String,
}

/// Somebody who may be trusted with something: a key, or a person with several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) id: String,
    pub(super) keys: Vec<GittufKey>,
    /// Who it is elsewhere, by the application that says so.
    pub(super) identities: BTreeMap<String, String>,
}

/// What may have been signed, by several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence<'a> {
    pub(super) object: Option<&'a Signed>,
    pub(super) envelope: Option<&'a Envelope>,
    pub(super) sigstore: Option<&'a Verifier>,
}

impl Evidence<'_> {
    /// Those of some principals who signed: one of them the object, any of them the envelope.
    ///
    /// A key counts once, whoever has it.
    pub(super) fn signers<'p>(&self, principals: &[&'p Principal]) -> BTreeSet<&'p str> {
        let (mut signers, mut used) = (BTreeSet::new(), BTreeSet::new());
        let keys =
            || principals.iter().flat_map(|principal| principal.keys.iter().map(|key| (principal.id.as_str(), key)));
        if let Some((principal, key)) = self.object.and_then(|object| keys().find(|(_, key)| key.signed_object(object)))
        {
            signers.insert(principal);
            used.insert(key.id());
        }
        let Some(envelope) = self.envelope else { return signers };
        for principal in
            principals.iter().filter(|principal| !signers.contains(principal.id.as_str())).collect::<Vec<_>>()
        {
            let unused = principal.keys.iter().filter(|key| !used.contains(key.id()));
            let signed: Vec<_> = unused.filter(|key| key.signed_envelope(envelope, self.sigstore)).collect();
            if !signed.is_empty() {
                signers.insert(principal.id.as_str());
            }
            used.extend(signed.into_iter().map(GittufKey::id));
        }
        signers
    }
}

fn verifies_ssh(key: &ssh_key::PublicKey, message: &[u8], armoured: &str) -> bool {
    // Git and gittuf sign in the same namespace; what is signed cannot be taken for each other, by how it begins.
    SshSig::from_pem(armoured.trim_end()).is_ok_and(|signature| key.verify("git", message, &signature).is_ok())
}

/// Whether a bundle, put together of its parts, is of an identity; `None` when it cannot be.
fn verifies_sigstore(
    sigstore: &Verifier,
    (identity, issuer): (&str, &str),
    message: &[u8],
    signature: &EnvelopeSignature,
) -> Option<bool> {
    let message_signature: Value = serde_json::from_slice(&signature.bytes).ok()?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": signature.material.as_ref()?,
        "messageSignature": message_signature,
    });
    let message = Bytes::copy_from_slice(message);
    let subject = Subject::new(Descriptor::of("application/octet-stream", &message), message).ok()?;
    let verified = sigstore.verify_bundle(&subject, &Bytes::from(bundle.to_string())).ok()?;
    let certificate = verified.signer().certificate()?;
    Some(verified.is_signature() && certificate.identity == identity && certificate.issuer == issuer)
}
