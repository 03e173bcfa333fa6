//! Walking a tree: everything that is in it, in the order of paths.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Stat;

use super::BuildOptions;
use super::Omitted;
use super::Reason;
use crate::beneath::Root;
use crate::beneath::open_dir;
use crate::beneath::refuse;
use crate::error::Error;
use crate::error::Result;
use crate::path;

/// What is in a tree, each kind sorted by path.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: Vec<Node>,
    pub(super) symlinks: Vec<(Node, Box<str>)>,
    pub(super) directories: Vec<Node>,
    pub(super) omitted: BTreeMap<Reason, Omitted>,
    /// Bytes of all files.
    pub(super) size: u64,
    /// The newest time of modification.
    pub(super) newest_ns: Option<i64>,
}

/// Metadata of a file, symbolic link or directory.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: Box<str>,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Reads all directories of a tree, but no file.
pub(super) fn walk(root: &Root, options: &BuildOptions) -> Result<Tree> {
    let mut walk = Walk { root, options, tree: Tree::default(), path: String::new() };
    let fd = open_dir(root, ".").map_err(|errno| refuse(errno, root, ""))?;
    walk.directory(Dir::new(fd).map_err(Error::io("read", root.path("")))?)?;
    let mut tree = walk.tree;
    tree.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    tree.symlinks.sort_unstable_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    tree.directories.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

struct Walk<'a> {
    root: &'a Root,
    options: &'a BuildOptions,
    tree: Tree,
    /// The directory that is read.
    path: String,
}

impl Walk<'_> {
    /// Reads a directory and all below it. As deep as the limit of depth, so the stack and handles suffice.
    fn directory(&mut self, mut dir: Dir) -> Result<()> {
        self.options.cancel.check()?;
        while let Some(item) = dir.read() {
            let item = item.map_err(Error::io("read", self.root.path(&self.path)))?;
            let name = item.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let fd = dir.fd().map_err(Error::io("read", self.root.path(&self.path)))?;
            let before = self.path.len();
            match name.to_str() {
                Ok(name) => {
                    if before > 0 {
                        self.path.push('/');
                    }
                    self.path.push_str(name);
                    self.item(fd, name, item.file_type())?;
                    self.path.truncate(before);
                }
                Err(_) => self.omit_name(name),
            }
        }
        Ok(())
    }

    fn item(&mut self, parent: BorrowedFd<'_>, name: &str, kind: FileType) -> Result<()> {
        let stat = |walk: &Self| {
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::io("examine", walk.root.path(&walk.path)))
        };
        path::check(&self.path, &self.options.limits)
            .map_err(|why| Error::InvalidPath { path: self.path.clone(), why })?;
        let (kind, known) = match kind {
            FileType::Unknown => {
                let stat = stat(self)?;
                (FileType::from_raw_mode(stat.st_mode), Some(stat))
            }
            kind => (kind, None),
        };
        match kind {
            FileType::Directory => {
                let fd = open_dir(parent, name).map_err(|errno| refuse(errno, self.root, &self.path))?;
                let stat = rustix::fs::fstat(fd.as_fd()).map_err(Error::io("examine", self.root.path(&self.path)))?;
                if self.options.extensions {
                    let node = self.node(&stat);
                    self.note(&node, stat.st_mode);
                    self.tree.directories.push(node);
                    self.count(self.tree.directories.len())?;
                } else {
                    self.omit(Reason::Directory);
                }
                return self.directory(Dir::new(fd).map_err(Error::io("read", self.root.path(&self.path)))?);
            }
            FileType::Symlink if !self.options.extensions => self.omit(Reason::Symlink),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(Error::io("read", self.root.path(&self.path)))?;
                match target.into_string() {
                    Ok(target) if target.len() as u64 > self.options.limits.path => {
                        return Err(Error::InvalidPath { path: target, why: "a link to it is longer than the limit" });
                    }
                    Ok(target) => {
                        let node = self.node(&known.map_or_else(|| stat(self), Ok)?);
                        self.note(&node, 0);
                        self.tree.symlinks.push((node, target.into()));
                        self.count(self.tree.symlinks.len())?;
                    }
                    Err(_) => self.omit(Reason::NonUtf8),
                }
            }
            FileType::RegularFile => {
                let stat = known.map_or_else(|| stat(self), Ok)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    let why = "expected a regular file, got something else".to_owned();
                    return Err(Error::Changed { path: self.root.path(&self.path), why });
                }
                let node = self.node(&stat);
                self.note(&node, stat.st_mode);
                if stat.st_nlink > 1 {
                    self.omit(Reason::HardLink);
                }
                if node.size > self.options.limits.file {
                    return Err(Error::limit(format!("{}, in bytes,", node.path), self.options.limits.file, node.size));
                }
                self.tree.size += node.size;
                self.tree.files.push(node);
                self.count(self.tree.files.len())?;
            }
            FileType::Fifo => self.omit(Reason::Fifo),
            FileType::Socket => self.omit(Reason::Socket),
            _ => self.omit(Reason::Device),
        }
        Ok(())
    }

    fn node(&self, stat: &Stat) -> Node {
        let mtime_ns = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64);
        Node {
            path: self.path.as_str().into(),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime_ns,
            mode: stat.st_mode & 0o777,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }

    fn note(&mut self, node: &Node, mode: u32) {
        self.tree.newest_ns = self.tree.newest_ns.max(Some(node.mtime_ns));
        if mode & 0o7000 != 0 {
            self.omit(Reason::SpecialBits);
        }
    }

    fn count(&self, count: usize) -> Result<()> {
        let limit = self.options.limits.entries;
        if count as u64 > limit { Err(Error::TooManyFiles { limit }) } else { Ok(()) }
    }

    fn omit(&mut self, reason: Reason) {
        let path = self.path.clone();
        self.tree.omitted.entry(reason).or_default().add(path);
    }

    fn omit_name(&mut self, name: &CStr) {
        let name = name.to_string_lossy();
        let path = if self.path.is_empty() { name.into_owned() } else { format!("{}/{name}", self.path) };
        self.tree.omitted.entry(Reason::NonUtf8).or_default().add(path);
    }
}
