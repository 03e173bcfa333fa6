//! Copies bring over whole graphs, each thing once, and ask no more than they must.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::Memory;
use skep_registry::MemoryOptions;
use skep_registry::Platform;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::Tag;
use skep_registry::fixture::Content;
use skep_registry::media_type;
use skep_registry::transfer::BlobCopy;
use skep_registry::transfer::CopyOptions;
use skep_registry::transfer::Place;
use skep_registry::transfer::Platforms;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::copy;
use skep_registry::transfer::copy_blob;

use crate::support::Faults;
use crate::support::Faulty;
use crate::support::MIB;
use crate::support::Mounting;
use crate::support::repo;

#[tokio::test]
async fn an_index_arrives_whole_and_each_thing_once() {
    let source = Source::new().await;
    let (registry, target) = target(Faults::default());
    let done = copy(&source.place, &tag("v1").into(), &target, &tagged(&["v1", "latest"])).await.unwrap();
    let stored = registry.requests();
    assert_eq!(count(&stored, "put_manifest"), 3);
    assert_eq!(stored.last(), Some(&"put_manifest"));
    assert_eq!(&done.manifest, source.index.descriptor());
    // Config and shared layer are the same for both platforms.
    assert_eq!((done.manifests, done.blobs), (3, 4));
    for name in ["v1", "latest"] {
        assert_eq!(target.registry.get_manifest(&target.repo, &tag(name).into()).await.unwrap(), source.index);
    }
    for blob in &source.blobs {
        let bytes = target.registry.read_blob(&target.repo, &blob.digest, u64::MAX).await.unwrap();
        assert_eq!(bytes.len() as u64, blob.size);
    }
    let asked = source.registry.requests();
    assert_eq!(count(&asked, "head_manifest"), 1);
    assert_eq!(count(&asked, "get_manifest"), 3);
    assert_eq!(count(&asked, "get_blob"), 4);
    assert_eq!(asked.len(), 8, "{asked:?}");
}

#[tokio::test]
async fn with_nothing_to_do_there_is_one_request_per_reference() {
    let source = Source::new().await;
    let (registry, target) = target(Faults::default());
    copy(&source.place, &tag("v1").into(), &target, &tagged(&["v1"])).await.unwrap();
    source.registry.requests();
    registry.requests();
    for (reference, asked) in [(tag("v1").into(), 1), (source.index.digest().clone().into(), 0)] {
        let done = copy(&source.place, &reference, &target, &tagged(&["v1"])).await.unwrap();
        assert_eq!((done.manifests, done.blobs, done.bytes), (0, 0, 0));
        assert_eq!(&done.manifest, source.index.descriptor());
        assert_eq!(source.registry.requests(), vec!["head_manifest"; asked]);
        assert_eq!(registry.requests(), ["head_manifest"]);
        let done = copy(&source.place, &reference, &target, &CopyOptions::default()).await.unwrap();
        assert_eq!(&done.manifest, source.index.descriptor());
        assert_eq!(source.registry.requests(), vec!["head_manifest"; asked]);
        assert_eq!(registry.requests(), ["head_manifest"]);
    }
}

#[tokio::test]
async fn a_tag_for_what_is_there_costs_no_blob() {
    let source = Source::new().await;
    let (registry, target) = target(Faults::default());
    copy(&source.place, &tag("v1").into(), &target, &tagged(&["v1"])).await.unwrap();
    source.registry.requests();
    registry.requests();
    let done = copy(&source.place, &tag("v1").into(), &target, &tagged(&["v2"])).await.unwrap();
    assert_eq!((done.manifests, done.blobs), (1, 0));
    assert_eq!(source.registry.requests(), ["head_manifest", "get_manifest"]);
    assert_eq!(registry.requests(), ["head_manifest", "head_manifest", "put_manifest"]);
}

