//! Faults that a `Layout` survives: killed processes, broken bodies, garbage, and others at the same time.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::OCTET_STREAM;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Tag;
use skep_registry::Upload;
use skep_registry::UploadOptions;
use skep_registry::media_type;

#[tokio::test]
async fn what_a_killed_process_left_is_no_part_of_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    // Killed in the first write, before `oci-layout`.
    fs::create_dir_all(dir.path().join(".skep/uploads")).unwrap();
    fs::create_dir_all(dir.path().join("blobs")).unwrap();
    fs::write(dir.path().join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    fs::write(uploads(dir.path()).join("0123456789abcdef0123456789abcdef.tmp"), "half").unwrap();
    let layout = open(dir.path());
    let error = layout.list_tags(&repo(), &Page::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::NameUnknown);
    push(&layout, "one", &["v1"]).await;
    assert_eq!(all_tags(&layout).await, ["v1"]);
    let error = open(dir.path()).get_blob(&repo(), &Digest::sha256(b"half"), None).await.unwrap_err();
    assert_eq!(error.code(), &Code::BlobUnknown);
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process_where_it_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut upload = begin(&open(dir.path())).await;
    upload.append("hello".into_body()).await.unwrap();
    let id = upload.id().to_owned();
    drop(upload);
    // Killed in the second append: bytes that nobody was told of.
    let path = uploads(dir.path()).join(&id);
    fs::write(&path, "hello, wor").unwrap();
    let mut upload = resume(&open(dir.path()), &id).await.unwrap();
    assert_eq!(upload.offset(), 5);
    upload.append(" world".into_body()).await.unwrap();
    let digest = Digest::sha256(b"hello world");
    upload.commit(&digest).await.unwrap();
    assert_eq!(open(dir.path()).read_blob(&repo(), &digest, 100).await.unwrap(), "hello world");
    assert_eq!(in_uploads(dir.path()), 0);
    assert_eq!(resume(&open(dir.path()), &id).await.unwrap_err().code(), &Code::BlobUploadUnknown);
}

#[tokio::test]
async fn session_ids_are_nothing_but_ids() {
    let dir = tempfile::tempdir().unwrap();
    let layout = open(dir.path());
    push(&layout, "one", &["v1"]).await;
    let id = begin(&layout).await.id().to_owned();
    for wrong in ["", ".", "..", "../lock", "/etc/passwd", &id.to_uppercase(), &id[1..], &format!("{id}/"), "ä"] {
        if wrong != id {
            assert_eq!(resume(&layout, wrong).await.unwrap_err().code(), &Code::BlobUploadUnknown, "{wrong}");
        }
    }
    resume(&layout, &id).await.unwrap();
}

