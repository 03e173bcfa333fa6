//! Reading ahead: a range of the data, fetched while what came before it is worked on.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::error::Result;
use crate::source::Source;

/// A range of the data, whose request is under way.
pub(super) struct Ahead {
    parts: mpsc::UnboundedReceiver<Result<Part>>,
    /// Where in the data the rest begins.
    at: u64,
    /// What is left of the part that came last.
    rest: Bytes,
}

/// Bytes that came, and their share of what may be read ahead, which is free again when they are taken.
type Part = (Bytes, OwnedSemaphorePermit);

impl Ahead {
    /// Begins to fetch a range, up to `limit` bytes before they are asked for, and one part in any case.
    ///
    /// It ends when this is dropped.
    pub(super) fn start(source: Arc<dyn Source>, range: Range<u64>, limit: u64) -> Self {
        let (sender, parts) = mpsc::unbounded_channel();
        let at = range.start;
        tokio::spawn(async move {
            tokio::select! {
                fetched = fetch(&*source, range, limit, &sender) => {
                    if let Err(error) = fetched {
                        // Nobody listens when the extraction ended meanwhile.
                        let _ = sender.send(Err(error));
                    }
                }
                () = sender.closed() => {}
            }
        });
        Self { parts, at, rest: Bytes::new() }
    }

    /// Drops what comes before a position.
    pub(super) async fn skip_to(&mut self, start: u64) -> Result<()> {
        while self.at < start {
            self.piece(start - self.at).await?;
        }
        Ok(())
    }

    /// The next bytes, at most so many.
    ///
    /// # Errors
    /// Those of the source; `Registry` with `SizeInvalid` at the end of the data.
    pub(super) async fn piece(&mut self, limit: u64) -> Result<Bytes> {
        while self.rest.is_empty() {
            let Some((part, _)) = self.parts.recv().await.transpose()? else {
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

async fn fetch(
    source: &dyn Source,
    range: Range<u64>,
    limit: u64,
    parts: &mpsc::UnboundedSender<Result<Part>>,
) -> Result<()> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX).max(1);
    let free = Arc::new(Semaphore::new(limit as usize));
    let mut body = source.read(range).await?;
    while let Some(part) = body.next().await.transpose()? {
        // A part that is larger than all there is waits until it is the only one.
        let share = u32::try_from(part.len()).unwrap_or(u32::MAX).min(limit);
        let share = free.clone().acquire_many_owned(share).await.expect("it is never closed");
        if parts.send(Ok((part, share))).is_err() {
            return Err(Error::Cancelled);
        }
    }
    Ok(())
}
