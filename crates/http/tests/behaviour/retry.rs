//! What the client tries again, what it takes up again, and when it stops.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream as parts;
use http::Response;
use http_body_util::BodyExt;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Proxies;
use skep_http::ResponseBody;
use skep_http::RetryOptions;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::OCTET_STREAM;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::Result;
use skep_registry::UploadOptions;
use skep_registry::media_type;
use skep_registry::transfer;
use skep_registry::transfer::CopyOptions;
use skep_registry::transfer::DownloadOptions;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::Fake;
use crate::support::Seen;
use crate::support::Served;
use crate::support::code;
use crate::support::hello;
use crate::support::options;
use crate::support::reply;
use crate::support::repo;
use crate::support::stream;
use crate::support::tag;
use crate::support::text;

/// A registry that fails at first.
async fn fails(
    times: usize,
    failure: impl Fn() -> Response<ResponseBody> + Send + Sync + 'static,
    answer: impl Fn(&Seen) -> Response<ResponseBody> + Send + Sync + 'static,
) -> Fake {
    let left = AtomicUsize::new(times);
    Fake::new(move |seen| match left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
        Ok(_) => failure(),
        Err(_) => answer(seen),
    })
    .await
}

fn tags(_: &Seen) -> Response<ResponseBody> {
    reply(200, &[], r#"{"name":"a","tags":["b"]}"#)
}

/// A body that breaks off before its end.
fn broken(content: &[u8], at: usize) -> Body {
    let part = Bytes::copy_from_slice(&content[..at]);
    let gone = parts::once(async {
        // What came before is sent while there is nothing new.
        tokio::task::yield_now().await;
        Err(Error::new(Code::Unknown, "gone"))
    });
    Body::new(Some(content.len() as u64), parts::iter([Ok(part)]).chain(gone))
}

/// A registry with one blob, whose every answer breaks off after some bytes; those to ranges as well.
async fn breaks_after(content: Arc<Vec<u8>>, bytes: usize, knows_ranges: bool) -> Fake {
    Fake::new(move |seen| {
        let start = seen.text("range").filter(|_| knows_ranges).map_or(0, |range| {
            let (start, _) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            start.parse().unwrap()
        });
        let rest = &content[start..];
        let body = match rest.len() > bytes {
            true => broken(rest, bytes),
            false => Body::from(Bytes::copy_from_slice(rest)),
        };
        let length = rest.len().to_string();
        let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
        match start {
            0 => stream(200, &[("content-length", &length)], body),
            _ => stream(206, &[("content-length", &length), ("content-range", &range)], body),
        }
    })
    .await
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    for (status, head) in [
        (408, &[][..]),
        (500, &[]),
        (502, &[]),
        (503, &[]),
        (504, &[]),
        (429, &[]),
        (429, &[("retry-after", "0")]),
        (503, &[("retry-after", "Sat, 01 Jan 2000 00:00:00 GMT")]),
    ] {
        let fake = fails(5, move || reply(status, head, ""), tags).await;
        assert_eq!(fake.client().list_tags(&repo("a"), &Page::default()).await.unwrap().items, [tag("b")]);
        assert_eq!(fake.lines().len(), 6);
        let never = fails(usize::MAX, move || reply(status, head, ""), tags).await;
        let want = if status == 429 { Code::TooManyRequests } else { Code::Unavailable };
        let got = code(never.client().list_tags(&repo("a"), &Page::default()).await);
        assert!(got == want || status == 500, "{status} {got:?}");
        assert_eq!(never.lines().len(), 6);
    }
}

#[tokio::test]
async fn what_does_not_pass_is_tried_once() {
    for (status, head, want) in [
        (400, &[][..], Code::Unknown),
        (401, &[], Code::Unauthorized),
        (403, &[], Code::Denied),
        (404, &[], Code::NameUnknown),
        (501, &[], Code::Unsupported),
        (429, &[("ratelimit-remaining", "0;w=21600"), ("retry-after", "1")], Code::TooManyRequests),
        (429, &[("retry-after", "301")], Code::TooManyRequests),
        (503, &[("retry-after", "99999999999")], Code::TooManyRequests),
    ] {
        let fake = fails(usize::MAX, move || reply(status, head, ""), tags).await;
        let error = fake.client().list_tags(&repo("a"), &Page::default()).await.unwrap_err();
        assert_eq!((error.code(), fake.lines().len()), (&want, 1), "{status} {head:?}");
        if head.len() == 1 && status != 401 {
            let seconds = head[0].1;
            assert!(error.message().contains(&format!("asked to wait {seconds} s")), "{error}");
        }
    }
}

#[tokio::test]
async fn attempts_are_as_many_as_one_wants() {
    for attempts in [1, 3] {
        let fake = fails(usize::MAX, || reply(503, &[], ""), tags).await;
        let retry = RetryOptions { attempts, ..options().retry };
        let client = Client::new(fake.host(), ClientOptions { retry, ..Default::default() }).unwrap();
        assert_eq!(code(client.list_tags(&repo("a"), &Page::default()).await), Code::Unavailable);
        assert_eq!(fake.lines().len(), attempts as usize);
    }
}

#[tokio::test]
async fn retries_do_not_multiply() {
    // Every request is counted here, whoever sends it again: the client, or the transfer above it.
    let blob = Descriptor::of(OCTET_STREAM, &[7; 3 << 20]);
    for status in [429, 500, 502, 503] {
        let fake = fails(usize::MAX, move || reply(status, &[], ""), tags).await;
        let place = Place::new(Arc::new(fake.client()), repo("a"));
        let error = transfer::download(&place, &blob, &DownloadOptions::default()).bytes(1 << 30).await.unwrap_err();
        assert_eq!((fake.lines().len(), error.is_exhausted()), (6, true), "{status}: {error}");
        let source = |_| Body::empty();
        let error = transfer::upload(&place, &blob, source, &UploadSettings::default()).await.unwrap_err();
        assert_eq!((fake.lines().len(), error.is_exhausted()), (12, true), "{status}: {error}");
        let memory = Place::new(Arc::new(Memory::default()), repo("a"));
        transfer::copy(&place, &tag("b").into(), &memory, &CopyOptions::default()).await.unwrap_err();
        assert_eq!(fake.lines().len(), 18, "{status}");
    }
    // What fails before there is a body and what breaks off in one are the same failure.
    let turn = AtomicUsize::new(0);
    let fake = Fake::new(move |_| match turn.fetch_add(1, SeqCst) % 2 {
        0 => stream(200, &[("content-length", "5")], broken(b"hello", 0)),
        _ => reply(503, &[], ""),
    });
    let fake = fake.await;
    assert_eq!(code(fake.client().read_blob(&repo("a"), &hello(), 10).await), Code::Unavailable);
    assert_eq!(fake.lines().len(), 6);
}

#[tokio::test]
async fn a_chunk_that_the_registry_stumbles_over_is_sent_again() {
    let sent = [(429, &[("retry-after", "0")][..]), (500, &[]), (503, &[])].map(|(status, head)| async move {
        let (left, stands) = (AtomicUsize::new(2), AtomicUsize::new(0));
        let fake = Fake::new(move |seen| match seen.method.as_str() {
            "HEAD" if stands.load(SeqCst) > 0 => reply(200, &[("content-length", "4")], ""),
            "HEAD" => reply(404, &[], ""),
            "POST" => reply(202, &[("location", "/v2/a/blobs/uploads/1")], ""),
            "GET" => reply(204, &[("upload-offset", "0")], ""),
            "PUT" => reply(201, &[], ""),
            _ if left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() => reply(status, head, ""),
            _ => {
                stands.store(4, SeqCst);
                reply(202, &[("upload-offset", "4")], "")
            }
        });
        let fake = fake.await;
        let place = Place::new(Arc::new(fake.client()), repo("a"));
        let settings = UploadSettings { single: 0, ..UploadSettings::default() };
        let blob = Descriptor::of(OCTET_STREAM, b"much");
        let done = transfer::upload(&place, &blob, |_| text("much"), &settings).await;
        done.map(|done| done.sent).map_err(|error| error.to_string())
    });
    assert_eq!(futures_util::future::join_all(sent).await, [Ok(12), Ok(12), Ok(12)]);
}

#[tokio::test]
async fn that_nobody_is_there_is_said_soon() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = listener.local_addr().unwrap().to_string();
    drop(listener);
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    for host in [refused.as_str(), UNKNOWN_HOST] {
        let options = ClientOptions { proxies: Proxies::default(), ..ClientOptions::default() };
        let place = Place::new(Arc::new(Client::new(host, options).unwrap()), repo("a"));
        let began = Instant::now();
        let head = place.registry.head_blob(&place.repo, &blob.digest);
        let download = transfer::download(&place, &blob, &DownloadOptions::default()).bytes(10);
        let settings = UploadSettings::default();
        let upload = transfer::upload(&place, &blob, |_| text("hello"), &settings);
        let (head, download, upload) = tokio::join!(head, download, upload);
        assert!(began.elapsed() < Duration::from_secs(2), "{host}: {:?}", began.elapsed());
        for error in [head.unwrap_err(), download.unwrap_err(), upload.unwrap_err()] {
            assert_eq!((error.code(), error.is_exhausted()), (&Code::Unavailable, true), "{host}: {error}");
        }
    }
}

