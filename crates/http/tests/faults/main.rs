//! Whatever goes wrong, the client comes to the right end in time: every fault with every operation.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod content;
mod op;
mod want;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::combinators::UnsyncBoxBody;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::Pem;
use skep_http::Proxies;
use skep_http::ResponseBody;
use skep_http::RetryOptions;
use skep_http::Server;
use skep_http::Settings;
use skep_http::testing::Fault;
use skep_http::testing::Faulty;
use skep_http::testing::FaultyOptions;
use skep_http::testing::When;
use skep_registry::Body;
use skep_registry::Error;
use skep_registry::Memory;
use tower::ServiceExt;

use crate::op::Op;
use crate::want::Want;
use crate::want::want;

/// A registry that lets nobody in who does not show the canary, another origin with the same content that is open
/// to all, and a client of the first.
pub(crate) struct World {
    memory: Arc<Memory>,
    faulty: Faulty,
    elsewhere: Faulty,
    client: Arc<Client>,
    /// A registry without faults, to which and from which is copied.
    copies: Arc<Memory>,
    dir: tempfile::TempDir,
}

impl World {
    async fn new(fault: Fault, http2: bool) -> Self {
        let memory = Arc::new(Memory::default());
        let tls = http2.then(tls);
        let open = FaultyOptions { tls: tls.clone(), elsewhere: None };
        let elsewhere = Faulty::serve(Server::new(memory.clone()), open).await.unwrap();
        let server = Server::new(memory.clone());
        let guarded = tower::service_fn(move |request: Request<UnsyncBoxBody<Bytes, Error>>| {
            let server = server.clone();
            async move {
                match request.headers().get(header::AUTHORIZATION) {
                    Some(_) => server.oneshot(request).await,
                    None => Ok(challenge()),
                }
            }
        });
        let options = FaultyOptions { tls, elsewhere: Some(elsewhere.origin().to_owned()) };
        let faulty = Faulty::serve(guarded, options).await.unwrap();
        let client = Client::new(faulty.origin(), options_for(fault, faulty.host())).unwrap();
        let (client, copies, dir) = (Arc::new(client), Arc::new(Memory::default()), tempfile::tempdir().unwrap());
        Self { memory, faulty, elsewhere, client, copies, dir }
    }
}

/// What came of an operation.
struct Cell {
    name: String,
    hits: u64,
    outcome: Result<(), Error>,
    took: Duration,
    /// What is wrong with the state afterwards.
    damage: Option<String>,
    want: Want,
}

