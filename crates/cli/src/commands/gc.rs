//! `skep gc DIR`.

use futures_util::StreamExt;
use serde::Serialize;
use skep_registry::CollectOptions;
use skep_registry::Collected;
use skep_registry::LayoutOptions;

use super::Session;
use crate::args::Gc;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::serve::layout_in;

#[derive(Default, Serialize)]
struct Answer {
    schema: &'static str,
    dry_run: bool,
    manifests: u64,
    blobs: u64,
    uploads: u64,
    bytes: u64,
    /// One for each blob, `REPO@DIGEST`.
    removed: Vec<String>,
}

pub(super) async fn gc(session: &Session, args: Gc) -> Outcome {
    if !args.dir.is_dir() {
        return Err(Failure::new(Exit::NotFound, format!("there is no directory {}", args.dir.display())));
    }
    let layout = layout_in(&args.dir, LayoutOptions::default())?;
    let options = CollectOptions { grace: args.grace, untagged: args.untagged, dry_run: args.dry_run };
    let mut answer = Answer { schema: "skep/gc/v1", dry_run: args.dry_run, ..Default::default() };
    let mut failed = 0;
    let mut collected = layout.collect_garbage(options);
    while let Some(came) = collected.next().await {
        match came {
            Ok(came) => answer.add(session.json, &came)?,
            Err(error) => {
                failed += 1;
                Failure::from(error).say(session.json);
            }
        }
    }
    session.answer(&answer, || answer.words())?;
    match failed {
        0 => Ok(()),
        failed => Err(Failure::new(Exit::Partial, format!("{} not collected", output::count(failed, "repository")))
            .hint("a manifest that cannot be read may name any blob; `skep rm REPO@DIGEST` removes it")),
    }
}

impl Answer {
    /// Says what went in a repository, or keeps it for later.
    fn add(&mut self, json: bool, came: &Collected) -> Outcome {
        self.manifests += came.manifests.len() as u64;
        self.blobs += came.blobs.len() as u64;
        self.uploads += came.uploads;
        self.bytes += came.bytes;
        for (digest, size) in &came.blobs {
            let name = format!("{}@{digest}", came.repo);
            if json {
                self.removed.push(name);
            } else {
                output::text(&format!("{name} {size}\n"))?;
            }
        }
        Ok(())
    }

    fn words(&self) -> String {
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let counts = [(self.blobs, "blob"), (self.manifests, "untagged manifest"), (self.uploads, "unfinished upload")];
        let counts = counts.map(|(number, noun)| output::count(number, noun)).join(", ");
        format!("{verb} {counts}: {}", output::size(self.bytes))
    }
}
