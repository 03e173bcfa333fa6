//! Blocks: bytes in memory that grow without being moved.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;

use crate::body::Body;

/// Bytes that came bit by bit, to be read in any part. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Blocks(Arc<Vec<Block>>);

#[derive(Clone)]
struct Block {
    /// Where it ends in the whole.
    end: u64,
    bytes: Bytes,
}

impl Blocks {
    pub(super) fn len(&self) -> u64 {
        self.0.last().map_or(0, |last| last.end)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter().map(|block| &block.bytes)
    }

    /// Adds all of what was gathered elsewhere.
    pub(super) fn append(&mut self, more: Self) {
        if self.0.is_empty() {
            *self = more;
            return;
        }
        let len = self.len();
        let more = more.0.iter().map(|block| Block { end: len + block.end, bytes: block.bytes.clone() });
        Arc::make_mut(&mut self.0).extend(more);
    }

    /// A body of a range, which lies within.
    pub(super) fn body(&self, range: Range<u64>) -> Body {
        let first = self.0.partition_point(|block| block.end <= range.start);
        let behind = self.0.partition_point(|block| block.end < range.end);
        let part = |block: &Block| {
            let start = block.end - block.bytes.len() as u64;
            let within = |at: u64| (at.clamp(start, block.end) - start) as usize;
            block.bytes.slice(within(range.start)..within(range.end))
        };
        match &self.0[first..self.0.len().min(behind + 1)] {
            _ if range.is_empty() => Body::empty(),
            [block] => part(block).into(),
            blocks => {
                let parts: Vec<_> = blocks.iter().map(|block| Ok(part(block))).collect();
                Body::new(Some(range.end - range.start), stream::iter(parts))
            }
        }
    }
}

/// Gathers bytes as they come.
///
/// They are copied once: what a connection gives is often a small part of a large buffer, which would be kept with it.
pub(super) struct Gather {
    done: Vec<Block>,
    len: u64,
    block: Vec<u8>,
    /// Bytes that are still to come, as far as somebody said so.
    expected: u64,
}

impl Gather {
    /// Begins with nothing. `expected` bytes are to come, which is believed up to a block.
    pub(super) fn new(expected: Option<u64>) -> Self {
        Self { done: Vec::new(), len: 0, block: Vec::new(), expected: expected.unwrap_or(BLOCK) }
    }

    pub(super) fn add(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            if self.block.capacity() == 0 {
                self.block.reserve_exact(self.expected.clamp(part.len().min(BLOCK as usize) as u64, BLOCK) as usize);
            }
            let room = self.block.capacity() - self.block.len();
            let (now, rest) = part.split_at(room.min(part.len()));
            self.block.extend_from_slice(now);
            self.expected = self.expected.saturating_sub(now.len() as u64);
            part = rest;
            if self.block.len() == self.block.capacity() {
                self.close();
            }
        }
    }

    pub(super) fn finish(mut self) -> Blocks {
        self.block.shrink_to_fit();
        self.close();
        Blocks(Arc::new(self.done))
    }

    fn close(&mut self) {
        let bytes = Bytes::from(std::mem::take(&mut self.block));
        if !bytes.is_empty() {
            self.len += bytes.len() as u64;
            self.done.push(Block { end: self.len, bytes });
        }
    }
}

/// Bytes of a block at most. Where nothing is said of the length, that much is taken at once.
const BLOCK: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_part_is_what_came() {
        let content: Vec<u8> = (0..2 * BLOCK + 17).map(|at| (at % 251) as u8).collect();
        let size = content.len() as u64;
        for (expected, step) in [
            (None, 4099),
            (Some(0), content.len()),
            (Some(5), BLOCK as usize + 1),
            (Some(BLOCK + 1), 4099),
            (Some(size), content.len()),
            (Some(u64::MAX), BLOCK as usize),
        ] {
            let (first, second) = content.split_at(70_001);
            let gather = |content: &[u8]| {
                let mut gather = Gather::new(expected);
                content.chunks(step).for_each(|part| gather.add(part));
                gather.finish()
            };
            let mut blocks = gather(first);
            blocks.append(gather(second));
            assert_eq!(blocks.len(), size);
            assert!(blocks.iter().all(|block| block.len() as u64 <= BLOCK));
            for (start, end) in
                [(0, size), (0, 1), (0, 70_001), (70_000, 70_002), (70_001, 70_001), (1 << 20, size), (size, size)]
            {
                let body = blocks.body(start..end);
                assert_eq!(body.len(), Some(end - start));
                let came = body.bytes(u64::MAX).await.unwrap();
                assert!(came == content[start as usize..end as usize], "{start}..{end}, {expected:?} by {step}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_nothing() {
        let mut blocks = Gather::new(Some(9)).finish();
        assert_eq!(blocks.len(), 0);
        blocks.append(Blocks::default());
        assert_eq!(blocks.body(0..0).bytes(0).await.unwrap(), "");
    }
}
