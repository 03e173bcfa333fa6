//! Directories and symbolic links of an extraction: made before all files, finished behind them.

use std::os::fd::AsFd;

use rustix::fs::AtFlags;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::Uid;
use rustix::io::Errno;

use super::Shared;
use super::plan::Plan;
use super::plan::PlannedLink;
use super::staging::Staging;
use super::write::in_the_way;
use super::write::restore;
use super::write::times;
use crate::beneath::Root;
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
pub(super) fn make(plan: &mut Plan, dest: &Root, staging: &Staging) -> Result<()> {
    let (mut there, mut made) = (Walker::new(dest.clone()), Walker::new(staging.root().clone()));
    // Parents come before what lies in them, though not right before.
    for at in 1..plan.directories.len() {
        let (parent, name) = path::split(&plan.directories[at].path);
        let parent = plan.directories[..at]
            .binary_search_by(|directory| directory.path.as_str().cmp(parent))
            .expect("all directories on the way are planned, and parents come first");
        let parent = &plan.directories[parent];
        let (in_staging, name_there) = match &parent.staged {
            Some(staged) => (Some(staged), name.to_owned()),
            None => match open_dir(there.enter(&parent.path)?, name) {
                Ok(fd) => {
                    allow_writing(fd.as_fd(), plan.directories[at].metadata.is_some());
                    continue;
                }
                Err(Errno::NOENT) => (None, staging.fresh_name()),
                Err(errno) => return Err(refuse(errno, dest, &plan.directories[at].path)),
            },
        };
        // Recorded permissions come last: they may forbid to write.
        let mode = if plan.directories[at].metadata.is_some() { Mode::RWXU } else { Mode::from_raw_mode(0o777) };
        let staged = in_staging.map_or_else(|| name_there.clone(), |staged| format!("{staged}/{name_there}"));
        let parent = made.enter(in_staging.map_or("", String::as_str))?;
        rustix::fs::mkdirat(parent, &name_there, mode)
            .map_err(Error::io("make", dest.path(&plan.directories[at].path)))?;
        plan.directories[at].staged = Some(staged);
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
    for link in &plan.symlinks {
        shared.check()?;
        make_link(shared, link, &mut there, &mut made)?;
    }
    let new = |top: bool| {
        let directories = plan.directories.iter().rev();
        directories.filter_map(move |directory| {
            let staged = directory.staged.as_deref()?;
            (staged.contains('/') != top).then_some((directory, staged))
        })
    };
    for (directory, staged) in new(false) {
        shared.check()?;
        if let Some(metadata) = &directory.metadata {
            restore(made.enter(staged)?, metadata, true, shared.owners)
                .map_err(Error::io("restore", shared.dest.path(&directory.path)))?;
        }
    }
    // A directory that forbids its owner to write cannot be moved, so those at the top get theirs later.
    for (directory, staged) in new(true) {
        let (parent, name) = path::split(&directory.path);
        rustix::fs::renameat(shared.staging.root(), staged, there.enter(parent)?, name)
            .map_err(|errno| in_the_way(errno, &shared.dest, &directory.path))?;
    }
    for directory in plan.directories.iter().rev() {
        let is_left = directory.staged.as_ref().is_none_or(|staged| !staged.contains('/'));
        if let (true, Some(metadata)) = (is_left, &directory.metadata) {
            restore(there.enter(&directory.path)?, metadata, true, shared.owners)
                .map_err(Error::io("restore", shared.dest.path(&directory.path)))?;
        }
    }
    Ok(())
}

fn make_link(shared: &Shared, link: &PlannedLink, there: &mut Walker, made: &mut Walker) -> Result<()> {
    let directory = &shared.plan.directories[link.directory as usize];
    let target_path = shared.dest.path(&directory.path).join(&link.name);
    let (waits_in, waits_as) = match &directory.staged {
        Some(staged) => (made.enter(staged)?, link.name.clone()),
        None => (made.enter("")?, shared.staging.fresh_name()),
    };
    let failed = || Error::io("make", &target_path);
    rustix::fs::symlinkat(&link.target, waits_in, &waits_as).map_err(failed())?;
    rustix::fs::utimensat(waits_in, &waits_as, &times(link.metadata.mtime_ns), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed())?;
    if shared.owners {
        let (uid, gid) = (Uid::from_raw(link.metadata.uid), Gid::from_raw(link.metadata.gid));
        rustix::fs::chownat(waits_in, &waits_as, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed())?;
    }
    if directory.staged.is_none() {
        let path =
            if directory.path.is_empty() { link.name.clone() } else { format!("{}/{}", directory.path, link.name) };
        rustix::fs::renameat(waits_in, &waits_as, there.enter(&directory.path)?, &link.name)
            .map_err(|errno| in_the_way(errno, &shared.dest, &path))?;
    }
    Ok(())
}
