//! Pushing: what a registry does not have yet, and the manifest last.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future;
use jiff::Timestamp;
use skep_registry::Annotations;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::PutManifest;
use skep_registry::Tag;
use skep_registry::transfer;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;

use crate::build::Built;
use crate::build::Unchanged;
use crate::error::Result;
use crate::manifest::ArchiveManifest;
use crate::manifest::CREATED;
use crate::manifest::EMPTY_CONFIG;
use crate::manifest::empty_config;

/// How to push an archive.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Tags to point to the archive; none stores it under its digest only.
    pub tags: Vec<Tag>,
    /// Annotations of the manifest.
    ///
    /// `org.opencontainers.image.created` is added when it is missing: [`epoch`](Self::epoch) if that is
    /// set, else the newest time of modification in the tree. So the same tree is the same manifest.
    pub annotations: Annotations,
    /// When the archive is said to be made, in seconds since the epoch: `SOURCE_DATE_EPOCH`, usually.
    pub epoch: Option<i64>,
    /// Refuse to move tags that point to another manifest.
    pub if_absent: bool,
    /// Refuse to move the first tag unless it still points to this manifest.
    ///
    /// It is asked for when all blobs are there, right before the manifest is sent: registries have no call that does both at
    /// once, so who moves the tag in that one moment is not noticed.
    pub expected: Option<Digest>,
    /// How blobs are sent, and who is told of it.
    pub upload: UploadSettings,
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The manifest.
    pub manifest: Manifest,
    /// Whether the manifest had to be sent; if not, nothing was.
    pub manifest_sent: bool,
    /// Blobs that were sent, of three.
    pub blobs_sent: u64,
    /// Bytes of those.
    pub bytes_sent: u64,
    /// Blobs that the registry had.
    pub blobs_there: u64,
    /// Bytes of those.
    pub bytes_there: u64,
}

/// The manifest of an archive that was built.
///
/// # Errors
/// `InvalidManifest` when [`PushOptions::epoch`] is no time of the calendar.
pub fn manifest_of(built: &Built, options: &PushOptions) -> Result<Manifest> {
    describe(built.index_descriptor(), built.data_descriptor(), built.newest_ns(), options)
}

fn describe(index: &Descriptor, data: &Descriptor, newest_ns: Option<i64>, options: &PushOptions) -> Result<Manifest> {
    let mut annotations = options.annotations.clone();
    if !annotations.contains_key(CREATED) {
        let seconds = options.epoch.unwrap_or_else(|| newest_ns.unwrap_or(0).div_euclid(1_000_000_000));
        let created = Timestamp::from_second(seconds)
            .map_err(|error| crate::Error::InvalidManifest { why: format!("{seconds} seconds: {error}") })?;
        annotations.insert(CREATED.to_owned(), created.to_string());
    }
    Ok(ArchiveManifest::write(index, data, annotations))
}

/// Pushes an archive that was built.
///
/// When all tags point to the same manifest already, nothing is sent. Otherwise each blob is asked for and
/// sent when it is missing, all at the same time, large ones in chunks that are taken up after a break; then the
/// manifest: nothing is visible before it is whole.
///
/// # Errors
/// `Registry`; its `PreconditionFailed` when a tag points elsewhere and [`PushOptions::if_absent`] is set, or the first one
/// not to what is [`expected`](PushOptions::expected).
///
/// # Cancel safety
/// When the future is dropped, some blobs may be there; the manifest is or is not.
pub async fn push(to: &Place, built: &Built, options: &PushOptions) -> Result<Pushed> {
    let manifest = manifest_of(built, options)?;
    let config = empty_config();
    let blobs = [&config, built.index_descriptor(), built.data_descriptor()];
    let mut pushed = Pushed {
        manifest: manifest.clone(),
        manifest_sent: false,
        blobs_sent: 0,
        bytes_sent: 0,
        blobs_there: 3,
        bytes_there: blobs.iter().map(|blob| blob.size).sum(),
    };
    if is_there(to, &manifest, &options.tags).await? {
        return Ok(pushed);
    }
    let (index, data) = (built.index(), built.source());
    let sources: [&(dyn Fn(Range<u64>) -> Body + Send + Sync); 3] =
        [&|range| slice(&Bytes::from_static(EMPTY_CONFIG), range), &|range| slice(index, range), &|range| {
            data.body(range)
        }];
    let sending =
        blobs.into_iter().zip(sources).map(|(blob, source)| transfer::upload(to, blob, source, &options.upload));
    for (blob, uploaded) in blobs.into_iter().zip(future::try_join_all(sending).await?) {
        if !uploaded.existed {
            pushed.blobs_sent += 1;
            pushed.bytes_sent += blob.size;
            pushed.blobs_there -= 1;
            pushed.bytes_there -= blob.size;
        }
    }
    put(to, &manifest, options).await?;
    Ok(Pushed { manifest_sent: true, ..pushed })
}

/// Pushes what the archive of a tag has already, as [`unchanged`](crate::unchanged()) has found: a manifest, at most, when
/// annotations or tags are others.
///
/// # Errors
/// As [`push`]; `ManifestBlobUnknown` of the registry when it has lost what the archive is made of.
pub async fn push_again(
    to: &Place,
    (tag, before): (&Tag, &ArchiveManifest),
    unchanged: &Unchanged,
    options: &PushOptions,
) -> Result<Pushed> {
    let manifest = describe(&before.index, &before.data, unchanged.newest_ns, options)?;
    let is_same = *manifest.digest() == before.descriptor.digest;
    let others: Vec<_> = options.tags.iter().filter(|other| *other != tag).cloned().collect();
    let is_there = is_same && (others.is_empty() || is_there(to, &manifest, &others).await?);
    if !is_there {
        put(to, &manifest, options).await?;
    }
    Ok(Pushed {
        manifest,
        manifest_sent: !is_there,
        blobs_sent: 0,
        bytes_sent: 0,
        blobs_there: 3,
        bytes_there: empty_config().size + before.index.size + before.data.size,
    })
}

/// Stores the manifest, and moves the tags if they may be moved.
async fn put(to: &Place, manifest: &Manifest, options: &PushOptions) -> Result<()> {
    if let (Some(expected), Some(tag)) = (&options.expected, options.tags.first()) {
        let came = match to.registry.head_manifest(&to.repo, &tag.clone().into()).await {
            Ok(found) if found.digest == *expected => None,
            Ok(found) => Some(found.digest.to_string()),
            Err(error) if error.is_not_found() => Some("nothing".to_owned()),
            Err(error) => return Err(error.into()),
        };
        if let Some(came) = came {
            let message = format!("{tag} has moved meanwhile: expected {expected}, got {came}");
            return Err(Error::new(Code::PreconditionFailed, message).into());
        }
    }
    let options = PutManifest { tags: options.tags.clone(), if_absent: options.if_absent };
    Ok(to.registry.put_manifest(&to.repo, manifest, options).await?)
}

/// Tells whether all tags point to a manifest, or it is there if there are no tags.
async fn is_there(to: &Place, manifest: &Manifest, tags: &[Tag]) -> Result<bool> {
    let references: Vec<ManifestRef> = match tags {
        [] => vec![manifest.digest().clone().into()],
        tags => tags.iter().cloned().map(ManifestRef::from).collect(),
    };
    let heads = references.iter().map(|reference| async move {
        match to.registry.head_manifest(&to.repo, reference).await {
            Ok(found) => Ok(found.digest == *manifest.digest()),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    });
    Ok(future::try_join_all(heads).await?.into_iter().all(|same| same))
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Body {
    bytes.slice(range.start as usize..range.end as usize).into()
}
