//! Requests to a server, without a connection.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::Response;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use serde_json::Value;
use serde_json::json;
use skep_http::ResponseBody;
use skep_http::Server;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Memory;
use skep_registry::media_type;
use tower::Service;
use tower::ServiceExt;

/// The answer to one request.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        assert!(self.text("content-type").unwrap().ends_with("json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of an error body.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn server() -> Server {
    Server::new(Arc::new(Memory::default()))
}

pub(crate) async fn ask(server: &Server, line: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Got {
    let got = ask_any(server, line, headers, body).await;
    assert_eq!(got.text("docker-distribution-api-version"), Some("registry/2.0"), "{line}");
    if let Some(length) = got.text("content-length")
        && !line.starts_with("HEAD ")
    {
        assert_eq!(length, got.body.len().to_string(), "{line}");
    }
    got
}

/// Asks a service of any kind, of which nothing is expected.
pub(crate) async fn ask_any<S>(service: &S, line: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Got
where
    S: Service<Request<Full<Bytes>>, Response = Response<ResponseBody>, Error = Infallible> + Clone,
{
    let (method, target) = line.split_once(' ').unwrap();
    let body = body.into();
    let mut request = Request::builder().method(method).uri(target);
    // As hyper's clients do it.
    if !body.is_empty() {
        request = request.header(header::CONTENT_LENGTH, body.len());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = service.clone().oneshot(request.body(Full::new(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got { status: parts.status.as_u16(), headers: parts.headers, body }
}

pub(crate) async fn get(server: &Server, target: &str) -> Got {
    ask(server, &format!("GET {target}"), &[], "").await
}

/// Stores a blob in the repository `a`.
pub(crate) async fn put_blob(server: &Server, content: &str) -> Digest {
    let digest = Digest::sha256(content.as_bytes());
    let got = ask(server, &format!("POST /v2/a/blobs/uploads/?digest={digest}"), &[], content.to_owned()).await;
    assert_eq!(got.status, 201);
    digest
}

/// The manifest of an image in the repository `a`; `seed` makes it another one.
pub(crate) async fn image(server: &Server, seed: &str) -> String {
    put_blob(server, "{}").await;
    let config = Descriptor::of(media_type::EMPTY, b"{}");
    let annotations = json!({ "seed": seed });
    json!({"schemaVersion": 2, "mediaType": media_type::IMAGE, "config": config, "layers": [], "annotations": annotations})
        .to_string()
}

pub(crate) const MANIFEST: (&str, &str) = ("content-type", media_type::IMAGE);
