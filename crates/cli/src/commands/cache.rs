//! `skep cache status|clear|prune|verify|dir`.

use std::path::Path;

use serde::Serialize;
use skep_registry::Store;
use skep_registry::StoreOptions;

use super::Session;
use crate::args::Cache;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    dir: String,
    /// Whether commands use it.
    enabled: bool,
    /// What is there, when the command is done.
    entries: u64,
    bytes: u64,
    max_bytes: u64,
    /// What was removed.
    removed_entries: u64,
    removed_bytes: u64,
    /// What was found to be as it was written, and not to be; only when everything was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<u64>,
}

#[derive(Serialize)]
struct Place {
    schema: &'static str,
    dir: String,
}

pub(super) async fn cache(session: &Session, args: Cache) -> Outcome {
    let config = &session.config.cache;
    let Some(dir) = &config.dir else {
        let message = "neither SKEP_CACHE_DIR, XDG_CACHE_HOME nor HOME says where the cache is";
        return Err(Failure::new(Exit::NotFound, message));
    };
    if matches!(args, Cache::Dir) {
        let dir = dir.display().to_string();
        if session.json {
            return output::json(&Place { schema: "skep/cache-dir/v1", dir });
        }
        return output::text(&format!("{dir}\n"));
    }
    let store = Store::open(dir, StoreOptions { max_bytes: config.max_bytes })?;
    let before = store.stats().await;
    let mut checked = None;
    // What is not there is not made to be forgotten.
    if dir.exists() {
        match args {
            Cache::Clear => store.clear().await?,
            Cache::Prune { to } => store.prune(to.unwrap_or(config.max_bytes)).await?,
            Cache::Verify => checked = Some(store.verify().await?),
            Cache::Dir | Cache::Status => {}
        }
    }
    let after = store.stats().await;
    let answer = Answer {
        schema: "skep/cache/v1",
        dir: dir.display().to_string(),
        enabled: config.is_enabled,
        entries: after.entries,
        bytes: after.bytes,
        max_bytes: after.max_bytes,
        removed_entries: before.entries.saturating_sub(after.entries),
        removed_bytes: before.bytes.saturating_sub(after.bytes),
        whole: checked.map(|checked| checked.whole),
        broken: checked.map(|checked| checked.broken),
    };
    if session.json { output::json(&answer) } else { output::text(&answer.words(dir)) }
}

impl Answer {
    fn words(&self, dir: &Path) -> String {
        let used = if self.enabled { "" } else { ", not used" };
        let (entries, bytes, max) = (count(self.entries, "value"), size(self.bytes), size(self.max_bytes));
        let mut text = format!("{}: {entries}, {bytes} of {max}{used}\n", escape(&dir.display().to_string()));
        if let (Some(whole), Some(broken)) = (self.whole, self.broken) {
            text += &format!("{} whole, {} broken and removed\n", count(whole, "value"), count(broken, "value"));
        } else if self.removed_entries > 0 {
            text += &format!("removed {}, {}\n", count(self.removed_entries, "value"), size(self.removed_bytes));
        }
        text
    }
}
