//! `skep ls REF [PATH]`.

use std::fmt::Write as _;

use serde::Serialize;
use skep::Archive;

use super::Session;
use super::item::Columns;
use super::item::Item;
use super::item::normal;
use super::item::pinned;
use super::item::single;
use crate::args::Ls;
use crate::args::Order;
use crate::exit::Outcome;
use crate::output;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    path: String,
    entries: Vec<Item>,
}

pub(super) async fn ls(session: &Session, args: Ls) -> Outcome {
    let pulled = session.client.pull(&args.from).await?;
    let root = normal(&args.path);
    let mut entries = Vec::new();
    // Like ls(1): a file is listed by its name, and so is a link, unless it leads to a directory.
    match single(&pulled, &root)? {
        Some(item) => entries.push(item),
        None if args.directory => {
            let (dir, name) = root.rsplit_once('/').unwrap_or(("", &root));
            entries.push(Item::new(dir, if name.is_empty() { "." } else { name }, &pulled.node(&root)?));
        }
        None => gather(&pulled, &root, &args.order, args.recursive, &mut entries)?,
    }
    if session.json {
        let (r#ref, path) = (pinned(&args.from, &pulled), root);
        return output::json(&Answer { schema: "skep/ls/v1", r#ref, path, entries });
    }
    let columns = Columns { long: args.long, human: args.human_readable, digest: args.digest };
    let below = if root.is_empty() { 0 } else { root.len() + 1 };
    let mut text = String::new();
    for item in &entries {
        let name = if args.recursive { item.path.get(below..).unwrap_or(&item.name) } else { &item.name };
        writeln!(text, "{}", item.line(name, columns)).expect("strings can be written to");
    }
    output::text(&text)
}

fn gather(archive: &Archive, dir: &str, order: &Order, recursive: bool, into: &mut Vec<Item>) -> Outcome {
    let mut items: Vec<_> = archive.read_dir(dir)?.iter().map(|(name, node)| Item::new(dir, name, node)).collect();
    order.apply(&mut items, |item| item);
    for item in items {
        let below = (recursive && item.is_directory()).then(|| item.path.clone());
        into.push(item);
        if let Some(path) = below {
            gather(archive, &path, order, true, into)?;
        }
    }
    Ok(())
}
