//! The staging directory: where files are written before they appear in their place.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::beneath::Root;
use crate::beneath::open_dir;
use crate::error::Error;
use crate::error::Result;

/// What the names of all staging directories begin with; 16 hexadecimal digits follow.
const PREFIX: &str = ".skep-";

/// A directory in the destination that only its owner may enter, locked as long as it is used.
///
/// It is removed with all that is in it when this is dropped. One that a killed process left is not locked,
/// and removed by whoever comes next.
#[derive(Debug)]
pub(super) struct Staging {
    dest: Root,
    root: Root,
    name: String,
    /// Permissions that files made here do not get.
    mask: u32,
    next: AtomicU64,
}

impl Staging {
    pub(super) fn new(dest: &Root) -> Result<Self> {
        remove_stale(dest)?;
        loop {
            let number = getrandom::u64().map_err(|error| Error::Io {
                what: "make a random name in",
                path: dest.path(""),
                source: std::io::Error::other(error.to_string()),
            })?;
            let name = format!("{PREFIX}{number:016x}");
            let failed = |what| Error::io(what, dest.path(&name));
            match rustix::fs::mkdirat(dest, &name, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                made => made.map_err(failed("make"))?,
            }
            // Until it is locked, another process may take it for stale.
            let fd = match open_dir(dest, &name) {
                Err(Errno::NOENT) => continue,
                opened => opened.map_err(failed("open"))?,
            };
            rustix::fs::flock(&fd, FlockOperation::LockExclusive).map_err(failed("lock"))?;
            match rustix::fs::statat(dest, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                found => found.map_err(failed("examine"))?,
            };
            let root = Root::new(fd, &dest.path(&name));
            let mut staging = Self { dest: dest.clone(), root, name, mask: 0, next: AtomicU64::new(0) };
            staging.mask = staging.probe_mask()?;
            return Ok(staging);
        }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Permissions that files made here do not get at once: those of the process' mask, or of a default ACL.
    pub(super) fn mask(&self) -> u32 {
        self.mask
    }

    /// A name that was not used here yet.
    pub(super) fn fresh_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    // Asking for the mask itself would change it for all threads.
    fn probe_mask(&self) -> Result<u32> {
        let name = self.fresh_name();
        let failed = |what| Error::io(what, self.root.path(&name));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.root, &name, flags, Mode::from_raw_mode(0o777)).map_err(failed("make"))?;
        let mode = rustix::fs::fstat(fd).map_err(failed("examine"))?.st_mode;
        rustix::fs::unlinkat(&self.root, &name, AtFlags::empty()).map_err(failed("remove"))?;
        Ok(0o777 & !mode)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(errno) = remove_tree(&self.dest, &self.name) {
            let path = self.dest.path(&self.name);
            tracing::warn!(path = %path.display(), error = %errno, "cannot remove a staging directory");
        }
    }
}

/// Removes what killed processes left in a directory.
fn remove_stale(dest: &Root) -> Result<()> {
    let read_failed = |errno| Error::io("read", dest.path(""))(errno);
    let dir = open_dir(dest, ".").and_then(Dir::new).map_err(read_failed)?;
    for item in dir {
        let item = item.map_err(read_failed)?;
        let Some(name) = item.file_name().to_str().ok().filter(|name| is_staging(name)) else { continue };
        let Ok(fd) = open_dir(dest, name) else { continue };
        let is_ours = rustix::fs::fstat(&fd)
            .is_ok_and(|stat| stat.st_mode & 0o777 == 0o700 && stat.st_uid == rustix::process::geteuid().as_raw());
        // The lock is kept until all is gone, so that nobody begins to use it.
        if is_ours && rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
            tracing::debug!(name, "removing a staging directory that was left behind");
            remove_tree(dest, name).map_err(Error::io("remove", dest.path(name)))?;
        }
    }
    Ok(())
}

/// Tells whether a name is one of a staging directory, be it in use or left behind.
pub(crate) fn is_staging(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes a directory with all that is in it, following nothing.
fn remove_tree(parent: impl AsFd, name: &str) -> Result<(), Errno> {
    match open_dir(&parent, name) {
        Ok(fd) => {
            let device = rustix::fs::fstat(&fd)?.st_dev;
            empty_dir(fd, device.into())?;
        }
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn empty_dir(fd: OwnedFd, device: i128) -> Result<(), Errno> {
    // Something may be mounted in what was moved here; that is nobody's to remove.
    if i128::from(rustix::fs::fstat(&fd)?.st_dev) != device {
        return Err(Errno::XDEV);
    }
    // Directories have their final permissions before they leave.
    rustix::fs::fchmod(&fd, Mode::RWXU)?;
    let dir = Dir::read_from(&fd)?;
    for item in dir {
        let item = item?;
        let name = item.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let is_dir = match item.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            kind => kind == FileType::Directory,
        };
        if is_dir {
            // The owner may open a directory of mode 0 only after changing that.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = match rustix::fs::openat(&fd, name, flags, Mode::empty()) {
                Err(Errno::ACCESS) => {
                    rustix::fs::chmodat(&fd, name, Mode::RWXU, AtFlags::empty())?;
                    rustix::fs::openat(&fd, name, flags, Mode::empty())?
                }
                opened => opened?,
            };
            empty_dir(inner, device)?;
            rustix::fs::unlinkat(&fd, name, AtFlags::REMOVEDIR)?;
        } else {
            rustix::fs::unlinkat(&fd, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_used_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let stale = dir.path().join(".skep-0123456789abcdef");
        std::fs::create_dir_all(stale.join("0/a")).unwrap();
        std::fs::write(stale.join("0/a/file"), "x").unwrap();
        std::os::unix::fs::symlink("/", stale.join("0/link")).unwrap();
        rustix::fs::chmod(&stale, Mode::RWXU).unwrap();
        std::fs::create_dir(dir.path().join(".skep-other")).unwrap();
        let dest = Root::open(dir.path()).unwrap();
        let names = || {
            let mut names: Vec<_> =
                std::fs::read_dir(dir.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let first = Staging::new(&dest).unwrap();
        assert!(!stale.exists());
        let second = Staging::new(&dest).unwrap();
        assert_eq!(names().len(), 3);
        drop((first, second));
        assert_eq!(names(), [".skep-other"]);
    }

    #[test]
    fn who_begins_when_others_clean_up_begins_again() {
        let dir = tempfile::tempdir().unwrap();
        // As processes would: each has its own handle of the directory, and so its own locks.
        let begin_often = || {
            let dest = Root::open(dir.path()).unwrap();
            for _ in 0..500 {
                let staging = Staging::new(&dest).unwrap();
                rustix::fs::mkdirat(staging.root(), "used", Mode::RWXU).unwrap();
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(begin_often))));
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}
