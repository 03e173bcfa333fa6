//! Reading: one file, a part of it, or many, each from as few requests as there can be.

use std::ops::Range;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream;
use skep_registry::Body;

use crate::archive::Archive;
use crate::decode::Decoder;
use crate::decode::Unit;
use crate::decode::units;
use crate::error::Error;
use crate::error::Result;
use crate::format::Codec;
use crate::format::Entry;

/// Bytes of other files that are read and dropped rather than asking once more.
///
/// At 100 Mbit/s they take as long as an answer over 22 ms.
pub(crate) const GAP: u64 = 256 << 10;

/// Stored bytes, and bytes of content, of the files that are read together.
const GROUP: u64 = 4 << 20;

/// Groups that are read at the same time.
const IN_FLIGHT: usize = 4;

impl Archive {
    /// Reads a file whole into memory, [`Limits::memory`](crate::Limits::memory) bytes at most. One request.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `InvalidPath`; `Limit` when it is larger; `Decompression`, `HashMismatch`,
    /// `SizeMismatch` when the data is not what the index says; `Registry`, `Io`.
    pub async fn read(&self, path: &str) -> Result<Bytes> {
        self.read_limited(path, self.limits().memory).await
    }

    /// Reads a file whole into memory, `limit` bytes at most, otherwise as [`read`](Self::read) does.
    pub async fn read_limited(&self, path: &str, limit: u64) -> Result<Bytes> {
        let entry = self.entry(path)?;
        if entry.original_size > limit {
            return Err(Error::limit(format!("{path}, in bytes,"), limit, entry.original_size));
        }
        let at = self.index().position(entry.path).expect("the entry comes from this index");
        self.read_entry(at).await
    }

    async fn read_entry(&self, at: usize) -> Result<Bytes> {
        let entry = self.index().entry(at);
        if let Some(part) = self.cache().and_then(|cache| cache.part(self, at, 0..entry.original_size)) {
            return part.bytes().await;
        }
        if let (Some(unit), None) = (units(&entry).next(), entry.chunks)
            && unit.is_small()
        {
            let stored = self.source().read(unit.data()).await?.bytes(unit.stored).await?;
            return decode(&mut Decoder::new(self.limits()), entry.path, &unit, stored);
        }
        let mut reader = self.reader(at, 0..entry.original_size).await?;
        // The size is only what the index says: let memory follow what comes.
        let mut content = BytesMut::with_capacity(entry.original_size.min(64 << 20) as usize);
        while let Some(piece) = reader.next().await? {
            content.extend_from_slice(&piece);
        }
        Ok(content.freeze())
    }

    /// Reads a part of a file. One request.
    ///
    /// Of a file in chunks, only those that have bytes in the range are fetched; another file is read whole.
    /// Everything that is read is verified before the body ends, and an error comes in place of the end if it
    /// is not right: bytes count only then.
    ///
    /// # Errors
    /// As [`read`](Self::read), and `InvalidRange` when the range is not in the file. The body yields
    /// `DigestInvalid` and `SizeInvalid`, with the error of this crate as its source.
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Body> {
        let entry = self.entry(path)?;
        let size = entry.original_size;
        if range.start > range.end || range.end > size {
            return Err(Error::InvalidRange { path: path.to_owned(), start: range.start, end: range.end, size });
        }
        let at = self.index().position(entry.path).expect("the entry comes from this index");
        if let Some(part) = self.cache().and_then(|cache| cache.part(self, at, range.clone())) {
            return part.body().await;
        }
        let len = range.end - range.start;
        let reader = self.reader(at, range).await?;
        let pieces = stream::try_unfold(reader, |mut reader| async move {
            let piece = reader.next().await.map_err(skep_registry::Error::from)?;
            Ok(piece.map(|piece| (piece, reader)))
        });
        Ok(Body::new(Some(len), pieces))
    }

    /// Streams a file, in bounded memory. One request.
    ///
    /// # Errors
    /// As [`read_range`](Self::read_range).
    pub async fn stream(&self, path: &str) -> Result<Body> {
        let size = self.entry(path)?.original_size;
        self.read_range(path, 0..size).await
    }

    /// Reads many files, those that are stored close to each other with one request.
    ///
    /// They come in the order in which they are stored, with the path by which they were asked for, in bounded
    /// memory: each file at most [`Limits::memory`](crate::Limits::memory) bytes, and small ones some MiB
    /// together. The stream ends after the first error.
    ///
    /// # Errors
    /// As [`read`](Self::read), before anything is read.
    pub fn read_many<P: Into<String>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<impl Stream<Item = Result<(String, Bytes)>> + Send + 'static> {
        let mut wanted = Vec::new();
        for path in paths {
            let path = path.into();
            let entry = self.entry(&path)?;
            if entry.original_size > self.limits().memory {
                return Err(Error::limit(format!("{path}, in bytes,"), self.limits().memory, entry.original_size));
            }
            let at = self.index().position(entry.path).expect("the entry comes from this index");
            wanted.push((entry.data_offset, at, path));
        }
        wanted.sort_unstable();
        let groups = self.group(wanted);
        let archive = self.clone();
        let reading = stream::iter(groups).map(move |group| read_group(archive.clone(), group)).buffered(IN_FLIGHT);
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
    pub(crate) fn group(&self, wanted: Vec<(u64, usize, String)>) -> Vec<Vec<(usize, String)>> {
        let mut groups: Vec<Vec<(usize, String)>> = Vec::new();
        let (mut data, mut size, mut is_open) = (0..0, 0, false);
        for (_, at, path) in wanted {
            let entry = self.index().entry(at);
            let together = data.start..entry.data().end.max(data.end);
            let is_near = entry.data_offset <= data.end + GAP && together.end - together.start <= GROUP;
            let has_chunks = entry.chunks.is_some();
            match groups.last_mut() {
                Some(group) if is_open && is_near && size + entry.original_size <= GROUP && !has_chunks => {
                    group.push((at, path));
                    size += entry.original_size;
                    data = together;
                }
                _ => {
                    groups.push(vec![(at, path)]);
                    (data, size, is_open) = (entry.data(), entry.original_size, !has_chunks);
                }
            }
        }
        groups
    }

