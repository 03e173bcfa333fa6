//! Directories and symbolic links of an extraction: made before all files, finished behind them.

use std::os::fd::AsFd;

use rustix::fs::AtFlags;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::Shared;
use super::place::inode;
use super::place::place;
use super::plan::Item;
use super::plan::PlannedLink;
use super::write::owner;
use super::write::restore;
use super::write::times;
use crate::beneath::Walker;
use crate::beneath::open_dir;
use crate::beneath::refuse;
use crate::error::Error;
use crate::error::Result;
use crate::path;

/// Finds the directories that are there, and makes all others in staging.
///
/// Those that are made appear in their place in one piece, with all that is in them: nobody sees them
/// half full, nobody can interfere, and the files in them need not be moved one by one.
pub(super) fn make(shared: &mut Shared) -> Result<()> {
    let (mut there, mut made) = (Walker::new(shared.dest.clone()), Walker::new(shared.staging.root().clone()));
    // Parents come before what lies in them, though not right before.
    for at in 1..shared.plan.directories.len() {
        let item = Item::Directory(at as u32);
        let directory = &shared.plan.directories[at];
        let parent = &shared.plan.directories[directory.parent as usize];
        let (_, name) = path::split(&directory.path);
        let (in_staging, name_there) = match &parent.staged {
            Some(staged) => (Some(staged), name.to_owned()),
            None => match open_dir(there.enter(&parent.path)?, name) {
                Ok(fd) => {
                    let stat =
                        rustix::fs::fstat(&fd).map_err(Error::io("examine", shared.dest.path(&directory.path)))?;
                    if let Some(other) = shared.placed.note(inode(&stat), item) {
                        return Err(shared.collision(item, other));
                    }
                    allow_writing(fd.as_fd(), directory.metadata.is_some() && shared.options.modes);
                    continue;
                }
                Err(Errno::NOENT) => (None, shared.staging.fresh_name()),
                // What is in the way is removed when there is something to put in its place.
                Err(Errno::NOTDIR | Errno::LOOP) if shared.options.clean => (None, shared.staging.fresh_name()),
                Err(errno) => return Err(refuse(errno, &shared.dest, &directory.path)),
            },
        };
        // Recorded permissions come last: they may forbid to write.
        let is_restored = directory.metadata.is_some() && shared.options.modes;
        let mode = if is_restored { Mode::RWXU } else { Mode::from_raw_mode(0o777) };
        let staged = in_staging.map_or_else(|| name_there.clone(), |staged| format!("{staged}/{name_there}"));
        let parent = made.enter(in_staging.map_or("", String::as_str))?;
        rustix::fs::mkdirat(parent, &name_there, mode).map_err(|errno| shared.not_made(errno, item))?;
        shared.plan.directories[at].staged = Some(staged);
    }
    Ok(())
}

/// Lets the owner write in a directory that gets its permissions in the end anyway.
fn allow_writing(fd: impl AsFd, is_restored: bool) {
    if let (true, Ok(stat)) = (is_restored, rustix::fs::fstat(&fd))
        && stat.st_mode & 0o700 != 0o700
    {
        // If it does not help, making the first file in it says why.
        let _ = rustix::fs::fchmod(&fd, Mode::from_raw_mode(stat.st_mode & 0o777 | 0o700));
    }
}

/// Makes the symbolic links, then moves new directories to their places, from the deepest up.
pub(super) fn finish(shared: &Shared) -> Result<()> {
    let plan = &shared.plan;
    let mut there = Walker::new(shared.dest.clone());
    let mut made = Walker::new(shared.staging.root().clone());
    for (at, link) in plan.symlinks.iter().enumerate() {
        shared.check()?;
        make_link(shared, at as u32, link, &mut there, &mut made)?;
    }
    let is_top = |staged: &str| !staged.contains('/');
    for directory in plan.directories.iter().rev() {
        shared.check()?;
        if let (Some(staged), Some(metadata)) = (&directory.staged, &directory.metadata)
            && !is_top(staged)
        {
            restore(made.enter(staged)?, metadata, true, &shared.options)
                .map_err(Error::io("restore", shared.dest.path(&directory.path)))?;
        }
    }
    // A directory that forbids its owner to write cannot be moved, so those at the top get theirs later.
    for (at, directory) in plan.directories.iter().enumerate() {
        if let Some(staged) = directory.staged.as_deref().filter(|staged| is_top(staged)) {
            place(shared, staged, Item::Directory(at as u32), &mut there)?;
        }
    }
    Ok(())
}

/// Gives directories their permissions and times, when nothing changes in them any more.
pub(super) fn restore_all(shared: &Shared) -> Result<()> {
    let mut there = Walker::new(shared.dest.clone());
    for directory in shared.plan.directories.iter().rev() {
        let is_left = directory.staged.as_ref().is_none_or(|staged| !staged.contains('/'));
        if let (true, Some(metadata)) = (is_left, &directory.metadata) {
            restore(there.enter(&directory.path)?, metadata, true, &shared.options)
                .map_err(Error::io("restore", shared.dest.path(&directory.path)))?;
        }
    }
    Ok(())
}

fn make_link(shared: &Shared, at: u32, link: &PlannedLink, there: &mut Walker, made: &mut Walker) -> Result<()> {
    let directory = &shared.plan.directories[link.directory as usize];
    let (waits_in, waits_as) = match &directory.staged {
        Some(staged) => (made.enter(staged)?, link.name.clone()),
        None => (made.enter("")?, shared.staging.fresh_name()),
    };
    let failed = || Error::io("make", shared.dest.path(&shared.path_of(Item::Link(at))));
    rustix::fs::symlinkat(&link.target, waits_in, &waits_as).map_err(|errno| shared.not_made(errno, Item::Link(at)))?;
    if shared.options.times {
        rustix::fs::utimensat(waits_in, &waits_as, &times(link.metadata.mtime_ns), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed())?;
    }
    if shared.options.owners {
        let (uid, gid) = owner(&link.metadata);
        rustix::fs::chownat(waits_in, &waits_as, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(failed())?;
    }
    if directory.staged.is_some() || place(shared, &waits_as, Item::Link(at), there)? {
        shared.link_done();
    }
    Ok(())
}
