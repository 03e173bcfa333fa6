//! Blobs of a cached registry: reading them block by block, from the store or from a download.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::body::Body;
use crate::body::ByteRange;
use crate::cache::flight::Ask;
use crate::cache::flight::BLOCK;
use crate::cache::flight::Entry;
use crate::cache::flight::Flight;
use crate::cache::flight::blocks_of;
use crate::cache::origin::Origin;
use crate::descriptor::Descriptor;
use crate::descriptor::OCTET_STREAM;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Result;
use crate::name::RepoName;
use crate::registry::Blob;
use crate::registry::Registry;

/// A blob or a part of it. The first block is there when this returns, so that errors come by the call.
pub(super) async fn get<R: Registry>(
    origin: &Arc<Origin<R>>,
    repo: &RepoName,
    digest: &Digest,
    range: Option<ByteRange>,
) -> Result<Blob> {
    let entry = origin.flights.entry(repo, digest);
    let (size, flight) = open(origin, &entry, range).await?;
    let range = range.map_or(Ok(0..size), |range| range.of(size))?;
    let mut reader = Reader { origin: origin.clone(), entry, flight, size, at: range.start, end: range.end };
    let first = reader.next().await?;
    let rest = stream::try_unfold(reader, |mut reader| async { Ok(reader.next().await?.map(|part| (part, reader))) });
    let len = range.end - range.start;
    let body = Body::new(Some(len), stream::iter(first.map(Ok)).chain(rest));
    let body = if len == size { verified(origin.clone(), repo.clone(), digest.clone(), size, body) } else { body };
    Ok(Blob { descriptor: Descriptor::new(OCTET_STREAM, digest.clone(), size), range, body })
}

/// Describes a blob.
pub(super) async fn head<R: Registry>(origin: &Origin<R>, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
    if let Some(size) = origin.blob_size(repo, digest).await {
        return Ok(Descriptor::new(OCTET_STREAM, digest.clone(), size));
    }
    let before = origin.moment();
    let upstream = origin.online(format_args!("blob {digest} of {repo} is not in the cache"))?;
    let head = upstream.head_blob(repo, digest).await?;
    origin.note_blob(repo, digest, head.size, before).await;
    Ok(head)
}

/// The size of a blob; when it is not known the content is asked for at once, and comes along.
async fn open<R: Registry>(
    origin: &Arc<Origin<R>>,
    entry: &Arc<Entry>,
    range: Option<ByteRange>,
) -> Result<(u64, Option<Arc<Flight>>)> {
    loop {
        let (seen, flight) = entry.find(Flight::is_under_way);
        if let Some(flight) = flight {
            match flight.size().await {
                // It was asked for another range.
                Err(error) if *error.code() == Code::RangeInvalid => continue,
                size => return Ok((size?, Some(flight))),
            }
        }
        if let Some(size) = origin.blob_size(&entry.repo, &entry.digest).await {
            return Ok((size, None));
        }
        origin.online(format_args!("blob {} of {} is not in the cache", entry.digest, entry.repo))?;
        let (first, aligned) = aligned(range);
        let ask = match first {
            // It came by way of another repository, or was forgotten. The bytes need not come again.
            Some(first) if origin.store.has(&origin.block(&entry.digest, first)).await => Ask::Head,
            _ => Ask::Range(aligned),
        };
        if let Some(flight) = entry.begin(origin, ask, seen) {
            return Ok((flight.size().await?, Some(flight)));
        }
    }
}

/// The first block of a range, and the range of whole blocks around it, in a blob of any size.
fn aligned(range: Option<ByteRange>) -> (Option<u64>, Option<ByteRange>) {
    match range {
        None => (Some(0), None),
        Some(ByteRange::From(start)) if start < BLOCK => (Some(0), None),
        Some(ByteRange::From(start)) => (Some(start / BLOCK), Some(ByteRange::From(start / BLOCK * BLOCK))),
        Some(ByteRange::Span(start, end)) => {
            let end = end.max(start.saturating_add(1)).checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
            (Some(start / BLOCK), Some(ByteRange::Span(start / BLOCK * BLOCK, end)))
        }
        // Wherever the first byte is, its block begins less than a block before it.
        Some(ByteRange::Last(len)) => (None, Some(ByteRange::Last(len.saturating_add(BLOCK - 1)))),
    }
}