#[test]
fn every_fault_with_every_operation() {
    let groups = [false, true].into_iter().flat_map(|http2| {
        let faults = Fault::ALL.iter().filter(move |fault| fault.is_of(http2, http2));
        faults.flat_map(move |fault| [false, true].map(|always| (*fault, http2, always)))
    });
    let groups: Vec<_> = groups.collect();
    let cells: Vec<_> = std::thread::scope(|scope| {
        let groups = &groups;
        let threads: Vec<_> = (0..THREADS).map(|first| scope.spawn(move || run(groups, first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let cells: Vec<Cell> = cells.into_iter().flatten().collect();
    let wrong: Vec<_> = cells.iter().filter_map(Cell::complaint).collect();
    let hit = cells.iter().filter(|cell| cell.hits > 0).count();
    println!("{} cells, {hit} with a fault, {} kinds x {} operations", cells.len(), Fault::ALL.len(), Op::ALL.len());
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
    assert!(Fault::ALL.len() >= 36 && Op::ALL.len() >= 16 && hit >= 1000, "{hit} cells had a fault");
}

/// Every so manieth group, some at once: most of what they do is to wait.
fn run(groups: &[(Fault, bool, bool)], first: usize) -> Vec<Vec<Cell>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let groups = groups.iter().skip(first).step_by(THREADS);
    let groups = groups.map(|(fault, http2, always)| group(*fault, *http2, *always));
    runtime.block_on(stream::iter(groups).buffer_unordered(GROUPS).collect())
}

/// One fault with all operations.
async fn group(fault: Fault, http2: bool, always: bool) -> Vec<Cell> {
    let world = Arc::new(World::new(fault, http2).await);
    content::fill(&world.memory).await;
    // Faults that end a connection of HTTP/2 would end those of other operations.
    let at_once = if fault.ends_connections() { 1 } else { Op::ALL.len() };
    let cells = Op::ALL.iter().copied().map(|op| cell(world.clone(), fault, http2, always, op));
    let mut cells: Vec<_> = stream::iter(cells).buffer_unordered(at_once).collect().await;
    for exchange in world.elsewhere.seen() {
        if let Some(secret) = exchange.headers.get(header::AUTHORIZATION) {
            cells[0].damage = Some(format!("another origin saw {secret:?} in {}", exchange.line));
        }
    }
    cells
}

async fn cell(world: Arc<World>, fault: Fault, http2: bool, always: bool, op: Op) -> Cell {
    let (speech, mode) = (if http2 { "h2" } else { "h1" }, if always { "always" } else { "once" });
    let name = format!("{fault:?} {op:?} {speech} {mode}");
    op.prepare(&world).await;
    let when = if always { When::Always } else { When::First(1) };
    let rule = world.faulty.inject(fault, when, move |request| op.is_about(request, always));
    let began = Instant::now();
    let outcome = tokio::time::timeout(DEADLINE, op.run(&world)).await;
    let took = began.elapsed();
    if fault.ends_connections() {
        world.faulty.heal().await;
    }
    let damage = match &outcome {
        Ok(outcome) => op.damage(&world, outcome.is_ok()).await,
        Err(_) => Some(format!("no end within {DEADLINE:?}")),
    };
    let outcome = outcome.unwrap_or(Ok(()));
    let want = if rule.hits() == 0 { Want::RIGHT } else { want(fault, op, always, http2) };
    Cell { name, hits: rule.hits(), outcome, took, damage, want }
}

impl Cell {
    fn complaint(&self) -> Option<String> {
        let is_wanted = match &self.outcome {
            Ok(()) => self.want.right,
            Err(error) if error.code().as_str() == op::WRONG => self.want.any,
            Err(error) => self.want.codes.contains(error.code()),
        };
        match &self.damage {
            None if is_wanted => None,
            damage => Some(format!("{}: {} {damage:?}, wanted {:?}", self.name, self.word(), self.want)),
        }
    }

    fn word(&self) -> String {
        let (hits, took) = (self.hits, self.took.as_millis());
        match &self.outcome {
            Ok(()) => format!("right after {hits} hits, {took} ms"),
            Err(error) => format!("{} ({error}) after {hits} hits, {took} ms", error.code().as_str()),
        }
    }
}

fn challenge() -> Response<ResponseBody> {
    let mut response = Response::new(Body::empty().into());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(header::WWW_AUTHENTICATE, "Basic realm=\"registry\"".parse().unwrap());
    response
}

fn options_for(fault: Fault, host: &str) -> ClientOptions {
    // Long enough that a busy machine does not look like a stall.
    let (read, commit) = match fault {
        Fault::StallBeforeHead | Fault::StallInBody => (700, 900),
        _ => (5000, 5000),
    };
    // A port that is refused needs longer to come back than a busy machine to begin a task.
    let (attempts, base) = if fault == Fault::Refuse { (6, 100) } else { (4, 10) };
    let retry = RetryOptions {
        attempts,
        base: Duration::from_millis(base),
        max_wait: Duration::from_millis(1500),
        ..RetryOptions::default()
    };
    let settings = Settings { ca: vec![Pem::Text(include_str!("../tls/ca.crt").to_owned())], ..Default::default() };
    ClientOptions {
        credentials: Arc::new(Credential::Basic { user: "canary".to_owned(), password: "hunter2".to_owned() }),
        registries: BTreeMap::from([(host.to_owned(), settings)]),
        certs_dirs: Vec::new(),
        proxies: Proxies::default(),
        read_timeout: Duration::from_millis(read),
        commit_timeout: Duration::from_millis(commit),
        retry,
        ..ClientOptions::default()
    }
}

fn tls() -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("../tls/server.cert")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// In which every operation must come to its end.
const DEADLINE: Duration = Duration::from_secs(15);
const THREADS: usize = 4;
/// Groups of one thread at once.
const GROUPS: usize = 6;
