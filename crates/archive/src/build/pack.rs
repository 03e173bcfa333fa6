//! Packing one file, or some chunks of one: read it once, hash it, compress it or not.

use std::io::Cursor;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::buffer::spare_capacity;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use sha2::Digest as _;
use sha2::Sha256;
use zstd::zstd_safe::CCtx;
use zstd::zstd_safe::CParameter;
use zstd::zstd_safe::compress_bound;
use zstd::zstd_safe::get_error_name;

use super::BuildOptions;
use super::Compression;
use super::tree::Node;
use super::tree::Version;
use crate::beneath::Root;
use crate::beneath::Walker;
use crate::error::Error;
use crate::error::Result;
use crate::format::Codec;
use crate::format::HASH;
use crate::path;

/// Files above this many bytes are stored in chunks.
pub(super) const CHUNKED: u64 = 1 << 20;

/// Bytes of a chunk, or more.
///
/// A part of a file costs all of the chunks that it lies in: random reads of 64 KiB in 1 GiB of sources cost 1.2 times
/// their bytes like this, and 2.6 times in chunks of 1 MiB. A chunk takes 36 bytes of the index.
const CHUNK: u64 = 256 << 10;

/// No file has more chunks.
const MAX_CHUNKS: u64 = 4096;

/// Bytes of a large file that are compressed to see whether it is worth it, at each of a few places.
const SAMPLE: u64 = 64 << 10;

/// How many places.
const SAMPLES: u64 = 4;

/// Where a sample of content of a size begins.
fn sample_at(part: u64, size: u64) -> u64 {
    (size - SAMPLE - 1) / SAMPLES * part
}

/// Bytes of content in each chunk of a file.
pub(super) fn chunk_size(size: u64) -> u64 {
    let mut chunk = CHUNK;
    while size.div_ceil(chunk) > MAX_CHUNKS {
        chunk *= 2;
    }
    chunk
}

/// Bytes of content that are packed at once: a batch of small files, or as many chunks of a large file of this size.
pub(super) fn task_size(size: u64) -> u64 {
    chunk_size(size).max(CHUNKED)
}

/// One thread's tools, used for one file after the other.
pub(super) struct Packer<'a> {
    options: &'a BuildOptions,
    /// For files on the disk.
    walker: Option<Walker>,
    context: Option<CCtx<'static>>,
    content: Vec<u8>,
}

