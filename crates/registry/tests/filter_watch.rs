//! Meters and traces: what they tell of calls, and what they never tell.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream;
use skep_registry::Body;
use skep_registry::Call;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::Meter;
use skep_registry::Op;
use skep_registry::Outcome;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::UploadOptions;
use skep_registry::Usage;
use skep_registry::guarded;
use skep_registry::metered;
use skep_registry::traced;
use tracing_subscriber::fmt::MakeWriter;

#[tokio::test]
async fn meter_hears_of_each_call_with_its_bytes() {
    let (registry, book) = watched(Memory::default());
    let blob = registry.write_blob(&repo(), "hello".into()).await.unwrap();
    registry.read_blob(&repo(), &blob.digest, 100).await.unwrap();
    let part = registry.get_blob(&repo(), &blob.digest, Some((1..3).into())).await.unwrap();
    part.body.bytes(100).await.unwrap();
    registry.head_blob(&repo(), &blob.digest).await.unwrap();
    let manifest = Manifest::new("application/vnd.example", "{ }");
    registry.put_manifest(&repo(), &manifest, PutManifest::default()).await.unwrap();
    registry.get_manifest(&repo(), &manifest.digest().clone().into()).await.unwrap();
    let mut upload = registry.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
    upload.append(Body::from(Bytes::from("part"))).await.unwrap();
    upload.commit(&Digest::sha256(b"part")).await.unwrap();
    registry.list_repos(&Page::default()).await.unwrap();
    let want = [
        (Op::PutBlob, 5, Outcome::Done),
        (Op::GetBlob, 5, Outcome::Done),
        (Op::GetBlob, 2, Outcome::Done),
        (Op::HeadBlob, 0, Outcome::Done),
        (Op::PutManifest, 3, Outcome::Done),
        (Op::GetManifest, 3, Outcome::Done),
        (Op::UploadBlob, 0, Outcome::Done),
        (Op::AppendUpload, 4, Outcome::Done),
        (Op::CommitUpload, 0, Outcome::Done),
        (Op::ListRepos, 0, Outcome::Done),
    ];
    assert_eq!(book.calls(), want);
}

#[tokio::test]
async fn meter_tells_failed_from_dropped() {
    let (registry, book) = watched(Memory::default());
    let blob = registry.write_blob(&repo(), "hello".into()).await.unwrap();
    book.calls();
    registry.head_blob(&repo(), &Digest::sha256(b"other")).await.unwrap_err();
    drop(registry.get_blob(&repo(), &blob.digest, None).await.unwrap());
    let broken = [Ok(Bytes::from("hel")), Err(Error::new(Code::Unavailable, "broken off"))];
    registry.put_blob(&repo(), &blob, Body::new(None, stream::iter(broken))).await.unwrap_err();
    let stalled = Body::new(None, stream::iter([Ok(Bytes::from("he"))]).chain(stream::pending()));
    let (repo, put) = (repo(), registry.put_blob(&REPO, &blob, stalled));
    assert!(put.now_or_never().is_none());
    registry.delete_blob(&repo, &blob.digest).await.unwrap();
    let want = [
        (Op::HeadBlob, 0, Outcome::Failed(Code::BlobUnknown)),
        (Op::GetBlob, 0, Outcome::Dropped),
        (Op::PutBlob, 3, Outcome::Failed(Code::Unavailable)),
        (Op::PutBlob, 2, Outcome::Dropped),
        (Op::DeleteBlob, 0, Outcome::Done),
    ];
    assert_eq!(book.calls(), want);
}

#[tokio::test]
async fn body_counts_as_done_at_its_last_byte() {
    let (registry, book) = watched(Memory::default());
    let blob = registry.write_blob(&repo(), "hello".into()).await.unwrap();
    book.calls();
    // As servers do, which know from the length that no more will come.
    let mut body = registry.get_blob(&repo(), &blob.digest, None).await.unwrap().body;
    body.next().await.unwrap().unwrap();
    assert_eq!(book.calls(), []);
    drop(body);
    assert_eq!(book.calls(), [(Op::GetBlob, 5, Outcome::Done)]);
}

#[tokio::test(start_paused = true)]
async fn duration_ends_with_the_body() {
    let (registry, book) = watched(Memory::default());
    let blob = registry.write_blob(&repo(), "hello".into()).await.unwrap();
    let body = registry.get_blob(&repo(), &blob.digest, None).await.unwrap().body;
    tokio::time::sleep(Duration::from_secs(3)).await;
    body.bytes(100).await.unwrap();
    let durations: Vec<_> = book.0.lock().unwrap().iter().map(|(_, usage)| usage.duration.as_secs()).collect();
    assert_eq!(durations, [0, 3]);
}

