//! What lies in a directory, also in those that are recorded nowhere.

use std::collections::BTreeMap;

use super::Directory;
use super::Entry;
use super::Index;
use super::List;
use super::Symlink;

/// Something that has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// A directory, and what is recorded of it: nothing if it is only known because something lies in it.
    Directory(Option<Directory<'a>>),
    /// A regular file.
    File(Entry<'a>),
    /// A symbolic link.
    Symlink(Symlink<'a>),
}

impl Index {
    /// Finds what has a path; the empty path is the root.
    pub fn node(&self, path: &str) -> Option<Node<'_>> {
        if let Some(entry) = self.find(path) {
            return Some(Node::File(entry));
        }
        if let Some(link) = self.find_symlink(path) {
            return Some(Node::Symlink(link));
        }
        self.is_directory(path).then(|| Node::Directory(self.find_directory(path)))
    }

    /// What lies in a directory, in the order of names; nothing if it is none. The empty path is the root.
    pub fn children(&self, dir: &str) -> Vec<(&str, Node<'_>)> {
        let mut children: BTreeMap<&str, Node<'_>> = BTreeMap::new();
        let directory = |path| Node::Directory(self.find_directory(path));
        self.visit(&self.directories, dir, |path, name, _| {
            children.insert(name, directory(path));
        });
        self.visit(&self.symlinks, dir, |path, name, at| {
            children.entry(name).or_insert_with(|| match at {
                Some(at) => self.symlinks_at(at..at + 1).next().map_or_else(|| directory(path), Node::Symlink),
                None => directory(path),
            });
        });
        self.visit(&self.entries, dir, |path, name, at| {
            children.entry(name).or_insert_with(|| match at {
                Some(at) => Node::File(self.entry(at)),
                None => directory(path),
            });
        });
        children.into_iter().collect()
    }

    /// Calls a function with path and name of each child that a list knows of, and its position unless it is
    /// only a directory on the way to something.
    fn visit<'a>(&'a self, list: &List, dir: &str, mut child: impl FnMut(&'a str, &'a str, Option<usize>)) {
        let start = if dir.is_empty() { 0 } else { dir.len() + 1 };
        let range = list.below(&self.bytes, dir);
        let mut at = range.start;
        while at < range.end {
            let path = str::from_utf8(list.path(&self.bytes, at)).expect("every path was read when it was parsed");
            match path[start..].find('/') {
                None => {
                    child(path, &path[start..], Some(at));
                    at += 1;
                }
                Some(len) => {
                    child(&path[..start + len], &path[start..start + len], None);
                    at = list.starting_with(&self.bytes, at, &path.as_bytes()[..=start + len]).end;
                }
            }
        }
    }
}
