//! Cleaning: what the archive does not have goes out of directories that were there.

use std::collections::HashSet;
use std::ffi::CString;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::io::Errno;

use super::Shared;
use super::place::inode;
use super::place::put_aside;
use super::staging::is_staging;
use crate::beneath::Walker;
use crate::error::Error;
use crate::error::Result;

/// Puts aside whatever was not extracted. Directories that are new have nothing else.
pub(super) fn clean(shared: &Shared) -> Result<()> {
    let expected = expected(shared);
    let mut there = Walker::new(shared.dest.clone());
    for (directory, expected) in shared.plan.directories.iter().zip(&expected) {
        let Some(expected) = expected else { continue };
        shared.check()?;
        let path = shared.dest.path(&directory.path);
        let fd = there.enter(&directory.path)?;
        for name in unexpected(Dir::read_from(fd).map_err(Error::io("read", &path))?, expected, &path)? {
            let failed = |what| Error::io(what, path.join(name.to_string_lossy().as_ref()));
            let stat = match rustix::fs::statat(fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(failed("examine"))?,
            };
            // A disk that does not tell upper from lower case may have the name of what was there before.
            if shared.placed.find(inode(&stat)).is_none() {
                put_aside(shared, fd, &name).map_err(failed("remove"))?;
            }
        }
    }
    Ok(())
}

/// The names that each directory is to have in the end; none for directories that are new.
fn expected(shared: &Shared) -> Vec<Option<HashSet<&str>>> {
    let plan = &shared.plan;
    let is_there = plan.directories.iter().map(|directory| directory.staged.is_none());
    let mut expected: Vec<_> = is_there.map(|is_there| is_there.then(HashSet::new)).collect();
    for item in plan.items() {
        if let Some(names) = &mut expected[shared.directory_at(item) as usize] {
            names.insert(shared.place_of(item).1);
        }
    }
    expected
}

fn unexpected(dir: Dir, expected: &HashSet<&str>, path: &Path) -> Result<Vec<CString>> {
    let mut unexpected = Vec::new();
    for item in dir {
        let item = item.map_err(Error::io("read", path))?;
        let name = item.file_name();
        let is_expected = |name: &str| matches!(name, "." | "..") || is_staging(name) || expected.contains(name);
        if !name.to_str().is_ok_and(is_expected) {
            unexpected.push(name.to_owned());
        }
    }
    Ok(unexpected)
}
