//! Parts: several ranges of one file, those that are stored close to each other with one request.

use std::ops::Range;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;

use crate::archive::Archive;
use crate::decode::units_of;
use crate::error::Error;
use crate::error::Result;
use crate::read::ReadOptions;
use crate::read::check_range;
use crate::read::content::Content;

impl Archive {
    /// Reads several parts of a file into memory, in the order in which they were asked for.
    ///
    /// They may overlap. No chunk is fetched twice, those that are stored close to each other come with one request,
    /// and several requests are made at the same time, as the options say; their memory does not count here, because
    /// all parts together are held anyway. A file that is not in chunks is read once.
    ///
    /// # Errors
    /// `InvalidRange`; `Limit` when the parts together are above [`Limits::memory`](crate::Limits::memory); as
    /// [`read`](Self::read).
    pub async fn read_ranges(&self, path: &str, ranges: &[Range<u64>], options: ReadOptions) -> Result<Vec<Bytes>> {
        let (at, size) = self.locate(path)?;
        let mut total = 0u64;
        for range in ranges {
            check_range(path, range, size)?;
            total = total.saturating_add(range.end - range.start);
        }
        let limit = self.limits().memory;
        if total > limit {
            return Err(Error::limit(format!("the parts of {path}, in bytes,"), limit, total));
        }
        let mut wanted: Vec<usize> = (0..ranges.len()).filter(|&which| !ranges[which].is_empty()).collect();
        wanted.sort_by_key(|&which| (ranges[which].start, ranges[which].end));
        let groups = self.together(at, ranges, wanted, options.gap);
        let reading = stream::iter(groups.into_iter().map(|group| async move {
            let parts: Vec<_> = group.iter().map(|&which| ranges[which].clone()).collect();
            Ok::<_, Error>((group, self.read_parts(at, &parts).await?))
        }));
        let read: Vec<(Vec<usize>, Vec<Bytes>)> = reading.buffered(options.in_flight.max(1)).try_collect().await?;
        let mut parts = vec![Bytes::new(); ranges.len()];
        for (which, part) in read.into_iter().flat_map(|(group, read)| group.into_iter().zip(read)) {
            parts[which] = part;
        }
        Ok(parts)
    }

    /// Divides ranges, which come in the order of their starts, into those that one request covers.
    fn together(&self, at: usize, ranges: &[Range<u64>], wanted: Vec<usize>, gap: u64) -> Vec<Vec<usize>> {
        let entry = self.index().entry(at);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        // Where the stored bytes of the last group end.
        let mut end = 0;
        for which in wanted {
            let mut units = units_of(&entry, &ranges[which]);
            let Some(first) = units.next() else { continue };
            let data = first.offset..units.last().unwrap_or(first).data().end;
            match groups.last_mut() {
                Some(group) if data.start <= u64::saturating_add(end, gap) => group.push(which),
                _ => groups.push(vec![which]),
            }
            end = end.max(data.end);
        }
        groups
    }

    /// Reads a part of a file into memory. One request.
    pub(super) async fn read_part(&self, at: usize, range: Range<u64>) -> Result<Bytes> {
        let mut parts = self.read_parts(at, &[range]).await?;
        Ok(parts.pop().expect("there is one part for each range"))
    }

    /// Reads parts of a file, and decodes what lies between. One request.
    async fn read_parts(&self, at: usize, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let mut content = Content::begin(self, at, start..end).await?;
        let mut parts: Vec<Part> = ranges.iter().map(|range| Part::new(range.end - range.start)).collect();
        while let Some(piece) = content.next().await? {
            for (part, range) in parts.iter_mut().zip(ranges) {
                part.push(piece.cut(range));
            }
        }
        Ok(parts.into_iter().map(Part::finish).collect())
    }
}

/// Pieces that become one, and are copied only if there is more than one.
struct Part {
    first: Bytes,
    joined: BytesMut,
    len: u64,
}

impl Part {
    fn new(len: u64) -> Self {
        Self { first: Bytes::new(), joined: BytesMut::new(), len }
    }

    fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            // The length is only what the index says: let memory follow what comes.
            self.joined.reserve(self.len.min(64 << 20) as usize);
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&piece);
    }

    fn finish(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
