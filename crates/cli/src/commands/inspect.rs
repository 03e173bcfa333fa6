//! `skep inspect REF`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures_util::TryStreamExt;
use serde::Serialize;
use skep::Address;
use skep::Codec;
use skep::Index;
use skep_registry::Annotations;
use skep_registry::Digest;
use skep_registry::RegistryExt;

use super::Session;
use super::item::digest;
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
    /// Stored bytes for each byte of content.
    ratio: f64,
    /// How many files are stored in which way.
    compression: BTreeMap<&'static str, u64>,
    /// Files in parts that can be read alone, and these parts.
    chunked_files: u64,
    chunks: u64,
    index: Layer,
    data: Layer,
    largest: Vec<Large>,
    annotations: Annotations,
    /// How many manifests of which type refer to this one; null if the registry does not tell.
    referrers: Option<BTreeMap<String, u64>>,
}

#[derive(Serialize)]
struct Layer {
    digest: String,
    size: u64,
}

#[derive(Serialize)]
struct Large {
    path: String,
    size: u64,
    stored: u64,
    digest: String,
}

pub(super) async fn inspect(session: &Session, args: Inspect) -> Outcome {
    let pulled = session.client.pull(&args.from).await?;
    let (manifest, index) = (pulled.manifest(), pulled.index());
    let layer = |blob: &skep_registry::Descriptor| Layer { digest: blob.digest.to_string(), size: blob.size };
    let mut answer = Answer {
        schema: "skep/inspect/v1",
        r#ref: super::item::pinned(&args.from, &pulled),
        digest: pulled.digest().to_string(),
        created: manifest.created.map(|created| created.to_string()),
        files: index.len() as u64,
        directories: index.directories().len() as u64,
        symlinks: index.symlinks().len() as u64,
        size: 0,
        stored: manifest.data.size,
        ratio: 1.0,
        compression: BTreeMap::new(),
        chunked_files: 0,
        chunks: 0,
        index: layer(&manifest.index),
        data: layer(&manifest.data),
        largest: largest(index),
        annotations: manifest.annotations.clone(),
        referrers: referrers(session, &args.from, pulled.digest()).await,
    };
    for entry in index.entries_as_written() {
        answer.size += entry.original_size;
        let codec = match entry.codec {
            Codec::None => "none",
            Codec::Zstd => "zstd",
        };
        *answer.compression.entry(codec).or_default() += 1;
        if let Some(chunks) = entry.chunks {
            answer.chunked_files += 1;
            answer.chunks += chunks.len() as u64;
        }
    }
    if answer.size > 0 {
        answer.ratio = answer.stored as f64 / answer.size as f64;
    }
    if session.json { output::json(&answer) } else { output::text(&card(&answer)) }
}

/// The largest files, those that come first by path if there are several of a size.
fn largest(index: &Index) -> Vec<Large> {
    let mut at: Vec<(Reverse<u64>, usize)> = Vec::new();
    for (position, entry) in index.entries().enumerate() {
        at.push((Reverse(entry.original_size), position));
        if at.len() > 1024 {
            at.sort_unstable();
            at.truncate(LARGEST);
        }
    }
    at.sort_unstable();
    let entries = at.into_iter().take(LARGEST).map(|(_, position)| index.entry(position));
    let large = entries.map(|entry| Large {
        path: entry.path.to_owned(),
        size: entry.original_size,
        stored: entry.data_size,
        digest: digest(entry.hash),
    });
    large.collect()
}

/// How many referrers there are of each type. That a registry cannot tell spoils nothing.
async fn referrers(session: &Session, from: &Address, subject: &Digest) -> Option<BTreeMap<String, u64>> {
    let (registry, repo) = session.client.registry(&from.store).ok()?;
    let found: Vec<_> = registry.referrers(&repo, subject, None).try_collect().await.ok()?;
    let mut types = BTreeMap::new();
    for descriptor in found {
        *types.entry(descriptor.artifact_type.unwrap_or(descriptor.media_type)).or_default() += 1;
    }
    Some(types)
}

fn card(answer: &Answer) -> String {
    let mut card = format!("{}\n", escape(&answer.r#ref));
    let mut line = |name: &str, value: String| {
        writeln!(card, "  {name:<12}{}", escape(&value)).expect("strings can be written to");
    };
    line("digest", answer.digest.clone());
    if let Some(created) = &answer.created {
        line("created", created.clone());
    }
    let (files, links) = (count(answer.files, "file"), count(answer.symlinks, "link"));
    line("contents", format!("{files}, {}, {links}", count(answer.directories, "directory")));
    line("size", format!("{} stored in {} ({:.0} %)", size(answer.size), size(answer.stored), answer.ratio * 100.0));
    let ways: Vec<_> =
        answer.compression.iter().map(|(way, files)| format!("{way}: {}", count(*files, "file"))).collect();
    if !ways.is_empty() {
        line("compression", ways.join(", "));
    }
    if answer.chunks > 0 {
        line("chunks", format!("{} in {}", count(answer.chunks, "chunk"), count(answer.chunked_files, "file")));
    }
    line("index", format!("{}  {}", size(answer.index.size), answer.index.digest));
    line("data", format!("{}  {}", size(answer.data.size), answer.data.digest));
    for large in &answer.largest {
        line("large", format!("{:>10}  {}", size(large.size), large.path));
    }
    for (key, value) in &answer.annotations {
        line("annotation", format!("{key}={value}"));
    }
    match &answer.referrers {
        None => line("referrers", "the registry does not tell".to_owned()),
        Some(types) if types.is_empty() => line("referrers", "none".to_owned()),
        Some(types) => types.iter().for_each(|(kind, number)| line("referrers", format!("{number} of {kind}"))),
    }
    card
}

/// Files that are named because they are large.
const LARGEST: usize = 5;