impl<'a> Packer<'a> {
    /// Makes the tools for files below a directory, or for contents that are given.
    pub(super) fn new(root: Option<&Root>, options: &'a BuildOptions) -> Self {
        let context = match options.compression {
            Compression::None => None,
            Compression::Zstd { level } => {
                let mut context = CCtx::create();
                for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)] {
                    context.set_parameter(parameter).expect("zstd has these parameters, and cuts levels to its range");
                }
                Some(context)
            }
        };
        Self { options, walker: root.map(|root| Walker::new(root.clone())), context, content: Vec::new() }
    }

    /// The path of a file, for words.
    fn place(&self, node: &Node) -> PathBuf {
        self.walker.as_ref().map_or_else(|| PathBuf::from(&*node.path), |walker| walker.root().path(&node.path))
    }

    /// Opens a file that was seen on the walk.
    pub(super) fn open(&mut self, node: &Node) -> Result<OwnedFd> {
        open(self.walker.as_mut().expect("a file whose content is not given is on the disk"), node)
    }

    /// Checks that a file is still what was seen on the walk, if it has to be.
    fn check(&self, fd: impl AsFd, node: &Node) -> Result<()> {
        let Some(version) = &node.version else { return Ok(()) };
        let stat = rustix::fs::fstat(fd).map_err(Error::io("examine", self.place(node)))?;
        version.compare(&Version::of(&stat)).map_err(|why| Error::Changed { path: self.place(node), why })
    }

    /// Hashes and stores a small file that is on the disk; its stored bytes are added to `stored`.
    ///
    /// `known` tells whether content of a hash is stored already; then nothing is added.
    pub(super) fn pack_file(
        &mut self,
        node: &Node,
        stored: &mut Vec<u8>,
        known: impl Fn(&[u8; HASH]) -> bool,
    ) -> Result<PackedFile> {
        let fd = self.open(node)?;
        let mut content = std::mem::take(&mut self.content);
        content.clear();
        let done = self.read(&fd, node, 0, node.size, &mut content);
        let done = done.and_then(|()| self.check(&fd, node));
        let done = done.and_then(|()| self.pack_content(node, &content, stored, known));
        self.content = content;
        done
    }

    /// Does the same for a content that is given.
    pub(super) fn pack_content(
        &mut self,
        node: &Node,
        content: &[u8],
        stored: &mut Vec<u8>,
        known: impl Fn(&[u8; HASH]) -> bool,
    ) -> Result<PackedFile> {
        let hash: [u8; HASH] = Sha256::digest(content).into();
        let packed = |codec, size, known| PackedFile { hash, codec, original: node.size, size, known };
        if content.is_empty() {
            // It has no bytes to decompress and keeps the codec that was chosen.
            let codec = if self.context.is_some() { Codec::Zstd } else { Codec::None };
            return Ok(packed(codec, 0, false));
        }
        if known(&hash) {
            return Ok(packed(Codec::None, 0, true));
        }
        let before = stored.len();
        let is_tried = !self.options.skip.applies(&node.path, node.size);
        let codec = if is_tried && self.compress(node, content, stored, before)? {
            Codec::Zstd
        } else {
            stored.truncate(before);
            stored.extend_from_slice(content);
            Codec::None
        };
        Ok(packed(codec, stored.len() - before, false))
    }

    /// Hashes and stores the chunks in a range of a large file, which is read unless it is given.
    pub(super) fn pack_chunks(
        &mut self,
        file: &Large,
        range: Range<u64>,
        given: Option<Vec<u8>>,
        spare: impl Fn() -> Vec<u8>,
    ) -> Result<PackedChunks> {
        let node = &file.node;
        let (fd, codec) = self.start(file)?;
        let content = match (given, fd) {
            (Some(content), _) => content,
            (None, Some(fd)) => {
                let mut content = spare();
                content.clear();
                self.read(&fd, node, range.start, range.end - range.start, &mut content)?;
                self.check(&fd, node)?;
                content
            }
            (None, None) => unreachable!("a file whose content is not given was opened"),
        };
        let mut stored = spare();
        stored.clear();
        let mut chunks = Vec::new();
        for chunk in content.chunks(usize::try_from(file.chunk_size).unwrap_or(usize::MAX)) {
            let (hash, before) = (Sha256::digest(chunk).into(), stored.len());
            let size = if codec == Codec::Zstd {
                self.compress(node, chunk, &mut stored, before)?;
                stored.len() - before
            } else {
                chunk.len()
            };
            chunks.push((size, hash));
        }
        let (chunk_size, is_last) = (file.chunk_size, range.end == node.size);
        Ok(PackedChunks { content, stored, chunks, codec, chunk_size, is_last })
    }

    /// Opens a large file if it is on the disk and decides how it is stored, for the first range that is taken.
    fn start(&mut self, file: &Large) -> Result<(Option<Arc<OwnedFd>>, Codec)> {
        let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (fd, codec) = match &*state {
            Begin::Begun(fd, codec) => return Ok((fd.clone(), *codec)),
            Begin::Given(sample) => (None, self.probe(&file.node, sample)?),
            Begin::OnDisk => {
                let fd = self.open(&file.node)?;
                let sample = self.sample(&fd, &file.node)?;
                let codec = self.probe(&file.node, &sample)?;
                (Some(Arc::new(fd)), codec)
            }
        };
        *state = Begin::Begun(fd.clone(), codec);
        Ok((fd, codec))
    }

    /// Reads bytes of a file, and one more if they should be its last.
    fn read(&self, fd: impl AsFd, node: &Node, start: u64, len: u64, content: &mut Vec<u8>) -> Result<()> {
        let on_disk = || self.place(node);
        let is_last = start + len == node.size;
        content.reserve(len as usize + usize::from(is_last));
        while (content.len() as u64) < len {
            let at = start + content.len() as u64;
            let count = rustix::io::retry_on_intr(|| rustix::io::pread(&fd, spare_capacity(content), at));
            if count.map_err(Error::io("read", on_disk()))? == 0 {
                break;
            }
        }
        // A buffer with space for more than the file has: the read that came to its end found nothing behind it.
        let came = start + content.len() as u64;
        if (content.len() as u64) < len || (is_last && came > node.size) {
            let more = if came > node.size { " or more" } else { "" };
            let why = format!("expected {} bytes, got {came}{more}", node.size);
            return Err(Error::Changed { path: on_disk(), why });
        }
        content.truncate(len as usize);
        Ok(())
    }

    /// Compresses content and adds it behind the first `at` bytes of `stored`; tells whether it was worth it.
    fn compress(&mut self, node: &Node, content: &[u8], stored: &mut Vec<u8>, at: usize) -> Result<bool> {
        let Some(context) = &mut self.context else { return Ok(false) };
        stored.reserve(compress_bound(content.len()));
        let mut cursor = Cursor::new(stored);
        cursor.set_position(at as u64);
        let size = context.compress2(&mut cursor, content);
        let size = size.map_err(|code| Error::Io {
            what: "compress",
            path: self.place(node),
            source: std::io::Error::other(get_error_name(code)),
        })?;
        Ok(size + content.len() / 16 < content.len())
    }

    /// Reads a little of a large file at a few places.
    fn sample(&self, fd: impl AsFd, node: &Node) -> Result<Vec<u8>> {
        let (mut sample, mut content) = (Vec::new(), Vec::new());
        for part in 0..SAMPLES {
            content.clear();
            self.read(&fd, node, sample_at(part, node.size), SAMPLE, &mut content)?;
            sample.extend_from_slice(&content);
        }
        Ok(sample)
    }

    /// Tells how a file on the disk that is not empty would be stored, as packing it would find.
    pub(super) fn codec(&mut self, node: &Node) -> Result<Codec> {
        let fd = self.open(node)?;
        let mut sample = Vec::new();
        if node.size > CHUNKED {
            sample = self.sample(&fd, node)?;
        } else {
            self.read(&fd, node, 0, node.size, &mut sample)?;
        }
        self.probe(node, &sample)
    }

    /// Decides how a large file is stored, by what compressing a little of it at a few places gives.
    fn probe(&mut self, node: &Node, sample: &[u8]) -> Result<Codec> {
        if self.options.skip.applies(&node.path, node.size) {
            return Ok(Codec::None);
        }
        Ok(if self.compress(node, sample, &mut Vec::new(), 0)? { Codec::Zstd } else { Codec::None })
    }
}

