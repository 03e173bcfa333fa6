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
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use futures_util::TryStreamExt;
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

use crate::endpoint::Endpoint;
use crate::wire;

pub use listen::serve;
pub use reply::ResponseBody;

/// Bounds of what a [`Server`] takes and gives.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Bytes of the largest manifest; larger ones are refused with 413. 4 MiB, as the specification has it.
    pub max_manifest: u64,
    /// Items of the longest page of a list, whatever the client asks for. At least 1.
    pub max_page: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { max_manifest: MAX_MANIFEST, max_page: 10_000 }
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
        let path = parts.uri.path();
        let (endpoint, result) = match Endpoint::parse(path) {
            Ok(Some(endpoint)) => {
                let query = query::Query::parse(parts.uri.query());
                let result = self.dispatch(&endpoint, &parts.method, &query, &parts.headers, body).await;
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
        response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        // Types of manifests are the client's choice; a browser must not look for a better one.
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if parts.method == Method::HEAD {
            response.body_mut().omit();
        }
        log(&parts.method, path, &parts.headers, &response);
        response
    }

    async fn dispatch(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        query: &query::Query,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response<ResponseBody>> {
        let registry = &*self.registry;
        match (endpoint, method.as_str()) {
            (Endpoint::Base, "GET" | "HEAD") => reply::json(StatusCode::OK, [], &serde_json::json!({})),

            (Endpoint::Blob(repo, digest), "GET") => blob::get(registry, repo, digest, headers).await,
            (Endpoint::Blob(repo, digest), "HEAD") => blob::head(registry, repo, digest, headers).await,
            (Endpoint::Blob(repo, digest), "PUT") => blob::store(registry, repo, digest, body).await,
            (Endpoint::Blob(repo, digest), "DELETE") => blob::delete(registry, repo, digest).await,

            (Endpoint::Manifest(repo, name), "GET") => manifest::get(registry, repo, name, headers).await,
            (Endpoint::Manifest(repo, name), "HEAD") => manifest::head(registry, repo, name, headers).await,
            (Endpoint::Manifest(repo, name), "PUT") => {
                let max = self.options.max_manifest;
                manifest::put(registry, repo, name, query, headers, body, max).await
            }
            (Endpoint::Manifest(repo, name), "DELETE") => manifest::delete(registry, repo, name).await,

            (Endpoint::Uploads(repo), "POST") => upload::post(registry, repo, query, body).await,
            (Endpoint::Upload(repo, id), "GET" | "HEAD") => upload::status(registry, repo, id).await,
            (Endpoint::Upload(repo, id), "PATCH") => upload::patch(registry, repo, id, headers, body).await,
            (Endpoint::Upload(repo, id), "PUT") => upload::put(registry, repo, id, query, headers, body).await,
            (Endpoint::Upload(repo, id), "DELETE") => upload::cancel(registry, repo, id).await,

            (Endpoint::Tags(repo), "GET" | "HEAD") => list::tags(registry, repo, query, self.options.max_page).await,
            (Endpoint::Catalog, "GET" | "HEAD") => list::repos(registry, query, self.options.max_page).await,
            (Endpoint::Referrers(repo, subject), "GET" | "HEAD") => {
                list::referrers(registry, repo, subject, query, self.options.max_page).await
            }

            _ => Err(Error::new(Code::Unsupported, format!("method {:?} of {endpoint}", method.as_str()))),
        }
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
        let request = request.map(request_body);
        Box::pin(async move { Ok(server.answer(request).await) })
    }
}

fn request_body<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let len = body.size_hint().exact();
    let broke_off = |error: B::Error| Error::new(Code::SizeInvalid, "the request broke off").with_source(error);
    let body = Body::new(len, BodyDataStream::new(body).map_err(broke_off));
    match len {
        Some(len) => body.exactly(len),
        None => body,
    }
}

/// The one edge where an error becomes an answer.
fn refuse(status: u16, error: &Error) -> Response<ResponseBody> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(error = format_args!("{:?}", Causes(error).to_string()), "request failed");
    }
    reply::json(status, [], &ErrorBody::from(error)).expect("an error body has no header of foreign text")
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

/// What Docker's clients look for before anything else.
const API_VERSION: &str = "docker-distribution-api-version";
