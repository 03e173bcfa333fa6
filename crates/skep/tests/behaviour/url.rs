//! Archives at URLs, on servers that serve ranges well, badly or not at all.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use skep::Archive;
use skep::BuildOptions;
use skep::Client;
use skep::Error;
use skep::Limits;
use skep::UrlOptions;
use skep::UrlSource;
use skep_archive::Source;
use skep_registry::Code;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// How a server behaves.
#[derive(Clone)]
struct Manner {
    ranges: bool,
    etag: Option<&'static str>,
    modified: Option<&'static str>,
    /// Looks at conditions, as servers should.
    heeds: bool,
    /// Breaks one answer off after so many bytes.
    cut: Option<usize>,
    /// Never answers.
    hangs: bool,
    encoding: bool,
    /// Sends those who ask for this path to another server.
    redirect: Option<String>,
}

impl Default for Manner {
    fn default() -> Self {
        let (ranges, etag, heeds, cut) = (true, Some("\"one\""), true, None);
        Self { ranges, etag, modified: None, heeds, cut, hangs: false, encoding: false, redirect: None }
    }
}

struct State {
    manner: Manner,
    index: Vec<u8>,
    data: Vec<u8>,
    /// What was asked: the line and all headers, in lower case.
    asked: Vec<String>,
}

#[derive(Clone)]
struct Site {
    host: String,
    state: Arc<Mutex<State>>,
}

impl Site {
    async fn new(index: Vec<u8>, data: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { manner, index, data, asked: Vec::new() }));
        let site = Self { host, state };
        let served = site.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, served.state.clone()));
            }
        });
        site
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/{name}?sig=secret", self.host)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    async fn open(&self, options: UrlOptions) -> skep::Result<Archive> {
        Client::default().open_url(&self.url("index.blob"), &self.url("data.blob"), options).await
    }
}

