//! Packing one file or chunk: read it once, hash it, compress it or not.

use std::io::Cursor;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
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

use super::Compression;
use super::walk::Node;
use crate::beneath::Root;
use crate::beneath::Walker;
use crate::error::Error;
use crate::error::Result;
use crate::format::Codec;
use crate::format::HASH;
use crate::path;

/// Files above this many bytes are stored in chunks of as many, or more.
pub(super) const CHUNK: u64 = 1 << 20;

/// No file has more chunks.
const MAX_CHUNKS: u64 = 4096;

/// Files below this many bytes are not compressed: a frame takes 13 bytes at least, and time.
const TINY: u64 = 512;

/// What probing a large file reads, at each of a few places.
const PROBE: u64 = 64 << 10;

/// Bytes of content in each chunk of a file.
pub(super) fn chunk_size(size: u64) -> u64 {
    let mut chunk = CHUNK;
    while size.div_ceil(chunk) > MAX_CHUNKS {
        chunk *= 2;
    }
    chunk
}

/// One thread's tools, used for one file after the other.
pub(super) struct Packer {
    walker: Walker,
    context: Option<CCtx<'static>>,
    content: Vec<u8>,
}

impl Packer {
    pub(super) fn new(root: &Root, compression: Compression) -> Self {
        let context = match compression {
            Compression::None => None,
            Compression::Zstd { level } => {
                let mut context = CCtx::create();
                for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)] {
                    context.set_parameter(parameter).expect("zstd has these parameters, and cuts levels to its range");
                }
                Some(context)
            }
        };
        Self { walker: Walker::new(root.clone()), context, content: Vec::new() }
    }

    /// Opens a file that was seen on the walk.
    pub(super) fn open(&mut self, node: &Node) -> Result<OwnedFd> {
        let (dir, name) = path::split(&node.path);
        let on_disk = self.walker.root().path(&node.path);
        let parent = self.walker.enter(dir)?;
        // Should it be a pipe by now, opening must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(Error::io("open", &on_disk))?;
        let stat = rustix::fs::fstat(&fd).map_err(Error::io("examine", &on_disk))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::Changed {
                path: on_disk,
                why: "expected a regular file, got something else".to_owned(),
            });
        }
        if stat.st_size as u64 != node.size {
            let why = format!("expected {} bytes, got {}", node.size, stat.st_size);
            return Err(Error::Changed { path: on_disk, why });
        }
        Ok(fd)
    }

    /// Reads, hashes and stores a small file; its stored bytes are added to `stored`.
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
        let done = done.and_then(|()| {
            let hash: [u8; HASH] = Sha256::digest(&content).into();
            if content.is_empty() {
                // It has no bytes to decompress and keeps the codec that was chosen.
                let codec = if self.context.is_some() { Codec::Zstd } else { Codec::None };
                return Ok(PackedFile { hash, codec, size: 0, known: false });
            }
            if known(&hash) {
                return Ok(PackedFile { hash, codec: Codec::None, size: 0, known: true });
            }
            let before = stored.len();
            let codec = if is_worthwhile(&node.path, node.size) && self.compress(node, &content, stored, before)? {
                Codec::Zstd
            } else {
                stored.truncate(before);
                stored.extend_from_slice(&content);
                Codec::None
            };
            Ok(PackedFile { hash, codec, size: stored.len() - before, known: false })
        });
        self.content = content;
        done
    }

    /// Reads, hashes and stores one chunk of a large file.
    pub(super) fn pack_chunk(&mut self, file: &Large, node: &Node, number: u64, spare: [Vec<u8>; 2]) -> Result<Chunk> {
        let mut opened = file.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.is_none() {
            let fd = self.open(node)?;
            let codec = self.probe(&fd, node)?;
            *opened = Some((fd.into(), codec));
        }
        let (fd, codec) = opened.clone().expect("it was opened above");
        drop(opened);
        let start = number * file.chunk_size;
        let len = file.chunk_size.min(node.size - start);
        let [mut content, mut stored] = spare;
        content.clear();
        stored.clear();
        self.read(&fd, node, start, len, &mut content)?;
        let hash = Sha256::digest(&content).into();
        if codec == Codec::Zstd {
            self.compress(node, &content, &mut stored, 0)?;
        }
        Ok(Chunk { content, stored, hash, codec })
    }

    /// Reads bytes of a file, and one more if they should be its last.
    fn read(&self, fd: impl AsFd, node: &Node, start: u64, len: u64, content: &mut Vec<u8>) -> Result<()> {
        let on_disk = || self.walker.root().path(&node.path);
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
            path: self.walker.root().path(&node.path),
            source: std::io::Error::other(get_error_name(code)),
        })?;
        Ok(size + content.len() / 16 < content.len())
    }

    /// Decides how a large file is stored, by what compressing a little of it at a few places gives.
    fn probe(&mut self, fd: impl AsFd, node: &Node) -> Result<Codec> {
        if self.context.is_none() || !is_worthwhile(&node.path, node.size) {
            return Ok(Codec::None);
        }
        let (mut content, mut stored) = (Vec::new(), Vec::new());
        for part in 0..4 {
            let mut sample = Vec::new();
            self.read(&fd, node, (node.size - PROBE - 1) / 4 * part, PROBE, &mut sample)?;
            content.extend_from_slice(&sample[..PROBE as usize]);
        }
        Ok(if self.compress(node, &content, &mut stored, 0)? { Codec::Zstd } else { Codec::None })
    }
}

