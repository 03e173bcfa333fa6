//! Nearest: which tag may have been meant by one that is not there.

use std::time::Duration;

use futures_util::StreamExt;
use skep::Address;
use skep::Store;
use skep_registry::RegistryExt;
use skep_registry::Tag;

use super::Session;
use crate::exit::Failure;
use crate::near::near;

/// Tags that are looked at.
const MAX_TAGS: usize = 10_000;
/// How long a hint may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Adds the tags that are near the one of an address, if that one is not there.
pub(super) async fn hinted(session: &Session, failure: Failure, address: &Address) -> Failure {
    if let Store::Layout(dir) = &address.store
        && !dir.join("oci-layout").exists()
    {
        return failure.hint(format!("{} is no OCI layout; `skep push` makes one", dir.display()));
    }
    let tag = address.tag_or_latest();
    let Ok(Some(tags)) = tokio::time::timeout(PATIENCE, tags(session, address)).await else { return failure };
    if address.digest.is_some() || tags.contains(&tag) {
        return failure;
    }
    let repo = Address { tag: None, digest: None, ..address.clone() };
    let near = near(tag.as_str(), tags.iter().map(Tag::as_str));
    failure.hint(match near.is_empty() {
        true if tags.is_empty() => format!("{repo} has no tags at all"),
        true => format!("{repo} has no tag {tag}; `skep tags {repo}` lists those that it has"),
        false => format!("{repo} has no tag {tag}; near it: {}", near.join(", ")),
    })
}

/// The tags of the repository; none if they cannot be had.
async fn tags(session: &Session, address: &Address) -> Option<Vec<Tag>> {
    let (registry, repo) = session.client.registry(&address.store).ok()?;
    let tags: Vec<_> = registry.tags(&repo).take(MAX_TAGS).collect().await;
    tags.into_iter().collect::<Result<_, _>>().ok()
}
