//! Who the client says it is, to whom, and how often.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream as parts;
use http::Response;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::DockerConfig;
use skep_http::OnlyFor;
use skep_http::ResponseBody;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::OCTET_STREAM;
use skep_registry::Page;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use tokio::sync::Notify;

use crate::support::Fake;
use crate::support::Seen;
use crate::support::hello;
use crate::support::reply;
use crate::support::repo;
use crate::support::stream;

fn user() -> Credential {
    Credential::Basic { user: "user".to_owned(), password: "hunter2".to_owned() }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("user:hunter2"))
}

fn is_token(seen: &Seen) -> bool {
    seen.target.starts_with("/token")
}

/// The scope that a request to a registry needs, as a registry knows it.
fn scope(seen: &Seen) -> String {
    let repo = seen.target.split(['/', '?']).nth(2).unwrap();
    match seen.method.as_str() {
        "GET" | "HEAD" => format!("repository:{repo}:pull"),
        _ => format!("repository:{repo}:pull,push"),
    }
}

/// The challenge of a registry that is its own token server.
fn challenge(seen: &Seen) -> Response<ResponseBody> {
    let (host, scope) = (seen.text("host").unwrap(), scope(seen));
    let value = format!(r#"Bearer realm="http://{host}/token",service="registry.example.com",scope="{scope}""#);
    reply(401, &[("www-authenticate", &value)], "")
}

/// A registry that wants the token `t`, and serves `hello`.
async fn wants_token() -> Fake {
    Fake::new(|seen| match seen {
        seen if is_token(seen) => reply(200, &[], r#"{"token":"t","expires_in":300}"#),
        seen if seen.text("authorization") != Some("Bearer t") => challenge(seen),
        seen => match seen.method.as_str() {
            "POST" => reply(202, &[("location", "/v2/a/blobs/uploads/1")], ""),
            "PUT" => reply(201, &[], ""),
            _ => reply(200, &[("content-length", "5")], if seen.method == "HEAD" { "" } else { "hello" }),
        },
    })
    .await
}

fn tokens(fake: &Fake) -> Vec<Seen> {
    fake.seen().into_iter().filter(is_token).collect()
}

#[tokio::test]
async fn nobody_is_told_anything_before_it_asks() {
    let fake = Fake::new(|_| reply(200, &[("content-length", "5")], "hello")).await;
    let client = fake.served.client_as(user());
    client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
    assert_eq!(fake.seen()[0].text("authorization"), None);
}

#[tokio::test]
async fn a_password_answers_a_basic_challenge() {
    let fake = Fake::new(|seen| match seen.text("authorization") {
        Some(text) if text == basic() => reply(200, &[("content-length", "5")], "hello"),
        _ => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    });
    let fake = fake.await;
    let client = fake.served.client_as(user());
    for _ in 0..2 {
        client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
    }
    // The second time it is told at once.
    assert_eq!(fake.lines().len(), 3);
    let other = Credential::Basic { user: "user".to_owned(), password: "wrong".to_owned() };
    for (credential, asked) in [(other, 2), (Credential::Anonymous, 1)] {
        let before = fake.lines().len();
        let error = fake.served.client_as(credential).read_blob(&repo("a"), &hello(), 10).await.unwrap_err();
        assert_eq!((error.code(), fake.lines().len() - before), (&Code::Unauthorized, asked));
    }
}

#[tokio::test]
async fn tokens_are_had_for_the_scope_of_the_challenge() {
    for (credential, authorization) in [(Credential::Anonymous, None), (user(), Some(basic()))] {
        let fake = wants_token().await;
        let client = fake.served.client_as(credential);
        for _ in 0..2 {
            client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
        }
        assert_eq!(fake.lines().len(), 4);
        let tokens = tokens(&fake);
        assert_eq!(tokens[0].line(), "GET /token?service=registry.example.com&scope=repository%3Aa%3Apull");
        assert_eq!(tokens[0].text("authorization").map(str::to_owned), authorization);
        // Another repository needs another token, and the registry need not ask again.
        client.read_blob(&repo("b"), &hello(), 10).await.unwrap();
        assert_eq!(
            fake.lines()[4..],
            [
                "GET /token?service=registry.example.com&scope=repository%3Ab%3Apull".to_owned(),
                format!("GET /v2/b/blobs/{}", hello())
            ]
        );
    }
}

#[tokio::test]
async fn the_scope_of_a_challenge_is_asked_for_as_it_is_written() {
    let fake = Fake::new(|seen| match seen {
        seen if is_token(seen) => reply(200, &[], r#"{"token":"t"}"#),
        seen if seen.text("authorization").is_none() => {
            let realm = format!("http://{}/token?account=me", seen.text("host").unwrap());
            let value = format!(r#"Basic realm="x", Bearer realm="{realm}",scope="other repository:a:push,pull""#);
            reply(401, &[("www-authenticate", &value)], "")
        }
        _ => reply(200, &[("content-length", "5")], "hello"),
    });
    let fake = fake.await;
    let client = fake.client();
    client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
    // What the token is good for is remembered as a set.
    client.head_blob(&repo("a"), &hello()).await.unwrap();
    let asked: Vec<_> = tokens(&fake).iter().map(Seen::line).collect();
    assert_eq!(asked, ["GET /token?account=me&scope=other&scope=repository%3Aa%3Apush%2Cpull"]);
}

#[tokio::test]
async fn a_token_to_write_is_good_to_read() {
    let fake = wants_token().await;
    let client = fake.client();
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    client.put_blob(&repo("a"), &blob, Body::from(Bytes::from("hello"))).await.unwrap();
    client.head_blob(&repo("a"), &hello()).await.unwrap();
    assert_eq!(tokens(&fake).len(), 1);
    // The stream was sent once, after the token was there.
    let puts: Vec<_> = fake.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!((puts.len(), &puts[0].body[..]), (1, &b"hello"[..]));
}

#[tokio::test]
async fn many_requests_wait_for_one_token() {
    let fake = wants_token().await;
    let client = fake.client();
    let (digest, name) = (hello(), repo("a"));
    let results = join_all((0..16).map(|_| client.read_blob(&name, &digest, 10))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(tokens(&fake).len(), 1);
}

#[tokio::test]
async fn a_slow_token_holds_up_nobody_else() {
    let (begun, asked) = (std::sync::Arc::new(Notify::new()), std::sync::Arc::new(Notify::new()));
    let (now, went) = (begun.clone(), asked.clone());
    let fake = Fake::new(move |seen| match seen {
        seen if is_token(seen) && seen.target.contains("repository%3Aslow") => {
            now.notify_one();
            let went = went.clone();
            let token = async move {
                went.notified().await;
                Ok(Bytes::from(r#"{"token":"t"}"#))
            };
            stream(200, &[], Body::new(None, parts::once(token)))
        }
        seen if is_token(seen) => reply(200, &[], r#"{"token":"t"}"#),
        seen if seen.text("authorization") != Some("Bearer t") => challenge(seen),
        _ => reply(200, &[("content-length", "5")], "hello"),
    });
    let fake = fake.await;
    let client = fake.client();
    let (one, other) = (repo("slow"), repo("fast"));
    let (digest, slow) = (hello(), client.clone());
    let slow = tokio::spawn(async move { slow.read_blob(&one, &digest, 10).await });
    begun.notified().await;
    assert_eq!(client.read_blob(&other, &hello(), 10).await.unwrap(), "hello");
    asked.notify_one();
    assert_eq!(slow.await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_token_is_replaced_before_it_ends() {
    for (answer, good_for, ends_after) in [
        (r#"{"token":"t","expires_in":300}"#, 290, 300),
        // An hour and a day are said in many ways; nothing means a minute.
        (r#"{"token":"t"}"#, 50, 60),
        (r#"{"token":"t","expires_in":0}"#, 50, 60),
        (r#"{"token":"t","expires_in":2,"issued_at":"2001-01-01T00:00:00Z"}"#, 0, 2),
        (r#"{"token":"t","expires_in":18446744073709551615}"#, 86_000, 86_400),
    ] {
        let fake = Fake::new(move |seen| match seen {
            seen if is_token(seen) => reply(200, &[], answer),
            seen if seen.text("authorization").is_none() => challenge(seen),
            _ => reply(200, &[("content-length", "5")], "hello"),
        });
        let fake = fake.await;
        let client = fake.client();
        for (seconds, asked) in [(0, 1), (good_for, 1), (ends_after - good_for, 2)] {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(seconds)).await;
            tokio::time::resume();
            client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
            assert_eq!(tokens(&fake).len(), asked, "{answer} {seconds}");
        }
        // The registry was never shown a token that it could refuse.
        assert_eq!(fake.lines().iter().filter(|line| line.starts_with("GET /v2/")).count(), 4);
    }
}

#[tokio::test]
async fn whoever_is_known_and_not_let_in_is_denied() {
    let fake = Fake::new(|seen| match seen {
        seen if is_token(seen) => reply(200, &[], r#"{"token":"t"}"#),
        seen if seen.target.contains("/basic/") => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        seen => challenge(seen),
    });
    let fake = fake.await;
    let identity = Credential::Identity("first".to_owned());
    for (credential, name, want) in [
        (user(), "a", Code::Denied),
        (identity, "a", Code::Denied),
        // A login may help these.
        (Credential::Anonymous, "a", Code::Unauthorized),
        (Credential::Bearer("old".to_owned()), "a", Code::Unauthorized),
        (user(), "basic", Code::Unauthorized),
    ] {
        let client = fake.served.client_as(credential.clone());
        for _ in 0..2 {
            let error = client.read_blob(&repo(name), &hello(), 10).await.unwrap_err();
            assert_eq!(error.code(), &want, "{credential:?} {name}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    // Each token is good for one request.
    let used = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::new(move |seen| {
        let used = &used;
        let order = std::sync::atomic::Ordering::SeqCst;
        match seen {
            seen if is_token(seen) => reply(200, &[], &format!(r#"{{"access_token":"t{}"}}"#, used.load(order))),
            seen if seen.text("authorization") == Some(&format!("Bearer t{}", used.load(order))) => {
                used.fetch_add(1, order);
                reply(200, &[("content-length", "5")], "hello")
            }
            seen => challenge(seen),
        }
    });
    let fake = fake.await;
    let client = fake.client();
    for _ in 0..3 {
        client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
    }
    assert_eq!(tokens(&fake).len(), 3);
    // And one whose tokens are good for nothing.
    let never = Fake::new(|seen| match seen {
        seen if is_token(seen) => reply(200, &[], r#"{"token":"t"}"#),
        seen => challenge(seen),
    });
    let never = never.await;
    let error = never.client().read_blob(&repo("a"), &hello(), 10).await.unwrap_err();
    assert_eq!((error.code(), never.lines().len()), (&Code::Unauthorized, 3));
}

#[tokio::test]
async fn an_empty_token_is_nobody() {
    let fake = Fake::new(|seen| match seen {
        seen if is_token(seen) => reply(200, &[], r#"{"token":""}"#),
        seen if seen.method == "HEAD" => reply(200, &[("content-length", "5")], ""),
        seen => challenge(seen),
    });
    let fake = fake.await;
    let client = fake.client();
    let error = client.read_blob(&repo("a"), &hello(), 10).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unauthorized);
    client.head_blob(&repo("a"), &hello()).await.unwrap();
    assert!(fake.seen().iter().all(|seen| seen.text("authorization").is_none()));
}

#[tokio::test]
async fn an_identity_token_obtains_others() {
    for knows_oauth in [true, false] {
        let fake = Fake::new(move |seen| match seen.line().as_str() {
            "POST /token" if !knows_oauth => reply(404, &[], ""),
            "POST /token" => reply(200, &[], r#"{"access_token":"t","refresh_token":"second"}"#),
            _ if is_token(seen) => reply(200, &[], r#"{"token":"t"}"#),
            _ if seen.text("authorization") != Some("Bearer t") => challenge(seen),
            _ => reply(200, &[("content-length", "5")], "hello"),
        });
        let fake = fake.await;
        let client = fake.served.client_as(Credential::Identity("first".to_owned()));
        for name in ["a", "b"] {
            client.read_blob(&repo(name), &hello(), 10).await.unwrap();
        }
        let posts: Vec<_> = tokens(&fake).into_iter().filter(|seen| seen.method == "POST").collect();
        let (first, second) = (String::from_utf8_lossy(&posts[0].body), String::from_utf8_lossy(&posts[1].body));
        for part in [
            "grant_type=refresh_token",
            "refresh_token=first",
            "scope=repository%3Aa%3Apull",
            "service=registry.example.com",
        ] {
            assert!(first.contains(part), "{first}");
        }
        let refresh = if knows_oauth { "refresh_token=second" } else { "refresh_token=first" };
        assert!(second.contains(refresh), "{second}");
    }
}

#[tokio::test]
async fn a_given_token_is_sent_as_it_is() {
    let fake = wants_token().await;
    let client = fake.served.client_as(Credential::Bearer("t".to_owned()));
    client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
    assert_eq!(fake.lines().len(), 1);
    let error = fake.served.client_as(Credential::Bearer("old".to_owned())).read_blob(&repo("a"), &hello(), 10).await;
    assert_eq!((error.unwrap_err().code(), fake.lines().len()), (&Code::Unauthorized, 2));
}

#[tokio::test]
async fn each_operation_asks_for_its_own_scope() {
    let fake = Fake::new(|seen| match seen {
        seen if is_token(seen) => reply(200, &[], r#"{"token":"t"}"#),
        seen if seen.text("authorization").is_none() => {
            let value = format!(r#"Bearer realm="http://{}/token""#, seen.text("host").unwrap());
            reply(401, &[("www-authenticate", &value)], "")
        }
        seen if seen.method == "DELETE" => reply(202, &[], ""),
        seen if seen.method == "POST" => reply(201, &[], ""),
        _ => reply(200, &[], r#"{"repositories":[]}"#),
    });
    let fake = fake.await;
    let client = fake.client();
    client.list_repos(&Page::default()).await.unwrap();
    client.mount_blob(&repo("x/y"), &hello(), Some(&repo("z"))).await.unwrap();
    client.delete_blob(&repo("x/y"), &hello()).await.unwrap();
    let asked: Vec<_> = tokens(&fake).iter().map(Seen::line).collect();
    assert_eq!(
        asked,
        [
            "GET /token?scope=registry%3Acatalog%3A*",
            "GET /token?scope=repository%3Ax%2Fy%3Apull%2Cpush&scope=repository%3Az%3Apull",
            "GET /token?scope=repository%3Ax%2Fy%3Adelete",
        ]
    );
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let canary = Fake::new(|seen| match seen.method.as_str() {
        "PUT" => reply(201, &[], ""),
        "GET" => reply(200, &[("content-length", "5")], "hello"),
        // Asks for a password that is not for it.
        _ => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    });
    let canary = canary.await;
    let elsewhere = format!("http://{}/elsewhere", canary.host());
    let fake = Fake::new(move |seen| match seen {
        seen if seen.text("authorization") != Some(&basic()) => {
            reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")
        }
        seen if seen.method == "POST" => reply(202, &[("location", &elsewhere)], ""),
        _ => reply(307, &[("location", &elsewhere)], ""),
    });
    let fake = fake.await;
    let client = fake.served.client_as(user());
    assert_eq!(client.read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    client.put_blob(&repo("a"), &blob, Body::from(Bytes::from("hello"))).await.unwrap();
    assert_eq!(client.head_blob(&repo("a"), &hello()).await.unwrap_err().code(), &Code::Unauthorized);
    assert_eq!(canary.lines().len(), 3);
    assert!(canary.seen().iter().all(|seen| seen.text("authorization").is_none()), "{:?}", canary.seen());
}

#[tokio::test]
async fn a_credential_for_one_registry_is_not_told_another() {
    let asks = || Fake::new(|_| reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""));
    let (own, other) = (asks().await, asks().await);
    let credentials = std::sync::Arc::new(OnlyFor::new(own.host(), user()));
    for (fake, want) in [(&own, Some(basic())), (&other, None)] {
        let options = ClientOptions { credentials: credentials.clone(), ..Default::default() };
        let client = Client::new(fake.host(), options).unwrap();
        assert!(client.read_blob(&repo("a"), &hello(), 10).await.is_err());
        assert_eq!(fake.seen().last().unwrap().text("authorization").map(str::to_owned), want);
    }
}

#[tokio::test]
async fn a_part_of_a_registry_may_know_the_client_by_another_name() {
    let fake = Fake::new(|seen| match seen.text("authorization") {
        None => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        Some(_) => reply(200, &[("content-length", "5")], "hello"),
    });
    let fake = fake.await;
    let entry = |user: &str| format!(r#"{{"username":"{user}","password":"x"}}"#);
    let json = format!(r#"{{"auths":{{"{0}":{1},"{0}/team":{2}}}}}"#, fake.host(), entry("all"), entry("team"));
    let credentials = std::sync::Arc::new(DockerConfig::from_json(&json).unwrap());
    let client = Client::new(fake.host(), ClientOptions { credentials, ..Default::default() }).unwrap();
    for (name, user) in [("a", "all"), ("team/a", "team"), ("a", "all")] {
        client.read_blob(&repo(name), &hello(), 10).await.unwrap();
        let want = format!("Basic {}", STANDARD.encode(format!("{user}:x")));
        assert_eq!(fake.seen().last().unwrap().text("authorization"), Some(want.as_str()));
    }
}

#[tokio::test]
async fn secrets_are_not_in_what_is_printed() {
    let fake = Fake::new(|seen| match seen {
        seen if is_token(seen) && seen.method == "POST" => reply(200, &[], r#"{"token":"swordfish""#),
        // Echoes what it was sent.
        seen if is_token(seen) => reply(403, &[], seen.text("authorization").unwrap_or_default()),
        seen => challenge(seen),
    });
    let fake = fake.await;
    let secrets = ["hunter2", "swordfish", &STANDARD.encode("user:hunter2")];
    for credential in [user(), Credential::Identity("hunter2".to_owned()), Credential::Bearer("hunter2".to_owned())] {
        let client = fake.served.client_as(credential.clone());
        let options = ClientOptions { credentials: std::sync::Arc::new(credential.clone()), ..Default::default() };
        let error = client.read_blob(&repo("a"), &hello(), 10).await.unwrap_err();
        assert_eq!(error.code(), &Code::Unauthorized);
        for printed in [format!("{error:?}"), error.to_string(), format!("{client:?} {options:?} {credential:?}")] {
            assert!(secrets.iter().all(|secret| !printed.contains(secret)), "{printed}");
        }
    }
    let error = Client::new("https://user:hunter2@registry.example.com/v2", ClientOptions::default()).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
