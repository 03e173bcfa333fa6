//! Placing: what was made in staging appears under its name, and never over something of the same extraction.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::RenameFlags;
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::path::Arg;

use super::Overwrite;
use super::Shared;
use super::plan::Item;
use crate::beneath::Root;
use crate::beneath::Walker;
use crate::error::Error;
use crate::error::Result;

/// What this extraction has in directories that were there.
#[derive(Debug, Default)]
pub(super) struct Placed {
    by_inode: Mutex<HashMap<Inode, Item>>,
    pub(super) skipped: AtomicU64,
    pub(super) removed: AtomicU64,
}

/// What tells two things of a disk apart, whatever their names are: device and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode(i128, u64);

pub(super) fn inode(stat: &Stat) -> Inode {
    Inode(stat.st_dev.into(), stat.st_ino)
}

impl Placed {
    /// Notes what something of the disk is, and tells what it was noted as before.
    pub(super) fn note(&self, inode: Inode, item: Item) -> Option<Item> {
        let mut by_inode = self.by_inode.lock().unwrap_or_else(PoisonError::into_inner);
        by_inode.insert(inode, item).filter(|other| *other != item)
    }

    /// Finds what something of the disk is.
    pub(super) fn find(&self, inode: Inode) -> Option<Item> {
        self.by_inode.lock().unwrap_or_else(PoisonError::into_inner).get(&inode).copied()
    }
}

/// Moves something from staging to its place; false when what is there is kept.
///
/// # Errors
/// `Collision` when something of this extraction is there, on a disk that takes different names for the same;
/// `Conflict` when something else is, and is not to be replaced.
pub(super) fn place(shared: &Shared, waits_as: &str, item: Item, there: &mut Walker) -> Result<bool> {
    let failed = |what| Error::io(what, shared.dest.path(&shared.path_of(item)));
    let staging = shared.staging.root();
    let stat = rustix::fs::statat(staging, waits_as, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("examine"))?;
    // Before it is there, so that whoever finds it there knows what it is.
    shared.placed.note(inode(&stat), item);
    let (directory, name) = shared.place_of(item);
    let parent = there.enter(&directory.path)?;
    match rename_new(staging, waits_as, parent, name) {
        Ok(()) => return Ok(true),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("put in place")(errno)),
    }
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    if let Ok(found) = &found
        && let Some(other) = shared.placed.find(inode(found))
        && is_there(shared, other, found)
    {
        return Err(shared.collision(item, other));
    }
    let conflict = |why| Error::Conflict { path: shared.dest.path(&shared.path_of(item)), why };
    let is_dir = matches!(item, Item::Directory(_));
    match shared.options.overwrite {
        Overwrite::Fail if !is_dir => return Err(conflict("it is there already")),
        Overwrite::Skip if !is_dir => {
            shared.placed.skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        }
        _ => {}
    }
    let is_dir_there = found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if shared.options.clean && (is_dir || is_dir_there) {
        put_aside(shared, parent, name).map_err(failed("remove"))?;
    }
    match rustix::fs::renameat(staging, waits_as, parent, name) {
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => Err(conflict("a directory is in the way")),
        Err(Errno::NOTDIR) => Err(conflict("a file or symbolic link is in the way")),
        renamed => renamed.map(|()| true).map_err(failed("put in place")),
    }
}

/// Tells whether something that was placed is still what it was: another process may have replaced it, and got its number for
/// something else.
fn is_there(shared: &Shared, item: Item, as_found: &Stat) -> bool {
    let (directory, name) = shared.place_of(item);
    let mut dest = Walker::new(shared.dest.clone());
    dest.enter(&directory.path).is_ok_and(|parent| {
        rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| inode(&stat) == inode(as_found))
    })
}

/// Takes something out of a directory and into staging, which is removed in the end.
///
/// So it goes at once, with all that is in it, and nothing is removed by a name that somebody may change.
pub(super) fn put_aside(shared: &Shared, parent: BorrowedFd<'_>, name: impl Arg) -> Result<(), Errno> {
    rustix::fs::renameat(parent, name, shared.staging.root(), shared.staging.fresh_name())?;
    shared.placed.removed.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Renames to a name that nothing has, otherwise it is `EXIST`.
fn rename_new(from: &Root, old: &str, to: BorrowedFd<'_>, new: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // There are file systems that cannot. Then somebody else may be replaced who comes in between.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match rustix::fs::statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => rustix::fs::renameat(from, old, to, new),
                Ok(_) => Err(Errno::EXIST),
                Err(errno) => Err(errno),
            }
        }
        renamed => renamed,
    }
}
