//! `skep stat REF PATH...`.

use std::fmt::Write as _;

use serde::Serialize;
use skep::Archive;
use skep::Codec;
use skep::Node;

use super::Session;
use super::item::Item;
use super::item::normal;
use super::item::pinned;
use crate::args::Stat;
use crate::exit::Failures;
use crate::exit::Outcome;
use crate::output;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    entries: Vec<Card>,
}

/// All that the index says of a path.
#[derive(Serialize)]
struct Card {
    #[serde(flatten)]
    item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<&'static str>,
    /// Where the stored bytes begin in the data blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// How many parts can be read and verified alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_size: Option<u32>,
    /// Where a link leads in the end; null if that is nowhere in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    leads_to: Option<Option<String>>,
    /// What is below a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<Below>,
}

#[derive(Serialize)]
struct Below {
    files: u64,
    size: u64,
    stored: u64,
}

pub(super) async fn stat(session: &Session, args: Stat) -> Outcome {
    let pulled = session.client.pull(&args.from).await?;
    let mut failures = Failures::of(args.paths.len(), session.json);
    let mut entries = Vec::new();
    for path in &args.paths {
        entries.extend(failures.note(card(&pulled, &normal(path))));
    }
    if session.json {
        if !entries.is_empty() {
            output::json(&Answer { schema: "skep/stat/v1", r#ref: pinned(&args.from, &pulled), entries })?;
        }
    } else {
        output::text(&entries.iter().map(words).collect::<Vec<_>>().join("\n"))?;
    }
    failures.outcome()
}

fn card(archive: &Archive, path: &str) -> Outcome<Card> {
    let node = archive.node(path)?;
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut card = Card {
        item: Item::new(dir, name, &node),
        uid: None,
        gid: None,
        compression: None,
        offset: None,
        chunks: None,
        chunk_size: None,
        leads_to: None,
        below: None,
    };
    match node {
        Node::File(file) => {
            (card.uid, card.gid, card.offset) = (Some(file.uid), Some(file.gid), Some(file.data_offset));
            card.compression = Some(match file.codec {
                Codec::None => "none",
                Codec::Zstd => "zstd",
            });
            card.chunks = file.chunks.map(|chunks| chunks.len());
            card.chunk_size = file.chunks.map(|chunks| chunks.size());
        }
        Node::Directory(recorded) => {
            (card.uid, card.gid) = (recorded.map(|dir| dir.uid), recorded.map(|dir| dir.gid));
            let stats = archive.stats(path);
            card.below = Some(Below { files: stats.files, size: stats.original_size, stored: stats.stored_size });
        }
        Node::Symlink(link) => {
            (card.uid, card.gid) = (Some(link.uid), Some(link.gid));
            let resolved = archive.resolve(path).ok().map(|resolved| resolved.into_owned());
            card.leads_to = Some(resolved.filter(|resolved| archive.exists(resolved)));
        }
    }
    Ok(card)
}

fn words(card: &Card) -> String {
    let mut text = format!("{}\n", escape(if card.item.path.is_empty() { "." } else { &card.item.path }));
    let mut line = |name: &str, value: String| {
        writeln!(text, "  {name:<12}{}", escape(&value)).expect("strings can be written to");
    };
    let exact = |bytes: u64| if bytes < 1024 { size(bytes) } else { format!("{} ({bytes} B)", size(bytes)) };
    line("kind", card.item.kind.to_owned());
    if let Some(bytes) = card.item.size {
        line("size", exact(bytes));
    }
    if let (Some(bytes), Some(stored)) = (card.item.size, card.item.stored) {
        let ratio = if bytes == 0 { 100.0 } else { stored as f64 * 100.0 / bytes as f64 };
        line("stored", format!("{}, {ratio:.0} %", exact(stored)));
    }
    if let Some(compression) = card.compression {
        line("compression", compression.to_owned());
    }
    if let (Some(chunks), Some(chunk_size)) = (card.chunks, card.chunk_size) {
        line("chunks", format!("{chunks} of {}", size(u64::from(chunk_size))));
    }
    if let Some(offset) = card.offset {
        line("offset", offset.to_string());
    }
    if let Some(below) = &card.below {
        let (files, bytes, stored) = (count(below.files, "file"), exact(below.size), exact(below.stored));
        line("below", format!("{files}, {bytes}, stored {stored}"));
    }
    if let Some(mode) = &card.item.mode {
        line("mode", mode.clone());
    }
    if let (Some(uid), Some(gid)) = (card.uid, card.gid) {
        line("owner", format!("{uid}:{gid}"));
    }
    if let Some(time) = card.item.mtime_ns {
        line("changed", output::exact_time(time));
    }
    if let Some(digest) = &card.item.digest {
        line("digest", digest.clone());
    }
    if let Some(target) = &card.item.target {
        line("target", target.clone());
    }
    if let Some(leads_to) = &card.leads_to {
        line("leads to", leads_to.clone().unwrap_or_else(|| "nothing in the archive".to_owned()));
    }
    text
}
