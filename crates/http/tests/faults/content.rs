//! What is in the registry before something goes wrong.

use std::sync::LazyLock;

use bytes::Bytes;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::Memory;
use skep_registry::OCTET_STREAM;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Tag;
use skep_registry::media_type;

use crate::op::Op;

/// A layer, of two chunks.
pub(crate) static BLOB: LazyLock<Bytes> = LazyLock::new(|| noise(100_000));
/// A blob of several segments.
pub(crate) static LARGE: LazyLock<Bytes> = LazyLock::new(|| noise(5 << 19));
/// A blob that is not there yet.
pub(crate) static NEW: LazyLock<Bytes> = LazyLock::new(|| noise(150_000));

pub(crate) static IMAGE: LazyLock<Manifest> = LazyLock::new(|| image("image", None));
/// A manifest that is not there yet.
pub(crate) static NEXT: LazyLock<Manifest> = LazyLock::new(|| image("next", None));
pub(crate) static REFERRER: LazyLock<Manifest> = LazyLock::new(|| image("referrer", Some(IMAGE.descriptor().clone())));

/// Puts the same into the repository of every operation.
pub(crate) async fn fill(memory: &Memory) {
    for op in Op::ALL {
        let repo = op.repo();
        memory.write_blob(&repo, BLOB.clone()).await.unwrap();
        memory.write_blob(&repo, "{}".into()).await.unwrap();
        let tags = TAGS.iter().map(|tag| tag.parse().unwrap()).collect();
        memory.put_manifest(&repo, &IMAGE, PutManifest { tags, if_absent: false }).await.unwrap();
        memory.put_manifest(&repo, &REFERRER, PutManifest::default()).await.unwrap();
    }
    memory.write_blob(&Op::Download.repo(), LARGE.clone()).await.unwrap();
    memory.write_blob(&source(), NEW.clone()).await.unwrap();
}

/// A repository that blobs are mounted from.
pub(crate) fn source() -> RepoName {
    "source".parse().unwrap()
}

pub(crate) fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

pub(crate) fn describe(bytes: &Bytes) -> Descriptor {
    Descriptor::of(OCTET_STREAM, bytes)
}

fn image(name: &str, subject: Option<Descriptor>) -> Manifest {
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        config: Some(describe(&"{}".into())),
        layers: Some(vec![describe(&BLOB)]),
        annotations: [("name".to_owned(), name.to_owned())].into_iter().collect(),
        subject,
        ..Default::default()
    };
    Manifest::new(media_type::IMAGE, content.to_bytes())
}

fn noise(len: usize) -> Bytes {
    let mut state = len as u64 | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<_>>().into()
}

pub(crate) const TAGS: [&str; 2] = ["v1", "v2"];
