//! The files of a `Layout`: what it writes, what it reads of others, and what it leaves alone.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Listing;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Tag;
use skep_registry::media_type;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::upload;
use tempfile::NamedTempFile;
use tempfile::TempDir;
use tempfile::tempfile_in;

const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[tokio::test]
async fn a_layout_is_what_the_specification_says() {
    let (layout, dir) = single();
    assert!(layout.list_tags(&repo(), &Page::default()).await.unwrap_err().is_not_found());
    assert_eq!(files(dir.path()), [""; 0], "reading writes nothing");
    let image = push(&layout, "one", &["v1", "latest"]).await;
    let mut want = vec!["index.json".to_owned(), "oci-layout".to_owned()];
    let layer = Digest::sha256(b"one");
    want.extend(
        [&layer, &Digest::sha256(b"{}"), image.digest()].map(|digest| format!("blobs/sha256/{}", digest.hex())),
    );
    want.sort_unstable();
    let all = files(dir.path());
    assert_eq!(all.iter().filter(|name| !name.starts_with(".skep/")).cloned().collect::<Vec<_>>(), want);
    assert_eq!(all.iter().filter(|name| name.starts_with(".skep/")).collect::<Vec<_>>(), [".skep/lock"]);
    assert_eq!(fs::read_to_string(dir.path().join("oci-layout")).unwrap(), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::INDEX,
        "manifests": [entry(&image, Some("v1")), entry(&image, Some("latest"))],
    });
    assert_eq!(read_index(dir.path()), index);
}

/// A body of a content, beside a file that has another content or the same.
fn with_file(content: &'static [u8], file: File, in_it: &[u8]) -> (Body, Arc<File>) {
    (&file).write_all(in_it).unwrap();
    let file = Arc::new(file);
    (Body::from(Bytes::from_static(content)).with_file(file.clone()), file)
}

fn blob(dir: &TempDir, content: &[u8]) -> PathBuf {
    dir.path().join("blobs/sha256").join(Digest::sha256(content).hex())
}

#[tokio::test]
async fn a_file_without_a_name_becomes_the_blob() {
    let (layout, dir) = single();
    let other = Descriptor::of("text/plain", b"other");
    layout.put_blob(&repo(), &other, Bytes::from("other").into()).await.unwrap();
    let (body, file) = with_file(b"content", tempfile_in(dir.path()).unwrap(), b"content");
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let counted = Arc::new(move |bytes| {
        count.fetch_add(bytes, SeqCst);
    });
    let settings = UploadSettings { sent: Some(counted), ..Default::default() };
    let bodies = Mutex::new(Some(body));
    let place = Place::new(Arc::new(layout.clone()), repo());
    let descriptor = Descriptor::of("text/plain", b"content");
    let uploaded = upload(&place, &descriptor, |_| bodies.lock().unwrap().take().unwrap(), &settings).await.unwrap();
    assert_eq!((uploaded.sent, sent.load(SeqCst)), (7, 7), "it counts as sent");
    let there = blob(&dir, b"content").metadata().unwrap();
    assert_eq!(there.ino(), file.metadata().unwrap().ino(), "nothing was copied");
    assert_eq!(there.mode(), blob(&dir, b"other").metadata().unwrap().mode());
    assert!(there.modified().unwrap().elapsed().unwrap() < Duration::from_secs(60), "it is wanted from now on");
    assert_eq!(layout.read_blob(&repo(), &descriptor.digest, 10).await.unwrap(), "content");
    // Now it has a name, so the next layout has one of its own.
    let (second, second_dir) = single();
    second.put_blob(&repo(), &descriptor, Body::from(Bytes::from("content")).with_file(file.clone())).await.unwrap();
    assert_ne!(blob(&second_dir, b"content").metadata().unwrap().ino(), there.ino());
    assert_eq!(second.read_blob(&repo(), &descriptor.digest, 10).await.unwrap(), "content");
}

