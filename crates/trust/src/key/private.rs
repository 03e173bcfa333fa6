//! Private keys, in every form that other tools write them.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::EcdsaSigningAlgorithm;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::RsaKeyPair;
use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::SecretDocument;
use pkcs8::pkcs5;
use serde::Serialize;
use sigstore_types::HashAlgorithm;

use crate::error::Error;
use crate::error::Result;
use crate::key::PublicKey;
use crate::key::cosign;

/// A private key: P-256, P-384, RSA of 2048 to 8192 bits, or Ed25519.
pub struct PrivateKey {
    key: Key,
    public: PublicKey,
}

enum Key {
    Ecdsa(EcdsaKeyPair, KeyKind),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256, with SHA-256.
    P256,
    /// ECDSA over P-384, with SHA-384.
    P384,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rsa,
}

impl PrivateKey {
    /// Makes a P-256 key.
    ///
    /// # Errors
    /// `Key` when the system has no randomness.
    pub fn generate() -> Result<Self> {
        let key = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING);
        Self::new(Key::Ecdsa(key.map_err(|_| Error::key("no randomness"))?, KeyKind::P256))
    }

    /// Reads a key in PEM: PKCS #8 (`PRIVATE KEY`), encrypted (`ENCRYPTED PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`),
    /// PKCS #1 (`RSA PRIVATE KEY`), or as cosign encrypts it (`ENCRYPTED SIGSTORE PRIVATE KEY`).
    ///
    /// The password is used where the key is encrypted. To find the key takes up to a second then, and 64 MiB.
    ///
    /// # Errors
    /// `Key` when there is no such block or the key is of another kind; `Password`.
    pub fn from_pem(text: &str, password: Option<&str>) -> Result<Self> {
        let blocks = pem::parse_many(text).map_err(|error| Error::key(error.to_string()))?;
        let needed = || password.ok_or(Error::Password { why: "it is encrypted, and there is no password" });
        for block in &blocks {
            let der = block.contents();
            match block.tag() {
                "PRIVATE KEY" => return Self::from_pkcs8(der),
                "EC PRIVATE KEY" | "RSA PRIVATE KEY" if block.headers().get("DEK-Info").is_some() => {
                    let why =
                        format!("encrypted by OpenSSL's old method, which proves nothing; `{CONVERT}` converts it");
                    return Err(Error::key(why));
                }
                "EC PRIVATE KEY" => return Self::from_sec1(der),
                "RSA PRIVATE KEY" => return Self::from_rsa(RsaKeyPair::from_der(der)),
                "ENCRYPTED PRIVATE KEY" => return Self::from_pkcs8(decrypt(der, needed()?)?.as_bytes()),
                tag if cosign::TAGS.contains(&tag) => return Self::from_pkcs8(&cosign::decrypt(der, needed()?)?),
                _ => {}
            }
        }
        let tags: Vec<_> = blocks.iter().map(pem::Pem::tag).collect();
        Err(Error::key(format!("wanted a PEM block with a private key, got {tags:?}")))
    }

    /// Reads a key in DER: PKCS #8.
    ///
    /// # Errors
    /// `Key` when it is malformed or of another kind.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        for (algorithm, kind) in CURVES {
            if let Ok(key) = EcdsaKeyPair::from_pkcs8(algorithm, der) {
                return Self::new(Key::Ecdsa(key, kind));
            }
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::new(Key::Ed25519(key));
        }
        Self::from_rsa(RsaKeyPair::from_pkcs8(der))
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The kind of key.
    pub fn kind(&self) -> KeyKind {
        match &self.key {
            Key::Ecdsa(_, kind) => *kind,
            Key::Ed25519(_) => KeyKind::Ed25519,
            Key::Rsa(_) => KeyKind::Rsa,
        }
    }

    /// Signs a message; the hash is the one that goes with the kind of key.
    ///
    /// # Errors
    /// `Key` when the system has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| Error::key("it cannot sign");
        match &self.key {
            Key::Ecdsa(key, _) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Key::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Key::Rsa(key) => {
                let mut bytes = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut bytes).map_err(failed)?;
                Ok(bytes)
            }
        }
    }

    /// The hash that the digest in a bundle is made with.
    pub(crate) fn hash(&self) -> HashAlgorithm {
        match self.kind() {
            KeyKind::P384 => HashAlgorithm::Sha2384,
            _ => HashAlgorithm::Sha2256,
        }
    }

    fn from_sec1(der: &[u8]) -> Result<Self> {
        let read = |(algorithm, kind)| Some((EcdsaKeyPair::from_private_key_der(algorithm, der).ok()?, kind));
        let (key, kind) = CURVES.into_iter().find_map(read).ok_or_else(|| Error::key("wanted P-256 or P-384"))?;
        Self::new(Key::Ecdsa(key, kind))
    }

    fn from_rsa(key: std::result::Result<RsaKeyPair, aws_lc_rs::error::KeyRejected>) -> Result<Self> {
        let unsupported = |error| Error::key(format!("wanted P-256, P-384, RSA or Ed25519: {error}"));
        Self::new(Key::Rsa(Box::new(key.map_err(unsupported)?)))
    }

    fn new(key: Key) -> Result<Self> {
        let der: std::result::Result<PublicKeyX509Der<'_>, _> = match &key {
            Key::Ecdsa(key, _) => key.public_key().as_der(),
            Key::Ed25519(key) => key.public_key().as_der(),
            Key::Rsa(key) => key.public_key().as_der(),
        };
        let der = der.map_err(|_| Error::key("it has no public half"))?;
        Ok(Self { public: PublicKey::from_der(der.as_ref())?, key })
    }
}

/// Without the key.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("kind", &self.kind())
            .field("public", &self.public.fingerprint())
            .finish_non_exhaustive()
    }
}

fn decrypt(der: &[u8], password: &str) -> Result<SecretDocument> {
    let unsupported = |error: &dyn fmt::Display| Error::key(format!("{error}; `{CONVERT}` converts what it can read"));
    let encrypted = EncryptedPrivateKeyInfo::try_from(der).map_err(|error| unsupported(&error))?;
    // What it takes to find the key is written in the file, so it could be made to take for ever.
    let kdf = encrypted.encryption_algorithm.pbes2().map(|parameters| &parameters.kdf);
    let is_affordable = match kdf {
        Some(pkcs8::pkcs5::pbes2::Kdf::Pbkdf2(parameters)) => parameters.iteration_count <= MAX_ITERATIONS,
        Some(pkcs8::pkcs5::pbes2::Kdf::Scrypt(parameters)) => {
            let memory = parameters.cost_parameter.saturating_mul(u64::from(parameters.block_size)).saturating_mul(128);
            memory <= MAX_MEMORY && parameters.parallelization <= 16
        }
        _ => true,
    };
    if !is_affordable {
        return Err(Error::key("finding its key from the password takes more than is reasonable"));
    }
    encrypted.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            error @ (pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::AlgorithmParametersInvalid { .. }
            | pkcs5::Error::NoPbes1CryptSupport),
        ) => unsupported(&error),
        // A wrong password gives nonsense, which may be found to be so in any way.
        _ => Error::Password { why: "the password is wrong" },
    })
}

const CURVES: [(&EcdsaSigningAlgorithm, KeyKind); 2] = [
    (&signature::ECDSA_P256_SHA256_ASN1_SIGNING, KeyKind::P256),
    (&signature::ECDSA_P384_SHA384_ASN1_SIGNING, KeyKind::P384),
];

const CONVERT: &str = "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256";

const MAX_ITERATIONS: u32 = 10_000_000;

const MAX_MEMORY: u64 = 256 << 20;
