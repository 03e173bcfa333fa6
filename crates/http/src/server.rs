//! The server: offers any registry over HTTP, as a tower service.

mod blob;
mod list;
mod listen;
mod manifest;
mod query;
mod reply;
mod upload;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::BodyDataStream;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::ErrorBody;
use skep_registry::MAX_MANIFEST;
use skep_registry::Registry;
use skep_registry::Result;
use tokio::task::JoinError;
use tracing::Instrument;

use crate::endpoint::Endpoint;
use crate::server::query::Query;
use crate::wire;

pub use listen::serve;
pub use reply::ResponseBody;

/// Bounds of what a [`Server`] takes and gives.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Bytes of the largest manifest; larger ones are refused with 413. 4 MiB, and never more.
    pub max_manifest: u64,
    /// Items of the longest page of a list, whatever the client asks for. At least 1.
    pub max_page: usize,
    /// How long a client that is sending a body may send nothing; then the request is refused with 408. 5 minutes,
    /// which is how long a client that copies from elsewhere may be asked to wait there.
    pub body_timeout: Duration,
    /// Whether a blob that is asked for as a whole is held to its digest on its way, and broken off if it is another.
    /// It is, and that takes more of a processor than all else about a blob; clients of registries do it again.
    pub verify: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { max_manifest: MAX_MANIFEST, max_page: 10_000, body_timeout: Duration::from_secs(300), verify: true }
    }
}

/// Offers a registry over HTTP (distribution-spec 1.1).
///
/// A tower service that never fails: every error of the registry becomes an answer with a JSON body. Blobs
/// are streamed both ways. Clones share the registry. Who may do what is decided before it, by a service
/// around it, or below it, by a filter around the registry.
#[derive(Clone, Debug)]
pub struct Server {
    registry: Arc<dyn Registry>,
    options: Arc<ServerOptions>,
}

impl Server {
    /// Offers a registry.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self::with_options(registry, ServerOptions::default())
    }

    /// Offers a registry, within bounds of the caller's choice.
    pub fn with_options(registry: Arc<dyn Registry>, options: ServerOptions) -> Self {
        Self { registry, options: Arc::new(options) }
    }

    async fn answer(&self, request: Request<Body>) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        let (body, lent) = lend(body);
        let path = parts.uri.path();
        let (endpoint, result) = match Endpoint::parse(path) {
            Ok(Some(endpoint)) => {
                let query = Query::parse(parts.uri.query());
                let (registry, options) = (&*self.registry, &*self.options);
                let call = Call { registry, options, query: &query, headers: &parts.headers };
                let result = dispatch(&call, &endpoint, &parts.method, body).await;
                (Some(endpoint), result)
            }
            Ok(None) => (None, Err(Error::new(Code::Unknown, format!("no such endpoint: {path:?}")).with_status(404))),
            Err(error) => (None, Err(error)),
        };
        let mut response = result.unwrap_or_else(|error| refuse(error.status(), &error));
        if response.status() == StatusCode::METHOD_NOT_ALLOWED
            && let Some(endpoint) = &endpoint
        {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(endpoint.methods()));
        }
        response.headers_mut().insert(wire::API_VERSION, HeaderValue::from_static("registry/2.0"));
        // Types of manifests are the client's choice; a browser must not look for a better one.
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if response.status().is_client_error() && !parts.headers.contains_key(header::EXPECT) {
            drain(&lent).await;
        }
        if parts.method == Method::HEAD {
            response.body_mut().omit();
        }
        log(&parts.method, path, &parts.headers, &response);
        response
    }
}

impl<B> tower::Service<Request<B>> for Server
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        let timeout = self.options.body_timeout;
        let request = request.map(|body| request_body(body, timeout));
        Box::pin(async move {
            if !matches!(*request.method(), Method::PATCH | Method::PUT) {
                return Ok(server.answer(request).await);
            }
            // When its connection breaks, this future is dropped before the body says so. What came of a chunk is to
            // be kept, and what came whole to be stored, whether anybody hears of it or not.
            let answer = async move { server.answer(request).await };
            match tokio::spawn(answer.in_current_span()).await.map_err(JoinError::try_into_panic) {
                Ok(answer) => Ok(answer),
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // The runtime is going down, and this with it.
                Err(Err(_)) => std::future::pending().await,
            }
        })
    }
}

/// What the answers to all requests are made of.
struct Call<'a> {
    registry: &'a dyn Registry,
    options: &'a ServerOptions,
    query: &'a Query,
    headers: &'a HeaderMap,
}