#[tokio::test]
async fn what_a_file_has_is_verified_and_not_what_is_said_of_it() {
    let descriptor = Descriptor::of("text/plain", b"content");
    for (in_it, want) in
        [("CONTENT", Code::DigestInvalid), ("conten", Code::SizeInvalid), ("content!", Code::SizeInvalid)]
    {
        let (layout, dir) = single();
        let (body, _file) = with_file(b"content", tempfile_in(dir.path()).unwrap(), in_it.as_bytes());
        let error = layout.put_blob(&repo(), &descriptor, body).await.unwrap_err();
        assert_eq!(error.code(), &want, "{in_it}");
        assert!(layout.head_blob(&repo(), &descriptor.digest).await.unwrap_err().is_not_found());
        assert_eq!(files(dir.path()), [""; 0], "{in_it}");
    }
}

#[tokio::test]
async fn a_file_that_is_somebodys_is_copied() {
    let (layout, dir) = single();
    let named = NamedTempFile::new_in(dir.path()).unwrap();
    let (body, file) = with_file(b"content", named.reopen().unwrap(), b"content");
    let before = file.metadata().unwrap().mode();
    let descriptor = Descriptor::of("text/plain", b"content");
    layout.put_blob(&repo(), &descriptor, body).await.unwrap();
    assert_ne!(blob(&dir, b"content").metadata().unwrap().ino(), file.metadata().unwrap().ino());
    assert_eq!((file.metadata().unwrap().mode(), file.metadata().unwrap().nlink()), (before, 1));
    // And so is one that lies elsewhere.
    if let Ok(elsewhere) = tempfile_in("/dev/shm") {
        let (layout, dir) = single();
        let (body, _file) = with_file(b"content", elsewhere, b"content");
        layout.put_blob(&repo(), &descriptor, body).await.unwrap();
        assert_eq!(fs::read(blob(&dir, b"content")).unwrap(), b"content");
    }
}

#[tokio::test]
async fn every_manifest_is_listed_and_only_once_without_a_tag() {
    let (layout, dir) = single();
    let one = push(&layout, "one", &[]).await;
    push(&layout, "one", &[]).await;
    assert_eq!(read_index(dir.path())["manifests"], json!([entry(&one, None)]));
    push(&layout, "one", &["v1"]).await;
    push(&layout, "one", &["v1"]).await;
    push(&layout, "one", &[]).await;
    assert_eq!(read_index(dir.path())["manifests"], json!([entry(&one, Some("v1"))]));
    let two = push(&layout, "two", &["v1", "v2"]).await;
    let both = json!([entry(&one, None), entry(&two, Some("v1")), entry(&two, Some("v2"))]);
    assert_eq!(read_index(dir.path())["manifests"], both, "v1 moved, and what it left stays");
    layout.delete_manifest(&repo(), &tag("v2").into()).await.unwrap();
    assert_eq!(read_index(dir.path())["manifests"], json!([entry(&one, None), entry(&two, Some("v1"))]));
    layout.delete_manifest(&repo(), &tag("v1").into()).await.unwrap();
    layout.delete_manifest(&repo(), &one.digest().clone().into()).await.unwrap();
    assert_eq!(read_index(dir.path())["manifests"], json!([entry(&two, None)]));
    assert!(!blob_path(dir.path(), one.digest()).exists());
    assert!(blob_path(dir.path(), two.digest()).exists());
}

#[tokio::test]
async fn an_artifact_is_listed_with_its_type() {
    let (layout, dir) = single();
    let content = ManifestContent { artifact_type: Some("a/b".to_owned()), ..content(&layout, "one").await };
    let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
    layout.put_manifest(&repo(), &manifest, tags(&["v1"])).await.unwrap();
    assert_eq!(read_index(dir.path())["manifests"][0]["artifactType"], "a/b");
}

#[tokio::test]
async fn reserved_parts_of_names_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::tree(dir.path(), LayoutOptions::default()).unwrap();
    for (name, path) in [("a", "a"), ("a/blobs", "a/_blobs"), ("oci-layout/index.json/b", "_oci-layout/_index.json/b")]
    {
        layout.write_blob(&name.parse().unwrap(), "hello".into()).await.unwrap();
        assert!(dir.path().join(path).join("oci-layout").is_file(), "{name}");
    }
    fs::create_dir_all(dir.path().join("not-a-layout/A")).unwrap();
    let names = ["a", "a/blobs", "oci-layout/index.json/b"].map(|name| name.parse().unwrap());
    assert_eq!(layout.list_repos(&Page::default()).await.unwrap(), Listing::complete(names.to_vec()));
}

