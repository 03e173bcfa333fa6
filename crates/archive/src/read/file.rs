//! Files: one file of an archive, open for reading, seeking, and reading at any place.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::io::SeekFrom;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use futures_util::stream::BoxStream;
use futures_util::stream::Peekable;
use skep_registry::Body;
use tokio::io::AsyncRead;
use tokio::io::AsyncSeek;
use tokio::io::ReadBuf;

use crate::archive::Archive;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;
use crate::read::GAP;
use crate::read::check_range;
use crate::read::content::Content;
use crate::read::content::Piece;

/// Bytes of content that one request reads ahead at most.
const WIDEST: u64 = 8 << 20;

/// Pieces of content that are kept, the one that is read and the one before.
const KEPT: usize = 2;

/// A regular file of an archive, open for reading and seeking.
///
/// Nothing is fetched before it is read. The first read fetches the chunk that it begins in; as long as reading goes
/// on where it ended, each further request reads twice as far ahead, up to 8 MiB, and the next one is sent when half
/// of its predecessor was read. A seek is not a request: to what is kept (the last two chunks) or what is on its way it
/// costs nothing, anywhere else the next read begins with a single chunk again. Memory is bounded by about five chunks.
///
/// Every chunk is verified before its bytes leave; the hash of the whole file, which would be a second one over the
/// same bytes, is not compared. A file that is not in chunks is one request, however large. If it is larger than 4 MiB,
/// which only other writers leave, then it is read from its start: seeking forward reads what lies between, seeking
/// back begins anew, and bytes count only once the last of them came.
///
/// # Cancel safety
/// Reading is cancel safe; what arrived is kept.
pub struct File {
    archive: Archive,
    entry: usize,
    size: u64,
    position: u64,
    /// What was read last, the newest piece at the back.
    kept: VecDeque<Piece>,
    /// What is being read.
    window: Option<Window>,
    /// What is read next, if reading goes on.
    ahead: Option<Window>,
}

/// A part of the file that one request reads.
struct Window {
    range: Range<u64>,
    /// Where the next piece begins.
    next: u64,
    /// Windows before this one that reading went through without a seek.
    before: u32,
    /// In a mutex, which nobody ever locks, so that several may read at different places.
    pieces: Mutex<Peekable<BoxStream<'static, Result<Piece>>>>,
}

impl Archive {
    /// Opens the regular file that a path leads to. Nothing is fetched.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `InvalidPath`.
    pub fn file(&self, path: &str) -> Result<File> {
        let (entry, size) = self.locate(path)?;
        let archive = self.clone();
        Ok(File { archive, entry, size, position: 0, kept: VecDeque::new(), window: None, ahead: None })
    }
}

