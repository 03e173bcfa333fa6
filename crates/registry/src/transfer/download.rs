//! Downloads: one blob, by several requests at once, to a file or to a reader.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::FuturesUnordered;
use tokio::time::Duration;
use tokio::time::Instant;

use crate::body::Body;
use crate::descriptor::Descriptor;
use crate::digest::Hasher;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::stream::blocking;
use crate::transfer::Place;
use crate::transfer::Progress;
use crate::transfer::fetch::Fetch;
use crate::transfer::fetch::Part;
use crate::transfer::partial::Partial;

/// How to download a blob.
#[derive(Clone)]
pub struct DownloadOptions {
    /// Requests at once, at most one for each 4 MiB of memory; 0 counts as 1. With one there is one request
    /// for all bytes, as long as it does not break.
    pub connections: usize,
    /// Bytes of the blob that are in memory at once, at most; less than 1 MiB counts as 1 MiB. What a
    /// registry's client buffers below its bodies comes on top.
    pub memory: u64,
    /// Requests that bring nothing, one after the other, before the download is given up.
    pub attempts: u32,
    /// Bytes after which what came is made durable, for another process to go on with. It happens once
    /// a second, too.
    pub checkpoint: u64,
    /// Called with the number of bytes of each part that came.
    pub received: Option<Progress>,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        Self { connections: 6, memory: 32 << 20, attempts: 6, checkpoint: 32 << 20, received: None }
    }
}

impl DownloadOptions {
    pub(super) fn memory(&self) -> u64 {
        self.memory.max(1 << 20)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.min((self.memory() / CONNECTION_MEMORY) as usize).max(1)
    }

    /// Bytes that are written or handed on at once. All connections have one on its way, in an eighth of the
    /// memory; another eighth is for those being written, and half for those that wait for the hash.
    pub(super) fn part(&self) -> u64 {
        (self.memory() / 8 / self.connections() as u64).clamp(16 << 10, 1 << 20)
    }

    fn note(&self, len: u64) {
        if let Some(received) = &self.received {
            received(len);
        }
    }
}

impl fmt::Debug for DownloadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadOptions")
            .field("connections", &self.connections)
            .field("memory", &self.memory)
            .field("attempts", &self.attempts)
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

/// What came of a download to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// Bytes that came now.
    pub received: u64,
    /// Bytes that were there already, of a download before.
    pub resumed: u64,
}

/// Reads a blob by several requests at once, in order, and holds it to its digest.
///
/// As with every body, the content counts only once the stream has ended. Nothing is asked for before the
/// body is read, and never more than [`memory`](field@DownloadOptions::memory) ahead of its reader.
///
/// # Errors
/// The body yields those of [`Registry::get_blob`](crate::Registry::get_blob) that last; `SizeInvalid` when
/// the registry's blob is not as long as the descriptor says; `DigestInvalid`.
pub fn download(from: &Place, blob: &Descriptor, options: &DownloadOptions) -> Body {
    read(from, blob, 0..blob.size, options).verify(&blob.digest, Some(blob.size))
}

/// As [`download`], bytes of a range, which cannot be verified unless they are all.
pub(super) fn read(from: &Place, blob: &Descriptor, range: Range<u64>, options: &DownloadOptions) -> Body {
    let gaps = if range.is_empty() { Vec::new() } else { vec![range.clone()] };
    let in_order = InOrder {
        fetch: Fetch::new(from, blob, gaps, options),
        waiting: BTreeMap::new(),
        ready: VecDeque::new(),
        range: range.clone(),
        options: options.clone(),
    };
    let parts = stream::try_unfold(in_order, |mut in_order| async move {
        let part = in_order.next().await?;
        Ok(part.map(|part| (part, in_order)))
    });
    Body::new(Some(range.end - range.start), parts)
}

struct InOrder {
    fetch: Fetch,
    /// Parts that came before their turn, by where they begin.
    waiting: BTreeMap<u64, Part>,
    ready: VecDeque<Bytes>,
    /// What has not been handed on.
    range: Range<u64>,
    options: DownloadOptions,
}

