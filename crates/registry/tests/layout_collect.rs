//! Collection of garbage in layouts: what goes, what stays, and that nobody else is harmed by it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::CollectOptions;
use skep_registry::Collected;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::OCTET_STREAM;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::UploadOptions;
use skep_registry::media_type;
use tempfile::TempDir;

#[tokio::test]
async fn what_a_listed_manifest_needs_stays_and_the_rest_goes() {
    let desk = Desk::new();
    let layout = &desk.layout;
    let tagged = push(layout, "tagged", &["v1"], None).await;
    push(layout, "untagged", &[], None).await;
    push(layout, "signature", &[], Some(&tagged)).await;
    let child = push(layout, "child", &[], None).await;
    let inner = put(layout, &index_of(&[&child]), &[]).await.unwrap();
    let outer = put(layout, &index_of(&[&inner]), &["multi"]).await.unwrap();
    // Listed no more, but in what is.
    layout.delete_manifest(&repo(), &child.digest().clone().into()).await.unwrap();
    layout.delete_manifest(&repo(), &inner.digest().clone().into()).await.unwrap();
    let by_sha512 = Digest::of(Algorithm::Sha512, b"sha512");
    write(layout, &by_sha512, "sha512").await;
    let config = write_of(layout, "{}").await;
    let kept = Descriptor::new(OCTET_STREAM, by_sha512.clone(), 6);
    let content = ManifestContent {
        schema_version: 2,
        config: Some(config.clone()),
        // Content with addresses of its own need not be there; if it is, it stays.
        layers: Some(vec![
            kept,
            Descriptor { urls: vec!["https://a.example".into()], ..write_of(layout, "foreign").await },
        ]),
        ..Default::default()
    };
    let manifest = Manifest::with_algorithm(media_type::IMAGE, Algorithm::Sha512, content.to_bytes());
    put(layout, &manifest, &["by-sha512"]).await.unwrap();
    // A manifest of a type that nobody here knows, which names another one, which names a blob.
    let blob = write_of(layout, "named in the dark").await;
    let dark = write_of(layout, &format!(r#" {{"parts": ["{}"]}}"#, blob.digest)).await;
    let opaque = Manifest::new("application/vnd.example.list", format!(r#"{{"all": "{}"}}"#, dark.digest));
    put(layout, &opaque, &["opaque"]).await.unwrap();
    let before = desk.blobs();

    let deleted = push(layout, "deleted", &["gone"], None).await;
    layout.delete_manifest(&repo(), &deleted.digest().clone().into()).await.unwrap();
    let lost = Digest::of(Algorithm::Sha512, b"lost");
    write(layout, &lost, "lost").await;
    let mut garbage = vec![(Digest::sha256(b"deleted"), 7), (lost, 4)];
    garbage.sort();
    desk.age(2);
    // What is no blob is none of ours.
    fs::write(desk.path("blobs/sha256/README"), "").unwrap();
    let collected = desk.collect(hour()).await.unwrap();
    assert_eq!((collected.blobs, collected.bytes), (garbage, 11));
    assert_eq!((collected.manifests, collected.uploads), (vec![], 0));
    fs::remove_file(desk.path("blobs/sha256/README")).unwrap();
    assert_eq!(desk.blobs(), before);
    assert!(desk.collect(hour()).await.is_none(), "nothing is left to do");
    layout.get_manifest(&repo(), &outer.digest().clone().into()).await.unwrap();
}

#[tokio::test]
async fn untagged_manifests_go_when_that_is_asked_for() {
    let desk = Desk::new();
    let layout = &desk.layout;
    let tagged = push(layout, "tagged", &["v1"], None).await;
    let signature = push(layout, "signature", &[], Some(&tagged)).await;
    let countersignature = push(layout, "countersignature", &[], Some(&signature)).await;
    let child = push(layout, "child", &[], None).await;
    let about_child = push(layout, "about a child", &[], Some(&child)).await;
    put(layout, &index_of(&[&child]), &["multi"]).await.unwrap();
    let stale = push(layout, "stale", &["moving"], None).await;
    let about_stale = push(layout, "about what is stale", &[], Some(&stale)).await;
    let named = push(layout, "named", &["a", "b"], None).await;
    layout.delete_manifest(&repo(), &tag("a").into()).await.unwrap();
    desk.age(2);
    // It loses its tag only now, so its time begins now.
    push(layout, "newer", &["moving"], None).await;
    let untagged = CollectOptions { untagged: true, ..hour() };
    assert!(desk.collect(untagged).await.is_none());
    desk.age(2);
    let dry = desk.collect(CollectOptions { dry_run: true, ..untagged }).await.unwrap();
    let mut want = vec![stale.digest().clone(), about_stale.digest().clone()];
    want.sort();
    assert_eq!(dry.manifests, want);
    let collected = desk.collect(untagged).await.unwrap();
    assert_eq!(collected, dry);
    // Two manifests and a layer of each; the config is everybody's.
    assert_eq!(collected.blobs.len(), 4);
    for kept in [&tagged, &signature, &countersignature, &child, &about_child, &named] {
        whole(layout, &repo(), kept).await;
    }
    let error = layout.get_manifest(&repo(), &stale.digest().clone().into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::ManifestUnknown);
}

#[tokio::test]
async fn what_was_asked_for_or_stored_again_has_its_time_again() {
    let desk = Desk::new();
    let layout = &desk.layout;
    let other: RepoName = "other".parse().unwrap();
    let digests: Vec<_> = ["left", "head", "put", "mount"].map(|seed| Digest::sha256(seed.as_bytes())).into();
    for seed in ["left", "head", "put"] {
        write_of(layout, seed).await;
    }
    layout.write_blob(&other, "mount".into()).await.unwrap();
    let mut upload = layout.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    upload.append(Bytes::from("upload").into()).await.unwrap();
    let untagged = push(layout, "untagged", &[], None).await;
    let pulled = push(layout, "pulled", &[], None).await;
    desk.age(2);
    layout.head_blob(&repo(), &digests[1]).await.unwrap();
    write_of(layout, "put").await;
    layout.mount_blob(&repo(), &digests[3], Some(&other)).await.unwrap();
    upload.commit(&Digest::sha256(b"upload")).await.unwrap();
    layout.head_manifest(&repo(), &untagged.digest().clone().into()).await.unwrap();
    layout.get_manifest(&repo(), &pulled.digest().clone().into()).await.unwrap();
    let collected = desk.collect(CollectOptions { untagged: true, ..hour() }).await.unwrap();
    assert_eq!((collected.blobs, collected.manifests), (vec![(digests[0].clone(), 4)], vec![]));
    // The mounted blob is one file in two layouts: its time is one, too.
    assert!(layout.has_blob(&other, &digests[3]).await.unwrap());
    whole(layout, &repo(), &untagged).await;
}

#[tokio::test]
async fn a_dry_run_tells_what_would_go_and_changes_nothing() {
    let desk = Desk::new();
    push(&desk.layout, "untagged", &[], None).await;
    write_of(&desk.layout, "garbage").await;
    let upload = desk.layout.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    drop(upload);
    desk.age(2);
    fs::remove_file(desk.path(".skep/lock")).unwrap();
    let before = desk.files();
    let options = CollectOptions { untagged: true, dry_run: true, ..hour() };
    let dry = desk.collect(options).await.unwrap();
    assert_eq!((dry.manifests.len(), dry.blobs.len(), dry.uploads), (1, 4, 1));
    assert_eq!(desk.files(), before);
    assert_eq!(desk.collect(CollectOptions { dry_run: false, ..options }).await.unwrap(), dry);
    assert_eq!(desk.blobs(), BTreeSet::new());
}

#[tokio::test]
async fn where_a_manifest_cannot_be_read_no_blob_goes() {
    let desk = Desk::new();
    let image = push(&desk.layout, "one", &["v1"], None).await;
    write_of(&desk.layout, "garbage").await;
    let other: RepoName = "z".parse().unwrap();
    desk.layout.write_blob(&other, "garbage".into()).await.unwrap();
    let manifest = desk.path("blobs/sha256").join(image.digest().hex());
    let index = desk.path("index.json");
    let good = [&manifest, &index].map(|path| fs::read_to_string(path).unwrap());
    for (path, bad, names) in [
        (&manifest, good[0].replace("schemaVersion", "schemaversion"), image.digest().hex()),
        (&index, good[1].replace("\"sha256:", "\"blake3:"), "manifests[0]"),
        (&index, good[1].replace("image.manifest", "image.index"), image.digest().hex()),
        (&index, good[1][1..].to_owned(), "index.json"),
    ] {
        let right = fs::read_to_string(path).unwrap();
        fs::write(path, bad).unwrap();
        desk.age(2);
        let layout = Layout::tree(desk.dir.path(), LayoutOptions::default()).unwrap();
        let came: Vec<_> = layout.collect_garbage(CollectOptions { untagged: true, ..hour() }).collect().await;
        // The stream goes on: the other repository is none the worse for it.
        let [Err(error), ..] = &came[..] else { panic!("{came:?}") };
        assert!(error.to_string().contains(names) && error.to_string().contains(repo().as_str()), "{error}");
        assert!(layout.has_blob(&repo(), &Digest::sha256(b"garbage")).await.unwrap());
        assert!(!layout.has_blob(&other, &Digest::sha256(b"garbage")).await.unwrap());
        fs::write(path, right).unwrap();
    }
    desk.age(2);
    assert_eq!(desk.collect(hour()).await.unwrap().blobs, [(Digest::sha256(b"garbage"), 7)]);
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_go() {
    let desk = Desk::new();
    let begin = async |repo: &RepoName| {
        let mut upload = desk.layout.upload_blob(repo, UploadOptions::default()).await.unwrap();
        upload.append(Bytes::from("begun").into()).await.unwrap();
        upload
    };
    let idle = begin(&repo()).await.id().to_owned();
    let mut live = begin(&repo()).await;
    // A repository that never came to be.
    begin(&"never".parse().unwrap()).await;
    fs::write(desk.path(".skep/uploads/dead.tmp"), "half").unwrap();
    desk.age(2);
    live.append(Bytes::from(", and ended").into()).await.unwrap();
    let came: Vec<_> = desk.layout.collect_garbage(hour()).try_collect().await.unwrap();
    let came: Vec<_> = came.iter().map(|came| (came.repo.as_str(), came.uploads, came.bytes)).collect();
    assert_eq!(came, [("never", 1, 5), ("one", 2, 9)]);
    let options = UploadOptions { resume: Some(idle), ..Default::default() };
    let error = desk.layout.upload_blob(&repo(), options).await.unwrap_err();
    assert_eq!(error.code(), &Code::BlobUploadUnknown);
    live.commit(&Digest::sha256(b"begun, and ended")).await.unwrap();
}

#[tokio::test]
async fn a_single_layout_of_another_tool_can_be_collected() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::single(dir.path(), repo(), LayoutOptions::default()).unwrap();
    let nothing: Vec<_> = layout.collect_garbage(CollectOptions::default()).try_collect().await.unwrap();
    assert_eq!(nothing, []);
    assert!(dir.path().read_dir().unwrap().next().is_none(), "nothing is made");
    push(&layout, "one", &["v1"], None).await;
    write_of(&layout, "garbage").await;
    fs::remove_dir_all(dir.path().join(".skep")).unwrap();
    let options = CollectOptions { grace: Duration::ZERO, ..Default::default() };
    let came: Vec<_> = layout.collect_garbage(options).try_collect().await.unwrap();
    assert_eq!(came[0].blobs, [(Digest::sha256(b"garbage"), 7)]);
    let never = CollectOptions { grace: Duration::MAX, ..Default::default() };
    assert!(layout.collect_garbage(never).next().await.is_none());
}

/// Pushers, deleters and collectors at once, in two processes and over several values of one directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_was_acknowledged_is_ever_collected() {
    let desk = Desk::new();
    let (begun, until) = (Instant::now(), Instant::now() + stress());
    let mut other = Command::new(env::current_exe().unwrap());
    other.args(["--exact", "collector_in_another_process"]).env(OTHER_PROCESS, desk.dir.path());
    let mut other = other.stdout(std::process::Stdio::null()).spawn().unwrap();
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
    let slow = Arc::new(Mutex::new(0));
    let mut tasks = Vec::new();
    for pusher in 0..6 {
        let layout = Layout::tree(desk.dir.path(), LayoutOptions::default()).unwrap();
        let (acknowledged, slow) = (acknowledged.clone(), slow.clone());
        tasks.push(tokio::spawn(async move {
            for at in (0..).take_while(|_| Instant::now() < until) {
                let began = Instant::now();
                // Images come in the order of their names, so the oldest one is known.
                let name = format!("t{:09}-{pusher}", (began - begun).as_micros());
                // A layer is wanted again when it has been garbage for about the grace.
                let shared = (began - begun).as_millis() / 100 % 8;
                match push_as_clients_do(&layout, pusher, at, &format!("shared {shared}"), &name).await {
                    Ok(manifest) => _ = acknowledged.lock().unwrap().insert((pusher % 2, name), manifest),
                    // Whoever takes longer than the grace has to begin again.
                    Err(error) if began.elapsed() > GRACE => {
                        assert_eq!(error.code(), &Code::ManifestBlobUnknown, "{error}");
                        *slow.lock().unwrap() += 1;
                    }
                    Err(error) => panic!("after {:?}: {error}", began.elapsed()),
                }
                // Those who delete keep up, so that what was pushed becomes garbage soon.
                while acknowledged.lock().unwrap().len() > 12 && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }));
    }
    for deleter in 0..2 {
        let (layout, acknowledged) = (desk.layout.clone(), acknowledged.clone());
        tasks.push(tokio::spawn(async move {
            for at in (0..).take_while(|_| Instant::now() < until) {
                let taken = {
                    let mut acknowledged = acknowledged.lock().unwrap();
                    let mut keys = acknowledged.keys().filter(|(repo, _)| *repo == deleter).cloned();
                    let oldest = keys.next().filter(|_| keys.count() > 3);
                    oldest.and_then(|key| acknowledged.remove_entry(&key))
                };
                let Some(((repo, name), manifest)) = taken else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let reference = if at % 2 == 0 { tag(&name).into() } else { manifest.digest().clone().into() };
                layout.delete_manifest(&stress_repo(repo), &reference).await.unwrap();
            }
        }));
    }
    let collector = tokio::spawn(collect_until(desk.layout.clone(), until));
    for task in tasks {
        task.await.unwrap();
    }
    let collected = collector.await.unwrap();
    assert!(other.wait().unwrap().success());
    let acknowledged = acknowledged.lock().unwrap().clone();
    println!("{} stay, {collected} went meanwhile, {} too slow", acknowledged.len(), slow.lock().unwrap());
    assert!(collected > 0 && acknowledged.len() > 3);
    let mut needed = [BTreeSet::new(), BTreeSet::new()];
    for ((repo, _), manifest) in &acknowledged {
        needed[*repo].extend(whole(&desk.layout, &stress_repo(*repo), manifest).await);
    }
    let options = CollectOptions { grace: Duration::ZERO, untagged: true, dry_run: false };
    desk.layout.collect_garbage(options).try_collect::<Vec<_>>().await.unwrap();
    for (repo, needed) in needed.iter().enumerate() {
        assert_eq!(&blobs(&desk.dir.path().join(stress_repo(repo).as_str())), needed, "nothing else is left");
        assert_eq!(
            desk.dir.path().join(stress_repo(repo).as_str()).join(".skep/uploads").read_dir().unwrap().count(),
            0
        );
    }
}

/// Does nothing but in the process that the test above starts.
#[tokio::test]
async fn collector_in_another_process() {
    let Some(dir) = env::var_os(OTHER_PROCESS) else { return };
    collect_until(Layout::tree(dir, LayoutOptions::default()).unwrap(), Instant::now() + stress()).await;
}

/// Gives how many files it removed.
async fn collect_until(layout: Layout, until: Instant) -> usize {
    let mut collected = 0;
    while Instant::now() < until {
        let options = CollectOptions { grace: GRACE, untagged: true, dry_run: false };
        let came: Vec<Collected> = layout.collect_garbage(options).try_collect().await.unwrap();
        collected += came.iter().map(|came| came.blobs.len()).sum::<usize>();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    collected
}

/// Pushes an image: what is there is not sent, some is mounted, some sent in parts.
async fn push_as_clients_do(layout: &Layout, pusher: usize, at: usize, shared: &str, name: &str) -> Result<Manifest> {
    let (repo, other) = (stress_repo(pusher % 2), stress_repo((pusher + 1) % 2));
    let shared = Bytes::from(shared.repeat(50));
    let own = Bytes::from(format!("own {name}").repeat(50));
    let mut layers = Vec::new();
    for (layer, way) in [(shared, at + pusher), (own, at)] {
        let blob = Descriptor::of(OCTET_STREAM, &layer);
        match way % 4 {
            0 => layout.put_blob(&repo, &blob, Body::from(layer)).await?,
            1 => {
                let mut upload = layout.upload_blob(&repo, UploadOptions::default()).await?;
                upload.append(Body::from(layer)).await?;
                upload.commit(&blob.digest).await?;
            }
            2 if layout.mount_blob(&repo, &blob.digest, Some(&other)).await.is_ok() => {}
            _ if layout.has_blob(&repo, &blob.digest).await? => {}
            _ => layout.put_blob(&repo, &blob, Body::from(layer)).await?,
        }
        layers.push(blob);
    }
    let config = Bytes::from("{}");
    let config = layout.write_blob(&repo, config).await?;
    let content =
        ManifestContent { schema_version: 2, config: Some(config), layers: Some(layers), ..Default::default() };
    let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
    let options = PutManifest { tags: vec![tag(name)], if_absent: false };
    layout.put_manifest(&repo, &manifest, options).await?;
    Ok(manifest)
}

struct Desk {
    dir: TempDir,
    layout: Layout,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::tree(dir.path(), LayoutOptions::default()).unwrap();
        Self { dir, layout }
    }

    /// In the layout of the repository.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(repo().as_str()).join(name)
    }

    /// What was collected in the repository.
    async fn collect(&self, options: CollectOptions) -> Option<Collected> {
        let came: Vec<Collected> = self.layout.collect_garbage(options).try_collect().await.unwrap();
        came.into_iter().find(|came| came.repo == repo())
    }

    fn blobs(&self) -> BTreeSet<Digest> {
        blobs(&self.path(""))
    }

    /// All files, with their times and bytes.
    fn files(&self) -> Vec<(PathBuf, SystemTime, Vec<u8>)> {
        let mut files = Vec::new();
        walk(self.dir.path(), &mut |path| {
            files.push((path.to_owned(), path.metadata().unwrap().modified().unwrap(), fs::read(path).unwrap()));
        });
        files.sort();
        files
    }

    /// Lets some hours go by.
    fn age(&self, hours: u64) {
        let then = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        walk(self.dir.path(), &mut |path| File::open(path).unwrap().set_modified(then).unwrap());
    }
}

fn walk(dir: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in dir.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found(&path) }
    }
}

fn blobs(layout: &Path) -> BTreeSet<Digest> {
    let mut blobs = BTreeSet::new();
    walk(&layout.join("blobs"), &mut |path| {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        blobs.insert(format!("{}:{}", name(path.parent().unwrap()), name(path)).parse().unwrap());
    });
    blobs
}

fn hour() -> CollectOptions {
    CollectOptions::default()
}

fn repo() -> RepoName {
    "one".parse().unwrap()
}

fn stress_repo(at: usize) -> RepoName {
    ["one", "one/two"][at].parse().unwrap()
}

fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

async fn write_of(layout: &Layout, bytes: &str) -> Descriptor {
    layout.write_blob(&repo(), Bytes::copy_from_slice(bytes.as_bytes())).await.unwrap()
}

async fn write(layout: &Layout, digest: &Digest, bytes: &'static str) {
    let descriptor = Descriptor::new(OCTET_STREAM, digest.clone(), bytes.len() as u64);
    layout.put_blob(&repo(), &descriptor, Bytes::from(bytes).into()).await.unwrap();
}

async fn put(layout: &Layout, manifest: &Manifest, tags: &[&str]) -> Result<Manifest> {
    let options = PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), if_absent: false };
    layout.put_manifest(&repo(), manifest, options).await?;
    Ok(manifest.clone())
}

