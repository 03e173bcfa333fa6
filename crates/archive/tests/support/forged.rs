//! Archives whose index says what a test wants, and a place where harm would show.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::Digest as _;
use sha2::Sha256;
use skep_archive::Archive;
use skep_archive::Codec;
use skep_archive::Directory;
use skep_archive::Entry;
use skep_archive::Limits;
use skep_archive::Result;
use skep_archive::Source;
use skep_archive::Symlink;
use skep_archive::write_index;
use skep_registry::Body;

/// The content of all files of a forged archive, unless a test says something else.
pub(crate) const CONTENT: &[u8] = b"content";

/// The SHA-256 of bytes, for as long as the test runs.
pub(crate) fn hash(content: &[u8]) -> &'static [u8; 32] {
    Box::leak(Box::new(Sha256::digest(content).into()))
}

/// A file with [`CONTENT`], which is all of the data.
pub(crate) fn file(path: &str) -> Entry<'_> {
    let size = CONTENT.len() as u64;
    Entry {
        path,
        data_offset: 0,
        data_size: size,
        original_size: size,
        hash: hash(CONTENT),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_ns: 0,
        codec: Codec::None,
        chunks: None,
    }
}

pub(crate) fn link<'a>(path: &'a str, target: &'a str) -> Symlink<'a> {
    Symlink { path, target, uid: 0, gid: 0, mtime_ns: 0 }
}

pub(crate) fn directory(path: &str) -> Directory<'_> {
    Directory { path, mode: 0o755, uid: 0, gid: 0, mtime_ns: 0 }
}

/// An archive over data, with an index of these.
pub(crate) fn forge(
    entries: &[Entry<'_>],
    links: &[Symlink<'_>],
    directories: &[Directory<'_>],
    data: &[u8],
) -> Result<Archive> {
    let size = data.len() as u64;
    let (entries, links) = (entries.iter().copied(), links.iter().copied());
    let index = write_index(entries, links, directories.iter().copied(), size, hash(data)).unwrap();
    open(index, data)
}

pub(crate) fn open(index: Bytes, data: &[u8]) -> Result<Archive> {
    Archive::new(index, Arc::new(Bytewise(Bytes::copy_from_slice(data))), Limits::default())
}

/// Data in memory.
#[derive(Debug)]
pub(crate) struct Bytewise(pub(crate) Bytes);

#[async_trait]
impl Source for Bytewise {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        Ok(self.0.slice(range.start as usize..range.end as usize).into())
    }
}

/// A destination in the middle of things that nobody may touch.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["victim", "outside/victim", "outside/deep/victim", "around/victim", "around/f", "around/d/x"] {
            super::write(root, path, format!("the victim at {path}"));
        }
        fs::create_dir_all(root.join("around/dest")).unwrap();
        fs::create_dir_all(root.join("outside/empty")).unwrap();
        super::link(root, "around/link", "../outside");
        let before = state(root, &root.join("around/dest"));
        Self { dir, before }
    }

    /// Where to extract to.
    pub(crate) fn dest(&self) -> PathBuf {
        self.dir.path().join("around/dest")
    }

    /// Something outside of it.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn assert_untouched(&self, what: &str) {
        let after = state(self.dir.path(), &self.dest());
        assert_eq!(after, self.before, "something outside changed: {what}");
    }

    /// The paths in the destination, staging directories and all. Nothing is opened: pipes would wait.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut left = vec![self.dest()];
        while let Some(dir) = left.pop() {
            for item in fs::read_dir(dir).unwrap() {
                let item = item.unwrap();
                if item.file_type().unwrap().is_dir() {
                    left.push(item.path());
                }
                paths.push(item.path().strip_prefix(self.dest()).unwrap().to_str().unwrap().to_owned());
            }
        }
        paths.sort();
        paths
    }
}

/// All that is below a directory but in one place: number, permissions, owner, time and content.
fn state(root: &Path, except: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = if stat.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if stat.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|item| item.unwrap().path()).filter(|path| path != except));
            String::new()
        } else {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        };
        let (owner, time) = ((stat.uid(), stat.gid()), (stat.mtime(), stat.mtime_nsec()));
        seen.insert(path, format!("{} {:o} {owner:?} {time:?} {content}", stat.ino(), stat.mode()));
    }
    seen
}
