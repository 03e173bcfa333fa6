//! Archives in a registry, and how often it is asked.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use crate::support::Counting;
use crate::support::build;
use crate::support::describe;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::text;
use crate::support::write;
use futures_util::StreamExt;
use skep_archive::Archive;
use skep_archive::ArchiveManifest;
use skep_archive::BuildOptions;
use skep_archive::Compression;
use skep_archive::Error;
use skep_archive::ExtractOptions;
use skep_archive::Limits;
use skep_archive::PushOptions;
use skep_archive::push;
use skep_registry::Code;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::transfer::Place;
use tempfile::tempdir;

const CHUNK: u64 = crate::support::CHUNK as u64;

fn repo() -> RepoName {
    "team/archive".parse().unwrap()
}

fn place(registry: &Counting) -> Place {
    Place::new(Arc::new(registry.clone()), repo())
}

fn tagged(tags: &[&str]) -> PushOptions {
    PushOptions { tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(), ..Default::default() }
}

#[tokio::test]
async fn a_push_sends_what_is_missing_and_a_second_one_nothing() {
    let tree = tempdir().unwrap();
    write(tree.path(), "a", "hello");
    let built = build(tree.path(), &BuildOptions::default());
    let registry = Counting::default();
    let pushed = push(&place(&registry), &built, &tagged(&["v1", "v2"])).await.unwrap();
    assert_eq!((pushed.blobs_sent, pushed.blobs_there, pushed.manifest_sent), (3, 0, true));
    let mut calls = registry.take();
    assert_eq!(calls.pop().unwrap(), "put_manifest");
    calls.sort();
    assert_eq!(calls.iter().filter(|call| *call == "head_manifest").count(), 2);
    assert_eq!(calls.iter().filter(|call| *call == "head_blob").count(), 3);
    assert_eq!(calls.iter().filter(|call| *call == "put_blob").count(), 3);

    let built = build(tree.path(), &BuildOptions::default());
    let again = push(&place(&registry), &built, &tagged(&["v1", "v2"])).await.unwrap();
    assert_eq!((again.blobs_sent, again.bytes_sent, again.manifest_sent), (0, 0, false));
    assert_eq!(again.manifest, pushed.manifest);
    assert_eq!(registry.take(), ["head_manifest", "head_manifest"]);

    let third = push(&place(&registry), &built, &tagged(&["v3"])).await.unwrap();
    assert_eq!((third.blobs_sent, third.blobs_there, third.manifest_sent), (0, 3, true));
}

#[tokio::test]
async fn the_manifest_is_as_the_format_says() {
    let tree = tempdir().unwrap();
    write(tree.path(), "a", "hello");
    crate::support::touch(tree.path(), "a", 1_700_000_000_999_999_999);
    let built = build(tree.path(), &BuildOptions::default());
    let registry = Counting::default();
    let mut options = tagged(&["v1"]);
    options.annotations.insert("b".to_owned(), "2".to_owned());
    options.annotations.insert("a".to_owned(), "1".to_owned());
    let pushed = push(&place(&registry), &built, &options).await.unwrap();
    let (index, data) = (built.index_descriptor(), built.data_descriptor());
    let want = format!(
        concat!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
            r#""artifactType":"application/vnd.meigma.blob.v1","#,
            r#""config":{{"mediaType":"application/vnd.oci.empty.v1+json","#,
            r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"#,
            r#""layers":[{{"mediaType":"application/vnd.meigma.blob.index.v1+flatbuffers","digest":"{}","size":{}}},"#,
            r#"{{"mediaType":"application/vnd.meigma.blob.data.v1","digest":"{}","size":5}}],"#,
            r#""annotations":{{"a":"1","b":"2","org.opencontainers.image.created":"2023-11-14T22:13:20Z"}}}}"#
        ),
        index.digest, index.size, data.digest
    );
    assert_eq!(std::str::from_utf8(pushed.manifest.bytes()).unwrap(), want);
    let epoch = PushOptions { epoch: Some(0), ..tagged(&["v2"]) };
    let manifest = skep_archive::manifest_of(&built, &epoch).unwrap();
    let parsed = ArchiveManifest::parse(&manifest).unwrap();
    assert_eq!(parsed.annotations["org.opencontainers.image.created"], "1970-01-01T00:00:00Z");
    assert_eq!(parsed.created.unwrap().as_second(), 0);
}

async fn pushed(tree: &std::path::Path, registry: Counting) -> (Counting, Archive) {
    let built = build(tree, &BuildOptions::default());
    push(&place(&registry), &built, &tagged(&["v1"])).await.unwrap();
    let manifest = registry.get_manifest(&repo(), &ManifestRef::Tag("v1".parse().unwrap())).await.unwrap();
    let manifest = ArchiveManifest::parse(&manifest).unwrap();
    registry.take();
    let archive = Archive::open(Arc::new(registry.clone()), &repo(), &manifest, Limits::default()).await.unwrap();
    assert_eq!(registry.take(), ["get_blob"], "opening takes the index and nothing else");
    (registry, archive)
}