#[tokio::test]
async fn meter_hears_of_what_is_refused_behind_it() {
    let (registry, book) = watched(guarded(Memory::default(), |_| Err(Code::Denied.into())));
    registry.head_blob(&repo(), &Digest::sha256(b"hello")).await.unwrap_err();
    assert_eq!(book.calls(), [(Op::HeadBlob, 0, Outcome::Failed(Code::Denied))]);
}

#[tokio::test]
async fn trace_tells_names_and_numbers() {
    let lines = trace(|registry| async move {
        let blob = registry.write_blob(&repo(), "hello".into()).await.unwrap();
        registry.read_blob(&repo(), &blob.digest, 100).await.unwrap();
        let unknown = Digest::sha256(b"other");
        registry.head_blob(&repo(), &unknown).await.unwrap_err();
        drop(registry.get_blob(&repo(), &blob.digest, None).await.unwrap());
        registry.list_repos(&Page::default()).await.unwrap();
    })
    .await;
    let want = [
        r#"call{op="put_blob" repo="team/site"}: outcome="done" bytes=5 duration="#,
        r#"call{op="get_blob" repo="team/site"}: outcome="done" bytes=5 duration="#,
        r#"call{op="head_blob" repo="team/site"}: outcome="BLOB_UNKNOWN" status=404 bytes=0 duration="#,
        r#"call{op="get_blob" repo="team/site"}: outcome="dropped" bytes=0 duration="#,
        r#"call{op="list_repos"}: outcome="done" bytes=0 duration="#,
    ];
    assert_eq!(lines.len(), want.len(), "{lines:#?}");
    for (line, want) in lines.iter().zip(want) {
        assert!(line.contains(want), "{line:?} has no {want:?}");
    }
}

#[tokio::test]
async fn trace_never_tells_content_or_sessions() {
    let lines = trace(|registry| async move {
        let secret = Descriptor::of("text/plain", b"hunter2");
        registry.put_blob(&repo(), &secret, Body::from(Bytes::from("hunter2"))).await.unwrap();
        let manifest = Manifest::new("application/vnd.example", r#"{"password":"hunter2"}"#);
        registry.put_manifest(&repo(), &manifest, PutManifest::default()).await.unwrap();
        let mut upload = registry.upload_blob(&repo(), UploadOptions::default()).await.unwrap();
        upload.append(Body::from(Bytes::from("hunter2"))).await.unwrap();
        upload.cancel().await.unwrap();
        // The error has the name of the session in its words.
        let options = UploadOptions { resume: Some("hunter2".to_owned()), ..Default::default() };
        registry.upload_blob(&repo(), options).await.unwrap_err();
        let reference = ManifestRef::Tag("hunter2".parse().unwrap());
        registry.get_manifest(&repo(), &reference).await.unwrap_err();
    })
    .await;
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert!(!lines.concat().contains("hunter2"), "{lines:#?}");
}

#[tokio::test]
async fn what_happens_below_is_in_the_span_of_the_call() {
    let lines = trace_of(
        guarded(Memory::default(), |_| {
            tracing::debug!("asked");
            Ok(())
        }),
        |registry| async move {
            registry.write_blob(&repo(), "hello".into()).await.unwrap();
        },
    )
    .await;
    assert!(lines[0].contains(r#"call{op="put_blob" repo="team/site"}: "#) && lines[0].ends_with("asked"), "{lines:?}");
}

/// What calls were heard of.
#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<Vec<(Op, Usage)>>>);

impl Book {
    /// Those that were heard of since the last time.
    fn calls(&self) -> Vec<(Op, u64, Outcome)> {
        self.0.lock().unwrap().drain(..).map(|(op, usage)| (op, usage.bytes, usage.outcome)).collect()
    }
}

impl Meter for Book {
    fn record(&self, call: Call<'_>, usage: &Usage) {
        assert_eq!(call.repo.is_none(), call.op == Op::ListRepos);
        self.0.lock().unwrap().push((call.op, usage.clone()));
    }
}

fn watched(inner: impl Registry) -> (impl Registry, Book) {
    let book = Book::default();
    (metered(inner, Arc::new(book.clone())), book)
}

async fn trace<F: Future<Output = ()>>(run: impl FnOnce(Arc<dyn Registry>) -> F) -> Vec<String> {
    trace_of(Memory::default(), run).await
}

/// The lines of a log of what is done with a registry that is traced.
async fn trace_of<F: Future<Output = ()>>(
    inner: impl Registry,
    run: impl FnOnce(Arc<dyn Registry>) -> F,
) -> Vec<String> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).with_target(false);
    let guard = tracing::subscriber::set_default(subscriber.with_max_level(tracing::Level::TRACE).finish());
    run(Arc::new(traced(inner))).await;
    drop(guard);
    let bytes = log.0.lock().unwrap();
    std::str::from_utf8(&bytes).unwrap().lines().map(str::to_owned).collect()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn repo() -> RepoName {
    REPO.clone()
}

static REPO: LazyLock<RepoName> = LazyLock::new(|| "team/site".parse().unwrap());
