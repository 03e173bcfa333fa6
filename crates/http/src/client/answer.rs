//! Answers: responses, checked, read within bounds, or turned into errors.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use http::HeaderMap;
use http::HeaderName;
use http::Method;
use http::StatusCode;
use http::header;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::ErrorBody;
use skep_registry::Result;
use url::Url;

use crate::auth::Credential;
use crate::client::retry::Verdict;
use crate::client::send::place;
use crate::wire;

/// A response of the registry, its body still to come unless it was wanted whole.
#[derive(Debug)]
pub(crate) struct Answer {
    method: Method,
    url: Url,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    is_repeated: bool,
    is_denied: bool,
    /// Who asked, if the registry wants to know better.
    asked_as: Option<Credential>,
    is_final: bool,
}

/// The request that an error is about, and who asked: the source of the error.
#[derive(Debug)]
pub(crate) struct Asked {
    line: String,
    is_anonymous: bool,
}

impl Asked {
    pub(crate) fn new(line: &str, credential: &Credential) -> Self {
        Self { line: format!("{line} as {credential}"), is_anonymous: *credential == Credential::Anonymous }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Asked {}

impl Answer {
    /// An answer, whose body may go without a further part for as long as `timeout`.
    pub(crate) fn new(method: Method, mut response: reqwest::Response, timeout: Duration) -> Self {
        let (url, status) = (response.url().clone(), response.status());
        let headers = std::mem::take(response.headers_mut());
        let len = match method {
            Method::HEAD => Some(0),
            _ => wire::text(&headers, &header::CONTENT_LENGTH).and_then(wire::number),
        };
        let body = Body::new(len, parts(response, timeout));
        Self {
            method,
            url,
            status,
            headers,
            body,
            is_repeated: false,
            is_denied: false,
            is_final: false,
            asked_as: None,
        }
    }

    /// Reads the body into memory, if it is no longer than `limit`.
    pub(crate) async fn whole(mut self, limit: u64) -> Result<Self> {
        let body = std::mem::replace(&mut self.body, Body::empty());
        let bytes = body.bytes(limit).await.map_err(|error| error.context(place(&self.url)))?;
        Ok(Self { body: Body::from(bytes), ..self })
    }

    /// Notes whether the request was sent before, and may have been heard, and whether it is not to be sent again.
    pub(crate) fn sent(self, is_repeated: bool, is_final: bool) -> Self {
        Self { is_repeated, is_final, ..self }
    }

    /// Notes that the registry knows the client, whatever the status says.
    pub(crate) fn denied(self, is_denied: bool) -> Self {
        Self { is_denied, ..self }
    }

    /// Notes who asked.
    pub(crate) fn asked_as(self, credential: Credential) -> Self {
        Self { asked_as: Some(credential), ..self }
    }

    /// Tells whether what the request wants may have been done by one before it, whose answer was lost.
    pub(crate) fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// What the answer says about the next attempt.
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict::of_answer(self.status, &self.headers, SystemTime::now())
    }

    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The text of a header.
    pub(crate) fn text(&self, name: &HeaderName) -> Option<&str> {
        wire::text(self.headers(), name)
    }

    /// Where the answer came from, after all redirects.
    pub(crate) fn url(&self) -> &Url {
        &self.url
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
        // spec, "Content Management": where deleting is disabled, that is a 400 or a 405, whatever its code; but zot
        // answers 400 also for a repository that it does not have.
        let is_disabled = self.status() == 400;
        if self.is_repeated && self.status() == 404 {
            return Ok(());
        }
        match self.expect(&[200, 202, 204], unknown).await {
            Ok(_) => Ok(()),
            // A code of the registry's own says more: that a tag is in the way, for instance (genuinetools/reg#136).
            Err(error) if is_disabled && !error.is_not_found() && !matches!(error.code(), Code::Other(_)) => {
                Err(Error::new(Code::Unsupported, error.to_string()).with_source(error))
            }
            Err(error) => Err(error),
        }
    }

    /// The error that the answer states; `Denied`, if it asks a client who it is that has said so.
    pub(crate) async fn into_error(self, unknown: Code) -> Error {
        let (verdict, is_denied, is_final) = (self.verdict(), self.is_denied, self.is_final);
        let mut error = self.stated(unknown).await;
        if is_denied && *error.code() == Code::Unauthorized {
            error = Error::new(Code::Denied, error.message().to_owned()).with_source(error);
        }
        if let Verdict::Throttled(Some(wait)) = verdict {
            error = error.with_retry_after(wait);
        }
        if is_final { error.exhausted() } else { error }
    }

    async fn stated(self, unknown: Code) -> Error {
        let status = self.status;
        let place = place(self.url());
        let line = format!("{} {place}: {status}", self.method);
        let source: Box<dyn std::error::Error + Send + Sync> = match &self.asked_as {
            Some(credential) => Asked::new(&format!("{line}, asked"), credential).into(),
            None => line.into(),
        };
        let text = self.into_body().bytes(MAX_ERROR).await.unwrap_or_default();
        if let Ok(ErrorBody { errors }) = serde_json::from_slice(&text)
            && let Some(item) = errors.into_iter().find(|item| !item.code.is_empty())
            && !status.is_success()
        {
            return item.into_error(status.as_u16()).with_source(source);
        }
        let code = match status.as_u16() {
            // Of what can be sent again it would have been followed, or refused.
            301..=303 | 307 | 308 => Code::Unsupported,
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
        self.body
    }

    /// The whole body, of `limit` bytes at most.
    pub(crate) async fn bytes(self, limit: u64) -> Result<Bytes> {
        let place = place(self.url());
        self.into_body().bytes(limit).await.map_err(|error| error.context(place))
    }
}

/// The parts of a response; what takes longer than `timeout` is an error.
fn parts(response: reqwest::Response, timeout: Duration) -> impl Stream<Item = Result<Bytes>> {
    stream::try_unfold(response, move |mut response| async move {
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
    })
}

/// Bytes of an error body that are read.
const MAX_ERROR: u64 = 64 << 10;
/// Characters of an error body that are shown, if it is not in the form of the specification.
const MAX_WORDS: usize = 200;
