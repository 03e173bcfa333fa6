//! Names: repositories and tags, checked once, where they come in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;

/// The longest repository name, in bytes (spec: "many clients impose a limit of 255").
pub const MAX_REPO_NAME: usize = 255;

/// The longest tag, in bytes (spec: "at most 128 characters").
pub const MAX_TAG: usize = 128;

/// The name of a repository inside of a registry, `library/alpine`.
///
/// Cheap to clone. A value of this type is well-formed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName(Arc<str>);

impl RepoName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoName {
    type Err = Error;

    /// spec, "Pulling manifests": components of `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes.
    fn from_str(name: &str) -> Result<Self> {
        if name.len() > MAX_REPO_NAME {
            let message = format!("{name:?} has {} bytes, at most {MAX_REPO_NAME} are allowed", name.len());
            return Err(Error::new(Code::NameInvalid, message));
        }
        if !name.split('/').all(is_component) {
            return Err(Error::new(Code::NameInvalid, format!("{name:?}")));
        }
        Ok(Self(name.into()))
    }
}

fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.split(|&byte| alphanumeric(byte)).all(|separator| {
            matches!(separator, [] | b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
        })
}

/// The name of a manifest that may move, `v1.2`.
///
/// Cheap to clone. A value of this type is well-formed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;

    /// spec, "Pulling manifests": `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    fn from_str(tag: &str) -> Result<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let well_formed = tag.len() <= MAX_TAG
            && tag.bytes().next().is_some_and(word)
            && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if !well_formed {
            return Err(Error::new(Code::NameInvalid, format!("{tag:?} is not a tag")));
        }
        Ok(Self(tag.into()))
    }
}

macro_rules! print_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

print_as_text!(RepoName, Tag);

/// Names one manifest inside of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ManifestRef {
    /// By its content.
    Digest(Digest),
    /// By a name that may move.
    Tag(Tag),
}

impl FromStr for ManifestRef {
    type Err = Error;

    /// A tag has no colon and a digest has one, so neither can be taken for the other.
    fn from_str(text: &str) -> Result<Self> {
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for ManifestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Tag(tag) => tag.fmt(f),
        }
    }
}

impl From<Digest> for ManifestRef {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<Tag> for ManifestRef {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_specification() {
        let digits = "0123456789".repeat(25);
        for name in [
            "foo",
            &digits,
            "a-b---c",
            "a.b.c9",
            "a__b",
            "a_b",
            "foo/bar/baz",
            "a",
            "9",
            "a/blobs/uploads",
            &format!("{}aa", "a/".repeat(126)),
        ] {
            assert_eq!(name.parse::<RepoName>().unwrap().as_str(), name);
        }
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "A",
            "_a",
            "a_",
            "a___b",
            "a._b",
            "a-.b",
            "café",
            "foo@bar",
            "foo:bar",
            "a b",
            "../a",
            "a/../b",
            "a/%2e%2e",
            "a\0",
            "a\n",
            "ａ",
            &"a".repeat(256),
        ] {
            assert_eq!(name.parse::<RepoName>().unwrap_err().code(), &Code::NameInvalid, "{name:?}");
        }
        assert_eq!("a".repeat(255).parse::<RepoName>().unwrap().as_str().len(), 255);
    }

    #[test]
    fn tags_follow_the_specification() {
        let longest = "a".repeat(128);
        for tag in ["hello", "v1.2.3-alpha.0", "_", "_x", "___", "ABC_D", "5000", &longest, "foo....___---"] {
            assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
        }
        for tag in ["", &"a".repeat(129), "café", "foo@bar", "v4.3+something", ".a", "-a", "a/b", "a:b", "a b", "a\n"]
        {
            assert!(tag.parse::<Tag>().is_err(), "{tag:?}");
        }
    }

    #[test]
    fn a_colon_makes_a_digest() {
        let digest = Digest::sha256(b"");
        assert_eq!(digest.as_str().parse::<ManifestRef>().unwrap(), ManifestRef::Digest(digest));
        assert_eq!("sha256".parse::<ManifestRef>().unwrap().to_string(), "sha256");
        assert!("sha256:ab".parse::<ManifestRef>().is_err());
    }
}
