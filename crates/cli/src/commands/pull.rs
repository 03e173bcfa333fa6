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
}

pub(super) async fn pull(session: &Session, args: Pull) -> Outcome {
    let pulled = session.client.pull_with(&args.from, session.lasting()).await?;
    let options = ExtractOptions { workers: args.jobs, ..Default::default() };
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
    };
    session.answer(&answer, || {
        let (files, bytes) = (count(answer.files, "file"), size(answer.size));
        format!("pulled {}\n{files}, {bytes}, into {}", answer.r#ref, escape(&answer.dir))
    })
}
