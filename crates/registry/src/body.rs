//! Bodies: bytes on the move, and the one place where they are verified.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream;
use futures_util::stream::BoxStream;

use crate::digest::Digest;
use crate::digest::Verifier;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;

/// Bytes on the move: a stream and, when it is known, its length.
///
/// A body that breaks off yields an error, never a clean end: whoever makes one from a source with a
/// stated length makes it by [`Body::exactly`] or [`Body::verify`].
pub struct Body {
    len: Option<u64>,
    stream: BoxStream<'static, Result<Bytes>>,
    file: Option<Arc<File>>,
}

impl Body {
    /// A body of a stream, and of its length if it is known.
    pub fn new(len: Option<u64>, stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self { len, stream: stream.boxed(), file: None }
    }

    /// Says which file has the bytes of this body, and nothing else, for whoever can take it as it is.
    ///
    /// A file without a name is given away with that: nobody may write to it any more. What is made of the body, to look at
    /// its bytes or to hold it to something, knows of no file, so that all bytes pass there.
    pub fn with_file(self, file: Arc<File>) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The file that has the bytes of this body, if somebody gave it. Whoever takes it verifies what is in it.
    pub fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()
    }

    /// A body of no bytes.
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// How many bytes are to come, when that is known.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Tells whether it is known that no byte is to come.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// Reads all bytes into memory, `limit` at most.
    ///
    /// # Errors
    /// `SizeInvalid` when there are more than `limit`, and whatever error the stream yields.
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes> {
        let too_long = || Error::new(Code::SizeInvalid, format!("content is longer than the limit of {limit} bytes"));
        if self.len.is_some_and(|len| len > limit) {
            return Err(too_long());
        }
        let Some(first) = self.stream.next().await.transpose()? else { return Ok(Bytes::new()) };
        let mut rest = BytesMut::new();
        let mut len = first.len() as u64;
        while len <= limit {
            let Some(part) = self.stream.next().await.transpose()? else {
                return Ok(if rest.is_empty() { first } else { rest.freeze() });
            };
            len += part.len() as u64;
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&part);
        }
        Err(too_long())
    }

    /// Holds the body to a digest, and to a size if that is known.
    ///
    /// The error comes in place of the end, so content counts only once the stream has ended.
    pub fn verify(self, digest: &Digest, size: Option<u64>) -> Self {
        let len = size.or(self.len);
        let state = Some((self.stream, Verifier::new(digest, size)));
        let stream = stream::try_unfold(state, |state| async {
            let Some((mut stream, mut verifier)) = state else { return Ok(None) };
            match stream.next().await.transpose()? {
                Some(part) => {
                    verifier.update(&part)?;
                    Ok(Some((part, Some((stream, verifier)))))
                }
                None => verifier.finish().map(|()| None),
            }
        });
        Self::new(len, stream)
    }

    /// Holds the body to a length without looking at its content.
    ///
    /// The error, `SizeInvalid`, comes in place of the end or of the first byte too much.
    pub fn exactly(self, len: u64) -> Self {
        let stream = stream::try_unfold((self.stream, 0), move |(mut stream, came): (_, u64)| async move {
            let wrong = |came: u64| Err(Error::new(Code::SizeInvalid, format!("expected {len} bytes, got {came}")));
            match stream.next().await.transpose()? {
                None if came == len => Ok(None),
                None => wrong(came),
                Some(part) => {
                    let came = came + Bytes::len(&part) as u64;
                    if came > len { wrong(came) } else { Ok(Some((part, (stream, came)))) }
                }
            }
        });
        Self::new(Some(len), stream)
    }

    /// The part of the body that a range names; what lies before is read and dropped, what lies behind is
    /// not read.
    ///
    /// # Errors
    /// The stream yields `SizeInvalid` when the body ends before the range does.
    pub fn slice(self, range: Range<u64>) -> Self {
        let len = range.end - range.start;
        let parts = self.stream.scan(0u64, move |at, part| {
            let part = part.map(|part| {
                let begin = *at;
                *at += part.len() as u64;
                let within = |offset: u64| (offset.clamp(begin, *at) - begin) as usize;
                part.slice(within(range.start)..within(range.end))
            });
            std::future::ready(Some(part))
        });
        let parts = parts.filter(|part| std::future::ready(!matches!(part, Ok(part) if part.is_empty())));
        // Stops asking as soon as the last byte of the range has come.
        let taken = stream::try_unfold((parts.boxed(), 0u64), move |(mut parts, came)| async move {
            if came == len {
                return Ok(None);
            }
            match parts.next().await.transpose()? {
                Some(part) => {
                    let came = came + Bytes::len(&part) as u64;
                    Ok(Some((part, (parts, came))))
                }
                None => Err(Error::new(Code::SizeInvalid, format!("expected {len} bytes, got {came}"))),
            }
        });
        Self::new(Some(len), taken)
    }

    /// Calls a function with the length of each part that passes, for progress and metrics.
    pub fn inspect(self, mut seen: impl FnMut(usize) + Send + 'static) -> Self {
        let len = self.len;
        let stream = self.stream.inspect(move |part| {
            if let Ok(part) = part {
                seen(part.len());
            }
        });
        Self::new(len, stream)
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(cx)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len() as u64;
        let parts = (len > 0).then_some(Ok(bytes));
        Self::new(Some(len), stream::iter(parts))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Which bytes of a blob are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From an offset to the end.
    From(u64),
    /// The last bytes, all if there are fewer.
    Last(u64),
    /// From an offset up to another, which is not included; cut at the end of the blob.
    Span(u64, u64),
}

