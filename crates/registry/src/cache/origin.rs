//! What a cached registry knows: the registry behind it, the store, and what is noted in that.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use futures_util::future::WeakShared;
use serde::Deserialize;
use serde::Serialize;

use crate::cache::CachedOptions;
use crate::cache::flight::Flights;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::page::Listing;
use crate::registry::ReferrerQuery;
use crate::store::CacheStore;
use crate::store::Key;

/// A registry, and what is kept of it.
pub(super) struct Origin<R> {
    pub(super) upstream: R,
    pub(super) store: Arc<dyn CacheStore>,
    pub(super) options: CachedOptions,
    pub(super) flights: Arc<Flights>,
    pub(super) asked: Mutex<HashMap<Question, WeakShared<Answer>>>,
    /// How often something was written. What was asked before a write is not noted after it.
    writes: AtomicU64,
}

/// A manifest that was asked for, how many writes had been made, and whether its tag is to be asked for.
pub(super) type Question = (RepoName, ManifestRef, u64, bool);

/// A manifest that is on its way to any number of callers.
pub(super) type Answer = BoxFuture<'static, Result<Manifest, Arc<Error>>>;

/// When the registry was asked, which is before it answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    writes: u64,
    at: SystemTime,
}

/// What a tag pointed to, and when the registry was asked for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct TagNote {
    pub(super) digest: Digest,
    at: SystemTime,
}

impl<R> Origin<R> {
    pub(super) fn new(upstream: R, store: Arc<dyn CacheStore>, options: CachedOptions) -> Self {
        let (flights, asked) = (Arc::default(), Mutex::default());
        Self { upstream, store, options, flights, asked, writes: AtomicU64::new(0) }
    }

    /// The registry, unless it is not to be asked; `what` is not known then.
    pub(super) fn online(&self, what: impl fmt::Display) -> Result<&R> {
        if self.options.offline {
            return Err(Error::new(Code::Unavailable, format!("offline: {what}")));
        }
        Ok(&self.upstream)
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { writes: self.writes(), at: SystemTime::now() }
    }

    pub(super) fn block(&self, digest: &Digest, index: u64) -> Key {
        Key::block(&self.options.namespace, digest, index)
    }

    pub(super) fn content(&self, digest: &Digest) -> Key {
        Key::content(&self.options.namespace, digest)
    }

    fn note(&self, kind: &str, repo: &RepoName, name: &str) -> Key {
        Key::note(&self.options.namespace, &[kind, repo.as_str(), name])
    }

    /// The size of a blob that the repository has.
    pub(super) async fn blob_size(&self, repo: &RepoName, digest: &Digest) -> Option<u64> {
        let value = self.store.get(&self.note(BLOB, repo, digest.as_str())).await?;
        serde_json::from_slice(&value).ok()
    }

    pub(super) async fn note_blob(&self, repo: &RepoName, digest: &Digest, size: u64, before: Moment) {
        self.put(self.note(BLOB, repo, digest.as_str()), &size, before).await;
    }

    /// The description of a manifest that the repository has.
    pub(super) async fn manifest(&self, repo: &RepoName, digest: &Digest) -> Option<Descriptor> {
        let value = self.store.get(&self.note(MANIFEST, repo, digest.as_str())).await?;
        let descriptor: Descriptor = serde_json::from_slice(&value).ok()?;
        (descriptor.digest == *digest).then_some(descriptor)
    }

    pub(super) async fn note_manifest(&self, repo: &RepoName, manifest: &Descriptor, before: Moment) {
        self.put(self.note(MANIFEST, repo, manifest.digest.as_str()), manifest, before).await;
    }

    pub(super) async fn tag(&self, repo: &RepoName, tag: &Tag) -> Option<TagNote> {
        let value = self.store.get(&self.note(TAG, repo, tag.as_str())).await?;
        let note: TagNote = serde_json::from_slice(&value).ok()?;
        let written = self.store.get(&self.note(WRITTEN, repo, tag.as_str())).await;
        let written: Option<SystemTime> = written.and_then(|written| serde_json::from_slice(&written).ok());
        // A time in the future is of a clock that was wrong, and would hide the tag until then.
        let written = written.filter(|written| *written <= SystemTime::now());
        written.is_none_or(|written| written < note.at).then_some(note)
    }

