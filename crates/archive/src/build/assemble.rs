//! Putting together what was packed: one content behind the other, each once.

use std::collections::HashMap;
use std::fs::File;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

use sha2::Digest as _;
use sha2::Sha256;

use super::BuildOptions;
use super::pack::PackedChunks;
use super::pack::PackedFile;
use crate::error::Error;
use crate::error::Result;
use crate::format::Codec;
use crate::format::HASH;
use crate::pages::write_all;

/// Where and how all contents are stored.
pub(super) struct Packed {
    pub(super) spool: File,
    pub(super) size: u64,
    /// Has hashed all of it.
    pub(super) hasher: Sha256,
    /// For each file, in the order in which they were packed.
    pub(super) stored: Vec<Stored>,
    pub(super) duplicates: u64,
    pub(super) duplicate_size: u64,
}

/// Where and how one content is stored.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) hash: [u8; HASH],
    pub(super) codec: Codec,
    pub(super) table: Option<Arc<ChunkTable>>,
    /// It lies in the data of the archive that is amended, and so does its offset.
    pub(super) is_before: bool,
}

/// The chunks of a large file, as they stand in the index.
pub(super) struct ChunkTable {
    pub(super) chunk_size: u32,
    /// Stored bytes of each chunk, little-endian u32.
    pub(super) stored: Vec<u8>,
    pub(super) hashes: Vec<u8>,
}

/// What is stored so far, and by which hash it is found.
#[derive(Default)]
pub(super) struct Ledger {
    stored: Vec<Stored>,
    /// How many of these were there before anything was packed.
    before: usize,
    /// The first 8 bytes of a hash; whether the rest is equal is looked up.
    by_hash: HashMap<u64, u32>,
}

impl Ledger {
    /// Begins with what is stored in the archive that is amended.
    pub(super) fn of(before: impl IntoIterator<Item = Stored>) -> Self {
        let mut ledger = Self::default();
        before.into_iter().for_each(|stored| ledger.add(stored));
        ledger.before = ledger.stored.len();
        ledger
    }

    pub(super) fn find(&self, hash: &[u8; HASH]) -> Option<&Stored> {
        let at = *self.by_hash.get(&key(hash))?;
        self.stored.get(at as usize).filter(|stored| stored.hash == *hash)
    }

    fn add(&mut self, stored: Stored) {
        let at = u32::try_from(self.stored.len()).expect("an index has fewer files than 2 GiB");
        if stored.size > 0 {
            self.by_hash.entry(key(&stored.hash)).or_insert(at);
        }
        self.stored.push(stored);
    }
}

fn key(hash: &[u8; HASH]) -> u64 {
    u64::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}

pub(super) fn read(ledger: &RwLock<Ledger>) -> std::sync::RwLockReadGuard<'_, Ledger> {
    ledger.read().unwrap_or_else(PoisonError::into_inner)
}

/// Puts together what the workers packed.
pub(super) struct Assembler<'a> {
    ledger: &'a RwLock<Ledger>,
    extensions: bool,
    spool: File,
    spool_dir: &'a Path,
    size: u64,
    hasher: Sha256,
    large: Option<Assembly>,
    duplicates: u64,
    duplicate_size: u64,
}

/// A large file of which some chunks are there.
struct Assembly {
    /// The end of the data when the file began, and its hash: should the content turn out to be there
    /// already, everything goes back to that.
    offset: u64,
    before: Sha256,
    content: Sha256,
    len: u64,
    table: ChunkTable,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(ledger: &'a RwLock<Ledger>, options: &BuildOptions, spool: File, spool_dir: &'a Path) -> Self {
        Self {
            ledger,
            extensions: options.extensions,
            spool,
            spool_dir,
            size: 0,
            hasher: Sha256::new(),
            large: None,
            duplicates: 0,
            duplicate_size: 0,
        }
    }

