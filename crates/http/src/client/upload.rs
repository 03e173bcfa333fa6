//! Uploads to a registry: in one go, in chunks, taken up again, or mounted.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Upload;
use url::Url;

use crate::auth::Scope;
use crate::client::Client;
use crate::client::answer::Answer;
use crate::client::blob;
use crate::client::send::Request;
use crate::client::send::place;
use crate::client::send::same_origin;
use crate::client::transport::Line;
use crate::endpoint::Endpoint;
use crate::wire;

/// Stores a blob: a small one with a single POST where the registry can take it, others with POST and PUT.
pub(super) async fn put(client: &Client, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
    if let Some(len) = body.len()
        && len != descriptor.size
    {
        let message = format!("{}: expected {} bytes, got {len}", descriptor.digest, descriptor.size);
        return Err(Error::new(Code::SizeInvalid, message));
    }
    let mut body = body.exactly(descriptor.size);
    let mut begun = None;
    if (1..=MAX_POSTED).contains(&descriptor.size) && client.inner.single_post.load(Ordering::Relaxed) != POST_FAILS {
        let bytes = body.bytes(MAX_POSTED).await?;
        match post(client, repo, &descriptor.digest, bytes.clone()).await? {
            Posted::Stored => return Ok(()),
            Posted::Begun(upload) => begun = Some(upload),
            Posted::Refused => {}
        }
        body = Body::from(bytes);
    }
    let upload = match begun {
        Some(upload) => upload,
        None => HttpUpload::begin(client, repo, descriptor.digest.algorithm()).await?,
    };
    let stored = upload.finish(&descriptor.digest, Some(body)).await;
    if let Err(error) = &stored
        && *error.code() != Code::Unavailable
    {
        upload.abandon().await;
    }
    stored
}

/// What a registry made of a POST with all bytes of a blob.
enum Posted {
    Stored,
    /// It began an upload and forgot the bytes, as it may (spec, "Single POST").
    Begun(HttpUpload),
    Refused,
}

/// Sends a blob with a single POST. What a registry cannot do it is not asked for again.
async fn post(client: &Client, repo: &RepoName, digest: &Digest, bytes: Bytes) -> Result<Posted> {
    let state = &client.inner.single_post;
    let mut url = client.url(&Endpoint::Uploads(repo.clone()));
    url.query_pairs_mut().append_pair("digest", digest.as_str());
    let request = Request::new(Method::POST, url, Scope::push(repo)).commits();
    let answer = client.send(request.header(header::CONTENT_TYPE, OCTET_STREAM)?.bytes(bytes)).await?;
    match answer.status() {
        201 => {
            check_stored(&answer, digest)?;
            // Whether it is true is asked once: answers are cheap.
            let works = state.load(Ordering::Relaxed) == POST_WORKS || blob::head(client, repo, digest).await.is_ok();
            state.store(if works { POST_WORKS } else { POST_FAILS }, Ordering::Relaxed);
            Ok(if works { Posted::Stored } else { Posted::Refused })
        }
        202 => {
            state.store(POST_FAILS, Ordering::Relaxed);
            HttpUpload::of(client, repo, &answer).map(Posted::Begun)
        }
        // These would be said of the usual request too, and were asked for as often as there are attempts.
        401 | 403 | 404 | 429 | 502..=504 => Err(answer.into_error(Code::NameUnknown).await),
        // The usual request says what is wrong, if anything is wrong but this one.
        _ => {
            state.store(POST_FAILS, Ordering::Relaxed);
            Ok(Posted::Refused)
        }
    }
}

pub(super) async fn mount(client: &Client, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
    let mut url = client.url(&Endpoint::Uploads(repo.clone()));
    url.query_pairs_mut().append_pair("mount", digest.as_str());
    if let Some(from) = from {
        url.query_pairs_mut().append_pair("from", from.as_str());
    }
    let scope = match from {
        Some(from) if from != repo => Scope::mount(repo, from),
        _ => Scope::push(repo),
    };
    let answer = client.send(Request::new(Method::POST, url, scope)).await?;
    let answer = answer.expect(&[201, 202], Code::BlobUnknown).await?;
    Ok(match answer.status() {
        201 => Mount::Mounted,
        _ => Mount::Upload(Box::new(HttpUpload::of(client, repo, &answer)?)),
    })
}

