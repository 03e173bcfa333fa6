//! The promises of the trait, and transfers that are cut, against a registry that runs elsewhere.
//!
//! ```sh
//! SKEP_TEST_REGISTRY=127.0.0.1:5000 cargo test -p skep-http --all-features --test peer -- --ignored
//! ```
//!
//! `SKEP_TEST_USER` and `SKEP_TEST_PASSWORD` say who asks, `SKEP_TEST_DEVIATIONS` which promises the registry is
//! known not to keep. That list is exact: a promise on it that is kept fails the test too.
//! Repositories are made beneath names that are new each time, and stay.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod support;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_registry::Descriptor;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::conformance::PROMISES;
use skep_registry::prefixed;
use skep_registry::transfer::DownloadOptions;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::download_to_file;
use skep_registry::transfer::file_source;
use skep_registry::transfer::upload;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::repo;

#[tokio::test]
#[ignore = "wants a registry in SKEP_TEST_REGISTRY"]
async fn promises_are_kept_but_the_known_ones() {
    let known: BTreeSet<String> = variable("SKEP_TEST_DEVIATIONS").split_whitespace().map(str::to_owned).collect();
    let (host, run) = (peer(), fresh());
    let mut broken = BTreeSet::new();
    for (name, promise) in PROMISES {
        let registry = prefixed(client(&host), repo(&format!("{run}/{name}")));
        // As a task, so that its panic ends it and not the others.
        if tokio::spawn(async move { promise(&registry).await }).await.is_err() {
            broken.insert((*name).to_owned());
        }
    }
    assert_eq!(broken, known, "broken, and known to be broken");
}

#[tokio::test]
#[ignore = "wants a registry in SKEP_TEST_REGISTRY"]
async fn an_upload_that_is_cut_arrives() {
    let relay = Relay::new(10 * MIB, 2).await;
    let (dir, blob) = blob_in_a_file();
    let to = Place::new(Arc::new(client(&relay.host)), fresh());
    let source = file_source(dir.path().join("blob"));
    let sent = upload(&to, &blob, source, &UploadSettings::default()).await.unwrap().sent;
    println!("{sent} bytes sent of {}, {} cuts", blob.size, relay.cuts());
    assert_eq!(relay.cuts(), 2);
    // Reading verifies.
    client(&peer()).read_blob(&to.repo, &blob.digest, blob.size).await.unwrap();
}

#[tokio::test]
#[ignore = "wants a registry in SKEP_TEST_REGISTRY"]
async fn an_upload_that_ended_half_way_is_finished_by_another() {
    let relay = Relay::new(14 * MIB, 1).await;
    relay.line.ends.store(true, Ordering::SeqCst);
    let (dir, blob) = blob_in_a_file();
    let (path, journal) = (dir.path().join("blob"), dir.path().join("journal"));
    let to = Place::new(Arc::new(client(&relay.host)), fresh());
    let settings = UploadSettings { attempts: 1, journal: Some(journal.clone()), ..Default::default() };
    upload(&to, &blob, file_source(path.clone()), &settings).await.unwrap_err();
    assert!(journal.exists());

    relay.line.ends.store(false, Ordering::SeqCst);
    let settings = UploadSettings { attempts: 6, ..settings };
    let sent = upload(&to, &blob, file_source(path), &settings).await.unwrap().sent;
    println!("{sent} bytes sent of {} the second time", blob.size);
    assert!(!journal.exists());
    client(&peer()).read_blob(&to.repo, &blob.digest, blob.size).await.unwrap();
}