/// Opens a file that was seen on the walk, as far as type and size tell.
pub(super) fn open(walker: &mut Walker, node: &Node) -> Result<OwnedFd> {
    let (dir, name) = path::split(&node.path);
    let on_disk = walker.root().path(&node.path);
    let parent = walker.enter(dir)?;
    // Should it be a pipe by now, opening must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(Error::io("open", &on_disk))?;
    let stat = rustix::fs::fstat(&fd).map_err(Error::io("examine", &on_disk))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Changed { path: on_disk, why: "expected a regular file, got something else".to_owned() });
    }
    if stat.st_size as u64 != node.size {
        let why = format!("expected {} bytes, got {}", node.size, stat.st_size);
        return Err(Error::Changed { path: on_disk, why });
    }
    Ok(fd)
}

/// A small file that was packed.
pub(super) struct PackedFile {
    pub(super) hash: [u8; HASH],
    pub(super) codec: Codec,
    /// Bytes of content.
    pub(super) original: u64,
    /// Stored bytes.
    pub(super) size: usize,
    /// The content is stored already, with an earlier file.
    pub(super) known: bool,
}

/// A large file, of which several threads pack chunks.
pub(super) struct Large {
    pub(super) node: Node,
    pub(super) chunk_size: u64,
    state: Mutex<Begin>,
}

/// How far the beginning of a large file is.
enum Begin {
    Begun(Option<Arc<OwnedFd>>, Codec),
    /// Its content is given; this is a little of it.
    Given(Vec<u8>),
    OnDisk,
}

impl Large {
    /// Takes a file on the disk.
    pub(super) fn on_disk(node: &Node) -> Self {
        Self { node: node.clone(), chunk_size: chunk_size(node.size), state: Mutex::new(Begin::OnDisk) }
    }

    /// Takes a file whose content is given, range by range.
    pub(super) fn given(node: Node) -> Result<Self> {
        let chunk_size = chunk_size(node.size);
        if chunk_size > u64::from(u32::MAX) {
            let limit = u64::from(u32::MAX) * MAX_CHUNKS;
            return Err(Error::limit(format!("{}, in bytes,", node.path), limit, node.size));
        }
        Ok(Self { node, chunk_size, state: Mutex::new(Begin::Given(Vec::new())) })
    }

    /// Takes a little of the first range of a file whose content is given, to decide by it.
    pub(super) fn sample(&self, first: &[u8]) {
        let sample =
            (0..SAMPLES).flat_map(|part| &first[sample_at(part, first.len() as u64) as usize..][..SAMPLE as usize]);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Begin::Given(sample.copied().collect());
    }

    /// The chunks that are packed at once, from the one on that begins at a byte of content.
    pub(super) fn range(&self, start: u64) -> Range<u64> {
        start..self.node.size.min(start + task_size(self.node.size))
    }
}

/// Chunks of a large file that were packed, one behind the other.
pub(super) struct PackedChunks {
    pub(super) content: Vec<u8>,
    /// What is stored instead of the content, if it is compressed.
    pub(super) stored: Vec<u8>,
    /// Stored bytes and hash of each.
    pub(super) chunks: Vec<(usize, [u8; HASH])>,
    pub(super) codec: Codec,
    /// Bytes of content in each chunk of the file but the last.
    pub(super) chunk_size: u64,
    pub(super) is_last: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_the_file() {
        for (size, want) in [
            (CHUNKED + 1, CHUNK),
            (CHUNK * MAX_CHUNKS, CHUNK),
            (CHUNK * MAX_CHUNKS + 1, CHUNK * 2),
            (CHUNK * MAX_CHUNKS * 1000, CHUNK * 1024),
        ] {
            assert_eq!(chunk_size(size), want, "{size}");
            assert_eq!(task_size(size) % want, 0, "{size}: chunks are packed whole");
        }
    }
}
