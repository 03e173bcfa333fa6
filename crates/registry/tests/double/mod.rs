//! A registry in memory that writes down each call, and fails or waits when it is told to.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::media_type;
use tokio::sync::watch;

/// The double of an upstream.
#[derive(Debug)]
pub(crate) struct Double {
    /// What it has.
    pub(crate) memory: Memory,
    calls: Mutex<Vec<String>>,
    fault: Mutex<Option<Code>>,
    bodies: Mutex<Bodies>,
    open: watch::Sender<bool>,
}

/// What becomes of bodies of blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// They come as they are.
    Whole,
    /// They break off after so many bytes.
    BreakOff(u64),
    /// Their first byte is another one.
    Forged,
    /// Ranges are not looked at.
    IgnoreRanges,
}

impl Double {
    pub(crate) fn new() -> Self {
        Self {
            memory: Memory::default(),
            calls: Mutex::default(),
            fault: Mutex::default(),
            bodies: Mutex::new(Bodies::Whole),
            open: watch::Sender::new(true),
        }
    }

    /// The calls since the last time this was asked.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// From now on every call is this error.
    pub(crate) fn fail(&self, code: impl Into<Option<Code>>) {
        *self.fault.lock().unwrap() = code.into();
    }

    pub(crate) fn bodies(&self, bodies: Bodies) {
        *self.bodies.lock().unwrap() = bodies;
    }

    /// From now on calls wait until they are let through.
    pub(crate) fn hold(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn release(&self) {
        self.open.send_replace(true);
    }

    async fn begin(&self, call: &str) -> Result<()> {
        self.calls.lock().unwrap().push(call.to_owned());
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        match &*self.fault.lock().unwrap() {
            Some(code) => Err(Error::new(code.clone(), "the double was told to fail")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Registry for Double {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        self.begin(&range.map_or("get_blob".to_owned(), |range| format!("get_blob {range}"))).await?;
        let bodies = *self.bodies.lock().unwrap();
        let range = if bodies == Bodies::IgnoreRanges { None } else { range };
        let blob = self.memory.get_blob(repo, digest, range).await?;
        let (len, body) = (blob.body.len(), parts(blob.body).await);
        let body = match bodies {
            Bodies::Whole | Bodies::IgnoreRanges => Body::new(len, stream::iter(body.into_iter().map(Ok))),
            Bodies::BreakOff(after) => {
                let mut left = after as usize;
                let mut some: Vec<Result<Bytes>> = Vec::new();
                for part in body {
                    some.push(Ok(part.slice(..left.min(part.len()))));
                    left = left.saturating_sub(part.len());
                }
                some.push(Err(Error::new(Code::Unavailable, "broken off")));
                Body::new(len, stream::iter(some))
            }
            Bodies::Forged => {
                let mut forged = body.concat();
                forged[0] ^= 1;
                Body::from(Bytes::from(forged))
            }
        };
        Ok(Blob { body, ..blob })
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        self.begin(&format!("get_manifest {}", kind(reference))).await?;
        self.memory.get_manifest(repo, reference).await
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        self.begin(&format!("head_manifest {}", kind(reference))).await?;
        self.memory.head_manifest(repo, reference).await
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        self.begin(&format!("delete_manifest {}", kind(reference))).await?;
        self.memory.delete_manifest(repo, reference).await
    }

    skep_registry::forward_registry!(self => self.memory, after begin; head_blob, locate_blob, put_blob,
        upload_blob, mount_blob, put_manifest, delete_blob, list_tags, list_referrers, list_repos);
}

fn kind(reference: &ManifestRef) -> &'static str {
    match reference {
        ManifestRef::Digest(_) => "by digest",
        ManifestRef::Tag(_) => "by tag",
    }
}

/// The bytes of a body in parts as they might come over the wire.
async fn parts(body: Body) -> Vec<Bytes> {
    let bytes: Vec<_> = body.map(|part| part.unwrap()).collect().await;
    let bytes = Bytes::from(bytes.concat());
    let cut = |at: usize| bytes.slice(at..(at + 70_001).min(bytes.len()));
    (0..bytes.len()).step_by(70_001).map(cut).collect()
}

pub(crate) fn repo() -> RepoName {
    "a/b".parse().unwrap()
}

pub(crate) fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

/// Bytes that do not repeat, other ones for each length.
pub(crate) fn noise(len: usize) -> Bytes {
    let mut state = len as u64 | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect::<Vec<_>>().into()
}

/// Stores an image with one layer, and points tags to it.
pub(crate) async fn push(registry: &dyn Registry, layer: &str, tags: &[&str]) -> Manifest {
    push_about(registry, layer, tags, None).await
}

/// As [`push`], of an image that is about another manifest.
pub(crate) async fn push_about(
    registry: &dyn Registry,
    layer: &str,
    tags: &[&str],
    subject: Option<&Manifest>,
) -> Manifest {
    let content = ManifestContent {
        schema_version: 2,
        config: Some(registry.write_blob(&repo(), "{}".into()).await.unwrap()),
        layers: Some(vec![registry.write_blob(&repo(), Bytes::copy_from_slice(layer.as_bytes())).await.unwrap()]),
        subject: subject.map(|subject| subject.descriptor().clone()),
        ..Default::default()
    };
    let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
    let options = PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), if_absent: false };
    registry.put_manifest(&repo(), &manifest, options).await.unwrap();
    manifest
}