#[tokio::test]
#[ignore = "wants a registry in SKEP_TEST_REGISTRY"]
async fn a_download_that_is_cut_arrives() {
    let (dir, blob) = blob_in_a_file();
    let to = Place::new(Arc::new(client(&peer())), fresh());
    upload(&to, &blob, file_source(dir.path().join("blob")), &UploadSettings::default()).await.unwrap();

    let relay = Relay::new(4 * MIB, 4).await;
    let from = Place::new(Arc::new(client(&relay.host)), to.repo.clone());
    let path = dir.path().join("came");
    let came = download_to_file(&from, &blob, &path, &DownloadOptions::default()).await.unwrap();
    println!("{} bytes came of {}, {} cuts", came.received, blob.size, relay.cuts());
    assert_eq!(relay.cuts(), 4);
    assert!(came.received < blob.size + 4 * MIB, "{} bytes of {}", came.received, blob.size);
    assert!(fs::read(path).unwrap() == fs::read(dir.path().join("blob")).unwrap());
}

/// Connections to a registry, one of which is cut whenever so many bytes passed through all of them, either way.
struct Relay {
    host: String,
    line: Arc<Line>,
    task: JoinHandle<()>,
}

struct Line {
    peer: String,
    /// Bytes between two cuts.
    every: u64,
    passed: AtomicU64,
    cuts: AtomicUsize,
    /// How many cuts there may be.
    most: AtomicUsize,
    /// Nothing comes through after the last cut.
    ends: AtomicBool,
}

impl Relay {
    async fn new(every: u64, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let line = Arc::new(Line {
            peer: peer(),
            every,
            passed: AtomicU64::new(0),
            cuts: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            ends: AtomicBool::new(false),
        });
        let shared = line.clone();
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let line = shared.clone();
                tokio::spawn(async move { line.carry(near).await });
            }
        });
        Self { host, line, task }
    }

    fn cuts(&self) -> usize {
        self.line.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    /// Carries bytes both ways until one side ends, or the line is cut.
    async fn carry(&self, mut near: TcpStream) {
        let mut far = TcpStream::connect(&self.peer).await.unwrap();
        let (mut there, mut back) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        while !self.is_down() {
            let sent = tokio::select! {
                read = near.read(&mut there) => match read {
                    Ok(len @ 1..) => far.write_all(&there[..len]).await.map(|()| len),
                    _ => return,
                },
                read = far.read(&mut back) => match read {
                    Ok(len @ 1..) => near.write_all(&back[..len]).await.map(|()| len),
                    _ => return,
                },
            };
            let Ok(len) = sent else { return };
            let passed = self.passed.fetch_add(len as u64, Ordering::SeqCst) + len as u64;
            if passed > self.every && self.cuts.load(Ordering::SeqCst) < self.most.load(Ordering::SeqCst) {
                self.passed.store(0, Ordering::SeqCst);
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }

    fn is_down(&self) -> bool {
        self.ends.load(Ordering::SeqCst) && self.cuts.load(Ordering::SeqCst) >= self.most.load(Ordering::SeqCst)
    }
}

fn client(host: &str) -> Client {
    let (user, password) = (variable("SKEP_TEST_USER"), variable("SKEP_TEST_PASSWORD"));
    let credential = if user.is_empty() { Credential::Anonymous } else { Credential::Basic { user, password } };
    Client::new(host, ClientOptions { credentials: Arc::new(credential), ..support::options() }).unwrap()
}

fn peer() -> String {
    env::var("SKEP_TEST_REGISTRY").expect("SKEP_TEST_REGISTRY has the host of a registry")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// A repository that no one had before.
fn fresh() -> RepoName {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    repo(&format!("skep-test/{now:x}-{}", COUNT.fetch_add(1, Ordering::SeqCst)))
}

/// A file `blob` in a directory of its own, whose content no registry has.
fn blob_in_a_file() -> (tempfile::TempDir, Descriptor) {
    let dir = tempfile::tempdir().unwrap();
    let seed = fresh().to_string();
    let mut bytes = seed.clone().into_bytes();
    bytes.extend((0u64..).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(SIZE));
    fs::write(dir.path().join("blob"), &bytes).unwrap();
    (dir, Descriptor::of("application/octet-stream", &bytes))
}

const MIB: u64 = 1 << 20;

/// Of a blob: more than is sent in one go, and several times what a connection may pass.
const SIZE: usize = 24 << 20;
