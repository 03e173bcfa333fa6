//! Over how many connections a client reads: one for what comes one by one, more for what comes at once.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Pem;
use skep_http::Proxies;
use skep_http::Server;
use skep_http::Settings;
use skep_http::testing::Faulty;
use skep_http::testing::FaultyOptions;
use skep_http::testing::Link;
use skep_http::testing::LinkOptions;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Memory;
use skep_registry::OCTET_STREAM;
use skep_registry::Registry;
use skep_registry::RepoName;

fn config(alpn: &[&str]) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.cert")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A blob of a MiB in a registry behind TLS or not, a link that counts, and a client.
async fn registry(tls: Option<&[&str]>) -> (Faulty, Link, Client, RepoName, Descriptor) {
    let (memory, repo): (_, RepoName) = (Memory::default(), "a".parse().unwrap());
    let content = bytes::Bytes::from(vec![7; 1 << 20]);
    let blob = Descriptor::of(OCTET_STREAM, &content);
    memory.put_blob(&repo, &blob, Body::from(content)).await.unwrap();
    let options = FaultyOptions { tls: tls.map(config), ..Default::default() };
    let server = Faulty::serve(Server::new(Arc::new(memory)), options).await.unwrap();
    let link = Link::to(server.host(), LinkOptions::default()).await.unwrap();
    let settings = Settings { ca: vec![Pem::Text(include_str!("tls/ca.crt").to_owned())], ..Default::default() };
    let options = ClientOptions {
        registries: BTreeMap::from([(link.host().to_owned(), settings)]),
        certs_dirs: Vec::new(),
        proxies: Proxies::default(),
        ..ClientOptions::default()
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let client = Client::new(&format!("{scheme}://{}", link.host()), options).unwrap();
    (server, link, client, repo, blob)
}

async fn read(client: &Client, repo: &RepoName, blob: &Descriptor) {
    let body = client.get_blob(repo, &blob.digest, None).await.unwrap().body;
    assert_eq!(body.bytes(blob.size).await.unwrap().len() as u64, blob.size);
}

#[tokio::test]
async fn what_is_read_one_by_one_comes_over_one_connection() {
    for tls in [None, Some(&["http/1.1"][..]), Some(&["h2", "http/1.1"])] {
        let (_server, link, client, repo, blob) = registry(tls).await;
        for _ in 0..3 {
            client.head_blob(&repo, &blob.digest).await.unwrap();
            read(&client, &repo, &blob).await;
        }
        assert_eq!(link.connections(), 1, "{tls:?}");
    }
}

#[tokio::test]
async fn blobs_that_are_read_at_once_have_a_connection_each() {
    for tls in [None, Some(&["http/1.1"][..]), Some(&["h2", "http/1.1"])] {
        let (_server, link, client, repo, blob) = registry(tls).await;
        let bodies = [
            client.get_blob(&repo, &blob.digest, None).await.unwrap().body,
            client.get_blob(&repo, &blob.digest, None).await.unwrap().body,
            client.get_blob(&repo, &blob.digest, None).await.unwrap().body,
        ];
        for body in bodies {
            body.bytes(blob.size).await.unwrap();
        }
        assert_eq!(link.connections(), 3, "{tls:?}");
        // And the next one has one of these.
        read(&client, &repo, &blob).await;
        assert_eq!(link.connections(), 3, "{tls:?}");
    }
}
