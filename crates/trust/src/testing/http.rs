//! The services over HTTP: which path is whose.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;

use crate::testing::All;
use crate::testing::Failure;

/// Answers until it is aborted, with the connections it has.
pub(super) async fn serve(listener: TcpListener, all: Arc<All>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let all = all.clone();
                let service = service_fn(move |request| answer(all.clone(), request));
                connections.spawn(async move {
                    // Who breaks off has no need of an answer.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(all: Arc<All>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, body) = match dispatch(&all, request).await {
        Ok((status, kind, body)) => (status, kind, body),
        Err(failure) => (400, "text/plain", failure.to_string().into_bytes()),
    };
    let mut response = Response::new(Full::from(body));
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}

async fn dispatch(all: &All, request: Request<Incoming>) -> Result<(u16, &'static str, Vec<u8>), Failure> {
    let path = request.uri().path().to_owned();
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let body = Limited::new(request.into_body(), 1 << 20).collect().await?.to_bytes();
    let say = |status, value: Value| Ok((status, "application/json", value.to_string().into_bytes()));
    match path.as_str() {
        "/.well-known/openid-configuration" => say(200, all.identities.discovery()),
        // Whoever asks has the token already; that it is asked for is what is imitated.
        "/ambient" => say(200, json!({"value": bearer.ok_or("no token")?})),
        "/keys" => say(200, all.identities.keys()),
        "/api/v2/signingCert" => {
            say(200, all.fulcio.certify(&all.identities, bearer.as_deref(), &serde_json::from_slice(&body)?)?)
        }
        "/api/v1/log/entries" => say(201, all.rekor.enter(&serde_json::from_slice(&body)?)?),
        "/api/v2/log/entries" => say(201, all.tiles.enter_tile(&serde_json::from_slice(&body)?)?),
        "/timestamp" => Ok((201, "application/timestamp-reply", all.timestamps.stamp(&body)?)),
        _ => Ok((404, "text/plain", Vec::new())),
    }
}
