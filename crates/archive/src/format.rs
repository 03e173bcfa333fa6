//! The index: what it says of files, symbolic links and directories, read from its bytes.
//!
//! `docs/format.md` draws the bytes.

mod check;
mod children;
mod lookup;
mod walk;
mod write;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;

use crate::error::Result;
use crate::flat::Malformed;
use crate::flat::Table;
use crate::flat::follow;
use crate::format::lookup::Lookup;
use crate::limits::Limits;

pub use children::Node;
pub use write::write_index;

/// The media type of index blobs.
pub const INDEX_TYPE: &str = "application/vnd.meigma.blob.index.v1+flatbuffers";

/// The media type of data blobs.
pub const DATA_TYPE: &str = "application/vnd.meigma.blob.data.v1";

/// The artifact type of manifests of archives.
pub const ARTIFACT_TYPE: &str = "application/vnd.meigma.blob.v1";

/// Bytes of a SHA-256 hash.
pub(crate) const HASH: usize = 32;

/// How the content of a file is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As it is.
    #[default]
    None,
    /// As zstd frames, one or more; an empty file as no bytes.
    Zstd,
}

/// A regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Relative, names between slashes.
    pub path: &'a str,
    /// Where the stored bytes begin in the data blob.
    pub data_offset: u64,
    /// How many bytes are stored.
    pub data_size: u64,
    /// Bytes of content.
    pub original_size: u64,
    /// SHA-256 of the content.
    pub hash: &'a [u8; 32],
    /// Permissions, the low 9 bits.
    pub mode: u32,
    /// The owner. Recorded, and restored only on request.
    pub uid: u32,
    /// The group. Recorded, and restored only on request.
    pub gid: u32,
    /// When the content was changed last: nanoseconds since the epoch, negative before it.
    pub mtime_ns: i64,
    /// How the content is stored.
    pub codec: Codec,
    /// The parts that can be read and verified alone; none for small files and in archives of other writers.
    pub chunks: Option<Chunks<'a>>,
}

impl Entry<'_> {
    /// The stored bytes in the data blob.
    pub fn data(&self) -> Range<u64> {
        self.data_offset..self.data_offset + self.data_size
    }
}

/// The parts of a large file: each is stored by itself, has a hash, and can be read alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks<'a> {
    size: u32,
    stored: &'a [u8],
    hashes: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// Takes the parts of a table as they stand in an index.
    ///
    /// `stored` has the stored bytes of each chunk as a little-endian u32, `hashes` their SHA-256 hashes.
    pub(crate) fn new(size: u32, stored: &'a [u8], hashes: &'a [u8]) -> Self {
        Self { size, stored, hashes }
    }

    /// Bytes of content in each chunk but the last, which may have less. At least 1.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.hashes.len() / HASH
    }

    /// Tells whether there is no chunk.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Stored bytes and SHA-256 of a chunk.
    pub fn get(&self, at: usize) -> Option<(u32, &'a [u8; 32])> {
        let stored = self.stored.as_chunks::<4>().0.get(at)?;
        Some((u32::from_le_bytes(*stored), self.hashes.as_chunks().0.get(at)?))
    }

    /// Stored bytes and SHA-256 of each chunk, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'a [u8; 32])> + use<'a> {
        let (stored, _) = self.stored.as_chunks::<4>();
        let (hashes, _) = self.hashes.as_chunks::<HASH>();
        stored.iter().map(|bytes| u32::from_le_bytes(*bytes)).zip(hashes)
    }
}

/// A symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symlink<'a> {
    /// Relative, names between slashes.
    pub path: &'a str,
    /// What it points to, as it was read. May lead anywhere.
    pub target: &'a str,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Nanoseconds since the epoch.
    pub mtime_ns: i64,
}

/// A directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory<'a> {
    /// Relative, names between slashes.
    pub path: &'a str,
    /// Permissions, the low 9 bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Nanoseconds since the epoch.
    pub mtime_ns: i64,
}

/// What is in an archive, and where in its data blob.
///
/// Everything is checked when the bytes are parsed and read from them when it is asked for: an index takes
/// little more memory than its bytes. Positions count in the order of paths, compared as bytes, in
/// whatever order the writer left them.
#[derive(Debug)]
pub struct Index {
    bytes: Bytes,
    entries: List,
    symlinks: List,
    directories: List,
    data_size: u64,
    data_hash: Option<[u8; HASH]>,
}

