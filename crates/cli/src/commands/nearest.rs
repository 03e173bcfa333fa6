//! Nearest: which tag may have been meant by one that is not there.

use std::time::Duration;

use futures_util::StreamExt;
use skep::Address;
use skep_registry::RegistryExt;
use skep_registry::Tag;

use super::Session;
use crate::exit::Failure;

/// Tags that are looked at.
const MAX_TAGS: usize = 10_000;
/// How long a hint may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Tags that are named.
const MAX_NAMED: usize = 3;

/// Adds the tags that are near the one of an address, if that one is not there.
pub(super) async fn hinted(session: &Session, failure: Failure, address: &Address) -> Failure {
    let tag = address.tag_or_latest();
    let Ok(Some(tags)) = tokio::time::timeout(PATIENCE, tags(session, address)).await else { return failure };
    if address.digest.is_some() || tags.contains(&tag) {
        return failure;
    }
    let repo = Address { tag: None, digest: None, ..address.clone() };
    let near = near(tag.as_str(), &tags);
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

/// The tags with the fewest letters to change, the nearest first.
fn near<'a>(wanted: &str, tags: &'a [Tag]) -> Vec<&'a str> {
    let bound = (wanted.len() / 2).max(1);
    let far = |tag: &'a Tag| (distance(wanted, tag.as_str()), tag.as_str());
    let mut near: Vec<_> = tags.iter().map(far).filter(|(distance, _)| *distance <= bound).collect();
    near.sort_unstable();
    near.into_iter().take(MAX_NAMED).map(|(_, tag)| tag).collect()
}

/// Letters to add, leave out or change to make one word of another.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, candidate) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(byte != candidate);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (one, other, want) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("v1", "v2", 1),
            ("latest", "lastest", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), want, "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_come_first() {
        let tags = ["latest", "v1.2", "v1.20", "v2.2", "nightly", "v1.3"].map(|tag| tag.parse().unwrap());
        assert_eq!(near("v1.1", &tags), ["v1.2", "v1.3", "v1.20"]);
        assert_eq!(near("lates", &tags), ["latest"]);
        assert_eq!(near("x", &tags), [""; 0]);
    }
}
