//! How a registry is reached: certificates, proxies, headers, mirrors, and what it warns of.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Mirrors;
use skep_http::OnWarning;
use skep_http::Pem;
use skep_http::Probe;
use skep_http::ProbeOptions;
use skep_http::Proxies;
use skep_http::Settings;
use skep_http::Trouble;
use skep_registry::Code;
use skep_registry::Page;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::Fake;
use crate::support::code;
use crate::support::hello;
use crate::support::options;
use crate::support::reply;
use crate::support::repo;

const CA: &str = include_str!("../tls/ca.crt");
const SERVER_CERT: &[u8] = include_bytes!("../tls/server.cert");
const SERVER_KEY: &[u8] = include_bytes!("../tls/server.key");
const CLIENT_CERT: &str = include_str!("../tls/client.cert");
const CLIENT_KEY: &str = include_str!("../tls/client.key");

/// A registry with TLS whose every answer is the name of what the client showed; with `wants_client`, it lets
/// nobody in who shows nothing.
async fn tls(wants_client: bool) -> (String, JoinHandle<()>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CA.as_bytes()).unwrap()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = if wants_client { verifier } else { verifier.allow_unauthenticated() };
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier.build().unwrap());
    let chain = vec![CertificateDer::from_pem_slice(SERVER_CERT).unwrap()];
    let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let shown = stream.get_ref().1.peer_certificates().is_some();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let body = format!(r#"{{"tags":["{}"]}}"#, if shown { "known" } else { "unknown" });
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (host, task)
}

/// Options of a client that looks for nothing on the machine.
fn with(host: &str, settings: Settings) -> ClientOptions {
    let registries = BTreeMap::from([(host.to_owned(), settings)]);
    ClientOptions { registries, certs_dirs: Vec::new(), proxies: Proxies::default(), ..options() }
}

/// What the registry says the client showed.
async fn shown(host: &str, options: ClientOptions) -> Result<String, Code> {
    let client = Client::new(&format!("https://{host}"), options).map_err(|error| error.code().clone())?;
    let listing = client.list_tags(&repo("a"), &Page::default()).await.map_err(|error| error.code().clone())?;
    Ok(listing.items[0].to_string())
}

#[tokio::test]
async fn certificates_are_the_ones_of_the_settings() {
    let text = |pem: &str| Pem::Text(pem.to_owned());
    let ca = || Settings { ca: vec![text(CA)], ..Default::default() };
    let both = || Settings { client_certificate: Some(text(CLIENT_CERT)), client_key: Some(text(CLIENT_KEY)), ..ca() };
    for (wants_client, settings, want) in [
        (false, Settings::default(), Err(Code::Unavailable)),
        (false, ca(), Ok("unknown")),
        (false, Settings { skip_verify: true, ..Default::default() }, Ok("unknown")),
        (false, both(), Ok("known")),
        (true, ca(), Err(Code::Unavailable)),
        (true, both(), Ok("known")),
        (true, Settings { ca: vec![text("-----BEGIN CERTIFICATE-----\nx")], ..Default::default() }, Err(Code::Unknown)),
        (true, Settings { ca: vec![Pem::File("/does/not/exist".into())], ..Default::default() }, Err(Code::Unknown)),
    ] {
        let (host, task) = tls(wants_client).await;
        let got = shown(&host, with(&host, settings.clone())).await;
        assert_eq!(got, want.map(str::to_owned), "{wants_client} {settings:?}");
        task.abort();
    }
}

#[tokio::test]
async fn certificates_are_found_where_docker_keeps_them() {
    let (host, task) = tls(true).await;
    let dirs = tempfile::tempdir().unwrap();
    let own = dirs.path().join(&host);
    std::fs::create_dir_all(&own).unwrap();
    let look = || ClientOptions {
        certs_dirs: vec![dirs.path().join("missing"), dirs.path().to_path_buf()],
        ..with(&host, Settings::default())
    };
    let put = |name: &str, text: &str| std::fs::write(own.join(name), text).unwrap();
    assert_eq!(shown(&host, look()).await, Err(Code::Unavailable));
    put("ca.crt", CA);
    put("notes.txt", "not a certificate");
    assert_eq!(shown(&host, look()).await, Err(Code::Unavailable));
    put("me.cert", CLIENT_CERT);
    let error = Client::new(&host, look()).unwrap_err().to_string();
    assert!(error.contains("me.cert lacks") && error.ends_with("me.key"), "{error}");
    put("me.key", CLIENT_KEY);
    assert_eq!(shown(&host, look()).await, Ok("known".to_owned()));
    std::fs::remove_file(own.join("me.cert")).unwrap();
    assert!(Client::new(&host, look()).unwrap_err().to_string().contains("me.key lacks"));
    let elsewhere = ClientOptions { certs_dirs: vec![PathBuf::from("/does/not/exist")], ..look() };
    assert_eq!(shown(&host, elsewhere).await, Err(Code::Unavailable));
    task.abort();
}

