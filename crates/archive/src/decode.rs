//! Decoding: stored bytes back into content, verified, within bounds.

use std::ops::Range;

use bytes::Buf;
use bytes::Bytes;
use sha2::Digest as _;
use sha2::Sha256;
use zstd::zstd_safe::DCtx;
use zstd::zstd_safe::DParameter;
use zstd::zstd_safe::InBuffer;
use zstd::zstd_safe::OutBuffer;
use zstd::zstd_safe::ResetDirective;
use zstd::zstd_safe::get_error_name;

use crate::error::Error;
use crate::error::Result;
use crate::format::Codec;
use crate::format::Entry;
use crate::format::HASH;
use crate::limits::Limits;

/// Units of at most so many bytes, stored and original, are decoded in one go.
pub(crate) const SMALL: u64 = 4 << 20;

/// Bytes of content that one step gives at most; raw content comes as it is stored.
const STEP: u64 = 256 << 10;

/// A run of stored bytes that is decoded and verified alone: a file, or a chunk of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) codec: Codec,
    /// The first stored byte in the data blob, and how many there are.
    pub(crate) offset: u64,
    pub(crate) stored: u64,
    /// The first byte of content in the file, and how many there are.
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) hash: [u8; HASH],
}

impl Unit {
    pub(crate) fn data(&self) -> Range<u64> {
        self.offset..self.offset + self.stored
    }

    pub(crate) fn is_small(&self) -> bool {
        self.stored <= SMALL && self.size <= SMALL
    }
}

/// The units of a file that have bytes of a range, or all if it is not in chunks; in order.
pub(crate) fn units_of<'a>(entry: &Entry<'a>, range: &Range<u64>) -> impl Iterator<Item = Unit> + use<'a> {
    let (has_chunks, range) = (entry.chunks.is_some(), range.clone());
    let is_behind = move |unit: &Unit| has_chunks && unit.start >= range.end;
    let is_before = move |unit: &Unit| has_chunks && unit.start + unit.size <= range.start;
    units(entry).skip_while(is_before).take_while(move |unit| !is_behind(unit))
}

/// The units of a file, in order.
pub(crate) fn units<'a>(entry: &Entry<'a>) -> impl Iterator<Item = Unit> + use<'a> {
    let codec = entry.codec;
    let whole = entry.chunks.is_none().then_some(Unit {
        codec,
        offset: entry.data_offset,
        stored: entry.data_size,
        start: 0,
        size: entry.original_size,
        hash: *entry.hash,
    });
    let (mut offset, mut start, end) = (entry.data_offset, 0, entry.original_size);
    let chunks = entry.chunks.into_iter().flat_map(move |chunks| {
        chunks.iter().map(move |(stored, hash)| {
            let (stored, size) = (u64::from(stored), u64::from(chunks.size()).min(end - start));
            let unit = Unit { codec, offset, stored, start, size, hash: *hash };
            offset += stored;
            start += size;
            unit
        })
    });
    whole.into_iter().chain(chunks)
}

/// Decodes one unit after the other, with the same tools.
pub(crate) struct Decoder {
    context: DCtx<'static>,
    current: Option<Current>,
    /// The hash of all units together, when that is compared instead of each of theirs.
    whole: Option<Sha256>,
}

/// The unit that is decoded step by step.
struct Current {
    unit: Unit,
    /// None when it is not this unit's hash that is compared.
    hasher: Option<Sha256>,
    stored_left: u64,
    size_left: u64,
    /// No frame is open: the stored bytes may end here.
    between_frames: bool,
}