    pub(super) fn files_done(&self) -> u64 {
        let ledger = read(self.ledger);
        (ledger.stored.len() - ledger.before) as u64
    }

    pub(super) fn finish(self) -> Packed {
        let mut ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
        let before = ledger.before;
        Packed {
            spool: self.spool,
            size: self.size,
            hasher: self.hasher,
            stored: ledger.stored.split_off(before),
            duplicates: self.duplicates,
            duplicate_size: self.duplicate_size,
        }
    }

    /// Adds small files, and their stored bytes one behind the other.
    pub(super) fn add_files(&mut self, files: &[PackedFile], stored: &[u8]) -> Result<()> {
        let mut ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
        // Stored bytes that go to the spool in one piece.
        let (mut start, mut end, mut written) = (0, 0, self.size);
        let mut pieces = Vec::new();
        for file in files {
            let here = end;
            end += file.size;
            let known = ledger.find(&file.hash).filter(|_| file.known || file.size > 0).cloned();
            match known {
                Some(known) => {
                    self.duplicates += 1;
                    self.duplicate_size += file.original;
                    pieces.push(start..here);
                    start = end;
                    ledger.add(known);
                }
                None => {
                    let (size, hash, codec) = (file.size as u64, file.hash, file.codec);
                    ledger.add(Stored { offset: written, size, hash, codec, table: None, is_before: false });
                    written += size;
                }
            }
        }
        drop(ledger);
        pieces.push(start..end);
        pieces.into_iter().try_for_each(|piece| self.append(&stored[piece]))
    }

    /// Adds the next chunks of a large file.
    pub(super) fn add_chunks(&mut self, packed: &PackedChunks) -> Result<()> {
        let mut large = self.large.take().unwrap_or_else(|| Assembly {
            offset: self.size,
            before: self.hasher.clone(),
            content: Sha256::new(),
            len: 0,
            table: ChunkTable {
                chunk_size: u32::try_from(packed.chunk_size).unwrap_or(u32::MAX),
                stored: Vec::new(),
                hashes: Vec::new(),
            },
        });
        self.append(if packed.codec == Codec::Zstd { &packed.stored } else { &packed.content })?;
        large.content.update(&packed.content);
        large.len += packed.content.len() as u64;
        for (size, hash) in &packed.chunks {
            let too_large = |_| Error::limit("a chunk", u64::from(u32::MAX), packed.chunk_size);
            let size = u32::try_from(*size).map_err(too_large)?;
            large.table.stored.extend_from_slice(&size.to_le_bytes());
            large.table.hashes.extend_from_slice(hash);
        }

        if !packed.is_last {
            self.large = Some(large);
            return Ok(());
        }
        let mut ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
        let hash = large.content.finalize().into();
        if let Some(known) = ledger.find(&hash).cloned() {
            self.duplicates += 1;
            self.duplicate_size += large.len;
            ledger.add(known);
            drop(ledger);
            self.size = large.offset;
            self.hasher = large.before;
            return self.rewind();
        }
        let table = self.extensions.then(|| Arc::new(large.table));
        let size = self.size - large.offset;
        ledger.add(Stored { offset: large.offset, size, hash, codec: packed.codec, table, is_before: false });
        Ok(())
    }

    fn append(&mut self, stored: &[u8]) -> Result<()> {
        write_all(&self.spool, stored, None).map_err(|errno| self.spool_failed(errno.into()))?;
        self.hasher.update(stored);
        self.size += stored.len() as u64;
        Ok(())
    }

    fn rewind(&mut self) -> Result<()> {
        let rewound = self.spool.set_len(self.size).and_then(|()| self.spool.seek(SeekFrom::Start(self.size)));
        rewound.map(drop).map_err(|source| self.spool_failed(source))
    }

    fn spool_failed(&self, source: std::io::Error) -> Error {
        Error::Io { what: "write a temporary file in", path: self.spool_dir.to_owned(), source }
    }
}
