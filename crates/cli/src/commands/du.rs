//! `skep du REF [PATH]`.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt::Write as _;

use serde::Serialize;
use skep::Archive;
use skep::Entry;
use skep::Node;

use super::Session;
use super::item::amount;
use super::item::join;
use super::item::normal;
use super::item::pinned;
use super::item::single;
use crate::args::Du;
use crate::args::Sort;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    path: String,
    /// Content that several files share counts once.
    shared_once: bool,
    entries: Vec<Sum>,
}

/// What is below a path.
#[derive(Serialize)]
struct Sum {
    path: String,
    kind: &'static str,
    files: u64,
    size: u64,
    stored: u64,
}

pub(super) async fn du(session: &Session, args: Du) -> Outcome {
    if args.order.sort == Sort::Time {
        return Err(Failure::new(Exit::Usage, "sums have no time to sort by").hint("name, size and stored are there"));
    }
    let pulled = session.client.pull(&args.from).await?;
    let root = normal(&args.path);
    let levels = if args.summarize { 0 } else { args.max_depth.unwrap_or(usize::MAX) };
    let mut count =
        Count { archive: &pulled, args: &args, contents: HashSet::new(), ranges: HashSet::new(), sums: Vec::new() };
    if single(&pulled, &root)?.is_some() {
        let mut sum = Sum { path: root.clone(), kind: "file", files: 0, size: 0, stored: 0 };
        if let Ok(entry) = pulled.entry(&root) {
            count.add(&mut sum, &entry);
        }
        count.sums.push(sum);
    } else {
        count.directory(&root, levels)?;
    }
    let mut entries = count.sums;
    match args.order.sort {
        Sort::Size => entries.sort_by_key(|sum| Reverse(sum.size)),
        Sort::Stored => entries.sort_by_key(|sum| Reverse(sum.stored)),
        Sort::Name | Sort::Time => {}
    }
    if args.order.reverse {
        entries.reverse();
    }
    if session.json {
        let (r#ref, path, shared_once) = (pinned(&args.from, &pulled), root, !args.apparent);
        return output::json(&Answer { schema: "skep/du/v1", r#ref, path, shared_once, entries });
    }
    let mut text = String::new();
    for sum in &entries {
        let bytes = amount(if args.stored { sum.stored } else { sum.size }, args.human_readable);
        let (path, end) = (escape(&sum.path), if sum.kind == "directory" && !sum.path.is_empty() { "/" } else { "" });
        let path = if path.is_empty() { "." } else { &path };
        writeln!(text, "{bytes:>12}  {path}{end}").expect("strings can be written to");
    }
    output::text(&text)
}

struct Count<'a> {
    archive: &'a Archive,
    args: &'a Du,
    /// Contents that were counted, by their hash.
    contents: HashSet<&'a [u8; 32]>,
    /// Stored bytes that were counted, by where they begin.
    ranges: HashSet<u64>,
    sums: Vec<Sum>,
}

impl<'a> Count<'a> {
    /// Counts a directory after all that is in it, and keeps the sums of so many levels.
    fn directory(&mut self, dir: &str, levels: usize) -> Outcome<(u64, u64, u64)> {
        let mut sum = Sum { path: dir.to_owned(), kind: "directory", files: 0, size: 0, stored: 0 };
        for (name, node) in self.archive.read_dir(dir)? {
            match node {
                Node::Directory(_) => {
                    let kept = self.sums.len();
                    let (files, size, stored) = self.directory(&join(dir, name), levels.saturating_sub(1))?;
                    if levels == 0 {
                        self.sums.truncate(kept);
                    }
                    sum.files += files;
                    sum.size += size;
                    sum.stored += stored;
                }
                Node::File(entry) => {
                    let mut alone = Sum { path: join(dir, name), kind: "file", files: 0, size: 0, stored: 0 };
                    self.add(&mut alone, &entry);
                    sum.files += 1;
                    sum.size += alone.size;
                    sum.stored += alone.stored;
                    if self.args.all && levels > 0 {
                        self.sums.push(alone);
                    }
                }
                Node::Symlink(_) => {}
            }
        }
        let counted = (sum.files, sum.size, sum.stored);
        self.sums.push(sum);
        Ok(counted)
    }

    fn add(&mut self, sum: &mut Sum, entry: &Entry<'a>) {
        sum.files += 1;
        if self.args.apparent || self.contents.insert(entry.hash) {
            sum.size += entry.original_size;
        }
        // Nothing is stored of an empty file, and something else may begin there.
        if self.args.apparent || (entry.data_size > 0 && self.ranges.insert(entry.data_offset)) {
            sum.stored += entry.data_size;
        }
    }
}
