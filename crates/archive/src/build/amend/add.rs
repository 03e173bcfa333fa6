//! What is added to an archive: entries that are given, files and directories on the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FileType;

use super::super::BuildEntry;
use super::super::BuildOptions;
use super::super::EntryKind;
use super::super::Omitted;
use super::super::Reason;
use super::super::pack::open;
use super::super::tree::Node;
use super::super::tree::Tree;
use super::super::walk::walk;
use crate::beneath::Root;
use crate::beneath::Walker;
use crate::error::Error;
use crate::error::Result;
use crate::format;
use crate::format::Index;

/// Something to add to an archive.
#[derive(Debug)]
#[non_exhaustive]
pub enum Addition<'a> {
    /// A file on the disk, or a directory with all that is wanted of it. A symbolic link is followed, but not those
    /// that lie in a directory.
    Disk {
        /// Where it is.
        from: PathBuf,
        /// What it is called in the archive; a directory without a name is the root, which has no metadata.
        path: String,
    },
    /// An entry that is given.
    Entry(BuildEntry<'a>),
}

type Given<'a> = Box<dyn Iterator<Item = Result<BuildEntry<'a>>> + Send + 'a>;

/// All that is added, one entry after the other; files are opened when it is their turn.
#[derive(Default)]
pub(super) struct Added<'a> {
    pub(super) entries: Vec<Given<'a>>,
    pub(super) excluded: u64,
    pub(super) omitted: BTreeMap<Reason, Omitted>,
}

impl<'a> Added<'a> {
    /// Reads the directories that are added, but no file.
    pub(super) fn find(additions: Vec<Addition<'a>>, options: &BuildOptions) -> Result<Self> {
        let mut added = Self::default();
        for addition in additions {
            match addition {
                Addition::Entry(entry) => added.entries.push(Box::new(std::iter::once(Ok(entry)))),
                Addition::Disk { from, path } => added.disk(from, path, options)?,
            }
        }
        Ok(added)
    }

    fn disk(&mut self, from: PathBuf, path: String, options: &BuildOptions) -> Result<()> {
        let stat = rustix::fs::stat(&from).map_err(Error::io("examine", &from))?;
        let node = Node::of(&path, &stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let opened = move || {
                    let file = open_file(&from)?;
                    Ok(entry(&node, "", EntryKind::File { content: Box::new(file), size: Some(node.size) }))
                };
                self.entries.push(Box::new(std::iter::once_with(opened)));
            }
            FileType::Directory => {
                let root = Root::open(&from)?;
                let mut tree = walk(&root, options)?;
                self.excluded += tree.excluded;
                for (reason, omitted) in std::mem::take(&mut tree.omitted) {
                    self.omitted.entry(reason).or_default().merge(omitted);
                }
                if !path.is_empty() && options.extensions {
                    self.entries.push(Box::new(std::iter::once(Ok(entry(&node, "", EntryKind::Directory)))));
                }
                self.entries.push(Box::new(entries_of(root, tree, path)));
            }
            _ => {
                let why = format!("expected a file or a directory, got something else: {}", from.display());
                return Err(Error::InvalidEntry { path, why });
            }
        }
        Ok(())
    }
}

impl Omitted {
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.truncate(5);
    }
}

fn open_file(from: &Path) -> Result<File> {
    File::open(from).map_err(|source| Error::Io { what: "open", path: from.to_owned(), source })
}

/// What was found in a directory, below a path of the archive.
fn entries_of<'a>(root: Root, tree: Tree, below: String) -> impl Iterator<Item = Result<BuildEntry<'a>>> + Send {
    let mut walker = Walker::new(root);
    let (links, directories) = (below.clone(), below.clone());
    let directories =
        tree.directories.into_iter().map(move |node| Ok(entry(&node, &directories, EntryKind::Directory)));
    let links = tree
        .symlinks
        .into_iter()
        .map(move |(node, target)| Ok(entry(&node, &links, EntryKind::Symlink { target: target.into() })));
    let files = tree.files.into_iter().map(move |node| {
        let file = File::from(open(&mut walker, &node)?);
        Ok(entry(&node, &below, EntryKind::File { content: Box::new(file), size: Some(node.size) }))
    });
    directories.chain(links).chain(files)
}

fn entry<'a>(node: &Node, below: &str, kind: EntryKind<'a>) -> BuildEntry<'a> {
    let path = if below.is_empty() { node.path.to_string() } else { format!("{below}/{}", node.path) };
    BuildEntry { path, kind, mode: node.mode, uid: node.uid, gid: node.gid, mtime_ns: node.mtime_ns }
}

/// Checks that an entry fits to the archive that it is added to.
pub(super) fn check(index: &Index, entry: &BuildEntry<'_>) -> Result<()> {
    let path = &entry.path;
    let wrong = |why: String| Err(Error::InvalidEntry { path: path.clone(), why });
    for (end, _) in path.match_indices('/') {
        match index.node(&path[..end]) {
            Some(format::Node::File(_)) => return wrong(format!("it lies in {}, which is a file", &path[..end])),
            Some(format::Node::Symlink(_)) => {
                return wrong(format!("it lies in {}, which is a symbolic link", &path[..end]));
            }
            Some(format::Node::Directory(_)) => {}
            // Nor is there anything below.
            None => return Ok(()),
        }
    }
    match (&entry.kind, index.node(path)) {
        (EntryKind::Directory, Some(format::Node::File(_))) => {
            wrong("it is a directory, and a file in the archive".to_owned())
        }
        (EntryKind::Directory, Some(format::Node::Symlink(_))) => {
            wrong("it is a directory, and a symbolic link in the archive".to_owned())
        }
        (EntryKind::File { .. }, Some(format::Node::Directory(_))) => {
            wrong("it is a file, and a directory in the archive".to_owned())
        }
        (EntryKind::Symlink { .. }, Some(format::Node::Directory(_))) => {
            wrong("it is a symbolic link, and a directory in the archive".to_owned())
        }
        _ => Ok(()),
    }
}
