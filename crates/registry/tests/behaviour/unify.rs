//! `Unified` is one registry, whatever becomes of those that it is made of.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::double::Double;
use crate::double::noise;
use crate::double::push;
use crate::double::repo;
use crate::double::tag;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream;
use serde_json::json;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::Quorum;
use skep_registry::ReadPolicy;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepairOptions;
use skep_registry::Repaired;
use skep_registry::Unified;
use skep_registry::UnifyOptions;
use skep_registry::Upload;
use skep_registry::UploadOptions;
use skep_registry::WritePolicy;
use skep_registry::fixture::Content;

mod over_memories {
    skep_registry::conformance_tests!((super::memories(super::UnifyOptions::default()), ()));
}

mod racing {
    use super::ReadPolicy;
    use super::UnifyOptions;

    skep_registry::conformance_tests!({
        let options = UnifyOptions { read: ReadPolicy::Race, ..Default::default() };
        (super::memories(options), ())
    });
}

mod with_a_primary {
    use super::UnifyOptions;
    use super::WritePolicy;

    skep_registry::conformance_tests!({
        let options = UnifyOptions { write: WritePolicy::Primary, ..Default::default() };
        (super::memories(options), ())
    });
}

mod over_a_layout_and_memory {
    use std::sync::Arc;

    use super::Layout;
    use super::Memory;
    use super::Unified;

    skep_registry::conformance_tests!({
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::tree(dir.path(), Default::default()).unwrap();
        (Unified::new(vec![Arc::new(layout), Arc::new(Memory::default())], Default::default()).unwrap(), dir)
    });
}

#[test]
fn nothing_cannot_be_unified() {
    assert_eq!(Unified::new(vec![], UnifyOptions::default()).unwrap_err().code(), &Code::Unsupported);
}

#[tokio::test]
async fn content_comes_from_whoever_has_it() {
    for read in [ReadPolicy::InOrder, ReadPolicy::Race] {
        let (one, two, both) = pair(UnifyOptions { read, ..Default::default() });
        let blob = two.memory.write_blob(&repo(), "hello".into()).await.unwrap();
        let manifest = push(&two.memory, "layer", &[]).await;
        for fault in [None, Some(Code::Unavailable), Some(Code::Unauthorized), Some(Code::Unknown)] {
            one.fail(fault);
            assert_eq!(both.read_blob(&repo(), &blob.digest, 10).await.unwrap(), "hello");
            assert_eq!(both.head_blob(&repo(), &blob.digest).await.unwrap().size, 5);
            assert_eq!(both.get_manifest(&repo(), &manifest.digest().clone().into()).await.unwrap(), manifest);
        }
    }
}

#[tokio::test]
async fn not_found_is_what_all_must_say() {
    let digest = Digest::sha256(b"hello");
    for (faults, want) in [
        ([None, None], Code::NameUnknown),
        ([Some(Code::Unavailable), None], Code::Unavailable),
        ([None, Some(Code::Unauthorized)], Code::Unauthorized),
        ([Some(Code::Denied), Some(Code::Unavailable)], Code::Denied),
    ] {
        let (one, two, both) = pair(UnifyOptions::default());
        let [first, second] = faults;
        one.fail(first);
        two.fail(second);
        assert_eq!(both.get_blob(&repo(), &digest, None).await.unwrap_err().code(), &want);
        let error = both.get_manifest(&repo(), &tag("v1").into()).await.unwrap_err();
        assert!(*error.code() == want || (error.is_not_found() && want == Code::NameUnknown), "{error}");
    }
}

#[tokio::test]
async fn in_order_asks_no_more_than_it_must() {
    let (one, two, both) = pair(UnifyOptions::default());
    let blob = both.write_blob(&repo(), "hello".into()).await.unwrap();
    one.calls();
    two.calls();
    both.read_blob(&repo(), &blob.digest, 10).await.unwrap();
    assert_eq!((one.calls().len(), two.calls().len()), (1, 0));
}

#[tokio::test]
async fn a_race_does_not_wait_for_the_slow() {
    let (one, _two, both) = pair(UnifyOptions { read: ReadPolicy::Race, ..Default::default() });
    let blob = both.write_blob(&repo(), "hello".into()).await.unwrap();
    one.hold();
    assert_eq!(both.read_blob(&repo(), &blob.digest, 10).await.unwrap(), "hello");
}

