//! Uploads over HTTP: sessions by their opaque name, chunks in their order, mounts.

use http::HeaderMap;
use http::Response;
use http::StatusCode;
use http::header;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Mount;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Upload;
use skep_registry::UploadOptions;

use crate::endpoint::Endpoint;
use crate::server::Call;
use crate::server::blob;
use crate::server::reply::ResponseBody;
use crate::server::reply::empty;
use crate::server::reply::reply;
use crate::wire;

/// Mounts a blob, or stores one in one go, or begins an upload.
pub(super) async fn post(call: &Call<'_>, repo: &RepoName, body: Body) -> Result<Response<ResponseBody>> {
    let algorithm = call.query.get("digest-algorithm").map(str::parse::<Algorithm>).transpose()?;
    let digest = call.query.get("digest").map(str::parse::<Digest>).transpose()?;
    let mount = call.query.get("mount").map(str::parse::<Digest>).transpose()?;
    let from = call.query.get("from").map(str::parse::<RepoName>).transpose()?;
    let algorithm = algorithm.or(mount.as_ref().map(Digest::algorithm)).unwrap_or_default();
    if let Some(mount) = mount {
        match call.registry.mount_blob(repo, &mount, from.as_ref()).await {
            Ok(Mount::Mounted) => return blob::created(repo, &mount),
            Ok(Mount::Upload(upload)) => return state(StatusCode::ACCEPTED, repo, &*upload),
            // spec, end-11: "unable to mount the requested blob, it SHOULD return a 202".
            Err(error) if error.is_not_found() || matches!(error.code(), Code::Denied | Code::Unsupported) => {}
            Err(error) => return Err(error),
        }
    } else if let Some(digest) = digest {
        return blob::store(call, repo, &digest, body).await;
    }
    let upload = call.registry.upload_blob(repo, UploadOptions { algorithm, ..Default::default() }).await?;
    state(StatusCode::ACCEPTED, repo, &*upload)
}

pub(super) async fn status(call: &Call<'_>, repo: &RepoName, id: &str) -> Result<Response<ResponseBody>> {
    let upload = resume(call, repo, id, Algorithm::default()).await?;
    state(StatusCode::NO_CONTENT, repo, &*upload)
}

pub(super) async fn patch(call: &Call<'_>, repo: &RepoName, id: &str, body: Body) -> Result<Response<ResponseBody>> {
    let mut upload = resume(call, repo, id, Algorithm::default()).await?;
    append(&mut *upload, call.headers, body).await?;
    state(StatusCode::ACCEPTED, repo, &*upload)
}

pub(super) async fn put(call: &Call<'_>, repo: &RepoName, id: &str, body: Body) -> Result<Response<ResponseBody>> {
    let Some(digest) = call.query.get("digest") else {
        return Err(Error::new(Code::DigestInvalid, "the parameter digest is missing"));
    };
    let digest: Digest = digest.parse()?;
    let mut upload = resume(call, repo, id, digest.algorithm()).await?;
    // Some clients send a Content-Range of less than nothing with a body of nothing.
    if !body.is_empty() {
        append(&mut *upload, call.headers, body).await?;
    }
    upload.commit(&digest).await?;
    blob::created(repo, &digest)
}

pub(super) async fn cancel(call: &Call<'_>, repo: &RepoName, id: &str) -> Result<Response<ResponseBody>> {
    resume(call, repo, id, Algorithm::default()).await?.cancel().await?;
    empty(StatusCode::NO_CONTENT, [])
}

async fn resume(call: &Call<'_>, repo: &RepoName, id: &str, algorithm: Algorithm) -> Result<Box<dyn Upload>> {
    call.registry.upload_blob(repo, UploadOptions { resume: Some(id.to_owned()), algorithm }).await
}

/// Adds a chunk where the upload stands, or a stream of unknown length that does not say where it belongs.
async fn append(upload: &mut dyn Upload, headers: &HeaderMap, body: Body) -> Result<()> {
    let Some(header) = wire::text(headers, &header::CONTENT_RANGE) else { return upload.append(body).await };
    let Some(range) = wire::parse_chunk_range(header) else {
        return Err(Error::new(Code::BlobUploadInvalid, format!("Content-Range {header:?} is not first-last")));
    };
    // spec, "Pushing a blob in chunks": "If a chunk is uploaded out of order, the registry MUST respond with a 416".
    if range.start != upload.offset() {
        let message = format!("the upload stands at byte {}, the chunk begins at {}", upload.offset(), range.start);
        return Err(Error::new(Code::RangeInvalid, message));
    }
    let len = range.end - range.start;
    if let Some(came) = body.len()
        && came != len
    {
        let message = format!("Content-Range {header:?} has {len} bytes, the chunk has {came}");
        return Err(Error::new(Code::SizeInvalid, message));
    }
    upload.append(body.exactly(len)).await
}

/// Says where an upload is and how far it has come.
fn state(status: StatusCode, repo: &RepoName, upload: &dyn Upload) -> Result<Response<ResponseBody>> {
    let mut headers = vec![
        (header::LOCATION, Endpoint::Upload(repo.clone(), upload.id().to_owned()).to_string()),
        (header::RANGE, wire::upload_range(upload.offset())),
        (wire::UPLOAD_OFFSET, upload.offset().to_string()),
    ];
    if upload.min_chunk() > 0 {
        headers.push((wire::CHUNK_MIN_LENGTH, upload.min_chunk().to_string()));
    }
    reply(status, headers, Body::empty())
}
