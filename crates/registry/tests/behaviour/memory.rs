//! `Memory` keeps every promise of the trait, and forgets uploads that nobody goes on with.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Memory;
use skep_registry::MemoryOptions;
use skep_registry::Registry;
use skep_registry::UploadOptions;
use skep_registry::fixture::Content;

skep_registry::conformance_tests!((Memory::default(), ()));

#[tokio::test(start_paused = true)]
async fn uploads_that_nobody_goes_on_with_are_forgotten() {
    let registry = Memory::default();
    let repo = "a/b".parse().unwrap();
    let begin = || registry.upload_blob(&repo, UploadOptions::default());
    let resume = |id: &str| {
        let options = UploadOptions { resume: Some(id.to_owned()), ..Default::default() };
        registry.upload_blob(&repo, options)
    };
    let idle = begin().await.unwrap().id().to_owned();
    let mut live = begin().await.unwrap();
    tokio::time::advance(Duration::from_secs(23 * 60 * 60)).await;
    live.append(Bytes::from("hello").into()).await.unwrap();
    assert_eq!(resume(&idle).await.unwrap().offset(), 0);
    tokio::time::advance(Duration::from_secs(2 * 60 * 60)).await;
    begin().await.unwrap();
    assert_eq!(resume(&idle).await.unwrap_err().code(), &Code::BlobUploadUnknown);
    assert_eq!(resume(live.id()).await.unwrap().offset(), 5);
    live.commit(&Digest::sha256(b"hello")).await.unwrap();
}

#[tokio::test]
async fn missing_content_may_be_allowed() {
    let content = Content::from_json(json!({ "a/b": {
        "blobs": { "config": "{}", "layer": "layer" },
        "manifests": { "image": { "config": "config", "layers": ["layer"] }, "index": { "manifests": ["image"] } },
        "tags": { "v1": "index" },
    } }));
    let content = content.unwrap().build().unwrap();
    let index = content.manifest("a/b", "index");
    let repo = "a/b".parse().unwrap();
    let strict = Memory::default();
    let error = strict.put_manifest(&repo, index, Default::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::ManifestBlobUnknown);
    assert!(error.to_string().contains("manifests[0]"), "{error}");
    assert!(strict.list_repos(&Default::default()).await.unwrap().items.is_empty());
    let lax = Memory::new(MemoryOptions { allow_missing: true });
    lax.put_manifest(&repo, index, Default::default()).await.unwrap();
    assert_eq!(lax.get_manifest(&repo, &index.digest().clone().into()).await.unwrap(), *index);
}