#[tokio::test]
async fn what_does_not_speak_tls_is_asked_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("https://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, SeqCst);
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = Client::new(&host, options()).unwrap().ping().await.unwrap_err();
    assert_eq!((error.code(), error.is_exhausted(), connections.load(SeqCst)), (&Code::Unavailable, true, 1));
    task.abort();
}

#[tokio::test]
async fn errors_carry_what_the_registry_said_of_the_next_attempt() {
    for (status, head, code, wait) in [
        (503, &[("retry-after", "7")][..], Code::Unavailable, Some(7)),
        (429, &[("retry-after", "301")], Code::TooManyRequests, Some(301)),
        (429, &[], Code::TooManyRequests, None),
        (500, &[], Code::Unknown, None),
    ] {
        let fake = fails(usize::MAX, move || reply(status, head, ""), tags).await;
        let once = || ClientOptions { retry: RetryOptions { attempts: 1, ..options().retry }, ..options() };
        let client = Client::new(fake.host(), once()).unwrap();
        let proxy = Served::new(Arc::new(client.clone())).await;
        for client in [client, Client::new(&proxy.host, once()).unwrap()] {
            let error = client.list_tags(&repo("a"), &Page::default()).await.unwrap_err();
            let said = error.retry_after().map(|wait| wait.as_secs());
            assert_eq!((error.code(), error.status(), said), (&code, status, wait), "{error:?}");
            assert!(error.is_exhausted());
        }
    }
}