impl InOrder {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                self.range.start += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            if self.range.is_empty() {
                return Ok(None);
            }
            if let Some(part) = self.waiting.remove(&self.range.start) {
                self.ready = part.bytes.into();
                continue;
            }
            let part = self.fetch.next(self.range.start.saturating_add(self.options.memory())).await?;
            let part = part.expect("a fetch ends when all bytes have come");
            self.options.note(part.len);
            self.waiting.insert(part.at, part);
        }
    }
}

/// Reads a blob by several requests at once into a file, verified.
///
/// The file appears when it is whole, verified and durable, in place of one that was there before. Until
/// then the bytes are in `NAME.skep-part`, and `NAME.skep-journal` says which: when the process dies, the
/// next one for the same blob and path goes on from there. One that comes while another is at it waits.
/// Nothing is asked for when the file is there with the right content.
///
/// Both files are as secret as the blob. The bytes are hashed as they come, so nobody else may write to
/// the partial file.
///
/// # Errors
/// Those of [`Registry::get_blob`](crate::Registry::get_blob) that last; `SizeInvalid` when the registry's
/// blob is not as long as the descriptor says; `DigestInvalid`, and then nothing is kept; `Unknown` when a
/// file cannot be written.
///
/// # Cancel safety
/// When the future is dropped, what the last checkpoint made durable is kept for the next download.
pub async fn download_to_file(
    from: &Place,
    blob: &Descriptor,
    path: &Path,
    options: &DownloadOptions,
) -> Result<Downloaded> {
    let Some(partial) = Partial::open(path, blob).await? else { return Ok(Downloaded::default()) };
    let resumed = partial.written.total();
    let mut saving = Saving {
        hashing: partial.hasher.len(),
        partial,
        size: blob.size,
        jobs: FuturesUnordered::new(),
        queue: Vec::new(),
        room: options.memory() / 8,
        writing: 0,
        keeping: options.memory() / 2,
        kept: BTreeMap::new(),
        kept_len: 0,
        is_writing: false,
        is_hashing: false,
        is_saving: false,
        checkpoint: options.checkpoint,
        unsaved: 0,
        saved_at: Instant::now(),
    };
    let fetch = Fetch::new(from, blob, saving.partial.written.missing(blob.size), options);
    if let Err(error) = saving.run(fetch, options).await {
        saving.stop().await;
        return Err(error);
    }
    let got = saving.partial.hasher.clone().finish();
    if got != blob.digest {
        blocking(move || saving.partial.discard()).await?;
        return Err(Error::new(Code::DigestInvalid, format!("expected {}, got {got}", blob.digest)));
    }
    saving.partial.finish().await?;
    Ok(Downloaded { received: blob.size - resumed, resumed })
}

/// The way of parts into a file and through the hash, each step on a thread that may block.
struct Saving {
    partial: Partial,
    size: u64,
    jobs: FuturesUnordered<BoxFuture<'static, Result<Job>>>,
    /// What is to be written next, by one job: a file system lets only one write to a file at a time.
    queue: Vec<Part>,
    /// Bytes that may be on their way to the disk for more to be asked for.
    room: u64,
    writing: u64,
    /// Bytes that may wait in memory for the hash; others are read back from the file.
    keeping: u64,
    kept: BTreeMap<u64, Part>,
    kept_len: u64,
    /// Where the hash will stand when it is done with what it was given.
    hashing: u64,
    is_writing: bool,
    is_hashing: bool,
    is_saving: bool,
    checkpoint: u64,
    /// Bytes that were written since the last checkpoint.
    unsaved: u64,
    saved_at: Instant,
}

/// A job that is done.
enum Job {
    Hashed { hasher: Box<Hasher>, freed: u64 },
    Saved,
    Written(Vec<Part>),
}

