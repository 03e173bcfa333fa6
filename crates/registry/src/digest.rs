//! Digests: content addresses, the hashers that make them, and the check that bytes have one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use sha2::Digest as _;
use sha2::Sha256;
use sha2::Sha512;
use sha2::digest::common::hazmat::SerializableState;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;

/// A hash function that digests may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256, which every registry knows.
    #[default]
    Sha256,
    /// SHA-512, which a registry may know.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, the usual one first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits follow the colon.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| Error::new(Code::DigestInvalid, format!("algorithm {name:?} is not one of sha256, sha512")))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address of content: an algorithm and the lower-case hexadecimal hash, `sha256:2cf2…`.
///
/// Cheap to clone. A value of this type is well-formed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: Arc<str>,
}

impl Digest {
    /// The SHA-256 digest of bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// The digest of bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest whose hash is known already.
    ///
    /// # Errors
    /// `DigestInvalid` when `hash` does not have the length of the algorithm's hashes.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Result<Self> {
        if hash.len() * 2 != algorithm.hex_len() {
            let message = format!("a {algorithm} hash has {} bytes, not {}", algorithm.hex_len() / 2, hash.len());
            return Err(Error::new(Code::DigestInvalid, message));
        }
        Ok(Self::from_exact_hash(algorithm, hash))
    }

    fn from_exact_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(algorithm.as_str().len() + 1 + algorithm.hex_len());
        text.push_str(algorithm.as_str());
        text.push(':');
        for byte in hash {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self { algorithm, text: text.into() }
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits behind the colon.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// The hash itself, 32 or 64 bytes.
    pub fn hash(&self) -> Vec<u8> {
        let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
        self.hex().as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    /// The digest as text, `sha256:2cf2…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// spec, image-spec "Digests": `algorithm ":" encoded`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::new(Code::DigestInvalid, format!("{text:?} {why}"));
        let (name, hex) = text.split_once(':').ok_or_else(|| invalid("is not algorithm:hex"))?;
        if name.is_empty() || hex.is_empty() {
            return Err(invalid("is not algorithm:hex"));
        }
        if !is_algorithm_name(name) {
            return Err(invalid("has a malformed algorithm name"));
        }
        let algorithm: Algorithm = name.parse()?;
        if hex.len() != algorithm.hex_len() {
            let want = algorithm.hex_len();
            return Err(invalid(&format!("has {} digits, {name} has {want}", hex.len())));
        }
        if !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return Err(invalid("is not in lower-case hexadecimal digits"));
        }
        Ok(Self { algorithm, text: text.into() })
    }
}

/// spec, image-spec "Digests": components of `[a-z0-9]+` joined by one of `+._-`.
fn is_algorithm_name(name: &str) -> bool {
    name.split(['+', '.', '_', '-']).all(|component| {
        !component.is_empty() && component.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes bytes as they pass; its state can be kept and taken up again, elsewhere or later.
#[derive(Clone, Debug)]
pub struct Hasher {
    state: State,
    len: u64,
}

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts with no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state, len: 0 }
    }

    /// Takes up a state that [`Hasher::export`] gave.
    ///
    /// # Errors
    /// `DigestInvalid` when the bytes are not such a state.
    pub fn import(bytes: &[u8]) -> Result<Self> {
        let invalid = || Error::new(Code::DigestInvalid, "not an exported hash state");
        let (&[kind, ref rest @ ..], len) = bytes.split_last_chunk::<8>().ok_or_else(invalid)? else {
            return Err(invalid());
        };
        let state = match kind {
            1 => State::Sha256(Sha256::deserialize(rest.try_into().map_err(|_| invalid())?).map_err(|_| invalid())?),
            2 => State::Sha512(Sha512::deserialize(rest.try_into().map_err(|_| invalid())?).map_err(|_| invalid())?),
            _ => return Err(invalid()),
        };
        Ok(Self { state, len: u64::from_le_bytes(*len) })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
        self.len += bytes.len() as u64;
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// How many bytes were added.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Tells whether no byte was added yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(state) => Digest::from_exact_hash(Algorithm::Sha256, &state.finalize()),
            State::Sha512(state) => Digest::from_exact_hash(Algorithm::Sha512, &state.finalize()),
        }
    }

    /// The state as bytes, for [`Hasher::import`]; at most 256 bytes.
    ///
    /// It holds parts of the content that was hashed last: as secret as the content.
    pub fn export(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        match &self.state {
            State::Sha256(state) => {
                bytes.push(1);
                bytes.extend_from_slice(&state.serialize());
            }
            State::Sha512(state) => {
                bytes.push(2);
                bytes.extend_from_slice(&state.serialize());
            }
        }
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes
    }
}

