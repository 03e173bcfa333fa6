//! Blobs over HTTP: whole or in part, elsewhere or unchanged.

use http::HeaderMap;
use http::Response;
use http::StatusCode;
use http::header;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::OCTET_STREAM;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::UploadOptions;

use crate::endpoint::Endpoint;
use crate::server::Call;
use crate::server::refuse;
use crate::server::reply::ResponseBody;
use crate::server::reply::client_has;
use crate::server::reply::empty;
use crate::server::reply::etag;
use crate::server::reply::not_modified;
use crate::server::reply::reply;
use crate::wire;

pub(super) async fn get(call: &Call<'_>, repo: &RepoName, digest: &Digest) -> Result<Response<ResponseBody>> {
    if client_has(call.headers, digest) {
        call.registry.head_blob(repo, digest).await?;
        return not_modified(digest);
    }
    if let Some(url) = call.registry.locate_blob(repo, digest).await? {
        let headers = [(header::LOCATION, url.into()), (wire::CONTENT_DIGEST, digest.to_string())];
        return empty(StatusCode::TEMPORARY_REDIRECT, headers);
    }
    let range = match asked_range(call.headers, digest) {
        Ok(range) => range,
        Err(error) => return out_of_range(call, repo, digest, error).await,
    };
    let answer = match (read(call, repo, digest, range).await, range) {
        (Ok(blob), None) => whole(blob),
        (Ok(blob), Some(range)) => part(blob, range),
        (Err(error), _) => Err(error),
    };
    match answer {
        Err(error) if *error.code() == Code::RangeInvalid => out_of_range(call, repo, digest, error).await,
        answer => answer,
    }
}

async fn read(call: &Call<'_>, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
    if range.is_some() || call.options.verify {
        return call.registry.get_blob(repo, digest, range).await;
    }
    // What a registry verifies is a blob, not the part of it that begins with its first byte.
    match call.registry.get_blob(repo, digest, Some(ByteRange::From(0))).await {
        // A blob of nothing has no such part, and not every registry has parts.
        Err(error) if matches!(error.code(), Code::RangeInvalid | Code::Unsupported) => {
            call.registry.get_blob(repo, digest, None).await
        }
        blob => blob,
    }
}

pub(super) async fn head(call: &Call<'_>, repo: &RepoName, digest: &Digest) -> Result<Response<ResponseBody>> {
    let descriptor = call.registry.head_blob(repo, digest).await?;
    if client_has(call.headers, digest) {
        return not_modified(digest);
    }
    let headers = [
        (header::CONTENT_LENGTH, descriptor.size.to_string()),
        (header::CONTENT_TYPE, OCTET_STREAM.to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag(digest)),
        (wire::CONTENT_DIGEST, digest.to_string()),
    ];
    reply(StatusCode::OK, headers, Body::new(None, futures_util::stream::empty()))
}

/// Stores a blob that comes whole in one request.
pub(super) async fn store(
    call: &Call<'_>,
    repo: &RepoName,
    digest: &Digest,
    body: Body,
) -> Result<Response<ResponseBody>> {
    match body.len() {
        Some(size) => {
            let descriptor = Descriptor::new(OCTET_STREAM, digest.clone(), size);
            call.registry.put_blob(repo, &descriptor, body).await?;
        }
        None => {
            let options = UploadOptions { algorithm: digest.algorithm(), ..Default::default() };
            let mut upload = call.registry.upload_blob(repo, options).await?;
            if let Err(error) = upload.append(body).await {
                // The client has no name for this session; the first error is the one to tell.
                let _ = upload.cancel().await;
                return Err(error);
            }
            upload.commit(digest).await?;
        }
    }
    created(repo, digest)
}

/// Says that a blob is there now.
pub(super) fn created(repo: &RepoName, digest: &Digest) -> Result<Response<ResponseBody>> {
    let location = Endpoint::Blob(repo.clone(), digest.clone()).to_string();
    empty(StatusCode::CREATED, [(header::LOCATION, location), (wire::CONTENT_DIGEST, digest.to_string())])
}

pub(super) async fn delete(call: &Call<'_>, repo: &RepoName, digest: &Digest) -> Result<Response<ResponseBody>> {
    call.registry.delete_blob(repo, digest).await?;
    empty(StatusCode::ACCEPTED, [])
}

/// The range that is asked for, unless the client holds to a part of other content (RFC 9110, 13.1.5).
fn asked_range(headers: &HeaderMap, digest: &Digest) -> Result<Option<ByteRange>> {
    let Some(range) = wire::text(headers, &header::RANGE) else { return Ok(None) };
    if wire::text(headers, &header::IF_RANGE).is_some_and(|tag| tag != etag(digest)) {
        return Ok(None);
    }
    wire::parse_range(range)
}

fn whole(blob: Blob) -> Result<Response<ResponseBody>> {
    let digest = &blob.descriptor.digest;
    let headers = [
        (header::CONTENT_TYPE, OCTET_STREAM.to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag(digest)),
        (wire::CONTENT_DIGEST, digest.to_string()),
    ];
    let all = 0..blob.descriptor.size;
    reply(StatusCode::OK, headers, blob.narrow(all)?)
}

fn part(blob: Blob, range: ByteRange) -> Result<Response<ResponseBody>> {
    let size = blob.descriptor.size;
    let range = range.of(size)?;
    let digest = &blob.descriptor.digest;
    let headers = [
        (header::CONTENT_TYPE, OCTET_STREAM.to_owned()),
        (header::CONTENT_RANGE, wire::content_range(&range, size)),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag(digest)),
        (wire::CONTENT_DIGEST, digest.to_string()),
    ];
    // A registry below that ignores ranges sends more; the client gets what it asked for.
    reply(StatusCode::PARTIAL_CONTENT, headers, blob.narrow(range)?)
}

/// Refuses a range, naming the size as RFC 9110, 15.5.17 has it.
async fn out_of_range(
    call: &Call<'_>,
    repo: &RepoName,
    digest: &Digest,
    error: skep_registry::Error,
) -> Result<Response<ResponseBody>> {
    let size = call.registry.head_blob(repo, digest).await?.size;
    let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE.as_u16(), &error);
    let value = format!("bytes */{size}").parse().expect("digits and punctuation can stand in a header");
    response.headers_mut().insert(header::CONTENT_RANGE, value);
    Ok(response)
}
