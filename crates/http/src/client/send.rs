//! Sending: the one place where requests leave, are authorized and follow redirects.

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use url::Url;

use crate::auth::Authorization;
use crate::auth::Next;
use crate::auth::Scope;
use crate::body::held;
use crate::client::Client;
use crate::client::answer::Answer;
use crate::client::origin;
use crate::client::outgoing::Outgoing;
use crate::client::retry::Patience;
use crate::client::retry::Verdict;
use crate::client::transport::Line;
use crate::wire;

/// A request before it is sent.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    payload: Payload,
    /// What a token must be good for.
    scope: Scope,
    line: Line,
    /// Bytes of the answer to read before it counts as one; none leaves them for later.
    whole: Option<u64>,
    /// Whether the registry may have much to do before it answers.
    commits: bool,
    /// Whether not even the registry may know who asks.
    anonymous: bool,
    /// Whether what is asked for does not change, so that where it was found it is found again.
    lasting: bool,
}

/// What a request carries.
#[derive(Debug)]
enum Payload {
    /// Bytes that can be sent again.
    Bytes(Bytes),
    /// A stream that can be sent once.
    Stream(Outgoing),
}

impl Request {
    /// A request without a body.
    pub(crate) fn new(method: Method, url: Url, scope: Scope) -> Self {
        let mut headers = HeaderMap::new();
        if !matches!(method, Method::GET | Method::HEAD) {
            // spec, "Pushing a blob in chunks": the post request MUST include Content-Length: 0.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        }
        Self {
            method,
            url,
            headers,
            payload: Payload::Bytes(Bytes::new()),
            scope,
            line: Line::Shared,
            whole: None,
            commits: false,
            anonymous: false,
            lasting: false,
        }
    }

    pub(crate) fn get(url: Url, scope: Scope) -> Self {
        Self::new(Method::GET, url, scope)
    }

    /// Adds a header, made of text that can stand in one.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::new(Code::Unsupported, format!("{value:?} cannot stand in the header {name}")))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Carries bytes.
    pub(crate) fn bytes(mut self, bytes: Bytes) -> Self {
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        self.payload = Payload::Bytes(bytes);
        self
    }

    /// Carries a stream. It can be sent once only, so the registry should have challenged an earlier request.
    pub(crate) fn stream(mut self, body: Body) -> Self {
        match body.len() {
            Some(len) => self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len)),
            None => self.headers.remove(header::CONTENT_LENGTH),
        };
        self.payload = Payload::Stream(Outgoing::new(held(body)));
        self
    }

    /// Is sent, and answered, over such a connection; for much data.
    pub(crate) fn over(mut self, line: Line) -> Self {
        self.line = line;
        self
    }

    /// Says nothing of the client, wherever it goes.
    pub(crate) fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Asks for content that does not change: where its last part was found a moment ago, the next is looked for first.
    pub(crate) fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Gives the registry time to look at all that it was sent.
    pub(crate) fn commits(mut self) -> Self {
        self.commits = true;
        self
    }

    /// Wants the whole answer, up to `limit` bytes, so that one that breaks off is asked for again.
    pub(crate) fn whole(mut self, limit: u64) -> Self {
        self.whole = Some(limit);
        self
    }

    fn can_be_repeated(&self) -> bool {
        match &self.payload {
            Payload::Bytes(_) => true,
            Payload::Stream(outgoing) => outgoing.is_whole(),
        }
    }

    /// What is to be sent.
    fn body(&self) -> Option<reqwest::Body> {
        match &self.payload {
            Payload::Bytes(bytes) => Some(bytes.clone()).filter(|bytes| !bytes.is_empty()).map(Into::into),
            Payload::Stream(outgoing) => Some(reqwest::Body::wrap_stream(outgoing.stream())),
        }
    }
}

