//! A registry in memory: the reference implementation, for tests and for `--memory`.

mod blocks;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::time::Instant;
use url::Url;

use crate::body::Body;
use crate::body::ByteRange;
use crate::descriptor::Descriptor;
use crate::descriptor::OCTET_STREAM;
use crate::digest::Digest;
use crate::digest::Hasher;
use crate::digest::Verifier;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Blob;
use crate::registry::Mount;
use crate::registry::PutManifest;
use crate::registry::ReferrerQuery;
use crate::registry::Registry;
use crate::registry::Upload;
use crate::registry::UploadOptions;

use blocks::Blocks;
use blocks::Gather;

/// How a [`Memory`] behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryOptions {
    /// Store manifests that name blobs or manifests which are not there.
    pub allow_missing: bool,
}

/// A registry in memory. Clones share their content.
///
/// A repository comes to be with the first write to it and then stays, even empty. An upload to which nothing
/// came for a day is given up when another one begins.
#[derive(Clone, Default)]
pub struct Memory {
    options: MemoryOptions,
    repos: Arc<Mutex<BTreeMap<RepoName, Repo>>>,
}

#[derive(Default)]
struct Repo {
    blobs: BTreeMap<Digest, Blocks>,
    manifests: BTreeMap<Digest, Stored>,
    tags: BTreeMap<Tag, Digest>,
    uploads: HashMap<String, Session>,
}

struct Stored {
    manifest: Manifest,
    /// What this manifest is about, and how a list of referrers describes it.
    referrer: Option<(Digest, Descriptor)>,
}

struct Session {
    bytes: Blocks,
    hasher: Hasher,
    /// When it was begun or something came.
    used: Instant,
}

