//! The block cache: a source before any other one, which keeps aligned blocks of it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::stream;
use skep_registry::Body;
use skep_registry::CacheStore;
use skep_registry::Code;
use skep_registry::Key;
use skep_registry::MAX_VALUE;

use crate::error::Result;
use crate::source::Source;

/// How a [`CachedSource`] keeps blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOptions {
    /// Bytes of a block: 1 to [`MAX_VALUE`]. One mebibyte if nothing is said.
    pub block: u32,
    /// Bytes of the largest read that looks into the cache. 16 MiB if nothing is said.
    ///
    /// Larger ones pass by: they come with one request that no block in between makes shorter, need memory for the
    /// blocks that they find, and would push out what is read again and again.
    pub max_read: u64,
}

impl Default for BlockOptions {
    fn default() -> Self {
        Self { block: 1 << 20, max_read: 16 << 20 }
    }
}

/// A source before another one, which is asked only for blocks that are not in a store yet.
///
/// A read is never more than one request, from the first block that is missing to the last one; blocks in between
/// that are there are read once more. So there are never more requests than without the cache. What a read brings
/// is kept block by block as it passes; a body that is dropped leaves the blocks that were whole.
///
/// Blocks are taken as they come. Who reads verifies content, as [`Archive`](crate::Archive) does.
#[derive(Clone, Debug)]
pub struct CachedSource {
    inner: Arc<dyn Source>,
    store: Arc<dyn CacheStore>,
    id: Arc<str>,
    options: BlockOptions,
}

impl CachedSource {
    /// Puts a cache before a source.
    ///
    /// `id` names its bytes, and never other ones: a digest, for instance, or a URL with its entity tag.
    pub fn new(
        inner: Arc<dyn Source>,
        store: Arc<dyn CacheStore>,
        id: impl Into<Arc<str>>,
        options: BlockOptions,
    ) -> Self {
        let block = options.block.clamp(1, MAX_VALUE as u32);
        Self { inner, store, id: id.into(), options: BlockOptions { block, ..options } }
    }

    fn key(&self, block: u64) -> Key {
        let (size, index) = (self.options.block.to_string(), block.to_string());
        Key::note(NAMESPACE, &[&self.id, &size, &index])
    }

    /// The bytes of a block.
    fn bytes_of(&self, block: u64) -> Range<u64> {
        let size = u64::from(self.options.block);
        block * size..((block + 1) * size).min(self.inner.size())
    }

    async fn kept(&self, block: u64) -> Option<Bytes> {
        let (bytes, content) = (self.bytes_of(block), self.store.get(&self.key(block)).await?);
        (content.len() as u64 == bytes.end - bytes.start).then_some(content)
    }
}

#[async_trait]
impl Source for CachedSource {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    async fn read(&self, range: Range<u64>) -> Result<Body> {
        let len = range.end.saturating_sub(range.start);
        if len == 0 || len > self.options.max_read || range.end > self.size() {
            return self.inner.read(range).await;
        }
        let size = u64::from(self.options.block);
        let blocks = range.start / size..range.end.div_ceil(size);
        let kept = stream::iter(blocks.clone()).map(|block| self.kept(block)).buffered(AT_ONCE);
        let kept: Vec<_> = kept.collect().await;
        let missing = |block: &Option<Bytes>| block.is_none();
        let (first, last) = (kept.iter().position(missing), kept.iter().rposition(missing));
        let (before, asked, behind) = match (first, last) {
            (Some(first), Some(last)) => {
                let (first, last) = (blocks.start + first as u64, blocks.start + last as u64);
                let asked = self.bytes_of(first).start..self.bytes_of(last).end;
                let body = self.inner.read(asked.clone()).await?.exactly(asked.end - asked.start);
                let passing = Passing {
                    source: self.clone(),
                    kept: kept[(first - blocks.start) as usize..=(last - blocks.start) as usize]
                        .iter()
                        .map(Option::is_some)
                        .collect(),
                    first,
                    at: asked.start,
                    block: BytesMut::new(),
                    wanted: range.end,
                };
                (blocks.start..first, Some(passing.body(body)), last + 1..blocks.end)
            }
            _ => (blocks.clone(), None, blocks.end..blocks.end),
        };
        let there = |part: Range<u64>| {
            let part = (part.start - blocks.start) as usize..(part.end - blocks.start) as usize;
            stream::iter(kept[part].iter().flatten().cloned().map(Ok).collect::<Vec<_>>())
        };
        let (before, behind) = (there(before), there(behind));
        let middle = stream::iter(asked).flatten();
        let all = blocks.start * size;
        let whole = Body::new(None, before.chain(middle).chain(behind));
        Ok(whole.slice(range.start - all..range.end - all).exactly(len))
    }
}

/// A body that passes, and of which blocks are kept.
struct Passing {
    source: CachedSource,
    /// Which blocks are there already, from the first one on.
    kept: Vec<bool>,
    first: u64,
    /// Where the next byte lies.
    at: u64,
    /// What came of the block that it is in.
    block: BytesMut,
    /// Where what was wanted ends; what comes behind it only completes a block.
    wanted: u64,
}

impl Passing {
    /// Gives what comes, as it comes. It is kept when the last byte of a block is there.
    ///
    /// The end of what is wanted is held back until its block is there: who has that may not ask for more.
    fn body(self, body: Body) -> impl futures_util::Stream<Item = skep_registry::Result<Bytes>> + Send + 'static {
        stream::try_unfold((self, body), |(mut passing, mut body)| async move {
            let Some(part) = body.next().await.transpose()? else { return Ok(None) };
            passing.keep(part.clone()).await?;
            while passing.at >= passing.wanted
                && let Some(Ok(rest)) = body.next().await
            {
                passing.keep(rest).await?;
            }
            Ok(Some((part, (passing, body))))
        })
    }

    async fn keep(&mut self, mut part: Bytes) -> skep_registry::Result<()> {
        let size = u64::from(self.source.options.block);
        while !part.is_empty() {
            let block = self.at / size;
            let bytes = self.source.bytes_of(block);
            let some = part.split_to(part.len().min((bytes.end - self.at) as usize));
            self.at += some.len() as u64;
            let kept = self.kept.get((block - self.first) as usize).copied();
            let kept =
                kept.ok_or_else(|| skep_registry::Error::new(Code::SizeInvalid, "more came than was asked for"))?;
            if kept {
                continue;
            }
            if self.block.is_empty() && some.len() as u64 == bytes.end - bytes.start {
                self.source.store.put(&self.source.key(block), some).await;
                continue;
            }
            self.block.extend_from_slice(&some);
            if self.at == bytes.end {
                let whole = self.block.split().freeze();
                self.source.store.put(&self.source.key(block), whole).await;
            }
        }
        Ok(())
    }
}

const NAMESPACE: &str = "block";

/// Blocks that are looked up at the same time.
const AT_ONCE: usize = 4;
