//! What the client and the server tell of what they do, and what they never tell.
//!
//! Alone in its process: whether an event is of interest to anybody is remembered for all threads.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod support;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::DockerLogin;
use skep_http::Proxies;
use skep_http::Settings;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::OCTET_STREAM;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::UploadOptions;
use skep_registry::media_type;
use skep_registry::traced;

use support::Fake;
use support::code;
use support::hello;
use support::options;
use support::reply;
use support::repo;
use support::tag;
use support::text;

#[tokio::test]
async fn traces_tell_what_happens_and_no_secret() {
    let log = Log::default();
    let (writer, level) = (log.clone(), tracing::Level::TRACE);
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(level);
    let guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let basic = Credential::Basic { user: "user".to_owned(), password: "canary-password".to_owned() };
    for credential in [basic, Credential::Identity("canary-identity".to_owned())] {
        // "proxy-user:canary-proxy" in base64.
        let fake = secretive("Basic cHJveHktdXNlcjpjYW5hcnktcHJveHk=").await;
        let proxies =
            Proxies { http: Some(format!("http://proxy-user:canary-proxy@{}", fake.host())), ..Default::default() };
        let headers = BTreeMap::from([("x-key".to_owned(), "canary-header".to_owned())]);
        let settings = Settings { headers, ..Default::default() };
        let options = ClientOptions {
            credentials: Arc::new(credential.clone()),
            proxies,
            registries: BTreeMap::from([("registry.invalid".to_owned(), settings)]),
            certs_dirs: Vec::new(),
            ..options()
        };
        let dir = tempfile::tempdir().unwrap();
        let login = DockerLogin::locate_with(|name| (name == "DOCKER_CONFIG").then(|| dir.path().into())).unwrap();
        login.login("registry.invalid", &credential).await.unwrap();
        let client = Client::new("http://registry.invalid", options).unwrap();
        client.ping().await.unwrap();
        let registry = traced(client);
        registry.put_blob(&repo("a"), &Descriptor::of(OCTET_STREAM, b"hello"), text("hello")).await.unwrap();
        let mut upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.append(text("hello")).await.unwrap();
        upload.commit(&hello()).await.unwrap();
        let manifest = Manifest::new(media_type::IMAGE, "{\"canary\":\"manifest\"}");
        let put = PutManifest { tags: vec![tag("v1")], ..Default::default() };
        registry.put_manifest(&repo("a"), &manifest, put).await.unwrap();
        registry.get_manifest(&repo("a"), &tag("v1").into()).await.unwrap();
        assert_eq!(registry.read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
        assert_eq!(code(registry.head_blob(&repo("a"), &hello()).await), Code::BlobUnknown);
        // And the other side: a server that is told secrets.
        let server = support::ask::server();
        let secrets = [("authorization", "Bearer canary-token"), ("cookie", "canary-cookie")];
        support::ask::ask(&server, "GET /v2/a/tags/list?n=1&token=canary-query", &secrets, "canary-sent").await;
        support::ask::ask(&server, "PUT /v2/a/manifests/v1", &secrets, "{\"canary\":\"manifest\"}").await;
    }
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("canary"), "{log}");
    for want in [
        r#"method="GET" url="http://registry.invalid/v2/" status=401"#,
        r#"method="GET" url="http://registry.invalid/v2/" status=200"#,
        r#"warning="going away""#,
        r#"sending again method="POST" url="http://registry.invalid/v2/a/blobs/uploads/" verdict=asked to wait 0 s"#,
        r#"method="PUT" url="http://registry.invalid/v2/a/blobs/uploads/1" status=201"#,
        r#"call{op="put_blob" repo="a"}: "#,
        r#"call{op="get_blob" repo="a"}: "#,
        r#"url="http://storage.invalid/x" status=200"#,
        r#"broke off, asking for the rest"#,
        r#"url="http://storage.invalid/x" status=206"#,
        r#"outcome="done" bytes=5 duration="#,
        r#"outcome="BLOB_UNKNOWN" status=404 bytes=0 duration="#,
        r#"request method="GET" path="/v2/a/tags/list" status=404"#,
    ] {
        assert!(log.contains(want), "{want}\n{log}");
    }
}

/// A registry behind a proxy that wants tokens, is busy at first, breaks off a blob, and has secrets of its own.
async fn secretive(proxy_wants: &'static str) -> Fake {
    let (busy, whole) = (AtomicBool::new(true), AtomicBool::new(false));
    Fake::new(move |seen| {
        assert_eq!(seen.text("proxy-authorization"), Some(proxy_wants));
        let path = seen.target.strip_prefix("http://registry.invalid").unwrap_or("/elsewhere");
        let challenge = r#"Bearer realm="http://registry.invalid/token?canary-realm",service="x""#;
        match (seen.method.as_str(), path) {
            (_, path) if path.starts_with("/token") => {
                reply(200, &[], r#"{"access_token":"canary-token","refresh_token":"canary-refresh"}"#)
            }
            ("GET", "/elsewhere") if seen.text("range").is_none() => {
                let part = stream::iter([Ok(Bytes::from("hel"))]);
                let gone = stream::once(async {
                    tokio::task::yield_now().await;
                    Err(Error::new(Code::Unknown, "gone"))
                });
                support::stream(200, &[("content-length", "5")], Body::new(Some(5), part.chain(gone)))
            }
            ("GET", "/elsewhere") => reply(206, &[("content-range", "bytes 3-4/5")], "lo"),
            _ if seen.text("authorization") != Some("Bearer canary-token") => {
                reply(401, &[("www-authenticate", challenge)], r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
            }
            ("GET", "/v2/") => reply(200, &[("warning", "299 - \"going away\"")], "{}"),
            ("HEAD", _) if !whole.swap(true, SeqCst) => reply(404, &[], ""),
            ("POST", _) if busy.swap(false, SeqCst) => reply(503, &[("retry-after", "0")], "canary-busy"),
            ("POST", _) => reply(202, &[("location", "/v2/a/blobs/uploads/1?_state=canary-state")], ""),
            ("PATCH", _) => reply(202, &[("range", "0-4")], ""),
            ("PUT", _) => reply(201, &[], ""),
            ("GET", path) if path.contains("/blobs/") => {
                reply(307, &[("location", "http://storage.invalid/x?signature=canary-signature")], "")
            }
            ("GET", path) if path.contains("/manifests/") => {
                reply(200, &[("content-type", media_type::IMAGE)], "{\"canary\":\"manifest\"}")
            }
            (method, path) => panic!("{method} {path}"),
        }
    })
    .await
}

/// Collects what is written to it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