#[tokio::test]
async fn a_deep_copy_mends_what_is_missing() {
    let source = Source::new().await;
    let memory = Memory::new(MemoryOptions { allow_missing: true });
    let target = Place::new(Arc::new(memory.clone()), repo("c"));
    copy(&source.place, &tag("v1").into(), &target, &tagged(&["v1"])).await.unwrap();
    memory.delete_blob(&target.repo, &source.blobs[1].digest).await.unwrap();
    let done = copy(&source.place, &tag("v1").into(), &target, &tagged(&["v1"])).await.unwrap();
    assert_eq!(done.blobs, 0);
    let options = CopyOptions { deep: true, ..tagged(&["v1"]) };
    let done = copy(&source.place, &tag("v1").into(), &target, &options).await.unwrap();
    assert_eq!((done.blobs, done.bytes), (1, source.blobs[1].size));
}

#[tokio::test]
async fn referrers_come_along_with_their_referrers() {
    let source = Source::new().await;
    let signature = source.refer(source.index.descriptor(), "signature").await;
    let countersignature = source.refer(signature.descriptor(), "countersignature").await;
    let provenance = source.refer(source.images[0].descriptor(), "provenance").await;
    let all = [&signature, &countersignature, &provenance];
    let (registry, target) = target(Faults::default());
    copy(&source.place, &tag("v1").into(), &target, &tagged(&["v1"])).await.unwrap();
    let missing = target.registry.head_manifest(&target.repo, &signature.digest().clone().into()).await;
    assert!(missing.unwrap_err().is_not_found());
    // What is there already does not keep them from coming.
    let options = CopyOptions { referrers: true, ..tagged(&["v1"]) };
    let done = copy(&source.place, &tag("v1").into(), &target, &options).await.unwrap();
    assert_eq!(done.manifests, 3);
    for manifest in all {
        let got = target.registry.get_manifest(&target.repo, &manifest.digest().clone().into()).await.unwrap();
        assert_eq!(&got, manifest);
    }
    registry.requests();
    let done = copy(&source.place, &tag("v1").into(), &target, &options).await.unwrap();
    assert_eq!((done.manifests, done.blobs), (0, 0));
    assert_eq!(registry.count("put_manifest"), 0);

    let (_, target) = self::target(Faults::default());
    let done = copy(&source.place, &tag("v1").into(), &target, &options).await.unwrap();
    assert_eq!(done.manifests, 6);
}

#[tokio::test]
async fn platforms_are_chosen() {
    let source = Source::new().await;
    let one = CopyOptions { platforms: Platforms::One(platform("arm64")), ..tagged(&["v1"]) };
    let (registry, target) = target(Faults::default());
    let done = copy(&source.place, &tag("v1").into(), &target, &one).await.unwrap();
    assert_eq!(&done.manifest, source.images[1].descriptor());
    assert_eq!((done.manifests, done.blobs), (1, 3));
    registry.requests();
    copy(&source.place, &tag("v1").into(), &target, &one).await.unwrap();
    assert_eq!(registry.requests(), ["head_manifest"]);

    let only = CopyOptions { platforms: Platforms::Only(vec![platform("amd64")]), ..tagged(&["v1"]) };
    let (_, strict) = self::target(Faults::default());
    let error = copy(&source.place, &tag("v1").into(), &strict, &only).await.unwrap_err();
    assert_eq!(error.code(), &Code::ManifestBlobUnknown);
    let lax = Place::new(Arc::new(Memory::new(MemoryOptions { allow_missing: true })), repo("c"));
    let done = copy(&source.place, &tag("v1").into(), &lax, &only).await.unwrap();
    assert_eq!(&done.manifest, source.index.descriptor());
    assert_eq!((done.manifests, done.blobs), (2, 3));

    for platforms in [Platforms::One(platform("riscv64")), Platforms::Only(vec![platform("riscv64")])] {
        let options = CopyOptions { platforms, ..tagged(&["v1"]) };
        let error = copy(&source.place, &tag("v1").into(), &strict, &options).await.unwrap_err();
        assert_eq!(error.code(), &Code::ManifestUnknown);
    }
}