#[tokio::test]
async fn a_read_is_one_request_for_just_its_bytes() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let (registry, archive) = pushed(tree.path(), Counting::default()).await;
    assert_eq!(archive.read("a/x").await.unwrap(), "a/x");
    assert_eq!(registry.take().len(), 1);
    assert!(archive.read("empty").await.unwrap().is_empty());
    assert_eq!(registry.take().len(), 0);
    let content = archive.stream("large/text").await.unwrap().bytes(1 << 30).await.unwrap();
    assert!(content == text(3_500_000));
    assert_eq!(registry.take().len(), 1);

    // Only the chunk that is covered: the ninth, of thirteen.
    let entry = archive.entry("large/noise").unwrap();
    let start = entry.data_offset + (2 << 20);
    let part = archive.read_range("large/noise", 2_100_000..2_200_000).await.unwrap();
    assert!(part.bytes(1 << 30).await.unwrap() == noise(3_300_001, 1)[2_100_000..2_200_000]);
    assert_eq!(registry.take(), [format!("get_blob bytes={start}-{}", start + CHUNK - 1)]);
}

#[tokio::test]
async fn ranges_cross_chunks() {
    let tree = tempdir().unwrap();
    write(tree.path(), "text", text(3_500_000));
    write(tree.path(), "noise", noise(3_300_001, 1));
    let (_, archive) = pushed(tree.path(), Counting::default()).await;
    for (path, content) in [("text", text(3_500_000)), ("noise", noise(3_300_001, 1))] {
        let size = content.len() as u64;
        for range in [
            0..0,
            0..1,
            0..size,
            CHUNK..CHUNK,
            CHUNK - 1..CHUNK + 1,
            CHUNK..2 * CHUNK,
            CHUNK - 1..2 * CHUNK + 1,
            size / CHUNK * CHUNK..size,
            size - 1..size,
            size..size,
        ] {
            let body = archive.read_range(path, range.clone()).await.unwrap();
            assert_eq!(body.len(), Some(range.end - range.start));
            let part = body.bytes(1 << 30).await.unwrap();
            assert!(part == content[range.start as usize..range.end as usize], "{path} {range:?}");
        }
        for range in [0..size + 1, size + 1..size + 1] {
            assert!(matches!(archive.read_range(path, range).await, Err(Error::InvalidRange { .. })));
        }
    }
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_gives_right_bytes() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let (_, archive) = pushed(tree.path(), Counting { ignores_ranges: true, ..Counting::default() }).await;
    assert_eq!(archive.read("a/x").await.unwrap(), "a/x");
    let part = archive.read_range("large/text", 1_000_000..1_100_000).await.unwrap();
    assert!(part.bytes(1 << 30).await.unwrap() == text(3_500_000)[1_000_000..1_100_000]);
    let dest = tempdir().unwrap();
    archive.extract(dest.path(), &ExtractOptions::default(), |_| {}).await.unwrap();
    assert_eq!(describe(dest.path()), describe(tree.path()));
}

#[tokio::test]
async fn near_files_come_with_one_request() {
    let tree = tempdir().unwrap();
    for number in 0..200 {
        write(tree.path(), &format!("{number:03}"), noise(5000, number));
    }
    let (registry, archive) = pushed(tree.path(), Counting::default()).await;
    let every_second = (0..200).step_by(2).map(|number| format!("{number:03}"));
    let files: Vec<_> = archive.read_many(every_second.clone()).unwrap().collect().await;
    assert!(files.len() == 100 && files.iter().all(Result::is_ok));
    assert_eq!(registry.take().len(), 1);

    let dest = tempdir().unwrap();
    let options = ExtractOptions { select: every_second.collect(), ..Default::default() };
    archive.extract(dest.path(), &options, |_| {}).await.unwrap();
    assert_eq!(registry.take().len(), 1);
    let options = ExtractOptions { gap: 0, ..options };
    archive.extract(dest.path(), &options, |_| {}).await.unwrap();
    assert_eq!(registry.take().len(), 100);
    archive.extract(dest.path(), &ExtractOptions::default(), |_| {}).await.unwrap();
    assert_eq!(registry.take().len(), 1);
}

#[tokio::test]
async fn an_index_of_other_data_is_refused() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    write(one.path(), "a", "one");
    write(two.path(), "a", "two");
    let registry = Counting::default();
    let none = BuildOptions { compression: Compression::None, ..Default::default() };
    let (one, two) = (build(one.path(), &none), build(two.path(), &none));
    push(&place(&registry), &one, &tagged(&["one"])).await.unwrap();
    let second = push(&place(&registry), &two, &tagged(&["two"])).await.unwrap();
    let mut manifest = ArchiveManifest::parse(&second.manifest).unwrap();
    manifest.index = one.index_descriptor().clone();
    let registry: Arc<dyn Registry> = Arc::new(registry);
    let open = |manifest: ArchiveManifest, limits| {
        let registry = registry.clone();
        async move { Archive::open(registry, &repo(), &manifest, limits).await.unwrap_err() }
    };
    assert!(matches!(open(manifest.clone(), Limits::default()).await, Error::InvalidIndex { .. }));
    let limits = Limits { index: 10, ..Limits::default() };
    assert!(matches!(open(manifest.clone(), limits).await, Error::Limit { .. }));
    manifest.index.size += 1;
    let error = open(manifest, Limits::default()).await;
    assert!(matches!(&error, Error::Registry(error) if error.code() == &Code::SizeInvalid), "{error}");
}
