//! What the tests share: trees to archive, archives in memory, and a registry that counts.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod forged;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::FileSource;
use skep_archive::Limits;
use skep_archive::Source;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Digest;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;

/// Bytes of content in the chunks of a file of up to 1 GiB.
pub(crate) const CHUNK: usize = 256 << 10;

/// Bytes that do not compress.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// Text that compresses well.
pub(crate) fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for line in 0.. {
        text.extend_from_slice(format!("line {line} of a text that goes on and on\n").as_bytes());
        if text.len() >= len {
            break;
        }
    }
    text.truncate(len);
    text
}

pub(crate) fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub(crate) fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}

pub(crate) fn chmod(root: &Path, path: &str, mode: u32) {
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn touch(root: &Path, path: &str, mtime_ns: i64) {
    let (tv_sec, tv_nsec) = (mtime_ns.div_euclid(1_000_000_000), mtime_ns.rem_euclid(1_000_000_000));
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree with everything that an archive carries.
pub(crate) fn nasty_tree(root: &Path) {
    // Names that sort around the slash.
    for path in ["a/x", "a-b/y", "a.txt", "a/b/c", "a b", "a!/z", "z"] {
        write(root, path, path);
    }
    write(root, "empty", "");
    write(root, "deep/1/2/3/4/5/6/7/8/file", text(5000));
    write(root, "é/ü\u{1f41d}.txt", "unicode");
    write(root, "back\\slash\nnewline", "odd");
    write(root, "same/one", text(3000));
    write(root, "same/two", text(3000));
    write(root, "same/three", text(3000));
    write(root, "large/text", text(3_500_000));
    write(root, "large/noise", noise(3_300_001, 1));
    write(root, "large/text.copy", text(3_500_000));
    write(root, "large/exactly", text(1 << 20));
    write(root, "large/one-more", text((1 << 20) + 1));
    write(root, "photo.JPG", text(2000));
    write(root, "noise", noise(100_000, 2));
    fs::create_dir_all(root.join("void/in/side")).unwrap();
    link(root, "links/absolute", "/etc/passwd");
    link(root, "links/dangling", "nowhere/at/all");
    link(root, "links/dir", "../a");
    link(root, "links/file", "../a/b/c");
    link(root, "links/loop", "loop");
    link(root, "links/out", "../../outside");
    // Only root reads what nobody may read.
    let (no_file, no_directory) = if rustix::process::geteuid().is_root() { (0, 0) } else { (0o400, 0o500) };
    for (path, mode) in [("a.txt", no_file), ("z", 0o777), ("a/x", 0o4755), ("large/text", 0o600), ("void", 0o1777)] {
        chmod(root, path, mode);
    }
    touch(root, "z", -1_500_000_001);
    touch(root, "a.txt", 1);
    touch(root, "links/dangling", 1_234_567_890_123_456_789);
    touch(root, "void/in", -1);
    chmod(root, "void/in/side", no_directory);
    chmod(root, "deep/1", 0o555);
    touch(root, "a", 1_000_000_000_000_000_000);
}

/// What a tree looks like, in words: kind, permissions, time and content of each path.
pub(crate) fn describe(root: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    describe_below(root, "", &mut seen);
    seen
}

fn describe_below(root: &Path, dir: &str, seen: &mut BTreeMap<String, String>) {
    for item in fs::read_dir(root.join(dir)).unwrap() {
        let name = item.unwrap().file_name().into_string().unwrap();
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        let on_disk = root.join(&path);
        let stat = fs::symlink_metadata(&on_disk).unwrap();
        let mtime = stat.mtime() * 1_000_000_000 + stat.mtime_nsec();
        let mode = stat.mode() & 0o777;
        let what = if stat.is_dir() {
            describe_below(root, &path, seen);
            format!("directory {mode:o} {mtime}")
        } else if stat.is_symlink() {
            format!("link to {} {mtime}", fs::read_link(&on_disk).unwrap().display())
        } else {
            let content = fs::read(&on_disk).unwrap();
            format!("file {mode:o} {mtime} {} {}", content.len(), Digest::sha256(&content))
        };
        seen.insert(path, what);
    }
}

pub(crate) fn build(dir: &Path, options: &BuildOptions) -> Built {
    skep_archive::build(dir, options, &|_| {}).unwrap()
}

pub(crate) fn open(built: &Built) -> Archive {
    Archive::new(built.index().clone(), Arc::new(built.source()), Limits::default()).unwrap()
}

pub(crate) async fn data(built: &Built) -> Bytes {
    built.data().bytes(1 << 30).await.unwrap()
}

/// A source that writes down what is read of it.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    pub(crate) inner: S,
    pub(crate) reads: Mutex<Vec<Range<u64>>>,
}

impl<S: Source> Noted<S> {
    pub(crate) fn new(inner: S) -> Arc<Self> {
        Arc::new(Self { inner, reads: Mutex::default() })
    }

    /// What was read since the last call; a read of nothing is none.
    pub(crate) fn take(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
}

#[async_trait]
impl<S: Source> Source for Noted<S> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    async fn read(&self, range: Range<u64>) -> skep_archive::Result<Body> {
        if !range.is_empty() {
            self.reads.lock().unwrap().push(range.clone());
        }
        self.inner.read(range).await
    }
}

/// Opens what was built, and writes down what is read of its data.
pub(crate) fn open_noted(built: &Built) -> (Archive, Arc<Noted<FileSource>>) {
    let source = Noted::new(built.source());
    (Archive::new(built.index().clone(), source.clone(), Limits::default()).unwrap(), source)
}

/// A registry that writes down what it is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    pub(crate) inner: Memory,
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    /// Answer ranges with the whole blob.
    pub(crate) ignores_ranges: bool,
}

impl Counting {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    async fn note(&self, call: &str) -> Result<()> {
        self.calls.lock().unwrap().push(call.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Registry for Counting {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        let call = range.map_or("get_blob".to_owned(), |range| format!("get_blob {range}"));
        self.calls.lock().unwrap().push(call);
        self.inner.get_blob(repo, digest, range.filter(|_| !self.ignores_ranges)).await
    }

    skep_registry::forward_registry!(self => self.inner, after note; head_blob, locate_blob, get_manifest,
        head_manifest, put_blob, upload_blob, mount_blob, put_manifest);
    skep_registry::forward_registry!(self => self.inner; delete_blob, delete_manifest, list_tags, list_referrers,
        list_repos);
}
