//! The client for programs that are not asynchronous: the same calls, which wait.
//!
//! ```
//! use std::io::{Read, Seek, SeekFrom};
//! use std::sync::Arc;
//!
//! use skep::{Address, ExtractOptions, PushOptions};
//! use skep::blocking::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let site = dir.path().join("site");
//! # std::fs::create_dir(&site)?;
//! # std::fs::write(site.join("index.html"), "<h1>hello</h1>\n")?;
//! let client = Client::default();
//! let address: Address = format!("oci:{}:v1", dir.path().join("store").display()).parse()?;
//! client.push(&site, &address, PushOptions::default(), Arc::new(|_| {}))?;
//!
//! let archive = client.pull(&address)?;
//! assert_eq!(archive.read("index.html")?, "<h1>hello</h1>\n");
//! let mut page = archive.open("index.html")?;
//! page.seek(SeekFrom::Start(4))?;
//! let mut text = String::new();
//! page.read_to_string(&mut text)?;
//! assert_eq!(text, "hello</h1>\n");
//! archive.extract(&dir.path().join("copy"), ExtractOptions::default(), Arc::new(|_| {}))?;
//! # Ok(())
//! # }
//! ```
//!
//! The work is done by a runtime of the client's own, on threads of its own. So the calls may be made from anywhere,
//! also from a thread of another runtime, which they hold up while they wait: there, [`skep::Client`](crate::Client) is
//! the better choice.

mod file;
mod pulled;

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc;

use futures_util::FutureExt;
use skep_archive::ArchiveManifest;
use skep_archive::Result;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Manifest;
use skep_registry::Tag;
use skep_registry::transfer::Copied;
use skep_registry::transfer::CopyOptions;
use skep_trust::Decision;
use skep_trust::Policy;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;

use crate::address::Address;
use crate::client::ClientOptions;
use crate::client::PullOptions;
use crate::client::PushOptions;
use crate::client::Pushed;
use crate::pack::Origin;
use crate::progress::OnProgress;
use crate::pulled::Inspected;

pub use crate::blocking::file::File;
pub use crate::blocking::pulled::Pulled;

/// The way from directories to archives in registries, and back, with calls that wait.
///
/// Cheap to clone; clones share connections, tokens, caches and the threads that do the work. Those end with the last
/// clone, and with the last archive that was opened by one.
#[derive(Clone)]
pub struct Client {
    client: crate::Client,
    engine: Arc<Engine>,
}

impl Client {
    /// A client with options.
    ///
    /// # Errors
    /// `Unknown` of the registry when the system gives no threads.
    pub fn new(options: ClientOptions) -> Result<Self> {
        Ok(Self { client: crate::Client::new(options), engine: Arc::new(Engine::start()?) })
    }

    /// The client that does the work.
    pub fn client(&self) -> &crate::Client {
        &self.client
    }

