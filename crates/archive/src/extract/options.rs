//! Options of an extraction, and what came of it.

use crate::pattern::Patterns;
use crate::progress::Cancel;
use crate::read::GAP;

/// How to extract.
#[derive(Clone, Debug)]
pub struct ExtractOptions {
    /// Paths of files, symbolic links and directories, these with all that is in them; everything if empty.
    ///
    /// Symbolic links are not followed: what they are, not what they lead to, is extracted.
    pub select: Vec<String>,
    /// Which of what is selected is wanted, by whole paths of the archive. Everything by default.
    ///
    /// Directories that something wanted lies in are made, and get their permissions and times.
    pub patterns: Patterns,
    /// A directory of the archive that becomes the destination: it is cut off all paths.
    pub strip: String,
    /// Another name for the one file or symbolic link that is selected.
    pub name: Option<String>,
    /// What becomes of files and symbolic links that are there already. They are replaced by default.
    pub overwrite: Overwrite,
    /// Remove in the end what was not extracted, so that the destination has nothing else. Off by default.
    ///
    /// What is in the way of something that is extracted is removed, too, even a directory. Nothing is removed when
    /// the extraction fails before. It is refused for `/`, for the home directory, for the current one, and for
    /// all that they lie in.
    pub clean: bool,
    /// Restore permissions, the low 9 bits; otherwise the mask of the process decides. On by default.
    pub modes: bool,
    /// Restore times of modification. On by default.
    pub times: bool,
    /// Restore owners and groups, which takes privileges. Off by default.
    pub owners: bool,
    /// Threads that decode and write; 0 is one for each processor. Fewer if `memory` does not last for so many.
    pub workers: usize,
    /// Requests that are under way at the same time, where what is wanted does not lie together. At least 1; 8 by
    /// default.
    pub in_flight: usize,
    /// Bytes of other files that are read and dropped rather than asking once more.
    pub gap: u64,
    /// Bytes that may wait to be decoded or written, in all threads together; 64 MiB by default.
    ///
    /// Any number will do: some KiB for each thread and request, and what the windows of a foreign compressor
    /// take, are needed besides.
    pub memory: u64,
    /// Bytes of content that may be written; besides [`Limits::total`](crate::Limits::total). No limit by default.
    pub total: u64,
    /// The word to stop.
    pub cancel: Cancel,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self {
            select: Vec::new(),
            patterns: Patterns::default(),
            strip: String::new(),
            name: None,
            overwrite: Overwrite::default(),
            clean: false,
            modes: true,
            times: true,
            owners: false,
            workers: 0,
            in_flight: 8,
            gap: GAP,
            memory: 64 << 20,
            total: u64::MAX,
            cancel: Cancel::default(),
        }
    }
}

/// What becomes of files and symbolic links that are there already. Directories that are there are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overwrite {
    /// They are a [`Conflict`](crate::Error::Conflict), before anything is written.
    Fail,
    /// They are replaced. What is not a directory gives way to what is not one.
    #[default]
    Replace,
    /// They are kept, whatever they are, and counted.
    Skip,
}

/// What was extracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// Regular files that were written.
    pub files: u64,
    /// Directories that are selected or that something selected lies in; the destination does not count.
    pub directories: u64,
    /// Symbolic links that were made.
    pub symlinks: u64,
    /// Bytes of content that were written.
    pub bytes: u64,
    /// Files and symbolic links that were kept, see [`Overwrite::Skip`].
    pub skipped: u64,
    /// What [`clean`](ExtractOptions::clean) removed; a directory counts as one, with all that was in it.
    pub removed: u64,
}
