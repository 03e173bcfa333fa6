//! Walking a tree: everything that is wanted of it, in the order of paths.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Stat;

use super::BuildOptions;
use super::Changes;
use super::Reason;
use super::ignored::Ignored;
use super::tree::Node;
use super::tree::Tree;
use super::tree::Version;
use crate::beneath::Root;
use crate::beneath::open_dir;
use crate::beneath::refuse;
use crate::error::Error;
use crate::error::Result;
use crate::extract::is_staging;
use crate::path;

/// Reads all directories of a tree, but no file.
pub(super) fn walk(root: &Root, options: &BuildOptions) -> Result<Tree> {
    let mut walk = Walk { root, options, tree: Tree::default(), ignored: Ignored::default(), path: String::new() };
    let fd = open_dir(root, ".").map_err(|errno| refuse(errno, root, ""))?;
    walk.directory(Dir::new(fd).map_err(Error::io("read", root.path("")))?)?;
    let mut tree = walk.tree;
    tree.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    tree.symlinks.sort_unstable_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    tree.directories.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    tree.prune(&options.patterns);
    Ok(tree)
}

struct Walk<'a> {
    root: &'a Root,
    options: &'a BuildOptions,
    tree: Tree,
    ignored: Ignored,
    /// The directory that is read.
    path: String,
}

impl Walk<'_> {
    /// Reads a directory and all below it. As deep as the limit of depth, so the stack and handles suffice.
    fn directory(&mut self, mut dir: Dir) -> Result<()> {
        self.options.cancel.check()?;
        let fd = dir.fd().map_err(Error::io("read", self.root.path(&self.path)))?;
        let has_ignore_file = self.options.ignore_files && self.ignored.enter(fd, &self.path, self.root)?;
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
        if has_ignore_file {
            self.ignored.leave();
        }
        Ok(())
    }

    fn item(&mut self, parent: BorrowedFd<'_>, name: &str, kind: FileType) -> Result<()> {
        let stat = |walk: &Self| {
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::io("examine", walk.root.path(&walk.path)))
        };
        let (kind, known) = match kind {
            FileType::Unknown => {
                let stat = stat(self)?;
                (FileType::from_raw_mode(stat.st_mode), Some(stat))
            }
            kind => (kind, None),
        };
        // What an extraction into this tree left when it was killed.
        if kind == FileType::Directory && is_staging(name) {
            return Ok(());
        }
        if self.is_excluded(kind == FileType::Directory) {
            self.tree.excluded += 1;
            return Ok(());
        }
        path::check(&self.path, &self.options.limits)
            .map_err(|why| Error::InvalidPath { path: self.path.clone(), why })?;
        match kind {
            FileType::Directory => {
                let fd = open_dir(parent, name).map_err(|errno| refuse(errno, self.root, &self.path))?;
                let stat = rustix::fs::fstat(fd.as_fd()).map_err(Error::io("examine", self.root.path(&self.path)))?;
                if self.options.extensions {
                    let node = self.node(&stat, true);
                    self.note(stat.st_mode);
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
                        let node = self.node(&known.map_or_else(|| stat(self), Ok)?, false);
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
                let mut node = self.node(&stat, false);
                if self.options.changes == Changes::Strict {
                    node.version = Some(Box::new(Version::of(&stat)));
                }
                self.note(stat.st_mode);
                if stat.st_nlink > 1 {
                    self.omit(Reason::HardLink);
                }
                if node.size > self.options.limits.file {
                    return Err(Error::limit(format!("{}, in bytes,", node.path), self.options.limits.file, node.size));
                }
                self.tree.files.push(node);
                self.count(self.tree.files.len())?;
            }
            FileType::Fifo => self.omit(Reason::Fifo),
            FileType::Socket => self.omit(Reason::Socket),
            _ => self.omit(Reason::Device),
        }
        Ok(())
    }

    /// Tells whether patterns or files leave out what is looked at.
    fn is_excluded(&self, is_dir: bool) -> bool {
        let patterns = &self.options.patterns;
        // Something that is included may lie in a directory that is not.
        let is_wanted = if is_dir { !patterns.exclude(&self.path, true) } else { patterns.admit(&self.path, false) };
        !is_wanted || self.ignored.has(&self.path, is_dir)
    }

    fn node(&self, stat: &Stat, is_dir: bool) -> Node {
        let mut node = Node::of(&self.path, stat);
        self.options.tidy(&mut node, is_dir);
        node
    }

    fn note(&mut self, mode: u32) {
        if mode & 0o7000 != 0 {
            self.omit(Reason::SpecialBits);
        }
    }

    fn count(&self, count: usize) -> Result<()> {
        let limit = self.options.limits.entries;
        if count as u64 > limit { Err(Error::TooManyFiles { limit }) } else { Ok(()) }
    }

    fn omit(&mut self, reason: Reason) {
        self.tree.omit(reason, &self.path);
    }

    fn omit_name(&mut self, name: &CStr) {
        let name = name.to_string_lossy();
        let path = if self.path.is_empty() { name.into_owned() } else { format!("{}/{name}", self.path) };
        self.tree.omit(Reason::NonUtf8, &path);
    }
}
