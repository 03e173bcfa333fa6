//! Repair: what one registry lacks is copied from another.

use std::collections::HashSet;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::ext::RegistryExt;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::registry::PutManifest;
use crate::registry::Registry;
use crate::unify::Unified;
use crate::unify::ask::Place;
use crate::unify::ask::first_of;
use crate::unify::ask::join;

/// How to repair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairOptions {
    /// The place of the registry whose tag holds when they disagree. Without one that is an error.
    pub authority: Option<usize>,
    /// Copy also the manifests that have a copied one as their subject, and those that have these.
    pub referrers: bool,
}

/// What a repair has copied, over all registries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Blobs.
    pub blobs: u64,
    /// Bytes of blobs.
    pub bytes: u64,
    /// Manifests.
    pub manifests: u64,
    /// Tags that were set.
    pub tags: u64,
}

impl Unified {
    /// Makes a tag, its manifest and all that this is made of be in every registry, whatever the write policy.
    ///
    /// Everything is looked for, also below a manifest that is there. What is there is not copied. Four
    /// blobs at most are under way at once; manifests in manifests are followed 32 deep.
    ///
    /// # Errors
    /// As a read of the tag: `ManifestUnknown` when nobody knows it, `TAG_CONFLICT` when there is no
    /// authority. Then the first error of any copy; what was copied stays, tags are set last.
    pub async fn repair(&self, repo: &RepoName, tag: &Tag, options: RepairOptions) -> Result<Repaired> {
        let reference = ManifestRef::Tag(tag.clone());
        let heads = join(&self.members, |member| member.head_manifest(repo, &reference)).await;
        // Which of them have to be told is kept, before the answers become one.
        let tagged: Vec<_> = heads.iter().map(|head| head.as_ref().ok().map(|head| head.digest.clone())).collect();
        let digest = match options.authority {
            Some(place) => {
                let head = heads
                    .into_iter()
                    .nth(place)
                    .ok_or_else(|| Error::new(Code::Unsupported, format!("there is no {}", Place(place))))?;
                head.map_err(|error| error.context(Place(place)))?.digest
            }
            None => self.agree(repo, tag, heads)?.1.digest,
        };
        let mut walk = Walk { unified: self, repo, options, seen: HashSet::new(), done: Repaired::default() };
        walk.manifest(digest.clone(), 0).await?;
        let manifest = self.get_manifest(repo, &digest.clone().into()).await?;
        for (place, found) in tagged.into_iter().enumerate() {
            if found.as_ref() != Some(&digest) {
                let options = PutManifest { tags: vec![tag.clone()], if_absent: false };
                let put = self.members[place].put_manifest(repo, &manifest, options).await;
                put.map_err(|error| error.context(Place(place)))?;
                walk.done.tags += 1;
            }
        }
        Ok(walk.done)
    }
}

struct Walk<'a> {
    unified: &'a Unified,
    repo: &'a RepoName,
    options: RepairOptions,
    seen: HashSet<Digest>,
    done: Repaired,
}

impl Walk<'_> {
    /// Copies a manifest to where it is missing, after all that it needs.
    fn manifest(&mut self, digest: Digest, depth: usize) -> BoxFuture<'_, Result<()>> {
        async move {
            if !self.seen.insert(digest.clone()) {
                return Ok(());
            }
            if depth > MAX_DEPTH {
                let message = format!("{digest}: manifests lie more than {MAX_DEPTH} deep in each other");
                return Err(Error::new(Code::ManifestInvalid, message));
            }
            let manifest = self.unified.get_manifest(self.repo, &digest.clone().into()).await?;
            if let Some(content) = manifest.to_store()? {
                for (_, child) in content.children() {
                    self.manifest(child.digest.clone(), depth + 1).await?;
                }
                let blobs: Vec<_> = content.blobs().map(|(_, blob)| blob).collect();
                for place in 0..self.unified.members.len() {
                    self.blobs(place, &blobs).await?;
                }
            }
            for place in 0..self.unified.members.len() {
                self.put(place, &manifest).await?;
            }
            if self.options.referrers {
                let unified = self.unified;
                let repo = self.repo;
                let mut referrers = unified.referrers(repo, &digest, None);
                while let Some(referrer) = referrers.try_next().await? {
                    self.manifest(referrer.digest, depth + 1).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    async fn put(&mut self, place: usize, manifest: &Manifest) -> Result<()> {
        let member = &self.unified.members[place];
        let missing = match member.head_manifest(self.repo, &manifest.digest().clone().into()).await {
            Err(error) if error.is_not_found() => true,
            found => found.map(|_| false).map_err(|error| error.context(Place(place)))?,
        };
        if missing {
            let put = member.put_manifest(self.repo, manifest, PutManifest::default()).await;
            put.map_err(|error| error.context(Place(place)))?;
            self.done.manifests += 1;
        }
        Ok(())
    }

    async fn blobs(&mut self, place: usize, blobs: &[&Descriptor]) -> Result<()> {
        let (unified, repo) = (self.unified, self.repo);
        let mut once = HashSet::new();
        let blobs: Vec<_> = blobs.iter().filter(|blob| once.insert(&blob.digest)).collect();
        let copies: Vec<_> = blobs.into_iter().map(|blob| copy(unified, repo, place, blob).boxed()).collect();
        let mut copies = stream::iter(copies).buffer_unordered(AT_ONCE);
        while let Some(copied) = copies.try_next().await? {
            self.done.blobs += u64::from(copied.is_some());
            self.done.bytes += copied.unwrap_or(0);
        }
        Ok(())
    }
}

/// Copies a blob to a registry from one of the others; gives its size, none if it was there.
async fn copy(unified: &Unified, repo: &RepoName, place: usize, blob: &Descriptor) -> Result<Option<u64>> {
    let target = &unified.members[place];
    if target.has_blob(repo, &blob.digest).await.map_err(|error| error.context(Place(place)))? {
        return Ok(None);
    }
    let others = unified.members.iter().enumerate().filter(|(other, _)| *other != place);
    let calls = others.map(|(_, member)| member.get_blob(repo, &blob.digest, None)).collect();
    let source = first_of(calls, unified.options.read).await?;
    let body = source.narrow(0..blob.size)?;
    let put = target.put_blob(repo, blob, body).await;
    put.map(|()| Some(blob.size)).map_err(|error| error.context(Place(place)))
}

/// Blobs that are copied at once.
const AT_ONCE: usize = 4;

/// How deep manifests may lie in each other, or refer to each other.
const MAX_DEPTH: usize = 32;
