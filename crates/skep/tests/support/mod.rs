//! What the tests of caches share: a registry behind HTTP that writes down what it is asked.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use skep::Address;
use skep::Caches;
use skep::Client;
use skep::ClientOptions;
use skep::PushOptions;
use skep::Pushed;
use skep_http::Server;
use skep_registry::Blob;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

/// A registry that writes down what it is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    pub(crate) memory: Memory,
    calls: Arc<Mutex<Vec<String>>>,
    said_instead: Arc<Mutex<VecDeque<(Digest, Manifest)>>>,
    refused: Arc<Mutex<HashSet<String>>>,
    held: Arc<Mutex<HashMap<String, Arc<Barrier>>>>,
}

impl Counting {
    /// The calls since this was asked last.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Gives these manifests to the next who ask for another one, by tag or by digest.
    pub(crate) fn say_instead(&self, of: &Digest, manifests: impl IntoIterator<Item = Manifest>) {
        *self.said_instead.lock().unwrap() = manifests.into_iter().map(|manifest| (of.clone(), manifest)).collect();
    }

    /// Refuses the next of a call.
    pub(crate) fn fail(&self, call: &str) {
        self.refused.lock().unwrap().insert(call.to_owned());
    }

    /// Holds the next of each of these calls until all of them are there.
    pub(crate) fn hold_until_all(&self, calls: &[&str]) {
        let barrier = Arc::new(Barrier::new(calls.len()));
        self.held.lock().unwrap().extend(calls.iter().map(|call| ((*call).to_owned(), barrier.clone())));
    }

    /// Holds the next of a call for ever.
    pub(crate) fn hold(&self, call: &str) {
        self.held.lock().unwrap().insert(call.to_owned(), Arc::new(Barrier::new(2)));
    }

    async fn note(&self, call: &str) -> Result<()> {
        self.calls.lock().unwrap().push(call.to_owned());
        let barrier = self.held.lock().unwrap().remove(call);
        if let Some(barrier) = barrier {
            barrier.wait().await;
        }
        match self.refused.lock().unwrap().remove(call) {
            true => Err(Code::Denied.into()),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Registry for Counting {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        let call = if range.is_some() { "get_blob part" } else { "get_blob" };
        self.note(call).await?;
        self.memory.get_blob(repo, digest, range).await
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        self.note("get_manifest").await?;
        let manifest = self.memory.get_manifest(repo, reference).await?;
        let mut instead = self.said_instead.lock().unwrap();
        match instead.front() {
            Some((of, _)) if of == manifest.digest() => Ok(instead.pop_front().unwrap().1),
            _ => Ok(manifest),
        }
    }

    // The server looks for another place before each blob that it gives.
    skep_registry::forward_registry!(self => self.memory; locate_blob);
    skep_registry::forward_registry!(self => self.memory, after note; head_blob, head_manifest, put_blob, upload_blob,
         mount_blob, put_manifest, delete_blob, delete_manifest, list_tags, list_referrers, list_repos);
}

/// A registry behind HTTP, and the address of a repository in it.
pub(crate) struct Served {
    pub(crate) registry: Counting,
    pub(crate) host: String,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) async fn new() -> Self {
        let registry = Counting::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = Server::new(Arc::new(registry.clone()));
        let server = tokio::spawn(skep_http::serve(listener, server, std::future::pending()));
        Self { registry, host, server }
    }

    pub(crate) fn address(&self, tag: &str) -> Address {
        format!("{}/team/site:{tag}", self.host).parse().unwrap()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.registry.calls()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A client with caches in a directory.
pub(crate) fn caching(dir: &Path) -> Client {
    with(Caches::in_dir(dir, Default::default()).unwrap())
}

pub(crate) fn with(caches: Caches) -> Client {
    Client::new(ClientOptions { caches, ..Default::default() })
}

pub(crate) async fn push(client: &Client, dir: &Path, to: &Address) -> Pushed {
    client.push(dir, to, PushOptions::default(), Arc::new(|_| {})).await.unwrap()
}

/// Bytes that do not repeat.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// A small site with a page, a large picture, and some more.
pub(crate) fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("page"), "hello").unwrap();
    fs::write(dir.path().join("picture"), noise(3_300_001, 1)).unwrap();
    for number in 0..10 {
        fs::write(dir.path().join(format!("some-{number}")), noise(3000, number)).unwrap();
    }
    dir
}

/// All files below a directory.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}
