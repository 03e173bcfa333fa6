//! What goes into an archive: files, symbolic links and directories, before their contents are packed.

use std::collections::BTreeMap;
use std::collections::HashSet;

use rustix::fs::Stat;

use super::Omitted;
use super::Reason;
use crate::pattern::Patterns;

/// What goes into an archive, each kind sorted by path.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: Vec<Node>,
    pub(super) symlinks: Vec<(Node, Box<str>)>,
    pub(super) directories: Vec<Node>,
    pub(super) omitted: BTreeMap<Reason, Omitted>,
    /// What patterns left out.
    pub(super) excluded: u64,
}

/// Metadata of a file, symbolic link or directory.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) path: Box<str>,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// By what the file is known again, if it must not change at all.
    pub(super) version: Option<Box<Version>>,
}

impl Node {
    pub(super) fn of(path: &str, stat: &Stat) -> Self {
        Self {
            path: path.into(),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64),
            mode: stat.st_mode & 0o777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            version: None,
        }
    }
}

/// By what a file is known to be the same, with the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Device and number; like the rest of types that are not the same on all systems.
    file: [i128; 2],
    size: u64,
    /// Times of modification and change.
    times: [i128; 4],
}

impl Version {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            file: [stat.st_dev.into(), stat.st_ino.into()],
            size: stat.st_size as u64,
            times: [stat.st_mtime.into(), stat.st_mtime_nsec.into(), stat.st_ctime.into(), stat.st_ctime_nsec.into()],
        }
    }

    /// Says how another version differs.
    pub(super) fn compare(&self, now: &Self) -> Result<(), String> {
        if self == now {
            Ok(())
        } else if self.file != now.file {
            Err("another file has taken its place".to_owned())
        } else if self.size != now.size {
            Err(format!("expected {} bytes, got {}", self.size, now.size))
        } else {
            Err("its times are not those that it had".to_owned())
        }
    }
}

impl Tree {
    /// Bytes of all contents.
    pub(super) fn size(&self) -> u64 {
        self.files.iter().map(|node| node.size).sum()
    }

    /// The newest time of modification.
    pub(super) fn newest_ns(&self) -> Option<i64> {
        let links = self.symlinks.iter().map(|(node, _)| node);
        self.files.iter().chain(links).chain(&self.directories).map(|node| node.mtime_ns).max()
    }

    /// Leaves out the directories that are not wanted and lead to nothing that is.
    pub(super) fn prune(&mut self, patterns: &Patterns) {
        let is_wanted = |node: &Node| patterns.admit(&node.path, true);
        if self.directories.iter().all(is_wanted) {
            return;
        }
        let links = self.symlinks.iter().map(|(node, _)| node);
        let wanted = self.directories.iter().filter(|node| is_wanted(node));
        let mut lead: HashSet<Box<str>> = HashSet::new();
        for node in self.files.iter().chain(links).chain(wanted) {
            // From the nearest directory up, until one that was there before.
            for (at, _) in node.path.rmatch_indices('/') {
                if !lead.insert(node.path[..at].into()) {
                    break;
                }
            }
        }
        let before = self.directories.len();
        self.directories.retain(|node| is_wanted(node) || lead.contains(&node.path));
        self.excluded += (before - self.directories.len()) as u64;
    }

    pub(super) fn omit(&mut self, reason: Reason, path: &str) {
        self.omitted.entry(reason).or_default().add(path);
    }
}