impl Memory {
    /// An empty registry.
    pub fn new(options: MemoryOptions) -> Self {
        Self { options, repos: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RepoName, Repo>> {
        // A panic while the lock was held can only have come from an allocation; the maps are whole.
        self.repos.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    fn read<T>(&self, repo: &RepoName, read: impl FnOnce(&Repo) -> Result<T>) -> Result<T> {
        match self.lock().get(repo) {
            Some(found) => read(found),
            None => Err(Error::new(Code::NameUnknown, repo.to_string())),
        }
    }

    fn write<T>(&self, repo: &RepoName, write: impl FnOnce(&mut Repo) -> T) -> T {
        write(self.lock().entry(repo.clone()).or_default())
    }

    fn change<T>(&self, repo: &RepoName, change: impl FnOnce(&mut Repo) -> Result<T>) -> Result<T> {
        match self.lock().get_mut(repo) {
            Some(found) => change(found),
            None => Err(Error::new(Code::NameUnknown, repo.to_string())),
        }
    }

    fn blob(&self, repo: &RepoName, digest: &Digest) -> Result<Blocks> {
        self.read(repo, |found| found.blobs.get(digest).cloned().ok_or_else(|| blob_unknown(repo, digest)))
    }
}

fn blob_unknown(repo: &RepoName, digest: &Digest) -> Error {
    Error::new(Code::BlobUnknown, format!("{digest} in {repo}"))
}

fn manifest_unknown(repo: &RepoName, reference: &ManifestRef) -> Error {
    Error::new(Code::ManifestUnknown, format!("{reference} in {repo}"))
}

impl Repo {
    fn manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<&Manifest> {
        let digest = match reference {
            ManifestRef::Digest(digest) => Some(digest),
            ManifestRef::Tag(tag) => self.tags.get(tag),
        };
        let stored = digest.and_then(|digest| self.manifests.get(digest));
        stored.map(|stored| &stored.manifest).ok_or_else(|| manifest_unknown(repo, reference))
    }
}

#[async_trait]
impl Registry for Memory {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        let bytes = self.blob(repo, digest)?;
        let size = bytes.len();
        let range = range.map_or(Ok(0..size), |range| range.of(size))?;
        let descriptor = Descriptor::new(OCTET_STREAM, digest.clone(), size);
        // Memory does not rot: what was verified when it came in is not hashed again.
        Ok(Blob { descriptor, body: bytes.body(range.clone()), range })
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        let bytes = self.blob(repo, digest)?;
        Ok(Descriptor::new(OCTET_STREAM, digest.clone(), bytes.len()))
    }

    async fn locate_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<Url>> {
        self.blob(repo, digest).map(|_| None)
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        self.read(repo, |found| found.manifest(repo, reference).cloned())
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        self.read(repo, |found| found.manifest(repo, reference).map(|manifest| manifest.descriptor().clone()))
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        let mut body = body;
        let mut verifier = Verifier::new(&descriptor.digest, Some(descriptor.size));
        let mut bytes = Gather::new(Some(descriptor.size));
        while let Some(part) = body.next().await.transpose()? {
            verifier.update(&part)?;
            bytes.add(&part);
        }
        verifier.finish()?;
        self.write(repo, |found| found.blobs.insert(descriptor.digest.clone(), bytes.finish()));
        Ok(())
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        let (id, offset) = match options.resume {
            Some(id) => {
                let session = |found: &Repo| found.uploads.get(&id).map(|session| session.bytes.len());
                let offset = self.lock().get(repo).and_then(session).ok_or_else(|| upload_unknown(&id))?;
                (id, offset)
            }
            None => {
                let id = format!("{:016x}{:016x}", random()?, random()?);
                let used = Instant::now();
                let session = Session { bytes: Blocks::default(), hasher: Hasher::new(options.algorithm), used };
                self.write(repo, |found| {
                    found.uploads.retain(|_, session| session.used.elapsed() < SESSION_LIFE);
                    found.uploads.insert(id.clone(), session)
                });
                (id, 0)
            }
        };
        Ok(Box::new(MemoryUpload { registry: self.clone(), repo: repo.clone(), id, offset }))
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        let bytes = match from {
            Some(from) => self.blob(from, digest)?,
            None => {
                let repos = self.lock();
                let mut found = repos.values().filter_map(|found| found.blobs.get(digest));
                found.next().cloned().ok_or_else(|| Error::new(Code::BlobUnknown, digest.to_string()))?
            }
        };
        self.write(repo, |found| found.blobs.insert(digest.clone(), bytes));
        Ok(Mount::Mounted)
    }

    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        let content = manifest.to_store()?;
        let digest = manifest.digest();
        // One lock over the checks and the write, so that a blob deleted meanwhile, or a tag, cannot slip through.
        let mut repos = self.lock();
        let empty = Repo::default();
        let found = repos.get(repo).unwrap_or(&empty);
        if let Some(content) = &content
            && !self.options.allow_missing
        {
            content.require(|blob| found.blobs.contains_key(blob), |child| found.manifests.contains_key(child))?;
        }
        let taken = |tag: &&Tag| found.tags.get(*tag).is_some_and(|other| other != digest);
        if options.if_absent
            && let Some(tag) = options.tags.iter().find(taken)
        {
            return Err(Error::new(
                Code::PreconditionFailed,
                format!("tag {tag} in {repo} points to another manifest"),
            ));
        }
        let referrer = content.and_then(|content| {
            let described = content.describe(manifest.descriptor());
            content.subject.map(|subject| (subject.digest, described))
        });
        let found = repos.entry(repo.clone()).or_default();
        found.manifests.insert(digest.clone(), Stored { manifest: manifest.clone(), referrer });
        found.tags.extend(options.tags.into_iter().map(|tag| (tag, digest.clone())));
        Ok(())
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        self.change(repo, |found| found.blobs.remove(digest).map(|_| ()).ok_or_else(|| blob_unknown(repo, digest)))
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        self.change(repo, |found| {
            let removed = match reference {
                ManifestRef::Digest(digest) => {
                    found.tags.retain(|_, tagged| tagged != digest);
                    found.manifests.remove(digest).is_some()
                }
                ManifestRef::Tag(tag) => found.tags.remove(tag).is_some(),
            };
            if removed { Ok(()) } else { Err(manifest_unknown(repo, reference)) }
        })
    }

    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
        self.read(repo, |found| Ok(Listing::cut(found.tags.keys().cloned(), page, Tag::clone)))
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        let repos = self.lock();
        let manifests = repos.get(repo).into_iter().flat_map(|found| found.manifests.values());
        let referrers = manifests
            .filter_map(|stored| stored.referrer.as_ref())
            .filter(|(about, _)| about == subject)
            .map(|(_, descriptor)| descriptor)
            .filter(|descriptor| query.artifact_type.is_none() || descriptor.artifact_type == query.artifact_type);
        Ok(Listing::cut(referrers.cloned(), &query.page, |descriptor| descriptor.digest.to_string()))
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        let repos = self.lock();
        let Listing { items, next } = Listing::cut(repos.keys(), page, |name| name.as_str());
        Ok(Listing { items: items.into_iter().cloned().collect(), next })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("options", &self.options).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct MemoryUpload {
    registry: Memory,
    repo: RepoName,
    id: String,
    offset: u64,
}

impl MemoryUpload {
    /// Does something with the session, which must stand where this upload left it.
    fn session<T>(&self, work: impl FnOnce(&mut Session) -> T) -> Result<T> {
        self.registry.change(&self.repo, |found| {
            let session = found.uploads.get_mut(&self.id).ok_or_else(|| upload_unknown(&self.id))?;
            let at = session.bytes.len();
            if at != self.offset {
                let message = format!("upload {} stands at {at} bytes, not at {}", self.id, self.offset);
                return Err(Error::new(Code::RangeInvalid, message));
            }
            Ok(work(session))
        })
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    fn id(&self) -> &str {
        &self.id
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn min_chunk(&self) -> u64 {
        0
    }

    async fn append(&mut self, mut body: Body) -> Result<()> {
        let mut hasher = self.session(|session| session.hasher.clone())?;
        // Gathered first, so that a part that breaks off leaves the session as it was.
        let mut part = Gather::new(body.len());
        while let Some(bytes) = body.next().await.transpose()? {
            hasher.update(&bytes);
            part.add(&bytes);
        }
        self.offset = self.session(|session| {
            session.bytes.append(part.finish());
            session.hasher = hasher;
            session.used = Instant::now();
            session.bytes.len()
        })?;
        Ok(())
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor> {
        self.registry.change(&self.repo, |found| {
            let session = found.uploads.remove(&self.id).ok_or_else(|| upload_unknown(&self.id))?;
            let bytes = session.bytes;
            let got = if session.hasher.algorithm() == digest.algorithm() {
                session.hasher.finish()
            } else {
                let mut hasher = Hasher::new(digest.algorithm());
                bytes.iter().for_each(|block| hasher.update(block));
                hasher.finish()
            };
            if got != *digest {
                return Err(Error::new(Code::DigestInvalid, format!("expected {digest}, got {got}")));
            }
            let descriptor = Descriptor::new(OCTET_STREAM, got, bytes.len());
            found.blobs.insert(digest.clone(), bytes);
            Ok(descriptor)
        })
    }

    async fn cancel(self: Box<Self>) -> Result<()> {
        self.registry.change(&self.repo, |found| {
            found.uploads.remove(&self.id).map(|_| ()).ok_or_else(|| upload_unknown(&self.id))
        })
    }
}

fn upload_unknown(id: &str) -> Error {
    Error::new(Code::BlobUploadUnknown, format!("{id:?}"))
}

fn random() -> Result<u64> {
    getrandom::u64().map_err(|error| Error::new(Code::Unknown, "no random numbers").with_source(error))
}

/// After this time without a part an upload is over.
const SESSION_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