#[tokio::test]
async fn certificates_and_headers_stay_with_their_origin() {
    let (stranger, task) = tls(false).await;
    let canary = Fake::new(|_| reply(200, &[("content-length", "5")], "hello")).await;
    let target = format!("http://{}/blob", canary.host());
    let fake = Fake::new(move |_| reply(307, &[("location", &target)], "")).await;
    let secret = BTreeMap::from([("x-secret".to_owned(), "hunter2".to_owned())]);
    let client =
        Client::new(fake.host(), with(fake.host(), Settings { headers: secret, ..Default::default() })).unwrap();
    client.read_blob(&repo("a"), &hello(), 10).await.unwrap();
    assert_eq!(fake.seen()[0].text("x-secret"), Some("hunter2"));
    assert_eq!(canary.seen()[0].text("x-secret"), None);
    // A registry that sends the client to a stranger, who asks for a certificate.
    let target = format!("https://{stranger}/v2/a/tags/list");
    let fake = Fake::new(move |_| reply(307, &[("location", &target)], "")).await;
    let settings = Settings {
        ca: vec![Pem::Text(CA.to_owned())],
        client_certificate: Some(Pem::Text(CLIENT_CERT.to_owned())),
        client_key: Some(Pem::Text(CLIENT_KEY.to_owned())),
        ..Default::default()
    };
    let client = Client::new(fake.host(), with(fake.host(), settings)).unwrap();
    let got = client.list_tags(&repo("a"), &Page::default()).await.unwrap();
    assert_eq!(got.items[0].as_str(), "unknown");
    // Nor is a stranger trusted because the registry is.
    let settings = Settings { skip_verify: true, ..Default::default() };
    let client = Client::new(fake.host(), with(fake.host(), settings)).unwrap();
    assert_eq!(code(client.list_tags(&repo("a"), &Page::default()).await), Code::Unavailable);
    task.abort();
}