    pub(super) async fn note_tag(&self, repo: &RepoName, tag: &Tag, digest: &Digest, before: Moment) {
        let note = TagNote { digest: digest.clone(), at: before.at };
        self.put(self.note(TAG, repo, tag.as_str()), &note, before).await;
    }

    /// What the registry said last of what refers to a manifest, which may be more by now.
    pub(super) async fn referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Option<Listing<Descriptor>> {
        let value = self.store.get(&self.referrers_note(repo, subject, query)).await?;
        let (items, next) = serde_json::from_slice(&value).ok()?;
        Some(Listing { items, next })
    }

    pub(super) async fn note_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
        listing: &Listing<Descriptor>,
        before: Moment,
    ) {
        self.put(self.referrers_note(repo, subject, query), &(&listing.items, &listing.next), before).await;
    }

    fn referrers_note(&self, repo: &RepoName, subject: &Digest, query: &ReferrerQuery) -> Key {
        let query = format!("{:?}", (&query.artifact_type, query.page.limit, &query.page.after));
        Key::note(&self.options.namespace, &[REFERRERS, repo.as_str(), subject.as_str(), &query])
    }

    /// Tells whether what a tag pointed to is to be believed without asking.
    pub(super) fn is_believed(&self, note: &TagNote, fresh: bool) -> bool {
        // A note from the future is of a clock that was wrong.
        let age = SystemTime::now().duration_since(note.at);
        self.options.offline || !fresh && age.is_ok_and(|age| age < self.options.tag_lifetime)
    }

    /// Forgets what tags pointed to, and what they turn out to have pointed to by those who asked before now: also
    /// another process, which notes it later.
    pub(super) async fn forget_tags(&self, repo: &RepoName, tags: &[Tag]) {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let now = serde_json::to_vec(&SystemTime::now()).expect("times after 1970 serialize");
        for tag in tags {
            self.store.put(&self.note(WRITTEN, repo, tag.as_str()), now.clone().into()).await;
            self.store.remove(&self.note(TAG, repo, tag.as_str())).await;
        }
    }

    pub(super) async fn forget_blob(&self, repo: &RepoName, digest: &Digest) {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.store.remove(&self.note(BLOB, repo, digest.as_str())).await;
    }

    pub(super) async fn forget_manifest(&self, repo: &RepoName, reference: &ManifestRef) {
        match reference {
            ManifestRef::Digest(digest) => {
                self.writes.fetch_add(1, Ordering::SeqCst);
                self.store.remove(&self.note(MANIFEST, repo, digest.as_str())).await;
            }
            ManifestRef::Tag(tag) => self.forget_tags(repo, std::slice::from_ref(tag)).await,
        }
    }

    /// Forgets that a repository has what a manifest is made of.
    pub(super) async fn forget_parts(&self, repo: &RepoName, manifest: &Manifest) {
        let Ok(Some(content)) = manifest.to_store() else { return };
        for (_, blob) in content.blobs() {
            self.forget_blob(repo, &blob.digest).await;
        }
        for (_, child) in content.children() {
            self.forget_manifest(repo, &child.digest.clone().into()).await;
        }
    }

    async fn put(&self, key: Key, value: &impl Serialize, before: Moment) {
        if self.writes() == before.writes {
            let value = serde_json::to_vec(value).expect("numbers, strings and times after 1970 serialize");
            self.store.put(&key, value.into()).await;
        }
        // A write that came in between has forgotten what was not there yet.
        if self.writes() != before.writes {
            self.store.remove(&key).await;
        }
    }
}

impl<R: fmt::Debug> fmt::Debug for Origin<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Origin");
        debug.field("upstream", &self.upstream).field("store", &self.store);
        debug.field("options", &self.options).finish_non_exhaustive()
    }
}

const BLOB: &str = "blob";
const MANIFEST: &str = "manifest";
const REFERRERS: &str = "referrers";
const TAG: &str = "tag";
const WRITTEN: &str = "written";