#[tokio::test]
async fn within_a_registry_blobs_are_mounted() {
    for (mount, blobs, bytes) in
        [(Mounting::Works, 4, false), (Mounting::Unsupported, 4, true), (Mounting::Upload, 4, true)]
    {
        let source = Source::with(Faults { mount, ..Faults::default() }).await;
        let target = Place::new(source.registry.clone(), repo("elsewhere"));
        let target = Place { registry: source.place.registry.clone(), ..target };
        let done = copy(&source.place, &tag("v1").into(), &target, &tagged(&["v1"])).await.unwrap();
        assert_eq!((done.blobs, done.bytes > 0), (blobs, bytes), "{mount:?}");
        let asked = source.registry.requests();
        assert_eq!(count(&asked, "mount_blob"), 4, "{mount:?}");
        assert_eq!(count(&asked, "get_blob"), if bytes { 4 } else { 0 }, "{mount:?}");
        if mount == Mounting::Upload {
            // The sessions are used that the registry began.
            assert_eq!((count(&asked, "commit"), count(&asked, "upload_blob")), (4, 0));
        }
        let blob = copy_blob(&source.place, &target, &source.blobs[0], &CopyOptions::default()).await.unwrap();
        assert_eq!(blob == BlobCopy::Mounted, mount == Mounting::Works);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_survives_a_bad_line_at_both_ends() {
    let faults = Faults { cut: Some(64 << 10..512 << 10), throttle: Some(5), ..Faults::default() };
    let source = Source::with(faults.clone()).await;
    let (registry, target) = target(Faults { max_chunk: Some(MIB), ..faults });
    let upload = UploadSettings { single: MIB, ..UploadSettings::default() };
    let options = CopyOptions { concurrency: 2, upload, ..tagged(&["v1"]) };
    copy(&source.place, &tag("v1").into(), &target, &options).await.unwrap();
    for blob in &source.blobs {
        registry.inner().read_blob(&target.repo, &blob.digest, u64::MAX).await.unwrap();
    }
    assert!(registry.cuts() > 10 && source.registry.cuts() > 10);
}

#[tokio::test]
async fn what_a_registry_wrongly_lists_as_a_referrer_is_refused() {
    // Followed, a manifest that is listed as its own referrer would lead in circles.
    let source = Source::with(Faults { list_as_referrer: true, ..Faults::default() }).await;
    let (_, target) = target(Faults::default());
    let options = CopyOptions { referrers: true, ..tagged(&["v1"]) };
    let error = copy(&source.place, &tag("v1").into(), &target, &options).await.unwrap_err();
    assert_eq!(error.code(), &Code::ManifestInvalid);
}

#[tokio::test]
async fn a_target_that_has_none_of_many_small_blobs_is_not_asked_for_each() {
    let memory = Memory::default();
    let source = Place::new(Arc::new(memory.clone()), repo("a/b"));
    let mut layers = Vec::new();
    for n in 0..100 {
        layers.push(memory.write_blob(&source.repo, format!("blob {n}").into()).await.unwrap());
    }
    let config = memory.write_blob(&source.repo, "{}".into()).await.unwrap();
    let put = PutManifest { tags: vec![tag("v1")], ..Default::default() };
    memory.put_manifest(&source.repo, &image(config, layers, None), put).await.unwrap();
    for was_there in [0, 1] {
        let (registry, target) = target(Faults::default());
        for n in 0..was_there {
            target.registry.write_blob(&target.repo, format!("blob {n}").into()).await.unwrap();
        }
        registry.requests();
        let options = CopyOptions { concurrency: 4, ..tagged(&["v1"]) };
        let done = copy(&source, &tag("v1").into(), &target, &options).await.unwrap();
        assert_eq!(done.blobs, 101 - was_there);
        let asked = count(&registry.requests(), "head_blob") as u64;
        assert!(if was_there > 0 { asked == 101 } else { asked < 30 }, "{asked}");
    }
}

#[tokio::test]
async fn many_small_blobs_cross_from_memory_to_a_layout() {
    let layers: Vec<_> = (0..200).map(|at| format!("layer {at}")).collect();
    let blobs: BTreeMap<_, _> = layers.iter().map(String::as_str).zip(100..).chain([("config", 2)]).collect();
    let content = Content::from_json(json!({ "a/b": {
        "blobs": blobs,
        "manifests": { "image": { "config": "config", "layers": layers } },
        "tags": { "v1": "image" },
    } }));
    let content = content.unwrap().build().unwrap();
    let place = Place::new(Arc::new(Memory::default()), repo("a/b"));
    content.push(&*place.registry).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::tree(dir.path(), LayoutOptions::default()).unwrap();
    let target = Place::new(Arc::new(layout), repo("a/b"));
    let done = copy(&place, &tag("v1").into(), &target, &tagged(&["v1"])).await.unwrap();
    assert_eq!((done.blobs, done.manifests), (201, 1));
    assert_eq!(content.differences(&*target.registry).await, [""; 0]);
}

/// An index of two images with a config and a layer in common, in `a/b:v1`.
struct Source {
    registry: Arc<Faulty>,
    place: Place,
    index: Manifest,
    images: Vec<Manifest>,
    blobs: Vec<Descriptor>,
}

impl Source {
    async fn new() -> Self {
        Self::with(Faults::default()).await
    }

    async fn with(faults: Faults) -> Self {
        let child = |name: &str| json!({ "name": name, "platform": { "os": "linux", "architecture": name } });
        let content = Content::from_json(json!({ "a/b": {
            "blobs": { "config": "{}", "shared": 100, "first": 6 * MIB, "second": 3 * MIB },
            "manifests": {
                "amd64": { "config": "config", "layers": ["shared", "first"] },
                "arm64": { "config": "config", "layers": ["shared", "second"] },
                "index": { "manifests": [child("amd64"), child("arm64")] },
            },
            "tags": { "v1": "index" },
        } }));
        let content = content.unwrap().build().unwrap();
        let memory = Memory::default();
        content.push(&memory).await.unwrap();
        let blobs = ["config", "shared", "first", "second"].map(|name| content.blob("a/b", name).clone()).into();
        let images = ["amd64", "arm64"].map(|name| content.manifest("a/b", name).clone()).into();
        let index = content.manifest("a/b", "index").clone();
        let registry = Faulty::new(memory, faults);
        let place = Place::new(registry.clone(), repo("a/b"));
        Self { registry, place, index, images, blobs }
    }

    /// Adds a manifest about another.
    async fn refer(&self, subject: &Descriptor, text: &str) -> Manifest {
        let memory = self.registry.inner();
        let layer = memory.write_blob(&self.place.repo, text.to_owned().into()).await.unwrap();
        let manifest = image(self.blobs[0].clone(), vec![layer], Some(subject.clone()));
        memory.put_manifest(&self.place.repo, &manifest, PutManifest::default()).await.unwrap();
        manifest
    }
}

fn image(config: Descriptor, layers: Vec<Descriptor>, subject: Option<Descriptor>) -> Manifest {
    let content = ManifestContent {
        schema_version: 2,
        config: Some(config),
        layers: Some(layers),
        subject,
        ..ManifestContent::default()
    };
    Manifest::new(media_type::IMAGE, serde_json::to_vec(&content).unwrap())
}

fn target(faults: Faults) -> (Arc<Faulty>, Place) {
    let registry = Faulty::new(Memory::default(), faults);
    (registry.clone(), Place::new(registry, repo("c")))
}

fn tagged(tags: &[&str]) -> CopyOptions {
    CopyOptions { tags: tags.iter().map(|name| tag(name)).collect(), ..CopyOptions::default() }
}

fn platform(architecture: &str) -> Platform {
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), ..Platform::default() }
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

fn count(calls: &[&str], name: &str) -> usize {
    calls.iter().filter(|call| **call == name).count()
}
