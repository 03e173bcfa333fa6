//! Packing all files with several threads, in an order that does not depend on them.
//!
//! Workers take batches of small files and chunks of large ones as they come from a [`Feed`]. What they have packed
//! is put together by the calling thread, in that order: it hashes the stored bytes, appends them to the spool, and
//! leaves out what is there already.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;

use super::BuildOptions;
use super::assemble::Assembler;
use super::assemble::Ledger;
use super::assemble::Packed;
use super::assemble::read;
use super::feed::Feed;
use super::feed::Task;
use super::pack::CHUNKED;
use super::pack::PackedChunks;
use super::pack::PackedFile;
use super::pack::Packer;
use crate::beneath::Root;
use crate::error::Error;
use crate::error::Result;
use crate::format::HASH;
use crate::progress::Progress;

/// Bytes of content that each worker may be ahead of what is put together.
const AHEAD: u64 = 4 << 20;

/// Packs all files that a feed gives, but contents that are in the ledger. Files on the disk are below `root`.
///
/// What is told of the progress begins with `total`; totals that are 0 are not known before the end.
pub(super) fn pack<'a>(
    feed: &mut impl Feed<'a>,
    root: Option<&Root>,
    options: &BuildOptions,
    (spool, spool_dir): (File, &Path),
    ledger: Ledger,
    total: Progress,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Packed> {
    let workers = match options.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let queue = Queue::new(feed, AHEAD * workers as u64);
    let ledger = RwLock::new(ledger);
    let mut assembler = Assembler::new(&ledger, options, spool, spool_dir);
    let mut done = total;
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..workers {
            scope.spawn(|| {
                let stop = StopOnDrop(&queue);
                let mut packer = Packer::new(root, options);
                while let Some((number, task)) = queue.take() {
                    let done = options.cancel.check().and_then(|()| work(&mut packer, &queue, &ledger, options, task));
                    queue.put(number, done);
                }
                // Only a panic is to stop the others.
                std::mem::forget(stop);
            });
        }
        // Threads that wait for their turn must not wait for ever.
        let _stop = StopOnDrop(&queue);
        loop {
            let Some((finished, bytes)) = queue.next()? else { return Ok(()) };
            add(&mut assembler, finished, &queue)?;
            done.bytes += bytes;
            done.files = assembler.files_done();
            progress(done);
        }
    })?;
    if (done.files_total, done.bytes_total) != (done.files, done.bytes) {
        progress(Progress { files_total: done.files, bytes_total: done.bytes, ..done });
    }
    Ok(assembler.finish())
}

fn work<'a, F: Feed<'a>>(
    packer: &mut Packer<'_>,
    queue: &Queue<'_, F>,
    ledger: &RwLock<Ledger>,
    options: &BuildOptions,
    task: Task<'a>,
) -> Result<Finished> {
    match task {
        Task::Files { nodes, content } => {
            let mut stored = queue.spare();
            stored.clear();
            let known = |hash: &[u8; HASH]| read(ledger).find(hash).is_some();
            let mut files = Vec::with_capacity(nodes.len());
            let mut at = 0;
            for node in &*nodes {
                options.cancel.check()?;
                files.push(match &content {
                    Some(content) => {
                        let start = at;
                        at += node.size as usize;
                        packer.pack_content(node, &content[start..at], &mut stored, known)?
                    }
                    None => packer.pack_file(node, &mut stored, known)?,
                });
            }
            content.into_iter().for_each(|content| queue.give_back(content));
            Ok(Finished::Files(files, stored))
        }
        Task::Chunks { file, range, content } => {
            Ok(Finished::Chunks(packer.pack_chunks(&file, range, content, || queue.spare())?))
        }
    }
}

fn add<'a, F: Feed<'a>>(assembler: &mut Assembler<'_>, finished: Finished, queue: &Queue<'_, F>) -> Result<()> {
    match finished {
        Finished::Files(files, stored) => {
            assembler.add_files(&files, &stored)?;
            queue.give_back(stored);
        }
        Finished::Chunks(chunks) => {
            assembler.add_chunks(&chunks)?;
            queue.give_back(chunks.content);
            queue.give_back(chunks.stored);
        }
    }
    Ok(())
}

/// What a worker has done.
enum Finished {
    /// Small files, and their stored bytes one behind the other.
    Files(Vec<PackedFile>, Vec<u8>),
    Chunks(PackedChunks),
}

/// Hands out tasks in the order of the feed and brings back what was done in that order.
struct Queue<'f, F> {
    /// Locked before the state. Whoever has it reads the next task while others pack theirs.
    feed: Mutex<&'f mut F>,
    /// Bytes that may be in work, unless it is a single task.
    ahead: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the next task.
    taken: u64,
    /// The number of the task that is put together next.
    wanted: u64,
    /// Bytes of each task that was handed out and not put together yet.
    weights: HashMap<u64, u64>,
    in_work: u64,
    done: HashMap<u64, Finished>,
    /// The feed has no more.
    ended: bool,
    failed: Option<Error>,
    stopped: bool,
    spare: Vec<Vec<u8>>,
}

impl<'f, 'a, F: Feed<'a>> Queue<'f, F> {
    fn new(feed: &'f mut F, ahead: u64) -> Self {
        Self { feed: Mutex::new(feed), ahead, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task and its number, or none when there are no more or somebody failed.
    fn take(&self) -> Option<(u64, Task<'a>)> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        loop {
            if state.stopped || state.failed.is_some() || state.ended {
                return None;
            }
            if state.in_work == 0 || state.in_work + feed.weight() <= self.ahead {
                break;
            }
            state = self.wait(state);
        }
        drop(state);
        let task = feed.next(&|| self.spare());
        let mut state = self.lock();
        match task {
            Ok(Some(task)) => {
                let (number, weight) = (state.taken, task.weight());
                state.taken += 1;
                state.in_work += weight;
                state.weights.insert(number, weight);
                return Some((number, task));
            }
            Ok(None) => state.ended = true,
            Err(error) => {
                state.failed.get_or_insert(error);
            }
        }
        drop(state);
        self.changed.notify_all();
        None
    }

    fn put(&self, number: u64, done: Result<Finished>) {
        let mut state = self.lock();
        match done {
            Ok(finished) => {
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
                return Err(error);
            }
            if state.stopped {
                return Ok(None);
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
            if state.ended && wanted == state.taken {
                return Ok(None);
            }
            state = self.wait(state);
        }
    }

    /// A buffer to use again.
    fn spare(&self) -> Vec<u8> {
        self.lock().spare.pop().unwrap_or_default()
    }

    fn give_back(&self, buffer: Vec<u8>) {
        // Larger ones are rare, and would be kept for ever.
        if buffer.capacity() as u64 <= 3 * CHUNKED {
            self.lock().spare.push(buffer);
        }
    }
}

/// Ends the work when somebody goes, also by a panic: of a reader or a function of the caller, for instance.
struct StopOnDrop<'q, 'f, F>(&'q Queue<'f, F>);

impl<F> Drop for StopOnDrop<'_, '_, F> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.0.changed.notify_all();
    }
}
