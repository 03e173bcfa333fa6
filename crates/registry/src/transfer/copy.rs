//! Copies: content from one place to another, whole graphs of it, each thing once and what is there not at all.

mod graph;
mod platforms;

use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::future;
use futures_util::stream;

use crate::descriptor::Descriptor;
use crate::error::Result;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::registry::Mount;
use crate::transfer::Place;
use crate::transfer::copy::graph::Graph;
pub use crate::transfer::copy::platforms::Platforms;
use crate::transfer::download::DownloadOptions;
use crate::transfer::download::read;
use crate::transfer::retry::find;
use crate::transfer::retry::retry;
use crate::transfer::upload::Sender;
use crate::transfer::upload::UploadSettings;

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Tags to point to the copy; none stores it under its digest only.
    pub tags: Vec<Tag>,
    /// Which manifests of an index are copied.
    pub platforms: Platforms,
    /// Copy what refers to each manifest too, and what refers to that: signatures, for instance.
    pub referrers: bool,
    /// Look into manifests that are there, instead of trusting that what they name is there too.
    pub deep: bool,
    /// Requests, or blobs on their way, at once. At least 1.
    pub concurrency: usize,
    /// A repository of the target's registry that may have the blobs, to mount them from. Where the source
    /// is the same registry value as the target, its repository is that.
    pub mount_from: Option<RepoName>,
    /// How blobs are read; the memory is that of all blobs together.
    pub download: DownloadOptions,
    /// How blobs are written. The journal is not used.
    pub upload: UploadSettings,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            platforms: Platforms::All,
            referrers: false,
            deep: false,
            concurrency: 16,
            mount_from: None,
            download: DownloadOptions::default(),
            upload: UploadSettings::default(),
        }
    }
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// What the tags point to now.
    pub manifest: Descriptor,
    /// Manifests that were stored or tagged.
    pub manifests: u64,
    /// Blobs that were sent or mounted.
    pub blobs: u64,
    /// Bytes of blobs that were sent.
    pub bytes: u64,
}

/// Copies a manifest with all that it names: the manifests of an index, configs and layers.
///
/// The order is from the bottom up, tags last, so that nothing is visible before it is whole: not even
/// without its referrers, when they are asked for. What the target has is not sent; a manifest that is
/// there is trusted to be whole (but see [`CopyOptions::deep`]). When all tags point to the right manifest
/// already, that costs one request to the source, none if the reference is a digest, and one per tag to the
/// target.
///
/// # Errors
/// `ManifestUnknown` when the source does not have it, or has it for no platform that was asked for;
/// `BlobUnknown`; `ManifestBlobUnknown` when the target refuses an index of which only a part was copied;
/// `DigestInvalid` when the source sends other bytes than it should.
///
/// # Cancel safety
/// When the future is dropped, what has been copied stays and is not sent again by the next copy.
pub async fn copy(from: &Place, reference: &ManifestRef, to: &Place, options: &CopyOptions) -> Result<Copied> {
    let root = options.platforms.root(from, reference, options.download.attempts);
    let (root, tagged) = future::try_join(root, tagged(to, options)).await?;
    let there = tagged.iter().flatten().find(|there| there.digest == root).cloned();
    let is_root = |there: &Option<Descriptor>| there.as_ref().is_some_and(|there| there.digest == root);
    let tags = if tagged.iter().all(is_root) { &[][..] } else { &options.tags };
    match there {
        Some(manifest) if tags.is_empty() && !options.referrers && !options.deep => {
            Ok(Copied { manifest, manifests: 0, blobs: 0, bytes: 0 })
        }
        there => Graph::new(from, to, options).copy(&root, tags, there).await,
    }
}

/// What the tags point to at the target.
async fn tagged(to: &Place, options: &CopyOptions) -> Result<Vec<Option<Descriptor>>> {
    // By value: a closure that borrows keeps the whole copy from being spawned.
    let heads = options.tags.iter().cloned().map(|tag| async move {
        let reference = ManifestRef::Tag(tag);
        find(options.upload.attempts, || to.registry.head_manifest(&to.repo, &reference)).await
    });
    stream::iter(heads).buffered(options.concurrency.max(1)).try_collect().await
}

/// What came of the copy of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobCopy {
    /// It was there.
    Existed,
    /// It was mounted.
    Mounted,
    /// It was sent, in so many bytes.
    Sent(u64),
}

/// Makes a blob appear at another place: by mount if both are in the same registry, else by sending it.
///
/// A registry that does not mount gets it sent. Nothing is done when both places are the same.
///
/// # Errors
/// `BlobUnknown` when it is not at its source; those of [`download`](crate::transfer::download) and
/// [`upload`](crate::transfer::upload).
pub async fn copy_blob(from: &Place, to: &Place, blob: &Descriptor, options: &CopyOptions) -> Result<BlobCopy> {
    bring_blob(from, to, blob, options, true).await
}

/// As [`copy_blob`]; without `asks` the target is not asked whether it has the blob.
async fn bring_blob(
    from: &Place,
    to: &Place,
    blob: &Descriptor,
    options: &CopyOptions,
    asks: bool,
) -> Result<BlobCopy> {
    let is_same = from.shares_registry(to);
    if is_same && from.repo == to.repo {
        return Ok(BlobCopy::Existed);
    }
    let mount_from = if is_same { Some(&from.repo) } else { options.mount_from.as_ref() };
    let mut session = None;
    if let Some(mount_from) = mount_from {
        let mount = || to.registry.mount_blob(&to.repo, &blob.digest, Some(mount_from));
        match retry(options.upload.attempts, mount).await {
            Ok(Mount::Mounted) => return Ok(BlobCopy::Mounted),
            Ok(Mount::Upload(upload)) => session = Some(upload),
            // Whatever it has against mounting, it may have nothing against the blob.
            Err(error) => tracing::debug!(%error, digest = %blob.digest, "not mounted"),
        }
    }
    let source = |range| read(from, blob, range, &options.download);
    let settings = UploadSettings { journal: None, ..options.upload.clone() };
    let sender = Sender::new(to, blob, &source, &settings);
    // A registry that began an upload in place of a mount may well have the blob, from elsewhere.
    if (asks || session.is_some()) && sender.is_there().await? {
        if let Some(session) = session {
            sender.cancel(session).await;
        }
        return Ok(BlobCopy::Existed);
    }
    sender.send(session).await.map(|uploaded| BlobCopy::Sent(uploaded.sent))
}
