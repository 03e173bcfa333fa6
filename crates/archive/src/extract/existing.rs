//! What is there before an extraction: kept or refused, as the caller wants.

use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Overwrite;
use super::Shared;
use super::place::inode;
use super::plan::Item;
use crate::beneath::Walker;
use crate::error::Error;
use crate::error::Result;

/// Takes out of the plan what is there and to be kept, or refuses it.
pub(super) fn look(shared: &mut Shared) -> Result<()> {
    if shared.options.overwrite == Overwrite::Replace {
        return Ok(());
    }
    let mut there = Walker::new(shared.dest.clone());
    let (mut files, mut symlinks) = (Vec::new(), Vec::new());
    let mut size = 0;
    for at in 0..shared.plan.files.len() {
        if !is_there(shared, Item::File(at as u32), &mut there)? {
            files.push(shared.plan.files[at]);
            size += shared.entry(at).original_size;
        }
    }
    for at in 0..shared.plan.symlinks.len() {
        if !is_there(shared, Item::Link(at as u32), &mut there)? {
            symlinks.push(shared.plan.symlinks[at].clone());
        }
    }
    let plan = &mut shared.plan;
    (plan.files, plan.symlinks, plan.size) = (files, symlinks, size);
    Ok(())
}

/// Tells whether something has the name already, and keeps it then.
fn is_there(shared: &mut Shared, item: Item, there: &mut Walker) -> Result<bool> {
    let (directory, name) = shared.place_of(item);
    if directory.staged.is_some() {
        return Ok(false);
    }
    let path = || shared.dest.path(&shared.path_of(item));
    let stat = match rustix::fs::statat(there.enter(&directory.path)?, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(Error::io("examine", path())(errno)),
    };
    if shared.options.overwrite == Overwrite::Fail {
        return Err(Error::Conflict { path: path(), why: "it is there already" });
    }
    let kept = (shared.directory_at(item), name.to_owned());
    shared.placed.note(inode(&stat), Item::Kept(shared.plan.kept.len() as u32));
    shared.placed.skipped.fetch_add(1, Ordering::Relaxed);
    shared.plan.kept.push(kept);
    Ok(true)
}

/// Refuses to clean a directory that is more than the place of an archive.
pub(super) fn refuse_precious(dest: &Path) -> Result<()> {
    // What is not there has nothing in it.
    let Ok(place) = dest.canonicalize() else { return Ok(()) };
    let precious = [std::env::current_dir().ok(), std::env::home_dir()];
    let is_in = |inner: &Path| inner.canonicalize().is_ok_and(|inner| inner.starts_with(&place));
    if place.parent().is_none() || precious.iter().flatten().any(|inner| is_in(inner)) {
        let why = "it is the root, the home or the current directory, or has one in it, and would lose all else";
        return Err(Error::Conflict { path: dest.to_owned(), why });
    }
    Ok(())
}
