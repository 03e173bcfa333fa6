//! Graphs: a manifest and what it names, copied from the bottom up.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::future;
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::sync::OnceCell;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::ext::RegistryExt;
use crate::manifest::Manifest;
use crate::manifest::ManifestContent;
use crate::manifest::is_read;
use crate::name::ManifestRef;
use crate::name::Tag;
use crate::registry::PutManifest;
use crate::transfer::Place;
use crate::transfer::copy::BlobCopy;
use crate::transfer::copy::Copied;
use crate::transfer::copy::CopyOptions;
use crate::transfer::copy::bring_blob;
use crate::transfer::download::DownloadOptions;
use crate::transfer::retry::find;
use crate::transfer::retry::retry;

/// A copy that is going on.
pub(super) struct Graph<'a> {
    from: &'a Place,
    to: &'a Place,
    options: CopyOptions,
    /// Held by each request and each blob, and by nobody who waits for another.
    slots: Semaphore,
    /// What was begun, so that each thing is copied once.
    seen: Mutex<HashMap<Thing, Arc<OnceCell<()>>>>,
    tally: Mutex<Tally>,
}

/// A manifest to copy, and what is known of it.
struct Node<'t> {
    digest: Digest,
    /// To point to it at the target.
    tags: &'t [Tag],
    /// What the target has.
    there: Option<Descriptor>,
    /// What the source has.
    manifest: Option<Manifest>,
    depth: usize,
}

/// What is copied once.
#[derive(PartialEq, Eq, Hash)]
enum Thing {
    Blob(Digest),
    Manifest(Digest),
}

#[derive(Default)]
struct Tally {
    manifests: u64,
    blobs: u64,
    bytes: u64,
    /// Blobs that the target had.
    existed: u64,
}

impl Tally {
    /// Tells whether to take it that the target has none of the blobs: it had none of a good number.
    fn expects_absent(&self) -> bool {
        self.existed == 0 && self.blobs >= ASKED_BLOBS
    }
}

impl<'a> Graph<'a> {
    pub(super) fn new(from: &'a Place, to: &'a Place, options: &CopyOptions) -> Self {
        let concurrency = options.concurrency.max(1);
        let memory = options.download.memory / concurrency as u64;
        let download = DownloadOptions { memory, ..options.download.clone() };
        Self {
            from,
            to,
            options: CopyOptions { concurrency, download, ..options.clone() },
            slots: Semaphore::new(concurrency),
            seen: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Copies all that a digest leads to, and makes tags point to it. `there` is its manifest at the target,
    /// if that is known.
    pub(super) async fn copy(self, root: &Digest, tags: &[Tag], there: Option<Descriptor>) -> Result<Copied> {
        let root = Node { digest: root.clone(), tags, there, manifest: None, depth: 0 };
        let manifest = self.copy_manifest(root).await?;
        let Tally { manifests, blobs, bytes, .. } =
            self.tally.into_inner().unwrap_or_else(|poison| poison.into_inner());
        Ok(Copied { manifest, manifests, blobs, bytes })
    }

    async fn copy_manifest(&self, node: Node<'_>) -> Result<Descriptor> {
        let Node { digest, tags, there, manifest, depth } = node;
        let there = match there {
            None => self.find_at_target(&digest).await?,
            there => there,
        };
        let is_stored = there.is_some();
        // Whether all is there that it names.
        let is_there = is_stored && !self.options.deep;
        match there {
            Some(there) if is_there && tags.is_empty() && !self.options.referrers => return Ok(there),
            _ => {}
        }
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => self.get(&digest).await?,
        };
        let content = manifest.to_store().map_err(|error| error.context(&digest))?;
        if let Some(content) = &content {
            if !is_there {
                self.copy_blobs(content).await?;
            }
            if !is_there || self.options.referrers {
                self.copy_children(&digest, content, depth).await?;
            }
        }
        if self.options.referrers {
            self.copy_referrers(&digest, depth).await?;
        }
        if !is_stored || !tags.is_empty() {
            self.put(&manifest, tags).await?;
        }
        Ok(manifest.descriptor().clone())
    }

    async fn copy_blobs(&self, content: &ManifestContent) -> Result<()> {
        let blobs: Vec<_> = content.blobs().map(|(_, blob)| blob.clone()).collect();
        self.for_each(blobs, |blob| self.copy_blob(blob).boxed()).await
    }

    async fn copy_blob(&self, blob: Descriptor) -> Result<()> {
        let work = async {
            let _slot = self.slot().await;
            let asks = blob.size > SMALL_BLOB || !locked(&self.tally).expects_absent();
            let copied = bring_blob(self.from, self.to, &blob, &self.options, asks).await?;
            let mut tally = locked(&self.tally);
            match copied {
                BlobCopy::Existed => tally.existed += 1,
                BlobCopy::Mounted => tally.blobs += 1,
                BlobCopy::Sent(bytes) => {
                    tally.blobs += 1;
                    tally.bytes += bytes;
                }
            }
            Ok(())
        };
        self.once(Thing::Blob(blob.digest.clone()), work).await
    }

    async fn copy_children(&self, index: &Digest, content: &ManifestContent, depth: usize) -> Result<()> {
        let mut children: Vec<_> = content.children().map(|(_, child)| child.clone()).collect();
        let count = children.len();
        children.retain(|child| self.options.platforms.wants(child));
        if children.is_empty() && count > 0 && depth == 0 {
            let message = format!("none of the {count} manifests in {index} is for a platform that was asked for");
            return Err(Error::new(Code::ManifestUnknown, message));
        }
        self.for_each(children, |child| self.copy_child(child, depth + 1).boxed()).await
    }

    async fn copy_child(&self, child: Descriptor, depth: usize) -> Result<()> {
        if is_read(&child.media_type) {
            return self.copy_once(child.digest, None, depth).await;
        }
        // Indexes with blobs among their manifests are about: BuildKit writes caches so.
        match self.copy_once(child.digest.clone(), None, depth).await {
            Err(error) if error.is_not_found() => self.copy_blob(child).await,
            done => done,
        }
    }

    async fn copy_referrers(&self, subject: &Digest, depth: usize) -> Result<()> {
        let list = || async {
            let _slot = self.slot().await;
            self.from.registry.referrers(&self.from.repo, subject, None).try_collect::<Vec<_>>().await
        };
        let referrers = retry(self.options.download.attempts, list).await?;
        self.for_each(referrers, |referrer| {
            async move {
                // A registry may list anything. What is not about the subject could lead in circles.
                let manifest = self.get(&referrer.digest).await?;
                let is_about =
                    |content: &ManifestContent| content.subject.as_ref().is_some_and(|about| about.digest == *subject);
                if !manifest.to_store()?.as_ref().is_some_and(is_about) {
                    let message = format!("{} is listed as a referrer of {subject} and is not", referrer.digest);
                    return Err(Error::new(Code::ManifestInvalid, message));
                }
                self.copy_once(referrer.digest, Some(manifest), depth + 1).await
            }
            .boxed()
        })
        .await
    }

    fn copy_once(&self, digest: Digest, manifest: Option<Manifest>, depth: usize) -> BoxFuture<'_, Result<()>> {
        async move {
            // Below this are no images, only the end of the stack.
            if depth > MAX_DEPTH {
                return Err(Error::new(
                    Code::ManifestInvalid,
                    format!("{digest} lies deeper than {MAX_DEPTH} manifests"),
                ));
            }
            let node = Node { digest: digest.clone(), tags: &[], there: None, manifest, depth };
            let work = self.copy_manifest(node).map(|copied| copied.map(|_| ()));
            self.once(Thing::Manifest(digest.clone()), work).await
        }
        .boxed()
    }

