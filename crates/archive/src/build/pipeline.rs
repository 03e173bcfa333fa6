//! Packing all files with several threads, in an order that does not depend on them.
//!
//! Workers take batches of small files and chunks of large ones in the order of the tree. What they have
//! packed is put together by the calling thread, in that order: it hashes the stored bytes, appends them
//! to the spool, and leaves out what is there already.

use std::collections::HashMap;
use std::fs::File;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;

use sha2::Digest as _;
use sha2::Sha256;

use super::BuildOptions;
use super::pack::CHUNK;
use super::pack::Chunk;
use super::pack::Large;
use super::pack::PackedFile;
use super::pack::Packer;
use super::walk::Node;
use super::walk::Tree;
use crate::beneath::Root;
use crate::error::Error;
use crate::error::Result;
use crate::format::Codec;
use crate::format::HASH;
use crate::progress::Progress;

/// Files of a batch. Together they have at most as many bytes as one chunk, or are one file.
const BATCH: usize = 256;

/// Bytes of content that each worker may be ahead of what is put together.
const AHEAD: u64 = 4 << 20;

/// Where and how all contents are stored.
pub(super) struct Packed {
    pub(super) spool: File,
    pub(super) size: u64,
    pub(super) hash: [u8; HASH],
    /// For each file of the tree.
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
}

/// The chunks of a large file, as they stand in the index.
pub(super) struct ChunkTable {
    pub(super) chunk_size: u32,
    /// Stored bytes of each chunk, little-endian u32.
    pub(super) stored: Vec<u8>,
    pub(super) hashes: Vec<u8>,
}

/// Packs all files of a tree.
pub(super) fn pack(
    root: &Root,
    tree: &Tree,
    options: &BuildOptions,
    spool: File,
    spool_dir: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Packed> {
    let workers = match options.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let queue = Queue::new(&tree.files, AHEAD * workers as u64);
    let ledger = RwLock::new(Ledger { stored: Vec::with_capacity(tree.files.len()), by_hash: HashMap::new() });
    let mut assembler = Assembler {
        files: &tree.files,
        ledger: &ledger,
        extensions: options.extensions,
        spool,
        spool_dir,
        size: 0,
        hasher: Sha256::new(),
        large: None,
        duplicates: 0,
        duplicate_size: 0,
    };
    let total = Progress { files_total: tree.files.len() as u64, bytes_total: tree.size, ..Progress::default() };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut packer = Packer::new(root, options.compression);
                while let Some(task) = queue.take() {
                    let done = options.cancel.check().and_then(|()| work(&mut packer, &queue, &ledger, options, task));
                    queue.put(done);
                }
            });
        }
        let mut done = total;
        let assembled = loop {
            match queue.next() {
                Ok(None) => break Ok(()),
                Ok(Some((finished, bytes))) => match assembler.add(finished, &queue) {
                    Ok(()) => done.bytes += bytes,
                    Err(error) => break Err(error),
                },
                Err(error) => break Err(error),
            }
            done.files = assembler.files_done();
            progress(done);
        };
        // Threads that wait for their turn must not wait for ever.
        queue.stop();
        assembled
    })?;
    let Assembler { spool, size, hasher, duplicates, duplicate_size, .. } = assembler;
    let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Packed { spool, size, hash: hasher.finalize().into(), stored: ledger.stored, duplicates, duplicate_size })
}

fn work(
    packer: &mut Packer,
    queue: &Queue<'_>,
    ledger: &RwLock<Ledger>,
    options: &BuildOptions,
    (number, task): (u64, Task),
) -> Result<(u64, Finished)> {
    let finished = match task {
        Task::Files(range) => {
            let mut stored = queue.spare();
            stored.clear();
            let known = |hash: &[u8; HASH]| read(ledger).find(hash).is_some();
            let mut files = Vec::with_capacity(range.len());
            for node in &queue.files[range] {
                options.cancel.check()?;
                files.push(packer.pack_file(node, &mut stored, known)?);
            }
            Finished::Files(files, stored)
        }
        Task::Chunk(file, large, chunk) => {
            let spare = [queue.spare(), queue.spare()];
            Finished::Chunk(packer.pack_chunk(&large, &queue.files[file], chunk, spare)?, large.chunk_size)
        }
    };
    Ok((number, finished))
}