impl File {
    /// What the index says of the file.
    pub fn entry(&self) -> Entry<'_> {
        self.archive.index().entry(self.entry)
    }

    /// Bytes of content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the next read begins; may lie behind the end.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads a part of the file into memory, wherever it stands. One request, none if the part is empty.
    ///
    /// All of it was verified.
    ///
    /// # Errors
    /// `InvalidRange`; `Limit` when the part is above [`Limits::memory`](crate::Limits::memory); as
    /// [`Archive::read`].
    pub async fn read_at(&self, range: Range<u64>) -> Result<Bytes> {
        let path = self.entry().path;
        check_range(path, &range, self.size)?;
        let (len, limit) = (range.end - range.start, self.archive.limits().memory);
        if len > limit {
            return Err(Error::limit(format!("a part of {path}, in bytes,"), limit, len));
        }
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.archive.read_part(self.entry, range).await
    }

    /// Streams a part of the file, wherever it stands, as [`Archive::read_range`] does.
    ///
    /// # Errors
    /// As [`Archive::read_range`].
    pub async fn stream(&self, range: Range<u64>) -> Result<Body> {
        self.archive.read_range(self.entry().path, range).await
    }

    /// The content from the position on, as much of it as is there; nothing at the end of the file.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
        loop {
            if self.position >= self.size {
                return Poll::Ready(Ok(Bytes::new()));
            }
            let is_here = |piece: &&Piece| piece.start <= self.position && self.position < piece.end();
            if let Some(piece) = self.kept.iter().find(is_here) {
                let content = piece.cut(&(self.position..piece.end()));
                self.poll_ahead(cx);
                return Poll::Ready(Ok(content));
            }
            let Some(window) = self.window.as_mut().filter(|window| window.leads_to(self.position)) else {
                self.open();
                continue;
            };
            match ready!(window.pieces().poll_next_unpin(cx)) {
                Some(Ok(piece)) => {
                    window.next = piece.end();
                    if self.kept.len() == KEPT {
                        self.kept.pop_front();
                    }
                    self.kept.push_back(piece);
                }
                Some(Err(error)) => {
                    self.window = None;
                    return Poll::Ready(Err(error));
                }
                None => {
                    let (path, want) = (self.entry().path.to_owned(), self.size);
                    self.window = None;
                    return Poll::Ready(Err(Error::SizeMismatch { path, want, came: self.position }));
                }
            }
        }
    }

    /// Turns to the window that has the position.
    fn open(&mut self) {
        let went_on = self.window.take().filter(|window| window.range.end == self.position);
        let before = went_on.map_or(0, |window| window.before + 1);
        self.window = match self.ahead.take() {
            Some(ahead) if ahead.range.start == self.position => Some(ahead),
            _ => Some(self.window_at(self.position, before)),
        };
    }

    /// Lets the request of the next window be sent once half of this one was read, if reading went on so far.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        let Some(window) = self.window.as_ref().filter(|window| window.before > 0) else { return };
        let (end, before) = (window.range.end, window.before + 1);
        let is_half_read =
            window.range.contains(&self.position) && end - self.position <= self.position - window.range.start;
        if end >= self.size || !is_half_read {
            return;
        }
        if self.ahead.as_ref().is_none_or(|ahead| ahead.range.start != end) {
            self.ahead = Some(self.window_at(end, before));
        }
        if let Some(ahead) = &mut self.ahead {
            // Whatever it comes to is told when its turn comes.
            let _ = Pin::new(ahead.pieces()).poll_peek(cx);
        }
    }

    /// The window that a position lies in, wider the more there were before it.
    fn window_at(&self, position: u64, before: u32) -> Window {
        let range = match self.entry().chunks.map(|chunks| u64::from(chunks.size())) {
            None => 0..self.size,
            Some(chunk) => {
                let start = position - position % chunk;
                let width = chunk.saturating_mul(1 << before.min(16)).min(WIDEST.max(chunk));
                let width = width - width % chunk;
                start..self.size.min(start.saturating_add(width))
            }
        };
        let (archive, entry, wanted) = (self.archive.clone(), self.entry, range.clone());
        let pieces = stream::try_unfold(None, move |content: Option<Content>| {
            let (archive, wanted) = (archive.clone(), wanted.clone());
            async move {
                let mut content = match content {
                    Some(content) => content,
                    None => Content::begin(&archive, entry, wanted).await?,
                };
                Ok(content.next().await?.map(|piece| (piece, Some(content))))
            }
        });
        Window { next: range.start, range, before, pieces: Mutex::new(pieces.boxed().peekable()) }
    }
}

impl Window {
    fn pieces(&mut self) -> &mut Peekable<BoxStream<'static, Result<Piece>>> {
        self.pieces.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the bytes at a position come if one goes on reading, without many others before them.
    fn leads_to(&self, position: u64) -> bool {
        let is_whole = self.range.start == 0;
        self.next <= position && position < self.range.end && (position - self.next <= GAP || is_whole)
    }
}

impl AsyncRead for File {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let content = ready!(self.poll_content(cx))?;
        let len = content.len().min(buffer.remaining());
        buffer.put_slice(&content[..len]);
        self.position += len as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let position = match position {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the start of a file");
        self.position = position.ok_or_else(outside)?;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.entry().path)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
