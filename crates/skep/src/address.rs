//! Addresses: where an archive is, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::ManifestRef;
use skep_registry::Reference;
use skep_registry::Result;
use skep_registry::Tag;

/// The tag that is meant when neither tag nor digest is given.
pub const DEFAULT_TAG: &str = "latest";

/// Where an archive is: in a registry, or in an OCI layout on this machine.
///
/// | written as | is |
/// |---|---|
/// | `registry.example.com/team/site:v1` | in a registry |
/// | `registry.example.com:5000/site@sha256:…` | in a registry, by digest |
/// | `http://localhost:5000/site` | in a registry, over plain HTTP |
/// | `oci:./store:v1`, `oci:./store@sha256:…` | in an OCI layout, which need not exist yet |
///
/// `docker://` before a registry is allowed and means nothing, `ocidir://` is the same as `oci:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Which store.
    pub store: Store,
    /// The tag, when one was written.
    pub tag: Option<Tag>,
    /// The digest, when one was written. It decides.
    pub digest: Option<Digest>,
}

/// What holds archives: a repository of a registry, or an OCI layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A directory with an OCI image layout.
    Layout(PathBuf),
    /// A repository of a registry.
    Repository {
        /// The registry, `registry.example.com:5000`.
        host: String,
        /// The repository in it.
        repo: skep_registry::RepoName,
        /// The scheme, when one was written.
        scheme: Option<Scheme>,
    },
}

/// How to speak to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without encryption.
    Http,
    /// With TLS.
    Https,
}

impl Address {
    /// The manifest that is meant: by digest, else by tag, else `latest`.
    pub fn manifest(&self) -> ManifestRef {
        match &self.digest {
            Some(digest) => digest.clone().into(),
            None => self.tag_or_latest().into(),
        }
    }

    /// The tag that is meant, `latest` if none was written.
    pub fn tag_or_latest(&self) -> Tag {
        let latest = || DEFAULT_TAG.parse().expect("a valid tag");
        self.tag.clone().unwrap_or_else(latest)
    }

    /// The same store, and the manifest of a digest in it.
    pub fn at(&self, digest: Digest) -> Self {
        Self { store: self.store.clone(), tag: None, digest: Some(digest) }
    }

    fn layout(rest: &str) -> Result<Self> {
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((path, digest)) if digest.contains(':') && !digest.contains(['/', '\\']) => {
                (path, Some(digest.parse()?))
            }
            _ => (rest, None),
        };
        // The last colon, so that a path may have one; a drive letter is not a path by itself.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains(['/', '\\']) => (path, Some(tag.parse()?)),
            _ => (rest, None),
        };
        if path.is_empty() {
            return Err(Error::new(Code::NameInvalid, format!("oci:{rest} names no directory")));
        }
        Ok(Self { store: Store::Layout(path.into()), tag, digest })
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("oci:").or_else(|| text.strip_prefix("ocidir://")) {
            return Self::layout(rest);
        }
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (Some(Scheme::Http), rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (Some(Scheme::Https), rest)
        } else {
            (None, text.strip_prefix("docker://").unwrap_or(text))
        };
        // Hosts come with a dot or a port; `localhost` is worth an exception, no repository is called so.
        let portless = rest.strip_prefix("localhost/");
        let completed = portless.map(|rest| format!("localhost:80/{rest}"));
        let reference: Reference = completed.as_deref().unwrap_or(rest).parse()?;
        let host = if portless.is_some() { "localhost".to_owned() } else { reference.host };
        let store = Store::Repository { host, repo: reference.repo, scheme };
        Ok(Self { store, tag: reference.tag, digest: reference.digest })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.store {
            Store::Layout(path) => write!(f, "oci:{}", path.display())?,
            Store::Repository { host, repo, scheme } => {
                match scheme {
                    Some(Scheme::Http) => f.write_str("http://")?,
                    Some(Scheme::Https) => f.write_str("https://")?,
                    None => {}
                }
                write!(f, "{host}/{repo}")?;
            }
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

    #[test]
    fn addresses_print_as_they_were_written() {
        for text in [
            "registry.example.com/team/site",
            "registry.example.com:5000/site:v1",
            "http://localhost:5000/site:v1",
            "https://[::1]:5000/site",
            "localhost/site:v1",
            "oci:./store",
            "oci:./store:v1",
            "oci:/a/b c/store:v1",
            "oci:C:\\store:v1",
            "oci:a:b/c",
            &format!("registry.example.com/site:v1@{SHA}"),
            &format!("oci:store@{SHA}"),
            &format!("oci:sto@re:v1@{SHA}"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_spellings_are_understood() {
        for (text, same) in [("docker://a.b/c:d", "a.b/c:d"), ("ocidir://store:v1", "oci:store:v1")] {
            assert_eq!(text.parse::<Address>().unwrap(), same.parse().unwrap());
        }
    }

    #[test]
    fn the_tag_of_a_layout_is_behind_the_last_colon() {
        for (text, path, tag) in [
            ("oci:store", "store", None),
            ("oci:store:v1", "store", Some("v1")),
            ("oci:a:b:v1", "a:b", Some("v1")),
            ("oci:a:b/c", "a:b/c", None),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.store, Store::Layout(path.into()), "{text}");
            assert_eq!(address.tag.as_ref().map(Tag::as_str), tag, "{text}");
        }
    }

    #[test]
    fn a_digest_decides_and_latest_is_the_default() {
        let address: Address = format!("a.b/c:d@{SHA}").parse().unwrap();
        assert!(matches!(address.manifest(), ManifestRef::Digest(_)));
        let address: Address = "a.b/c".parse().unwrap();
        assert_eq!(address.manifest().to_string(), "latest");
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in
            ["", "alpine", "./dir", "a.b/C", "oci:", "oci::v1", "oci:a:v 1", "oci:a@sha256:12", "http://", "a.b/c:d:e"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
