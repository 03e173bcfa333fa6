//! Faults of another client that `docs/faults.md` lists: what it asks of a registry that it need not ask.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::sync::Arc;
use std::sync::Mutex;

use crate::support::Served;
use crate::support::push;
use crate::support::site;
use http::Method;
use skep::Address;
use skep::Client;
use skep::ExtractOptions;
use skep_http::Server;
use skep_http::testing::Login;
use skep_http::testing::Profile;
use skep_http::testing::Quirky;
use skep_http::testing::Tokens;
use skep_registry::Memory;
use tempfile::tempdir;
use tokio::net::TcpListener;
use tower::ServiceExt;

type Lines = Arc<Mutex<Vec<String>>>;

/// A registry with tokens that sends readers of blobs elsewhere and answers no HEAD; the lines of its requests.
async fn served_without_head(memory: &Memory) -> (Address, Lines) {
    let profile =
        Profile { login: Some(Login::bearer(Tokens::default())), redirects_blobs: true, ..Default::default() };
    let lines = Lines::default();
    let seen = lines.clone();
    let service = Quirky::new(Server::new(Arc::new(memory.clone())), profile);
    let service = service.map_request(move |mut request: http::Request<_>| {
        let place = if request.uri().path() == "/token" { "/token" } else { "" };
        seen.lock().unwrap().push(format!("{}{place}", request.method()));
        if request.method() == Method::HEAD {
            // Which has no answer, but one of some length.
            *request.method_mut() = Method::PATCH;
        }
        request
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("{}/team/site:v1", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(skep_http::serve(listener, service, std::future::pending()));
    (address, lines)
}

#[tokio::test]
async fn neither_head_nor_a_second_token_is_wanted() {
    let (served, site) = (Served::new().await, site());
    push(&Client::default(), site.path(), &served.address("v1")).await;
    let (address, lines) = served_without_head(&served.registry.memory).await;
    let client = Client::default();
    for _ in 0..3 {
        let pulled = client.pull(&address).await.unwrap();
        assert_eq!(pulled.read("page").await.unwrap(), "hello");
        let dest = tempdir().unwrap();
        let extracted = pulled.extract(dest.path(), ExtractOptions::default(), Arc::new(|_| {})).await.unwrap();
        assert_eq!(extracted.files, 12);
    }
    let lines = lines.lock().unwrap();
    assert_eq!(lines.iter().filter(|line| line.ends_with("/token")).count(), 1, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("GET")), "{lines:?}");
}

#[tokio::test]
async fn an_archive_without_bytes_is_pulled_over_http() {
    let (served, tree) = (Served::new().await, tempdir().unwrap());
    fs::create_dir_all(tree.path().join("empty/within")).unwrap();
    fs::write(tree.path().join("nothing"), "").unwrap();
    let (client, address) = (Client::default(), served.address("v1"));
    push(&client, tree.path(), &address).await;
    let pulled = client.pull(&address).await.unwrap();
    assert_eq!(pulled.read("nothing").await.unwrap(), "");
    let dest = tempdir().unwrap();
    pulled.extract(dest.path(), ExtractOptions::default(), Arc::new(|_| {})).await.unwrap();
    assert!(dest.path().join("empty/within").is_dir());
    assert_eq!(fs::metadata(dest.path().join("nothing")).unwrap().len(), 0);
}
