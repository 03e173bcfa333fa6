//! Servers on loopback, for tests: real ones, old ones, and ones that answer as they are told.

#![allow(dead_code, reason = "each test uses its part of this")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

pub(crate) mod ask;
pub(crate) mod odd;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::ResponseBody;
use skep_http::RetryOptions;
use skep_http::Server;
#[cfg(feature = "testing")]
use skep_http::testing::Profile;
#[cfg(feature = "testing")]
use skep_http::testing::Quirky;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::Service;

/// Something that is served until this is dropped.
pub(crate) struct Served {
    pub(crate) host: String,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new(registry: Arc<dyn Registry>) -> Self {
        Self::service(Server::new(registry)).await
    }

    pub(crate) async fn service<S>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            skep_http::serve(listener, service, std::future::pending()).await.unwrap();
        });
        Self { host, task }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.host, options()).unwrap()
    }

    pub(crate) fn client_as(&self, credential: Credential) -> Client {
        let credentials = Arc::new(credential);
        Client::new(&self.host, ClientOptions { credentials, ..options() }).unwrap()
    }
}

/// Those of a client that tries as often as any, without the pauses.
pub(crate) fn options() -> ClientOptions {
    ClientOptions { retry: RetryOptions { base: Duration::from_millis(1), ..Default::default() }, ..Default::default() }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn memory() -> Served {
    Served::new(Arc::new(Memory::default())).await
}

/// An imitation of another product, empty, where all repositories are that are asked for, and its user.
#[cfg(feature = "testing")]
pub(crate) async fn quirky(profile: Profile) -> (Client, Served) {
    let profile = Profile { repos_must_exist: false, ..profile };
    let login = profile.login.clone();
    let service = Quirky::new(Server::new(Arc::new(Memory::default())), profile);
    let served = Served::service(service).await;
    let credential = login.map(|login| Credential::Basic { user: login.user, password: login.password });
    (served.client_as(credential.unwrap_or_default()), served)
}

/// A request that a [`Fake`] saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// Method and target, as in `GET /v2/`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A registry that answers as it is told, and remembers what it was asked.
pub(crate) struct Fake {
    pub(crate) served: Served,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) async fn new(answer: impl Fn(&Seen) -> Response<ResponseBody> + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                // A proxy is asked for whole URLs.
                let target = parts.uri.to_string();
                let one = Seen { method: parts.method.to_string(), target, headers: parts.headers, body };
                log.lock().unwrap().push(one.clone());
                Ok(answer(&one))
            }
        });
        Self { served: Served::service(service).await, seen }
    }

    pub(crate) fn host(&self) -> &str {
        &self.served.host
    }

    pub(crate) fn client(&self) -> Client {
        self.served.client()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Response<ResponseBody> {
    stream(status, headers, Body::from(Bytes::copy_from_slice(body.as_bytes())))
}

pub(crate) fn stream(status: u16, headers: &[(&str, &str)], body: Body) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    response
}

pub(crate) fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

pub(crate) fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

pub(crate) fn hello() -> Digest {
    Digest::sha256(b"hello")
}

pub(crate) fn text(text: &'static str) -> Body {
    Body::from(Bytes::from(text))
}

/// The code of an error; panics when there is none.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.unwrap_err().code().clone()
}
