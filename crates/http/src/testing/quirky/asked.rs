//! Requests, taken apart and put together again.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::Method;
use http::Request;
use http::header;
use http::request::Parts;
use http_body::Frame;
use http_body::SizeHint;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use skep_registry::RepoName;
use tower::BoxError;
use url::form_urlencoded;

use crate::endpoint::Endpoint;
use crate::wire;

/// The body of a request on its way through a double.
#[derive(Debug)]
pub struct RequestBody(UnsyncBoxBody<Bytes, BoxError>);

impl RequestBody {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }

    pub(super) fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// Reads what a refused request still sends, so that its client gets to see the answer.
    pub(super) async fn drain(mut self) {
        while let Some(Ok(_)) = self.0.frame().await {}
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A request without its body.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    /// Decoded, in its order.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// Whom the client believes to speak to, with the port.
    pub(super) host: String,
}

impl Asked {
    pub(super) fn new(parts: Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let host = authority.or_else(|| wire::text(&parts.headers, &header::HOST)).unwrap_or("localhost").to_owned();
        Self {
            path: parts.uri.path().to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            method: parts.method,
            headers: parts.headers,
            host,
        }
    }

    /// What the path names; none if it is nothing, or malformed.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::parse(&self.path).ok().flatten()
    }

    pub(super) fn text(&self, name: &HeaderName) -> Option<&str> {
        wire::text(&self.headers, name)
    }

    /// Bytes of the body, if they are announced.
    pub(super) fn length(&self) -> Option<u64> {
        self.text(&header::CONTENT_LENGTH).and_then(wire::number)
    }

    /// The first parameter of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Removes the parameters of a name.
    pub(super) fn remove(&mut self, name: &str) {
        self.query.retain(|(key, _)| key != name);
    }

    /// Gives a parameter a value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.query.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// A question without a body about a path, from the same client.
    pub(super) fn about(&self, method: Method, path: String) -> Self {
        Self { method, path, query: Vec::new(), headers: HeaderMap::new(), host: self.host.clone() }
    }

    pub(super) fn into_request(self, body: RequestBody) -> Request<RequestBody> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
        let target = if query.is_empty() { self.path } else { format!("{}?{query}", self.path) };
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = target.parse().expect("a path that came as one, and an encoded query, are a target");
        *request.headers_mut() = self.headers;
        request
    }
}

/// The repository that an endpoint is in.
pub(super) fn repo_of(endpoint: &Endpoint) -> Option<&RepoName> {
    match endpoint {
        Endpoint::Base | Endpoint::Catalog => None,
        Endpoint::Blob(repo, _)
        | Endpoint::Manifest(repo, _)
        | Endpoint::Referrers(repo, _)
        | Endpoint::Tags(repo)
        | Endpoint::Upload(repo, _)
        | Endpoint::Uploads(repo) => Some(repo),
    }
}
