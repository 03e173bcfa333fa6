//! Content: a file or a part of it, from one request, unit by unit.

use std::ops::Range;
use std::vec;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::StreamExt;
use skep_registry::Body;

use crate::archive::Archive;
use crate::cache::Part;
use crate::decode::Decoder;
use crate::decode::Unit;
use crate::decode::units_of;
use crate::error::Error;
use crate::error::Result;

/// Units of more bytes than this are decoded on a thread for blocking work.
const INLINE: u64 = 64 << 10;

/// A piece of content, and where in the file it begins. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) bytes: Bytes,
}

impl Piece {
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The bytes that lie in a range of the file.
    pub(super) fn cut(&self, range: &Range<u64>) -> Bytes {
        let within = |at: u64| (at.clamp(self.start, self.end()) - self.start) as usize;
        self.bytes.slice(within(range.start)..within(range.end))
    }
}

/// The content of the units that have bytes of a range, from the cache or from where the data is.
pub(super) enum Content {
    Cached(Box<Part>),
    Fetched(Box<Fetched>),
}

impl Content {
    /// Asks for the units of a file, by its position in the index, that have bytes of a range: one request.
    pub(super) async fn begin(archive: &Archive, entry: usize, range: Range<u64>) -> Result<Self> {
        match archive.cache().and_then(|cache| cache.part(archive, entry, &range)) {
            Some(part) => Ok(Self::Cached(Box::new(part.begin().await?))),
            None => Ok(Self::Fetched(Box::new(Fetched::begin(archive, entry, range).await?))),
        }
    }

    /// The next piece of content; none at the end, when all of it was verified.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>> {
        match self {
            Self::Cached(part) => part.next().await,
            Self::Fetched(fetched) => fetched.next().await,
        }
    }
}

/// The same, from one request.
///
/// Small units come in one piece that was verified before. Large ones, which only other writers make, come as they
/// are decoded, and an error in place of the last piece says that they were wrong. The same holds when a file in chunks
/// is read from its start to its end: then its own hash is compared, and not those of its chunks.
pub(super) struct Fetched {
    archive: Archive,
    entry: usize,
    units: vec::IntoIter<Unit>,
    /// None while a thread has it.
    decoder: Option<Decoder>,
    /// Stored bytes of all units.
    body: Body,
    /// Stored bytes that came and were not decoded yet.
    input: Bytes,
    /// Where in the file the next piece of a large unit begins, while there is one.
    large: Option<u64>,
    /// A piece of a large unit, until the next one, or its end, has shown that it is not the last.
    held: Option<Piece>,
}

impl Fetched {
    async fn begin(archive: &Archive, entry: usize, range: Range<u64>) -> Result<Self> {
        let file = archive.index().entry(entry);
        let units: Vec<_> = units_of(&file, &range).collect();
        let start = units.first().map_or(file.data_offset, |unit| unit.offset);
        let end = units.last().map_or(start, |unit| unit.data().end);
        let is_whole = file.chunks.is_some() && range == (0..file.original_size);
        let decoder = if is_whole { Decoder::whole(archive.limits()) } else { Decoder::new(archive.limits()) };
        Ok(Self {
            archive: archive.clone(),
            entry,
            units: units.into_iter(),
            decoder: Some(decoder),
            body: archive.source().read(start..end).await?,
            input: Bytes::new(),
            large: None,
            held: None,
        })
    }

    async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            let piece = match self.large {
                Some(start) => match self.step(start).await? {
                    Some(piece) if piece.bytes.is_empty() => continue,
                    Some(piece) => self.held.replace(piece),
                    None => {
                        self.finish()?;
                        self.held.take()
                    }
                },
                None => match self.units.next() {
                    Some(unit) if unit.is_small() => {
                        let piece = self.unit(unit).await?;
                        self.finish()?;
                        Some(piece).filter(|piece| !piece.bytes.is_empty())
                    }
                    Some(unit) => {
                        self.decoder().begin(unit);
                        self.large = Some(unit.start);
                        continue;
                    }
                    None => {
                        self.finish()?;
                        return Ok(None);
                    }
                },
            };
            if piece.is_some() {
                return Ok(piece);
            }
        }
    }

    /// Behind the last unit, compares the hash of the whole if that is the one to compare.
    fn finish(&mut self) -> Result<()> {
        if !self.units.as_slice().is_empty() {
            return Ok(());
        }
        let archive = self.archive.clone();
        let entry = archive.index().entry(self.entry);
        self.decoder().finish(entry.path, entry.hash)
    }

    /// A small unit: its stored bytes, decoded and verified.
    async fn unit(&mut self, unit: Unit) -> Result<Piece> {
        let stored = self.stored(unit.stored).await?;
        let mut decoder = self.decoder.take().expect("no other unit is being decoded");
        let (archive, entry) = (self.archive.clone(), self.entry);
        let decode = move || {
            let content = decoder.decode_bytes(archive.index().entry(entry).path, &unit, stored);
            (content, decoder)
        };
        let (content, decoder) = if unit.size > INLINE {
            tokio::task::spawn_blocking(decode).await.expect("decoding does not panic")
        } else {
            decode()
        };
        self.decoder = Some(decoder);
        Ok(Piece { start: unit.start, bytes: content? })
    }

    /// What comes next of a large unit; none at its end.
    async fn step(&mut self, start: u64) -> Result<Option<Piece>> {
        let Some(wanted) = self.decoder().wants() else {
            self.large = None;
            return Ok(None);
        };
        if self.input.is_empty() && wanted > 0 {
            self.input = self.part(wanted).await?;
        }
        let (archive, entry) = (self.archive.clone(), self.entry);
        let mut input = std::mem::take(&mut self.input);
        let bytes = self.decoder().step(archive.index().entry(entry).path, &mut input)?;
        self.input = input;
        self.large = Some(start + bytes.len() as u64);
        Ok(Some(Piece { start, bytes }))
    }

    /// So many stored bytes; they are joined only when they came in several parts.
    async fn stored(&mut self, len: u64) -> Result<Bytes> {
        let mut joined = BytesMut::new();
        while joined.len() as u64 != len {
            if self.input.is_empty() {
                self.input = self.part(len - joined.len() as u64).await?;
            }
            let missing = len as usize - joined.len();
            if joined.is_empty() && self.input.len() >= missing {
                return Ok(self.input.split_to(missing));
            }
            joined.reserve(missing);
            joined.extend_from_slice(&self.input.split_to(missing.min(self.input.len())));
        }
        Ok(joined.freeze())
    }

    /// The next part of the body, when so many bytes are still wanted.
    async fn part(&mut self, wanted: u64) -> Result<Bytes> {
        match self.body.next().await.transpose()? {
            Some(part) => Ok(part),
            None => {
                let entry = self.archive.index().entry(self.entry);
                let came = entry.data_size.saturating_sub(wanted);
                Err(Error::SizeMismatch { path: entry.path.to_owned(), want: entry.data_size, came })
            }
        }
    }

    fn decoder(&mut self) -> &mut Decoder {
        self.decoder.as_mut().expect("no unit is being decoded")
    }
}
