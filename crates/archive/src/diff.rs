//! Comparing: what is different between two archives, by their indexes alone.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::iter::Peekable;

use crate::format::Entry;
use crate::format::HASH;
use crate::format::Index;
use crate::format::Node;
use crate::path;

/// Which differences of metadata count. Contents, targets of links and kinds always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffOptions {
    /// Permissions of files and directories. On by default.
    pub mode: bool,
    /// Owners and groups. Off by default.
    pub owner: bool,
    /// Times of modification. Off by default.
    pub time: bool,
    /// Call a file renamed that was removed in one place and added in another with the same content. Empty files are
    /// not. On by default.
    pub renames: bool,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self { mode: true, owner: false, time: false, renames: true }
    }
}

/// Something that is not the same in two archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The path; of what was renamed, the new one.
    pub path: &'a str,
    /// What happened.
    pub kind: ChangeKind,
    /// What was there before; of what was renamed, under its old path.
    pub before: Option<Node<'a>>,
    /// What is there now.
    pub after: Option<Node<'a>>,
    /// What is different of what is in both.
    pub aspects: Aspects,
}

/// What happened to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is only in the second archive.
    Add,
    /// It is in both, and not the same.
    Change,
    /// It is only in the first archive.
    Remove,
    /// Its content is in both, under different paths.
    Rename,
}

/// Which properties are different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aspects {
    /// The content of a file.
    pub content: bool,
    /// Whether it is a file, a directory or a link.
    pub kind: bool,
    /// Permissions.
    pub mode: bool,
    /// Owner or group.
    pub owner: bool,
    /// Where a link leads.
    pub target: bool,
    /// The time of modification.
    pub time: bool,
}

impl Aspects {
    fn any(self) -> bool {
        self != Self::default()
    }
}

/// Tells what has to happen to the first archive to make it the second, in the order of paths.
///
/// Directories that are recorded nowhere have no metadata, and are not different from those that are. Memory is needed
/// for the changes only.
pub fn diff<'a>(before: &'a Index, after: &'a Index, options: &DiffOptions) -> Vec<Change<'a>> {
    let (mut left, mut right) = (nodes(before).peekable(), nodes(after).peekable());
    let mut changes = Vec::new();
    loop {
        let (old, new) = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some((old, _)), Some((new, _))) if old == new => (left.next(), right.next()),
            (Some((old, _)), Some((new, _))) if old < new => (left.next(), None),
            (Some(_), None) => (left.next(), None),
            _ => (None, right.next()),
        };
        let Some((path, _)) = old.or(new) else { break };
        let (old, new) = (old.map(|(_, node)| node), new.map(|(_, node)| node));
        let change = |kind, aspects| Change { path, kind, before: old, after: new, aspects };
        match (old, new) {
            (Some(Node::Directory(_)), None) if after.is_directory(path) => {}
            (None, Some(Node::Directory(_))) if before.is_directory(path) => {}
            (Some(_), None) => changes.push(change(ChangeKind::Remove, Aspects::default())),
            (None, _) => changes.push(change(ChangeKind::Add, Aspects::default())),
            (Some(old), Some(new)) => {
                let aspects = compare(&old, &new, options);
                if aspects.any() {
                    changes.push(change(ChangeKind::Change, aspects));
                }
            }
        }
    }
    if options.renames { find_renames(changes, options) } else { changes }
}

/// All that an index records, in the order of paths.
fn nodes(index: &Index) -> impl Iterator<Item = (&str, Node<'_>)> {
    let files = index.entries().map(|entry| (entry.path, Node::File(entry)));
    let links = index.symlinks().map(|link| (link.path, Node::Symlink(link)));
    let directories = index.directories().map(|dir| (dir.path, Node::Directory(Some(dir))));
    merge(files.peekable(), merge(links.peekable(), directories.peekable()).peekable())
}

fn merge<'a>(
    mut one: Peekable<impl Iterator<Item = (&'a str, Node<'a>)>>,
    mut other: Peekable<impl Iterator<Item = (&'a str, Node<'a>)>>,
) -> impl Iterator<Item = (&'a str, Node<'a>)> {
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((first, _)), Some((second, _))) if second < first => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}

fn compare(old: &Node<'_>, new: &Node<'_>, options: &DiffOptions) -> Aspects {
    let (old_of, new_of) = (metadata(old), metadata(new));
    let mut aspects = Aspects {
        owner: options.owner && (old_of.owner != new_of.owner),
        time: options.time && old_of.time != new_of.time,
        mode: options.mode && old_of.mode != new_of.mode,
        ..Aspects::default()
    };
    match (old, new) {
        (Node::File(old), Node::File(new)) => aspects.content = old.hash != new.hash,
        (Node::Symlink(old), Node::Symlink(new)) => aspects.target = old.target != new.target,
        (Node::Directory(_), Node::Directory(_)) => {}
        _ => return Aspects { kind: true, ..Aspects::default() },
    }
    aspects
}

#[derive(Default)]
struct Metadata {
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
    time: Option<i64>,
}

fn metadata(node: &Node<'_>) -> Metadata {
    match node {
        Node::File(file) => {
            Metadata { mode: Some(file.mode), owner: Some((file.uid, file.gid)), time: Some(file.mtime_ns) }
        }
        // Links have no mode of their own.
        Node::Symlink(link) => Metadata { mode: None, owner: Some((link.uid, link.gid)), time: Some(link.mtime_ns) },
        Node::Directory(Some(dir)) => {
            Metadata { mode: Some(dir.mode), owner: Some((dir.uid, dir.gid)), time: Some(dir.mtime_ns) }
        }
        Node::Directory(None) => Metadata::default(),
    }
}

/// Makes one change of each removal and addition of the same content, those with the same name first.
fn find_renames<'a>(changes: Vec<Change<'a>>, options: &DiffOptions) -> Vec<Change<'a>> {
    let mut removed: HashMap<&[u8; HASH], VecDeque<Entry<'a>>> = HashMap::new();
    for change in changes.iter().filter(|change| change.kind == ChangeKind::Remove) {
        if let Some(Node::File(file)) = change.before
            && file.original_size > 0
        {
            removed.entry(file.hash).or_default().push_back(file);
        }
    }
    if removed.is_empty() {
        return changes;
    }
    let mut origin: HashMap<&str, Entry<'a>> = HashMap::new();
    for only_same_name in [true, false] {
        for change in changes.iter().filter(|change| change.kind == ChangeKind::Add) {
            let Some(Node::File(file)) = change.after else { continue };
            let Some(candidates) = removed.get_mut(file.hash).filter(|_| !origin.contains_key(file.path)) else {
                continue;
            };
            let fits = |old: &Entry<'_>| !only_same_name || path::split(old.path).1 == path::split(file.path).1;
            if let Some(old) = candidates.iter().take(CANDIDATES).position(fits).and_then(|at| candidates.remove(at)) {
                origin.insert(file.path, old);
            }
        }
    }
    let gone: HashSet<&str> = origin.values().map(|old| old.path).collect();
    let mut left = Vec::with_capacity(changes.len() - gone.len());
    for mut change in changes {
        match (change.kind, origin.get(change.path)) {
            (ChangeKind::Remove, _) if gone.contains(change.path) => continue,
            (ChangeKind::Add, Some(old)) => {
                change.kind = ChangeKind::Rename;
                change.before = Some(Node::File(*old));
                change.aspects = compare(&Node::File(*old), &change.after.unwrap_or(Node::File(*old)), options);
            }
            _ => {}
        }
        left.push(change);
    }
    left
}

/// Files of the same content among which the one with the same name is looked for.
const CANDIDATES: usize = 64;
