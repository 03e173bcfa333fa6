//! `skep inspect REF`.

use std::fmt::Write as _;

use serde::Serialize;
use skep_registry::Annotations;

use super::Session;
use crate::args::Inspect;
use crate::exit::Outcome;
use crate::output;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    digest: String,
    created: Option<String>,
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
    stored: u64,
    index: Layer,
    data: Layer,
    annotations: Annotations,
}

#[derive(Serialize)]
struct Layer {
    digest: String,
    size: u64,
}

pub(super) async fn inspect(session: &Session, args: Inspect) -> Outcome {
    let inspected = session.client.inspect(&args.from).await?;
    let manifest = &inspected.manifest;
    let layer = |blob: &skep_registry::Descriptor| Layer { digest: blob.digest.to_string(), size: blob.size };
    let answer = Answer {
        schema: "skep/inspect/v1",
        r#ref: args.from.at(manifest.descriptor.digest.clone()).to_string(),
        digest: manifest.descriptor.digest.to_string(),
        created: manifest.created.map(|created| created.to_string()),
        files: inspected.files,
        directories: inspected.directories,
        symlinks: inspected.symlinks,
        size: inspected.original_size,
        stored: manifest.data.size,
        index: layer(&manifest.index),
        data: layer(&manifest.data),
        annotations: manifest.annotations.clone(),
    };
    if session.json {
        return output::json(&answer);
    }
    let (original, stored) = (size(answer.size), size(answer.stored));
    let ratio = inspected.ratio();
    let mut card = format!("{}\n", answer.r#ref);
    let mut line = |name: &str, value: String| {
        writeln!(card, "  {name:<12}{}", escape(&value)).expect("strings can be written to");
    };
    let (files, links) = (count(answer.files, "file"), count(answer.symlinks, "link"));
    line("contents", format!("{files}, {}, {links}", count(answer.directories, "directory")));
    line("size", format!("{original} stored in {stored} ({:.0} %)", ratio * 100.0));
    line("index", format!("{}  {}", size(answer.index.size), answer.index.digest));
    line("data", format!("{}  {}", stored, answer.data.digest));
    if let Some(created) = answer.created {
        line("created", created);
    }
    for (key, value) in &answer.annotations {
        line("annotation", format!("{key}={value}"));
    }
    output::text(&card)
}
