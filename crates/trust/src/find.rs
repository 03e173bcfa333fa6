//! Finding what is attached to a subject: referrers, and the tags that cosign wrote before there were any.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Tag;

use crate::bundle::fits;
use crate::cosign;
use crate::cosign::Legacy;
use crate::error::Result;
use crate::limits::Limits;
use crate::report::Rejection;
use crate::report::Stage;
use crate::subject::Subject;

/// What all media types of bundles begin with.
const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// Requests at the same time.
const PARALLEL: usize = 8;

/// What is attached to a subject and may hold a signature; nothing of it is checked but digests.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) rejected: Vec<Rejection>,
    pub(crate) unread: usize,
}

impl Found {
    /// What may hold a signature.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// What could not be read, and why.
    pub fn rejected(&self) -> &[Rejection] {
        &self.rejected
    }

    /// Referrers that were not read, because there are more than the limit; at least so many.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Adds bundles that came from elsewhere: a file, another registry.
    pub fn with_bundle(mut self, bytes: Bytes) -> Self {
        self.candidates.push(Candidate::from_bundle(bytes));
        self
    }
}

/// Bytes that may hold a signature.
#[derive(Clone, Debug)]
pub struct Candidate {
    content: Content,
    digest: Digest,
    referrer: Option<Digest>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Bundle(Bytes),
    Cosign(Legacy),
}

impl Candidate {
    pub(crate) fn from_bundle(bytes: Bytes) -> Self {
        Self { digest: Digest::sha256(&bytes), content: Content::Bundle(bytes), referrer: None }
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The manifest they are attached by.
    pub fn referrer(&self) -> Option<&Digest> {
        self.referrer.as_ref()
    }
}

/// A layer that is to be fetched, and what it is.
struct Wanted {
    referrer: Digest,
    layer: Descriptor,
    is_legacy: bool,
}

/// Finds what is attached to a subject and may hold a signature.
///
/// What cannot be read is noted and hides nothing else. The order is that of the registry's list.
///
/// # Errors
/// `Registry` when the list of referrers cannot be had.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn find(registry: &dyn Registry, repo: &RepoName, subject: &Subject, limits: &Limits) -> Result<Found> {
    let mut found = Found::default();
    let (referrers, beyond) = list(registry, repo, subject, limits).await?;
    found.unread = beyond;
    let tags = ["sig", "att"].into_iter().filter_map(|suffix| tag(subject.digest(), suffix));
    let fetching = referrers.into_iter().map(ManifestRef::Digest).chain(tags.map(ManifestRef::Tag));
    let fetching: Vec<_> = fetching.map(|reference| manifest(registry, repo, reference)).collect();
    let mut fetched = stream::iter(fetching).buffered(PARALLEL);
    let mut wanted = Vec::new();
    let mut total = 0;
    while let Some(one) = fetched.next().await {
        match one {
            Ok(None) => {}
            Ok(Some((manifest, is_tag))) => {
                found.rejected.extend(select(&manifest, is_tag, subject, limits, &mut wanted, &mut total));
            }
            Err(rejection) => found.rejected.push(rejection),
        }
    }
    drop(fetched);
    let fetching: Vec<_> = wanted.into_iter().map(|wanted| candidate(registry, repo, wanted)).collect();
    let mut fetched = stream::iter(fetching).buffered(PARALLEL);
    while let Some(one) = fetched.next().await {
        match one {
            Ok(candidate) => found.candidates.push(candidate),
            Err(rejection) => found.rejected.push(rejection),
        }
    }
    Ok(found)
}

/// The referrers that may hold a signature, and how many more there are that are not read.
async fn list(
    registry: &dyn Registry,
    repo: &RepoName,
    subject: &Subject,
    limits: &Limits,
) -> Result<(Vec<Digest>, usize)> {
    let mut listed = registry.referrers(repo, subject.digest(), None);
    let (mut digests, mut beyond, mut seen) = (Vec::new(), 0, 0);
    loop {
        let referrer = match listed.try_next().await {
            Ok(Some(referrer)) => referrer,
            Ok(None) => break,
            // A registry without a repository of this name has no referrers in it, and nothing else either.
            Err(error) if error.is_not_found() => break,
            Err(error) => return Err(error.into()),
        };
        seen += 1;
        if seen > limits.listed {
            return Ok((digests, beyond + 1));
        }
        // Lists under a tag that others wrote may lack the type; then the manifest is read to know.
        let may_hold = referrer.artifact_type.as_deref().is_none_or(|kind| kind.starts_with(BUNDLE_PREFIX));
        if may_hold && digests.len() < limits.referrers {
            digests.push(referrer.digest);
        } else if may_hold {
            beyond += 1;
        }
    }
    Ok((digests, beyond))
}