/// What a worker does next.
enum Task {
    /// The small files of a range.
    Files(Range<usize>),
    /// A chunk of a large file.
    Chunk(usize, Arc<Large>, u64),
}

/// What a worker has done.
enum Finished {
    /// Small files, and their stored bytes one behind the other.
    Files(Vec<PackedFile>, Vec<u8>),
    /// A chunk, and how many bytes each chunk of the file has.
    Chunk(Chunk, u64),
}

/// Hands out tasks in order and brings back what was done in that order.
struct Queue<'a> {
    files: &'a [Node],
    /// Bytes that may be in work, unless it is a single task.
    ahead: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The next file to hand out, and of a large one the next chunk.
    file: usize,
    large: Option<(Arc<Large>, u64)>,
    /// The number of the next task.
    taken: u64,
    /// The number of the task that is put together next.
    wanted: u64,
    /// Bytes of each task that was handed out and not put together yet.
    weights: HashMap<u64, u64>,
    in_work: u64,
    done: HashMap<u64, Finished>,
    failed: Option<Error>,
    stopped: bool,
    spare: Vec<Vec<u8>>,
}

impl<'a> Queue<'a> {
    fn new(files: &'a [Node], ahead: u64) -> Self {
        Self { files, ahead, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task, or none when there are no more or somebody failed.
    fn take(&self) -> Option<(u64, Task)> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.failed.is_some() || state.file == self.files.len() {
                return None;
            }
            let (task, weight) = self.peek(&state);
            if state.in_work > 0 && state.in_work + weight > self.ahead {
                state = self.wait(state);
                continue;
            }
            match &task {
                Task::Files(range) => state.file = range.end,
                Task::Chunk(file, large, chunk) if chunk + 1 == large.chunks(&self.files[*file]) => {
                    state.large = None;
                    state.file += 1;
                }
                Task::Chunk(_, large, chunk) => state.large = Some((large.clone(), chunk + 1)),
            }
            let number = state.taken;
            state.taken += 1;
            state.in_work += weight;
            state.weights.insert(number, weight);
            return Some((number, task));
        }
    }

    /// The task at the head and its bytes.
    fn peek(&self, state: &State) -> (Task, u64) {
        let first = &self.files[state.file];
        if first.size > CHUNK {
            let (large, chunk) = state.large.clone().unwrap_or_else(|| (Arc::new(Large::new(first)), 0));
            let weight = large.chunk_size.min(first.size - chunk * large.chunk_size);
            return (Task::Chunk(state.file, large, chunk), weight);
        }
        let (mut end, mut weight) = (state.file, 0);
        while end < self.files.len() && end - state.file < BATCH {
            let size = self.files[end].size;
            if weight + size > CHUNK {
                break;
            }
            weight += size;
            end += 1;
        }
        (Task::Files(state.file..end), weight)
    }

