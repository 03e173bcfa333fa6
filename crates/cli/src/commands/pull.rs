//! `skep pull REF DIR`.

use serde::Serialize;
use skep::ExtractOptions;

use super::Session;
use crate::args::Pull;
use crate::exit::Outcome;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    digest: String,
    dir: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
    skipped: u64,
    removed: u64,
}

pub(super) async fn pull(session: &Session, args: Pull) -> Outcome {
    let pulled = session.client.pull_with(&args.from, session.lasting()).await?;
    let strip = args.strip.map_or_else(String::new, |path| skep::normalize(&path).into_owned());
    let strip = if strip == "." { String::new() } else { strip };
    let select = if strip.is_empty() { Vec::new() } else { vec![strip.clone()] };
    let options = ExtractOptions { select, strip, clean: args.clean, ..args.extract.options()? };
    let extracted = pulled.extract(&args.dir, options, session.on_progress()).await?;
    let answer = Answer {
        schema: "skep/pull/v1",
        r#ref: args.from.at(pulled.digest().clone()).to_string(),
        digest: pulled.digest().to_string(),
        dir: args.dir.display().to_string(),
        files: extracted.files,
        directories: extracted.directories,
        symlinks: extracted.symlinks,
        size: extracted.bytes,
        skipped: extracted.skipped,
        removed: extracted.removed,
    };
    session.answer(&answer, || {
        let (files, bytes) = (count(answer.files, "file"), size(answer.size));
        let (skipped, removed) = (kept(answer.skipped), removed(answer.removed));
        format!("pulled {}\n{files}, {bytes}, into {}{skipped}{removed}", answer.r#ref, escape(&answer.dir))
    })
}

/// Words for what was there and is kept.
pub(super) fn kept(number: u64) -> String {
    if number == 0 { String::new() } else { format!("; {number} kept that were there") }
}

fn removed(number: u64) -> String {
    if number == 0 { String::new() } else { format!("; {number} removed that were not") }
}
