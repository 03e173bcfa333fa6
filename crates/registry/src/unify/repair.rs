//! Repair: what one registry lacks is copied from another.

use std::sync::Arc;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::registry::PutManifest;
use crate::registry::Registry;
use crate::transfer;
use crate::transfer::CopyOptions;
use crate::unify::Unified;
use crate::unify::ask::Place;
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
    /// Everything is looked for, also below a manifest that is there. What is there is not copied. It is done
    /// by [`copy`](crate::transfer::copy), one registry after the other, with four blobs at most under way.
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
        let options =
            CopyOptions { referrers: options.referrers, deep: true, concurrency: AT_ONCE, ..Default::default() };
        let source = transfer::Place::new(Arc::new(self.clone()), repo.clone());
        let mut repaired = Repaired::default();
        for (place, member) in self.members.iter().enumerate() {
            let target = transfer::Place::new(member.clone(), repo.clone());
            let copied = transfer::copy(&source, &digest.clone().into(), &target, &options).await;
            let copied = copied.map_err(|error| error.context(Place(place)))?;
            repaired.blobs += copied.blobs;
            repaired.bytes += copied.bytes;
            repaired.manifests += copied.manifests;
        }
        let manifest = self.get_manifest(repo, &digest.clone().into()).await?;
        for (place, found) in tagged.into_iter().enumerate() {
            if found.as_ref() != Some(&digest) {
                let options = PutManifest { tags: vec![tag.clone()], if_absent: false };
                let put = self.members[place].put_manifest(repo, &manifest, options).await;
                put.map_err(|error| error.context(Place(place)))?;
                repaired.tags += 1;
            }
        }
        Ok(repaired)
    }
}

/// Blobs, or requests, that are under way at once.
const AT_ONCE: usize = 4;
