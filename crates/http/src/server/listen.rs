//! Listening: connections come in, HTTP/1.1 or HTTP/2, and go out in good order.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Serves connections until `shutdown` is ready, then finishes the requests that are under way.
///
/// Speaks HTTP/1.1 and HTTP/2 with prior knowledge, without TLS. The service is a
/// [`Server`](crate::Server), or anything around one. Requests that take longer than 30 seconds after
/// `shutdown` are broken off.
///
/// # Errors
/// None at present: a connection that cannot be accepted is logged, and the next one awaited.
pub async fn serve<S, B>(listener: TcpListener, service: S, shutdown: impl Future<Output = ()>) -> io::Result<()>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    let (closing, closed) = watch::channel(());
    // Dropping it breaks the connections off that are left.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        while connections.try_join_next().is_some() {}
        let (service, watcher) = (TowerToHyperService::new(service.clone()), graceful.watcher());
        let mut closed = closed.clone();
        connections.spawn(async move {
            let mut stream = stream;
            let opening = tokio::select! {
                _ = closed.changed() => return,
                opening = tokio::time::timeout(HEADER_TIMEOUT, opening(&mut stream)) => opening,
            };
            let Ok(Ok(opening)) = opening else { return };
            let (reader, writer) = stream.into_split();
            let stream = tokio::io::join(io::Cursor::new(opening).chain(reader), writer);
            let connection = builder();
            let connection = connection.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error = format_args!("{:?}", error.to_string()), "connection broke off");
            }
        });
    }
    drop((listener, closing));
    if tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were broken off");
    }
    Ok(())
}

/// Reads what a client begins with, up to where it is plain which protocol it speaks.
///
/// The builder finds that out as well, but has no limit to how long it waits: a client that says `P` and no more
/// would hold a connection for ever.
async fn opening(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    // Small answers follow small requests here, one by one; waiting to fill a segment would cost 40 ms each.
    stream.set_nodelay(true)?;
    let mut opening = Vec::with_capacity(PREFACE.len());
    while opening.len() < PREFACE.len() && PREFACE.starts_with(&opening) {
        if stream.read_buf(&mut opening).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(opening)
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// What clients that speak HTTP/2 begin with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client may take to send the head of a request, and a connection may idle between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often an idle HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
/// Bytes of one upload that may be on the way; the default of 64 KiB limits it to 6 MB/s at 10 ms.
const STREAM_WINDOW: u32 = 8 << 20;
/// Bytes of all uploads of a connection that may be on the way.
const CONNECTION_WINDOW: u32 = 32 << 20;
