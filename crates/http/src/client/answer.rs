//! Answers: responses, checked, read within bounds, or turned into errors.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http::HeaderName;
use http::Method;
use http::header;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::ErrorBody;
use skep_registry::Result;
use url::Url;

use crate::client::send::place;
use crate::wire;

/// A response of the registry, its body still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    method: Method,
    response: reqwest::Response,
    timeout: Duration,
}

impl Answer {
    pub(crate) fn new(method: Method, response: reqwest::Response, timeout: Duration) -> Self {
        Self { method, response, timeout }
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The text of a header.
    pub(crate) fn text(&self, name: &HeaderName) -> Option<&str> {
        wire::text(self.headers(), name)
    }

    /// Where the answer came from, after all redirects.
    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    /// Bytes of the body, or of the body that GET would have, if they are announced.
    pub(crate) fn length(&self) -> Option<u64> {
        self.text(&header::CONTENT_LENGTH).and_then(wire::number)
    }

    /// The digest that the registry states, if it is one that we know.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.text(&wire::CONTENT_DIGEST).and_then(|text| text.parse().ok())
    }

    /// Lets an answer through that has one of these statuses, and makes an error of any other.
    ///
    /// A 404 that does not say what is missing is missing `unknown`.
    pub(crate) async fn expect(self, statuses: &[u16], unknown: Code) -> Result<Self> {
        if statuses.contains(&self.status()) { Ok(self) } else { Err(self.into_error(unknown).await) }
    }

    /// Lets the answer to DELETE through that says it is done, and makes an error of any other.
    pub(crate) async fn expect_deleted(self, unknown: Code) -> Result<()> {
        // spec, "Content Management": where deleting is disabled, that is a 400 or a 405, whatever its code.
        let is_disabled = self.status() == 400;
        match self.expect(&[200, 202, 204], unknown).await {
            Ok(_) => Ok(()),
            Err(error) if is_disabled => Err(Error::new(Code::Unsupported, error.to_string()).with_source(error)),
            Err(error) => Err(error),
        }
    }

    /// The error that the answer states.
    pub(crate) async fn into_error(self, unknown: Code) -> Error {
        let status = self.response.status();
        let place = place(self.url());
        let source = format!("{} {place}: {status}", self.method);
        let text = self.into_body().bytes(MAX_ERROR).await.unwrap_or_default();
        if let Ok(ErrorBody { errors }) = serde_json::from_slice(&text)
            && let Some(item) = errors.into_iter().find(|item| !item.code.is_empty())
            && !status.is_success()
        {
            return item.into_error(status.as_u16()).with_source(source);
        }
        let code = match status.as_u16() {
            401 => Code::Unauthorized,
            403 => Code::Denied,
            404 => unknown,
            405 | 501 => Code::Unsupported,
            408 | 502..=504 => Code::Unavailable,
            412 => Code::PreconditionFailed,
            413 => Code::SizeInvalid,
            416 => Code::RangeInvalid,
            429 => Code::TooManyRequests,
            400.. => Code::Unknown,
            _ => return Error::new(Code::Unknown, format!("{place}: unexpected status {status}")).with_source(source),
        };
        let text = String::from_utf8_lossy(&text);
        let words: String = text.trim().chars().take(MAX_WORDS).collect();
        let message = if words.is_empty() { place } else { format!("{place}: {words:?}") };
        Error::new(code, message).with_status(status.as_u16()).with_source(source)
    }

    /// The body as it comes.
    pub(crate) fn into_body(self) -> Body {
        let len = if self.method == Method::HEAD { Some(0) } else { self.length() };
        let (response, timeout) = (self.response, self.timeout);
        let parts = stream::try_unfold(response, move |mut response| async move {
            let part = match tokio::time::timeout(timeout, response.chunk()).await {
                Ok(part) => part.map_err(|error| {
                    let message = format!("{} broke off", place(response.url()));
                    Error::new(Code::Unavailable, message).with_source(error.without_url())
                })?,
                Err(_) => {
                    let message = format!("{}: nothing came for {timeout:?}", place(response.url()));
                    return Err(Error::new(Code::Unavailable, message));
                }
            };
            Ok(part.map(|part| (part, response)))
        });
        Body::new(len, parts)
    }

    /// The whole body, of `limit` bytes at most.
    pub(crate) async fn bytes(self, limit: u64) -> Result<Bytes> {
        let place = place(self.url());
        self.into_body().bytes(limit).await.map_err(|error| error.context(place))
    }
}

/// Bytes of an error body that are read.
const MAX_ERROR: u64 = 64 << 10;
/// Characters of an error body that are shown, if it is not in the form of the specification.
const MAX_WORDS: usize = 200;
