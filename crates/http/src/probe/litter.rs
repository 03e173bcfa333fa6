//! Litter: what a probe has written, and how it goes away again.

use std::sync::MutexGuard;

use http::Method;
use skep_registry::Digest;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use url::Url;

use crate::auth::Scope;
use crate::client::send;
use crate::client::send::same_origin;
use crate::probe::Finding;
use crate::probe::Probe;
use crate::probe::Question;

/// Something that was written, or may have been: it is noted before it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Litter {
    Blob(RepoName, Digest),
    /// With all its tags.
    Manifest(RepoName, Digest),
    /// The URL of an upload.
    Session(RepoName, String),
    Tag(RepoName, ManifestRef),
}

impl Probe {
    pub(super) fn drop_later(&self, litter: Litter) {
        self.litter().push(litter);
    }

    /// Notes that something is gone.
    pub(super) fn is_gone(&self, gone: &Litter) {
        self.litter().retain(|litter| litter != gone);
    }

    fn litter(&self) -> MutexGuard<'_, Vec<Litter>> {
        // Nothing under the lock can panic half-way.
        self.litter.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

pub(super) async fn clean_up(probe: &Probe) -> Finding {
    let question = Question::new("clean-up", "removed what was written");
    let mut all = probe.litter().clone();
    // Manifests first, because they name blobs; then the tags that did not go with them.
    all.sort_by_key(|litter| match litter {
        Litter::Session(..) => 0,
        Litter::Manifest(..) => 1,
        Litter::Tag(..) => 2,
        Litter::Blob(..) => 3,
    });
    let count = all.len();
    let mut left = Vec::new();
    for litter in all {
        match remove(probe, &litter).await {
            Ok(()) => probe.is_gone(&litter),
            // Where uploads cannot be cancelled, they end by themselves.
            Err(_) if matches!(litter, Litter::Session(..)) => probe.is_gone(&litter),
            Err(error) => {
                tracing::debug!(%error, ?litter, "not removed");
                left.push(match litter {
                    Litter::Blob(repo, digest) | Litter::Manifest(repo, digest) => format!("{repo}@{digest}"),
                    Litter::Session(repo, _) => format!("an upload in {repo}"),
                    Litter::Tag(repo, tag) => format!("{repo}:{tag}"),
                });
            }
        }
    }
    match left.is_empty() {
        true => question.good(format!("nothing is left of {count} things")),
        false => question.lacks(
            format!("left behind: {}", left.join(", ")),
            "remove it as the registry wants it, or leave it: it is small, and garbage collection takes what has no tag",
        ),
    }
}

async fn remove(probe: &Probe, litter: &Litter) -> Result<()> {
    let client = &probe.client;
    let removed = match litter {
        Litter::Blob(repo, digest) => client.delete_blob(repo, digest).await,
        Litter::Manifest(repo, digest) => client.delete_manifest(repo, &digest.clone().into()).await,
        Litter::Session(repo, url) => cancel(probe, repo, url).await.map(drop),
        Litter::Tag(repo, tag) => client.delete_manifest(repo, tag).await,
    };
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        // Registries that delete no tags may refuse also for one that went with its manifest.
        Err(error) => match litter {
            Litter::Tag(repo, tag) if is_missing(client.head_manifest(repo, tag).await) => Ok(()),
            Litter::Manifest(repo, digest) if is_missing(client.head_manifest(repo, &digest.clone().into()).await) => {
                Ok(())
            }
            Litter::Blob(repo, digest) if is_missing(client.head_blob(repo, digest).await) => Ok(()),
            _ => Err(error),
        },
        removed => removed,
    }
}

fn is_missing<T>(found: Result<T>) -> bool {
    found.is_err_and(|error| error.is_not_found())
}

/// Cancels an upload, and gives the status that came.
pub(super) async fn cancel(probe: &Probe, repo: &RepoName, url: &str) -> Result<u16> {
    let Ok(url) = Url::parse(url) else { return Ok(0) };
    if !same_origin(&url, probe.client.base_url()) {
        return Ok(0);
    }
    let answer = probe.client.send(send::Request::new(Method::DELETE, url, Scope::push(repo))).await?;
    Ok(answer.status())
}