/// A session at a registry, named by the URL that the registry gave it.
#[derive(Debug)]
pub(super) struct HttpUpload {
    client: Client,
    repo: RepoName,
    url: Url,
    offset: u64,
    min_chunk: u64,
}

impl HttpUpload {
    pub(super) async fn begin(client: &Client, repo: &RepoName, algorithm: Algorithm) -> Result<Self> {
        let mut url = client.url(&Endpoint::Uploads(repo.clone()));
        if algorithm != Algorithm::Sha256 {
            url.query_pairs_mut().append_pair("digest-algorithm", algorithm.as_str());
        }
        let answer = client.send(Request::new(Method::POST, url, Scope::push(repo))).await?;
        let answer = answer.expect(&[202], Code::NameUnknown).await?;
        Self::of(client, repo, &answer)
    }

    pub(super) async fn resume(client: &Client, repo: &RepoName, id: &str) -> Result<Self> {
        let unknown = || Error::new(Code::BlobUploadUnknown, format!("{id:?}"));
        let url = Url::parse(id).map_err(|error| unknown().with_source(error))?;
        // Whoever names a session may not be the one who began it: through a server over this client for instance.
        // The client goes with its credentials only where sessions of this repository are.
        let uploads = Endpoint::Uploads(repo.clone()).to_string();
        let is_foreign = url.path().starts_with("/v2/") && !url.path().starts_with(&uploads);
        if !same_origin(&url, &client.inner.base) || is_foreign {
            return Err(unknown());
        }
        let answer = client.send(Request::get(url.clone(), Scope::push(repo))).await?;
        let answer = answer.expect(&[204], Code::BlobUploadUnknown).await.map_err(|error| match error.code() {
            // distribution ends a session that has more bytes than it acknowledged, and calls it invalid.
            Code::BlobUploadInvalid => unknown().with_source(error),
            _ => error,
        })?;
        let mut upload = Self { client: client.clone(), repo: repo.clone(), url, offset: 0, min_chunk: 0 };
        upload.offset = acknowledged(&answer)
            .ok_or_else(|| Error::new(Code::Unsupported, format!("{}: no Range of bytes", place(&upload.url))))?;
        upload.follow(&answer)?;
        Ok(upload)
    }

    /// The session that an answer is about, which has no bytes yet.
    fn of(client: &Client, repo: &RepoName, answer: &Answer) -> Result<Self> {
        let url = answer.url().clone();
        let mut upload = Self { client: client.clone(), repo: repo.clone(), url, offset: 0, min_chunk: 0 };
        if !upload.follow(answer)? {
            let message = format!("{}: no Location of an upload", place(answer.url()));
            return Err(Error::new(Code::Unsupported, message));
        }
        Ok(upload)
    }

    /// Goes where the next request of the session belongs; tells whether the answer named such a place.
    ///
    /// spec: "Each consecutive chunk upload SHOULD use the <blob-push-location> provided in the response".
    fn follow(&mut self, answer: &Answer) -> Result<bool> {
        if let Some(min) = answer.text(&wire::CHUNK_MIN_LENGTH).and_then(wire::number) {
            self.min_chunk = min;
        }
        let Some(location) = answer.text(&header::LOCATION) else { return Ok(false) };
        self.url = self.client.resolve(answer.url(), location)?;
        Ok(true)
    }