    async fn find_at_target(&self, digest: &Digest) -> Result<Option<Descriptor>> {
        let _slot = self.slot().await;
        let reference = ManifestRef::Digest(digest.clone());
        let head = || self.to.registry.head_manifest(&self.to.repo, &reference);
        find(self.options.upload.attempts, head).await
    }

    async fn get(&self, digest: &Digest) -> Result<Manifest> {
        let _slot = self.slot().await;
        let reference = ManifestRef::Digest(digest.clone());
        let get = || self.from.registry.get_manifest(&self.from.repo, &reference);
        let manifest = retry(self.options.download.attempts, get).await?;
        if manifest.digest() != digest {
            return Err(Error::new(Code::DigestInvalid, format!("expected {digest}, got {}", manifest.digest())));
        }
        Ok(manifest)
    }

    async fn put(&self, manifest: &Manifest, tags: &[Tag]) -> Result<()> {
        let _slot = self.slot().await;
        let put = || {
            let options = PutManifest { tags: tags.to_vec(), if_absent: false };
            self.to.registry.put_manifest(&self.to.repo, manifest, options)
        };
        retry(self.options.upload.attempts, put).await?;
        locked(&self.tally).manifests += 1;
        Ok(())
    }

    async fn for_each<'b, T>(&self, items: Vec<T>, work: impl Fn(T) -> BoxFuture<'b, Result<()>>) -> Result<()> {
        let work = stream::iter(items).map(work).buffer_unordered(self.options.concurrency);
        work.try_for_each(|()| future::ready(Ok(()))).await
    }

    async fn once(&self, thing: Thing, work: impl Future<Output = Result<()>>) -> Result<()> {
        let cell = locked(&self.seen).entry(thing).or_default().clone();
        cell.get_or_try_init(|| work).await.map(|_| ())
    }

    async fn slot(&self) -> SemaphorePermit<'_> {
        self.slots.acquire().await.expect("the semaphore is never closed")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held can only have come from an allocation; what it guards is whole.
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Manifests that may lie above one another: images, indexes of them, and referrers of those.
const MAX_DEPTH: usize = 32;

/// Bytes of a blob that are sent as soon as it is asked whether they are there.
const SMALL_BLOB: u64 = 64 << 10;

/// Blobs that the target is asked for, and has none of, before small ones are sent unasked.
const ASKED_BLOBS: u64 = 16;