async fn push(layout: &Layout, layer: &str, tags: &[&str], subject: Option<&Manifest>) -> Manifest {
    let content = ManifestContent {
        schema_version: 2,
        config: Some(write_of(layout, "{}").await),
        layers: Some(vec![write_of(layout, layer).await]),
        subject: subject.map(|subject| subject.descriptor().clone()),
        ..Default::default()
    };
    put(layout, &Manifest::new(media_type::IMAGE, content.to_bytes()), tags).await.unwrap()
}

fn index_of(manifests: &[&Manifest]) -> Manifest {
    let manifests = manifests.iter().map(|manifest| manifest.descriptor().clone()).collect();
    let content = ManifestContent { schema_version: 2, manifests: Some(manifests), ..Default::default() };
    Manifest::new(media_type::INDEX, content.to_bytes())
}

/// Reads a manifest and all that it names, and gives the digests.
async fn whole(layout: &Layout, repo: &RepoName, manifest: &Manifest) -> BTreeSet<Digest> {
    let got = layout.get_manifest(repo, &manifest.digest().clone().into()).await.unwrap();
    let content = got.content().unwrap();
    let mut digests = BTreeSet::from([got.digest().clone()]);
    for (_, blob) in content.blobs() {
        layout.read_blob(repo, &blob.digest, 1 << 20).await.unwrap();
        digests.insert(blob.digest.clone());
    }
    digests
}

/// How long the stress lasts: 3 seconds, or as many as the environment says.
fn stress() -> Duration {
    let seconds = env::var("SKEP_STRESS_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Longer than a push takes on a busy machine, mostly.
const GRACE: Duration = Duration::from_millis(700);

/// The variable that tells a process that it is the other one, and where.
const OTHER_PROCESS: &str = "SKEP_TEST_COLLECT_IN";
