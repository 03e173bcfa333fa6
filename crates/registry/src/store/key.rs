//! Keys: what a value in a cache is, which is all that a store knows of it.

use std::fmt;

use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::digest::Hasher;

/// The name of a value in a cache.
///
/// It is a hash of what it is made of. Whatever is in a namespace, a digest or a note's name, one key is
/// never taken for another, and no key names a file outside of its store.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    id: Digest,
    content: Option<Digest>,
}

impl Key {
    /// Content by its digest. A store takes and gives only bytes that have it.
    pub fn content(namespace: &str, digest: &Digest) -> Self {
        let id = id(b'c', namespace, &[digest.as_str()]);
        Self { id, content: Some(digest.clone()) }
    }

    /// A block of a blob: the one that begins at `index` times the size of blocks.
    pub fn block(namespace: &str, blob: &Digest, index: u64) -> Self {
        Self { id: id(b'b', namespace, &[blob.as_str(), &index.to_string()]), content: None }
    }

    /// Something small that is known about a thing with a name of some parts.
    pub fn note(namespace: &str, name: &[&str]) -> Self {
        Self { id: id(b'n', namespace, name), content: None }
    }

    /// Tells whether bytes may be the value: whether they have the digest that the key says, if it does.
    ///
    /// For stores that keep values where others may change them.
    pub fn accepts(&self, value: &[u8]) -> bool {
        self.content.as_ref().is_none_or(|digest| Digest::of(digest.algorithm(), value) == *digest)
    }

    /// The SHA-256 hash of what the key is made of.
    pub fn id(&self) -> &Digest {
        &self.id
    }

    /// The digest that the value has, when the key says it.
    pub fn digest(&self) -> Option<&Digest> {
        self.content.as_ref()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.content.as_ref().unwrap_or(&self.id)).finish()
    }
}

/// Each part with its length, so that no two lists of parts are the same bytes.
fn id(kind: u8, namespace: &str, parts: &[&str]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&[kind]);
    for part in [&[namespace], parts].concat() {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_content_look_at_values() {
        let digest = Digest::sha256(b"hello");
        assert!(Key::content("a", &digest).accepts(b"hello"));
        assert!(!Key::content("a", &digest).accepts(b"hellO"));
        assert!(Key::block("a", &digest, 0).accepts(b"hellO"));
    }

    #[test]
    fn keys_are_told_apart() {
        let digest = Digest::sha256(b"hello");
        let keys = [
            Key::content("a", &digest),
            Key::content("b", &digest),
            Key::block("a", &digest, 0),
            Key::block("a", &digest, 1),
            Key::note("a", &["x", "y"]),
            Key::note("a", &["xy"]),
            Key::note("a", &["x", "y", ""]),
            Key::note("ax", &["y"]),
            Key::note("a", &[digest.as_str()]),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().filter(|other| other.id() == key.id()).count(), 1, "{at}");
        }
        assert_eq!(Key::note("../..", &["/etc/passwd"]).id().hex().len(), 64);
    }
}