async fn dispatch(call: &Call<'_>, endpoint: &Endpoint, method: &Method, body: Body) -> Result<Response<ResponseBody>> {
    match (endpoint, method.as_str()) {
        (Endpoint::Base, "GET" | "HEAD") => reply::json(StatusCode::OK, [], &serde_json::json!({})),

        (Endpoint::Blob(repo, digest), "GET") => blob::get(call, repo, digest).await,
        (Endpoint::Blob(repo, digest), "HEAD") => blob::head(call, repo, digest).await,
        // Not in the specification; some clients know no other way to write.
        (Endpoint::Blob(repo, digest), "PUT") => blob::store(call, repo, digest, body).await,
        (Endpoint::Blob(repo, digest), "DELETE") => blob::delete(call, repo, digest).await,

        (Endpoint::Manifest(repo, reference), "GET") => manifest::get(call, repo, reference).await,
        (Endpoint::Manifest(repo, reference), "HEAD") => manifest::head(call, repo, reference).await,
        (Endpoint::Manifest(repo, reference), "PUT") => manifest::put(call, repo, reference, body).await,
        (Endpoint::Manifest(repo, reference), "DELETE") => manifest::delete(call, repo, reference).await,

        (Endpoint::Uploads(repo), "POST") => upload::post(call, repo, body).await,
        (Endpoint::Upload(repo, id), "GET" | "HEAD") => upload::status(call, repo, id).await,
        (Endpoint::Upload(repo, id), "PATCH") => upload::patch(call, repo, id, body).await,
        (Endpoint::Upload(repo, id), "PUT") => upload::put(call, repo, id, body).await,
        (Endpoint::Upload(repo, id), "DELETE") => upload::cancel(call, repo, id).await,

        (Endpoint::Catalog, "GET" | "HEAD") => list::repos(call).await,
        (Endpoint::Referrers(repo, subject), "GET" | "HEAD") => list::referrers(call, repo, subject).await,
        (Endpoint::Tags(repo), "GET" | "HEAD") => list::tags(call, repo).await,

        _ => Err(Error::new(Code::Unsupported, format!("method {:?} of {endpoint}", method.as_str()))),
    }
}

/// The body of a request, which ends with an error when nothing comes for as long as `timeout`.
fn request_body<B>(body: B, timeout: Duration) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let len = body.size_hint().exact();
    let broke_off = |error: B::Error| Error::new(Code::SizeInvalid, "the request broke off").with_source(error);
    let parts = Box::pin(BodyDataStream::new(body).map_err(broke_off));
    let parts = stream::unfold(Some(parts), move |parts| async move {
        let mut parts = parts?;
        match tokio::time::timeout(timeout, parts.next()).await {
            Ok(part) => part.map(|part| (part, Some(parts))),
            Err(_) => {
                let code = Code::Other("REQUEST_TIMEOUT".to_owned());
                let error = Error::new(code, format!("nothing of the body came for {timeout:?}")).with_status(408);
                Some((Err(error), None))
            }
        }
    });
    // A refused request is read to its end, which may have come before.
    let body = Body::new(len, parts.fuse());
    match len {
        Some(len) => body.exactly(len),
        None => body,
    }
}

/// A body to be read by whoever answers, and what they leave of it.
fn lend(body: Body) -> (Body, Arc<Mutex<Body>>) {
    let (len, lent) = (body.len(), Arc::new(Mutex::new(body)));
    let shared = lent.clone();
    (Body::new(len, stream::poll_fn(move |cx| lock(&shared).poll_next_unpin(cx))), lent)
}

/// Reads what a refused request still sends: a client that is sending when the connection closes would not
/// see the answer. One that waits for permission to send is better left waiting.
async fn drain(lent: &Mutex<Body>) {
    let mut drained = 0;
    while drained < MAX_DRAINED
        && let Some(Ok(part)) = std::future::poll_fn(|cx| lock(lent).poll_next_unpin(cx)).await
    {
        drained += part.len();
    }
}

fn lock(lent: &Mutex<Body>) -> MutexGuard<'_, Body> {
    // Whoever panicked in a body has left it at an error or at its end.
    lent.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// The one edge where an error becomes an answer.
fn refuse(status: u16, error: &Error) -> Response<ResponseBody> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(error = format_args!("{:?}", Causes(error).to_string()), "request failed");
    }
    let mut response =
        reply::json(status, [], &ErrorBody::from(error)).expect("an error body has no header of foreign text");
    if let Some(wait) = error.retry_after() {
        // Rounded up: who comes too early waits twice.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An error with everything that caused it, on one line.
struct Causes<'a>(&'a Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = std::error::Error::source(self.0);
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

/// Tells of a request in one line; what the client chose is escaped.
fn log(method: &Method, path: &str, headers: &HeaderMap, response: &Response<ResponseBody>) {
    let range = headers.get(header::RANGE).map(|range| String::from_utf8_lossy(range.as_bytes()).into_owned());
    tracing::info!(
        method = method.as_str(),
        path = format_args!("{:?}", path),
        status = response.status().as_u16(),
        bytes = wire::text(response.headers(), &header::CONTENT_LENGTH).and_then(wire::number),
        range = range.map(tracing::field::debug),
        "request"
    );
}

/// Bytes of a refused request that are read nevertheless.
const MAX_DRAINED: usize = 64 << 20;
