//! Keys: public ones, to verify with.

use aws_lc_rs::digest;
use sigstore_crypto::KeyAlgorithm;
use sigstore_crypto::SigningScheme;
use sigstore_crypto::VerificationKey;
use sigstore_types::DerPublicKey;
use sigstore_types::HashAlgorithm;
use sigstore_types::SignatureBytes;
use skep_registry::Digest;

use crate::error::Error;
use crate::error::Result;

mod cosign;
mod private;

pub use cosign::KeyPair;
pub use cosign::generate_key_pair;
pub use private::KeyKind;
pub use private::PrivateKey;

/// A public key: P-256, P-384, RSA of 2048 to 8192 bits, or Ed25519.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub(crate) spki: DerPublicKey,
    pub(crate) algorithm: KeyAlgorithm,
}

impl PublicKey {
    /// Reads the key out of a PEM block `PUBLIC KEY`.
    ///
    /// # Errors
    /// `Key` when there is no such block, or the key is of another kind.
    pub fn from_pem(text: &str) -> Result<Self> {
        let blocks = pem::parse_many(text).map_err(|error| Error::key(error.to_string()))?;
        let Some(block) = blocks.iter().find(|block| block.tag() == "PUBLIC KEY") else {
            let tags: Vec<_> = blocks.iter().map(pem::Pem::tag).collect();
            return Err(Error::key(format!("wanted a PEM block PUBLIC KEY, got {tags:?}")));
        };
        Self::from_der(block.contents())
    }

    /// Reads a key in DER: SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// `Key` when it is malformed or of another kind.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let spki = DerPublicKey::from_bytes(der);
        let algorithm = KeyAlgorithm::from_spki(&spki).map_err(|error| Error::key(error.to_string()))?;
        let known = [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa];
        if !known.contains(&algorithm) {
            return Err(Error::key(format!("wanted P-256, P-384, RSA or Ed25519, got {algorithm:?}")));
        }
        let key = VerificationKey::from_spki(&spki).map_err(|error| Error::key(error.to_string()))?;
        sigstore_crypto::validate_raw_public_key(key.scheme(), key.as_bytes())
            .map_err(|error| Error::key(error.to_string()))?;
        Ok(Self { spki, algorithm })
    }

    /// The key as a PEM block `PUBLIC KEY`.
    pub fn to_pem(&self) -> String {
        pem::encode_config(&pem::Pem::new("PUBLIC KEY", self.spki.as_bytes()), unix())
    }

    /// The key in DER: SubjectPublicKeyInfo.
    pub fn to_der(&self) -> &[u8] {
        self.spki.as_bytes()
    }

    /// The hash of the key in DER.
    pub fn fingerprint(&self) -> Digest {
        Digest::sha256(self.spki.as_bytes())
    }

    /// What a bundle says of the key that made it: the hash of the key, in base64.
    pub fn hint(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(self.fingerprint().hash())
    }

    /// Whether a signature was made over a message, with the hash that goes with the key, or with SHA-256.
    ///
    /// Cosign signs with SHA-256 also where the key is P-384.
    pub(crate) fn verifies(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        let mut schemes = vec![self.algorithm.default_signing_scheme()];
        if self.algorithm == KeyAlgorithm::EcdsaP384 {
            schemes.push(SigningScheme::EcdsaP384Sha256);
        }
        schemes
            .into_iter()
            .any(|scheme| sigstore_crypto::verify_signature(&self.spki, message, signature, scheme).is_ok())
    }
}

/// The hash of a message; empty, which is the hash of nothing, for an algorithm that is not known.
pub(crate) fn hash(algorithm: HashAlgorithm, message: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        HashAlgorithm::Sha2256 => &digest::SHA256,
        HashAlgorithm::Sha2384 => &digest::SHA384,
        HashAlgorithm::Sha2512 => &digest::SHA512,
        _ => return Vec::new(),
    };
    digest::digest(algorithm, message).as_ref().to_vec()
}

pub(crate) fn unix() -> pem::EncodeConfig {
    pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF)
}
