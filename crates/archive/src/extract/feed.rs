//! Feeding the writers: the data, read once in large ranges, cut into work.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use skep_registry::Body;
use tokio::sync::mpsc;

use super::job::Job;
use super::job::Pieces;
use super::job::Target;
use super::plan::Plan;
use crate::archive::Archive;
use crate::decode::SMALL;
use crate::decode::units;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;

/// Stored bytes of small files that one writer gets at once.
const BATCH: u64 = 1 << 20;

/// Small files that one writer gets at once.
const BATCH_FILES: usize = 256;

/// Pieces of a large unit that wait for their writer.
const PIECES: usize = 2;

/// Reads all data of a plan and hands it out.
pub(super) struct Feed {
    pub(super) archive: Archive,
    pub(super) plan: Arc<Plan>,
    /// Bytes of other files that are read rather than asking once more.
    pub(super) gap: u64,
    pub(super) jobs: mpsc::Sender<Job>,
}

impl Feed {
    pub(super) async fn run(self) -> Result<()> {
        let mut next = 0;
        while next < self.plan.files.len() {
            let (files, data) = self.run_of(next);
            next = files.end;
            let body = self.archive.source().read(data.clone()).await?;
            self.feed(files, Cutter { body, at: data.start, rest: Bytes::new() }).await?;
        }
        Ok(())
    }

    fn entry(&self, file: usize) -> Entry<'_> {
        self.archive.index().entry(self.plan.files[file].entry as usize)
    }

    /// The files from one on that one request covers, and their data.
    fn run_of(&self, first: usize) -> (Range<usize>, Range<u64>) {
        let mut data = self.entry(first).data();
        let mut end = first + 1;
        while end < self.plan.files.len() {
            let next = self.entry(end).data();
            // Files of no bytes may claim to lie anywhere.
            if !next.is_empty() && !data.is_empty() && next.start > data.end.saturating_add(self.gap) {
                break;
            }
            if data.is_empty() {
                data = next;
            } else if !next.is_empty() {
                data.end = data.end.max(next.end);
            }
            end += 1;
        }
        (first..end, data)
    }

    async fn feed(&self, files: Range<usize>, mut cutter: Cutter) -> Result<()> {
        let mut next = files.start;
        while next < files.end {
            if is_large(&self.entry(next)) {
                let same = self.same_data(next, files.end);
                next = same.end;
                self.feed_large(same, &mut cutter).await?;
                continue;
            }
            let (batch, data) = self.batch(next, files.end);
            next = batch.end;
            let pieces = cutter.take(data).await?;
            // More than one only when many have the same data, which comes once.
            for start in batch.clone().step_by(BATCH_FILES) {
                let part = start..batch.end.min(start + BATCH_FILES);
                self.send(Job::Files(part, pieces.clone())).await?;
            }
        }
        Ok(())
    }

    /// The files from one on that have the same data as that one.
    fn same_data(&self, first: usize, limit: usize) -> Range<usize> {
        let data = self.entry(first).data();
        let mut end = first + 1;
        while end < limit && !data.is_empty() && self.entry(end).data() == data {
            end += 1;
        }
        first..end
    }

    /// As many small files as one writer gets at once, and their data; those with the same data all together.
    fn batch(&self, first: usize, limit: usize) -> (Range<usize>, Range<u64>) {
        let mut data: Range<u64> = 0..0;
        let (mut end, mut size) = (first, 0);
        while end < limit && end - first < BATCH_FILES {
            let same = self.same_data(end, limit);
            let entry = self.entry(end);
            let here = entry.data();
            let together = match (data.is_empty(), here.is_empty()) {
                (true, _) => here,
                (_, true) => data.clone(),
                _ => data.start..data.end.max(here.end),
            };
            size += entry.original_size;
            let is_too_much = is_large(&entry) || size > SMALL || together.end - together.start > BATCH;
            if end > first && is_too_much {
                break;
            }
            data = together;
            end = same.end;
        }
        (first..end, data)
    }

    async fn feed_large(&self, files: Range<usize>, cutter: &mut Cutter) -> Result<()> {
        let entry = self.entry(files.start);
        let target = Arc::new(Target::new(files, units(&entry).count() as u64));
        for unit in units(&entry) {
            if unit.is_small() {
                let pieces = cutter.take(unit.data()).await?;
                self.send(Job::Unit(target.clone(), unit, pieces)).await?;
                continue;
            }
            let (sender, receiver) = mpsc::channel(PIECES);
            self.send(Job::Stream(target.clone(), unit, receiver)).await?;
            cutter.skip_to(unit.offset).await?;
            let mut left = unit.stored;
            while left > 0 {
                let piece = cutter.piece(left).await?;
                left -= piece.len() as u64;
                sender.send(piece).await.map_err(|_| Error::Cancelled)?;
            }
        }
        Ok(())
    }

    /// Waits for a writer; there are none any more when one of them failed, and says why elsewhere.
    async fn send(&self, job: Job) -> Result<()> {
        self.jobs.send(job).await.map_err(|_| Error::Cancelled)
    }
}

/// Tells whether a file is written in units, by several writers or in a stream.
fn is_large(entry: &Entry<'_>) -> bool {
    entry.chunks.is_some() || entry.data_size > SMALL || entry.original_size > SMALL
}

/// Cuts ranges, one behind the other, out of a body.
struct Cutter {
    body: Body,
    /// Where in the data the rest begins.
    at: u64,
    rest: Bytes,
}

impl Cutter {
    async fn take(&mut self, data: Range<u64>) -> Result<Pieces> {
        let mut pieces = Pieces { start: data.start, parts: Vec::new() };
        if data.is_empty() {
            return Ok(pieces);
        }
        self.skip_to(data.start).await?;
        while self.at < data.end {
            pieces.parts.push(self.piece(data.end - self.at).await?);
        }
        Ok(pieces)
    }

    async fn skip_to(&mut self, start: u64) -> Result<()> {
        while self.at < start {
            self.piece(start - self.at).await?;
        }
        Ok(())
    }

    /// The next bytes, at most so many.
    async fn piece(&mut self, limit: u64) -> Result<Bytes> {
        while self.rest.is_empty() {
            let Some(part) = self.body.next().await.transpose()? else {
                let message = format!("the data ended at byte {}", self.at);
                return Err(skep_registry::Error::new(skep_registry::Code::SizeInvalid, message).into());
            };
            self.rest = part;
        }
        let len = self.rest.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        self.at += len as u64;
        Ok(self.rest.split_to(len))
    }
}