    fn put(&self, done: Result<(u64, Finished)>) {
        let mut state = self.lock();
        match done {
            Ok((number, finished)) => {
                state.done.insert(number, finished);
            }
            Err(error) => {
                state.failed.get_or_insert(error);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// What comes next in order, with its bytes of content; none at the end.
    fn next(&self) -> Result<Option<(Finished, u64)>> {
        let mut state = self.lock();
        loop {
            if let Some(error) = state.failed.take() {
                state.stopped = true;
                return Err(error);
            }
            let wanted = state.wanted;
            if let Some(finished) = state.done.remove(&wanted) {
                let weight = state.weights.remove(&wanted).unwrap_or_default();
                state.wanted += 1;
                state.in_work -= weight;
                drop(state);
                self.changed.notify_all();
                return Ok(Some((finished, weight)));
            }
            if state.file == self.files.len() && wanted == state.taken {
                return Ok(None);
            }
            state = self.wait(state);
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// A buffer to use again.
    fn spare(&self) -> Vec<u8> {
        self.lock().spare.pop().unwrap_or_default()
    }

    fn give_back(&self, buffer: Vec<u8>) {
        // Larger ones are rare, and would be kept for ever.
        if buffer.capacity() as u64 <= 3 * CHUNK {
            self.lock().spare.push(buffer);
        }
    }
}

/// What is stored so far, and by which hash it is found.
struct Ledger {
    stored: Vec<Stored>,
    /// The first 8 bytes of a hash; whether the rest is equal is looked up.
    by_hash: HashMap<u64, u32>,
}

impl Ledger {
    fn find(&self, hash: &[u8; HASH]) -> Option<&Stored> {
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

fn read(ledger: &RwLock<Ledger>) -> std::sync::RwLockReadGuard<'_, Ledger> {
    ledger.read().unwrap_or_else(PoisonError::into_inner)
}

/// Puts together what the workers packed.
struct Assembler<'a> {
    files: &'a [Node],
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

impl Assembler<'_> {
    fn files_done(&self) -> u64 {
        read(self.ledger).stored.len() as u64
    }

    fn add(&mut self, finished: Finished, queue: &Queue<'_>) -> Result<()> {
        match finished {
            Finished::Files(files, stored) => {
                self.add_files(&files, &stored)?;
                queue.give_back(stored);
            }
            Finished::Chunk(chunk, chunk_size) => {
                self.add_chunk(&chunk, chunk_size)?;
                queue.give_back(chunk.content);
                queue.give_back(chunk.stored);
            }
        }
        Ok(())
    }

    fn add_files(&mut self, files: &[PackedFile], stored: &[u8]) -> Result<()> {
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
                    self.duplicate_size += self.files[ledger.stored.len()].size;
                    pieces.push(start..here);
                    start = end;
                    ledger.add(known);
                }
                None => {
                    let (size, hash, codec) = (file.size as u64, file.hash, file.codec);
                    ledger.add(Stored { offset: written, size, hash, codec, table: None });
                    written += size;
                }
            }
        }
        drop(ledger);
        pieces.push(start..end);
        pieces.into_iter().try_for_each(|piece| self.append(&stored[piece]))
    }

    fn add_chunk(&mut self, chunk: &Chunk, chunk_size: u64) -> Result<()> {
        let mut large = self.large.take().unwrap_or_else(|| Assembly {
            offset: self.size,
            before: self.hasher.clone(),
            content: Sha256::new(),
            len: 0,
            table: ChunkTable {
                chunk_size: u32::try_from(chunk_size).unwrap_or(u32::MAX),
                stored: Vec::new(),
                hashes: Vec::new(),
            },
        });
        let stored = if chunk.codec == Codec::Zstd { &chunk.stored } else { &chunk.content };
        self.append(stored)?;
        large.content.update(&chunk.content);
        large.len += chunk.content.len() as u64;
        let size = u32::try_from(stored.len()).map_err(|_| Error::limit("a chunk", u64::from(u32::MAX), chunk_size))?;
        large.table.stored.extend_from_slice(&size.to_le_bytes());
        large.table.hashes.extend_from_slice(&chunk.hash);

        let mut ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
        if large.len < self.files[ledger.stored.len()].size {
            self.large = Some(large);
            return Ok(());
        }
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
        ledger.add(Stored { offset: large.offset, size, hash, codec: chunk.codec, table });
        Ok(())
    }

    fn append(&mut self, stored: &[u8]) -> Result<()> {
        self.spool.write_all(stored).map_err(|source| self.spool_failed(source))?;
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
