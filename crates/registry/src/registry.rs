//! The two traits that everything implements or wraps: a registry, and an upload into one.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::body::Body;
use crate::body::ByteRange;
use crate::descriptor::Descriptor;
use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::page::Listing;
use crate::page::Page;

/// A registry of OCI content: repositories of blobs, manifests and tags.
///
/// There are no default methods: a wrapper has to decide about each call, so that a new one cannot slip
/// past it. What can be had from these calls is in [`RegistryExt`](crate::RegistryExt).
///
/// The promises below are functions in [`conformance`](crate::conformance); an implementation is right
/// when they all pass. A wrapper that lets everything through is right when they cannot tell it is there.
///
/// # Errors
/// Besides those stated with each call: `NameUnknown` for a repository that does not exist (where a call
/// asks for something in it, `BlobUnknown` or `ManifestUnknown` may come instead; all are
/// [not found](crate::Error::is_not_found)), `Unauthorized`, `Denied`, `TooManyRequests`, `Unavailable`,
/// `Unsupported`, and `Unknown` when something below the registry fails, a disk for instance.
///
/// # Cancel safety
/// Every future may be dropped. A write that was dropped has happened wholly or not at all; bytes of a
/// dropped [`Upload::append`] may have been kept.
#[async_trait]
pub trait Registry: Debug + Send + Sync + 'static {
    /// Reads a blob, or the part of it in `range`.
    ///
    /// [`Blob::range`] is what arrived, which is more than was asked for when the registry ignores
    /// ranges. A body with the whole blob yields `DigestInvalid` in place of its end when the bytes are
    /// not the ones named; a part cannot be checked.
    ///
    /// # Errors
    /// `BlobUnknown`; `RangeInvalid` when not a byte of the blob is in `range`.
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob>;

    /// Describes a blob without reading it.
    ///
    /// # Errors
    /// `BlobUnknown`.
    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor>;

    /// Says where a blob can be read without this registry's help, if there is such a place.
    ///
    /// # Errors
    /// `BlobUnknown`, if the registry looked.
    async fn locate_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Option<Url>>;

    /// Reads a manifest, of at most [`MAX_MANIFEST`](crate::MAX_MANIFEST) bytes.
    ///
    /// # Errors
    /// `ManifestUnknown`.
    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest>;

    /// Describes a manifest by type, digest and size, without reading it.
    ///
    /// # Errors
    /// `ManifestUnknown`.
    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor>;

    /// Stores a blob in one go; of the descriptor, digest and size count.
    ///
    /// When it is there already, the body need not be read.
    ///
    /// # Errors
    /// `DigestInvalid` or `SizeInvalid` when the body is not what the descriptor says. Then, and when the
    /// body yields an error, nothing is stored.
    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()>;

    /// Begins to store a blob in parts, or goes on with that.
    ///
    /// # Errors
    /// `BlobUploadUnknown` when the session to resume does not exist.
    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>>;

    /// Makes a blob of another repository appear in this one, or one of any repository if `from` is none.
    ///
    /// # Errors
    /// `BlobUnknown` when it is not there; `Unsupported`. The caller then uploads it.
    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount>;

    /// Stores a manifest under its digest, and makes tags point to it.
    ///
    /// # Errors
    /// `ManifestInvalid` for one that is malformed; `ManifestBlobUnknown` when it names a blob or manifest
    /// that is not there (the subject may be missing); `SizeInvalid` when it is too large;
    /// `PreconditionFailed` when a tag points elsewhere and [`PutManifest::if_absent`] is set. Then no tag
    /// has moved.
    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()>;

    /// Removes a blob from a repository.
    ///
    /// # Errors
    /// `BlobUnknown`.
    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()>;

    /// Removes a manifest with all tags that point to it, or only a tag.
    ///
    /// # Errors
    /// `ManifestUnknown`.
    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()>;

    /// Lists the tags of a repository, in lexical order.
    ///
    /// # Errors
    /// `NameUnknown`.
    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>>;

    /// Lists the manifests whose subject is a digest, in the order of their digests.
    ///
    /// Descriptors carry artifact type and annotations. The list is empty when nothing is known of the
    /// subject or of the repository.
    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>>;

    /// Lists the repositories, in lexical order.
    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>>;
}

