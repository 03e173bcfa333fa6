//! References: a registry, a repository, and a manifest in it, as people write them.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;

/// The registry that names without a host belong to.
const HUB: &str = "docker.io";

/// Hosts that are the same registry as [`HUB`].
const HUB_ALIASES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// A repository and, when they are given, a tag and a digest in it: `host/repo:tag@digest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The registry, `example.com:5000`; well-formed, as it was written.
    pub host: String,
    /// The repository.
    pub repo: RepoName,
    /// The tag, when there is one.
    pub tag: Option<Tag>,
    /// The digest, when there is one. It decides; the tag beside it is for people.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Parses a reference that may lack a host, as docker does: `alpine` is `docker.io/library/alpine`.
    ///
    /// # Errors
    /// `NameInvalid` or `DigestInvalid`, naming the part that is malformed.
    pub fn parse_relative(text: &str) -> Result<Self> {
        let Parts { host, repo, tag, digest } = split(text)?;
        let host = host.unwrap_or(HUB);
        let host = if HUB_ALIASES.contains(&host) { HUB } else { host };
        let repo = if host == HUB && !repo.as_str().contains('/') { format!("library/{repo}").parse()? } else { repo };
        Ok(Self { host: host.to_owned(), repo, tag, digest })
    }

    /// The manifest that is meant: by digest if there is one, else by tag.
    pub fn manifest(&self) -> Option<ManifestRef> {
        let tag = || self.tag.clone().map(ManifestRef::Tag);
        self.digest.clone().map(ManifestRef::Digest).or_else(tag)
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// Parses a reference that names its host; nothing is put in or folded.
    fn from_str(text: &str) -> Result<Self> {
        let Parts { host, repo, tag, digest } = split(text)?;
        let Some(host) = host else {
            return Err(Error::new(Code::NameInvalid, format!("{text:?} does not name a registry host")));
        };
        Ok(Self { host: host.to_owned(), repo, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repo)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

struct Parts<'a> {
    host: Option<&'a str>,
    repo: RepoName,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Splits from the outside in: the digest behind `@`, the host before the first slash, the tag behind
/// the first colon of the rest.
fn split(text: &str) -> Result<Parts<'_>> {
    let invalid = || Error::new(Code::NameInvalid, format!("invalid reference syntax: {text:?}"));
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (host, rest) = match rest.split_once('/') {
        Some((host, rest)) if is_host(host) => (Some(host), rest),
        _ => (None, rest),
    };
    let (repo, tag) = match rest.split_once(':') {
        Some((repo, tag)) => (repo, Some(tag)),
        None => (rest, None),
    };
    let repo = repo.parse::<RepoName>().map_err(|error| invalid().with_source(error))?;
    let tag = tag.map(str::parse::<Tag>).transpose()?;
    let digest = digest.map(str::parse::<Digest>).transpose()?;
    Ok(Parts { host, repo, tag, digest })
}

/// Tells whether text is the host of a registry: a dotted domain or a bracketed IPv6 address with a port
/// or without, or any name with a port. `localhost` alone is a repository.
pub fn is_host(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let address_is_hex = address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        let port_is_right = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address_is_hex && address.parse::<std::net::Ipv6Addr>().is_ok() && port_is_right;
    }
    let (domain, port) = match text.split_once(':') {
        Some((domain, port)) => (domain, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    let well_formed = domain.split('.').all(is_label);
    match port {
        Some(port) => well_formed && is_port(port) && !domain.contains('_'),
        None => well_formed && domain.contains('.') && !domain.contains('_'),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn hosts_are_told_from_repositories() {
        for host in [
            "foo.com:5000",
            "foo.com",
            "localhost:1234",
            "[::1]",
            "[::1]:3456",
            "sub-dom1.foo.com",
            "xn--n3h.com",
            "192.168.1.1",
            "192.168.1.1:5000",
            "[2001:db8:1:2:3:4:5:6]",
            "Example.COM",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "localhost",
            "foo",
            "foo..com",
            "",
            ".",
            "-a.com",
            "a-.com",
            "foo.com:",
            "foo.com:x",
            "foo.com:99999",
            "[fe80::1%eth0]:5000",
            "[::1",
            "[]",
            "[::ffff:1.2.3.4]",
            "foo_bar.com",
            "a b.com",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn relative_references_are_completed_as_docker_does() {
        let sha = format!("sha256:{HEX}");
        let sha512 = format!("sha512:{HEX}{HEX}");
        let long = "a/".repeat(119) + "a";
        for (text, host, repo, tag, digest) in [
            ("test_com", "docker.io", "library/test_com", "", ""),
            ("rocket.chat", "docker.io", "library/rocket.chat", "", ""),
            ("test.com:tag", "docker.io", "library/test.com", "tag", ""),
            ("test.com:5000", "docker.io", "library/test.com", "5000", ""),
            ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", "8080", ""),
            ("test.com/repo:tag", "test.com", "repo", "tag", ""),
            ("test:5000/repo", "test:5000", "repo", "", ""),
            ("test:5000/repo:tag", "test:5000", "repo", "tag", ""),
            (&format!("test:5000/repo@{sha}"), "test:5000", "repo", "", &sha),
            (&format!("test:5000/repo:tag@{sha}"), "test:5000", "repo", "tag", &sha),
            ("lowercase:Uppercase", "docker.io", "library/lowercase", "Uppercase", ""),
            ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux", "", ""),
            ("sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com", "bar/baz/quux", "some-long-tag", ""),
            (
                "b.example.org/test.example.com/my-app:test.example.com",
                "b.example.org",
                "test.example.com/my-app",
                "test.example.com",
                "",
            ),
            ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com", ""),
            (
                &format!("xn--7o8h.com/myimage:xn--7o8h.com@{sha512}"),
                "xn--7o8h.com",
                "myimage",
                "xn--7o8h.com",
                &sha512,
            ),
            ("foo.com/bar:8080", "foo.com", "bar", "8080", ""),
            ("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", "8080", ""),
            ("192.168.1.1", "docker.io", "library/192.168.1.1", "", ""),
            ("192.168.1.1:5000", "docker.io", "library/192.168.1.1", "5000", ""),
            ("192.168.1.1/repo", "192.168.1.1", "repo", "", ""),
            ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", "5050", ""),
            ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", "", ""),
            ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", "tag", ""),
            (&format!("[2001:db8::1]:5000/repo:tag@{sha}"), "[2001:db8::1]:5000", "repo", "tag", &sha),
            ("[2001:db8::]:5000/repo", "[2001:db8::]:5000", "repo", "", ""),
            ("[::1]:5000/repo", "[::1]:5000", "repo", "", ""),
            ("index.docker.io/foo", "docker.io", "library/foo", "", ""),
            ("registry-1.docker.io/a/b", "docker.io", "a/b", "", ""),
            (&long, "docker.io", &long, "", ""),
        ] {
            let got = Reference::parse_relative(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let want = Reference {
                host: host.to_owned(),
                repo: repo.parse().unwrap(),
                tag: (!tag.is_empty()).then(|| tag.parse().unwrap()),
                digest: (!digest.is_empty()).then(|| digest.parse().unwrap()),
            };
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn malformed_references_are_refused_with_the_reason() {
        let too_long = "a/".repeat(128) + "a:tag";
        for (text, why) in [
            ("", "invalid reference syntax"),
            (":justtag", "invalid reference syntax"),
            (&format!("@sha256:{HEX}"), "invalid reference syntax"),
            ("repo@sha256:ffffffffffffffffffffffffffffffffff", "34 digits"),
            ("validname@invalidDigest:ffffffff", "malformed algorithm name"),
            ("Uppercase:tag", "invalid reference syntax"),
            ("test:5000/Uppercase/lowercase:tag", "invalid reference syntax"),
            ("aa/asdf$$^/aa", "invalid reference syntax"),
            (&too_long, "invalid reference syntax"),
            ("[2001:db8::1]", "invalid reference syntax"),
            ("[2001:db8::1]:5000", "invalid reference syntax"),
            ("[2001:db8::1]:tag", "invalid reference syntax"),
            ("[fe80::1%eth0]:5000/repo", "invalid reference syntax"),
            ("[fe80::1%@invalidzone]:5000/repo", "invalid reference syntax"),
            ("a/b:tag:tag", "is not a tag"),
            ("a/b:", "is not a tag"),
            ("a/../b", "invalid reference syntax"),
        ] {
            let error = Reference::parse_relative(text).unwrap_err();
            let chain = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(chain.contains(why), "{text}: {chain}");
        }
    }

    #[test]
    fn full_references_keep_what_was_written() {
        for text in ["docker.io/ubuntu", "index.docker.io/foo", "[::1]:5000/a/b:t", &format!("a.b/c:d@sha256:{HEX}")] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        for text in ["test_com", "rocket.chat", "test.com:5000", "localhost/repo"] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.to_string().contains("does not name a registry host"), "{error}");
        }
    }

    #[test]
    fn a_digest_decides_over_a_tag() {
        let reference: Reference = format!("a.b/c:d@sha256:{HEX}").parse().unwrap();
        assert!(matches!(reference.manifest(), Some(ManifestRef::Digest(_))));
        assert_eq!("a.b/c".parse::<Reference>().unwrap().manifest(), None);
    }
}
