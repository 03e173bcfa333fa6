//! Where a hostile registry tries to lead the client: every place an address can come from, every form of one.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use futures_util::TryStreamExt;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::Proxies;
use skep_http::Settings;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::OCTET_STREAM;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use tokio::net::TcpListener;

use crate::support::Fake;
use crate::support::Seen;
use crate::support::hello;
use crate::support::options;
use crate::support::reply;
use crate::support::repo;

/// Hosts that a registry out there has no business to name.
const INSIDE: [&str; 44] = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "ip6-localhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "2852039166",
    "100.64.0.1",
    "198.18.0.1",
    "255.255.255.255",
    "metadata.google.internal",
];

const SINKS: [&str; 6] = ["realm", "redirect", "location", "link", "token", "urls"];

/// A registry that is nowhere but behind a proxy, and names an address in every way.
async fn hostile(sink: &'static str, address: String) -> Fake {
    Fake::new(move |seen| {
        let address = address.as_str();
        let realm = |realm: &str| reply(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\""))], "");
        match sink {
            _ if !seen.target.starts_with("http://registry.invalid/") => reply(418, &[], ""),
            "realm" => realm(address),
            "token" if seen.target.contains("/token") => reply(307, &[("location", address)], ""),
            "token" => realm("http://registry.invalid/token"),
            "location" if seen.method == "POST" => reply(202, &[("location", address)], ""),
            "link" => reply(200, &[("link", &format!("<{address}>; rel=\"next\""))], r#"{"tags":["a"]}"#),
            _ => reply(307, &[("location", address)], ""),
        }
    })
    .await
}

/// A client with something to lose, that goes through a proxy.
fn client(proxy: &Fake) -> Client {
    let headers = BTreeMap::from([("x-secret".to_owned(), "hunter2".to_owned())]);
    let settings = Settings { headers, ..Default::default() };
    let url = Some(format!("http://{}", proxy.host()));
    let options = ClientOptions {
        credentials: Arc::new(Credential::Basic { user: "user".to_owned(), password: "hunter2".to_owned() }),
        registries: BTreeMap::from([("registry.invalid".to_owned(), settings)]),
        certs_dirs: Vec::new(),
        proxies: Proxies { http: url.clone(), https: url, none: String::new() },
        ..options()
    };
    Client::new("http://registry.invalid", options).unwrap()
}

/// Uses a sink; says whether that went well.
async fn fall_for(client: &Client, sink: &str, address: &str) -> bool {
    let blob = Descriptor { urls: vec![address.to_owned()], ..Descriptor::of(OCTET_STREAM, b"hello") };
    match sink {
        "location" => client.put_blob(&repo("a"), &blob, Body::from(Bytes::from("hello"))).await.is_ok(),
        "link" => client.tags(&repo("a")).try_collect::<Vec<_>>().await.is_ok(),
        "urls" => client.get_foreign(&blob).await.is_ok(),
        _ => client.read_blob(&repo("a"), &hello(), 10).await.is_ok(),
    }
}

/// Listens on every address of this machine, and counts who comes.
async fn canary() -> (u16, Arc<AtomicUsize>) {
    let heard = Arc::new(AtomicUsize::new(0));
    let first = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("::1", port)).await.ok();
    for listener in [Some(first), second].into_iter().flatten() {
        let heard = heard.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                heard.fetch_add(1, SeqCst);
            }
        });
    }
    (port, heard)
}

fn is_own(seen: &Seen) -> bool {
    seen.target.starts_with("http://registry.invalid/")
}

#[tokio::test]
async fn nothing_inside_hears_of_the_client() {
    let (port, heard) = canary().await;
    for sink in SINKS {
        for host in INSIDE {
            for scheme in ["http", "https"] {
                let address = format!("{scheme}://{host}:{port}/elsewhere");
                let fake = hostile(sink, address.clone()).await;
                // What cannot be the text of a header is no link, and the list ends there.
                let went_well = fall_for(&client(&fake), sink, &address).await;
                assert!(!went_well || sink == "link" && !host.is_ascii(), "{sink} {address}");
                let seen = fake.seen();
                assert!(seen.iter().all(is_own), "{sink} {address}: {:?}", fake.lines());
                assert!(sink == "urls" || !seen.is_empty(), "{sink} {address}");
            }
        }
    }
    assert_eq!(heard.load(SeqCst), 0);
}

#[tokio::test]
async fn strangers_are_asked_without_anything_of_the_client() {
    for sink in SINKS {
        let address = "http://cdn.invalid/elsewhere";
        let fake = hostile(sink, address.to_owned()).await;
        assert!(!fall_for(&client(&fake), sink, address).await);
        let foreign: Vec<_> = fake.seen().into_iter().filter(|seen| !is_own(seen)).collect();
        assert_eq!(foreign.is_empty(), sink == "link", "{sink}");
        for seen in foreign {
            assert_eq!(seen.text("x-secret"), None, "{sink}");
            // A token server is told the password, and nobody else.
            assert_eq!(seen.text("authorization").is_some(), sink == "realm", "{sink}");
        }
        assert!(
            fake.seen()
                .iter()
                .filter(|seen| is_own(seen))
                .all(|seen| { seen.target.contains("/token") || seen.text("x-secret") == Some("hunter2") })
        );
    }
}

#[tokio::test]
async fn foreign_urls_are_asked_anonymously_even_at_the_registry() {
    let fake = Fake::new(|_| reply(200, &[("content-length", "5")], "hello")).await;
    let client = client(&fake);
    let urls = ["http://127.0.0.1/x", "http://registry.invalid/x", "http://cdn.invalid/x"].map(str::to_owned).to_vec();
    let blob = Descriptor { urls, ..Descriptor::of(OCTET_STREAM, b"hello") };
    assert_eq!(client.get_foreign(&blob).await.unwrap().bytes(10).await.unwrap(), "hello");
    assert_eq!(fake.lines(), ["GET http://registry.invalid/x"]);
    assert_eq!((fake.seen()[0].text("x-secret"), fake.seen()[0].text("authorization")), (None, None));
    let wrong = Descriptor { urls: blob.urls.clone(), ..Descriptor::of(OCTET_STREAM, b"hellO") };
    assert!(client.get_foreign(&wrong).await.unwrap().bytes(10).await.is_err());
    assert!(client.get_foreign(&Descriptor::of(OCTET_STREAM, b"hello")).await.unwrap_err().is_not_found());
}
