//! The content cache: what was read and verified, kept by its hash for all archives that have it.

mod blocks;
mod run;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::future::Shared;
use futures_util::future::WeakShared;
use futures_util::stream;
use sha2::Digest as _;
use sha2::Sha256;
use skep_registry::Algorithm;
use skep_registry::CacheStore;
use skep_registry::Digest;
use skep_registry::Key;
use skep_registry::MAX_VALUE;

use crate::archive::Archive;
use crate::cache::run::Run;
use crate::decode::Unit;
use crate::decode::units;
use crate::decode::units_of;
use crate::decode::verify;
use crate::error::Error;
use crate::error::Result;
use crate::format::HASH;
use crate::read::Piece;
use crate::read::fetch_group;

pub use crate::cache::blocks::BlockOptions;
pub use crate::cache::blocks::CachedSource;

/// Content that was read and verified, kept by its hash: what one archive has read, no other reads again.
///
/// What is kept are whole files and, of large files, the chunks that can be read alone, after decompression. The
/// key is the hash of the content, so that nobody can put anything else in its place: a value that is broken is
/// not there. Files of more than [`MAX_VALUE`] bytes without chunks are not kept.
///
/// Those who miss the same content at the same time cause one request, as long as they have clones of one cache.
/// It goes on with whoever is fastest; who is slower reads from the store. When it fails, everybody tries alone,
/// since another archive may have the content where the first one has lost it. Of [`read_many`](Archive::read_many)
/// only what is large is shared like this.
///
/// Extraction neither looks here nor fills it: it reads all data in one go, and would push out what is looked at
/// again and again.
#[derive(Clone)]
pub struct ContentCache(Arc<Inner>);

struct Inner {
    store: Arc<dyn CacheStore>,
    flights: Mutex<HashMap<[u8; HASH], WeakShared<Flight>>>,
}

/// A unit that is read for all who want it.
type Flight = BoxFuture<'static, Result<Landed, Arc<Mutex<Option<Error>>>>>;

/// A unit that was read, and the line that it came by.
#[derive(Clone)]
struct Landed {
    content: Bytes,
    line: Line,
}

/// A request that goes on behind the unit that it brought last, for whoever of its readers comes first; none while a
/// unit is read from it.
type Line = Arc<Mutex<Option<Run>>>;

impl ContentCache {
    /// A cache over a store, which other caches may use, too.
    pub fn new(store: Arc<dyn CacheStore>) -> Self {
        Self(Arc::new(Inner { store, flights: Mutex::default() }))
    }

    /// A part of a file by its units; none if it has a unit that is not kept.
    pub(crate) fn part(&self, archive: &Archive, at: usize, range: &Range<u64>) -> Option<Part> {
        let entry = archive.index().entry(at);
        let units: VecDeque<_> = units_of(&entry, range).collect();
        if units.is_empty() || !units.iter().all(is_kept) {
            return None;
        }
        let is_whole = entry.chunks.is_some() && *range == (0..entry.original_size);
        Some(Part {
            cache: self.clone(),
            archive: archive.clone(),
            entry: at,
            until: range.end,
            units,
            line: Line::default(),
            whole: is_whole.then(Sha256::new),
            first: None,
        })
    }

    /// Reads small files that lie near each other: those that are here, and the others as if there were no cache.
    pub(crate) async fn read_group(
        &self,
        archive: &Archive,
        group: Vec<(usize, String)>,
        gap: u64,
    ) -> Result<Vec<(String, Bytes)>> {
        let unit = |at: usize| units(&archive.index().entry(at)).next().filter(is_kept);
        let look = group.into_iter().map(|(at, path)| async move {
            let content = match unit(at) {
                Some(unit) => self.0.kept(&unit).await,
                None => None,
            };
            (at, path, content)
        });
        let mut files: Vec<_> = stream::iter(look).buffered(AT_ONCE).collect().await;
        let missing = files.iter().filter(|(.., content)| content.is_none());
        let missing = missing.map(|(at, path, _)| (archive.index().entry(*at).data_offset, *at, path.clone()));
        let mut came = Vec::new();
        for group in archive.group(missing.collect(), gap) {
            came.extend(fetch_group(archive.clone(), group).await?);
        }
        // Both are in the order of the data.
        let mut missing = files.iter_mut().filter(|(.., content)| content.is_none());
        let mut keep = Vec::new();
        for (_, content) in came {
            let (at, _, place) = missing.next().expect("one came for each that was missing");
            keep.extend(unit(*at).map(|unit| (key(&unit), content.clone())));
            *place = Some(content);
        }
        let keep = keep.into_iter().map(|(key, content)| async move { self.0.store.put(&key, content).await });
        stream::iter(keep).buffer_unordered(AT_ONCE).for_each(|()| std::future::ready(())).await;
        Ok(files.into_iter().map(|(_, path, content)| (path, content.expect("it was there or came"))).collect())
    }

