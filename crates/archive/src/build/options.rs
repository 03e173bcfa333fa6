//! Options: how an archive is built.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::tree::Node;
use crate::limits::Limits;
use crate::path;
use crate::pattern::Patterns;
use crate::progress::Cancel;

/// How to build an archive.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// How contents are stored. zstd of level 3 by default.
    pub compression: Compression,
    /// Which contents are stored as they are, without an attempt to compress them.
    pub skip: Skip,
    /// Record what version 1 of the format in Go has no place for: symbolic links, directories, chunks.
    ///
    /// Readers of that version see the regular files either way. On by default.
    pub extensions: bool,
    /// Which paths are wanted; all by default. What is left out is counted in [`Summary::excluded`](super::Summary).
    ///
    /// Directories that are excluded are not read. When anything is included, the directories that are recorded
    /// are those that are included themselves, and those that lead to something that is.
    pub patterns: Patterns,
    /// Leave out what files of the name `.skepignore` say, in any directory of the tree, as git does by `.gitignore`.
    ///
    /// The patterns of such a file are relative to its directory, and count for more than those of directories
    /// above. The files themselves are packed unless they are ignored. Streams have no such files: there, one
    /// could come after what it speaks of. On by default.
    pub ignore_files: bool,
    /// Keep out what tells of the machine: owners become 0, permissions 0755 for directories and what the owner may
    /// execute and 0644 for the rest, and times behind [`epoch`](Self::epoch) become that.
    pub reproducible: bool,
    /// The latest time in a [`reproducible`](Self::reproducible) archive, in seconds since 1970, usually
    /// `SOURCE_DATE_EPOCH`; 0 if it is not set.
    pub epoch: Option<i64>,
    /// By what a file is found to have changed while it was read.
    pub changes: Changes,
    /// Threads that read and compress; 0 is one for each processor. The archive does not depend on it.
    ///
    /// Each has at most 8 MiB of content in memory, or twice a chunk when that is more: chunks are
    /// 256 KiB in files of up to 1 GiB, and 1/4096 of the file above.
    pub workers: usize,
    /// Where the data is kept until it is sent, in a file without a name. The system's place by default.
    pub spool_dir: Option<PathBuf>,
    /// What is refused because it could not be read back.
    pub limits: Limits,
    /// The word to stop.
    pub cancel: Cancel,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            skip: Skip::default(),
            extensions: true,
            patterns: Patterns::default(),
            ignore_files: true,
            reproducible: false,
            epoch: None,
            changes: Changes::default(),
            workers: 0,
            spool_dir: None,
            limits: Limits::default(),
            cancel: Cancel::default(),
        }
    }
}

impl BuildOptions {
    /// Takes out of metadata what is not to be in the archive.
    pub(super) fn tidy(&self, node: &mut Node, is_dir: bool) {
        if self.reproducible {
            let latest = self.epoch.unwrap_or(0).saturating_mul(1_000_000_000);
            (node.uid, node.gid, node.mtime_ns) = (0, 0, node.mtime_ns.min(latest));
            node.mode = if is_dir || node.mode & 0o100 != 0 { 0o755 } else { 0o644 };
        }
    }

    pub(super) fn temporary_place(&self) -> PathBuf {
        self.spool_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// How contents are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Compressed, unless that does not save at least 1/16.
    Zstd {
        /// From -7, fast, to 22, small; 3 is usual.
        level: i32,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd { level: 3 }
    }
}

/// By what a file is found to have changed while it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changes {
    /// By its size.
    #[default]
    Size,
    /// By anything: before and after it is read it must be the same file, of the same size and times, that was
    /// there when its directory was read. Also what was written with the same size is found.
    Strict,
}

/// Which contents are stored as they are, without an attempt to compress them.
#[derive(Clone)]
pub struct Skip {
    /// Those of files of fewer bytes. 512 by default: a frame takes 13 bytes at least, and time.
    pub below: u64,
    /// Those of types that are compressed already, by the extension of the name: pictures, films, packages, models.
    /// On by default.
    pub compressed_types: bool,
    /// Those of which the caller says so, by path and size. Called from any thread.
    #[expect(clippy::type_complexity, reason = "a name for it would tell less")]
    pub when: Option<Arc<dyn Fn(&str, u64) -> bool + Send + Sync>>,
}

impl Skip {
    /// Nothing is skipped: each content is compressed unless that does not save enough.
    pub fn nothing() -> Self {
        Self { below: 0, compressed_types: false, when: None }
    }

    /// Tells whether a file is stored as it is.
    pub fn applies(&self, path: &str, size: u64) -> bool {
        size < self.below
            || self.compressed_types && is_compressed(path)
            || self.when.as_ref().is_some_and(|when| when(path, size))
    }
}

impl Default for Skip {
    fn default() -> Self {
        Self { below: 512, compressed_types: true, when: None }
    }
}

impl fmt::Debug for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = (self.below, self.compressed_types, self.when.is_some());
        f.debug_tuple("Skip").field(&fields).finish()
    }
}

fn is_compressed(path: &str) -> bool {
    let (_, name) = path::split(path);
    let Some((_, extension)) = name.rsplit_once('.') else { return false };
    COMPRESSED.split(' ').any(|compressed| compressed.eq_ignore_ascii_case(extension))
}

/// Extensions of files that are compressed already, or do not compress.
const COMPRESSED: &str = "7z aac apk avif br bz2 cab conda crate deb docx ear egg epub flac gguf gif gz heic heif ipa jar jpeg jpg jxl \
    lz lz4 lzma m4a m4v mkv mov mp3 mp4 nupkg odp ods odt ogg opus parquet png pptx rar rpm safetensors snap \
    squashfs tbz tbz2 tgz txz tzst vsix war webm webp whl woff woff2 xlsx xpi xz zip zst zstd";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_and_tiny_files_are_not_compressed_again() {
        let own = Skip { when: Some(Arc::new(|path, size| path == "a/own" && size > 5)), ..Skip::nothing() };
        let (usual, nothing) = (Skip::default(), Skip::nothing());
        for (skip, path, size, want) in [
            (&usual, "a/b.txt", 512, false),
            (&usual, "a/b.txt", 511, true),
            (&usual, "a/b.PNG", 1 << 20, true),
            (&usual, "png", 1 << 20, false),
            (&usual, "a.png/b", 1 << 20, false),
            (&usual, "model.safetensors", 1 << 20, true),
            (&usual, "sound.wav", 1 << 20, false),
            (&usual, "paper.pdf", 1 << 20, false),
            (&nothing, "a.png", 0, false),
            (&own, "a/own", 6, true),
            (&own, "a/own", 5, false),
        ] {
            assert_eq!(skip.applies(path, size), want, "{path} {size}");
        }
    }
}
