//! Entries: what an archive is built of when there is neither a directory nor a file.

use std::fmt;
use std::io::Read;

use super::catalog::Item;
use super::catalog::What;
use super::feed::Stream;
use crate::error::Result;

/// Something to put into an archive.
///
/// ```
/// use skep_archive::{BuildEntry, BuildOptions, build_entries};
///
/// let entries = [BuildEntry::file("docs/a.txt", "content".as_bytes()), BuildEntry::directory("empty")];
/// let built = build_entries(entries.into_iter().map(Ok), &BuildOptions::default(), &|_| {})?;
/// assert_eq!(built.summary().files, 1);
/// # Ok::<_, skep_archive::Error>(())
/// ```
#[derive(Debug)]
pub struct BuildEntry<'a> {
    /// Relative, names between slashes, none of them empty, `.` or `..`.
    pub path: String,
    /// What it is.
    pub kind: EntryKind<'a>,
    /// Permissions; bits above the low 9 are counted as omitted.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Time of modification: nanoseconds since the epoch, negative before it.
    pub mtime_ns: i64,
}

/// What an entry is.
#[non_exhaustive]
pub enum EntryKind<'a> {
    /// A directory. Those on the way to other entries need not be given.
    Directory,
    /// A regular file.
    File {
        /// Read once, to its end, when the entry is packed.
        content: Box<dyn Read + Send + 'a>,
        /// Bytes, if that is known. If it is not, what is above 1 MiB is first copied into a temporary file.
        size: Option<u64>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads.
        target: String,
    },
}

impl<'a> BuildEntry<'a> {
    /// A file that all may read, of owner 0 and of the beginning of 1970, whose size is not known yet.
    pub fn file(path: impl Into<String>, content: impl Read + Send + 'a) -> Self {
        Self::new(path, 0o644, EntryKind::File { content: Box::new(content), size: None })
    }

    /// A directory that all may read, of owner 0 and of the beginning of 1970.
    pub fn directory(path: impl Into<String>) -> Self {
        Self::new(path, 0o755, EntryKind::Directory)
    }

    /// A symbolic link of owner 0 and of the beginning of 1970.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(path, 0o777, EntryKind::Symlink { target: target.into() })
    }

    fn new(path: impl Into<String>, mode: u32, kind: EntryKind<'a>) -> Self {
        Self { path: path.into(), kind, mode, uid: 0, gid: 0, mtime_ns: 0 }
    }
}

impl fmt::Debug for EntryKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("Directory"),
            Self::File { size, .. } => f.debug_struct("File").field("size", size).finish_non_exhaustive(),
            Self::Symlink { target } => f.debug_struct("Symlink").field("target", target).finish(),
        }
    }
}

/// Entries as a stream.
pub(super) struct Entries<'a, I> {
    entries: I,
    content: Box<dyn Read + Send + 'a>,
}

impl<I> Entries<'_, I> {
    pub(super) fn new(entries: I) -> Self {
        Self { entries, content: Box::new(std::io::empty()) }
    }
}

impl<'a, I: Iterator<Item = Result<BuildEntry<'a>>> + Send> Stream for Entries<'a, I> {
    const REPLACES: bool = false;

    fn next(&mut self) -> Result<Option<Item>> {
        self.content = Box::new(std::io::empty());
        let Some(entry) = self.entries.next().transpose()? else { return Ok(None) };
        let BuildEntry { path, kind, mode, uid, gid, mtime_ns } = entry;
        let what = match kind {
            EntryKind::Directory => What::Directory,
            EntryKind::File { content, size } => {
                self.content = content;
                What::File(size)
            }
            EntryKind::Symlink { target } => What::Symlink(target),
        };
        Ok(Some(Item { path, what, mode, uid, gid, mtime_ns }))
    }

    fn content(&mut self) -> &mut dyn Read {
        &mut self.content
    }
}
