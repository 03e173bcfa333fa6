//! `skep tree REF [PATH]`.

use std::fmt::Write as _;

use serde::Serialize;
use skep::Archive;
use skep::Node;

use super::Session;
use super::item::Item;
use super::item::normal;
use super::item::pinned;
use crate::args::Tree;
use crate::exit::Outcome;
use crate::output;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    path: String,
    #[serde(flatten)]
    totals: Totals,
    entries: Vec<Branch>,
}

#[derive(Serialize)]
struct Branch {
    #[serde(flatten)]
    item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Branch>>,
}

#[derive(Default, Serialize)]
struct Totals {
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
}

pub(super) async fn tree(session: &Session, args: Tree) -> Outcome {
    let pulled = session.client.pull(&args.from).await?;
    let root = normal(&args.path);
    let mut totals = Totals::default();
    let entries = grow(&pulled, &root, args.level.unwrap_or(usize::MAX), &args, &mut totals)?;
    if session.json {
        let r#ref = pinned(&args.from, &pulled);
        return output::json(&Answer { schema: "skep/tree/v1", r#ref, path: root, totals, entries });
    }
    let mut text = match (root.as_str(), args.du) {
        (root, false) => format!("{}\n", escape(if root.is_empty() { "." } else { root })),
        (root, true) => {
            let below = size(pulled.stats(root).original_size);
            format!("[{below:>10}]  {}\n", escape(if root.is_empty() { "." } else { root }))
        }
    };
    draw(&entries, "", args.sizes || args.du, &mut text);
    let Totals { files, directories, symlinks, size: bytes } = totals;
    let links = if symlinks > 0 { format!(", {}", count(symlinks, "link")) } else { String::new() };
    let (directories, files) = (count(directories, "directory"), count(files, "file"));
    writeln!(text, "\n{directories}, {files}{links}, {}", size(bytes)).expect("strings can be written to");
    output::text(&text)
}

fn grow(archive: &Archive, dir: &str, levels: usize, args: &Tree, totals: &mut Totals) -> Outcome<Vec<Branch>> {
    if levels == 0 {
        return Ok(Vec::new());
    }
    let mut branches = Vec::new();
    for (name, node) in archive.read_dir(dir)? {
        let mut item = Item::new(dir, name, &node);
        let entries = match node {
            Node::Directory(_) => {
                totals.directories += 1;
                if args.du {
                    item.size = Some(archive.stats(&item.path).original_size);
                }
                Some(grow(archive, &item.path, levels - 1, args, totals)?)
            }
            Node::File(file) => {
                totals.files += 1;
                totals.size += file.original_size;
                None
            }
            Node::Symlink(_) => {
                totals.symlinks += 1;
                None
            }
        };
        branches.push(Branch { item, entries });
    }
    if args.dirs_first {
        branches.sort_by_key(|branch| !branch.item.is_directory());
    }
    Ok(branches)
}

fn draw(branches: &[Branch], indent: &str, sizes: bool, text: &mut String) {
    for (at, branch) in branches.iter().enumerate() {
        let last = at + 1 == branches.len();
        let name = branch.item.shown(&branch.item.name, true);
        let name = match branch.item.size {
            _ if !sizes => name,
            Some(bytes) => format!("[{:>10}]  {name}", size(bytes)),
            None => format!("[{:>10}]  {name}", "-"),
        };
        writeln!(text, "{indent}{}{name}", if last { "└── " } else { "├── " }).expect("strings can be written to");
        let below = format!("{indent}{}", if last { "    " } else { "│   " });
        draw(branch.entries.as_deref().unwrap_or_default(), &below, sizes, text);
    }
}