    /// Begins to read a part of a file.
    async fn reader(&self, at: usize, range: Range<u64>) -> Result<Reader> {
        let entry = self.index().entry(at);
        let is_covering =
            |unit: &Unit| entry.chunks.is_none() || (unit.start < range.end && unit.start + unit.size > range.start);
        let mut covering = units(&entry).filter(is_covering);
        let first = covering.next();
        let start = first.map_or(entry.data_offset, |unit| unit.offset);
        let end = covering.last().or(first).map_or(start, |unit| unit.data().end);
        Ok(Reader {
            archive: self.clone(),
            entry: at,
            decoder: Decoder::new(self.limits()),
            next: first,
            range,
            body: self.source().read(start..end).await?,
            input: Bytes::new(),
            position: first.map_or(0, |unit| unit.start),
        })
    }
}

/// Reads a part of a file piece by piece.
struct Reader {
    archive: Archive,
    entry: usize,
    decoder: Decoder,
    /// The unit that comes next.
    next: Option<Unit>,
    range: Range<u64>,
    body: Body,
    /// Stored bytes that were not decoded yet.
    input: Bytes,
    /// Where in the file the next piece of content begins.
    position: u64,
}

impl Reader {
    /// The next piece of content, never empty; none at the end, when all of it was verified.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(wanted) = self.decoder.wants() else {
                let Some(unit) = self.next.take() else { return Ok(None) };
                self.decoder.begin(unit);
                self.next = self.following(&unit);
                continue;
            };
            if self.input.is_empty() && wanted > 0 {
                match self.body.next().await.transpose()? {
                    Some(piece) => self.input = piece,
                    None => return Err(broken_off(&self.archive.index().entry(self.entry), wanted)),
                }
            }
            let entry = self.archive.index().entry(self.entry);
            let content = self.decoder.step(entry.path, &mut self.input)?;
            let start = self.position;
            self.position += content.len() as u64;
            let within = |at: u64| (at.clamp(start, self.position) - start) as usize;
            let piece = content.slice(within(self.range.start)..within(self.range.end));
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// The unit behind one, if it has bytes of the range.
    fn following(&self, unit: &Unit) -> Option<Unit> {
        let entry = self.archive.index().entry(self.entry);
        let (start, offset) = (unit.start + unit.size, unit.data().end);
        if start >= self.range.end {
            return None;
        }
        let chunks = entry.chunks?;
        let before = (unit.start / u64::from(chunks.size())) as usize;
        let (stored, hash) = chunks.get(before + 1)?;
        let size = u64::from(chunks.size()).min(entry.original_size - start);
        Some(Unit { codec: entry.codec, offset, stored: u64::from(stored), start, size, hash: *hash })
    }
}

async fn read_group(archive: Archive, group: Vec<(usize, String)>) -> Result<Vec<(String, Bytes)>> {
    match archive.cache() {
        Some(cache) if group.len() > 1 => cache.clone().read_group(&archive, group).await,
        _ => fetch_group(archive, group).await,
    }
}

/// Reads a group with one request.
pub(crate) async fn fetch_group(archive: Archive, group: Vec<(usize, String)>) -> Result<Vec<(String, Bytes)>> {
    if let [(at, path)] = &group[..] {
        return Ok(vec![(path.clone(), archive.read_entry(*at).await?)]);
    }
    let ranges = group.iter().map(|(at, _)| archive.index().entry(*at).data());
    let data = ranges.reduce(|all, data| all.start.min(data.start)..all.end.max(data.end)).unwrap_or_default();
    let stored = archive.source().read(data.clone()).await?.bytes(data.end - data.start).await?;
    let decoding = tokio::task::spawn_blocking(move || {
        let mut decoder = Decoder::new(archive.limits());
        let decode = |(at, path): (usize, String)| {
            let entry = archive.index().entry(at);
            let unit = units(&entry).next().expect("a file without chunks is one unit");
            let within = |at: u64| (at - data.start) as usize;
            let stored = stored.slice(within(unit.offset)..within(unit.data().end));
            Ok((path, decode(&mut decoder, entry.path, &unit, stored)?))
        };
        group.into_iter().map(decode).collect()
    });
    decoding.await.expect("decoding does not panic")
}

fn decode(decoder: &mut Decoder, path: &str, unit: &Unit, stored: Bytes) -> Result<Bytes> {
    let mut space = Vec::new();
    decoder.decode(path, unit, &stored, &mut space)?;
    Ok(match unit.codec {
        Codec::None => stored,
        Codec::Zstd => space.into(),
    })
}

fn broken_off(entry: &Entry<'_>, missing: u64) -> Error {
    Error::SizeMismatch { path: entry.path.to_owned(), want: entry.data_size, came: entry.data_size - missing }
}