#[tokio::test]
async fn tags_that_disagree_are_an_error_that_names_both() {
    let (one, two, both) = pair(UnifyOptions::default());
    let (old, new) = (push(&one.memory, "old", &["v1"]).await, push(&two.memory, "new", &["v1"]).await);
    let reference = ManifestRef::Tag(tag("v1"));
    let get = both.get_manifest(&repo(), &reference).await.unwrap_err();
    let head = both.head_manifest(&repo(), &reference).await.unwrap_err();
    for error in [get, head] {
        assert_eq!((error.code().as_str(), error.status()), ("TAG_CONFLICT", 409));
        let text = error.to_string();
        for part in [old.digest().as_str(), new.digest().as_str(), "registry 0", "registry 1"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[tokio::test]
async fn who_does_not_know_a_tag_does_not_count() {
    let (one, two, both) = pair(UnifyOptions::default());
    let manifest = push(&two.memory, "layer", &["v1"]).await;
    push(&one.memory, "other", &["v2"]).await;
    assert_eq!(both.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), manifest);
    assert_eq!(both.head_manifest(&repo(), &tag("v1").into()).await.unwrap().digest, *manifest.digest());
}

#[tokio::test]
async fn who_fails_counts_unless_any_answer_will_do() {
    for quorum in [Quorum::All, Quorum::Any] {
        let (one, _two, both) = pair(UnifyOptions { quorum, ..Default::default() });
        let manifest = push(&both, "layer", &["v1"]).await;
        one.fail(Code::Unavailable);
        let got = both.get_manifest(&repo(), &tag("v1").into()).await;
        let tags = both.list_tags(&repo(), &Page::default()).await;
        match quorum {
            Quorum::All => {
                let error = got.unwrap_err();
                assert_eq!(error.code(), &Code::Unavailable);
                assert!(error.to_string().contains("registry 0"), "{error}");
                assert_eq!(tags.unwrap_err().code(), &Code::Unavailable);
            }
            Quorum::Any => {
                assert_eq!(got.unwrap(), manifest);
                assert_eq!(tags.unwrap().items, [tag("v1")]);
            }
        }
    }
}

#[tokio::test]
async fn writes_go_to_all_or_to_the_first() {
    for (write, second) in [(WritePolicy::All, true), (WritePolicy::Primary, false)] {
        let (one, two, both) = pair(UnifyOptions { write, ..Default::default() });
        let content = noise(3 << 20);
        let descriptor = Descriptor::of(OCTET_STREAM, &content);
        both.put_blob(&repo(), &descriptor, in_parts(&content)).await.unwrap();
        let manifest = push(&both, "layer", &["v1"]).await;
        for (member, wanted) in [(&one, true), (&two, second)] {
            let has =
                member.memory.read_blob(&repo(), &descriptor.digest, 4 << 20).await.is_ok_and(|got| got == content);
            assert_eq!(has, wanted);
            let tagged = member.memory.get_manifest(&repo(), &tag("v1").into()).await;
            assert_eq!(tagged.is_ok_and(|got| got == manifest), wanted);
        }
    }
}

#[tokio::test]
async fn who_has_a_blob_already_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    // It answers without reading a byte when it has the blob.
    let layout = Arc::new(Layout::tree(dir.path(), LayoutOptions::default()).unwrap());
    let content = noise(3 << 20);
    let descriptor = layout.write_blob(&repo(), content.clone()).await.unwrap();
    for layout_first in [true, false] {
        let memory = Arc::new(Memory::default());
        let mut members: Vec<Arc<dyn Registry>> = vec![layout.clone(), memory.clone()];
        if !layout_first {
            members.reverse();
        }
        let both = Unified::new(members, UnifyOptions::default()).unwrap();
        both.put_blob(&repo(), &descriptor, in_parts(&content)).await.unwrap();
        assert_eq!(memory.read_blob(&repo(), &descriptor.digest, 4 << 20).await.unwrap(), content);
    }
}

#[tokio::test]
async fn a_mixed_outcome_names_who_has_done_it() {
    let (one, two, both) = pair(UnifyOptions::default());
    let manifest = push(&both, "layer", &["v1"]).await;
    one.fail(Code::Denied);
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    let put = both.put_blob(&repo(), &blob, Body::from(Bytes::from("hello"))).await;
    let tagged = both.put_manifest(&repo(), &manifest, PutManifest::default()).await;
    let deleted = both.delete_manifest(&repo(), &tag("v1").into()).await;
    for error in [put, tagged, deleted].map(Result::unwrap_err) {
        assert_eq!(error.code(), &Code::Denied);
        assert!(error.to_string().contains("done by registry 1, not by registry 0"), "{error}");
    }
    assert!(two.memory.has_blob(&repo(), &blob.digest).await.unwrap());
    two.fail(Code::Unavailable);
    let error = both.put_blob(&repo(), &blob, Body::from(Bytes::from("hello"))).await.unwrap_err();
    assert_eq!(error.code(), &Code::Denied);
    assert!(!error.to_string().contains("done by"), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_stored_nowhere() {
    let (one, two, both) = pair(UnifyOptions::default());
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    let parts = [Ok(Bytes::from("hel")), Err(Error::new(Code::TooManyRequests, "the source broke off"))];
    let error = both.put_blob(&repo(), &blob, Body::new(Some(5), stream::iter(parts))).await.unwrap_err();
    assert_eq!(error.code(), &Code::TooManyRequests);
    for member in [one, two] {
        assert!(member.memory.head_blob(&repo(), &blob.digest).await.is_err());
    }
}

#[tokio::test]
async fn a_body_is_read_no_faster_than_the_slowest_writes() {
    let (one, _two, both) = pair(UnifyOptions::default());
    let (sender, sent) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), 100);
    let counter = sender.clone();
    let content = vec![b'x'; sent * 1000];
    let parts: Vec<_> = content.chunks(1000).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    let body = Body::new(None, stream::iter(parts)).inspect(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let descriptor = Descriptor::of(OCTET_STREAM, &content);
    one.hold();
    let put = tokio::spawn({
        let both = both.clone();
        async move { both.put_blob(&repo(), &descriptor, body).await }
    });
    // Waits until all that can go on has done so.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let read = sender.load(std::sync::atomic::Ordering::SeqCst);
    assert!((1..=3).contains(&read), "{read} parts were read while one registry took none");
    one.release();
    put.await.unwrap().unwrap();
    assert_eq!(sender.load(std::sync::atomic::Ordering::SeqCst), sent);
}

#[tokio::test]
async fn what_one_of_them_has_can_be_deleted() {
    let (one, two, both) = pair(UnifyOptions::default());
    let blob = two.memory.write_blob(&repo(), "hello".into()).await.unwrap();
    let manifest = push(&one.memory, "layer", &["v1"]).await;
    both.delete_blob(&repo(), &blob.digest).await.unwrap();
    assert_eq!(both.delete_blob(&repo(), &blob.digest).await.unwrap_err().code(), &Code::BlobUnknown);
    both.delete_manifest(&repo(), &tag("v1").into()).await.unwrap();
    both.delete_manifest(&repo(), &manifest.digest().clone().into()).await.unwrap();
    assert!(both.delete_manifest(&repo(), &tag("v1").into()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_tag_that_one_of_them_has_is_not_absent() {
    let (one, two, both) = pair(UnifyOptions::default());
    push(&two.memory, "old", &["v1"]).await;
    let new = push(&both, "new", &[]).await;
    let options = PutManifest { tags: vec![tag("v1")], if_absent: true };
    let error = both.put_manifest(&repo(), &new, options).await.unwrap_err();
    assert_eq!(error.code(), &Code::PreconditionFailed);
    assert!(one.memory.head_manifest(&repo(), &tag("v1").into()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn where_a_blob_cannot_be_mounted_it_is_uploaded() {
    let (one, two, both) = pair(UnifyOptions::default());
    let other = "other".parse().unwrap();
    let blob = one.memory.write_blob(&other, "hello".into()).await.unwrap();
    let Mount::Upload(mut upload) = both.mount_blob(&repo(), &blob.digest, Some(&other)).await.unwrap() else {
        panic!("only one of them has it");
    };
    upload.append(Body::from(Bytes::from("he"))).await.unwrap();
    let mut upload = resume(&both, upload).await.unwrap();
    upload.append(Body::from(Bytes::from("llo"))).await.unwrap();
    assert_eq!(upload.commit(&blob.digest).await.unwrap().size, 5);
    for member in [one, two] {
        assert_eq!(member.memory.read_blob(&repo(), &blob.digest, 5).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn uploads_go_on_where_the_last_one_stands() {
    let (one, two, both) = pair(UnifyOptions::default());
    let mut upload = both.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    upload.append(Body::from(Bytes::from("hel"))).await.unwrap();
    // One of them gets a part that the other does not get.
    let ids: Vec<serde_json::Value> = decode(upload.id());
    let id = ids[0]["upload"].as_str().unwrap().to_owned();
    let options = UploadOptions { resume: Some(id), ..Default::default() };
    one.memory.upload_blob(&repo(), options).await.unwrap().append(Body::from(Bytes::from("lo "))).await.unwrap();
    let mut upload = resume(&both, upload).await.unwrap();
    assert_eq!(upload.offset(), 3);
    upload
        .append(Body::new(None, stream::iter(["l", "o", " wor", "ld"].map(|part| Ok(Bytes::from(part))))))
        .await
        .unwrap();
    let digest = Digest::sha256(b"hello world");
    upload.commit(&digest).await.unwrap();
    for member in [one, two] {
        assert_eq!(member.memory.read_blob(&repo(), &digest, 11).await.unwrap(), "hello world");
    }
}

#[tokio::test]
async fn foreign_upload_ids_are_unknown() {
    let (_one, _two, both) = pair(UnifyOptions::default());
    for id in ["", "x", "../..", "W10", "W3sidXBsb2FkIjoiYSJ9XQ", "bnVsbA"] {
        let options = UploadOptions { resume: Some(id.to_owned()), ..Default::default() };
        let error = both.upload_blob(&repo(), options).await.unwrap_err();
        assert_eq!(error.code(), &Code::BlobUploadUnknown, "{id}");
    }
}

#[tokio::test]
async fn an_upload_that_cannot_begin_everywhere_leaves_nothing() {
    let (one, two, both) = pair(UnifyOptions::default());
    two.fail(Code::Denied);
    let error = both.upload_blob(&repo(), UploadOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Denied);
    assert_eq!(one.calls(), ["upload_blob"]);
}

#[tokio::test]
async fn lists_are_merged_page_by_page() {
    for (first, second) in [
        (&["a", "c", "e", "g"][..], &["b", "d", "f"][..]),
        (&["a", "b", "c"], &["a", "b", "c"]),
        (&[], &["a", "b"]),
        (&["a", "b", "z"], &["c", "d", "e", "f", "g", "h", "i"]),
    ] {
        let (one, two, both) = pair(UnifyOptions::default());
        push(&one.memory, "layer", first).await;
        push(&two.memory, "layer", second).await;
        let want: Vec<_> =
            first.iter().chain(second).collect::<BTreeSet<_>>().into_iter().map(|name| tag(name)).collect();
        assert_eq!(both.tags(&repo()).try_collect::<Vec<_>>().await.unwrap(), want);
        for limit in 1..=want.len() + 1 {
            let mut seen = Vec::new();
            let mut page = Page { limit: Some(limit), after: None };
            loop {
                let listing = both.list_tags(&repo(), &page).await.unwrap();
                assert!(listing.items.len() <= limit);
                seen.extend(listing.items);
                assert!(seen.len() <= want.len(), "{seen:?}");
                let Some(next) = listing.next else { break };
                page.after = Some(next);
            }
            assert_eq!(seen, want, "by {limit}");
        }
    }
    let (_one, _two, both) = pair(UnifyOptions::default());
    assert_eq!(both.list_tags(&repo(), &Page::default()).await.unwrap_err().code(), &Code::NameUnknown);
}

#[tokio::test]
async fn repair_copies_what_is_missing() {
    let (one, two, both) = pair(UnifyOptions { write: WritePolicy::Primary, ..Default::default() });
    let image = |layer: &str, subject: Option<&str>| json!({ "config": "{}", "layers": [layer], "subject": subject });
    let content = Content::from_json(json!({ "a/b": {
        "blobs": { "{}": "{}", "layer": "layer", "signature": "signature", "about it": "about it" },
        "manifests": {
            "child": image("layer", None),
            "index": { "manifests": ["child"] },
            "of the child": image("signature", Some("child")),
            "of that": image("about it", Some("of the child")),
        },
        "tags": { "v1": "index" },
    } }));
    let content = content.unwrap().build().unwrap();
    content.push(&both).await.unwrap();
    let lost = content.blob("a/b", "layer").digest.clone();
    one.memory.delete_blob(&repo(), &lost).await.unwrap();
    two.memory.write_blob(&repo(), "layer".into()).await.unwrap();

    let repaired = both.repair(&repo(), &tag("v1"), RepairOptions::default()).await.unwrap();
    // "layer" to the one, "{}" to the other; image, index and the tag to the other.
    assert_eq!(repaired, Repaired { blobs: 2, bytes: 7, manifests: 2, tags: 1 });
    assert_eq!(content.differences(&one.memory).await, [""; 0]);
    for name in ["child", "index"] {
        let manifest = content.manifest("a/b", name);
        assert_eq!(two.memory.get_manifest(&repo(), &manifest.digest().clone().into()).await.unwrap(), *manifest);
    }
    assert_eq!(two.memory.read_blob(&repo(), &lost, 10).await.unwrap(), "layer");
    let again = both.repair(&repo(), &tag("v1"), RepairOptions::default()).await.unwrap();
    assert_eq!(again, Repaired::default());

    let with_referrers = RepairOptions { referrers: true, ..Default::default() };
    let repaired = both.repair(&repo(), &tag("v1"), with_referrers).await.unwrap();
    assert_eq!((repaired.manifests, repaired.blobs), (2, 2));
    assert_eq!(content.differences(&two.memory).await, [""; 0]);
}

#[tokio::test]
async fn repair_needs_an_authority_when_tags_disagree() {
    let (one, two, both) = pair(UnifyOptions::default());
    push(&one.memory, "old", &["v1"]).await;
    let new = push(&two.memory, "new", &["v1"]).await;
    let error = both.repair(&repo(), &tag("v1"), RepairOptions::default()).await.unwrap_err();
    assert_eq!(error.code().as_str(), "TAG_CONFLICT");
    let options = RepairOptions { authority: Some(1), ..Default::default() };
    let repaired = both.repair(&repo(), &tag("v1"), options).await.unwrap();
    assert_eq!(repaired, Repaired { blobs: 1, bytes: 3, manifests: 1, tags: 1 });
    assert_eq!(both.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), new);
    let nobody = RepairOptions { authority: Some(2), ..Default::default() };
    assert_eq!(both.repair(&repo(), &tag("v1"), nobody).await.unwrap_err().code(), &Code::Unsupported);
}

#[tokio::test]
async fn ranges_are_passed_on() {
    let (_one, two, both) = pair(UnifyOptions::default());
    let blob = two.memory.write_blob(&repo(), "hello world".into()).await.unwrap();
    let part = both.get_blob(&repo(), &blob.digest, Some(ByteRange::Last(5))).await.unwrap();
    assert_eq!((part.range.clone(), part.body.bytes(5).await.unwrap()), (6..11, Bytes::from("world")));
}

fn memories(options: UnifyOptions) -> Unified {
    Unified::new(vec![Arc::new(Memory::default()), Arc::new(Memory::default())], options).unwrap()
}

fn pair(options: UnifyOptions) -> (Arc<Double>, Arc<Double>, Unified) {
    let (one, two) = (Arc::new(Double::new()), Arc::new(Double::new()));
    let both = Unified::new(vec![one.clone(), two.clone()], options).unwrap();
    (one, two, both)
}

fn in_parts(content: &Bytes) -> Body {
    let parts: Vec<_> = content.chunks(70_001).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    Body::new(None, stream::iter(parts))
}

async fn resume(registry: &dyn Registry, upload: Box<dyn Upload>) -> skep_registry::Result<Box<dyn Upload>> {
    let options = UploadOptions { resume: Some(upload.id().to_owned()), ..Default::default() };
    drop(upload);
    registry.upload_blob(&repo(), options).await
}

fn decode(id: &str) -> Vec<serde_json::Value> {
    use base64::Engine;

    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(id).unwrap();
    serde_json::from_slice(&json).unwrap()
}