/// One caller's way through a blob.
struct Reader<R> {
    origin: Arc<Origin<R>>,
    entry: Arc<Entry>,
    flight: Option<Arc<Flight>>,
    size: u64,
    at: u64,
    end: u64,
}

impl<R: Registry> Reader<R> {
    /// What is wanted of the next block.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.at == self.end {
            // Who is done holds up no download, and keeps none going.
            self.flight = None;
            return Ok(None);
        }
        let index = self.at / BLOCK;
        let block = self.block(index).await?;
        let within = |at: u64| (at - index * BLOCK) as usize;
        let end = self.end.min((index + 1) * BLOCK);
        let part = block.slice(within(self.at)..within(end));
        self.at = end;
        Ok(Some(part))
    }

    async fn block(&mut self, index: u64) -> Result<Bytes> {
        loop {
            if let Some(flight) = &self.flight {
                if let Some(block) = flight.block(index).await? {
                    return Ok(block);
                }
                self.flight = None;
            }
            // In this order: what is not under way and then not in the store has not come in between.
            let (seen, flight) = self.entry.find(|flight| flight.may_bring(index));
            if flight.is_some() {
                self.flight = flight;
                continue;
            }
            let (origin, digest) = (&self.origin, &self.entry.digest);
            if let Some(block) = origin.store.get(&origin.block(digest, index)).await
                && block.len() as u64 == BLOCK.min(self.size - index * BLOCK)
            {
                return Ok(block);
            }
            origin.online(format_args!("block {index} of blob {digest} is not in the cache"))?;
            let run = index..self.end_of_run(index).await;
            self.flight = self.entry.begin(&self.origin, Ask::Blocks(run, self.size), seen);
        }
    }

    /// The next block behind one that is missing that is not, or that is not wanted.
    async fn end_of_run(&self, index: u64) -> u64 {
        let mut end = index + 1;
        while end < self.end.div_ceil(BLOCK)
            && self.entry.find(|flight| flight.may_bring(end)).1.is_none()
            && !self.origin.store.has(&self.origin.block(&self.entry.digest, end)).await
        {
            end += 1;
        }
        end
    }
}

/// Holds a whole blob to its digest, and forgets its blocks when they are not what they should be.
fn verified<R: Registry>(origin: Arc<Origin<R>>, repo: RepoName, digest: Digest, size: u64, body: Body) -> Body {
    let body = body.verify(&digest, Some(size));
    let checked = stream::unfold(body, move |mut body| {
        let (origin, repo, digest) = (origin.clone(), repo.clone(), digest.clone());
        async move {
            let part = body.next().await?;
            if part.as_ref().is_err_and(|error| *error.code() == Code::DigestInvalid) {
                tracing::warn!(%repo, %digest, "a blob is not what its digest says; its blocks are removed");
                for index in 0..blocks_of(size) {
                    origin.store.remove(&origin.block(&digest, index)).await;
                }
                origin.forget_blob(&repo, &digest).await;
            }
            Some((part, body))
        }
    });
    Body::new(Some(size), checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_widened_to_blocks() {
        const B: u64 = BLOCK;
        for (range, first, want) in [
            (None, Some(0), None),
            (Some(ByteRange::From(0)), Some(0), None),
            (Some(ByteRange::From(B - 1)), Some(0), None),
            (Some(ByteRange::From(B)), Some(1), Some(ByteRange::From(B))),
            (Some(ByteRange::From(3 * B + 7)), Some(3), Some(ByteRange::From(3 * B))),
            (Some(ByteRange::Span(0, 1)), Some(0), Some(ByteRange::Span(0, B))),
            (Some(ByteRange::Span(0, B)), Some(0), Some(ByteRange::Span(0, B))),
            (Some(ByteRange::Span(B - 1, B + 1)), Some(0), Some(ByteRange::Span(0, 2 * B))),
            (Some(ByteRange::Span(5 * B, u64::MAX)), Some(5), Some(ByteRange::Span(5 * B, u64::MAX))),
            (Some(ByteRange::Span(6, 2)), Some(0), Some(ByteRange::Span(0, B))),
            (Some(ByteRange::Last(1)), None, Some(ByteRange::Last(B))),
            (Some(ByteRange::Last(u64::MAX)), None, Some(ByteRange::Last(u64::MAX))),
        ] {
            assert_eq!(aligned(range), (first, want), "{range:?}");
        }
    }
}