    /// Reads a unit, or waits for it with those who do already.
    async fn unit(&self, wanted: Wanted) -> Result<Landed> {
        let (flight, is_first) = self.join(&wanted);
        let failed = match flight.await {
            Ok(landed) => return Ok(landed),
            Err(failed) => failed,
        };
        let error = if is_first { lock(&failed).take() } else { None };
        match error {
            Some(error) => Err(error),
            None => self.0.clone().fetch(wanted).await,
        }
    }

    /// The flight of a unit, and whether it begins here. It looks into the store by itself, so that none is begun
    /// for what has just come.
    fn join(&self, wanted: &Wanted) -> (Shared<Flight>, bool) {
        let mut flights = lock(&self.0.flights);
        flights.retain(|_, flight| flight.upgrade().is_some());
        if let Some(flight) = flights.get(&wanted.unit.hash).and_then(WeakShared::upgrade) {
            return (flight, false);
        }
        let fetching = self.0.clone().fetch(wanted.clone());
        let flight = fetching.map(|came| came.map_err(|error| Arc::new(Mutex::new(Some(error))))).boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(wanted.unit.hash, weak);
        }
        (flight, true)
    }
}

impl Inner {
    /// A unit from the store, or else from the archive.
    async fn fetch(self: Arc<Self>, wanted: Wanted) -> Result<Landed> {
        let Wanted { archive, entry, unit, until, line } = wanted;
        if let Some(content) = self.kept(&unit).await {
            return Ok(Landed { content, line });
        }
        let run = take_if(&line, |run| run.reaches(&unit));
        let (mut run, line) = match run {
            Some(run) => (run, line),
            None => {
                let end = self.end_of_run(&archive, entry, &unit, until).await;
                (Run::open(&archive, unit.offset..end).await?, Line::default())
            }
        };
        let content = run.unit(archive.index().entry(entry).path, &unit).await?;
        self.store.put(&key(&unit), content.clone()).await;
        *lock(&line) = Some(run);
        Ok(Landed { content, line })
    }

    /// Where the stored bytes end that are worth one request: those of the units from one on, up to a byte of the
    /// file, that are missing; and those between that are not, when they are few.
    async fn end_of_run(&self, archive: &Archive, entry: usize, first: &Unit, until: u64) -> u64 {
        let entry = archive.index().entry(entry);
        let mut end = first.data().end;
        for unit in units(&entry).skip_while(|unit| unit.start <= first.start) {
            if unit.start >= until || unit.offset > end + crate::read::GAP {
                break;
            }
            if !self.store.has(&key(&unit)).await {
                end = unit.data().end;
            }
        }
        end
    }

    async fn kept(&self, unit: &Unit) -> Option<Bytes> {
        let content = self.store.get(&key(unit)).await?;
        (content.len() as u64 == unit.size).then_some(content)
    }
}

impl fmt::Debug for ContentCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentCache").field("store", &self.0.store).finish_non_exhaustive()
    }
}

/// What is wanted of an archive.
#[derive(Clone)]
struct Wanted {
    archive: Archive,
    entry: usize,
    unit: Unit,
    /// Up to which byte of the file its reader will go on.
    until: u64,
    /// What brought the unit before.
    line: Line,
}

/// Reads a part of a file unit by unit.
pub(crate) struct Part {
    cache: ContentCache,
    archive: Archive,
    entry: usize,
    /// Up to which byte of the file reading goes on.
    until: u64,
    units: VecDeque<Unit>,
    line: Line,
    /// The hash of a whole file in chunks: each of these has its own, which might be those of other content.
    whole: Option<Sha256>,
    first: Option<Piece>,
}

impl Part {
    /// Reads the first unit, so that errors come here.
    pub(crate) async fn begin(mut self) -> Result<Self> {
        self.first = self.next().await?;
        Ok(self)
    }

    /// The next unit; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(unit) = self.units.pop_front() else { return Ok(None) };
        let (archive, entry, until) = (self.archive.clone(), self.entry, self.until);
        let line = self.line.clone();
        let landed = self.cache.unit(Wanted { archive, entry, unit, until, line }).await?;
        self.line = landed.line;
        if let Some(whole) = &mut self.whole {
            whole.update(&landed.content);
            if self.units.is_empty() {
                let entry = self.archive.index().entry(self.entry);
                verify(entry.path, entry.hash, std::mem::take(whole).finalize().into())?;
            }
        }
        Ok(Some(Piece { start: unit.start, bytes: landed.content }))
    }
}

/// Takes the run of a line, if it will do.
fn take_if(line: &Line, will_do: impl Fn(&Run) -> bool) -> Option<Run> {
    let mut run = lock(line);
    if run.as_ref().is_some_and(will_do) { run.take() } else { None }
}

/// Tells whether a unit is one that stores take, and that costs a request.
fn is_kept(unit: &Unit) -> bool {
    unit.stored > 0 && unit.size <= MAX_VALUE as u64
}

fn key(unit: &Unit) -> Key {
    let digest = Digest::from_hash(Algorithm::Sha256, &unit.hash).expect("a hash has the length of its kind");
    Key::content(NAMESPACE, &digest)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One for all archives: the same content is the same wherever it comes from.
const NAMESPACE: &str = "content";

/// Values that are looked up or put at the same time.
const AT_ONCE: usize = 8;
