//! `skep tags REPO` and `skep repos HOST`.

use std::fmt::Display;

use futures_util::Stream;
use futures_util::StreamExt;
use serde::Serialize;
use skep::Scheme;
use skep_registry::RegistryExt;

use super::Session;
use crate::args::Repos;
use crate::args::Tags;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;

#[derive(Serialize)]
struct Answer<'a> {
    schema: &'static str,
    of: &'a str,
    items: Vec<String>,
}

pub(super) async fn tags(session: &Session, args: Tags) -> Outcome {
    super::bare(&args.repo)?;
    let (registry, repo) = session.client.registry(&args.repo.store)?;
    print(session, "skep/tags/v1", &args.repo.to_string(), registry.tags(&repo)).await
}

pub(super) async fn repos(session: &Session, args: Repos) -> Outcome {
    let (host, scheme) = match args.host.split_once("://") {
        Some(("http", host)) => (host, Some(Scheme::Http)),
        Some(("https", host)) => (host, Some(Scheme::Https)),
        Some(_) => return Err(Failure::new(Exit::Usage, format!("{:?} is not a registry", args.host))),
        None => (args.host.as_str(), None),
    };
    let registry = session.client.host(host.trim_end_matches('/'), scheme)?;
    print(session, "skep/repos/v1", &args.host, registry.repos()).await
}

/// Prints names as they come, page by page; in JSON when all are there.
async fn print<T: Display>(
    session: &Session,
    schema: &'static str,
    of: &str,
    mut names: impl Stream<Item = skep_registry::Result<T>> + Unpin,
) -> Outcome {
    let mut items = Vec::new();
    while let Some(name) = names.next().await.transpose()? {
        if session.json {
            items.push(name.to_string());
        } else {
            output::text(&format!("{name}\n"))?;
        }
    }
    if session.json { output::json(&Answer { schema, of, items }) } else { Ok(()) }
}
