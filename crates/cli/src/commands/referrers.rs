//! `skep referrers REF`.

use std::fmt::Write as _;

use futures_util::TryStreamExt;
use serde::Serialize;
use skep_registry::Annotations;
use skep_registry::Digest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;

use super::Session;
use crate::args;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

/// How deep what refers to what refers is followed.
const MAX_DEPTH: usize = 8;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    digest: String,
    referrers: Vec<Referrer>,
}

#[derive(Serialize)]
struct Referrer {
    digest: String,
    media_type: String,
    artifact_type: Option<String>,
    size: u64,
    annotations: Annotations,
    referrers: Vec<Referrer>,
}

pub(super) async fn referrers(session: &Session, args: args::Referrers) -> Outcome {
    let (registry, repo) = session.client.registry(&args.from.store)?;
    let subject = match &args.from.digest {
        Some(digest) => digest.clone(),
        None => registry.head_manifest(&repo, &args.from.manifest()).await?.digest,
    };
    let referrers = gather(&*registry, &repo, &subject, args.artifact_type.as_deref(), MAX_DEPTH).await?;
    let answer = Answer {
        schema: "skep/referrers/v1",
        r#ref: args.from.at(subject.clone()).to_string(),
        digest: subject.to_string(),
        referrers,
    };
    if session.json {
        return output::json(&answer);
    }
    let mut text = format!("{}\n", answer.r#ref);
    draw(&answer.referrers, "", &mut text);
    output::text(&text)
}

/// Those of a type, each with all that refers to it.
async fn gather(
    registry: &dyn Registry,
    repo: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
    depth: usize,
) -> Outcome<Vec<Referrer>> {
    let found: Vec<_> = registry.referrers(repo, subject, artifact_type).try_collect().await?;
    let mut referrers = Vec::with_capacity(found.len());
    for descriptor in found {
        let below = match depth {
            0 => Vec::new(),
            depth => Box::pin(gather(registry, repo, &descriptor.digest, None, depth - 1)).await?,
        };
        referrers.push(Referrer {
            digest: descriptor.digest.to_string(),
            media_type: descriptor.media_type,
            artifact_type: descriptor.artifact_type,
            size: descriptor.size,
            annotations: descriptor.annotations,
            referrers: below,
        });
    }
    Ok(referrers)
}

fn draw(referrers: &[Referrer], indent: &str, text: &mut String) {
    for (at, referrer) in referrers.iter().enumerate() {
        let last = at + 1 == referrers.len();
        let kind = escape(referrer.artifact_type.as_deref().unwrap_or(&referrer.media_type));
        let (branch, below) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        writeln!(text, "{indent}{branch}{} {kind}", referrer.digest).expect("strings can be written to");
        draw(&referrer.referrers, &format!("{indent}{below}"), text);
    }
}