    /// Ends the session with all bytes, or with those that it has.
    async fn finish(&self, digest: &Digest, body: Option<Body>) -> Result<()> {
        let mut url = self.url.clone();
        // The query that is there may be a part of the session's name.
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut request = Request::new(Method::PUT, url, Scope::push(&self.repo)).commits();
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, OCTET_STREAM)?.over(Line::Own).stream(body);
        }
        let answer = self.client.send(request).await;
        // The session is over, if the answer to the request that ended it was lost.
        let may_be_done = match &answer {
            Ok(answer) => answer.is_repeated() && answer.status() == 404,
            Err(error) => *error.code() == Code::Unavailable,
        };
        if may_be_done && blob::head(&self.client, &self.repo, digest).await.is_ok() {
            return Ok(());
        }
        let answer = answer?.expect(&[201, 200, 204], Code::BlobUploadUnknown).await?;
        check_stored(&answer, digest)
    }

    /// Frees what the session holds, if the registry lets us.
    ///
    /// spec, "Cancel a blob upload": "Clients SHOULD ignore any failures."
    async fn abandon(&self) {
        let request = Request::new(Method::DELETE, self.url.clone(), Scope::push(&self.repo));
        if let Err(error) = self.client.send(request).await {
            tracing::debug!(%error, "upload not cancelled");
        }
    }
}

#[async_trait]
impl Upload for HttpUpload {
    fn id(&self) -> &str {
        self.url.as_str()
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn min_chunk(&self) -> u64 {
        self.min_chunk
    }

    async fn append(&mut self, body: Body) -> Result<()> {
        if body.is_empty() {
            return Ok(());
        }
        let len = body.len();
        let mut request = Request::new(Method::PATCH, self.url.clone(), Scope::push(&self.repo))
            .header(header::CONTENT_TYPE, OCTET_STREAM)?
            .over(Line::Own);
        // A stream that does not know its length goes to where the session stands.
        if let Some(len) = len {
            let range = self.offset..self.offset + len;
            request = request.header(header::CONTENT_RANGE, &wire::chunk_range(&range))?;
        }
        let answer = self.client.send(request.stream(body)).await?;
        let answer = answer.expect(&[202, 201, 204], Code::BlobUploadUnknown).await?;
        self.follow(&answer)?;
        let want = len.map(|len| self.offset + len);
        match (acknowledged(&answer), want) {
            // `0-0` after a chunk of one byte means one byte.
            (Some(0) | None, Some(want)) if want <= 1 => self.offset = want,
            (None, Some(want)) => self.offset = want,
            (Some(got), want) => {
                self.offset = got;
                if let Some(want) = want
                    && want != got
                {
                    let message = format!("the upload should have {want} bytes, the registry says it has {got}");
                    return Err(Error::new(Code::RangeInvalid, message));
                }
            }
            (None, None) => {
                return Err(Error::new(Code::Unsupported, format!("{}: no Range of bytes", place(&self.url))));
            }
        }
        Ok(())
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor> {
        self.finish(digest, None).await?;
        Ok(Descriptor::new(OCTET_STREAM, digest.clone(), self.offset))
    }

    async fn cancel(self: Box<Self>) -> Result<()> {
        self.abandon().await;
        Ok(())
    }
}

/// Checks what the registry says that it stored, if it says it.
fn check_stored(answer: &Answer, digest: &Digest) -> Result<()> {
    match answer.digest() {
        Some(stored) if stored.algorithm() == digest.algorithm() && stored != *digest => {
            Err(Error::new(Code::DigestInvalid, format!("expected {digest}, the registry stored {stored}")))
        }
        _ => Ok(()),
    }
}

/// Bytes that the registry says it has.
fn acknowledged(answer: &Answer) -> Option<u64> {
    let exact = answer.text(&wire::UPLOAD_OFFSET).and_then(wire::number);
    exact.or_else(|| answer.text(&header::RANGE).and_then(wire::parse_upload_range))
}

/// Nobody knows whether the registry takes a blob with a single POST.
pub(super) const POST_UNTRIED: u8 = 0;
const POST_WORKS: u8 = 1;
const POST_FAILS: u8 = 2;

/// Bytes of the largest blob that is sent with a single POST: what costs less than a round trip if it is for nothing.
const MAX_POSTED: u64 = 64 << 10;