#[tokio::test]
async fn two_handles_on_one_session_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = begin(&open(dir.path())).await;
    let mut two = resume(&open(dir.path()), one.id()).await.unwrap();
    one.append("hello".into_body()).await.unwrap();
    let error = two.append("HELLO".into_body()).await.unwrap_err();
    assert_eq!(error.code(), &Code::RangeInvalid);
    let digest = Digest::sha256(b"hello");
    one.commit(&digest).await.unwrap();
    // The session's file is the blob now; the other handle must not reach it.
    assert_eq!(two.append("!".into_body()).await.unwrap_err().code(), &Code::BlobUploadUnknown);
    assert_eq!(two.commit(&digest).await.unwrap_err().code(), &Code::BlobUploadUnknown);
    assert_eq!(open(dir.path()).read_blob(&repo(), &digest, 100).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_dropped_append_leaves_a_sound_session() {
    let dir = tempfile::tempdir().unwrap();
    let layout = open(dir.path());
    let mut upload = begin(&layout).await;
    upload.append("hello".into_body()).await.unwrap();
    let (taken, was_taken) = tokio::sync::oneshot::channel();
    let parts = stream::iter([Ok(noise(2 << 20))]);
    let stalled = stream::once(async {
        let _ = taken.send(());
        std::future::pending().await
    });
    // The first part is being written when the future is dropped.
    let append = upload.append(Body::new(None, parts.chain(stalled)));
    tokio::select! {
        _ = append => panic!("the body does not end"),
        _ = was_taken => {}
    }
    let id = upload.id().to_owned();
    let mut upload = resume(&layout, &id).await.unwrap();
    assert_eq!(upload.offset(), 5);
    upload.append(" world".into_body()).await.unwrap();
    upload.commit(&Digest::sha256(b"hello world")).await.unwrap();
}

#[tokio::test]
async fn a_long_append_that_breaks_off_need_not_start_over() {
    let dir = tempfile::tempdir().unwrap();
    let layout = open(dir.path());
    let mut upload = begin(&layout).await;
    let part = noise(1 << 20);
    let parts = stream::iter(vec![part.clone(); 70]).map(Ok);
    let broken = stream::iter([Err(Error::from(Code::Unavailable))]);
    let error = upload.append(Body::new(None, parts.chain(broken))).await.unwrap_err();
    assert_eq!((error.code(), upload.offset()), (&Code::Unavailable, 70 << 20));
    let mut upload = resume(&layout, upload.id()).await.unwrap();
    assert_eq!(upload.offset(), 70 << 20);
    upload.append(Body::new(None, stream::iter(vec![part.clone(); 2]).map(Ok))).await.unwrap();
    let digest = Digest::sha256(&part.repeat(72));
    assert_eq!(upload.commit(&digest).await.unwrap().size, 72 << 20);
    let blob = layout.get_blob(&repo(), &digest, None).await.unwrap();
    let len = blob.body.try_fold(0, async |len, part| Ok(len + part.len() as u64)).await.unwrap();
    assert_eq!(len, 72 << 20);
}

#[tokio::test]
async fn broken_bodies_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let layout = open(dir.path());
    let descriptor = Descriptor::of(OCTET_STREAM, &noise(3 << 20));
    let parts = [Ok(noise(2 << 20)), Err(Error::from(Code::Unavailable))];
    let error = layout.put_blob(&repo(), &descriptor, Body::new(None, stream::iter(parts))).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    let wrong = Body::from(Bytes::from(vec![0; 3 << 20]));
    let error = layout.put_blob(&repo(), &descriptor, wrong).await.unwrap_err();
    assert_eq!(error.code(), &Code::DigestInvalid);
    assert_eq!(in_uploads(dir.path()), 0);
    assert!(!layout.has_blob(&repo(), &descriptor.digest).await.unwrap());
    assert!(layout.list_repos(&Page::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn old_leftovers_are_swept_and_young_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let old = begin(&open(dir.path())).await.id().to_owned();
    let mut young = begin(&open(dir.path())).await;
    young.append("hello".into_body()).await.unwrap();
    let hours = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 60 * 60);
    let place = |name: &str, modified: SystemTime| {
        let file = File::options().create(true).append(true).open(uploads(dir.path()).join(name)).unwrap();
        file.set_modified(modified).unwrap();
        file
    };
    place(&old, hours(25));
    place(young.id(), hours(23));
    place("dead.tmp", hours(2));
    place("new.tmp", hours(0));
    let live = place("live.tmp", hours(2));
    live.lock().unwrap();
    push(&open(dir.path()), "one", &["v1"]).await;
    let there = |name: &str| uploads(dir.path()).join(name).exists();
    assert_eq!([&*old, "dead.tmp", "new.tmp", "live.tmp", young.id()].map(there), [false, false, true, true, true]);
    young.commit(&Digest::sha256(b"hello")).await.unwrap();
}

#[tokio::test]
async fn garbage_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    push(&open(dir.path()), "one", &["v1"]).await;
    let good = fs::read_to_string(dir.path().join("index.json")).unwrap();
    for (file, garbage) in [
        ("index.json", ""),
        ("index.json", &good[..good.len() / 2]),
        ("index.json", "[]"),
        ("index.json", "{}"),
        ("index.json", r#"{"schemaVersion":2,"manifests":{}}"#),
        ("index.json", "\0\0\0\0"),
        ("oci-layout", ""),
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#),
    ] {
        let path = dir.path().join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, garbage).unwrap();
        let layout = open(dir.path());
        let read = layout.list_tags(&repo(), &Page::default()).await.unwrap_err();
        let manifest = manifest_of(&layout, "two").await;
        let write = layout.put_manifest(&repo(), &manifest, PutManifest::default()).await.unwrap_err();
        for error in [read, write] {
            assert!(error.to_string().contains(file) && !error.is_not_found(), "{garbage:?}: {error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), garbage, "what cannot be read is not overwritten");
        fs::write(&path, before).unwrap();
    }
    assert_eq!(all_tags(&open(dir.path())).await, ["v1"]);
}

#[tokio::test]
async fn rot_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let layout = open(dir.path());
    let content = noise(2 << 20);
    let blob = layout.write_blob(&repo(), content.clone()).await.unwrap();
    let path = dir.path().join("blobs/sha256").join(blob.digest.hex());
    let mut rotten = content.to_vec();
    rotten[1 << 20] ^= 1;
    fs::write(&path, &rotten).unwrap();
    let body = layout.get_blob(&repo(), &blob.digest, None).await.unwrap().body;
    assert_eq!(body.bytes(4 << 20).await.unwrap_err().code(), &Code::DigestInvalid);
    let body = layout.get_blob(&repo(), &blob.digest, None).await.unwrap().body;
    File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    assert_eq!(body.bytes(4 << 20).await.unwrap_err().code(), &Code::SizeInvalid);
    layout.write_blob(&repo(), content.clone()).await.unwrap();
    assert_eq!(layout.read_blob(&repo(), &blob.digest, 4 << 20).await.unwrap(), content);
}

#[tokio::test]
async fn changes_of_others_are_seen_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    for at in 0..20 {
        let name = format!("v{at:02}");
        push(if at % 2 == 0 { &one } else { &two }, &name, &[&name]).await;
        assert_eq!(all_tags(&one).await.len(), at + 1);
        assert_eq!(all_tags(&two).await.len(), at + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_the_same_time_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let writers = (0..4).map(|writer| {
        let layout = open(dir.path());
        tokio::spawn(async move {
            let own = manifest_of(&layout, &format!("writer {writer}")).await;
            let shared = manifest_of(&layout, "shared").await;
            for at in 0..100 {
                let manifest = if at % 2 == 0 { &own } else { &shared };
                // All of them move the second one, and delete it now and then.
                let tags = vec![tag(&format!("w{writer}-{at:03}")), tag("moving")];
                layout.put_manifest(&repo(), manifest, PutManifest { tags, if_absent: false }).await.unwrap();
                if at % 10 == 9 {
                    let _ = layout.delete_manifest(&repo(), &tag("moving").into()).await;
                } else if let Ok(found) = layout.get_manifest(&repo(), &tag("moving").into()).await {
                    assert!(found.content().is_ok());
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut want: Vec<_> = (0..400).map(|at| format!("w{}-{:03}", at / 100, at % 100)).collect();
    let layout = open(dir.path());
    let found = all_tags(&layout).await;
    assert_eq!(found.iter().filter(|name| *name != "moving").cloned().collect::<Vec<_>>(), want);
    want.truncate(4);
    for name in want {
        layout.get_manifest(&repo(), &tag(&name).into()).await.unwrap();
    }
    assert_eq!(in_uploads(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleting_and_storing_at_the_same_time_leaves_no_dangling_tag() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest_of(&open(dir.path()), "one").await;
    let tasks = (0..4).map(|task| {
        let (layout, manifest) = (open(dir.path()), manifest.clone());
        tokio::spawn(async move {
            for _ in 0..50 {
                if task % 2 == 0 {
                    let options = PutManifest { tags: vec![tag("v1")], if_absent: false };
                    layout.put_manifest(&repo(), &manifest, options).await.unwrap();
                } else if let Err(error) = layout.delete_manifest(&repo(), &manifest.digest().clone().into()).await {
                    assert!(error.is_not_found(), "{error}");
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let layout = open(dir.path());
    for name in all_tags(&layout).await {
        assert_eq!(layout.get_manifest(&repo(), &tag(&name).into()).await.unwrap(), manifest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_blob_may_come_several_times_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let content = noise(1 << 20);
    let puts = (0..8).map(|_| {
        let (layout, content) = (open(dir.path()), content.clone());
        tokio::spawn(async move { layout.write_blob(&repo(), content).await })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    let digest = Digest::sha256(&content);
    assert_eq!(open(dir.path()).read_blob(&repo(), &digest, 1 << 20).await.unwrap(), content);
    assert_eq!(in_uploads(dir.path()), 0);
}

trait IntoBody {
    fn into_body(self) -> Body;
}

impl IntoBody for &'static str {
    fn into_body(self) -> Body {
        Body::from(Bytes::from(self))
    }
}

fn open(dir: &Path) -> Layout {
    Layout::single(dir, repo(), LayoutOptions::default()).unwrap()
}

fn repo() -> RepoName {
    "one".parse().unwrap()
}

fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

async fn begin(layout: &Layout) -> Box<dyn Upload> {
    layout.upload_blob(&repo(), UploadOptions::default()).await.unwrap()
}

async fn resume(layout: &Layout, id: &str) -> skep_registry::Result<Box<dyn Upload>> {
    layout.upload_blob(&repo(), UploadOptions { resume: Some(id.to_owned()), ..Default::default() }).await
}

/// A manifest whose blobs are there; it is not.
async fn manifest_of(layout: &Layout, seed: &str) -> Manifest {
    let config = layout.write_blob(&repo(), "{}".into()).await.unwrap();
    let layer = layout.write_blob(&repo(), Bytes::copy_from_slice(seed.as_bytes())).await.unwrap();
    let content =
        ManifestContent { schema_version: 2, config: Some(config), layers: Some(vec![layer]), ..Default::default() };
    Manifest::new(media_type::IMAGE, content.to_bytes())
}

async fn push(layout: &Layout, seed: &str, names: &[&str]) {
    let manifest = manifest_of(layout, seed).await;
    let options = PutManifest { tags: names.iter().map(|name| tag(name)).collect(), if_absent: false };
    layout.put_manifest(&repo(), &manifest, options).await.unwrap();
}

async fn all_tags(layout: &Layout) -> Vec<String> {
    let tags: Vec<Tag> = layout.tags(&repo()).try_collect().await.unwrap();
    tags.iter().map(ToString::to_string).collect()
}

fn uploads(dir: &Path) -> PathBuf {
    dir.join(".skep/uploads")
}

fn in_uploads(dir: &Path) -> usize {
    uploads(dir).read_dir().unwrap().count()
}

fn noise(len: usize) -> Bytes {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>().into()
}
