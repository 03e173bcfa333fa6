//! A server that fails: any service, with named faults in exchanges of one's choice.

mod answer;
mod fault;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::HeaderMap;
use http::Request;
use http::Response;
use http::Version;
use http::header;
use http::request::Parts;
use http_body_util::BodyDataStream;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower::util::BoxCloneService;

use crate::server::ResponseBody;
use crate::testing::faulty::wire::Fate;
use crate::testing::faulty::wire::Wire;

pub use fault::Fault;

/// How a [`Faulty`] is reached, and where it leads.
#[derive(Clone, Debug, Default)]
pub struct FaultyOptions {
    /// Speak TLS; HTTP/2 too, if this offers it.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The origin to which [`Fault::RedirectElsewhere`] leads, as in `http://127.0.0.1:5000`.
    pub elsewhere: Option<String>,
}

/// Which of the exchanges that a fault can happen to it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// So many, from the first one on.
    First(u64),
    /// This one, counted from 1.
    Nth(u64),
}

/// An exchange that was seen.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// As in `GET /v2/`.
    pub line: String,
    /// Of the request.
    pub headers: HeaderMap,
}

/// A service on loopback, with faults. It ends when this is dropped.
///
/// ```
/// use std::sync::Arc;
///
/// use skep_http::Client;
/// use skep_http::ClientOptions;
/// use skep_http::Server;
/// use skep_http::testing::Fault;
/// use skep_http::testing::Faulty;
/// use skep_http::testing::FaultyOptions;
/// use skep_http::testing::When;
/// use skep_registry::Memory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Server::new(Arc::new(Memory::default()));
/// let faulty = Faulty::serve(registry, FaultyOptions::default()).await?;
/// let rule = faulty.inject(Fault::ResetInHead, When::First(2), |request| request.uri.path() == "/v2/");
/// Client::new(faulty.host(), ClientOptions::default())?.ping().await?;
/// assert_eq!(rule.hits(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Faulty {
    host: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Faulty {
    /// Serves a service, a [`Server`](crate::Server) for instance, without faults until some are injected.
    ///
    /// # Errors
    /// Those of listening on loopback.
    pub async fn serve<S, B>(service: S, options: FaultyOptions) -> io::Result<Self>
    where
        S: tower::Service<Request<UnsyncBoxBody<Bytes, Error>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Never listens: it holds the port while it is refused.
        let holder = TcpSocket::new_v4()?;
        holder.set_reuseaddr(true)?;
        holder.bind(([127, 0, 0, 1], 0).into())?;
        let address = holder.local_addr()?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            origin: format!("{scheme}://{address}"),
            elsewhere: options.elsewhere,
            rules: Mutex::default(),
            seen: Mutex::default(),
            gate: watch::Sender::new(Gate::Open),
            is_listening: watch::Sender::new(false),
        });
        let failed = |error: S::Error| Error::new(Code::Unknown, "the service failed").with_source(error);
        let service = service.map_response(|response| response.map(taken)).map_err(failed);
        let service = BoxCloneService::new(service);
        let listener = listen(address)?;
        let accept = accept(listener, holder, service, options.tls.map(TlsAcceptor::from), state.clone());
        Ok(Self { host: address.to_string(), state, task: tokio::spawn(accept) })
    }

    /// Address and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Scheme, address and port.
    pub fn origin(&self) -> &str {
        &self.state.origin
    }

    /// Lets something go wrong from now on. Of several rules for one exchange the first counts.
    pub fn inject(&self, fault: Fault, when: When, matching: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Rule {
        let inner = Inner { fault, when, matching: Box::new(matching), fitting: 0.into(), hits: 0.into() };
        let rule = Rule(Arc::new(inner));
        lock(&self.state.rules).push(rule.clone());
        rule
    }

    /// Lets nothing go wrong any more.
    pub async fn heal(&self) {
        lock(&self.state.rules).clear();
        self.state.gate.send_replace(Gate::Open);
        let mut is_listening = self.state.is_listening.subscribe();
        is_listening.wait_for(|is_listening| *is_listening).await.expect("the state has the sender");
    }

    /// All exchanges that came as far as to be seen.
    pub fn seen(&self) -> Vec<Exchange> {
        lock(&self.state.seen).clone()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A fault and when it happens.
#[derive(Clone)]
pub struct Rule(Arc<Inner>);

struct Inner {
    fault: Fault,
    when: When,
    matching: Box<dyn Fn(&Parts) -> bool + Send + Sync>,
    fitting: AtomicU64,
    hits: AtomicU64,
}

impl Rule {
    /// How often the fault has happened.
    pub fn hits(&self) -> u64 {
        self.0.hits.load(Ordering::SeqCst)
    }

    /// Counts an exchange that the fault can happen to; tells whether it does.
    fn take(&self) -> bool {
        let nth = self.0.fitting.fetch_add(1, Ordering::SeqCst) + 1;
        let is_due = match self.0.when {
            When::Always => true,
            When::First(count) => nth <= count,
            When::Nth(turn) => nth == turn,
        };
        self.0.hits.fetch_add(is_due.into(), Ordering::SeqCst);
        is_due
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("fault", &self.0.fault).field("when", &self.0.when).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    origin: String,
    elsewhere: Option<String>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Exchange>>,
    gate: watch::Sender<Gate>,
    is_listening: watch::Sender<bool>,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// They are not spoken to in TLS; `once` only the next one.
    Garbage {
        once: bool,
    },
    Shut,
}

impl State {
    fn rule(&self, request: &Parts) -> Option<Rule> {
        let rules = lock(&self.rules);
        rules.iter().find(|rule| rule.0.fault.fits(request) && (rule.0.matching)(request)).cloned()
    }

    /// Where a request would lead to at another origin.
    fn at(&self, origin: &str, request: &Parts) -> String {
        format!("{origin}{}", request.uri.path_and_query().map_or("/", |path| path.as_str()))
    }

    /// Lets new connections fail: for a moment, unless the rule is for good.
    fn shut(self: &Arc<Self>, rule: &Rule) {
        let once = rule.0.when != When::Always;
        let gate = if rule.0.fault == Fault::Refuse { Gate::Shut } else { Gate::Garbage { once } };
        self.gate.send_replace(gate);
        if once && gate == Gate::Shut {
            let state = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(DOWNTIME).await;
                state.gate.send_replace(Gate::Open);
            });
        }
    }
}

async fn accept(
    listener: TcpListener,
    holder: TcpSocket,
    service: BoxCloneService<Request<UnsyncBoxBody<Bytes, Error>>, Response<Body>, Error>,
    tls: Option<TlsAcceptor>,
    state: Arc<State>,
) {
    let address = holder.local_addr().expect("it is bound");
    let mut gate = state.gate.subscribe();
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let open = listener.take().map_or_else(|| listen(address), Ok).expect("the port is held");
        state.is_listening.send_replace(true);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = gate.wait_for(|gate| *gate == Gate::Shut) => break,
                accepted = open.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, tls.clone(), service.clone(), state.clone()));
            }
        }
        state.is_listening.send_replace(false);
        drop(open);
        if gate.wait_for(|gate| *gate != Gate::Shut).await.is_err() {
            return;
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn connection(
    mut stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: BoxCloneService<Request<UnsyncBoxBody<Bytes, Error>>, Response<Body>, Error>,
    state: Arc<State>,
) {
    let gate = *state.gate.borrow();
    if let Gate::Garbage { once } = gate {
        if once {
            state.gate.send_replace(Gate::Open);
        }
        // What is not read would turn the end of the connection into a reset.
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nthis is no TLS").await;
        return;
    }
    let fate = Fate::default();
    let wire = match tls {
        None => Wire::plain(stream, fate.clone()),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Wire::tls(stream, fate.clone()),
            Err(_) => return,
        },
    };
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        exchange(state.clone(), service.clone(), fate.clone(), request)
    });
    // A connection that breaks is what this is for.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(wire), service).await;
}

