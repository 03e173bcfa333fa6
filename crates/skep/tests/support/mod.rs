//! What the tests of caches share: a registry behind HTTP that writes down what it is asked.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
#![allow(dead_code, reason = "each test file uses some of it")]

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
use skep_registry::Digest;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A registry that writes down what it is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    pub(crate) memory: Memory,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Counting {
    /// The calls since this was asked last.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    async fn note(&self, call: &str) -> Result<()> {
        self.calls.lock().unwrap().push(call.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Registry for Counting {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        let call = if range.is_some() { "get_blob part" } else { "get_blob" };
        self.note(call).await?;
        self.memory.get_blob(repo, digest, range).await
    }

    // The server looks for another place before each blob that it gives.
    skep_registry::forward_registry!(self => self.memory; locate_blob);
    skep_registry::forward_registry!(self => self.memory, after note; head_blob, get_manifest, head_manifest, put_blob,
        upload_blob, mount_blob, put_manifest, delete_blob, delete_manifest, list_tags, list_referrers, list_repos);
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