#[tokio::test]
async fn one_layout_is_one_repository() {
    let (layout, _dir) = single();
    assert_eq!(layout.list_repos(&Page::default()).await.unwrap(), Listing::complete(vec![]));
    let image = push(&layout, "one", &["v1"]).await;
    assert_eq!(layout.list_repos(&Page::default()).await.unwrap(), Listing::complete(vec![repo()]));
    let other: RepoName = "other".parse().unwrap();
    let error = layout.write_blob(&other, "hello".into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::NameUnknown);
    let error = layout.get_manifest(&other, &tag("v1").into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::NameUnknown);
    let referrers = layout.list_referrers(&other, image.digest(), &ReferrerQuery::default()).await.unwrap();
    assert_eq!(referrers, Listing::complete(vec![]));
}

#[tokio::test]
async fn a_layout_is_not_a_tree_and_a_file_is_neither() {
    let (layout, dir) = single();
    push(&layout, "one", &["v1"]).await;
    let error = Layout::tree(dir.path(), LayoutOptions::default()).unwrap_err();
    assert_eq!(error.code(), &Code::Unsupported);
    let file = dir.path().join("index.json");
    assert!(Layout::tree(&file, LayoutOptions::default()).is_err());
    assert!(Layout::single(&file, repo(), LayoutOptions::default()).is_err());
}

/// As written by skopeo 1.9 (`copy --all`), and by crane (`pull --format=oci`), which names an entry only when
/// it is told to, and then in full.
#[tokio::test]
async fn layouts_of_other_tools_are_read_and_changed() {
    let skopeo = |digest: &Digest, size: u64| {
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{digest}","size":{size},"annotations":{{"{REF_NAME}":"all"}}}}]}}"#,
            media_type::INDEX
        )
    };
    let crane = |digest: &Digest, size: u64, annotations: &str| {
        format!(
            r#"{{
   "schemaVersion": 2,
   "mediaType": "{0}",
   "manifests": [
      {{
         "mediaType": "{0}",
         "size": {size},
         "digest": "{digest}"{annotations}
      }}
   ]
}}"#,
            media_type::INDEX
        )
    };
    let full = format!(r#", "annotations": {{"{REF_NAME}": "registry.example.com:5000/x/y:all"}}"#);
    for (shape, is_tagged) in [(0, true), (1, true), (2, false)] {
        let (layout, dir) = single();
        let child = Manifest::new(media_type::IMAGE, content(&layout, "one").await.to_bytes());
        let index = index_of(&[child.descriptor()]);
        write_blob(dir.path(), child.bytes());
        write_blob(dir.path(), index.bytes());
        let (digest, size) = (index.digest(), index.descriptor().size);
        let text = match shape {
            0 => skopeo(digest, size),
            1 => crane(digest, size, &full),
            _ => crane(digest, size, ""),
        };
        fs::write(dir.path().join("index.json"), &text).unwrap();
        fs::write(dir.path().join("oci-layout"), "{\n    \"imageLayoutVersion\": \"1.0.0\"\n}").unwrap();

        assert_eq!(layout.get_manifest(&repo(), &digest.clone().into()).await.unwrap(), index);
        assert_eq!(layout.get_manifest(&repo(), &child.digest().clone().into()).await.unwrap(), child);
        let by_tag = layout.get_manifest(&repo(), &tag("all").into()).await;
        assert_eq!(by_tag.is_ok(), is_tagged, "{text}");
        let image = push(&layout, "two", &["v2"]).await;
        let (before, after): (Value, _) = (serde_json::from_str(&text).unwrap(), read_index(dir.path()));
        let entries = [before["manifests"][0].clone(), entry(&image, Some("v2"))];
        assert_eq!(after["manifests"], json!(entries));
    }
}

