//! Replies: responses and the body that they stream.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use http_body::Frame;
use http_body::SizeHint;
use serde::Serialize;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Result;

use crate::body::held;
use crate::wire;

/// The body of a response: bytes of a registry on their way.
#[derive(Debug)]
pub struct ResponseBody {
    body: Option<Body>,
    /// Bytes to come, when that is known.
    rest: Option<u64>,
}

impl ResponseBody {
    /// Says nothing, as is right for HEAD; the headers stay.
    pub(super) fn omit(&mut self) {
        *self = Self { body: None, rest: Some(0) };
    }
}

impl From<Body> for ResponseBody {
    fn from(body: Body) -> Self {
        Self { rest: body.len(), body: Some(held(body)) }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let part = std::task::ready!(Pin::new(body).poll_next(cx));
        match &part {
            Some(Ok(bytes)) => self.rest = self.rest.map(|rest| rest.saturating_sub(bytes.len() as u64)),
            Some(Err(error)) => {
                tracing::warn!(error = format_args!("{:?}", error.to_string()), "response broke off");
                self.body = None;
            }
            None => self.body = None,
        }
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Makes a response; its length is stated when it is known.
pub(super) fn reply(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, String)>,
    body: Body,
) -> Result<Response<ResponseBody>> {
    let len = body.len();
    let mut response = Response::new(ResponseBody::from(body));
    *response.status_mut() = status;
    if let Some(len) = len
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
    for (name, value) in headers {
        let value = HeaderValue::try_from(&value)
            .map_err(|_| Error::new(Code::Unknown, format!("{value:?} cannot stand in the header {name}")))?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

/// Makes a response with a JSON body.
pub(super) fn json<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
    body: &impl Serialize,
) -> Result<Response<ResponseBody>> {
    let bytes = serde_json::to_vec(body).expect("strings, numbers and maps with string keys serialize");
    let mut response = reply(status, headers, Body::from(Bytes::from(bytes)))?;
    response.headers_mut().entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Makes a response without a body.
pub(super) fn empty<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
) -> Result<Response<ResponseBody>> {
    reply(status, headers, Body::empty())
}

/// Makes the answer to a question for content that the client has already.
pub(super) fn not_modified(digest: &Digest) -> Result<Response<ResponseBody>> {
    empty(StatusCode::NOT_MODIFIED, [(header::ETAG, etag(digest)), (wire::CONTENT_DIGEST, digest.to_string())])
}

/// Content is named by its digest, so that is its tag too.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Tells whether the client has the content already (RFC 9110, 13.1.2: `If-None-Match`).
pub(super) fn client_has(headers: &HeaderMap, digest: &Digest) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == etag(digest))
}