/// Answers one request.
async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap_or(b'\n'));
        if head.ends_with(b"\n\n\n\n") {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (reply, body, cut, hangs) = {
        let mut state = state.lock().unwrap();
        state.asked.push(head.clone());
        let content = if head.contains("/index.blob") { state.index.clone() } else { state.data.clone() };
        let (reply, body) = reply(&state.manner, &head, &content);
        let cut = state.manner.cut.filter(|&cut| cut < body.len());
        if cut.is_some() {
            state.manner.cut = None;
        }
        (reply, body, cut, state.manner.hangs)
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    stream.write_all(reply.as_bytes()).await.unwrap();
    // Whoever has enough closes the connection.
    let _ = stream.write_all(&body[..cut.unwrap_or(body.len())]).await;
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn reply(manner: &Manner, head: &str, content: &[u8]) -> (String, Vec<u8>) {
    if let Some(to) = &manner.redirect {
        return (format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"), vec![]);
    }
    let mut extra = manner.etag.map_or(String::new(), |etag| format!("etag: {etag}\r\n"));
    extra += &manner.modified.map_or(String::new(), |time| format!("last-modified: {time}\r\n"));
    if manner.encoding {
        extra += "content-encoding: gzip\r\n";
    }
    let range = header(head, "range").filter(|_| manner.ranges).map(|range| {
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        (start.parse::<usize>().unwrap(), end.parse::<usize>().unwrap() + 1)
    });
    let is_other = header(head, "if-match").is_some_and(|want| Some(want) != manner.etag)
        || header(head, "if-unmodified-since")
            .is_some_and(|want| Some(want.to_owned()) != manner.modified.map(str::to_lowercase));
    let (status, body) = match range {
        _ if manner.heeds && is_other => (412, &[][..]),
        None => (200, content),
        Some((start, _)) if start >= content.len() => {
            extra += &format!("content-range: bytes */{}\r\n", content.len());
            (416, &[][..])
        }
        Some((start, end)) => {
            let end = end.min(content.len());
            extra += &format!("content-range: bytes {start}-{}/{}\r\n", end - 1, content.len());
            (206, &content[start..end])
        }
    };
    let len = body.len();
    (format!("HTTP/1.1 {status} X\r\n{extra}content-length: {len}\r\nconnection: close\r\n\r\n"), body.to_vec())
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// Index and data of an archive of some files.
fn blobs(fill: impl Fn(&Path)) -> (Vec<u8>, Vec<u8>) {
    let (tree, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(tree.path());
    let built = skep_archive::build(tree.path(), &BuildOptions::default(), &|_| {}).unwrap();
    let (index, data) = (place.path().join("index"), place.path().join("data"));
    built.save(&index, &data).unwrap();
    (std::fs::read(index).unwrap(), std::fs::read(data).unwrap())
}

async fn site(manner: Manner) -> Site {
    let (index, data) = blobs(|root| {
        std::fs::write(root.join("small"), "hello").unwrap();
        std::fs::write(root.join("large"), noise(3 << 20)).unwrap();
    });
    Site::new(index, data, manner).await
}

fn code(error: &Error) -> &Code {
    match error {
        Error::Registry(error) => error.code(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_archive_is_read_by_ranges_without_asking_for_its_size() {
    let site = site(Manner::default()).await;
    let archive = site.open(UrlOptions::default()).await.unwrap();
    assert_eq!(archive.read("small").await.unwrap(), "hello");
    assert!(archive.read("large").await.unwrap() == noise(3 << 20));
    let asked = site.take();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[0].starts_with("get /index.blob?sig=secret"));
    assert!(asked.iter().all(|head| head.starts_with("get ") && header(head, "accept-encoding") == Some("identity")));
    assert_eq!((header(&asked[1], "if-match"), header(&asked[2], "if-match")), (None, Some("\"one\"")));
}

#[tokio::test]
async fn headers_go_to_the_server_and_not_to_where_it_leads() {
    let there = site(Manner::default()).await;
    let to = there.url("data.blob");
    let here = site(Manner { redirect: Some(to), ..Manner::default() }).await;
    let headers = [("Authorization".to_owned(), "Bearer me".to_owned()), ("X-Own".to_owned(), "1".to_owned())];
    let options = UrlOptions { headers: headers.into(), ..UrlOptions::default() };
    assert!(!format!("{options:?}").contains("Bearer me"));
    let source = UrlSource::open(&here.url("data.blob"), options).await.unwrap();
    assert_eq!(source.read(0..5).await.unwrap().bytes(5).await.unwrap().len(), 5);
    for head in here.take() {
        assert_eq!((header(&head, "authorization"), header(&head, "x-own")), (Some("bearer me"), Some("1")));
    }
    let led = there.take();
    assert_eq!(led.len(), 2);
    assert!(led.iter().all(|head| header(head, "authorization").is_none() && header(head, "x-own").is_none()));
}

#[tokio::test]
async fn content_has_a_name_once_its_version_is_known() {
    let site = site(Manner::default()).await;
    let size = site.state.lock().unwrap().data.len() as u64;
    let url = site.url("data.blob");
    let source = UrlSource::open(&url, UrlOptions::default()).await.unwrap();
    assert_eq!(source.size(), size);
    assert_eq!(source.id().unwrap(), format!("{url} etag:\"one\" size:{size}"));
    assert_eq!(site.take().len(), 1);
    let own = UrlOptions { id: Some("mine".to_owned()), ..UrlOptions::default() };
    assert_eq!(UrlSource::with_size(&url, size, own).unwrap().id().unwrap(), "mine");
    assert_eq!(UrlSource::with_size(&url, size, UrlOptions::default()).unwrap().id(), None);
    assert_eq!(site.take().len(), 0);
    site.change(|state| state.manner.etag = None);
    assert_eq!(UrlSource::open(&url, UrlOptions::default()).await.unwrap().id(), None, "nothing tells the version");
    site.change(|state| state.data = Vec::new());
    assert_eq!(UrlSource::open(&url, UrlOptions::default()).await.unwrap().size(), 0);
}

#[tokio::test]
async fn content_that_changes_is_an_error_and_never_bytes_of_both() {
    for heeds in [true, false] {
        let site = site(Manner { heeds, ..Manner::default() }).await;
        let archive = site.open(UrlOptions::default()).await.unwrap();
        archive.read("small").await.unwrap();
        site.change(|state| state.manner.etag = Some("\"two\""));
        let error = archive.read("small").await.unwrap_err();
        assert_eq!(code(&error), &Code::PreconditionFailed, "{error}");
        assert!(error.to_string().contains("changed while it was read"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // Between two halves of one body.
    let site = site(Manner::default()).await;
    let archive = site.open(UrlOptions::default()).await.unwrap();
    archive.read("small").await.unwrap();
    site.change(|state| state.manner.cut = Some(1 << 20));
    let mut body = archive.source().read(0..3 << 20).await.unwrap();
    site.change(|state| state.manner.etag = Some("\"two\""));
    let error = loop {
        match futures_util::StreamExt::next(&mut body).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), &Code::PreconditionFailed);
    // By the time, where the tag is weak or there is none.
    for etag in [Some("W/\"weak\""), None] {
        let (old, new) = (Some("Sat, 21 Nov 2026 08:00:00 GMT"), Some("Sat, 21 Nov 2026 08:00:01 GMT"));
        site.change(|state| (state.manner.etag, state.manner.modified) = (etag, old));
        let archive = site.open(UrlOptions::default()).await.unwrap();
        archive.read("small").await.unwrap();
        site.take();
        archive.read("small").await.unwrap();
        assert_eq!(header(&site.take()[0], "if-unmodified-since"), Some("sat, 21 nov 2026 08:00:00 gmt"));
        assert!(archive.source().id().unwrap().contains(if etag.is_some() { "etag:W/" } else { "modified:Sat" }));
        site.change(|state| state.manner.modified = new);
        assert_eq!(code(&archive.read("small").await.unwrap_err()), &Code::PreconditionFailed);
    }
    // Without any version, by the size.
    site.change(|state| (state.manner.etag, state.manner.modified, state.manner.heeds) = (None, None, false));
    let archive = site.open(UrlOptions::default()).await.unwrap();
    archive.read("small").await.unwrap();
    site.change(|state| state.data.push(0));
    assert_eq!(code(&archive.read("small").await.unwrap_err()), &Code::PreconditionFailed);
    let archive = site.open(UrlOptions::default()).await.unwrap();
    assert_eq!(code(&archive.read("small").await.unwrap_err()), &Code::SizeInvalid, "the index says another size");
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_broke() {
    let site = site(Manner { cut: Some(1 << 20), ..Manner::default() }).await;
    let archive = site.open(UrlOptions::default()).await.unwrap();
    assert!(archive.read("large").await.unwrap() == noise(3 << 20));
    let asked = site.take();
    assert_eq!(asked.len(), 3);
    let start = |head| header(head, "range").unwrap()["bytes=".len()..].split('-').next().unwrap().parse::<u64>();
    assert!(start(&asked[2]).unwrap() > start(&asked[1]).unwrap());
    assert_eq!(header(&asked[2], "if-match"), Some("\"one\""));
}

#[tokio::test]
async fn a_server_without_ranges_is_named() {
    let site = site(Manner { ranges: false, ..Manner::default() }).await;
    let archive = site.open(UrlOptions::default()).await.unwrap();
    for error in [
        archive.read("small").await.unwrap_err(),
        UrlSource::open(&site.url("data.blob"), UrlOptions::default()).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(code(&error), &Code::Unsupported);
        assert!(error.to_string().contains("does not serve ranges"), "{error}");
    }
    site.change(|state| (state.manner.ranges, state.manner.encoding) = (true, true));
    assert_eq!(code(&archive.read("small").await.unwrap_err()), &Code::Unsupported);
    for wrong in ["ftp://a/b", "index.blob", "http://me:secret@a/b", "http:///"] {
        let error = UrlSource::with_size(wrong, 1, UrlOptions::default()).map(drop).unwrap_err();
        assert_eq!(code(&error), &Code::NameInvalid, "{wrong}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    site.change(|state| (state.manner.encoding, state.index) = (false, vec![7; 1000]));
    assert!(matches!(site.open(UrlOptions::default()).await, Err(Error::InvalidIndex { .. })));
    let limits = Limits { index: 999, ..Limits::default() };
    let refused = skep::open_url(&site.url("index.blob"), &site.url("data.blob"), UrlOptions::default(), limits).await;
    assert_eq!(code(&refused.unwrap_err()), &Code::SizeInvalid);
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for_and_reading_can_be_given_up() {
    let site = site(Manner::default()).await;
    let http = skep_http::ClientOptions {
        read_timeout: Duration::from_millis(50),
        retry: skep_http::RetryOptions { attempts: 1, ..Default::default() },
        ..Default::default()
    };
    let archive = site.open(UrlOptions { http, ..UrlOptions::default() }).await.unwrap();
    let patient = site.open(UrlOptions::default()).await.unwrap();
    site.change(|state| state.manner.hangs = true);
    assert_eq!(code(&archive.read("small").await.unwrap_err()), &Code::Unavailable);
    let given_up = tokio::time::timeout(Duration::from_millis(50), patient.read("small")).await;
    assert!(given_up.is_err());
}