#[tokio::test]
async fn names_of_entries_are_tags_or_references() {
    let digest = Digest::sha256(b"other");
    for (name, want) in [
        ("v1", Some("v1")),
        ("repo:v1", Some("v1")),
        ("a/repo:v1", Some("v1")),
        ("registry.example.com/repo:v1", Some("v1")),
        ("localhost:5000/repo:v1", Some("v1")),
        (&format!("registry.example.com/repo:v1@{digest}"), Some("v1")),
        (&format!("repo@{digest}"), None),
        ("localhost:5000/repo", None),
        ("v1+build", None),
        ("", None),
    ] {
        let (layout, dir) = single();
        let image = push(&layout, "one", &[]).await;
        write_index(dir.path(), &[entry(&image, Some(name))]);
        let listed = layout.list_tags(&repo(), &Page::default()).await.unwrap().items;
        assert_eq!(listed, want.map(tag).into_iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(layout.get_manifest(&repo(), &image.digest().clone().into()).await.unwrap(), image, "{name}");
        if let Some(want) = want {
            assert_eq!(layout.get_manifest(&repo(), &tag(want).into()).await.unwrap(), image, "{name}");
            layout.delete_manifest(&repo(), &tag(want).into()).await.unwrap();
            assert_eq!(read_index(dir.path())["manifests"], json!([entry(&image, None)]), "{name}");
        }
    }
}

#[tokio::test]
async fn references_that_disagree_are_named() {
    let (layout, dir) = single();
    let (one, two) = (push(&layout, "one", &[]).await, push(&layout, "two", &[]).await);
    write_index(dir.path(), &[entry(&one, Some("a/x:v1")), entry(&two, Some("b/y:v1")), entry(&one, Some("v2"))]);
    let error = layout.get_manifest(&repo(), &tag("v1").into()).await.unwrap_err();
    let text = error.to_string();
    assert!(!error.is_not_found() && text.contains("a/x:v1") && text.contains("b/y:v1"), "{text}");
    assert!(layout.delete_manifest(&repo(), &tag("v1").into()).await.is_err());
    assert_eq!(layout.get_manifest(&repo(), &tag("v2").into()).await.unwrap(), one);
    let options = PutManifest { if_absent: true, ..tags(&["v1"]) };
    let error = layout.put_manifest(&repo(), &one, options).await.unwrap_err();
    assert_eq!(error.code(), &Code::PreconditionFailed);
    push(&layout, "two", &["v1"]).await;
    assert_eq!(layout.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), two, "the bare tag wins");
}

#[tokio::test]
async fn what_is_foreign_stays() {
    let (layout, dir) = single();
    let one = push(&layout, "one", &[]).await;
    let mut described = entry(&one, Some("v1"));
    described["annotations"]["com.example.kept"] = json!("yes");
    described["com.example.field"] = json!({"a": [1, null]});
    let strange = [
        json!({"mediaType": "a/b", "digest": "blake9:00", "size": 5, "annotations": {REF_NAME: "v9"}}),
        json!({"mediaType": "a/b"}),
        json!(17),
    ];
    let mut index = json!({"schemaVersion": 2, "annotations": {"a": "b"}, "com.example": 1.5});
    let entries: Vec<_> = strange.iter().cloned().chain([described.clone()]).collect();
    index["manifests"] = json!(entries);
    fs::write(dir.path().join("index.json"), index.to_string()).unwrap();

    let two = push(&layout, "two", &["v2"]).await;
    assert_eq!(layout.list_tags(&repo(), &Page::default()).await.unwrap().items, [tag("v1"), tag("v2")]);
    index["manifests"].as_array_mut().unwrap().push(entry(&two, Some("v2")));
    assert_eq!(read_index(dir.path()), index);
    push(&layout, "two", &["v1"]).await;
    described["annotations"].as_object_mut().unwrap().remove(REF_NAME);
    assert_eq!(read_index(dir.path())["manifests"][3], described, "only the name is taken");
}

