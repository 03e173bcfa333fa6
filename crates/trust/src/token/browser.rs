//! Logging in by a browser: the address to open, and the port that waits for the answer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::Result;
use crate::token::IdentityToken;
use crate::token::provider::Proof;
use crate::token::provider::Provider;
use crate::token::provider::failed;
use crate::token::provider::random;

pub(super) async fn login(
    issuer: &str,
    client_id: &str,
    patience: Duration,
    open: impl FnOnce(&str) + Send,
) -> Result<IdentityToken> {
    let provider = Provider::discover(issuer, client_id).await?;
    let no_port = |error: std::io::Error| failed(issuer, &format!("no port to wait for the answer: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
    let port = listener.local_addr().map_err(no_port)?.port();
    let redirect = format!("http://127.0.0.1:{port}{PATH}");
    let (proof, state, nonce) = (Proof::new()?, random()?, random()?);
    let mut url = provider.authorization()?;
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", &redirect),
        ("scope", "openid email"),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &proof.challenge),
        ("code_challenge_method", "S256"),
    ]);
    open(url.as_str());
    let expected = Arc::new(Expected { issuer: provider.issuer.clone(), state });
    let code = timeout(patience, wait(listener, expected)).await;
    let code = code.map_err(|_| failed(issuer, &format!("nobody logged in within {patience:?}")))??;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &redirect),
        ("code_verifier", &proof.verifier),
    ];
    let answer = provider.exchange(&form).await?.map_err(|refusal| refusal.into_error(issuer))?;
    provider.token(&answer, Some(&nonce))
}

/// What the answer has to be to.
struct Expected {
    issuer: String,
    state: String,
}

/// Waits for the browser to come back with the code.
///
/// Browsers open connections that they do not use, and ask for icons: several are served at once, and what is not the
/// answer is not one.
async fn wait(listener: TcpListener, expected: Arc<Expected>) -> Result<String> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                if connections.len() < MAX_CONNECTIONS {
                    connections.spawn(serve(stream, expected.clone()));
                }
            }
            Some(ended) = connections.join_next() => {
                if let Ok(Some(answer)) = ended {
                    return answer;
                }
            }
        }
    }
}

/// Serves one request; gives what it answers to the login when the page is with the browser.
async fn serve(stream: TcpStream, expected: Arc<Expected>) -> Option<Result<String>> {
    let outcome = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        let answer = read(&request, &expected);
        let (status, page) = match &answer {
            Some(Ok(_)) => (StatusCode::OK, "You are logged in. This window can be closed."),
            Some(Err(_)) => (StatusCode::BAD_REQUEST, "The login did not succeed. The terminal says why."),
            None => (StatusCode::NOT_FOUND, "There is nothing here."),
        };
        if let Some(answer) = answer {
            let _ = outcome.set(answer);
        }
        let mut response = Response::new(Full::new(Bytes::from_static(page.as_bytes())));
        *response.status_mut() = status;
        let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut builder = http1::Builder::new();
    let connection =
        builder.keep_alive(false).max_buf_size(MAX_HEADERS).serve_connection(TokioIo::new(stream), service);
    // Who breaks off has no need of a page.
    let _ = timeout(CONNECTION, connection).await;
    outcome.into_inner()
}

/// The code in a request, if it is the answer to this login (RFC 6749, 4.1.2; RFC 9207).
fn read(request: &Request<Incoming>, expected: &Expected) -> Option<Result<String>> {
    if request.method() != hyper::Method::GET || request.uri().path() != PATH {
        return None;
    }
    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let query: HashMap<String, String> = query.into_owned().collect();
    let refused = |why: &dyn std::fmt::Display| Some(Err(failed(&expected.issuer, why)));
    if query.get("state") != Some(&expected.state) {
        return refused(&"the answer is to another login: its state is not the one that was sent");
    }
    if query.get("iss").is_some_and(|issuer| *issuer != expected.issuer) {
        return refused(&format!("the answer is of another provider: {:?}", query["iss"]));
    }
    match (query.get("error"), query.get("code")) {
        (Some(error), _) => {
            let why = query.get("error_description").unwrap_or(error);
            refused(&format!("the login was refused: {why:?}"))
        }
        (None, Some(code)) => Some(Ok(code.clone())),
        (None, None) => refused(&"the answer has no code"),
    }
}

const PATH: &str = "/auth/callback";

const CONNECTION: Duration = Duration::from_secs(10);

const MAX_CONNECTIONS: usize = 32;

const MAX_HEADERS: usize = 16 << 10;

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::Sigstore;

    #[tokio::test]
    async fn who_does_not_come_is_not_waited_for() {
        let sigstore = Sigstore::start().await.expect("there is a free port");
        let patience = Duration::from_millis(50);
        let error = login(sigstore.url(), "sigstore", patience, |_| ()).await.expect_err("nobody logs in");
        assert!(error.to_string().ends_with("nobody logged in within 50ms"), "{error}");
    }
}
