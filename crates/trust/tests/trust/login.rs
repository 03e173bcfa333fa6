//! Logging in: by browser and by another device, at one's own Sigstore; whatever is not the answer to it is refused.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;
use skep_trust::IdentityToken;
use skep_trust::KeylessSigner;
use skep_trust::SignOptions;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::common::*;

const CLIENT: &str = IdentityToken::CLIENT_ID;

/// Does with the address what a person would.
fn browse(url: String) {
    tokio::spawn(async move { reqwest::get(url).await.unwrap() });
}

/// Where the provider sends the browser back to.
async fn redirect(url: &str) -> String {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

async fn refused(sigstore: &Sigstore, open: impl FnOnce(&str) + Send) -> String {
    IdentityToken::by_browser(sigstore.url(), CLIENT, open).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_person_who_logs_in_by_browser_signs() {
    let sigstore = Sigstore::start().await.unwrap();
    let open = |url: &str| browse(format!("{url}&email={EMAIL}"));
    let token = IdentityToken::by_browser(sigstore.url(), CLIENT, open).await.unwrap();
    assert_eq!((token.identity(), token.issuer()), (EMAIL, sigstore.url()));
    let (registry, subject) = site().await;
    let signer = KeylessSigner::new(sigstore.services(), token);
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    let report = verifier(&sigstore).inspect(&registry, &repo(), &subject).await.unwrap();
    assert!(report.require_signature().is_ok(), "{report}");
}

#[tokio::test]
async fn the_address_asks_for_a_code_for_this_program_on_the_loopback() {
    let sigstore = Sigstore::start().await.unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let open = |url: &str| {
        seen.lock().unwrap().push_str(url);
        browse(format!("{url}&email={EMAIL}"));
    };
    IdentityToken::by_browser(&format!("{}/", sigstore.url()), CLIENT, open).await.unwrap();
    let url: reqwest::Url = seen.lock().unwrap().parse().unwrap();
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(url.path(), "/authorize");
    for (name, value) in
        [("response_type", "code"), ("client_id", CLIENT), ("scope", "openid email"), ("code_challenge_method", "S256")]
    {
        assert_eq!(query[name], value);
    }
    assert!(query["redirect_uri"].starts_with("http://127.0.0.1:"), "{}", query["redirect_uri"]);
    let secrets = ["state", "nonce", "code_challenge"].map(|name| query[name].len());
    assert_eq!(secrets, [43; 3], "256 bits each");
}

#[tokio::test]
async fn a_person_who_refuses_is_said_to() {
    let sigstore = Sigstore::start().await.unwrap();
    let error = refused(&sigstore, |url| browse(format!("{url}&deny=1"))).await;
    assert!(error.ends_with("the login was refused: \"the person said no\""), "{error}");
}

#[tokio::test]
async fn an_answer_to_another_login_is_refused() {
    let sigstore = Sigstore::start().await.unwrap();
    let error = refused(&sigstore, |url| {
        let url = format!("{url}&email={EMAIL}");
        tokio::spawn(async move {
            let answer = redirect(&url).await;
            let (rest, _) = answer.split_once("&state=").unwrap();
            let page = reqwest::get(format!("{rest}&state=another")).await.unwrap();
            assert_eq!(page.status(), 400);
        });
    })
    .await;
    assert!(error.ends_with("its state is not the one that was sent"), "{error}");
    // The provider puts into the token what it was told, so another token would have another nonce.
    let error = refused(&sigstore, |url| {
        let mut url: reqwest::Url = url.parse().unwrap();
        let query: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| name != "nonce").collect();
        url.query_pairs_mut().clear().extend_pairs(query).extend_pairs([("nonce", "another"), ("email", EMAIL)]);
        browse(url.into());
    })
    .await;
    assert!(error.ends_with("its nonce is not the one that was sent"), "{error}");
    let error = refused(&sigstore, |url| {
        let url = format!("{url}&email={EMAIL}");
        tokio::spawn(async move { reqwest::get(redirect(&url).await + "&iss=https://evil.example").await.unwrap() });
    })
    .await;
    assert!(error.ends_with("the answer is of another provider: \"https://evil.example\""), "{error}");
}

#[tokio::test]
async fn what_is_not_the_answer_does_not_disturb_the_login() {
    let sigstore = Sigstore::start().await.unwrap();
    let open = |url: &str| {
        let url = format!("{url}&email={EMAIL}");
        tokio::spawn(async move {
            let answer: reqwest::Url = redirect(&url).await.parse().unwrap();
            let port = answer.port().unwrap();
            // A connection that says nothing, as browsers open them, one that talks nonsense, and an icon.
            let silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let mut nonsense = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            nonsense.write_all(b"\0\0\0\r\n\r\n").await.unwrap();
            let icon = reqwest::get(format!("http://127.0.0.1:{port}/favicon.ico")).await.unwrap();
            assert_eq!(icon.status(), 404);
            let page = reqwest::get(answer).await.unwrap().text().await.unwrap();
            assert_eq!(page, "You are logged in. This window can be closed.");
            drop(silent);
        });
    };
    let token = IdentityToken::by_browser(sigstore.url(), CLIENT, open).await.unwrap();
    assert_eq!(token.identity(), EMAIL);
}

#[tokio::test]
async fn a_code_that_came_too_late_is_refused() {
    let sigstore = Sigstore::start().await.unwrap();
    let url = Arc::new(Mutex::new(None));
    let login = IdentityToken::by_browser(sigstore.url(), CLIENT, |text| *url.lock().unwrap() = Some(text.to_owned()));
    let person = async {
        let url = loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if let Some(url) = url.lock().unwrap().take() {
                break url;
            }
        };
        let answer = redirect(&format!("{url}&email={EMAIL}")).await;
        sigstore.expire_logins();
        reqwest::get(answer).await.unwrap();
    };
    let (token, ()) = tokio::join!(login, person);
    let error = token.unwrap_err().to_string();
    assert!(error.ends_with("the login was refused: \"invalid_grant\""), "{error}");
}

