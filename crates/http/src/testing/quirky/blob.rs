//! Blobs: kept elsewhere, or only in part.

use std::net::IpAddr;
use std::ops::Range;

use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use skep_registry::Digest;
use skep_registry::RepoName;

use crate::endpoint::Endpoint;
use crate::server::ResponseBody;
use crate::testing::quirky::asked::Asked;
use crate::testing::quirky::said::empty;
use crate::testing::quirky::said::say;
use crate::testing::quirky::said::set;
use crate::wire;

/// Sends a client to the storage.
pub(super) fn redirect(asked: &Asked, repo: &RepoName, digest: &Digest) -> Response<ResponseBody> {
    let (name, port) = asked.host.rsplit_once(':').unwrap_or((&asked.host, "80"));
    // Another name of this machine is another origin, and what the client shows one it must not show the other.
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let other = if is_address { "localhost" } else { "127.0.0.1" };
    let mut answer = empty(307);
    let location = format!("http://{other}:{port}{STORAGE}{repo}/{digest}?{SIGNATURE}={}", signature(digest));
    set(&mut answer, header::LOCATION, &location);
    answer
}

/// What the storage is asked for as the registry is asked for it.
///
/// # Errors
/// The refusal of the storage: who shows a credential beside the signature is refused (S3: "Only one auth mechanism
/// allowed"), and so is who has no signature.
pub(super) fn stored(asked: &Asked) -> Result<Asked, Response<ResponseBody>> {
    let refuse = |status, code: &str, message: &str| {
        let text = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Err(say(status, "application/xml", text))
    };
    if asked.headers.contains_key(header::AUTHORIZATION) {
        return refuse(400, "InvalidArgument", "Only one auth mechanism allowed");
    }
    let rest = asked.path.strip_prefix(STORAGE).and_then(|rest| rest.rsplit_once('/'));
    let named = rest.and_then(|(repo, digest)| Some((repo.parse().ok()?, digest.parse::<Digest>().ok()?)));
    let Some((repo, digest)) = named.filter(|_| asked.is_read()) else {
        return refuse(404, "NoSuchKey", "The specified key does not exist.");
    };
    if asked.get(SIGNATURE) != Some(&signature(&digest)) {
        return refuse(403, "AccessDenied", "Access Denied");
    }
    let mut inner = asked.about(asked.method.clone(), Endpoint::Blob(repo, digest).to_string());
    inner.headers = asked.headers.clone();
    Ok(inner)
}

/// Leaves out of an answer what only a registry says.
pub(super) fn plain_storage(headers: &mut HeaderMap) {
    for name in [wire::CONTENT_DIGEST.as_str(), "docker-distribution-api-version"] {
        headers.remove(name);
    }
}

/// Asks for the part of a blob that is kept.
pub(super) fn narrow(asked: &mut Asked, range: &Range<u64>) {
    asked.headers.remove(header::RANGE);
    if asked.method == Method::GET {
        let value = format!("bytes={}-{}", range.start, range.end - 1);
        let value = HeaderValue::try_from(value).expect("digits and punctuation can stand in a header");
        asked.headers.insert(header::RANGE, value);
    }
}

/// Says of a part that it is the whole.
pub(super) fn widen(asked: &Asked, range: &Range<u64>, answer: &mut Response<ResponseBody>) {
    if answer.status() == StatusCode::PARTIAL_CONTENT {
        *answer.status_mut() = StatusCode::OK;
        answer.headers_mut().remove(header::CONTENT_RANGE);
    } else if asked.method == Method::HEAD && answer.status() == StatusCode::OK {
        set(answer, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    }
}

fn signature(digest: &Digest) -> String {
    digest.hex().chars().rev().take(16).collect()
}

/// Where blobs are kept.
pub(super) const STORAGE: &str = "/storage/";
const SIGNATURE: &str = "X-Signature";
