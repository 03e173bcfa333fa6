//! `skep rm REF...`.

use serde::Serialize;
use skep::Address;
use skep_registry::ManifestRef;

use super::Session;
use crate::args::Rm;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Failures;
use crate::exit::Outcome;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    removed: Vec<String>,
}

pub(super) async fn rm(session: &Session, args: Rm) -> Outcome {
    // What is meant has to be said for all of them before the first one goes.
    let chosen = args.refs.iter().map(chosen).collect::<Outcome<Vec<_>>>()?;
    let mut failures = Failures::of(args.refs.len(), session.json);
    let mut answer = Answer { schema: "skep/rm/v1", removed: Vec::new() };
    for (address, reference) in args.refs.iter().zip(&chosen) {
        if failures.note(remove(session, address, reference).await).is_some() {
            answer.removed.push(address.to_string());
        }
    }
    failures.outcome()?;
    session.answer(&answer, || format!("removed {}", answer.removed.join(", ")))
}

/// A digest if there is one, else the tag; `latest` is never meant without being said.
fn chosen(address: &Address) -> Outcome<ManifestRef> {
    match (&address.digest, &address.tag) {
        (Some(digest), None) => Ok(digest.clone().into()),
        (None, Some(tag)) => Ok(tag.clone().into()),
        (None, None) => Err(Failure::new(Exit::Usage, format!("{address} names neither a tag nor a digest"))),
        (Some(_), Some(_)) => Err(Failure::new(Exit::Usage, format!("{address} names a tag and a digest"))
            .hint("REF:TAG removes the tag, REF@DIGEST the manifest with all its tags")),
    }
}

async fn remove(session: &Session, address: &Address, reference: &ManifestRef) -> Outcome {
    let (registry, repo) = session.client.registry(&address.store)?;
    Ok(registry.delete_manifest(&repo, reference).await?)
}