#[test]
fn headers_of_the_connection_are_not_for_settings() {
    for name in ["host", "Content-Length", "transfer-encoding", "connection", "bad name"] {
        let headers = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let options = with("r.example.com", Settings { headers, ..Default::default() });
        assert_eq!(code(Client::new("r.example.com", options)), Code::Unsupported, "{name}");
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_is_for_them() {
    let proxy = Fake::new(|_| reply(200, &[], r#"{"tags":["b"]}"#)).await;
    let ask = async |host: &str, none: &str| {
        let proxies =
            Proxies { http: Some(format!("http://user:hunter2@{}", proxy.host())), https: None, none: none.to_owned() };
        let options = ClientOptions { proxies, ..with(host, Settings::default()) };
        assert!(!format!("{options:?}").contains("hunter2"));
        let options = ClientOptions { retry: skep_http::RetryOptions { attempts: 1, ..Default::default() }, ..options };
        let before = proxy.lines().len();
        let listed = Client::new(&format!("http://{host}"), options).unwrap();
        let listed = listed.list_tags(&repo("a"), &Page::default()).await.is_ok();
        (listed, proxy.lines().len() - before)
    };
    assert_eq!(ask("r.invalid", "").await, (true, 1));
    assert_eq!(proxy.lines(), ["GET http://r.invalid/v2/a/tags/list"]);
    assert!(proxy.seen()[0].text("proxy-authorization").unwrap().starts_with("Basic "));
    assert_eq!(ask("r.invalid:5000", "other.invalid").await, (true, 1));
    for none in ["r.invalid", ".invalid", "invalid", "*", "a.invalid, r.invalid"] {
        assert_eq!(ask("r.invalid", none).await, (false, 0), "{none}");
    }
    // With TLS there is a tunnel, in which the proxy reads nothing.
    let tunnels = Fake::new(|_| reply(403, &[], "")).await;
    let https = Some(format!("http://user:hunter2@{}", tunnels.host()));
    let options = ClientOptions {
        proxies: Proxies { https, ..Default::default() },
        retry: skep_http::RetryOptions { attempts: 1, ..Default::default() },
        ..with("r.invalid", Settings::default())
    };
    let client = Client::new("r.invalid", options).unwrap();
    assert_eq!(code(client.list_tags(&repo("a"), &Page::default()).await), Code::Unavailable);
    assert_eq!(tunnels.lines(), ["CONNECT r.invalid:443"]);
    assert!(tunnels.seen()[0].text("proxy-authorization").unwrap().starts_with("Basic "));
    let near = Fake::new(|_| reply(200, &[], r#"{"tags":[]}"#)).await;
    assert_eq!(ask(near.host(), "").await, (true, 0));
}

#[tokio::test]
async fn mirrors_are_read_in_order_and_not_written() {
    let missing = Fake::new(|_| reply(404, &[], "")).await;
    let broken = Fake::new(|_| reply(503, &[], "")).await;
    let good = Fake::new(|_| reply(200, &[("content-length", "5")], "hello")).await;
    let origin = Fake::new(|seen| match seen.method.as_str() {
        "DELETE" => reply(202, &[], ""),
        _ if seen.target.ends_with("list") => reply(200, &[], r#"{"tags":[]}"#),
        _ => reply(200, &[("content-length", "5")], "hello"),
    });
    let origin = origin.await;
    let of = |mirrors: &[&Fake]| {
        let mirrors = mirrors.iter().map(|fake| fake.host().to_owned()).collect();
        Mirrors::of(origin.host(), with(origin.host(), Settings { mirrors, ..Default::default() })).unwrap()
    };
    let all = of(&[&missing, &broken, &good]);
    assert_eq!(all.read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
    let asked = || [&missing, &broken, &good, &origin].map(|fake| fake.lines().len());
    assert_eq!(asked(), [1, 1, 1, 0]);
    assert_eq!(of(&[&missing]).read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
    assert_eq!(asked(), [2, 1, 1, 1]);
    all.list_tags(&repo("a"), &Page::default()).await.unwrap();
    all.delete_blob(&repo("a"), &hello()).await.unwrap();
    assert_eq!(asked(), [2, 1, 1, 3]);
}

#[tokio::test]
async fn warnings_are_told_once() {
    let fake = Fake::new(|_| {
        let head = [("warning", r#"299 - "going away", 110 - "stale""#), ("warning", r#"299 - "for good""#)];
        reply(200, &head, r#"{"tags":[]}"#)
    });
    let fake = fake.await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let on_warning = Some(OnWarning::new(move |text| log.lock().unwrap().push(text.to_owned())));
    let client = Client::new(fake.host(), ClientOptions { on_warning, ..options() }).unwrap();
    for _ in 0..3 {
        client.list_tags(&repo("a"), &Page::default()).await.unwrap();
    }
    assert_eq!(*told.lock().unwrap(), ["going away", "for good"]);
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_has_a_name() {
    let once = |host: &str, settings: Settings| {
        let retry = skep_http::RetryOptions { attempts: 1, ..Default::default() };
        ClientOptions { retry, ..with(host, settings) }
    };
    let trouble = async |url: &str, settings: Settings| {
        let known_as = url.split_once("://").map_or(url, |(_, rest)| rest);
        let error = Client::new(url, once(known_as, settings)).unwrap().ping().await.unwrap_err();
        Trouble::of(&error).ok_or_else(|| format!("{error:?}"))
    };
    let ca = || Settings { ca: vec![Pem::Text(CA.to_owned())], ..Default::default() };
    let (host, task) = tls(false).await;
    assert_eq!(trouble(&format!("https://{host}"), Settings::default()).await, Ok(Trouble::Untrusted));
    assert_eq!(trouble(&format!("http://{host}"), Settings::default()).await, Ok(Trouble::ExpectsTls));
    // TLS is looked at whoever it is; then the certificate counts.
    let options = || once(&host, Settings::default());
    let report =
        Probe::new(&format!("https://{host}"), options()).unwrap().run(&ProbeOptions::default(), &|_| {}).await;
    let came = &report.finding("tls").unwrap().came;
    assert!(came.starts_with("TLS 1.3, ") && came.ends_with("certificates sent: 1"), "{came}");
    assert_eq!(Trouble::of(&report.blocker.unwrap()), Some(Trouble::Untrusted));
    let trusted = Probe::new(&format!("https://{host}"), once(&host, ca())).unwrap();
    let report = trusted.run(&ProbeOptions::default(), &|_| {}).await;
    let came = &report.finding("http").unwrap().came;
    assert!(came.ends_with("and 1 that were set"), "{came}");
    task.abort();
    let (host, task) = tls(true).await;
    let demanded = trouble(&format!("https://{host}"), ca()).await;
    assert_eq!(demanded, Ok(Trouble::WantsCertificate));
    task.abort();
    let plain = Fake::new(|_| reply(400, &[], "Client sent an HTTP request to an HTTPS server.\n")).await;
    assert_eq!(trouble(plain.host(), Settings::default()).await, Ok(Trouble::ExpectsTls));
    assert_eq!(trouble(&format!("https://{}", plain.host()), Settings::default()).await, Ok(Trouble::NotTls));
    assert_eq!(trouble("127.0.0.1:1", Settings::default()).await, Ok(Trouble::Refused));
}