/// A blob being stored in parts.
///
/// Dropping it keeps the session; [`UploadOptions::resume`] takes it up again.
#[async_trait]
pub trait Upload: Debug + Send {
    /// Names the session. Opaque.
    fn id(&self) -> &str;

    /// Bytes the registry has acknowledged.
    fn offset(&self) -> u64;

    /// Bytes every part but the last must have, 0 if any number will do.
    ///
    /// Registries state it in `OCI-Chunk-Min-Length` (spec, end-4a).
    fn min_chunk(&self) -> u64;

    /// Adds a part; over HTTP one request, streamed.
    ///
    /// # Errors
    /// `BlobUploadUnknown` when the session is gone. After any error, [`offset`](Self::offset) is what the
    /// registry surely has; to learn what it has indeed, drop the upload and resume it.
    async fn append(&mut self, body: Body) -> Result<()>;

    /// Ends the upload and stores the blob.
    ///
    /// # Errors
    /// `DigestInvalid` when the bytes have another digest. Then nothing is stored.
    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor>;

    /// Gives the upload up and frees what it holds.
    async fn cancel(self: Box<Self>) -> Result<()>;
}

/// A blob, or a part of it, on its way.
#[derive(Debug)]
pub struct Blob {
    /// Digest and size of the whole blob.
    pub descriptor: Descriptor,
    /// The bytes that the body has.
    pub range: Range<u64>,
    /// The bytes.
    pub body: Body,
}

impl Blob {
    /// The bytes of `range`, whether the registry sent more or just those.
    ///
    /// # Errors
    /// `RangeInvalid` when they are not among what was sent.
    pub fn narrow(self, range: Range<u64>) -> Result<Body> {
        if self.range == range {
            return Ok(self.body.exactly(range.end - range.start));
        }
        if range.start < self.range.start || range.end > self.range.end {
            let message = format!("{}: asked for bytes {range:?}, got {:?}", self.descriptor.digest, self.range);
            return Err(crate::Error::new(crate::Code::RangeInvalid, message));
        }
        let start = range.start - self.range.start;
        Ok(self.body.slice(start..start + (range.end - range.start)))
    }
}

/// What came of a mount.
#[derive(Debug)]
pub enum Mount {
    /// The blob is there.
    Mounted,
    /// The registry began an upload instead (spec, end-11: 202). Commit it or cancel it.
    Upload(Box<dyn Upload>),
}

/// How to store a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutManifest {
    /// Tags to point to it; none stores it under its digest only.
    pub tags: Vec<Tag>,
    /// Refuse when one of the tags points to another manifest. The backend decides it, at once with the write.
    pub if_absent: bool,
}

/// How to begin an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadOptions {
    /// The session to go on with: what [`Upload::id`] said.
    pub resume: Option<String>,
    /// The hash function of the digest that will be committed; another one costs a second reading.
    pub algorithm: Algorithm,
}

/// Which referrers are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferrerQuery {
    /// Only those of this artifact type.
    pub artifact_type: Option<String>,
    /// Which part of the list. `after` is a digest, or what [`Listing::next`] said.
    pub page: Page,
}

macro_rules! forward_pointer {
    ($($pointer:ty),*) => {$(
        impl<R: Registry + ?Sized> Registry for $pointer {
            crate::forward_registry!(self => (**self); get_blob, head_blob, locate_blob, get_manifest, head_manifest,
                put_blob, upload_blob, mount_blob, put_manifest, delete_blob, delete_manifest, list_tags,
                list_referrers, list_repos);
        }
    )*};
}

forward_pointer!(Arc<R>, Box<R>);
