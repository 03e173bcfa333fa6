//! Endpoints: the grammar of the registry's paths, read by the server and written by the client.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::ManifestRef;
use skep_registry::RepoName;
use skep_registry::Result;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v2/`, the question whether this is a registry at all (spec, end-1).
    Base,
    /// A blob (end-2, end-10).
    Blob(RepoName, Digest),
    /// `/v2/_catalog`, the list of repositories; not in the specification, but everywhere.
    Catalog,
    /// A manifest (end-3, end-7, end-9).
    Manifest(RepoName, ManifestRef),
    /// The list of manifests whose subject is a digest (end-12).
    Referrers(RepoName, Digest),
    /// The list of tags (end-8).
    Tags(RepoName),
    /// An upload session by the backend's name for it (end-5, end-6, end-13, end-14).
    Upload(RepoName, String),
    /// Where uploads begin (end-4, end-11).
    Uploads(RepoName),
}

impl Endpoint {
    /// Parses the path of a request; none if there is no such endpoint.
    ///
    /// The path is read from its end, because the name of a repository may hold any of the words.
    ///
    /// # Errors
    /// `NameInvalid`, `DigestInvalid` or `BlobUploadUnknown` when the path is that of an endpoint and a part
    /// of it is malformed.
    pub(crate) fn parse(path: &str) -> Result<Option<Self>> {
        let Ok(path) = percent_decode_str(path).decode_utf8() else {
            return Err(Error::new(Code::NameInvalid, format!("path {path:?} is not UTF-8")));
        };
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Some(Self::Base)),
            Some("/_catalog") => return Ok(Some(Self::Catalog)),
            Some(rest) => rest,
            None => return Ok(None),
        };
        let Some(rest) = rest.strip_prefix('/') else { return Ok(None) };
        if let Some(repo) = rest.strip_suffix("/tags/list") {
            return Ok(Some(Self::Tags(repo.parse()?)));
        }
        // The specification has the slash; some clients leave it out.
        if let Some(repo) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Ok(Some(Self::Uploads(repo.parse()?)));
        }
        let Some((head, last)) = rest.rsplit_once('/') else { return Ok(None) };
        if let Some(repo) = head.strip_suffix("/blobs/uploads") {
            return Ok(Some(Self::Upload(repo.parse()?, decode_session(last)?)));
        }
        if let Some(repo) = head.strip_suffix("/blobs") {
            return Ok(Some(Self::Blob(repo.parse()?, last.parse()?)));
        }
        if let Some(repo) = head.strip_suffix("/manifests") {
            return Ok(Some(Self::Manifest(repo.parse()?, last.parse()?)));
        }
        if let Some(repo) = head.strip_suffix("/referrers") {
            return Ok(Some(Self::Referrers(repo.parse()?, last.parse()?)));
        }
        Ok(None)
    }

    /// The methods that the endpoint knows, as in an `Allow` header.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Referrers(..) | Self::Tags(_) => "GET, HEAD",
            Self::Blob(..) | Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
            Self::Uploads(_) => "POST",
        }
    }
}

impl fmt::Display for Endpoint {
    /// The path. Names, tags, digests and sessions have no character that would have to be escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Blob(repo, digest) => write!(f, "/v2/{repo}/blobs/{digest}"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::Manifest(repo, reference) => write!(f, "/v2/{repo}/manifests/{reference}"),
            Self::Referrers(repo, digest) => write!(f, "/v2/{repo}/referrers/{digest}"),
            Self::Tags(repo) => write!(f, "/v2/{repo}/tags/list"),
            Self::Upload(repo, session) => write!(f, "/v2/{repo}/blobs/uploads/{}", URL_SAFE_NO_PAD.encode(session)),
            Self::Uploads(repo) => write!(f, "/v2/{repo}/blobs/uploads/"),
        }
    }
}

/// Sessions are named by the backend, which may use any text: the upload URL of another registry for instance.
fn decode_session(text: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Error::new(Code::BlobUploadUnknown, format!("{text:?}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use skep_registry::Algorithm;
    use skep_registry::Tag;

    use super::*;

    const DIGEST: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn repo(name: &str) -> RepoName {
        name.parse().unwrap()
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let digest: Digest = DIGEST.parse().unwrap();
        let blob = |name: &str| Some(Endpoint::Blob(repo(name), digest.clone()));
        let tag = |tag: &str| ManifestRef::Tag(tag.parse().unwrap());
        for (path, want) in [
            ("/v2", Some(Endpoint::Base)),
            ("/v2/", Some(Endpoint::Base)),
            ("/v2/_catalog", Some(Endpoint::Catalog)),
            (&format!("/v2/foo/bar/blobs/{DIGEST}"), blob("foo/bar")),
            (&format!("/v2/foo%2Fbar/blobs/{}", DIGEST.replace(':', "%3A")), blob("foo/bar")),
            (&format!("/v2/a/blobs/uploads/blobs/{DIGEST}"), blob("a/blobs/uploads")),
            ("/v2/some/repo/blobs/uploads/", Some(Endpoint::Uploads(repo("some/repo")))),
            ("/v2/some/repo/blobs/uploads", Some(Endpoint::Uploads(repo("some/repo")))),
            ("/v2/r/blobs/uploads/YmxhaGJsYWg", Some(Endpoint::Upload(repo("r"), "blahblah".to_owned()))),
            ("/v2/a/manifests/tags/list", Some(Endpoint::Tags(repo("a/manifests")))),
            ("/v2/a/tags/list", Some(Endpoint::Tags(repo("a")))),
            ("/v2/a/manifests/latest", Some(Endpoint::Manifest(repo("a"), tag("latest")))),
            ("/v2/a/manifests/manifests/manifests", Some(Endpoint::Manifest(repo("a/manifests"), tag("manifests")))),
            (&format!("/v2/a/referrers/{DIGEST}"), Some(Endpoint::Referrers(repo("a"), digest.clone()))),
            ("", None),
            ("/", None),
            ("/v1/", None),
            ("/v2x", None),
            ("/v2/bad", None),
            ("/v2//", None),
            (&format!("/v2/blobs/{DIGEST}"), None),
            ("/v2/a/tags/lists", None),
            ("/v2/a/manifests/x/y", None),
        ] {
            assert_eq!(Endpoint::parse(path).unwrap(), want, "{path}");
        }
    }

    #[test]
    fn malformed_parts_are_named_by_their_code() {
        for (path, code) in [
            (format!("/v2/foo/bAr/blobs/{DIGEST}"), Code::NameInvalid),
            (format!("/v2/../a/blobs/{DIGEST}"), Code::NameInvalid),
            ("/v2/a/%2e%2e/tags/list".to_owned(), Code::NameInvalid),
            ("/v2/%ff/tags/list".to_owned(), Code::NameInvalid),
            ("/v2//tags/list".to_owned(), Code::NameInvalid),
            (format!("/v2/{}/tags/list", "a".repeat(256)), Code::NameInvalid),
            ("/v2/a/blobs/sha256:wrong".to_owned(), Code::DigestInvalid),
            ("/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), Code::DigestInvalid),
            ("/v2/a/referrers/latest".to_owned(), Code::DigestInvalid),
            ("/v2/a/manifests/sha256:baddigeststring".to_owned(), Code::DigestInvalid),
            ("/v2/a/manifests/.bad".to_owned(), Code::NameInvalid),
            ("/v2/a/blobs/uploads/a:b".to_owned(), Code::BlobUploadUnknown),
            ("/v2/a/blobs/uploads/_w".to_owned(), Code::BlobUploadUnknown),
        ] {
            assert_eq!(Endpoint::parse(&path).unwrap_err().code(), &code, "{path}");
        }
    }

    fn any_repo() -> impl Strategy<Value = RepoName> {
        let word = "[a-z0-9]{1,3}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}|blobs|uploads|manifests|tags|list|referrers|v2";
        prop::collection::vec(word, 1..5).prop_map(|words| words.join("/").parse().unwrap())
    }

    fn any_endpoint() -> impl Strategy<Value = Endpoint> {
        let digest =
            || any::<[u8; 4]>().prop_map(|bytes| Digest::of(Algorithm::ALL[usize::from(bytes[0] & 1)], &bytes));
        let tag = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,9}".prop_map(|tag| tag.parse::<Tag>().unwrap());
        prop_oneof![
            Just(Endpoint::Base),
            Just(Endpoint::Catalog),
            (any_repo(), digest()).prop_map(|(repo, digest)| Endpoint::Blob(repo, digest)),
            (any_repo(), digest()).prop_map(|(repo, digest)| Endpoint::Manifest(repo, digest.into())),
            (any_repo(), tag).prop_map(|(repo, tag)| Endpoint::Manifest(repo, tag.into())),
            (any_repo(), digest()).prop_map(|(repo, digest)| Endpoint::Referrers(repo, digest)),
            any_repo().prop_map(Endpoint::Tags),
            any_repo().prop_map(Endpoint::Uploads),
            (any_repo(), "\\PC{1,20}").prop_map(|(repo, session)| Endpoint::Upload(repo, session)),
        ]
    }

    proptest! {
        #[test]
        fn endpoints_parse_from_what_they_print(endpoint in any_endpoint()) {
            prop_assert_eq!(Endpoint::parse(&endpoint.to_string()).unwrap(), Some(endpoint));
        }

        #[test]
        fn no_path_makes_the_parser_panic(path in "(/v2)?(/|blobs|uploads|manifests|tags|list|%|:|\\PC){0,12}") {
            let _ = Endpoint::parse(&path);
        }
    }
}