impl Decoder {
    pub(crate) fn new(limits: &Limits) -> Self {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(limits.window_log()))
            .expect("zstd has windows of 10 to 31 bits");
        Self { context, current: None, whole: None }
    }

    /// Decodes all units of a file, whose hash is compared in place of theirs: no byte is hashed twice.
    ///
    /// Nothing is verified before [`finish`](Self::finish) says so.
    pub(crate) fn whole(limits: &Limits) -> Self {
        Self { whole: Some(Sha256::new()), ..Self::new(limits) }
    }

    /// Compares the hash of all units together, if that is the one to compare.
    pub(crate) fn finish(&mut self, path: &str, want: &[u8; HASH]) -> Result<()> {
        match self.whole.take() {
            Some(hasher) => verify(path, want, hasher.finalize().into()),
            None => Ok(()),
        }
    }

    /// Decodes and verifies a [small](Unit::is_small) unit; raw content is not copied.
    pub(crate) fn decode<'a>(
        &mut self,
        path: &str,
        unit: &Unit,
        stored: &'a [u8],
        space: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        let content = self.decode_unverified(path, unit, stored, space)?;
        match &mut self.whole {
            Some(hasher) => hasher.update(content),
            None => verify(path, &unit.hash, Sha256::digest(content).into())?,
        }
        Ok(content)
    }

    /// Decodes a small unit whose content somebody else verifies.
    pub(crate) fn decode_unverified<'a>(
        &mut self,
        path: &str,
        unit: &Unit,
        stored: &'a [u8],
        space: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        let content = match unit.codec {
            Codec::None => stored,
            Codec::Zstd if unit.stored == 0 => &[],
            Codec::Zstd => {
                space.clear();
                // One byte more than should come, to tell more from just enough.
                space.reserve(unit.size as usize + 1);
                let decoded = self.context.decompress(space, stored);
                decoded.map_err(|code| undecodable(path, get_error_name(code)))?;
                space
            }
        };
        if content.len() as u64 != unit.size {
            return Err(wrong_size(path, unit, content.len() as u64));
        }
        Ok(content)
    }

    /// As [`decode`](Self::decode), with the content in memory of its own.
    pub(crate) fn decode_bytes(&mut self, path: &str, unit: &Unit, stored: Bytes) -> Result<Bytes> {
        let mut space = Vec::new();
        self.decode(path, unit, &stored, &mut space)?;
        Ok(match unit.codec {
            Codec::None => stored,
            Codec::Zstd => space.into(),
        })
    }

    /// Begins to decode a unit step by step, forgetting one that was not finished.
    pub(crate) fn begin(&mut self, unit: Unit) {
        let hasher = self.whole.is_none().then(Sha256::new);
        self.begin_with(unit, hasher);
    }

    /// Begins to decode a unit whose content somebody else verifies.
    pub(crate) fn begin_unverified(&mut self, unit: Unit) {
        self.begin_with(unit, None);
    }

    fn begin_with(&mut self, unit: Unit, hasher: Option<Sha256>) {
        self.context.reset(ResetDirective::SessionOnly).expect("a session can always be dropped");
        let (stored_left, size_left) = (unit.stored, unit.size);
        self.current = Some(Current { unit, hasher, stored_left, size_left, between_frames: true });
    }

    /// Stored bytes of the unit that were not taken yet; none when no unit is begun.
    pub(crate) fn wants(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.stored_left)
    }

    /// Takes stored bytes, as many as it likes, and gives the content that comes next.
    ///
    /// When it gives none and everything was taken, the unit is over and was verified, unless that is left to somebody else.
    pub(crate) fn step(&mut self, path: &str, input: &mut Bytes) -> Result<Bytes> {
        let Some(current) = &mut self.current else { return Ok(Bytes::new()) };
        let taken = input.len().min(usize::try_from(current.stored_left).unwrap_or(usize::MAX));
        let (content, taken) = match current.unit.codec {
            Codec::None => (input.slice(..taken), taken),
            Codec::Zstd if taken == 0 && current.between_frames => (Bytes::new(), 0),
            Codec::Zstd => {
                let mut space = Vec::with_capacity((current.size_left + 1).min(STEP) as usize);
                let mut output = OutBuffer::around(&mut space);
                let mut stored = InBuffer::around(&input[..taken]);
                let wanted = self.context.decompress_stream(&mut output, &mut stored);
                let wanted = wanted.map_err(|code| undecodable(path, get_error_name(code)))?;
                current.between_frames = wanted == 0;
                let taken = stored.pos();
                (Bytes::from(space), taken)
            }
        };
        input.advance(taken);
        current.stored_left -= taken as u64;
        let left = current.size_left.checked_sub(content.len() as u64);
        current.size_left = left.ok_or_else(|| wrong_size(path, &current.unit, current.unit.size + 1))?;
        if let Some(hasher) = current.hasher.as_mut().or(self.whole.as_mut()) {
            hasher.update(&content);
        }
        if content.is_empty() && taken == 0 && current.stored_left == 0 {
            let current = self.current.take().expect("it is there, see above");
            if !current.between_frames {
                return Err(undecodable(path, "the last frame is not complete"));
            }
            if current.size_left > 0 {
                return Err(wrong_size(path, &current.unit, current.unit.size - current.size_left));
            }
            if let Some(hasher) = current.hasher {
                verify(path, &current.unit.hash, hasher.finalize().into())?;
            }
        }
        Ok(content)
    }
}