impl Client {
    /// Sends a request, with what the registry wants to know of the client, and follows where it leads.
    ///
    /// The answer may be of any status. Credentials are sent to the registry's own origin only. What fails and
    /// can be repeated is, as the client's [`RetryOptions`](crate::RetryOptions) say; then errors, and those made of
    /// the answer, are [`exhausted`](Error::is_exhausted).
    ///
    /// # Errors
    /// `Unavailable` when there is no answer; `TooManyRequests` when the registry asks to wait for too long;
    /// `Unauthorized` when no token is to be had; `Unsupported` when the registry leads to where a client should
    /// not go; what the body of the request yields.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer> {
        self.send_within(request, &mut Patience::new(&self.inner.retry)).await
    }

    /// As [`send`](Self::send), with what is left of the patience of the caller.
    pub(crate) async fn send_within(&self, request: Request, patience: &mut Patience) -> Result<Answer> {
        let mut is_repeated = false;
        loop {
            let outcome = self.attempt(&request).await;
            let verdict = match &outcome {
                Ok(answer) => answer.verdict(),
                Err(error) => Verdict::of_error(error),
            };
            let left = patience.left();
            let can_be_repeated = request.can_be_repeated();
            let pause = match verdict {
                // Success, too: no failure to be counted.
                Verdict::Fatal => None,
                _ if can_be_repeated => patience.pause(verdict),
                _ => None,
            };
            // Of a stream that was sent in part, only the caller knows how it goes on.
            let is_final = can_be_repeated || matches!(verdict, Verdict::Fatal | Verdict::OutOfQuota);
            match (pause, verdict) {
                (Some(pause), _) => {
                    let (method, url) = (request.method.as_str(), place(&request.url));
                    tracing::debug!(method, url, %verdict, ?pause, "sending again");
                    is_repeated = true;
                    tokio::time::sleep(pause).await;
                }
                (None, Verdict::Throttled(Some(wait))) if wait > left => {
                    let (method, place) = (&request.method, place(&request.url));
                    let message = format!("{method} {place}: asked to wait {} s, which is too long", wait.as_secs());
                    let error = Error::new(Code::TooManyRequests, message).with_retry_after(wait).exhausted();
                    return Err(match outcome {
                        Ok(answer) => error.with_source(answer.into_error(Code::Unknown).await),
                        Err(cause) => error.with_source(cause),
                    });
                }
                (None, _) => {
                    return match outcome {
                        Ok(answer) => Ok(answer.sent(is_repeated, is_final)),
                        Err(error) if is_final => Err(error.exhausted()),
                        Err(error) => Err(error),
                    };
                }
            }
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer> {
        let mut authorization = match request.anonymous {
            true => Authorization::default(),
            false => self.inner.auth.authorize(&request.scope).await?,
        };
        let mut remembered = if request.lasting { self.inner.moved.of(&request.url) } else { None };
        let mut url = remembered.as_ref().unwrap_or(&request.url).clone();
        let (mut hops, mut challenges) = (0, 0);
        loop {
            let is_own = !request.anonymous && same_origin(&self.inner.base, &url);
            let mut headers = request.headers.clone();
            if is_own {
                headers.extend(self.inner.transport.headers().clone());
                headers.extend(authorization.header.clone().map(|value| (header::AUTHORIZATION, value)));
            }
            let response = self.send_once(request, &url, headers).await;
            if let Some(remembered) = remembered.take()
                && !response.as_ref().is_ok_and(|response| response.status().is_success())
            {
                // Whatever is wrong there, the registry knows where it is now.
                self.inner.moved.forget(&request.url, &remembered);
                url = request.url.clone();
                continue;
            }
            let response = response?;
            let status = response.status();
            let mut is_denied = false;
            if status == StatusCode::UNAUTHORIZED && is_own && challenges < MAX_CHALLENGES {
                challenges += 1;
                let next = self.inner.auth.respond(response.headers(), &request.scope, &authorization).await?;
                is_denied = matches!(next, Next::Deny);
                if let Next::Retry(next) = next {
                    if !request.can_be_repeated() {
                        // The token was good when the transfer began; a transfer that is taken up has a new one.
                        let message = format!("{} {}: the token ended on the way", request.method, place(&url));
                        return Err(Error::new(Code::Unavailable, message));
                    }
                    authorization = next;
                    continue;
                }
            } else if let Some(target) = self.redirection(request, &url, &response)? {
                hops += 1;
                if hops > MAX_HOPS {
                    let message = format!("{} {} leads in circles", request.method, place(&request.url));
                    return Err(Error::new(Code::Unsupported, message));
                }
                url = target;
                continue;
            }
            if request.lasting && hops > 0 && status.is_success() {
                self.inner.moved.note(&request.url, &url);
            }
            let mut answer = Answer::new(request.method.clone(), response, self.inner.read_timeout).denied(is_denied);
            if status == StatusCode::UNAUTHORIZED && is_own {
                answer = answer.asked_as(self.inner.auth.whom(&request.scope).await);
            }
            return match request.whole {
                Some(limit) if status.is_success() => answer.whole(limit).await,
                _ => Ok(answer),
            };
        }
    }

    /// Sends a request as it is: no credentials, no redirects, no second attempt.
    pub(crate) async fn send_once(
        &self,
        request: &Request,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<reqwest::Response> {
        let (http, lease) = self.inner.transport.to(url, request.line);
        let mut sent = reqwest::Request::new(request.method.clone(), url.clone());
        *sent.headers_mut() = headers;
        *sent.body_mut() = request.body();
        let stalled = async {
            let idle = self.inner.read_timeout;
            match &request.payload {
                Payload::Stream(outgoing) => outgoing.stalled(idle, self.inner.commit_timeout).await,
                Payload::Bytes(_) => {
                    let wait = if request.commits { self.inner.commit_timeout } else { idle };
                    tokio::time::sleep(wait).await;
                    wait
                }
            }
        };
        let mut answer = tokio::select! {
            answer = http.execute(sent) => answer.map_err(|error| transport_error(request.method.as_str(), url, error)),
            wait = stalled => {
                let message = format!("{} {}: no answer within {wait:?}", request.method, place(url));
                Err(Error::new(Code::Unavailable, message))
            }
        };
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        tracing::debug!(method = request.method.as_str(), url = place(url), status, "sent");
        if let (Ok(answer), Some(lease)) = (&mut answer, lease) {
            // The body comes out of the response, which it keeps.
            answer.extensions_mut().insert(lease);
        }
        if let Ok(answer) = &answer
            && same_origin(&self.inner.base, url)
        {
            self.inner.warnings.heed(url.authority(), answer.headers());
        }
        answer
    }

    /// Where a response leads, if the request can go there.
    fn redirection(&self, request: &Request, from: &Url, response: &reqwest::Response) -> Result<Option<Url>> {
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        let follows = match response.status().as_u16() {
            301..=303 => reads,
            // The same request again, whatever it is (RFC 9110, 15.4.8 and 15.4.9).
            307 | 308 => reads || request.can_be_repeated(),
            _ => false,
        };
        let Some(location) = wire::text(response.headers(), &header::LOCATION).filter(|_| follows) else {
            return Ok(None);
        };
        self.resolve(from, location).map(Some)
    }

    /// The URL that a registry names in a header, if it is one to go to.
    ///
    /// # Errors
    /// `Unsupported` when it leads from TLS to without, or from outside to an address of an inner network.
    pub(crate) fn resolve(&self, from: &Url, location: &str) -> Result<Url> {
        origin::checked(&self.inner.base, from, location)
            .map_err(|why| Error::new(Code::Unsupported, format!("{} leads to {why}", place(from))))
    }
}

/// Tells whether two URLs have scheme, host and port in common, said or implied.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// A URL for people: without its query, which may be signed, and without the user it may name.
pub(crate) fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// The error of a request that got no answer. If its own body broke off, that is the error.
pub(crate) fn transport_error(method: &str, url: &Url, error: reqwest::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(one) = cause {
        if let Some(own) = one.downcast_ref::<Error>() {
            let error = Error::new(own.code().clone(), own.message().to_owned());
            return if own.is_exhausted() { error.exhausted() } else { error };
        }
        cause = one.source();
    }
    // The URL of the error would have its query.
    Error::new(Code::Unavailable, format!("{method} {}", place(url))).with_source(error.without_url())
}

/// As browsers have it, and the fetch standard is below it.
const MAX_HOPS: usize = 10;
/// One for a token that was held, one for a scope that the registry wants, and one for good measure.
const MAX_CHALLENGES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_the_same_with_their_default_port() {
        for (one, other, want) in [
            ("https://a.b/x", "https://a.b:443/y?z", true),
            ("http://a.b", "http://A.B:80", true),
            ("https://a.b", "http://a.b", false),
            ("https://a.b", "https://a.b:8443", false),
            ("https://a.b", "https://c.a.b", false),
        ] {
            assert_eq!(same_origin(&one.parse().unwrap(), &other.parse().unwrap()), want, "{one} {other}");
        }
    }
}
