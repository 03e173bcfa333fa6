//! Items: what is in an archive, as listings show it.

use std::cmp::Reverse;

use serde::Serialize;
use skep::Address;
use skep::Archive;
use skep::Node;
use skep::Pulled;
use skep_registry::Algorithm;
use skep_registry::Digest;

use crate::args::Order;
use crate::args::Sort;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

/// One line of a listing.
#[derive(Serialize)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stored: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtime_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    #[serde(skip)]
    bits: Option<u32>,
}

/// What a line shows besides the name.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    pub(super) long: bool,
    pub(super) human: bool,
    pub(super) digest: bool,
}

impl Item {
    pub(super) fn new(dir: &str, name: &str, node: &Node<'_>) -> Self {
        let mut item = Self {
            name: name.to_owned(),
            path: join(dir, name),
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
                item.digest = Some(digest(file.hash));
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

    pub(super) fn is_directory(&self) -> bool {
        self.kind == "directory"
    }

    /// The name with what it is: `css/`, `start -> index.html` where there is room for it.
    pub(super) fn shown(&self, name: &str, target: bool) -> String {
        match &self.target {
            Some(to) if target => format!("{} -> {}", escape(name), escape(to)),
            _ if self.is_directory() => format!("{}/", escape(name)),
            _ => escape(name).into_owned(),
        }
    }

    /// A line of a listing, without its end.
    pub(super) fn line(&self, name: &str, columns: Columns) -> String {
        let digest = || self.digest.as_deref().unwrap_or("-");
        match (columns.long, columns.digest) {
            (false, false) => self.shown(name, false),
            (false, true) => format!("{:<71} {}", digest(), self.shown(name, false)),
            (true, false) => format!("{} {}", self.long(columns.human), self.shown(name, true)),
            (true, true) => format!("{} {:<71} {}", self.long(columns.human), digest(), self.shown(name, true)),
        }
    }

    fn long(&self, human: bool) -> String {
        let mode = match self.kind {
            "directory" => output::mode('d', self.bits.unwrap_or(0o755)),
            "symlink" => output::mode('l', 0o777),
            _ => output::mode('-', self.bits.unwrap_or_default()),
        };
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| amount(value, human));
        let time = self.mtime_ns.map_or("-".to_owned(), output::time);
        format!("{mode} {:>12} {:>12} {time:>16}", number(self.size), number(self.stored))
    }
}

impl Order {
    /// Brings items, which come in the order of names, into this one.
    pub(super) fn apply<T>(&self, items: &mut [T], item: impl Fn(&T) -> &Item) {
        match self.sort {
            Sort::Name => {}
            Sort::Size => items.sort_by_key(|of| Reverse(item(of).size)),
            Sort::Stored => items.sort_by_key(|of| Reverse(item(of).stored)),
            Sort::Time => items.sort_by_key(|of| Reverse(item(of).mtime_ns)),
        }
        if self.reverse {
            items.reverse();
        }
    }
}

/// A number of bytes, for people or to count with.
pub(super) fn amount(bytes: u64, human: bool) -> String {
    if human { output::size(bytes) } else { bytes.to_string() }
}

pub(super) fn digest(hash: &[u8; 32]) -> String {
    Digest::from_hash(Algorithm::Sha256, hash).map(|digest| digest.to_string()).unwrap_or_default()
}

pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// A path as archives have it; the root is the empty path.
pub(super) fn normal(path: &str) -> String {
    match skep::normalize(path).into_owned() {
        root if root == "." => String::new(),
        path => path,
    }
}

/// The address of what was pulled, by digest.
pub(super) fn pinned(address: &Address, pulled: &Pulled) -> String {
    address.at(pulled.digest().clone()).to_string()
}

/// The item of a path that leads to something else than a directory: a link that leads to one is one here.
pub(super) fn single(archive: &Archive, path: &str) -> Outcome<Option<Item>> {
    let node = archive.node(path)?;
    if archive.is_dir(path) {
        return Ok(None);
    }
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(Some(Item::new(dir, name, &node)))
}
