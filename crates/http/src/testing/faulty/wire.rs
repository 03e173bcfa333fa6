//! Connections that end as they are told.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Buf;
use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection, with TLS or without.
pub(super) struct Wire {
    stream: Stream,
    fate: Fate,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is to become of a connection, told from within one of its exchanges.
#[derive(Clone, Default)]
pub(super) struct Fate(Arc<Mutex<Option<End>>>);

struct End {
    /// What is written in place of what would be written next.
    last: Bytes,
    is_reset: bool,
}

impl Fate {
    /// The connection ends after these bytes, in place of what would be written next.
    pub(super) fn close(&self, last: impl Into<Bytes>) {
        *self.lock() = Some(End { last: last.into(), is_reset: false });
    }

    /// As [`close`](Self::close), and what is on its way is lost.
    pub(super) fn reset(&self, last: impl Into<Bytes>) {
        *self.lock() = Some(End { last: last.into(), is_reset: true });
    }

    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Wire {
    pub(super) fn plain(stream: TcpStream, fate: Fate) -> Self {
        Self { stream: Stream::Plain(stream), fate }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, fate: Fate) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), fate }
    }

    /// Writes the last bytes, if the connection is to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut fate = self.fate.lock();
        let Some(end) = &mut *fate else { return Poll::Ready(Ok(())) };
        while !end.last.is_empty() {
            let written = ready!(self.stream.with(|stream| stream.poll_write(cx, &end.last)))?;
            end.last.advance(written);
        }
        ready!(self.stream.with(|stream| stream.poll_flush(cx)))?;
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let is_reset = self.fate.lock().as_ref().is_some_and(|end| end.is_reset);
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        if is_reset {
            // What cannot be reset any more is gone already.
            let _ = stream.set_zero_linger();
        }
    }
}

impl Stream {
    fn with<T>(&mut self, act: impl FnOnce(Pin<&mut dyn ReadWrite>) -> T) -> T {
        match self {
            Self::Plain(stream) => act(Pin::new(stream)),
            Self::Tls(stream) => act(Pin::new(stream)),
        }
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_end(cx))?;
        self.stream.with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_end(cx))?;
        self.stream.with(|stream| stream.poll_shutdown(cx))
    }
}