fn undecodable(path: &str, why: &str) -> Error {
    Error::Decompression { path: path.to_owned(), why: why.to_owned() }
}

fn wrong_size(path: &str, unit: &Unit, came: u64) -> Error {
    Error::SizeMismatch { path: path.to_owned(), want: unit.size, came }
}

/// Compares the hash that the index states with the one that came.
pub(crate) fn verify(path: &str, want: &[u8; HASH], came: [u8; HASH]) -> Result<()> {
    if came == *want {
        return Ok(());
    }
    let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Err(Error::HashMismatch { path: path.to_owned(), want: hex(want), came: hex(&came) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(content: &[u8], stored: &[u8]) -> Unit {
        let (stored, size) = (stored.len() as u64, content.len() as u64);
        Unit { codec: Codec::Zstd, offset: 0, stored, start: 0, size, hash: Sha256::digest(content).into() }
    }

    /// Decodes in steps, with the stored bytes in pieces of a length.
    fn stepwise(unit: Unit, stored: &[u8], piece: usize) -> Result<Vec<u8>> {
        let mut decoder = Decoder::new(&Limits::default());
        decoder.begin(unit);
        let (mut content, mut pieces, mut input) = (Vec::new(), stored.chunks(piece), Bytes::new());
        while decoder.wants().is_some() {
            if input.is_empty() {
                input = pieces.next().map(Bytes::copy_from_slice).unwrap_or_default();
            }
            content.extend_from_slice(&decoder.step("a", &mut input)?);
        }
        Ok(content)
    }

    fn at_once(unit: Unit, stored: &[u8]) -> Result<Vec<u8>> {
        Decoder::new(&Limits::default()).decode("a", &unit, stored, &mut Vec::new()).map(<[u8]>::to_vec)
    }

    #[test]
    fn several_frames_are_one_content() {
        let content = b"hello ".repeat(100_000);
        let (head, tail) = content.split_at(250_001);
        let mut stored = zstd::encode_all(head, 3).unwrap();
        stored.extend(zstd::encode_all(&b""[..], 3).unwrap());
        stored.extend(zstd::encode_all(tail, 3).unwrap());
        let unit = unit(&content, &stored);
        assert!(at_once(unit, &stored).unwrap() == content);
        for piece in [1, 7, 1000, 1 << 20] {
            assert!(stepwise(unit, &stored, piece).unwrap() == content, "{piece}");
        }
    }

    #[test]
    fn content_of_another_size_is_refused() {
        let content = vec![0; 3 << 20];
        let stored = zstd::encode_all(&content[..], 3).unwrap();
        for size in [0, 1, content.len() as u64 - 1, content.len() as u64 + 1] {
            let unit = Unit { size, ..unit(&content, &stored) };
            assert!(at_once(unit, &stored).is_err(), "{size}");
            assert!(matches!(stepwise(unit, &stored, 1000), Err(Error::SizeMismatch { .. })), "{size}");
        }
    }

    #[test]
    fn wrong_and_broken_content_is_refused() {
        let content = b"hello".repeat(1000);
        let stored = zstd::encode_all(&content[..], 3).unwrap();
        let good = unit(&content, &stored);
        let other = Unit { hash: [0; HASH], ..good };
        assert!(matches!(at_once(other, &stored), Err(Error::HashMismatch { .. })));
        assert!(matches!(stepwise(other, &stored, 10), Err(Error::HashMismatch { .. })));
        let short = Unit { stored: good.stored - 1, ..good };
        assert!(matches!(at_once(short, &stored[..stored.len() - 1]), Err(Error::Decompression { .. })));
        assert!(matches!(stepwise(short, &stored, 10), Err(Error::Decompression { .. })));
        assert!(stepwise(Unit { stored: 0, ..good }, b"", 10).is_err());
    }

    #[test]
    fn windows_above_the_limit_are_refused() {
        let content: Vec<u8> = (0..3_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(24).unwrap();
        std::io::Write::write_all(&mut encoder, &content).unwrap();
        let stored = encoder.finish().unwrap();
        let mut decoder = Decoder::new(&Limits { window: 1 << 20, ..Limits::default() });
        decoder.begin(unit(&content, &stored));
        let mut input = Bytes::from(stored.clone());
        let mut step = || decoder.step("a", &mut input);
        assert!(matches!(step().and_then(|_| step()), Err(Error::Decompression { .. })));
        assert!(stepwise(unit(&content, &stored), &stored, 4096).is_ok());
    }
}
