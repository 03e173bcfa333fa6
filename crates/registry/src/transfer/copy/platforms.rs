//! Platforms: which manifests of an index a copy is about.

use crate::descriptor::Descriptor;
use crate::descriptor::Platform;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::manifest::media_type;
use crate::name::ManifestRef;
use crate::transfer::Place;
use crate::transfer::retry::retry;

/// Which manifests of an index are copied. An index is never changed: its digest is what was signed.
///
/// A platform is asked for by operating system and architecture, and by the rest as far as that is given.
/// Indexes in indexes are looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Platforms {
    /// All of them.
    #[default]
    All,
    /// The first manifest for a platform, in place of the index. An image is copied as it is.
    One(Platform),
    /// The index as it is, and of its manifests only those for these platforms.
    ///
    /// Most registries refuse an index with manifests that are missing, by `ManifestBlobUnknown`.
    Only(Vec<Platform>),
}

impl Platforms {
    /// The digest of the manifest that a copy of a reference is about.
    pub(super) async fn root(&self, from: &Place, reference: &ManifestRef, attempts: u32) -> Result<Digest> {
        match (self, reference) {
            (Self::One(platform), _) => {
                let (registry, repo) = (&from.registry, &from.repo);
                let root = retry(attempts, || registry.get_manifest(repo, reference)).await?;
                let mut indexes = vec![root.clone()];
                // Depth first, as the specification's order of preference has it.
                for _ in 0..MAX_INDEXES {
                    let Some(index) = indexes.pop() else { break };
                    if !is_index(index.media_type()) {
                        return Ok(index.digest().clone());
                    }
                    let content = index.content()?;
                    let children: Vec<_> = content.children().map(|(_, child)| child).collect();
                    if let Some(child) =
                        children.iter().find(|child| child.platform.as_ref().is_some_and(|has| covers(platform, has)))
                    {
                        return Ok(child.digest.clone());
                    }
                    for child in children.into_iter().rev().filter(|child| is_index(&child.media_type)) {
                        let reference = ManifestRef::Digest(child.digest.clone());
                        indexes.push(retry(attempts, || registry.get_manifest(repo, &reference)).await?);
                    }
                }
                let message = format!("no manifest for {}/{} in {reference}", platform.os, platform.architecture);
                Err(Error::new(Code::ManifestUnknown, message))
            }
            (_, ManifestRef::Digest(digest)) => Ok(digest.clone()),
            (_, ManifestRef::Tag(_)) => {
                let head = || from.registry.head_manifest(&from.repo, reference);
                retry(attempts, head).await.map(|root| root.digest)
            }
        }
    }

    /// Tells whether a manifest of an index is to be copied.
    pub(super) fn wants(&self, child: &Descriptor) -> bool {
        match (self, &child.platform) {
            (Self::All | Self::One(_), _) => true,
            (Self::Only(platforms), Some(has)) => platforms.iter().any(|wanted| covers(wanted, has)),
            // Its manifests are looked at one by one.
            (Self::Only(_), None) => is_index(&child.media_type),
        }
    }
}

/// Tells whether a platform is what is wanted.
fn covers(wanted: &Platform, has: &Platform) -> bool {
    wanted.os == has.os
        && wanted.architecture == has.architecture
        && (wanted.variant.is_none() || wanted.variant == has.variant)
        && (wanted.os_version.is_none() || wanted.os_version == has.os_version)
        && wanted.os_features.iter().all(|feature| has.os_features.contains(feature))
}

pub(super) fn is_index(media_type: &str) -> bool {
    matches!(media_type, media_type::INDEX | media_type::DOCKER_INDEX)
}

/// Indexes that are read to find one manifest.
const MAX_INDEXES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_compared_as_far_as_it_is_given() {
        let platform = |text: &str| {
            let mut parts = text.split('/').map(str::to_owned);
            Platform {
                os: parts.next().unwrap(),
                architecture: parts.next().unwrap(),
                variant: parts.next(),
                ..Platform::default()
            }
        };
        for (wanted, has, want) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v7", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm/v7", "linux/arm", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/amd64", "unknown/unknown", false),
        ] {
            assert_eq!(covers(&platform(wanted), &platform(has)), want, "{wanted} {has}");
        }
    }
}