impl Index {
    /// Parses and checks the bytes of an index blob.
    ///
    /// # Errors
    /// `InvalidIndex`, saying what is wrong and where; `Limit` and `TooManyFiles` when it is too large.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self> {
        check::parse(bytes, limits)
    }

    /// The bytes it was parsed from.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of the data blob.
    pub fn data_size(&self) -> u64 {
        self.data_size
    }

    /// SHA-256 of the data blob, if the writer recorded it.
    pub fn data_hash(&self) -> Option<&[u8; 32]> {
        self.data_hash.as_ref()
    }

    /// How many regular files there are.
    pub fn len(&self) -> usize {
        self.entries.len
    }

    /// Tells whether there is no regular file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file at a position.
    ///
    /// # Panics
    /// When there is none.
    pub fn entry(&self, at: usize) -> Entry<'_> {
        read_entry(&self.bytes, self.entries.table(&self.bytes, at)).expect("every entry was read when it was parsed")
    }

    /// All files, in the order of their paths.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|at| self.entry(at))
    }

    /// All files, in the order in which the writer left them.
    pub fn entries_as_written(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + DoubleEndedIterator {
        let list = List::new(self.entries.at, self.entries.len);
        (0..self.len()).map(move |at| {
            read_entry(&self.bytes, list.table(&self.bytes, at)).expect("every entry was read when it was parsed")
        })
    }

    /// Finds a file by its path.
    pub fn find(&self, path: &str) -> Option<Entry<'_>> {
        self.position(path).map(|at| self.entry(at))
    }

    /// Finds the position of a file by its path.
    pub fn position(&self, path: &str) -> Option<usize> {
        self.entries.find(&self.bytes, path.as_bytes())
    }

    /// The positions of the files below a directory; the empty path is the root.
    pub fn below(&self, dir: &str) -> Range<usize> {
        self.entries.below(&self.bytes, dir)
    }

    /// The positions of the files whose path begins with a text.
    pub fn starting_with(&self, start: &str) -> Range<usize> {
        self.entries.starting_with(&self.bytes, 0, start.as_bytes())
    }

    /// All symbolic links, in the order of their paths.
    pub fn symlinks(&self) -> impl ExactSizeIterator<Item = Symlink<'_>> + DoubleEndedIterator {
        self.symlinks_at(0..self.symlinks.len)
    }

    /// The symbolic links below a directory.
    pub(crate) fn symlinks_below(&self, dir: &str) -> impl ExactSizeIterator<Item = Symlink<'_>> {
        self.symlinks_at(self.symlinks.below(&self.bytes, dir))
    }

    fn symlinks_at(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = Symlink<'_>> + DoubleEndedIterator {
        range.map(|at| {
            read_symlink(&self.bytes, self.symlinks.table(&self.bytes, at)).expect("every link was read when parsed")
        })
    }

    /// Finds a symbolic link by its path.
    pub fn find_symlink(&self, path: &str) -> Option<Symlink<'_>> {
        let at = self.symlinks.find(&self.bytes, path.as_bytes())?;
        self.symlinks_at(at..at + 1).next()
    }

    /// All directories that are recorded, in the order of their paths.
    ///
    /// Others exist because something lies in them.
    pub fn directories(&self) -> impl ExactSizeIterator<Item = Directory<'_>> + DoubleEndedIterator {
        self.directories_at(0..self.directories.len)
    }

    /// The recorded directories below a directory.
    pub(crate) fn directories_below(&self, dir: &str) -> impl ExactSizeIterator<Item = Directory<'_>> {
        self.directories_at(self.directories.below(&self.bytes, dir))
    }

    fn directories_at(
        &self,
        range: Range<usize>,
    ) -> impl ExactSizeIterator<Item = Directory<'_>> + DoubleEndedIterator {
        range.map(|at| {
            read_directory(&self.bytes, self.directories.table(&self.bytes, at))
                .expect("every directory was read when parsed")
        })
    }

    /// Finds a recorded directory by its path.
    pub fn find_directory(&self, path: &str) -> Option<Directory<'_>> {
        let at = self.directories.find(&self.bytes, path.as_bytes())?;
        self.directories_at(at..at + 1).next()
    }

    /// Tells whether anything lies below a directory, or it is recorded. The root always is one.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        path.is_empty()
            || self.directories.find(&self.bytes, path.as_bytes()).is_some()
            || [&self.entries, &self.symlinks, &self.directories]
                .iter()
                .any(|list| !list.below(&self.bytes, path).is_empty())
    }
}

/// Tables whose first slot is a path: the position of the first reference, how many there are, and in
/// which order they are sorted when the writer's order is another.
#[derive(Debug, Default)]
struct List {
    at: usize,
    len: usize,
    order: Option<Box<[u32]>>,
    searches: AtomicU32,
    lookup: OnceLock<Lookup>,
}

impl List {
    fn new(at: usize, len: usize) -> Self {
        Self { at, len, ..Self::default() }
    }

