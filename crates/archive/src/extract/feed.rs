//! Feeding the writers: the data, read once in large ranges, cut into work.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use super::ahead::Ahead;
use super::job::Job;
use super::job::Pieces;
use super::turn::Target;
use super::turn::Turn;
use crate::decode::Unit;
use crate::decode::units;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;

/// Small files that one writer gets at once.
const BATCH_FILES: usize = 256;

/// Pieces of a large unit that wait for their writer.
const PIECES: usize = 2;

/// Reads all data of a plan and hands it out.
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: mpsc::Sender<Job>,
}

impl Feed {
    pub(super) async fn run(self) -> Result<()> {
        let (budget, files) = (&self.shared.budget, self.shared.plan.files.len());
        let mut requests = VecDeque::new();
        let mut next = 0;
        loop {
            while requests.len() < budget.in_flight && next < files {
                let (files, data) = self.run_of(next);
                next = files.end;
                let source = self.shared.archive.source().clone();
                requests.push_back((files, Ahead::start(source, data, budget.ahead)));
            }
            let Some((files, data)) = requests.pop_front() else { return Ok(()) };
            self.feed(files, data).await?;
        }
    }

    fn entry(&self, file: usize) -> Entry<'_> {
        self.shared.entry(file)
    }

    /// The files from one on that one request covers, and their data.
    fn run_of(&self, first: usize) -> (Range<usize>, Range<u64>) {
        let mut data = self.entry(first).data();
        let mut end = first + 1;
        while end < self.shared.plan.files.len() {
            let next = self.entry(end).data();
            // Files of no bytes may claim to lie anywhere.
            if !next.is_empty() && !data.is_empty() && next.start > data.end.saturating_add(self.shared.options.gap) {
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

    async fn feed(&self, files: Range<usize>, mut data: Ahead) -> Result<()> {
        let mut next = files.start;
        while next < files.end {
            if self.is_large(&self.entry(next)) {
                let same = self.same_data(next, files.end);
                next = same.end;
                self.feed_large(same, &mut data).await?;
                continue;
            }
            let (batch, range) = self.batch(next, files.end);
            next = batch.end;
            let pieces = take(&mut data, range).await?;
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
            let budget = &self.shared.budget;
            let is_full = size > budget.small || together.end - together.start > budget.batch;
            if end > first && (is_full || self.is_large(&entry)) {
                break;
            }
            data = together;
            end = same.end;
        }
        (first..end, data)
    }

    async fn feed_large(&self, files: Range<usize>, data: &mut Ahead) -> Result<()> {
        let entry = self.entry(files.start);
        let target = Target::new(files);
        let count = entry.chunks.map_or(1, |chunks| chunks.len());
        for (number, unit) in units(&entry).enumerate() {
            let turn = Turn::new(target.clone(), number as u64, number + 1 == count);
            if self.is_small(&unit) {
                let pieces = take(data, unit.data()).await?;
                self.send(Job::Unit(turn, unit, pieces)).await?;
                continue;
            }
            let (sender, receiver) = mpsc::channel(PIECES);
            self.send(Job::Stream(turn, unit, receiver)).await?;
            data.skip_to(unit.offset).await?;
            let mut left = unit.stored;
            while left > 0 {
                let piece = data.piece(left).await?;
                left -= piece.len() as u64;
                sender.send(piece).await.map_err(|_| Error::Cancelled)?;
            }
        }
        Ok(())
    }

    /// Tells whether a file is written in units, by several writers or in a stream.
    fn is_large(&self, entry: &Entry<'_>) -> bool {
        let small = self.shared.budget.small;
        entry.chunks.is_some() || entry.data_size > small || entry.original_size > small
    }

    /// Tells whether a unit is decoded in one go.
    fn is_small(&self, unit: &Unit) -> bool {
        unit.stored.max(unit.size) <= self.shared.budget.small
    }

    /// Waits for a writer; there are none any more when one of them failed, and says why elsewhere.
    async fn send(&self, job: Job) -> Result<()> {
        self.jobs.send(job).await.map_err(|_| Error::Cancelled)
    }
}

/// The data of a range, which lies behind all that was taken.
async fn take(data: &mut Ahead, range: Range<u64>) -> Result<Pieces> {
    let mut pieces = Pieces { start: range.start, parts: Vec::new() };
    if range.is_empty() {
        return Ok(pieces);
    }
    data.skip_to(range.start).await?;
    let mut left = range.end - range.start;
    while left > 0 {
        let piece = data.piece(left).await?;
        left -= piece.len() as u64;
        pieces.parts.push(piece);
    }
    Ok(pieces)
}
