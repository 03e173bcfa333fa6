//! Blobs from a registry: whole or in part, and what a registry may leave out.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use http::Method;
use http::header;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::OCTET_STREAM;
use skep_registry::RepoName;
use skep_registry::Result;

use crate::auth::Scope;
use crate::client::Client;
use crate::client::answer::Answer;
use crate::client::resume::Lasting;
use crate::client::resume::resumed;
use crate::client::resume::wrong_range;
use crate::client::retry::Patience;
use crate::client::retry::RetryOptions;
use crate::client::send::Request;
use crate::client::transport::Line;
use crate::endpoint::Endpoint;
use crate::wire;

pub(super) async fn get(client: &Client, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
    if let Some(range) = range {
        // A range of nothing cannot be written in a header.
        range.of(u64::MAX)?;
    }
    let answer = request(client, repo, digest, range).await?;
    let content_range = answer.text(&header::CONTENT_RANGE).and_then(wire::parse_content_range);
    match (answer.status(), range) {
        (206, Some(asked)) => {
            let Some((came, size)) = content_range else {
                return Err(wrong_range(digest, asked, answer.text(&header::CONTENT_RANGE)));
            };
            let size = match size {
                Some(size) => size,
                None => head(client, repo, digest).await?.size,
            };
            if asked.of(size)? != came || answer.length().is_some_and(|length| length != came.end - came.start) {
                return Err(wrong_range(digest, asked, answer.text(&header::CONTENT_RANGE)));
            }
            let body =
                resumed(RemoteBlob::new(client, repo, digest), came.clone(), answer).exactly(came.end - came.start);
            Ok(Blob { descriptor: describe(digest, size), range: came, body })
        }
        _ => {
            let size = match answer.length() {
                Some(size) => size,
                None => head(client, repo, digest).await?.size,
            };
            if let Some(asked) = range {
                asked.of(size)?;
            }
            let body = resumed(RemoteBlob::new(client, repo, digest), 0..size, answer).verify(digest, Some(size));
            Ok(Blob { descriptor: describe(digest, size), range: 0..size, body })
        }
    }
}

pub(super) async fn head(client: &Client, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
    let url = client.url(&Endpoint::Blob(repo.clone(), digest.clone()));
    let request = Request::new(Method::HEAD, url, Scope::pull(repo));
    let answer = client.send(request).await?;
    if answer.status() != 405 {
        let answer = answer.expect(&[200], Code::BlobUnknown).await?;
        if let Some(size) = answer.length() {
            return Ok(describe(digest, size));
        }
    }
    // A registry that does not say the length says it beside a part.
    let answer = self::request(client, repo, digest, Some(ByteRange::Span(0, 1))).await?;
    let content_range = answer.text(&header::CONTENT_RANGE).and_then(wire::parse_content_range);
    let size = if answer.status() == 206 { content_range.and_then(|(_, size)| size) } else { answer.length() };
    match size {
        Some(size) => Ok(describe(digest, size)),
        None => Err(Error::new(Code::Unsupported, format!("the registry does not say the size of {digest}"))),
    }
}

pub(super) async fn delete(client: &Client, repo: &RepoName, digest: &Digest) -> Result<()> {
    let url = client.url(&Endpoint::Blob(repo.clone(), digest.clone()));
    let request = Request::new(Method::DELETE, url, Scope::delete(repo));
    client.send(request).await?.expect_deleted(Code::BlobUnknown).await
}

pub(super) async fn foreign(client: &Client, descriptor: &Descriptor) -> Result<Body> {
    let mut last = Error::new(Code::BlobUnknown, format!("{} names no URL", descriptor.digest));
    for url in &descriptor.urls {
        match foreign_one(client, url).await {
            Ok(answer) => return Ok(answer.into_body().verify(&descriptor.digest, Some(descriptor.size))),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn foreign_one(client: &Client, url: &str) -> Result<Answer> {
    let url = client.resolve(&client.inner.base, url)?;
    let request =
        Request::get(url, Scope::new("")).anonymous().over(Line::Turns).header(header::ACCEPT_ENCODING, "identity")?;
    client.send(request).await?.expect(&[200], Code::BlobUnknown).await
}

/// Asks for a blob or a part of it.
async fn request(client: &Client, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Answer> {
    request_within(client, repo, digest, range, &mut Patience::new(&client.inner.retry)).await
}

/// As [`request`], with what is left of the patience of the caller.
async fn request_within(
    client: &Client,
    repo: &RepoName,
    digest: &Digest,
    range: Option<ByteRange>,
    patience: &mut Patience,
) -> Result<Answer> {
    let url = client.url(&Endpoint::Blob(repo.clone(), digest.clone()));
    // Bytes that were packed on the way are not the ones of the digest.
    let request = Request::get(url, Scope::pull(repo)).over(Line::Turns).lasting();
    let mut request = request.header(header::ACCEPT_ENCODING, "identity")?;
    if let Some(range) = range {
        request = request.header(header::RANGE, &range.to_string())?;
    }
    let statuses: &[u16] = if range.is_some() { &[200, 206] } else { &[200] };
    let answer = client.send_within(request, patience).await?.expect(statuses, Code::BlobUnknown).await?;
    match answer.text(&header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        Some(encoding) => Err(Error::new(Code::Unsupported, format!("{digest} came encoded as {encoding:?}"))),
        None => Ok(answer),
    }
}

fn describe(digest: &Digest, size: u64) -> Descriptor {
    Descriptor::new(OCTET_STREAM, digest.clone(), size)
}

/// A blob in a repository, for asking again.
struct RemoteBlob {
    client: Client,
    repo: RepoName,
    digest: Digest,
}

impl RemoteBlob {
    fn new(client: &Client, repo: &RepoName, digest: &Digest) -> Self {
        Self { client: client.clone(), repo: repo.clone(), digest: digest.clone() }
    }
}

impl fmt::Display for RemoteBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest.fmt(f)
    }
}

#[async_trait]
impl Lasting for RemoteBlob {
    fn retry(&self) -> &RetryOptions {
        &self.client.inner.retry
    }

    async fn ask(&self, range: &Range<u64>, patience: &mut Patience) -> Result<Answer> {
        // Whoever asks for no range at the first byte gets all.
        let range = (range.start > 0).then(|| range.clone().into());
        request_within(&self.client, &self.repo, &self.digest, range, patience).await
    }
}
