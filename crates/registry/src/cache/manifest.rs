//! Manifests and tags of a cached registry.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::TryFutureExt;
use futures_util::future::Shared;

use crate::cache::origin::Answer;
use crate::cache::origin::Moment;
use crate::cache::origin::Origin;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::registry::Registry;

/// A manifest, once for all who ask for it at the same time.
pub(super) async fn get<R: Registry>(
    origin: &Arc<Origin<R>>,
    repo: &RepoName,
    reference: &ManifestRef,
    fresh: bool,
) -> Result<Manifest> {
    let answer = join(origin, repo, reference, fresh);
    answer.await.map_err(|error| Arc::try_unwrap(error).unwrap_or_else(|error| error.again()))
}

/// Describes a manifest.
pub(super) async fn head<R: Registry>(
    origin: &Origin<R>,
    repo: &RepoName,
    reference: &ManifestRef,
    fresh: bool,
) -> Result<Descriptor> {
    match reference {
        ManifestRef::Digest(digest) => head_by_digest(origin, repo, digest).await,
        ManifestRef::Tag(tag) => head_by_tag(origin, repo, tag, fresh).await,
    }
}

/// The answer that is on its way, or a new one. It looks into the store by itself, so that none is begun
/// for what has just come. Who asks after a write does not get what was asked for before it.
fn join<R: Registry>(origin: &Arc<Origin<R>>, repo: &RepoName, reference: &ManifestRef, fresh: bool) -> Shared<Answer> {
    let question = (repo.clone(), reference.clone(), origin.writes(), fresh);
    // A panic while the lock was held can only have come from an allocation; the map is whole.
    let mut asked = origin.asked.lock().unwrap_or_else(|poison| poison.into_inner());
    asked.retain(|_, answer| answer.upgrade().is_some_and(|answer| answer.peek().is_none()));
    if let Some(answer) = asked.get(&question).and_then(|answer| answer.upgrade()) {
        return answer;
    }
    let (origin, repo, reference) = (origin.clone(), repo.clone(), reference.clone());
    let answer: Answer = async move {
        match &reference {
            ManifestRef::Digest(digest) => get_by_digest(&origin, &repo, digest).await,
            ManifestRef::Tag(tag) => get_by_tag(&origin, &repo, tag, fresh).await,
        }
    }
    .map_err(Arc::new)
    .boxed();
    let answer = answer.shared();
    if let Some(weak) = answer.downgrade() {
        asked.insert(question, weak);
    }
    answer
}

async fn get_by_digest<R: Registry>(origin: &Origin<R>, repo: &RepoName, digest: &Digest) -> Result<Manifest> {
    if let Some(manifest) = kept(origin, repo, digest).await {
        return Ok(manifest);
    }
    let before = origin.moment();
    let upstream = origin.online(format_args!("manifest {digest} of {repo} is not in the cache"))?;
    let manifest = upstream.get_manifest(repo, &digest.clone().into()).await?;
    if manifest.digest() != digest {
        let message = format!("expected {digest}, got {}", manifest.digest());
        return Err(Error::new(Code::DigestInvalid, message));
    }
    keep(origin, repo, &manifest, before).await;
    Ok(manifest)
}

async fn get_by_tag<R: Registry>(origin: &Origin<R>, repo: &RepoName, tag: &Tag, fresh: bool) -> Result<Manifest> {
    let note = origin.tag(repo, tag).await;
    if let Some(note) = note.as_ref().filter(|note| origin.is_believed(note, fresh)) {
        match get_by_digest(origin, repo, &note.digest).await {
            // Then the tag must have moved as well.
            Err(error) if error.is_not_found() => {}
            found => return found,
        }
    }
    let kept = match &note {
        Some(note) => kept(origin, repo, &note.digest).await,
        None => None,
    };
    let before = origin.moment();
    let upstream = origin.online(format_args!("tag {tag} of {repo} is not in the cache"))?;
    let reference = ManifestRef::Tag(tag.clone());
    let Some(kept) = kept else {
        let manifest = upstream.get_manifest(repo, &reference).await?;
        keep(origin, repo, &manifest, before).await;
        origin.note_tag(repo, tag, manifest.digest(), before).await;
        return Ok(manifest);
    };
    let digest = match upstream.head_manifest(repo, &reference).await {
        Ok(head) => head.digest,
        Err(error) if *error.code() == Code::Unavailable && !fresh => {
            tracing::warn!(%repo, %tag, %error, "the registry is not there; using what it said last");
            return Ok(kept);
        }
        Err(error) => return Err(error),
    };
    origin.note_tag(repo, tag, &digest, before).await;
    if digest == *kept.digest() { Ok(kept) } else { get_by_digest(origin, repo, &digest).await }
}

async fn head_by_digest<R: Registry>(origin: &Origin<R>, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
    if let Some(manifest) = origin.manifest(repo, digest).await {
        return Ok(manifest);
    }
    let before = origin.moment();
    let upstream = origin.online(format_args!("manifest {digest} of {repo} is not in the cache"))?;
    let head = upstream.head_manifest(repo, &digest.clone().into()).await?;
    origin.note_manifest(repo, &head, before).await;
    Ok(head)
}

async fn head_by_tag<R: Registry>(origin: &Origin<R>, repo: &RepoName, tag: &Tag, fresh: bool) -> Result<Descriptor> {
    let note = origin.tag(repo, tag).await;
    if let Some(note) = note.as_ref().filter(|note| origin.is_believed(note, fresh)) {
        match head_by_digest(origin, repo, &note.digest).await {
            Err(error) if error.is_not_found() => {}
            found => return found,
        }
    }
    let before = origin.moment();
    let upstream = origin.online(format_args!("tag {tag} of {repo} is not in the cache"))?;
    let head = upstream.head_manifest(repo, &ManifestRef::Tag(tag.clone())).await;
    if let Err(error) = &head
        && *error.code() == Code::Unavailable
        && !fresh
        && let Some(note) = note
        && let Some(kept) = origin.manifest(repo, &note.digest).await
    {
        tracing::warn!(%repo, %tag, %error, "the registry is not there; using what it said last");
        return Ok(kept);
    }
    let head = head?;
    origin.note_manifest(repo, &head, before).await;
    origin.note_tag(repo, tag, &head.digest, before).await;
    Ok(head)
}

/// A manifest that the repository has, if it is in the store.
async fn kept<R>(origin: &Origin<R>, repo: &RepoName, digest: &Digest) -> Option<Manifest> {
    let descriptor = origin.manifest(repo, digest).await?;
    let bytes = origin.store.get(&origin.content(digest)).await?;
    Manifest::verified(descriptor.media_type, digest, bytes).ok()
}

async fn keep<R>(origin: &Origin<R>, repo: &RepoName, manifest: &Manifest, before: Moment) {
    origin.store.put(&origin.content(manifest.digest()), manifest.bytes().clone()).await;
    origin.note_manifest(repo, manifest.descriptor(), before).await;
}
