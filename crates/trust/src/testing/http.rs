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
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::testing::All;
use crate::testing::Failure;
use crate::testing::identity::Who;
use crate::testing::login::Fields;
use crate::testing::login::Page;
use crate::testing::rekor::Entered;

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
    Ok(match dispatch(&all, request).await {
        Ok(response) => response,
        Err(failure) => respond(400, "text/plain", failure.to_string()),
    })
}

async fn dispatch(all: &All, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let body = Limited::new(body, 1 << 20).collect().await?.to_bytes();
    let say = |status, value: Value| Ok(respond(status, JSON, value.to_string()));
    // As they stand in the address, and in a form.
    let fields = || -> Fields {
        let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        query.into_owned().chain(form_urlencoded::parse(&body).into_owned()).collect()
    };
    match path {
        "/.well-known/openid-configuration" => say(200, all.identities.discovery()),
        // Whoever asks has the token already; that it is asked for is what is imitated.
        "/ambient" => say(200, json!({"value": bearer.ok_or("no token")?})),
        "/authorize" => Ok(page(all.logins.authorize(&fields())?)),
        "/computeMetadata/v1/instance/service-accounts/default/identity" => metadata(all, &head, &fields()),
        "/device" => Ok(page(all.logins.enter(&fields())?)),
        "/device/code" => say(200, all.logins.device(&all.url, &fields())?),
        "/keys" => say(200, all.identities.keys()),
        "/token" => match all.logins.token(&all.identities, &fields()) {
            Ok(answer) => say(200, answer),
            Err(error) => say(400, json!({"error": error})),
        },
        "/api/v2/signingCert" => {
            say(200, all.fulcio.certify(&all.identities, bearer, &serde_json::from_slice(&body)?)?)
        }
        "/ct/v1/add-pre-chain" => say(200, all.fulcio.enter(&serde_json::from_slice(&body)?)?),
        "/api/v1/log/entries" => match all.rekor.enter(&serde_json::from_slice(&body)?)? {
            Entered::New(id, entry) => {
                let mut response = respond(201, JSON, entry.to_string());
                response.headers_mut().insert(header::ETAG, id.parse()?);
                Ok(response)
            }
            Entered::Standing(id) => {
                let message = format!("an equivalent entry already exists in the transparency log with UUID {id}");
                say(409, json!({"code": 409, "message": message}))
            }
        },
        "/api/v2/log/entries" => say(201, all.tiles.enter_tile(&serde_json::from_slice(&body)?)?),
        "/timestamp" => Ok(respond(201, "application/timestamp-reply", all.timestamps.stamp(&body)?)),
        path => {
            let file = path.strip_prefix("/tuf/").and_then(|path| all.updates.file(path));
            let entry = path.strip_prefix("/api/v1/log/entries/").and_then(|id| all.rekor.entry(id));
            match (file, entry) {
                (Some(file), _) => Ok(respond(200, JSON, file)),
                (None, Some(entry)) => say(200, entry),
                (None, None) => Ok(respond(404, "text/plain", "")),
            }
        }
    }
}

/// The metadata server of Google Cloud: a machine has one account.
fn metadata(all: &All, head: &Parts, fields: &Fields) -> Result<Response<Full<Bytes>>, Failure> {
    if head.headers.get("Metadata-Flavor").is_none_or(|flavor| flavor != "Google") {
        return Err("wanted Metadata-Flavor: Google".into());
    }
    let audience = fields.get("audience").ok_or("no audience")?;
    let account = Who::person("builder@acme.iam.gserviceaccount.com").with_claim("aud", audience);
    let mut response = respond(200, "text/html", all.identities.token(&account)?);
    response.headers_mut().insert("Metadata-Flavor", HeaderValue::from_static("Google"));
    Ok(response)
}

fn page(page: Page) -> Response<Full<Bytes>> {
    match page {
        // It is sent to where it stands, so what is asked for there stays as it is.
        Page::Form => respond(
            200,
            "text/html",
            "<!doctype html><title>Log in</title><form method=post><label>E-mail <input name=email type=email required>\
             </label> <button>Log in</button></form><form method=post><button name=deny value=1>Refuse</button></form>",
        ),
        Page::Redirect(url) => {
            let mut response = respond(302, "text/plain", "");
            if let Ok(url) = HeaderValue::from_str(&url) {
                response.headers_mut().insert(header::LOCATION, url);
            }
            response
        }
        Page::Text(text) => respond(200, "text/plain", text),
    }
}

fn respond(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

const JSON: &str = "application/json";
