//! Downloads under way: runs of blocks that come once for all who want them.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Weak;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::body::Body;
use crate::body::ByteRange;
use crate::cache::origin::Origin;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::name::RepoName;
use crate::registry::Registry;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 1 << 20;

/// All downloads of a cached registry.
#[derive(Default)]
pub(super) struct Flights {
    entries: Mutex<HashMap<(RepoName, Digest), Weak<Entry>>>,
}

/// The downloads of one blob. There is one as long as somebody reads the blob.
pub(super) struct Entry {
    pub(super) repo: RepoName,
    pub(super) digest: Digest,
    table: Arc<Flights>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many have begun: who saw none under way and nothing in the store knows by this that it is still so.
    begun: u64,
    flights: Vec<Weak<Flight>>,
}

/// A download under way. It ends when nobody holds this any more.
pub(super) struct Flight {
    planned: Option<Range<u64>>,
    progress: watch::Receiver<Progress>,
    /// The last block that anybody waits for.
    wanted: watch::Sender<u64>,
    task: AbortHandle,
}

/// What a download is to ask for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Only the size, since the block that is wanted is in the store.
    Head,
    /// A range, of a blob whose size is not known.
    Range(Option<ByteRange>),
    /// Some blocks, of a blob of a size.
    Blocks(Range<u64>, u64),
}

#[derive(Default)]
struct Progress {
    opened: Option<Opened>,
    /// The block that comes next.
    next: u64,
    /// The blocks that came last.
    window: VecDeque<Bytes>,
    ended: bool,
    failed: Option<Arc<Error>>,
}

struct Opened {
    size: u64,
    blocks: Range<u64>,
}

impl Flights {
    pub(super) fn entry(self: &Arc<Self>, repo: &RepoName, digest: &Digest) -> Arc<Entry> {
        let name = (repo.clone(), digest.clone());
        let mut entries = locked(&self.entries);
        if let Some(entry) = entries.get(&name).and_then(Weak::upgrade) {
            return entry;
        }
        let (repo, digest) = name.clone();
        let entry = Arc::new(Entry { repo, digest, table: self.clone(), state: Mutex::default() });
        entries.insert(name, Arc::downgrade(&entry));
        entry
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut entries = locked(&self.table.entries);
        let name = (self.repo.clone(), self.digest.clone());
        // Another one may have taken its place.
        if entries.get(&name).is_some_and(|entry| entry.strong_count() == 0) {
            entries.remove(&name);
        }
    }
}

impl Entry {
    /// A download under way that will do, and how many have begun.
    pub(super) fn find(&self, will_do: impl Fn(&Flight) -> bool) -> (u64, Option<Arc<Flight>>) {
        let state = locked(&self.state);
        let mut flights = state.flights.iter().filter_map(Weak::upgrade);
        let found = flights.find(|flight| will_do(flight));
        (state.begun, found)
    }

    /// Begins a download, unless another one has begun since `seen`.
    pub(super) fn begin<R: Registry>(
        self: &Arc<Self>,
        origin: &Arc<Origin<R>>,
        ask: Ask,
        seen: u64,
    ) -> Option<Arc<Flight>> {
        let mut state = locked(&self.state);
        if state.begun != seen {
            return None;
        }
        let flight = Arc::new(Flight::begin(origin.clone(), self.repo.clone(), self.digest.clone(), ask));
        state.begun += 1;
        state.flights.retain(|flight| flight.strong_count() > 0);
        state.flights.push(Arc::downgrade(&flight));
        Some(flight)
    }
}

impl Flight {
    fn begin<R: Registry>(origin: Arc<Origin<R>>, repo: RepoName, digest: Digest, ask: Ask) -> Self {
        let planned = match &ask {
            Ask::Blocks(blocks, _) => Some(blocks.clone()),
            _ => None,
        };
        let next = planned.as_ref().map_or(0, |blocks| blocks.start);
        let (progress, progress_of) = watch::channel(Progress { next, ..Default::default() });
        let (wanted, wanted_of) = watch::channel(next);
        let task = tokio::spawn(async move {
            let ended = fly(&origin, &repo, &digest, ask, &progress, wanted_of).await;
            progress.send_modify(|progress| {
                progress.ended = true;
                progress.failed = ended.err().map(Arc::new);
            });
        });
        Self { planned, progress: progress_of, wanted, task: task.abort_handle() }
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.progress.borrow().ended
    }

    /// Tells whether a block is to come, or has just come, or may come: before the registry has answered a download
    /// of a blob whose size was not known, that cannot be told.
    pub(super) fn may_bring(&self, index: u64) -> bool {
        let progress = self.progress.borrow();
        let is_to_come = index >= progress.next && !progress.ended;
        match self.blocks(&progress) {
            Some(blocks) => blocks.contains(&index) && (is_to_come || progress.block(index).is_some()),
            None => !progress.ended,
        }
    }

    /// The blocks that come, as soon as that is known.
    fn blocks<'a>(&'a self, progress: &'a Progress) -> Option<&'a Range<u64>> {
        progress.opened.as_ref().map(|opened| &opened.blocks).or(self.planned.as_ref())
    }