#[tokio::test]
async fn a_person_logs_in_by_another_device() {
    let sigstore = Sigstore::start().await.unwrap();
    let shown = Arc::new(Mutex::new(None));
    let show = |code: &skep_trust::DeviceCode| {
        *shown.lock().unwrap() = Some(code.clone());
        let url = format!("{}&email={EMAIL}", code.verification_uri_complete.as_deref().unwrap());
        tokio::spawn(async move {
            // Later than the program asks for the first time.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            reqwest::get(url).await.unwrap();
        });
    };
    let token = IdentityToken::by_device(sigstore.url(), CLIENT, show).await.unwrap();
    assert_eq!((token.identity(), token.issuer()), (EMAIL, sigstore.url()));
    let code = shown.lock().unwrap().take().unwrap();
    assert_eq!(code.verification_uri, format!("{}/device", sigstore.url()));
    assert_eq!((code.user_code.len(), code.expires_in), (8, Duration::from_secs(300)));
}

#[tokio::test]
async fn a_device_that_is_refused_or_forgotten_is_said_to_be() {
    let sigstore = Sigstore::start().await.unwrap();
    let deny = |code: &skep_trust::DeviceCode| {
        browse(format!("{}&deny=1", code.verification_uri_complete.as_deref().unwrap()));
    };
    let error = IdentityToken::by_device(sigstore.url(), CLIENT, deny).await.unwrap_err().to_string();
    assert!(error.ends_with("the login was refused: \"access_denied\""), "{error}");
    let error = IdentityToken::by_device(sigstore.url(), CLIENT, |_| sigstore.expire_logins()).await.unwrap_err();
    assert!(error.to_string().ends_with("the login was refused: \"expired_token\""), "{error}");
}