impl Saving {
    async fn run(&mut self, mut fetch: Fetch, options: &DownloadOptions) -> Result<()> {
        let mut is_fetching = true;
        loop {
            self.write();
            self.hash();
            self.save();
            if !is_fetching && self.jobs.is_empty() {
                return Ok(());
            }
            // While the hash is at work and has enough to do, more would only have to be read back for it. When
            // it waits for a part that is late, the others go on.
            let has_enough = self.is_hashing && self.kept_len >= self.keeping;
            tokio::select! {
                part = fetch.next(u64::MAX), if is_fetching && self.writing < self.room && !has_enough => match part? {
                    Some(part) => {
                        options.note(part.len);
                        self.writing += part.len;
                        self.queue.push(part);
                    }
                    None => is_fetching = false,
                },
                Some(job) = self.jobs.next(), if !self.jobs.is_empty() => self.done(job?),
            }
        }
    }

    fn done(&mut self, job: Job) {
        match job {
            Job::Written(parts) => {
                self.is_writing = false;
                for part in parts {
                    self.partial.written.insert(part.range());
                    self.writing -= part.len;
                    self.unsaved += part.len;
                    if part.at == self.hashing || self.kept_len + part.len <= self.keeping + self.room {
                        self.kept_len += part.len;
                        self.kept.insert(part.at, part);
                    }
                }
            }
            Job::Hashed { hasher, freed } => {
                self.hashing = hasher.len();
                self.partial.hasher = *hasher;
                self.kept_len -= freed;
                self.is_hashing = false;
            }
            Job::Saved => self.is_saving = false,
        }
    }

    /// Writes what waits for it, if nothing else is being written.
    fn write(&mut self) {
        if !self.is_writing && !self.queue.is_empty() {
            self.is_writing = true;
            let parts = std::mem::take(&mut self.queue);
            self.jobs.push(self.partial.write(parts).map(|done| done.map(Job::Written)).boxed());
        }
    }

    /// Gives the hash what comes next, if it is there and nothing else is at it.
    fn hash(&mut self) {
        if self.is_hashing {
            return;
        }
        let mut run = Vec::new();
        let start = self.hashing;
        while self.hashing - start < MAX_HASH
            && let Some(part) = self.kept.remove(&self.hashing)
        {
            self.hashing += part.len;
            run.push(part);
        }
        let freed = self.hashing - start;
        let job = if freed > 0 {
            let mut hasher = self.partial.hasher.clone();
            let job = blocking(move || {
                run.iter().flat_map(|part| &part.bytes).for_each(|piece| hasher.update(piece));
                Ok(hasher)
            });
            job.boxed()
        } else {
            let next_kept = self.kept.keys().next().copied().unwrap_or(self.size);
            let end = self.partial.written.reach(start).min(next_kept);
            if end <= start {
                return;
            }
            self.partial.hash_back(end).boxed()
        };
        self.is_hashing = true;
        self.jobs.push(job.map(move |done| done.map(|hasher| Job::Hashed { hasher: Box::new(hasher), freed })).boxed());
    }

    /// Makes a checkpoint when it is time.
    fn save(&mut self) {
        let is_due = self.unsaved >= self.checkpoint || self.saved_at.elapsed() >= CHECKPOINT_EVERY;
        if self.is_saving || self.unsaved == 0 || !is_due {
            return;
        }
        self.is_saving = true;
        self.unsaved = 0;
        self.saved_at = Instant::now();
        self.jobs.push(self.partial.checkpoint().map(|saved| saved.map(|()| Job::Saved)).boxed());
    }

    /// Keeps what came before an error for the next download.
    async fn stop(mut self) {
        while let Some(job) = self.jobs.next().await {
            if let Ok(job) = job {
                self.done(job);
            }
        }
        if let Err(error) = self.partial.checkpoint().await {
            tracing::debug!(%error, "no checkpoint of a download");
        }
    }
}

/// Bytes of memory that a connection is worth: less would mean many requests for a few bytes each.
const CONNECTION_MEMORY: u64 = 4 << 20;

/// Bytes that are hashed in one task.
const MAX_HASH: u64 = 4 << 20;

/// The longest time without a checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
