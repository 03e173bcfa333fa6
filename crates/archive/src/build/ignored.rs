//! Files that say what to ignore: `.skepignore` in the directories of a tree.

use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::beneath::Root;
use crate::error::Error;
use crate::error::Result;
use crate::pattern::IgnoreFile;

/// What a file has to be called.
const NAME: &str = ".skepignore";

/// Bytes that one may have.
const MAX_SIZE: u64 = 1 << 20;

/// The files that count in the directory that is read: its own, and those of the directories above it.
#[derive(Default)]
pub(super) struct Ignored {
    /// The bytes of the path of a directory, and what its file says.
    files: Vec<(usize, IgnoreFile)>,
}

impl Ignored {
    /// Reads the file of a directory, if it has one; tells whether it has.
    ///
    /// A symbolic link is none, as for git: it may lead out of the tree.
    pub(super) fn enter(&mut self, dir: BorrowedFd<'_>, path: &str, root: &Root) -> Result<bool> {
        let on_disk = || root.path(path).join(NAME);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(dir, NAME, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::MLINK | Errno::NXIO) => return Ok(false),
            Err(errno) => return Err(Error::io("open", on_disk())(errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(Error::io("examine", on_disk()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let mut text = Vec::new();
        let failed = |source| Error::Io { what: "read", path: on_disk(), source };
        std::fs::File::from(fd).take(MAX_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_SIZE {
            return Err(Error::limit(format!("{}, in bytes,", on_disk().display()), MAX_SIZE, text.len() as u64));
        }
        let file = IgnoreFile::parse(&String::from_utf8_lossy(&text), &on_disk())?;
        self.files.push((path.len(), file));
        Ok(true)
    }

    /// Forgets the file of the directory that was entered last.
    pub(super) fn leave(&mut self) {
        self.files.pop();
    }

    /// Tells whether a path is ignored. The nearest file that says anything about it counts.
    pub(super) fn has(&self, path: &str, is_dir: bool) -> bool {
        let says = |(dir, file): &(usize, IgnoreFile)| file.says(path[*dir..].trim_start_matches('/'), is_dir);
        self.files.iter().rev().find_map(says).unwrap_or(false)
    }
}
