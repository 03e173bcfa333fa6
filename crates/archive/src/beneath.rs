//! Directories below a handle, entered step by step and never through a symbolic link.

use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::Error;
use crate::error::Result;

/// A directory that paths are relative to. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    fd: Arc<OwnedFd>,
    path: Arc<Path>,
}

impl Root {
    /// Opens a directory by its path, which may lead through symbolic links: it is the caller's.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io("open", path))?;
        Ok(Self::new(fd, path))
    }

    /// Takes a handle of a directory, and the path by which errors call it.
    pub(crate) fn new(fd: OwnedFd, path: &Path) -> Self {
        Self { fd: Arc::new(fd), path: path.into() }
    }

    /// The path on the disk of something below, for words.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        if below.is_empty() { self.path.to_path_buf() } else { self.path.join(below) }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a directory in another one, unless it is a symbolic link.
pub(crate) fn open_dir(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Directories on the way whose handles are kept.
const STEPS: usize = 24;

/// Enters one directory after the other, keeping handles of those on the way: what comes next is mostly near.
#[derive(Debug)]
pub(crate) struct Walker {
    root: Root,
    /// The directory entered last.
    current: String,
    /// For each directory on the way to it, the length of its path and its handle.
    steps: Vec<(usize, OwnedFd)>,
}

impl Walker {
    pub(crate) fn new(root: Root) -> Self {
        Self { root, current: String::new(), steps: Vec::new() }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// A handle of a directory below the root; the empty path is the root.
    ///
    /// # Errors
    /// `Conflict` when a name on the way is no directory, a symbolic link for instance.
    pub(crate) fn enter(&mut self, dir: &str) -> Result<BorrowedFd<'_>> {
        if dir != self.current {
            self.step_to(dir)?;
        }
        Ok(self.steps.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    fn step_to(&mut self, dir: &str) -> Result<()> {
        let on_the_way = |current: &str, end: usize| {
            dir.get(..end) == current.get(..end) && matches!(dir.as_bytes().get(end), None | Some(b'/'))
        };
        let keep = self.steps.iter().take_while(|(end, _)| on_the_way(&self.current, *end)).count();
        self.steps.truncate(keep);
        let mut start = self.steps.last().map_or(0, |(end, _)| end + 1);
        self.current.truncate(start.saturating_sub(1));
        while start < dir.len() {
            let end = dir[start..].find('/').map_or(dir.len(), |at| start + at);
            let parent = self.steps.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            let fd = open_dir(parent, &dir[start..end]).map_err(|errno| refuse(errno, &self.root, &dir[..end]))?;
            self.steps.push((end, fd));
            // Deep trees must not use up the handles of a process: far up it begins at the root again.
            if self.steps.len() > STEPS {
                self.steps.remove(0);
            }
            dir[..end].clone_into(&mut self.current);
            start = end + 1;
        }
        Ok(())
    }
}

/// Finds words for a directory that could not be opened.
pub(crate) fn refuse(errno: Errno, root: &Root, path: &str) -> Error {
    match errno {
        // With O_DIRECTORY and O_NOFOLLOW a symbolic link is one or the other, depending on the kernel.
        Errno::NOTDIR | Errno::LOOP => {
            Error::Conflict { path: root.path(path), why: "a directory is expected here and this is none" }
        }
        errno => Error::io("open", root.path(path))(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_directories_are_entered_with_few_handles() {
        let dir = tempfile::tempdir().unwrap();
        let deep = vec!["d"; 100].join("/");
        std::fs::create_dir_all(dir.path().join(&deep)).unwrap();
        let mut walker = Walker::new(Root::open(dir.path()).unwrap());
        for depth in [100, 99, 3, 50, 100, 1, 0, 70] {
            let path = vec!["d"; depth].join("/");
            let fd = walker.enter(&path).unwrap();
            let want = rustix::fs::stat(dir.path().join(&path)).unwrap().st_ino;
            assert_eq!(rustix::fs::fstat(fd).unwrap().st_ino, want, "{depth}");
            assert!(walker.steps.len() <= STEPS);
        }
    }

    #[test]
    fn links_are_not_followed_and_neighbours_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/b/c", "a/bb", "d"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::os::unix::fs::symlink("b", dir.path().join("a/link")).unwrap();
        let mut walker = Walker::new(Root::open(dir.path()).unwrap());
        for path in ["a/b/c", "a/b", "a/bb", "", "d", "a/b/c", "a"] {
            let fd = walker.enter(path).unwrap();
            let want = rustix::fs::stat(dir.path().join(path)).unwrap().st_ino;
            assert_eq!(rustix::fs::fstat(fd).unwrap().st_ino, want, "{path}");
        }
        assert!(matches!(walker.enter("a/link/c"), Err(Error::Conflict { .. })));
        assert!(matches!(walker.enter("a/x"), Err(Error::Io { .. })));
        assert!(walker.enter("a/b/c").is_ok());
    }
}
