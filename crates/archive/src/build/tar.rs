//! Tar archives, read as a stream: POSIX with its extended headers, GNU with its long names, and what came before.
//!
//! Written here because what there is reads extended headers of any size into memory, and takes them apart at line
//! breaks, which values may have. Layout: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, appendix D.

mod header;

use std::io::BufReader;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::Reason;
use super::catalog::Item;
use super::catalog::What;
use super::feed::Stream;
use crate::error::Error;
use crate::error::Result;
use crate::limits::Limits;

use header::BLOCK;
use header::Header;
use header::nanoseconds;
use header::record;
use header::without_nul;

/// Bytes that an extended header may have.
const MAX_EXTENDED: u64 = 1 << 20;

/// Bytes that are read ahead: headers are small.
const BUFFER: usize = 64 << 10;

/// A tar archive as a stream.
pub(super) struct Tar<'a> {
    input: Box<dyn Read + Send + 'a>,
    /// Bytes that were read.
    at: u64,
    /// Bytes of the current content that were not read, and how many fill its last block.
    left: u64,
    padding: u64,
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    mtime_ns: Option<i64>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl<'a> Tar<'a> {
    /// Takes a tar archive, plain or compressed by gzip or zstd, which its first bytes tell.
    pub(super) fn new(mut input: impl Read + Send + 'a, limits: &Limits) -> Result<Self> {
        let mut head = Vec::new();
        input.by_ref().take(6).read_to_end(&mut head).map_err(failed)?;
        let other = |name: &str| {
            let why = format!("it is compressed by {name}; what is unpacked here is gzip and zstd");
            Err(Error::InvalidTar { at: 0, why })
        };
        let begins = |magic: &[u8]| head.starts_with(magic);
        if begins(b"BZh") {
            return other("bzip2");
        } else if begins(b"\xfd7zXZ\0") {
            return other("xz");
        } else if begins(b"\x04\x22\x4d\x18") {
            return other("lz4");
        }
        // Frames that are to be skipped come first when several threads compressed.
        let is_zstd = begins(b"\x28\xb5\x2f\xfd") || head.get(1..4) == Some(b"\x2a\x4d\x18") && head[0] >> 4 == 5;
        let is_gzip = begins(b"\x1f\x8b");
        let input = std::io::Cursor::new(head).chain(input);
        let input: Box<dyn Read + Send + 'a> = if is_zstd {
            let mut decoder = zstd::stream::read::Decoder::new(input).map_err(failed)?;
            decoder.window_log_max(limits.window_log()).map_err(failed)?;
            Box::new(decoder)
        } else if is_gzip {
            Box::new(MultiGzDecoder::new(input))
        } else {
            Box::new(BufReader::with_capacity(BUFFER, input))
        };
        Ok(Self { input, at: 0, left: 0, padding: 0 })
    }

    fn wrong<T>(&self, why: impl Into<String>) -> Result<T> {
        Err(Error::InvalidTar { at: self.at, why: why.into() })
    }

    /// Reads up to a number of bytes, fewer only at the end.
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(count).read_to_end(&mut bytes).map_err(failed)?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }

    /// Goes on behind the current content.
    fn skip(&mut self) -> Result<()> {
        let count = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let skipped = std::io::copy(&mut self.input.by_ref().take(count), &mut std::io::sink()).map_err(failed)?;
        self.at += skipped;
        if skipped < count { self.wrong("it ends within a content") } else { Ok(()) }
    }

    /// The next header; none at the end.
    fn header(&mut self) -> Result<Option<Header>> {
        let block = self.bytes(BLOCK as u64)?;
        let Ok(block) = <[u8; BLOCK]>::try_from(block.as_slice()) else {
            return match block.len() {
                0 if self.at == 0 => self.wrong("expected a tar archive, got nothing"),
                0 => self.wrong("it ends without the block of zeros that says so: it may be cut off"),
                _ => self.wrong("it ends within a header"),
            };
        };
        if block.iter().all(|&byte| byte == 0) {
            // The writer is not to find that nobody listens any more; and a checksum may come at the end.
            std::io::copy(&mut self.input, &mut std::io::sink()).map_err(failed)?;
            return Ok(None);
        }
        let header = Header(block);
        // The checksum is of the header with blanks in its place.
        let without = |(at, &byte): (usize, &u8)| i64::from(if (148..156).contains(&at) { b' ' } else { byte });
        let sum = block.iter().enumerate().map(without).sum();
        if header.number(148..156) != Some(sum) {
            self.at -= BLOCK as u64;
            return self.wrong("expected a header, got something else: its checksum is not right");
        }
        let Some(size) = header.number(124..136).and_then(|size| u64::try_from(size).ok()) else {
            return self.wrong("the size in a header is no number");
        };
        self.content_of(size);
        Ok(Some(header))
    }

    fn content_of(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The content of an extended header.
    fn extended(&mut self) -> Result<Vec<u8>> {
        if self.left > MAX_EXTENDED {
            return Err(Error::limit("an extended header of the tar archive, in bytes,", MAX_EXTENDED, self.left));
        }
        let bytes = self.bytes(self.left)?;
        if (bytes.len() as u64) < self.left {
            return self.wrong("it ends within an extended header");
        }
        self.left = 0;
        self.skip()?;
        Ok(bytes)
    }

    /// Takes what an extended header of POSIX says.
    fn posix(&self, bytes: &[u8], extended: &mut Extended) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some((key, value, behind)) = record(rest) else {
                return self.wrong("an extended header is malformed");
            };
            rest = behind;
            match key {
                b"path" => extended.path = Some(value.to_vec()),
                b"linkpath" => extended.target = Some(value.to_vec()),
                b"size" => extended.size = Some(self.value(key, value, |text| text.parse().ok())?),
                b"uid" => extended.uid = Some(self.value(key, value, |text| text.parse().ok())?),
                b"gid" => extended.gid = Some(self.value(key, value, |text| text.parse().ok())?),
                b"mtime" => extended.mtime_ns = Some(self.value(key, value, nanoseconds)?),
                key if key.starts_with(b"GNU.sparse.") => return self.wrong(SPARSE),
                _ => {}
            }
        }
        Ok(())
    }

    fn value<T>(&self, key: &[u8], value: &[u8], parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        match std::str::from_utf8(value).ok().and_then(parse) {
            Some(value) => Ok(value),
            None => {
                let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                self.wrong(format!("an extended header says {key}={value:?}"))
            }
        }
    }

    /// Puts together what headers say of an entry; nothing of those that archives have no place for.
    fn item(&mut self, header: &Header, extended: Extended) -> Result<Option<Item>> {
        if let Some(size) = extended.size {
            self.content_of(size);
        }
        let size = self.left;
        let kind = header.kind();
        // Of links some writers state the size of what they lead to; there is no content behind them.
        if matches!(kind, b'1'..=b'6') {
            self.content_of(0);
        }
        let path = extended.path.filter(|path| !path.is_empty()).unwrap_or_else(|| header.path());
        let target = extended.target.filter(|target| !target.is_empty()).unwrap_or_else(|| header.target());
        let is_dir = path.ends_with(b"/");
        let what = match kind {
            // Before there was a kind for directories, they were files whose names end with a slash.
            0 | b'0' | b'7' if is_dir => What::Directory,
            0 | b'0' | b'7' => What::File(Some(size)),
            b'1' => match std::str::from_utf8(&target) {
                Ok(target) => What::HardLink(relative(target)?),
                Err(_) => What::Omitted(Reason::NonUtf8),
            },
            b'2' => String::from_utf8(target).map_or(What::Omitted(Reason::NonUtf8), What::Symlink),
            b'3' | b'4' => What::Omitted(Reason::Device),
            // GNU's incremental archives list the names in a directory as its content.
            b'5' | b'D' => What::Directory,
            b'6' => What::Omitted(Reason::Fifo),
            b'S' => return self.wrong(SPARSE),
            b'V' => return Ok(None),
            kind => return self.wrong(format!("an entry of the unknown kind {:?}", char::from(kind))),
        };
        let (path, what) = match String::from_utf8(path) {
            Ok(path) => (relative(&path)?, what),
            Err(path) => (String::from_utf8_lossy(path.as_bytes()).into_owned(), What::Omitted(Reason::NonUtf8)),
        };
        if path.is_empty() {
            return match what {
                What::Directory => Ok(None),
                _ => self.wrong("the path of an entry that is no directory is that of the root"),
            };
        }
        let owner = |said: Option<u32>, field| said.or_else(|| header.number(field)?.try_into().ok());
        let (Some(uid), Some(gid)) = (owner(extended.uid, 108..116), owner(extended.gid, 116..124)) else {
            return self.wrong(format!("the owner or group of {path} is no number of 32 bits"));
        };
        let seconds = header.number(136..148).map(|seconds| seconds.saturating_mul(1_000_000_000));
        let (Some(mtime_ns), Some(mode)) = (extended.mtime_ns.or(seconds), header.number(100..108)) else {
            return self.wrong(format!("the time or the permissions of {path} are no number"));
        };
        Ok(Some(Item { path, what, mode: (mode & 0o7777) as u32, uid, gid, mtime_ns }))
    }
}

