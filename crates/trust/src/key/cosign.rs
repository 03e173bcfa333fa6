//! Key files as cosign writes them: PKCS #8, encrypted by scrypt and NaCl's secretbox.

use std::fmt;
use std::fs;
use std::io;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::signature;
use aws_lc_rs::signature::EcdsaKeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::KeyInit;
use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::Aead;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::key::PrivateKey;
use crate::key::PublicKey;
use crate::key::unix;

/// The names of PEM blocks: as it is now, and as it was.
pub(super) const TAGS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// A pair of keys as two files, `cosign.key` and `cosign.pub` for cosign.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyPair {
    /// The private key, encrypted, in PEM.
    pub private: String,
    /// The public key in PEM.
    pub public: String,
}

/// Makes a pair of P-256 keys, encrypted by a password as cosign does it.
///
/// Takes about a tenth of a second and 64 MiB, to make guessing passwords as dear.
///
/// # Errors
/// `Key` when the system has no randomness.
pub fn generate_key_pair(password: &str) -> Result<KeyPair> {
    let random = |_| Error::key("no randomness");
    let key = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).map_err(random)?;
    let pkcs8 = key.to_pkcs8v1().map_err(random)?;
    let public = PrivateKey::from_pkcs8(pkcs8.as_ref())?.public_key().to_pem();
    let encrypted = encrypt(pkcs8.as_ref(), password)?;
    let private = pem::encode_config(&pem::Pem::new(TAGS[0], encrypted), unix());
    Ok(KeyPair { private, public })
}

impl KeyPair {
    /// The public key.
    ///
    /// # Errors
    /// `Key`, never for a pair that [`generate_key_pair`] made.
    pub fn public_key(&self) -> Result<PublicKey> {
        PublicKey::from_pem(&self.public)
    }

    /// Writes both files, the private one for its owner only, and never over one that is there.
    ///
    /// Blocks.
    ///
    /// # Errors
    /// `Key` when one of them is there or cannot be written; then neither is written.
    pub fn save(&self, private: &Path, public: &Path) -> Result<()> {
        create(private, &self.private, 0o600)?;
        create(public, &self.public, 0o644).inspect_err(|_| {
            // It was made just now, and is of no use alone.
            let _ = fs::remove_file(private);
        })
    }
}

/// Without the private key, though it is encrypted.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

fn create(path: &Path, content: &str, mode: u32) -> Result<()> {
    let failed = |error: io::Error| Error::key(format!("{}: {error}", path.display()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(failed)?;
    let written = file.write_all(content.as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path))).map_err(failed)
}

pub(super) fn decrypt(file: &[u8], password: &str) -> Result<Vec<u8>> {
    let malformed = |error: &dyn fmt::Display| Error::key(format!("malformed file of cosign: {error}"));
    let file: File = serde_json::from_slice(file).map_err(|error| malformed(&error))?;
    if file.kdf.name != "scrypt" || file.cipher.name != "nacl/secretbox" {
        let why = format!("wanted scrypt and nacl/secretbox, got {} and {}", file.kdf.name, file.cipher.name);
        return Err(malformed(&why));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|error| malformed(&error));
    let nonce: [u8; 24] =
        decode(&file.cipher.nonce)?.try_into().map_err(|_| malformed(&"the nonce has not 24 bytes"))?;
    let key = derive(password, &decode(&file.kdf.salt)?, &file.kdf.params)?;
    let opened = XSalsa20Poly1305::new(&key.into()).decrypt(&nonce.into(), &decode(&file.ciphertext)?[..]);
    opened.map_err(|_| Error::Password { why: "the password is wrong" })
}

fn encrypt(secret: &[u8], password: &str) -> Result<Vec<u8>> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut nonce)).map_err(|_| Error::key("no randomness"))?;
    let params = Params { n: 65536, r: 8, p: 1 };
    let key = derive(password, &salt, &params)?;
    let sealed = XSalsa20Poly1305::new(&key.into()).encrypt(&nonce.into(), secret);
    let sealed = sealed.map_err(|_| Error::key("it cannot be encrypted"))?;
    let file = File {
        kdf: Kdf { name: "scrypt".to_owned(), params, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(sealed),
    };
    Ok(serde_json::to_vec(&file).expect("strings and numbers serialize"))
}

/// The key that a password gives.
///
/// The parameters are those that the library of cosign has ever written; others could take for ever.
fn derive(password: &str, salt: &[u8], params: &Params) -> Result<[u8; 32]> {
    let known = [(32768, 8, 1), (65536, 8, 1), (131072, 8, 1)];
    if !known.contains(&(params.n, params.r, params.p)) {
        return Err(Error::key(format!("scrypt with {params:?}, wanted (N, r, p) of {known:?}")));
    }
    let params = scrypt::Params::new(params.n.ilog2() as u8, params.r, params.p, 32)
        .map_err(|error| Error::key(error.to_string()))?;
    let mut key = [0; 32];
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut key).map_err(|error| Error::key(error.to_string()))?;
    Ok(key)
}

#[derive(Deserialize, Serialize)]
struct File {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize, Serialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Params {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Deserialize, Serialize)]
struct Cipher {
    name: String,
    nonce: String,
}
