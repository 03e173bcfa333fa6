//! Redirects of blobs: where a registry leads to, and where the next part is asked for.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Registry;

use crate::support::Fake;
use crate::support::Seen;
use crate::support::hello;
use crate::support::options;
use crate::support::reply;
use crate::support::repo;

#[tokio::test]
async fn redirects_are_followed_with_the_range_and_without_end() {
    let storage = Fake::new(|seen| {
        assert_eq!(seen.text("range"), Some("bytes=1-2"));
        reply(206, &[("content-range", "bytes 1-2/5")], "el")
    });
    let storage = storage.await;
    let target = format!("http://{}/signed?signature=x", storage.host());
    let fake = Fake::new(move |seen: &Seen| match seen.target.as_str() {
        "/hop" => reply(302, &[("location", &target)], ""),
        _ => reply(307, &[("location", "/hop")], ""),
    });
    let fake = fake.await;
    let blob = fake.client().get_blob(&repo("a"), &hello(), Some(ByteRange::Span(1, 3))).await.unwrap();
    assert_eq!(blob.body.bytes(10).await.unwrap(), "el");
    let circle = Fake::new(|_| reply(307, &[("location", "/again?secret")], "")).await;
    let error = circle.client().get_blob(&repo("a"), &hello(), None).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unsupported);
    assert!(error.message().ends_with("leads in circles"), "{error}");
    assert_eq!(circle.lines().len(), 11);
}

/// A storage that takes the newest signature only, and a registry that leads there with a new one each time.
async fn signing() -> (Fake, Fake, Arc<AtomicUsize>) {
    let signatures = Arc::new(AtomicUsize::new(0));
    let newest = signatures.clone();
    let storage = Fake::new(move |seen| {
        assert_eq!((seen.text("authorization"), seen.text("range")), (None, Some("bytes=1-2")));
        match seen.target == format!("/blob?signature={}", newest.load(SeqCst)) {
            true => reply(206, &[("content-range", "bytes 1-2/5")], "el"),
            false => reply(403, &[], "expired"),
        }
    });
    let (storage, newest) = (storage.await, signatures.clone());
    let target = format!("http://{}/blob?signature=", storage.host());
    let registry = Fake::new(move |seen: &Seen| match seen.text("authorization") {
        Some("Basic dXNlcjpwYXNz") => {
            reply(307, &[("location", &format!("{target}{}", newest.fetch_add(1, SeqCst) + 1))], "")
        }
        _ => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    });
    (registry.await, storage, signatures)
}

#[tokio::test]
async fn where_a_blob_was_found_its_next_part_is_asked_for() {
    let (registry, storage, signatures) = signing().await;
    let basic = Credential::Basic { user: "user".to_owned(), password: "pass".to_owned() };
    let options = ClientOptions { credentials: Arc::new(basic), ..options() };
    let client = Client::new(registry.host(), options).unwrap();
    let read = async || {
        let blob = client.get_blob(&repo("a"), &hello(), Some(ByteRange::Span(1, 3))).await.unwrap();
        assert_eq!(blob.body.bytes(10).await.unwrap(), "el");
    };
    for _ in 0..3 {
        read().await;
    }
    // The first was asked who it is, and led on.
    assert_eq!((registry.lines().len(), storage.lines().len()), (2, 3));
    // The signature ends: that is noticed, and a new one is asked for.
    signatures.fetch_add(1, SeqCst);
    read().await;
    read().await;
    assert_eq!((registry.lines().len(), storage.lines().len()), (3, 6));
}

#[tokio::test]
async fn a_storage_that_is_gone_is_asked_once() {
    let part = |_: &Seen| reply(206, &[("content-range", "bytes 1-2/5")], "el");
    let (gone, there) = (Fake::new(part).await, Fake::new(part).await);
    let places = Mutex::new(vec![there.host().to_owned(), gone.host().to_owned()]);
    let registry = Fake::new(move |_| {
        let host = places.lock().unwrap().pop().unwrap();
        reply(307, &[("location", &format!("http://{host}/blob"))], "")
    });
    let registry = registry.await;
    let client = registry.client();
    let mut gone = Some(gone);
    for _ in 0..3 {
        let blob = client.get_blob(&repo("a"), &hello(), Some(ByteRange::Span(1, 3))).await.unwrap();
        assert_eq!(blob.body.bytes(10).await.unwrap(), "el");
        gone.take();
    }
    assert_eq!((registry.lines().len(), there.lines().len()), (2, 2));
}