#[tokio::test]
async fn entries_that_are_hostile_do_no_harm() {
    let (layout, dir) = single();
    let one = push(&layout, "one", &[]).await;
    let (digest, size) = (one.digest(), one.descriptor().size);
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    let field = format!(r#""com.example":[1e999,"\ud800",{deep}]"#);
    let array = format!(r#"["{}","{digest}",{size}]"#, media_type::IMAGE);
    let named = |name: &str| {
        let annotations = format!(r#"{{"{REF_NAME}":"{name}"}}"#);
        let media_type = media_type::IMAGE;
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size},"annotations":{annotations},{field}}}"#
        )
    };
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{array},{}]}}"#, named("v1"));
    fs::write(dir.path().join("index.json"), index).unwrap();
    assert_eq!(layout.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), one);
    layout.delete_manifest(&repo(), &tag("v1").into()).await.unwrap();
    push(&layout, "one", &["v2"]).await;
    assert_eq!(layout.list_tags(&repo(), &Page::default()).await.unwrap().items, [tag("v2")]);
    let text = fs::read_to_string(dir.path().join("index.json")).unwrap();
    assert!(text.contains(&array) && text.contains(&field), "{text}");
}

#[tokio::test]
async fn manifests_inside_of_indexes_are_found_and_kept() {
    let (layout, dir) = single();
    let child = Manifest::new(media_type::IMAGE, content(&layout, "one").await.to_bytes());
    let inner = index_of(&[child.descriptor()]);
    let outer = index_of(&[inner.descriptor()]);
    write_blob(dir.path(), child.bytes());
    write_blob(dir.path(), inner.bytes());
    layout.put_manifest(&repo(), &outer, tags(&["all"])).await.unwrap();
    assert_eq!(layout.get_manifest(&repo(), &child.digest().clone().into()).await.unwrap(), child);
    assert_eq!(&layout.head_manifest(&repo(), &inner.digest().clone().into()).await.unwrap(), inner.descriptor());

    let error = layout.delete_manifest(&repo(), &child.digest().clone().into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Denied);
    let error = layout.delete_blob(&repo(), child.digest()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Denied);
    layout.put_manifest(&repo(), &child, tags(&["one"])).await.unwrap();
    layout.delete_manifest(&repo(), &child.digest().clone().into()).await.unwrap();
    assert!(layout.get_manifest(&repo(), &tag("one").into()).await.is_err());
    assert_eq!(layout.get_manifest(&repo(), &child.digest().clone().into()).await.unwrap(), child);
    layout.delete_manifest(&repo(), &outer.digest().clone().into()).await.unwrap();
    assert!(layout.get_manifest(&repo(), &child.digest().clone().into()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn one_bad_file_does_not_hide_other_referrers() {
    let (layout, dir) = single();
    let subject = push(&layout, "one", &["v1"]).await;
    let refer = async |seed: &str| {
        let content = ManifestContent { subject: Some(subject.descriptor().clone()), ..content(&layout, seed).await };
        let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
        layout.put_manifest(&repo(), &manifest, PutManifest::default()).await.unwrap();
        manifest
    };
    let (bad, gone, good) = (refer("bad").await, refer("gone").await, refer("good").await);
    fs::write(blob_path(dir.path(), bad.digest()), "{").unwrap();
    fs::remove_file(blob_path(dir.path(), gone.digest())).unwrap();
    let found = layout.list_referrers(&repo(), subject.digest(), &ReferrerQuery::default()).await.unwrap();
    assert_eq!(found.items.iter().map(|found| &found.digest).collect::<Vec<_>>(), [good.digest()]);
    let error = layout.get_manifest(&repo(), &bad.digest().clone().into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::DigestInvalid);
    let error = layout.get_manifest(&repo(), &gone.digest().clone().into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::ManifestUnknown);
    refer("bad").await;
    assert_eq!(layout.get_manifest(&repo(), &bad.digest().clone().into()).await.unwrap(), bad, "mended");
}

#[tokio::test]
async fn missing_content_may_be_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::single(dir.path(), repo(), LayoutOptions { allow_missing: true }).unwrap();
    let index = index_of(&[&Descriptor::of(media_type::IMAGE, b"not there")]);
    layout.put_manifest(&repo(), &index, tags(&["all"])).await.unwrap();
    assert_eq!(layout.get_manifest(&repo(), &tag("all").into()).await.unwrap(), index);
    let child = Digest::sha256(b"not there");
    assert_eq!(layout.get_manifest(&repo(), &child.into()).await.unwrap_err().code(), &Code::ManifestUnknown);
}

#[tokio::test]
async fn manifests_of_unknown_types_are_opaque() {
    let (layout, _dir) = single();
    let manifest = Manifest::new("application/vnd.example+json", "not even JSON");
    layout.put_manifest(&repo(), &manifest, tags(&["v1"])).await.unwrap();
    assert_eq!(layout.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), manifest);
    let other = Manifest::new("application/vnd.example.other", manifest.bytes().clone());
    layout.put_manifest(&repo(), &other, PutManifest::default()).await.unwrap();
    assert_eq!(layout.get_manifest(&repo(), &tag("v1").into()).await.unwrap(), other, "the type given last counts");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_place_of_a_blob_is_an_error() {
    let (layout, dir) = single();
    let blob = layout.write_blob(&repo(), "hello".into()).await.unwrap();
    let path = blob_path(dir.path(), &blob.digest);
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    for error in [
        layout.get_blob(&repo(), &blob.digest, None).await.unwrap_err(),
        layout.head_blob(&repo(), &blob.digest).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("is not a regular file"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn mounted_blobs_share_their_bytes() {
    use std::os::unix::fs::MetadataExt;

    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::tree(dir.path(), LayoutOptions::default()).unwrap();
    let (one, two): (RepoName, RepoName) = ("one".parse().unwrap(), "two".parse().unwrap());
    let blob = layout.write_blob(&one, "hello".into()).await.unwrap();
    layout.mount_blob(&two, &blob.digest, Some(&one)).await.unwrap();
    let inode = |name: &str| blob_path(&dir.path().join(name), &blob.digest).metadata().unwrap().ino();
    assert_eq!(inode("one"), inode("two"));
    layout.delete_blob(&one, &blob.digest).await.unwrap();
    assert_eq!(layout.read_blob(&two, &blob.digest, 10).await.unwrap(), "hello");
}

fn single() -> (Layout, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Layout::single(dir.path(), repo(), LayoutOptions::default()).unwrap(), dir)
}

fn repo() -> RepoName {
    "library/one".parse().unwrap()
}

fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

fn tags(tags: &[&str]) -> PutManifest {
    PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), if_absent: false }
}

async fn content(layout: &Layout, seed: &str) -> ManifestContent {
    let config = layout.write_blob(&repo(), "{}".into()).await.unwrap();
    let layer = layout.write_blob(&repo(), Bytes::copy_from_slice(seed.as_bytes())).await.unwrap();
    ManifestContent { schema_version: 2, config: Some(config), layers: Some(vec![layer]), ..Default::default() }
}

async fn push(layout: &Layout, seed: &str, names: &[&str]) -> Manifest {
    let manifest = Manifest::new(media_type::IMAGE, content(layout, seed).await.to_bytes());
    layout.put_manifest(&repo(), &manifest, tags(names)).await.unwrap();
    manifest
}

fn index_of(manifests: &[&Descriptor]) -> Manifest {
    let manifests = Some(manifests.iter().map(|&manifest| manifest.clone()).collect());
    let content = ManifestContent { schema_version: 2, manifests, ..Default::default() };
    Manifest::new(media_type::INDEX, content.to_bytes())
}

fn entry(manifest: &Manifest, name: Option<&str>) -> Value {
    let mut entry = serde_json::to_value(manifest.descriptor()).unwrap();
    if let Some(name) = name {
        entry["annotations"] = json!({REF_NAME: name});
    }
    entry
}

fn read_index(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap()
}

fn write_index(dir: &Path, entries: &[Value]) {
    fs::write(dir.join("index.json"), json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
}

fn write_blob(dir: &Path, bytes: &[u8]) {
    fs::write(blob_path(dir, &Digest::sha256(bytes)), bytes).unwrap();
}

fn blob_path(dir: &Path, digest: &Digest) -> std::path::PathBuf {
    dir.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
}

/// All files below a directory, sorted, as paths from there.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        for entry in path.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}