#[tokio::test]
async fn short_answers_are_asked_for_again() {
    let manifest = r#"{"schemaVersion":2,"config":{}}"#;
    let half = move || stream(200, &[("content-type", media_type::IMAGE)], broken(manifest.as_bytes(), 9));
    let fake = fails(2, half, move |_| reply(200, &[("content-type", media_type::IMAGE)], manifest)).await;
    let got = fake.client().get_manifest(&repo("a"), &tag("latest").into()).await.unwrap();
    assert_eq!((&got.bytes()[..], fake.lines().len()), (manifest.as_bytes(), 3));
}

#[tokio::test]
async fn connections_that_end_without_an_answer_are_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        for turn in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            if turn == 0 {
                // Reset before the request is read.
                stream.set_zero_linger().unwrap();
                continue;
            }
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer: &[u8] = match turn {
                1 => b"",
                2 => b"HTTP/1.1 200 OK\r\nContent-Le",
                3 => b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"tags\":[]} ",
            };
            let _ = stream.write_all(answer).await;
        }
    });
    let client = Client::new(&host, options()).unwrap();
    assert_eq!(client.list_tags(&repo("a"), &Page::default()).await.unwrap().items, []);
    task.abort();
}

#[tokio::test]
async fn a_blob_that_breaks_off_goes_on_from_there() {
    let content: Arc<Vec<u8>> = Arc::new((0..100_000u32).map(|at| at as u8).collect());
    let digest = Digest::sha256(&content);
    let fake = breaks_after(content.clone(), 999, true).await;
    let client = fake.client();
    assert_eq!(client.read_blob(&repo("a"), &digest, 1 << 20).await.unwrap(), content[..]);
    assert_eq!(fake.lines().len(), 101);
    let ranges: Vec<_> = fake.seen().iter().map(|seen| seen.text("range").map(str::to_owned)).collect();
    assert_eq!((&ranges[0], ranges[1].as_deref()), (&None, Some("bytes=999-99999")));
    // A part does so, too.
    let blob = client.get_blob(&repo("a"), &digest, Some(ByteRange::From(95_000))).await.unwrap();
    assert_eq!(blob.body.bytes(1 << 20).await.unwrap(), content[95_000..]);
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_as_far_as_it_goes() {
    let content = Arc::new(b"hello".to_vec());
    // Each answer comes to the same point, so there is progress once.
    let fake = breaks_after(content.clone(), 3, false).await;
    let mut body = fake.client().get_blob(&repo("a"), &hello(), None).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "hel");
    assert_eq!(body.next().await.unwrap().unwrap_err().code(), &Code::Unavailable);
    assert_eq!(fake.lines().len(), 6);
    // And one that gets further at last.
    let fake = fails(2, move || stream(200, &[], broken(b"hello", 2)), |_| reply(200, &[], "hello")).await;
    assert_eq!(fake.client().read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_goes_on_is_held_to_the_digest_and_to_its_place() {
    let rest = |head: &'static [(&str, &str)], body: &'static str| {
        Fake::new(move |seen| match seen.text("range") {
            None => stream(200, &[("content-length", "5")], broken(b"hello", 3)),
            Some(_) => reply(206, head, body),
        })
    };
    for (head, body, want) in [
        (&[("content-range", "bytes 3-4/5")][..], "lo", Ok("hello")),
        (&[("content-range", "bytes 3-4/5")], "l0", Err(Code::DigestInvalid)),
        (&[("content-range", "bytes 2-4/5")], "llo", Err(Code::RangeInvalid)),
        (&[("content-range", "bytes 3-5/6")], "lo!", Err(Code::RangeInvalid)),
        (&[], "lo", Err(Code::RangeInvalid)),
        (&[("content-range", "bytes 3-4/5"), ("content-encoding", "gzip")], "lo", Err(Code::Unsupported)),
    ] {
        let fake = rest(head, body).await;
        let got = fake.client().read_blob(&repo("a"), &hello(), 10).await.map_err(|error| error.code().clone());
        assert_eq!(got, want.map(Bytes::from), "{head:?} {body}");
    }
}

#[tokio::test]
async fn a_blob_that_stalls_goes_on_elsewhere() {
    let first = || parts::iter([Ok(Bytes::from("hel"))]).chain(parts::pending::<Result<Bytes>>());
    let fake = Fake::new(move |seen| match seen.text("range") {
        None => stream(200, &[("content-length", "5")], Body::new(Some(5), first())),
        Some(_) => reply(206, &[("content-range", "bytes 3-4/5")], "lo"),
    });
    let fake = fake.await;
    let options = ClientOptions { read_timeout: Duration::from_millis(30), ..options() };
    let client = Client::new(fake.host(), options).unwrap();
    assert_eq!(client.read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_token_that_ends_on_the_way_is_replaced() {
    let turn = Arc::new(AtomicUsize::new(0));
    let now = turn.clone();
    let fake = Fake::new(move |seen| {
        let turn = now.load(SeqCst);
        match seen.text("range") {
            _ if seen.target.starts_with("/token") => reply(200, &[], &format!(r#"{{"token":"t{turn}"}}"#)),
            _ if seen.text("authorization") != Some(&format!("Bearer t{turn}")) => {
                let value = format!(r#"Bearer realm="http://{}/token""#, seen.text("host").unwrap());
                reply(401, &[("www-authenticate", &value)], "")
            }
            None => {
                now.fetch_add(1, SeqCst);
                stream(200, &[("content-length", "5")], broken(b"hello", 3))
            }
            Some(_) => reply(206, &[("content-range", "bytes 3-4/5")], "lo"),
        }
    });
    let fake = fake.await;
    assert_eq!(fake.client().read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
    // A stream cannot be sent twice: the transfer is told to take it up again.
    let fake = Fake::new(|seen| match seen.method.as_str() {
        _ if seen.target.starts_with("/token") => reply(200, &[], r#"{"token":"t"}"#),
        "POST" => reply(202, &[("location", "/v2/a/blobs/uploads/1")], ""),
        _ => {
            let value = format!(r#"Bearer realm="http://{}/token""#, seen.text("host").unwrap());
            reply(401, &[("www-authenticate", &value)], "")
        }
    });
    let fake = fake.await;
    let mut upload = fake.client().upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    assert_eq!(code(upload.append(text("hello")).await), Code::Unavailable);
}

#[tokio::test]
async fn streams_are_sent_once_and_bytes_again() {
    let fake = Fake::new(|seen| match seen.method.as_str() {
        "POST" => reply(202, &[("location", "/v2/a/blobs/uploads/1")], ""),
        "HEAD" => reply(404, &[], ""),
        _ => reply(503, &[], ""),
    });
    let fake = fake.await;
    let client = fake.client();
    let count = |method: &str| fake.seen().iter().filter(|seen| seen.method == method).count();
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    assert_eq!(code(client.put_blob(&repo("a"), &blob, text("hello")).await), Code::Unavailable);
    assert_eq!((count("POST"), count("PUT")), (1, 1));
    let mut upload = client.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    assert_eq!(code(upload.append(text("hello")).await), Code::Unavailable);
    assert_eq!(count("PATCH"), 1);
    assert_eq!(code(upload.commit(&hello()).await), Code::Unavailable);
    assert_eq!(count("PUT"), 7);
    let manifest = Manifest::new(media_type::IMAGE, Bytes::from("{}"));
    let put = PutManifest { tags: vec![tag("b")], if_absent: false };
    assert_eq!(code(client.put_manifest(&repo("a"), &manifest, put).await), Code::Unavailable);
    assert_eq!(count("PUT"), 13);
}

#[tokio::test]
async fn a_stream_that_nobody_took_is_sent_again() {
    // Uploads go to a port where nobody listens yet.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let fake = Fake::new(move |_| reply(202, &[("location", &format!("http://{address}/upload"))], "")).await;
    let retry = RetryOptions { base: Duration::from_millis(50), ..Default::default() };
    let client = Client::new(fake.host(), ClientOptions { retry, ..Default::default() }).unwrap();
    let upload = client.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    let mut sent = Box::pin(async move {
        let mut upload = upload;
        upload.append(text("hello")).await.map(|()| upload.offset())
    });
    // The first attempt is refused while the others wait for their turn.
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut sent).await.is_err());
    let listener = TcpListener::bind(address).await.unwrap();
    let service = tower::service_fn(|request: http::Request<hyper::body::Incoming>| async {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok(reply(202, &[("range", &format!("0-{}", body.len() - 1))], ""))
    });
    let served = tokio::spawn(skep_http::serve(listener, service, std::future::pending()));
    assert_eq!(sent.await.unwrap(), 5);
    served.abort();
}

#[tokio::test]
async fn what_was_done_unheard_is_not_an_error() {
    // Each answer is lost the first time.
    let done = Mutex::new(false);
    let fake = Fake::new(move |seen| {
        let was_done = std::mem::replace(&mut *done.lock().unwrap(), seen.method == "DELETE" || seen.method == "PUT");
        match seen.method.as_str() {
            "HEAD" => reply(
                200,
                &[("content-type", media_type::IMAGE), ("content-length", "2"), ("docker-content-digest", EMPTY)],
                "",
            ),
            "POST" => reply(202, &[("location", "/v2/a/blobs/uploads/1")], ""),
            _ if !was_done => reply(502, &[], ""),
            "PUT" if seen.text("if-none-match").is_some() => reply(412, &[], ""),
            _ => reply(404, &[], ""),
        }
    });
    let fake = fake.await;
    let client = fake.client();
    client.delete_blob(&repo("a"), &hello()).await.unwrap();
    let upload = client.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    upload.commit(&hello()).await.unwrap();
}

#[tokio::test]
async fn a_tag_that_was_set_unheard_is_new_still() {
    let set = AtomicUsize::new(0);
    let fake = Fake::new(move |seen| match (seen.method.as_str(), set.load(SeqCst)) {
        ("HEAD", 0) => reply(404, &[], ""),
        ("HEAD", _) => {
            let head = [("content-type", media_type::IMAGE), ("content-length", "2"), ("docker-content-digest", EMPTY)];
            reply(200, &head, "")
        }
        _ if set.fetch_add(1, SeqCst) == 0 => reply(502, &[], ""),
        _ => reply(412, &[], ""),
    });
    let fake = fake.await;
    let manifest = Manifest::new(media_type::IMAGE, Bytes::from("{}"));
    let put = PutManifest { tags: vec![tag("b")], if_absent: true };
    fake.client().put_manifest(&repo("a"), &manifest, put).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_stalls_is_unavailable() {
    // Takes the head and what fits into the buffers, and then nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).await.unwrap();
            if head[..read].starts_with(b"POST") {
                let answer =
                    b"HTTP/1.1 202 Accepted\r\nLocation: /v2/a/blobs/uploads/1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
            held.push(stream);
        }
    });
    let retry = RetryOptions { attempts: 1, ..Default::default() };
    let options = ClientOptions { read_timeout: Duration::from_millis(50), retry, ..Default::default() };
    let client = Client::new(&host, options).unwrap();
    let mut upload = client.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    let endless = parts::repeat_with(|| Ok(Bytes::from_static(&[0; 1 << 16])));
    let error = upload.append(Body::new(None, endless)).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert!(error.message().contains("no answer within 50ms"), "{error}");
    task.abort();
}

/// A name that is too long to be looked up, so that nobody is asked.
const UNKNOWN_HOST: &str = "http://no-such-host-no-such-host-no-such-host-no-such-host-no-such-host-no.invalid";
/// The digest of `{}`.
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