    /// The size of the blob, as soon as the registry has answered.
    pub(super) async fn size(&self) -> Result<u64> {
        let mut progress = self.progress.clone();
        let progress = progress.wait_for(|progress| progress.opened.is_some() || progress.ended).await;
        let progress = progress.map_err(|_| gone())?;
        match (&progress.opened, &progress.failed) {
            (Some(opened), _) => Ok(opened.size),
            (None, Some(error)) => Err(error.again()),
            (None, None) => Err(gone()),
        }
    }

    /// A block as soon as it is there; none if it does not come, or has come so long ago that it is not held.
    pub(super) async fn block(&self, index: u64) -> Result<Option<Bytes>> {
        let mut progress = self.progress.clone();
        {
            let known = progress.wait_for(|progress| self.blocks(progress).is_some() || progress.ended).await;
            if !self.blocks(&*known.map_err(|_| gone())?).is_some_and(|blocks| blocks.contains(&index)) {
                return Ok(None);
            }
        }
        self.wanted.send_if_modified(|wanted| {
            let is_more = index > *wanted;
            *wanted = index.max(*wanted);
            is_more
        });
        let progress = progress.wait_for(|progress| index < progress.next || progress.ended).await;
        let progress = progress.map_err(|_| gone())?;
        match &progress.failed {
            Some(error) if index >= progress.next => Err(error.again()),
            _ => Ok(progress.block(index).cloned()),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Progress {
    fn block(&self, index: u64) -> Option<&Bytes> {
        let ago = self.next.checked_sub(index)? as usize;
        self.window.get(self.window.len().checked_sub(ago)?)
    }
}

/// Asks, and stores the blocks that come; waits when it is [`AHEAD`] of all who read.
async fn fly<R: Registry>(
    origin: &Origin<R>,
    repo: &RepoName,
    digest: &Digest,
    ask: Ask,
    progress: &watch::Sender<Progress>,
    mut wanted: watch::Receiver<u64>,
) -> Result<()> {
    let before = origin.moment();
    let planned = match &ask {
        Ask::Blocks(blocks, size) => Some((blocks.clone(), *size)),
        _ => None,
    };
    let range = match ask {
        Ask::Head => {
            let size = origin.upstream.head_blob(repo, digest).await?.size;
            origin.note_blob(repo, digest, size, before).await;
            progress.send_modify(|progress| progress.opened = Some(Opened { size, blocks: 0..0 }));
            return Ok(());
        }
        Ask::Range(range) => range,
        Ask::Blocks(blocks, size) if blocks == (0..blocks_of(size)) => None,
        Ask::Blocks(blocks, size) => Some(ByteRange::Span(blocks.start * BLOCK, (blocks.end * BLOCK).min(size))),
    };
    let blob = origin.upstream.get_blob(repo, digest, range).await?;
    let (size, came) = (blob.descriptor.size, blob.range.clone());
    let blocks = came.start.div_ceil(BLOCK)..if came.end == size { blocks_of(size) } else { came.end / BLOCK };
    if let Some((planned, known)) = planned
        && (blocks.start > planned.start || blocks.end < planned.end || size != known)
    {
        let message = format!("{digest}: asked for blocks {planned:?} of {known} bytes, got {came:?} of {size}");
        return Err(Error::new(Code::RangeInvalid, message));
    }
    origin.note_blob(repo, digest, size, before).await;
    progress.send_modify(|progress| {
        progress.next = blocks.start;
        progress.opened = Some(Opened { size, blocks: blocks.clone() });
    });
    if blocks.is_empty() {
        return Ok(());
    }
    let mut body = blob.narrow(blocks.start * BLOCK..(blocks.end * BLOCK).min(size))?;
    let mut rest = Bytes::new();
    for index in blocks {
        if wanted.wait_for(|wanted| index < wanted + AHEAD as u64).await.is_err() {
            return Ok(());
        }
        let block = fill(&mut body, &mut rest, BLOCK.min(size - index * BLOCK) as usize).await?;
        origin.store.put(&origin.block(digest, index), block.clone()).await;
        progress.send_modify(|progress| {
            progress.next = index + 1;
            progress.window.push_back(block);
            if progress.window.len() > AHEAD {
                progress.window.pop_front();
            }
        });
    }
    Ok(())
}

/// The next block of a body; what came beyond it stays in `rest`.
async fn fill(body: &mut Body, rest: &mut Bytes, len: usize) -> Result<Bytes> {
    let mut block = BytesMut::with_capacity(len);
    while block.len() < len {
        if rest.is_empty() {
            let part = body.next().await.transpose()?;
            *rest = part.ok_or_else(|| Error::new(Code::SizeInvalid, "the body ended before its length"))?;
        }
        let part = rest.split_to(rest.len().min(len - block.len()));
        block.extend_from_slice(&part);
    }
    Ok(block.freeze())
}

/// How many blocks a blob of a size has.
pub(super) fn blocks_of(size: u64) -> u64 {
    size.div_ceil(BLOCK)
}

fn gone() -> Error {
    Error::new(Code::Unknown, "the download ended without an answer")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held can only have come from an allocation; the state is whole.
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Blocks that a download may be before the fastest reader, and that it holds for the others.
const AHEAD: usize = 4;
