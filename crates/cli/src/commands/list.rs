//! `skep ls REF [PATH]` and `skep tree REF [PATH]`.

use std::fmt::Write as _;

use serde::Serialize;
use skep::Archive;
use skep::Node;
use skep_registry::Algorithm;
use skep_registry::Digest;

use super::Session;
use crate::args::Ls;
use crate::args::Tree;
use crate::exit::Outcome;
use crate::output;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Listing {
    schema: &'static str,
    r#ref: String,
    path: String,
    entries: Vec<Item>,
}

/// One line of a listing.
#[derive(Serialize)]
struct Item {
    name: String,
    path: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip)]
    bits: Option<u32>,
}

impl Item {
    fn new(dir: &str, name: &str, node: &Node<'_>) -> Self {
        let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let mut item = Self {
            name: name.to_owned(),
            path,
            kind: "directory",
            mode: None,
            size: None,
            stored: None,
            mtime_ns: None,
            digest: None,
            target: None,
            bits: None,
        };
        match node {
            Node::File(file) => {
                item.kind = "file";
                item.bits = Some(file.mode);
                item.size = Some(file.original_size);
                item.stored = Some(file.data_size);
                item.mtime_ns = Some(file.mtime_ns);
                item.digest = Digest::from_hash(Algorithm::Sha256, file.hash).ok().map(|digest| digest.to_string());
            }
            Node::Directory(recorded) => {
                item.bits = recorded.map(|dir| dir.mode);
                item.mtime_ns = recorded.map(|dir| dir.mtime_ns);
            }
            Node::Symlink(link) => {
                item.kind = "symlink";
                item.mtime_ns = Some(link.mtime_ns);
                item.target = Some(link.target.to_owned());
            }
        }
        item.mode = item.bits.map(|bits| format!("{bits:03o}"));
        item
    }

    /// The name with what it is: `css/`, `start -> index.html` where there is room for it.
    fn shown(&self, name: &str, target: bool) -> String {
        match &self.target {
            Some(to) if target => format!("{} -> {}", escape(name), escape(to)),
            _ if self.kind == "directory" => format!("{}/", escape(name)),
            _ => escape(name).into_owned(),
        }
    }

    fn long(&self, name: &str) -> String {
        let mode = match self.kind {
            "directory" => output::mode('d', self.bits.unwrap_or(0o755)),
            "symlink" => output::mode('l', 0o777),
            _ => output::mode('-', self.bits.unwrap_or_default()),
        };
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let time = self.mtime_ns.map_or("-".to_owned(), output::time);
        let (size, stored) = (number(self.size), number(self.stored));
        format!("{mode} {size:>12} {stored:>12} {time:>16} {}", self.shown(name, true))
    }
}

pub(super) async fn ls(session: &Session, args: Ls) -> Outcome {
    let pulled = session.client.pull(&args.from).await?;
    let mut entries = Vec::new();
    let root = skep::normalize(&args.path).into_owned();
    let root = if root == "." { String::new() } else { root };
    match pulled.node(&args.path)? {
        // Like ls(1): a file is listed by its name, and so is a link, unless it leads to a directory.
        node @ (Node::File(_) | Node::Symlink(_)) if !pulled.is_dir(&args.path) => {
            let (dir, name) = root.rsplit_once('/').unwrap_or(("", &root));
            entries.push(Item::new(dir, name, &node));
        }
        _ => gather(&pulled, &root, args.recursive, &mut entries)?,
    }
    if session.json {
        let (r#ref, path) = (args.from.at(pulled.digest().clone()).to_string(), root);
        return output::json(&Listing { schema: "skep/ls/v1", r#ref, path, entries });
    }
    let below = if root.is_empty() { 0 } else { root.len() + 1 };
    let mut text = String::new();
    for item in &entries {
        let name = if args.recursive { &item.path[below..] } else { &item.name };
        let line = if args.long { item.long(name) } else { item.shown(name, false) };
        writeln!(text, "{line}").expect("strings can be written to");
    }
    output::text(&text)
}

fn gather(archive: &Archive, dir: &str, recursive: bool, into: &mut Vec<Item>) -> Outcome {
    for (name, node) in archive.read_dir(dir)? {
        let item = Item::new(dir, name, &node);
        let path = item.path.clone();
        into.push(item);
        if recursive && matches!(node, Node::Directory(_)) {
            gather(archive, &path, true, into)?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Forest {
    schema: &'static str,
    r#ref: String,
    path: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
    entries: Vec<Branch>,
}

#[derive(Serialize)]
struct Branch {
    #[serde(flatten)]
    item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Branch>>,
}

#[derive(Default)]
struct Totals {
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
}

pub(super) async fn tree(session: &Session, args: Tree) -> Outcome {
    let pulled = session.client.pull(&args.from).await?;
    let root = skep::normalize(&args.path).into_owned();
    let dir = if root == "." { "" } else { &root };
    let mut totals = Totals::default();
    let entries = grow(&pulled, dir, args.level.unwrap_or(usize::MAX), &mut totals)?;
    let Totals { files, directories, symlinks, size: bytes } = totals;
    if session.json {
        let r#ref = args.from.at(pulled.digest().clone()).to_string();
        let path = dir.to_owned();
        return output::json(&Forest {
            schema: "skep/tree/v1",
            r#ref,
            path,
            files,
            directories,
            symlinks,
            size: bytes,
            entries,
        });
    }
    let mut text = format!("{}\n", escape(&root));
    draw(&entries, "", &mut text);
    let links = if symlinks > 0 { format!(", {}", count(symlinks, "link")) } else { String::new() };
    let (directories, files) = (count(directories, "directory"), count(files, "file"));
    writeln!(text, "\n{directories}, {files}{links}, {}", size(bytes)).expect("strings can be written to");
    output::text(&text)
}

fn grow(archive: &Archive, dir: &str, levels: usize, totals: &mut Totals) -> Outcome<Vec<Branch>> {
    if levels == 0 {
        return Ok(Vec::new());
    }
    let mut branches = Vec::new();
    for (name, node) in archive.read_dir(dir)? {
        let item = Item::new(dir, name, &node);
        let entries = match node {
            Node::Directory(_) => {
                totals.directories += 1;
                Some(grow(archive, &item.path, levels - 1, totals)?)
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
    Ok(branches)
}

fn draw(branches: &[Branch], indent: &str, text: &mut String) {
    for (at, branch) in branches.iter().enumerate() {
        let last = at + 1 == branches.len();
        let name = branch.item.shown(&branch.item.name, true);
        writeln!(text, "{indent}{}{name}", if last { "└── " } else { "├── " }).expect("strings can be written to");
        let below = format!("{indent}{}", if last { "    " } else { "│   " });
        draw(branch.entries.as_deref().unwrap_or_default(), &below, text);
    }
}