/// Checks that content has the size and digest that were promised.
#[derive(Clone, Debug)]
pub struct Verifier {
    hasher: Hasher,
    digest: Digest,
    size: Option<u64>,
}

impl Verifier {
    /// Expects content of a digest, and of a size when it is known.
    pub fn new(digest: &Digest, size: Option<u64>) -> Self {
        Self { hasher: Hasher::new(digest.algorithm()), digest: digest.clone(), size }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// `SizeInvalid` as soon as there are more bytes than expected.
    pub fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        match self.size {
            Some(size) if self.hasher.len() > size => Err(self.wrong_size(size)),
            _ => Ok(()),
        }
    }

    /// Gives the verdict over all bytes added.
    ///
    /// # Errors
    /// `SizeInvalid` when bytes are missing, `DigestInvalid` when they are not the ones promised.
    pub fn finish(self) -> Result<()> {
        if let Some(size) = self.size
            && self.hasher.len() != size
        {
            return Err(self.wrong_size(size));
        }
        let got = self.hasher.finish();
        if got != self.digest {
            return Err(Error::new(Code::DigestInvalid, format!("expected {}, got {got}", self.digest)));
        }
        Ok(())
    }

    fn wrong_size(&self, size: u64) -> Error {
        let came = self.hasher.len();
        let more = if came > size { " or more" } else { "" };
        Error::new(Code::SizeInvalid, format!("{}: expected {size} bytes, got {came}{more}", self.digest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HELLO_256: &str = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    const HELLO_512: &str = "sha512:309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45b0cfd830e81f605dcf7dc5542e93ae9cd76f";

    #[test]
    fn known_contents_have_their_known_digests() {
        assert_eq!(Digest::sha256(b"hello world").as_str(), HELLO_256);
        assert_eq!(Digest::of(Algorithm::Sha512, b"hello world").as_str(), HELLO_512);
    }

    #[test]
    fn digests_parse_and_print() {
        for text in [HELLO_256, HELLO_512] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(Digest::from_hash(digest.algorithm(), &digest.hash()).unwrap(), digest);
        }
    }

    #[test]
    fn malformed_digests_are_refused_with_the_reason() {
        let upper = HELLO_256.to_uppercase().replace("SHA256", "sha256");
        for (text, why) in [
            ("", "is not algorithm:hex"),
            ("not-a-digest", "is not algorithm:hex"),
            ("sha256:", "is not algorithm:hex"),
            (":abcd", "is not algorithm:hex"),
            ("bad/alg:abcdef", "malformed algorithm name"),
            ("Sha256:abcdef", "malformed algorithm name"),
            ("sha256-:abcdef", "malformed algorithm name"),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", "is not one of sha256, sha512"),
            ("sha256:ffff", "has 4 digits, sha256 has 64"),
            (&HELLO_512.replace("sha512", "sha256"), "has 128 digits, sha256 has 64"),
            (&upper, "lower-case hexadecimal"),
            (&HELLO_256.replace('b', "g"), "lower-case hexadecimal"),
            (&format!("{HELLO_256}\n"), "has 65 digits"),
        ] {
            let error = text.parse::<Digest>().unwrap_err();
            assert_eq!(error.code(), &Code::DigestInvalid, "{text}");
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_verifier_tells_size_from_digest() {
        let digest = Digest::sha256(b"hello world");
        let run = |parts: &[&[u8]]| {
            let mut verifier = Verifier::new(&digest, Some(11));
            parts.iter().try_for_each(|part| verifier.update(part)).and_then(|()| verifier.finish())
        };
        assert!(run(&[b"hello", b" world"]).is_ok());
        assert_eq!(run(&[b"hello"]).unwrap_err().code(), &Code::SizeInvalid);
        assert_eq!(run(&[b"hello", b" world", b"!"]).unwrap_err().code(), &Code::SizeInvalid);
        assert_eq!(run(&[b"hello", b" World"]).unwrap_err().code(), &Code::DigestInvalid);
    }

    proptest! {
        #[test]
        fn an_exported_state_goes_on_where_it_stood(bytes in prop::collection::vec(any::<u8>(), 0..1000), at in 0usize..1000) {
            let at = at.min(bytes.len());
            for algorithm in Algorithm::ALL {
                let mut first = Hasher::new(algorithm);
                first.update(&bytes[..at]);
                let mut second = Hasher::import(&first.export()).unwrap();
                prop_assert_eq!(second.len(), at as u64);
                second.update(&bytes[at..]);
                prop_assert_eq!(second.finish(), Digest::of(algorithm, &bytes));
            }
        }

        #[test]
        fn foreign_states_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(hasher) = Hasher::import(&bytes) {
                prop_assert_eq!(hasher.export(), bytes);
            }
        }
    }
}