#[tokio::test]
async fn a_provider_that_is_asked_too_often_is_asked_less_often() {
    let provider = Provider::start(|url| {
        vec![
            ("/.well-known/openid-configuration", 200, discovery(url)),
            ("/device/code", 200, device(url, json!({}))),
            ("/token", 400, json!({"error": "slow_down"})),
            ("/token", 200, json!({"id_token": token(json!({"iss": url}))})),
        ]
    })
    .await;
    let begin = Instant::now();
    let token = IdentityToken::by_device(&provider.url, CLIENT, |_| ()).await.unwrap();
    assert_eq!(token.identity(), EMAIL);
    assert!(begin.elapsed() >= Duration::from_secs(7), "one second, and one and five: {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_code_that_nobody_enters_is_given_up() {
    let provider = Provider::start(|url| {
        vec![
            ("/.well-known/openid-configuration", 200, discovery(url)),
            ("/device/code", 200, device(url, json!({"expires_in": 2}))),
            ("/token", 400, json!({"error": "authorization_pending"})),
        ]
    })
    .await;
    let error = IdentityToken::by_device(&provider.url, CLIENT, |_| ()).await.unwrap_err().to_string();
    assert!(error.ends_with("nobody entered the code within 2 s"), "{error}");
}

#[tokio::test]
async fn tokens_of_others_and_for_others_are_refused() {
    let cases = [
        (json!({"iss": "https://evil.example"}), "the token is of https://evil.example"),
        (json!({"aud": "another"}), "the token is for \"another\", wanted sigstore"),
        (json!({"aud": ["one", "another"]}), "the token is for [\"one\",\"another\"], wanted sigstore"),
        (json!({"exp": 1}), "it was valid until 1970-01-01T00:00:01Z"),
    ];
    for (claims, why) in cases {
        let provider = Provider::start(|url| {
            let mut all = json!({"iss": url});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            vec![
                ("/.well-known/openid-configuration", 200, discovery(url)),
                ("/device/code", 200, device(url, json!({}))),
                ("/token", 200, json!({"id_token": token(all)})),
            ]
        })
        .await;
        let error = IdentityToken::by_device(&provider.url, CLIENT, |_| ()).await.unwrap_err().to_string();
        assert!(error.ends_with(why), "{error}");
    }
}

#[tokio::test]
async fn providers_that_cannot_be_believed_are_not_asked() {
    let with = |name: &'static str, value: Value| {
        move |url: &str| {
            let mut discovery = discovery(url);
            discovery[name] = value;
            vec![("/.well-known/openid-configuration", 200, discovery)]
        }
    };
    let cases = [
        ("issuer", json!("https://evil.example"), "it says it is https://evil.example"),
        ("token_endpoint", json!(null), "invalid type: null, expected a string"),
        ("authorization_endpoint", json!(null), "nobody can log in there by browser"),
        ("authorization_endpoint", json!("http://evil.example/"), "wanted https, or http on the loopback"),
    ];
    for (name, value, why) in cases {
        let provider = Provider::start(with(name, value)).await;
        let open = |url: &str| panic!("nobody is sent to {url}");
        let error = IdentityToken::by_browser(&provider.url, CLIENT, open).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let open = |url: &str| panic!("nobody is sent to {url}");
    let error = IdentityToken::by_browser("http://id.example", CLIENT, open).await.unwrap_err().to_string();
    assert!(error.ends_with("wanted https, or http on the loopback"), "{error}");
}

#[tokio::test]
async fn codes_that_cannot_be_shown_are_not() {
    let cases = [
        (json!({"user_code": "\u{1b}[2J"}), "wanted a code to show"),
        (json!({"user_code": ""}), "wanted a code to show"),
        (json!({"user_code": "A".repeat(65)}), "wanted a code to show"),
        (json!({"verification_uri": "http://evil.example/"}), "wanted https, or http on the loopback"),
        (json!({"verification_uri": "javascript:alert(1)"}), "wanted https, or http on the loopback"),
    ];
    for (fields, why) in cases {
        let provider = Provider::start(|url| {
            vec![("/.well-known/openid-configuration", 200, discovery(url)), ("/device/code", 200, device(url, fields))]
        })
        .await;
        let show = |code: &skep_trust::DeviceCode| panic!("{code:?} is not shown");
        let error = IdentityToken::by_device(&provider.url, CLIENT, show).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

fn discovery(url: &str) -> Value {
    json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "device_authorization_endpoint": format!("{url}/device/code"),
    })
}

fn device(url: &str, fields: Value) -> Value {
    let mut answer = json!({
        "device_code": "secret", "user_code": "ABCD-EFGH", "verification_uri": format!("{url}/device"),
        "expires_in": 60, "interval": 1,
    });
    answer.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    answer
}

/// A token that nobody signed; only Fulcio looks at that.
fn token(claims: Value) -> String {
    let mut all = json!({"sub": "1", "email": EMAIL, "aud": CLIENT, "exp": 4_102_444_800_u64});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(all.to_string()))
}

/// A provider that says what it is told to, in that order; the last again and again.
struct Provider {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

type Answers = HashMap<String, VecDeque<(u16, Value)>>;

impl Provider {
    async fn start(answers: impl FnOnce(&str) -> Vec<(&'static str, u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut all = Answers::new();
        for (path, status, answer) in answers(&url) {
            all.entry(path.to_owned()).or_default().push_back((status, answer));
        }
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, &mut all).await;
            }
        });
        Self { url, task }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, answers: &mut Answers) {
    let mut request = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break (head.to_owned(), body.len());
        }
    };
    assert!(length < 4096);
    let path = head.split(' ').nth(1).unwrap();
    let queue = answers.get_mut(path).unwrap_or_else(|| panic!("nobody asks for {path}"));
    let (status, body) = if queue.len() > 1 { queue.pop_front().unwrap() } else { queue[0].clone() };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}
