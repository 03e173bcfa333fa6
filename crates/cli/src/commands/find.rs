//! `skep find REF [PATH]`.

use serde::Serialize;
use skep::Archive;
use skep::Node;

use super::Session;
use super::item::Columns;
use super::item::Item;
use super::item::join;
use super::item::normal;
use super::item::pinned;
use super::item::single;
use crate::args::Find;
use crate::args::Kind;
use crate::exit::Outcome;
use crate::output;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    path: String,
    entries: Vec<Item>,
}

pub(super) async fn find(session: &Session, args: Find) -> Outcome {
    let pulled = session.client.pull(&args.from).await?;
    let start = normal(&args.start);
    let mut search = Search {
        archive: &pulled,
        args: &args,
        json: session.json && !args.print0,
        text: String::new(),
        found: Vec::new(),
    };
    if single(&pulled, &start)?.is_some() {
        let (dir, name) = start.rsplit_once('/').unwrap_or(("", &start));
        search.look_at(dir, name, &pulled.node(&start)?, 0)?;
    } else {
        search.below(&start, 1)?;
    }
    let Search { text, found: entries, .. } = search;
    if session.json && !args.print0 {
        let r#ref = pinned(&args.from, &pulled);
        return output::json(&Answer { schema: "skep/find/v1", r#ref, path: start, entries });
    }
    output::text(&text)
}

struct Search<'a> {
    archive: &'a Archive,
    args: &'a Find,
    json: bool,
    /// What is to be printed.
    text: String,
    /// What goes into JSON.
    found: Vec<Item>,
}

impl Search<'_> {
    fn below(&mut self, dir: &str, depth: usize) -> Outcome {
        if self.args.max_depth.is_some_and(|deepest| depth > deepest) {
            return Ok(());
        }
        for (name, node) in self.archive.read_dir(dir)? {
            self.look_at(dir, name, &node, depth)?;
            if let Node::Directory(_) = node {
                self.below(&join(dir, name), depth + 1)?;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, dir: &str, name: &str, node: &Node<'_>, depth: usize) -> Outcome {
        if self.args.min_depth.is_some_and(|highest| depth < highest) || !self.is_wanted(dir, name, node)? {
            return Ok(());
        }
        let item = Item::new(dir, name, node);
        if self.json {
            self.found.push(item);
            return Ok(());
        }
        if self.args.print0 {
            self.text.push_str(&item.path);
            self.text.push('\0');
        } else {
            let columns = Columns { long: self.args.long, human: false, digest: false };
            self.text.push_str(&item.line(&item.path, columns));
            self.text.push('\n');
        }
        if self.text.len() > PRINTED_AT_ONCE {
            output::text(&std::mem::take(&mut self.text))?;
        }
        Ok(())
    }

    fn is_wanted(&self, dir: &str, name: &str, node: &Node<'_>) -> Outcome<bool> {
        let args = self.args;
        let (kind, size, mtime_ns) = match node {
            Node::Directory(dir) => (Kind::Directory, None, dir.map(|dir| dir.mtime_ns)),
            Node::File(file) => (Kind::File, Some(file.original_size), Some(file.mtime_ns)),
            Node::Symlink(link) => (Kind::Symlink, None, Some(link.mtime_ns)),
        };
        let mtime_ns = mtime_ns.map(i128::from);
        let is_newer = |than: jiff::Timestamp| mtime_ns.is_some_and(|time| time > than.as_nanosecond());
        let is_older = |than: jiff::Timestamp| mtime_ns.is_some_and(|time| time < than.as_nanosecond());
        let is_it = (args.kinds.is_empty() || args.kinds.contains(&kind))
            && args.size.iter().all(|test| size.is_some_and(|size| test.admits(size)))
            && args.newer_than.is_none_or(is_newer)
            && args.older_than.is_none_or(is_older)
            && (args.name.is_empty() || args.name.iter().any(|glob| glob.matches(name)))
            && (args.whole.is_empty() || args.whole.iter().any(|glob| glob.matches(&join(dir, name))));
        if !is_it || !args.empty {
            return Ok(is_it);
        }
        Ok(match kind {
            Kind::Directory => self.archive.read_dir(&join(dir, name))?.is_empty(),
            Kind::File => size == Some(0),
            Kind::Symlink => false,
        })
    }
}

/// Bytes of text that are printed together.
const PRINTED_AT_ONCE: usize = 64 << 10;
