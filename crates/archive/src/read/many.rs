//! Reading many files: those that are stored close to each other together, and several such groups at the same time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::archive::Archive;
use crate::decode::Decoder;
use crate::decode::units;
use crate::error::Error;
use crate::error::Result;

/// How to read many files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Bytes of other files that are read and dropped rather than asking once more. 32 KiB by default.
    ///
    /// A request that is one of sixteen costs a sixteenth of a round trip: at 50 ms and 100 Mbit/s as much as 39 kB.
    pub gap: u64,
    /// Requests at the same time. At least 1; 16 by default.
    pub in_flight: usize,
    /// Bytes of memory, 32 MiB by default: fewer requests are made at the same time when they need more.
    ///
    /// They count stored and decoded until they are handed out. A file that is larger is read alone.
    pub memory: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { gap: 32 << 10, in_flight: 16, memory: 32 << 20 }
    }
}

/// Stored bytes, and bytes of content, of the files that are read together.
const GROUP: u64 = 4 << 20;

/// For each request that is under way, how many may be done or wait for their turn: what came is handed out in order, and
/// a large answer at the front is not to keep the line empty.
const AHEAD: usize = 8;

impl Archive {
    /// Reads many files, those that are stored close to each other with one request.
    ///
    /// They come in the order in which they are stored, with the path by which they were asked for, in bounded
    /// memory: that of the [`ReadOptions`], the files of one request more, and no file above
    /// [`Limits::memory`](crate::Limits::memory). The stream ends after the first error.
    ///
    /// # Errors
    /// As [`read`](Self::read), before anything is read.
    pub fn read_many<P: Into<String>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<impl Stream<Item = Result<(String, Bytes)>> + Send + 'static> {
        self.read_many_with(paths, ReadOptions::default())
    }

    /// As [`read_many`](Self::read_many), with options.
    pub fn read_many_with<P: Into<String>>(
        &self,
        paths: impl IntoIterator<Item = P>,
        options: ReadOptions,
    ) -> Result<impl Stream<Item = Result<(String, Bytes)>> + Send + 'static> {
        let mut wanted = Vec::new();
        for path in paths {
            let path = path.into();
            let (at, size) = self.locate(&path)?;
            if size > self.limits().memory {
                return Err(Error::limit(format!("{path}, in bytes,"), self.limits().memory, size));
            }
            wanted.push((self.index().entry(at).data_offset, at, path));
        }
        wanted.sort_unstable();
        let memory = Memory::new(options.memory);
        let in_flight = options.in_flight.clamp(1, Semaphore::MAX_PERMITS / AHEAD);
        let requests = Arc::new(Semaphore::new(in_flight));
        let archive = self.clone();
        let reading = stream::iter(self.group(wanted, options.gap))
            // One after the other, so that the group that is handed out next never waits for one behind it.
            .then(move |group| memory.clone().take(group))
            .map(move |(group, permit)| {
                let (archive, requests) = (archive.clone(), requests.clone());
                async move {
                    let _memory = permit;
                    let _turn = requests.acquire().await.expect("the semaphore is never closed");
                    read_group(archive, group, options.gap).await
                }
            })
            .buffered(in_flight * AHEAD);
        let files = reading.flat_map(|files| match files {
            Ok(files) => stream::iter(files.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        Ok(files.scan(false, |failed, file| {
            let ended = std::mem::replace(failed, file.is_err());
            std::future::ready((!ended).then_some(file))
        }))
    }

    /// Divides files, which come in the order of their data, into those that are read together.
    pub(crate) fn group(&self, wanted: Vec<(u64, usize, String)>, gap: u64) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (_, at, path) in wanted {
            let entry = self.index().entry(at);
            let is_open = entry.chunks.is_none();
            match groups.last_mut() {
                Some(group) if group.is_open && is_open && group.fits(&entry.data(), entry.original_size, gap) => {
                    group.files.push((at, path));
                    group.size += entry.original_size;
                    // A file of no bytes may claim to lie anywhere.
                    if entry.data_size > 0 {
                        group.data.end = group.data.end.max(entry.data().end);
                    }
                }
                _ => {
                    let (data, size) = (entry.data(), entry.original_size);
                    groups.push(Group { files: vec![(at, path)], data, size, is_open });
                }
            }
        }
        groups
    }
}

/// Files that are read together.
pub(crate) struct Group {
    /// Positions in the index, and the paths by which they were asked for.
    pub(crate) files: Vec<(usize, String)>,
    /// The stored bytes, with the gaps between.
    data: Range<u64>,
    /// Bytes of content.
    size: u64,
    /// Whether others may join: not those in chunks, which are read chunk by chunk.
    is_open: bool,
}

impl Group {
    /// Tells whether a file that begins no earlier may join.
    fn fits(&self, data: &Range<u64>, size: u64, gap: u64) -> bool {
        let together = self.data.end.max(data.end) - self.data.start;
        data.start <= self.data.end.saturating_add(gap) && together <= GROUP && self.size + size <= GROUP
    }
}

/// The memory that all requests share.
#[derive(Clone)]
struct Memory {
    free: Arc<Semaphore>,
    permits: u32,
}

impl Memory {
    /// Bytes that one permit stands for.
    const UNIT: u64 = 4 << 10;

    fn new(bytes: u64) -> Self {
        let permits = (bytes / Self::UNIT).clamp(1, (Semaphore::MAX_PERMITS as u64).min(u64::from(u32::MAX))) as u32;
        Self { free: Arc::new(Semaphore::new(permits as usize)), permits }
    }

    /// Waits until there is memory for a group, at most all of it.
    async fn take(self, group: Group) -> (Group, OwnedSemaphorePermit) {
        let bytes = (group.data.end - group.data.start).saturating_add(group.size);
        let permits = bytes.div_ceil(Self::UNIT).min(u64::from(self.permits)) as u32;
        let permit = self.free.acquire_many_owned(permits).await.expect("the semaphore is never closed");
        (group, permit)
    }
}

async fn read_group(archive: Archive, group: Group, gap: u64) -> Result<Vec<(String, Bytes)>> {
    match archive.cache().cloned() {
        // One file alone finds the cache by itself.
        Some(cache) if group.files.len() > 1 => cache.read_group(&archive, group.files, gap).await,
        _ => fetch_group(archive, group).await,
    }
}

/// Reads a group with one request.
pub(crate) async fn fetch_group(archive: Archive, group: Group) -> Result<Vec<(String, Bytes)>> {
    if let [(at, path)] = &group.files[..] {
        let content = archive.read_part(*at, 0..archive.index().entry(*at).original_size).await?;
        return Ok(vec![(path.clone(), content)]);
    }
    let Group { files, data, .. } = group;
    let stored = archive.source().read(data.clone()).await?.bytes(data.end - data.start).await?;
    let decoding = tokio::task::spawn_blocking(move || {
        let mut decoder = Decoder::new(archive.limits());
        let decode = |(at, path): (usize, String)| {
            let entry = archive.index().entry(at);
            let unit = units(&entry).next().expect("a file without chunks is one unit");
            let within = |at: u64| (at - data.start) as usize;
            let stored = match unit.stored {
                0 => Bytes::new(),
                _ => stored.slice(within(unit.offset)..within(unit.data().end)),
            };
            Ok((path, decoder.decode_bytes(entry.path, &unit, stored)?))
        };
        files.into_iter().map(decode).collect()
    });
    decoding.await.expect("decoding does not panic")
}