/// A small file that was packed.
pub(super) struct PackedFile {
    pub(super) hash: [u8; HASH],
    pub(super) codec: Codec,
    /// Stored bytes.
    pub(super) size: usize,
    /// The content is stored already, with an earlier file.
    pub(super) known: bool,
}

/// A large file, of which several threads pack chunks.
pub(super) struct Large {
    pub(super) chunk_size: u64,
    opened: Mutex<Option<(Arc<OwnedFd>, Codec)>>,
}

impl Large {
    pub(super) fn new(node: &Node) -> Self {
        Self { chunk_size: chunk_size(node.size), opened: Mutex::new(None) }
    }

    pub(super) fn chunks(&self, node: &Node) -> u64 {
        node.size.div_ceil(self.chunk_size)
    }
}

/// A chunk that was packed.
pub(super) struct Chunk {
    pub(super) content: Vec<u8>,
    /// What is stored instead of the content, if it is compressed.
    pub(super) stored: Vec<u8>,
    pub(super) hash: [u8; HASH],
    pub(super) codec: Codec,
}

/// Tells whether compressing a file is worth trying, by its name and size.
fn is_worthwhile(path: &str, size: u64) -> bool {
    let (_, name) = path::split(path);
    let Some((_, extension)) = name.rsplit_once('.') else { return size >= TINY };
    size >= TINY && !COMPRESSED.iter().any(|compressed| compressed.eq_ignore_ascii_case(extension))
}

/// Extensions of files that are compressed already.
const COMPRESSED: &[&str] = &[
    "7z", "aac", "apk", "avif", "br", "bz2", "cab", "crate", "deb", "docx", "ear", "egg", "epub", "flac", "gif", "gz",
    "heic", "heif", "jar", "jpeg", "jpg", "jxl", "lz4", "lzma", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "odt", "ogg",
    "opus", "png", "pptx", "rar", "rpm", "tbz", "tgz", "txz", "war", "webm", "webp", "whl", "woff", "woff2", "xlsx",
    "xz", "zip", "zst", "zstd",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_the_file() {
        for (size, want) in [
            (CHUNK + 1, CHUNK),
            (CHUNK * MAX_CHUNKS, CHUNK),
            (CHUNK * MAX_CHUNKS + 1, CHUNK * 2),
            (CHUNK * MAX_CHUNKS * 1000, CHUNK * 1024),
        ] {
            assert_eq!(chunk_size(size), want, "{size}");
        }
    }

    #[test]
    fn compressed_and_tiny_files_are_not_compressed_again() {
        for (path, size, want) in [
            ("a/b.txt", TINY, true),
            ("a/b.txt", TINY - 1, false),
            ("a/b.PNG", 1 << 20, false),
            ("png", 1 << 20, true),
            ("a.png/b", 1 << 20, true),
        ] {
            assert_eq!(is_worthwhile(path, size), want, "{path} {size}");
        }
    }
}