    /// Waits for anything else: calls of a registry, for instance.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.engine.wait(work)
    }

    /// Packs a directory, or what else an archive is made of, and stores it, as [`Client::push`](crate::Client::push) does.
    ///
    /// # Errors
    /// As that.
    pub fn push(
        &self,
        from: impl Into<Origin>,
        to: &Address,
        options: PushOptions,
        progress: OnProgress,
    ) -> Result<Pushed> {
        let (client, from, to) = (self.client.clone(), from.into(), to.clone());
        self.wait(async move { client.push(from, &to, options, progress).await })
    }

    /// Opens an archive, as [`Client::pull`](crate::Client::pull) does.
    ///
    /// # Errors
    /// As that.
    pub fn pull(&self, from: &Address) -> Result<Pulled> {
        self.pull_with(from, PullOptions::default())
    }

    /// Opens an archive as options say, as [`Client::pull_with`](crate::Client::pull_with) does.
    ///
    /// # Errors
    /// As that.
    pub fn pull_with(&self, from: &Address, options: PullOptions) -> Result<Pulled> {
        let (client, from) = (self.client.clone(), from.clone());
        let pulled = self.wait(async move { client.pull_with(&from, options).await })?;
        Ok(Pulled::new(pulled, self.engine.clone()))
    }

    /// Reads the manifest of an archive, as [`Client::fetch`](crate::Client::fetch) does.
    ///
    /// # Errors
    /// As that.
    pub fn fetch(&self, from: &Address) -> Result<ArchiveManifest> {
        self.fetch_with(from, PullOptions::default())
    }

    /// Reads the manifest of an archive as options say, as [`Client::fetch_with`](crate::Client::fetch_with) does.
    ///
    /// # Errors
    /// As that.
    pub fn fetch_with(&self, from: &Address, options: PullOptions) -> Result<ArchiveManifest> {
        let (client, from) = (self.client.clone(), from.clone());
        self.wait(async move { client.fetch_with(&from, options).await })
    }

    /// Counts what is in an archive, as [`Client::inspect`](crate::Client::inspect) does.
    ///
    /// # Errors
    /// As that.
    pub fn inspect(&self, from: &Address) -> Result<Inspected> {
        self.inspect_with(from, PullOptions::default())
    }

    /// Counts what is in an archive as options say, as [`Client::inspect_with`](crate::Client::inspect_with) does.
    ///
    /// # Errors
    /// As that.
    pub fn inspect_with(&self, from: &Address, options: PullOptions) -> Result<Inspected> {
        let (client, from) = (self.client.clone(), from.clone());
        self.wait(async move { client.inspect_with(&from, options).await })
    }

    /// Reads a manifest of whatever kind, as [`Client::manifest`](crate::Client::manifest) does.
    ///
    /// # Errors
    /// As that.
    pub fn manifest(&self, from: &Address) -> Result<Manifest> {
        let (client, from) = (self.client.clone(), from.clone());
        self.wait(async move { client.manifest(&from).await })
    }

    /// Tells what the policies say of a manifest, as [`Client::decide`](crate::Client::decide) does.
    ///
    /// # Errors
    /// As that.
    pub fn decide(&self, about: &Address) -> Result<Option<Decision>> {
        let (client, about) = (self.client.clone(), about.clone());
        self.wait(async move { client.decide(&about).await })
    }

    /// Tells what a policy says of a manifest, as [`Client::verify`](crate::Client::verify) does.
    ///
    /// # Errors
    /// As that.
    pub fn verify(&self, about: &Address, policy: &Policy) -> Result<Decision> {
        let (client, about, policy) = (self.client.clone(), about.clone(), policy.clone());
        self.wait(async move { client.verify(&about, &policy).await })
    }

    /// Copies a manifest with all that it names, as [`Client::copy`](crate::Client::copy) does.
    ///
    /// # Errors
    /// As that.
    pub fn copy(&self, from: &Address, to: &Address, options: CopyOptions) -> Result<Copied> {
        let (client, from, to) = (self.client.clone(), from.clone(), to.clone());
        self.wait(async move { client.copy(&from, &to, options).await })
    }

    /// Makes tags point to an archive, as [`Client::tag`](crate::Client::tag) does.
    ///
    /// # Errors
    /// As that.
    pub fn tag(&self, from: &Address, tags: &[Tag], if_absent: bool) -> Result<Digest> {
        let (client, from, tags) = (self.client.clone(), from.clone(), tags.to_vec());
        self.wait(async move { client.tag(&from, &tags, if_absent).await })
    }

    /// Lists what refers to a manifest, as [`Client::referrers`](crate::Client::referrers) does.
    ///
    /// # Errors
    /// As that.
    pub fn referrers(&self, of: &Address, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let (client, of, artifact_type) = (self.client.clone(), of.clone(), artifact_type.map(str::to_owned));
        self.wait(async move { client.referrers(&of, artifact_type.as_deref()).await })
    }
}

impl Default for Client {
    /// A client as options that say nothing make it.
    ///
    /// # Panics
    /// When the system gives no threads.
    fn default() -> Self {
        Self::new(ClientOptions::default()).expect("the system has a few threads to give")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("client", &self.client).finish_non_exhaustive()
    }
}

/// The runtime, and the way to wait for what it does.
#[derive(Debug)]
struct Engine {
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Engine {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("skep").enable_all().build();
        let runtime = runtime.map_err(|error| skep_registry::Error::io("start threads", error))?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Does work on the runtime and waits for it. It goes on panicking here if it panicked there.
    ///
    /// Not by `Runtime::block_on`, which panics on a thread of any runtime.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, receiver) = mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().expect("it is there until it is dropped");
        runtime.spawn(async move {
            // There is room for one, and whoever waits does so until it comes.
            let _ = sender.send(AssertUnwindSafe(work).catch_unwind().await);
        });
        let done = receiver.recv().expect("the runtime ends after those who wait");
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, which is forbidden on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}