impl ByteRange {
    /// The bytes of a blob of a size that this range names.
    ///
    /// # Errors
    /// `RangeInvalid` when that is not a single byte (RFC 9110, 14.1.2).
    pub fn of(self, size: u64) -> Result<Range<u64>> {
        let range = match self {
            Self::From(start) => start..size,
            Self::Last(len) => size.saturating_sub(len)..size,
            Self::Span(start, end) => start..end.min(size),
        };
        if range.start >= range.end {
            return Err(Error::new(Code::RangeInvalid, format!("{self} of {size} bytes")));
        }
        Ok(range)
    }
}

impl From<Range<u64>> for ByteRange {
    fn from(range: Range<u64>) -> Self {
        Self::Span(range.start, range.end)
    }
}

impl fmt::Display for ByteRange {
    /// As in a `Range` header: the last byte is included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(start) => write!(f, "bytes={start}-"),
            Self::Last(len) => write!(f, "bytes=-{len}"),
            Self::Span(start, end) => write!(f, "bytes={start}-{}", end.saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: &[&'static str]) -> Body {
        let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        Body::new(None, stream::iter(parts))
    }

    async fn read(body: Body) -> Result<String, Code> {
        let bytes = body.bytes(100).await.map_err(|error| error.code().clone())?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        assert_eq!(read(body(&["he", "", "llo"])).await, Ok("hello".to_owned()));
        assert_eq!(read(body(&[])).await, Ok(String::new()));
        assert_eq!(body(&["hello"]).bytes(5).await.unwrap(), "hello");
        assert_eq!(body(&["hello"]).bytes(4).await.unwrap_err().code(), &Code::SizeInvalid);
        assert_eq!(body(&["hel", "lo"]).bytes(4).await.unwrap_err().code(), &Code::SizeInvalid);
        assert_eq!(Body::from(Bytes::from("hello")).bytes(4).await.unwrap_err().code(), &Code::SizeInvalid);
    }

    #[test]
    fn who_looks_at_the_bytes_of_a_file_sees_them_pass() {
        let file = || body(&["hello"]).with_file(Arc::new(tempfile::tempfile().unwrap()));
        assert!(file().file().is_some() && body(&["hello"]).file().is_none());
        let digest = Digest::sha256(b"hello");
        for made in [file().verify(&digest, None), file().exactly(5), file().slice(0..5), file().inspect(|_| ())] {
            assert!(made.file().is_none());
        }
    }

    #[tokio::test]
    async fn verified_bodies_end_well_only_when_they_are_right() {
        let digest = Digest::sha256(b"hello");
        assert_eq!(read(body(&["hel", "lo"]).verify(&digest, Some(5))).await, Ok("hello".to_owned()));
        assert_eq!(read(body(&["hel", "lo"]).verify(&digest, None)).await, Ok("hello".to_owned()));
        assert_eq!(read(body(&["hel", "l0"]).verify(&digest, Some(5))).await, Err(Code::DigestInvalid));
        assert_eq!(read(body(&["hel"]).verify(&digest, Some(5))).await, Err(Code::SizeInvalid));
        assert_eq!(read(body(&["hello!"]).verify(&digest, Some(5))).await, Err(Code::SizeInvalid));
    }

    #[tokio::test]
    async fn exact_bodies_have_their_length() {
        assert_eq!(read(body(&["hel", "lo"]).exactly(5)).await, Ok("hello".to_owned()));
        assert_eq!(read(body(&["hel"]).exactly(5)).await, Err(Code::SizeInvalid));
        assert_eq!(read(body(&["hel", "lo!"]).exactly(5)).await, Err(Code::SizeInvalid));
    }

    #[tokio::test]
    async fn slices_cross_parts() {
        for (range, want) in [(0..5, "hello"), (1..4, "ell"), (3..5, "lo"), (0..1, "h"), (2..2, "")] {
            assert_eq!(read(body(&["he", "l", "lo"]).slice(range.clone())).await, Ok(want.to_owned()), "{range:?}");
        }
        assert_eq!(read(body(&["he", "l", "lo"]).slice(3..6)).await, Err(Code::SizeInvalid));
    }

    #[test]
    fn ranges_are_cut_at_the_end_of_the_blob() {
        for (range, size, want) in [
            (ByteRange::From(4), 10, Some(4..10)),
            (ByteRange::From(10), 10, None),
            (ByteRange::From(0), 0, None),
            (ByteRange::Last(4), 10, Some(6..10)),
            (ByteRange::Last(40), 10, Some(0..10)),
            (ByteRange::Last(0), 10, None),
            (ByteRange::Last(1), 0, None),
            (ByteRange::Span(2, 6), 10, Some(2..6)),
            (ByteRange::Span(2, 60), 10, Some(2..10)),
            (ByteRange::Span(6, 2), 10, None),
            (ByteRange::Span(10, 20), 10, None),
            (ByteRange::Span(0, u64::MAX), 10, Some(0..10)),
        ] {
            assert_eq!(range.of(size).ok(), want, "{range} of {size}");
        }
    }
}
