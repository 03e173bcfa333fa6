//! Reads from a store over a line that is far and thin, and says what that took: one JSON object a line.
//!
//! ```text
//! far STORE REPO:TAG DELAY-MS BYTES-A-SECOND ACTION…
//!
//! cat PATH              one file, whole, by a client that knows nothing
//! warm PATH             the same again, by a client that remembers
//! many COUNT            so many random files, at once
//! inside PATH COUNT SIZE   random parts of one file, one after the other
//! extract DIR           everything
//! ```
//!
//! STORE is a directory of `skep serve`; it is served here, in this process. BYTES-A-SECOND is 0 for no bound. Bytes are
//! those on the line, with heads; `least_ms` is what they take on it, and `round_trips` what the requests take one by one.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use futures_util::TryStreamExt;
use skep::Address;
use skep::Caches;
use skep::Client;
use skep::ClientOptions;
use skep::ExtractOptions;
use skep_http::Server;
use skep_http::testing::Link;
use skep_http::testing::LinkOptions;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::MemoryStore;
use tokio::net::TcpListener;
use tower::util::MapRequest;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [store, name, delay, bandwidth, action @ ..] = &words[..] else {
        return Err("wanted STORE REPO:TAG DELAY-MS BYTES-A-SECOND ACTION…".into());
    };
    let (delay, bandwidth) = (Duration::from_millis(delay.parse()?), bandwidth.parse()?);

    let requests = Arc::new(AtomicU64::new(0));
    let counted = requests.clone();
    let server = Server::new(Arc::new(Layout::tree(store, LayoutOptions::default())?));
    let server = MapRequest::new(server, move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        request
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?.to_string();
    tokio::spawn(skep_http::serve(listener, server, std::future::pending()));
    let options = LinkOptions { delay, bandwidth: Some(bandwidth).filter(|rate| *rate > 0), ..Default::default() };
    let link = Link::to(&host, options).await?;

    let address: Address = format!("{}/{name}", link.host()).parse()?;
    let caches = match action {
        ["warm", path] => {
            let caches = Caches::over(Arc::new(MemoryStore::new(1 << 30)));
            let options = ClientOptions { caches: caches.clone(), ..Default::default() };
            Client::new(options).pull(&address).await?.read(path).await?;
            caches
        }
        _ => Caches::default(),
    };
    let client = Client::new(ClientOptions { caches, ..Default::default() });
    let mut began = Instant::now();
    let mut before = (requests.load(Ordering::Relaxed), link.down());
    let archive = client.pull(&address).await?;
    if !matches!(action.first(), Some(&"cat" | &"warm")) {
        // What opening takes is said for one file; here it would only blur the rest.
        began = Instant::now();
        before = (requests.load(Ordering::Relaxed), link.down());
    }
    let content = match action {
        ["cat" | "warm", path] => archive.read(path).await?.len() as u64,
        ["many", count] => {
            let entries: Vec<_> = archive.entries().map(|entry| entry.path.to_owned()).collect();
            let mut chance = Chance(7);
            let paths: std::collections::BTreeSet<_> = std::iter::repeat_with(|| chance.below(entries.len() as u64))
                .take(count.parse()?)
                .map(|at| entries[at as usize].clone())
                .collect();
            let files: Vec<_> = archive.read_many(paths)?.try_collect().await?;
            files.iter().map(|(_, content)| content.len() as u64).sum()
        }
        ["inside", path, count, size] => {
            let (count, size): (u64, u64) = (count.parse()?, size.parse()?);
            let (whole, mut chance) = (archive.entry(path)?.original_size, Chance(7));
            for _ in 0..count {
                let start = chance.below(whole - size);
                archive.read_range(path, start..start + size).await?.bytes(size).await?;
            }
            count * size
        }
        ["extract", dir] => archive.extract(dir.as_ref(), ExtractOptions::default(), Arc::new(|_| {})).await?.bytes,
        _ => return Err(format!("what is {action:?}?").into()),
    };
    let took = began.elapsed();
    let (requests, down) = (requests.load(Ordering::Relaxed) - before.0, link.down() - before.1);
    let least = (down * 1000).checked_div(bandwidth).unwrap_or(0);
    println!(
        r#"{{"ms":{},"requests":{requests},"down":{down},"content":{content},"connections":{},"least_ms":{least},"round_trips":{:.1}}}"#,
        took.as_millis(),
        link.connections(),
        took.as_secs_f64() / (delay.as_secs_f64() * 2.0).max(1e-9),
    );
    Ok(())
}

/// Numbers that look random and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