    /// The position of a table in the bytes.
    ///
    /// # Panics
    /// When there is no such table.
    fn table(&self, bytes: &[u8], at: usize) -> usize {
        assert!(at < self.len, "position {at} of {}", self.len);
        let at = self.order.as_ref().map_or(at, |order| order[at] as usize);
        follow(bytes, self.at + 4 * at).expect("every reference was followed when it was parsed")
    }

    fn path<'a>(&self, bytes: &'a [u8], at: usize) -> &'a [u8] {
        read_path(bytes, self.table(bytes, at)).expect("every path was read when it was parsed")
    }

    /// The first position from one on whose path is not less than a path.
    fn lower_bound(&self, bytes: &[u8], from: usize, path: impl Fn(&[u8]) -> Ordering) -> usize {
        let (mut low, mut high) = (from, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            match path(self.path(bytes, middle)) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    fn find(&self, bytes: &[u8], path: &[u8]) -> Option<usize> {
        let mut lookup = self.lookup.get();
        // Who looks for a few paths does not wait for the table.
        if lookup.is_none() && self.searches.fetch_add(1, atomic::Ordering::Relaxed) as usize > self.len / SEARCHES {
            lookup = Some(self.lookup.get_or_init(|| Lookup::new((0..self.len).map(|at| self.path(bytes, at)))));
        }
        if let Some(lookup) = lookup {
            return lookup.find(path, |at| self.path(bytes, at));
        }
        let at = self.lower_bound(bytes, 0, |other| other.cmp(path));
        (at < self.len && self.path(bytes, at) == path).then_some(at)
    }

    /// The positions of all paths that lie below a directory: they stand together.
    fn below(&self, bytes: &[u8], dir: &str) -> Range<usize> {
        if dir.is_empty() { 0..self.len } else { self.starting_with(bytes, 0, format!("{dir}/").as_bytes()) }
    }

    /// The positions, from one on, of all paths that begin with bytes: they stand together.
    fn starting_with(&self, bytes: &[u8], from: usize, start: &[u8]) -> Range<usize> {
        let head = |path: &[u8]| path[..path.len().min(start.len())].cmp(start);
        let first = self.lower_bound(bytes, from, head);
        let last = self.lower_bound(bytes, first, |path| match head(path) {
            Ordering::Equal => Ordering::Less,
            order => order,
        });
        first..last
    }
}

/// Paths that are put into a table in the time of one search.
const SEARCHES: usize = 64;

fn read_path(bytes: &[u8], at: usize) -> Result<&[u8], Malformed> {
    Table::at(bytes, at)?.vector(0, 1)?.ok_or(Malformed)
}

fn read_entry(bytes: &[u8], at: usize) -> Result<Entry<'_>, Malformed> {
    let table = Table::at(bytes, at)?;
    let chunk_size = table.u32(10, 0)?;
    let (stored, hashes) = (table.vector(11, 4)?.unwrap_or_default(), table.vector(12, 1)?.unwrap_or_default());
    let has_chunks = chunk_size > 0 || !stored.is_empty() || !hashes.is_empty();
    Ok(Entry {
        path: table.str(0)?.ok_or(Malformed)?,
        data_offset: table.u64(1)?,
        data_size: table.u64(2)?,
        original_size: table.u64(3)?,
        hash: table.vector(4, 1)?.and_then(|hash| hash.try_into().ok()).ok_or(Malformed)?,
        mode: table.u32(5, 0)?,
        uid: table.u32(6, 0)?,
        gid: table.u32(7, 0)?,
        mtime_ns: table.i64(8)?,
        codec: match table.u8(9)? {
            0 => Codec::None,
            1 => Codec::Zstd,
            _ => return Err(Malformed),
        },
        chunks: has_chunks.then_some(Chunks { size: chunk_size, stored, hashes }),
    })
}

fn read_symlink(bytes: &[u8], at: usize) -> Result<Symlink<'_>, Malformed> {
    let table = Table::at(bytes, at)?;
    Ok(Symlink {
        path: table.str(0)?.ok_or(Malformed)?,
        target: table.str(1)?.ok_or(Malformed)?,
        uid: table.u32(2, 0)?,
        gid: table.u32(3, 0)?,
        mtime_ns: table.i64(4)?,
    })
}

fn read_directory(bytes: &[u8], at: usize) -> Result<Directory<'_>, Malformed> {
    let table = Table::at(bytes, at)?;
    Ok(Directory {
        path: table.str(0)?.ok_or(Malformed)?,
        mode: table.u32(1, 0)?,
        uid: table.u32(2, 0)?,
        gid: table.u32(3, 0)?,
        mtime_ns: table.i64(4)?,
    })
}