async fn exchange(
    state: Arc<State>,
    service: BoxCloneService<Request<UnsyncBoxBody<Bytes, Error>>, Response<Body>, Error>,
    fate: Fate,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Error>>> {
    let (mut parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    lock(&state.seen).push(Exchange { line, headers: parts.headers.clone() });
    let rule = state.rule(&parts);
    let mut body = taken(body);
    let mut is_lost = false;
    let mut later = None;
    if let Some(rule) = rule {
        let fault = rule.0.fault;
        let half = body.len().unwrap_or_default() / 2;
        match fault {
            Fault::ResetInBody | Fault::StallInBody if half > 0 => {
                if rule.take() {
                    is_lost = true;
                    body = answer::broken(body, half, fault, &fate);
                }
            }
            Fault::AnswerLost => is_lost = rule.take(),
            Fault::UploadBehind => {
                if rule.take() {
                    parts.headers.remove(header::CONTENT_RANGE);
                    parts.headers.remove(header::CONTENT_LENGTH);
                    body = body.slice(0..half);
                }
            }
            Fault::RangeIgnored => {
                if rule.take() {
                    parts.headers.remove(header::RANGE);
                }
            }
            _ if answer::is_in_place(fault) => {
                if rule.take() {
                    return in_place(&state, &rule, &fate, &parts, body).await;
                }
            }
            _ => later = Some(rule),
        }
    }
    let asked = Request::from_parts(parts.clone(), boxed(body));
    let response = service.oneshot(asked).await?;
    if is_lost {
        fate.reset("");
        return Ok(Response::new(boxed(Body::empty())));
    }
    Ok(match later {
        Some(rule) => answer::altered(&state, &rule, &fate, &parts, response).map(boxed),
        None => response.map(boxed),
    })
}

/// What happens in place of the exchange.
async fn in_place(
    state: &Arc<State>,
    rule: &Rule,
    fate: &Fate,
    request: &Parts,
    body: Body,
) -> Result<Response<UnsyncBoxBody<Bytes, Error>>> {
    let is_http2 = request.version == Version::HTTP_2;
    match rule.0.fault {
        Fault::Refuse | Fault::TlsGarbage => {
            state.shut(rule);
            fate.reset("");
        }
        Fault::CloseBeforeHead => {
            drain(body).await;
            fate.close("");
        }
        Fault::GoAway => fate.close(GO_AWAY),
        Fault::ResetBeforeHead => fate.reset(""),
        Fault::ResetInHead if is_http2 => fate.reset(HALF_A_FRAME),
        Fault::ResetInHead => fate.reset(HALF_A_HEAD),
        Fault::ResetStream => return Err(Error::new(Code::Unknown, "as was wanted")),
        Fault::StallBeforeHead => std::future::pending().await,
        fault => {
            drain(body).await;
            return Ok(answer::of(fault, state, request).map(boxed));
        }
    }
    // Its first byte is where the connection ends.
    Ok(Response::new(boxed(Body::empty())))
}

async fn drain(body: Body) {
    // How it ends is of no interest.
    let _ = body.try_for_each(|_| std::future::ready(Ok(()))).await;
}

fn taken<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let len = body.size_hint().exact();
    let broke = |error: B::Error| Error::new(Code::Unavailable, "the body broke off").with_source(error);
    Body::new(len, BodyDataStream::new(body).map_err(broke))
}

fn boxed(body: Body) -> UnsyncBoxBody<Bytes, Error> {
    ResponseBody::from(body).boxed_unsync()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step.
    shared.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// How long a port is refused that comes back.
const DOWNTIME: Duration = Duration::from_millis(30);
const BACKLOG: u32 = 1024;

const HALF_A_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-le";
/// The first bytes of a frame of headers (RFC 9113, 4.1).
const HALF_A_FRAME: &[u8] = &[0, 0, 40, 1, 4];
/// GOAWAY, last stream 0, NO_ERROR (RFC 9113, 6.8).
const GO_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