/// The tag that cosign before version 3 attaches by; `None` where it would be too long for a tag.
fn tag(digest: &Digest, suffix: &str) -> Option<Tag> {
    format!("{}-{}.{suffix}", digest.algorithm().as_str(), digest.hex()).parse().ok()
}

/// A manifest, if it is there, and whether it was found by tag.
async fn manifest(
    registry: &dyn Registry,
    repo: &RepoName,
    reference: ManifestRef,
) -> Result<Option<(Manifest, bool)>, Rejection> {
    let manifest = match registry.get_manifest(repo, &reference).await {
        Ok(manifest) => manifest,
        Err(error) if error.is_not_found() && matches!(reference, ManifestRef::Tag(_)) => return Ok(None),
        Err(error) => {
            let referrer = match reference {
                ManifestRef::Digest(digest) => Some(digest),
                ManifestRef::Tag(_) => None,
            };
            return Err(Rejection { referrer, ..Rejection::new(Stage::Fetch, error.to_string()) });
        }
    };
    match reference {
        ManifestRef::Tag(_) => Ok(Some((manifest, true))),
        ManifestRef::Digest(digest) if digest == *manifest.digest() => Ok(Some((manifest, false))),
        ManifestRef::Digest(digest) => {
            let why = format!("asked for the manifest {digest}, got {}", manifest.digest());
            Err(Rejection { referrer: Some(digest), ..Rejection::new(Stage::Fetch, why) })
        }
    }
}

/// Picks the layers of a manifest that may hold a signature, and says why others are not read.
fn select(
    manifest: &Manifest,
    is_tag: bool,
    subject: &Subject,
    limits: &Limits,
    wanted: &mut Vec<Wanted>,
    total: &mut u64,
) -> Vec<Rejection> {
    let referrer = manifest.digest().clone();
    let reject = |stage, why: String| Rejection { referrer: Some(referrer.clone()), ..Rejection::new(stage, why) };
    let content = match manifest.content() {
        Ok(content) => content,
        Err(error) => return vec![reject(Stage::Parse, error.to_string())],
    };
    if !is_tag && !is_about(&content, subject) {
        let why = format!("listed as a referrer, but its subject is not {}", subject.digest());
        return vec![reject(Stage::Subject, why)];
    }
    let layers = content.layers.unwrap_or_default();
    let is_wanted = |layer: &Descriptor| match is_tag {
        true => cosign::MEDIA_TYPES.contains(&layer.media_type.as_str()),
        false => layer.media_type.starts_with(BUNDLE_PREFIX),
    };
    let mut rejected = Vec::new();
    for (number, layer) in layers.into_iter().filter(is_wanted).enumerate() {
        let kept = fits("layers", number as u64 + 1, limits.layers as u64)
            .and_then(|()| fits("bytes of the bundle", layer.size, limits.bundle))
            .and_then(|()| fits("bytes of all bundles", total.saturating_add(layer.size), limits.total));
        match kept {
            Ok(()) => {
                *total += layer.size;
                wanted.push(Wanted { referrer: referrer.clone(), layer, is_legacy: is_tag });
            }
            Err(rejection) => {
                rejected.push(Rejection { referrer: Some(referrer.clone()), bundle: Some(layer.digest), ..rejection });
                // One reason is enough; a manifest can name a hundred thousand layers.
                if number >= limits.layers {
                    break;
                }
            }
        }
    }
    rejected
}

fn is_about(content: &ManifestContent, subject: &Subject) -> bool {
    content.subject.as_ref().is_some_and(|stated| stated.digest == *subject.digest())
}

async fn candidate(registry: &dyn Registry, repo: &RepoName, wanted: Wanted) -> Result<Candidate, Rejection> {
    let Wanted { referrer, layer, is_legacy } = wanted;
    let reject = |why: String| Rejection {
        referrer: Some(referrer.clone()),
        bundle: Some(layer.digest.clone()),
        ..Rejection::new(Stage::Fetch, why)
    };
    let bytes = registry.read_blob(repo, &layer.digest, layer.size).await.map_err(|error| reject(error.to_string()))?;
    // Registries check this on the way; here it decides what is believed, and costs nothing.
    let came = Digest::of(layer.digest.algorithm(), &bytes);
    if came != layer.digest {
        return Err(reject(format!("asked for {}, got {came}", layer.digest)));
    }
    let content = match is_legacy {
        true => Content::Cosign(Legacy::new(layer.media_type, bytes, layer.annotations)),
        false => Content::Bundle(bytes),
    };
    Ok(Candidate { content, digest: layer.digest, referrer: Some(referrer) })
}