impl Stream for Tar<'_> {
    const REPLACES: bool = true;

    fn next(&mut self) -> Result<Option<Item>> {
        let mut extended = Extended::default();
        let mut is_extended = false;
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return if is_extended { self.wrong("it ends behind an extended header") } else { Ok(None) };
            };
            match header.kind() {
                b'L' => extended.path = Some(without_nul(self.extended()?)),
                b'K' => extended.target = Some(without_nul(self.extended()?)),
                b'x' | b'X' => {
                    let bytes = self.extended()?;
                    self.posix(&bytes, &mut extended)?;
                }
                // What is said of all entries is a comment, mostly.
                b'g' => continue,
                _ => match self.item(&header, std::mem::take(&mut extended))? {
                    Some(item) => return Ok(Some(item)),
                    None => {
                        is_extended = false;
                        continue;
                    }
                },
            }
            is_extended = true;
        }
    }

    fn content(&mut self) -> &mut dyn Read {
        self
    }
}

/// Reads the current content.
impl Read for Tar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.by_ref().take(self.left).read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            let why = "it ends within a content".to_owned();
            return Err(std::io::Error::other(Error::InvalidTar { at: self.at, why }));
        }
        self.left -= count as u64;
        self.at += count as u64;
        Ok(count)
    }
}

/// The path of an archive that a path of a tar archive is; the root is the empty path.
fn relative(path: &str) -> Result<String> {
    let refuse = |why: &str| Err(Error::InvalidEntry { path: path.to_owned(), why: why.to_owned() });
    if path.starts_with('/') {
        return refuse("its path is absolute; an archive has no place outside of itself");
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") {
        return refuse("its path has `..`; an archive has no place outside of itself");
    }
    Ok(names.join("/"))
}

fn failed(source: std::io::Error) -> Error {
    Error::Io { what: "read", path: "the tar archive".into(), source }
}

const SPARSE: &str = "it has a file with holes in GNU's manner; make it without --sparse";
