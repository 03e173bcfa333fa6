//! Asking several registries, and making one answer of theirs.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future;
use futures_util::future::BoxFuture;
use futures_util::future::JoinAll;
use futures_util::stream;

use crate::descriptor::Descriptor;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::name::RepoName;
use crate::name::Tag;
use crate::registry::Registry;
use crate::unify::Quorum;
use crate::unify::ReadPolicy;
use crate::unify::Unified;

/// How errors call a registry.
pub(super) struct Place(pub(super) usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registry {}", self.0)
    }
}

impl Unified {
    /// The first success, as the policy has it.
    pub(super) fn first<'a, T: Send + 'a>(
        &'a self,
        call: impl Fn(&'a dyn Registry) -> BoxFuture<'a, Result<T>>,
    ) -> BoxFuture<'a, Result<T>> {
        let calls = self.members.iter().map(|member| call(&**member)).collect();
        first_of(calls, self.options.read).boxed()
    }

    /// What all registries that know a tag say it is, and the place of the first of them.
    pub(super) fn agree(
        &self,
        repo: &RepoName,
        tag: &Tag,
        heads: Vec<Result<Descriptor>>,
    ) -> Result<(usize, Descriptor)> {
        let mut known = self.answers(heads)?.into_iter();
        let (place, first) = known.next().expect("there is an answer, or an error instead of all");
        for (other, head) in known {
            if head.digest != first.digest {
                let (one, two) = (&first.digest, &head.digest);
                let message = format!("tag {tag} in {repo} is {one} in {} and {two} in {}", Place(place), Place(other));
                // RFC 9110, 15.5.10: a conflict with the current state of the resource.
                return Err(Error::new(Code::Other(TAG_CONFLICT.to_owned()), message).with_status(409));
            }
        }
        Ok((place, first))
    }

    /// The answers of those that know what was asked for, at least one, with the place of each.
    pub(super) fn answers<T>(&self, answers: Vec<Result<T>>) -> Result<Vec<(usize, T)>> {
        let mut known = Vec::new();
        let mut failed = None;
        for (place, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(answer) => known.push((place, answer)),
                Err(error) => failed = Some(graver(failed, error.context(Place(place)))),
            }
        }
        match failed {
            Some(error) if known.is_empty() => Err(error),
            Some(error) if !error.is_not_found() && self.options.quorum == Quorum::All => Err(error),
            Some(error) if !error.is_not_found() => {
                tracing::warn!(%error, "left out a registry that failed");
                Ok(known)
            }
            _ => Ok(known),
        }
    }
}

/// The first success of some calls, none of which has begun.
pub(super) async fn first_of<T>(calls: Vec<BoxFuture<'_, Result<T>>>, policy: ReadPolicy) -> Result<T> {
    let at_once = match policy {
        ReadPolicy::InOrder => 1,
        ReadPolicy::Race => calls.len(),
    };
    let mut answers = stream::iter(calls).buffer_unordered(at_once);
    let mut failed = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => failed = Some(graver(failed, error)),
        }
    }
    Err(failed.unwrap_or_else(|| Error::new(Code::BlobUnknown, "there is no other registry")))
}

/// The answers of all, in their order.
pub(super) fn join<'a, T>(
    members: &'a [Arc<dyn Registry>],
    call: impl Fn(&'a dyn Registry) -> BoxFuture<'a, Result<T>>,
) -> JoinAll<BoxFuture<'a, Result<T>>> {
    future::join_all(members.iter().map(|member| call(&**member)))
}

/// What all have done; else an error that says who has and who has not.
pub(super) fn outcome<T>(results: Vec<Result<T>>) -> Result<Vec<T>> {
    let mut done = Vec::new();
    let mut values = Vec::new();
    let mut failed = Vec::new();
    for (place, result) in results.into_iter().enumerate() {
        match result {
            Ok(value) => {
                done.push(Place(place).to_string());
                values.push(value);
            }
            Err(error) => failed.push((place, error)),
        }
    }
    if failed.is_empty() {
        return Ok(values);
    }
    if done.is_empty() {
        let error = failed.into_iter().map(|(_, error)| error).fold(None, |worst, error| Some(graver(worst, error)));
        return Err(error.expect("one has failed"));
    }
    let failures: Vec<_> = failed.iter().map(|(place, error)| format!("{}: {error}", Place(*place))).collect();
    let (_, first) = failed.swap_remove(0);
    let message = format!("done by {}, not by {}", done.join(", "), failures.join(", nor by "));
    // The texts of all are in the message, so the first one is the cause and does not speak again.
    let error = Error::new(first.code().clone(), message).with_status(first.status());
    Err(match first.detail().cloned() {
        Some(detail) => error.with_detail(detail).with_source(first),
        None => error.with_source(first),
    })
}

/// What a deletion comes to: what some never had is gone when the others have removed it.
pub(super) fn removed(results: Vec<Result<()>>) -> Result<()> {
    let is_missing = |result: &Result<()>| matches!(result, Err(error) if error.is_not_found());
    if results.iter().all(is_missing) {
        return outcome(results).map(|_| ());
    }
    // Kept in their places, which the error names.
    let results = results.into_iter().map(|result| if is_missing(&result) { Ok(()) } else { result });
    outcome(results.collect()).map(|_| ())
}

/// The error that says more: the first one, unless that only says that something is not there.
fn graver(known: Option<Error>, error: Error) -> Error {
    match known {
        Some(known) if !known.is_not_found() || error.is_not_found() => known,
        _ => error,
    }
}

/// The code of tags that registries disagree about.
const TAG_CONFLICT: &str = "TAG_CONFLICT";
