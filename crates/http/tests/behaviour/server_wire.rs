//! The server, byte by byte: what it makes of clients that do not speak HTTP as they should, or hardly speak at all.
//!
//! Time stands still, and jumps when everybody waits; so whatever is waited for for ever would show.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::time::Duration;

use skep_registry::Digest;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::Served;
use crate::support::hello;
use crate::support::memory;

/// Says something, and no more; hears all that the server says until it closes the connection.
async fn say(served: &Served, words: &[u8]) -> String {
    let mut stream = TcpStream::connect(&served.host).await.unwrap();
    // A server that refuses the first part need not listen to the rest.
    let _ = stream.write_all(words).await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// The statuses of all answers.
fn statuses(heard: &str) -> Vec<u16> {
    heard.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

async fn is_there(served: &Served, digest: &Digest) -> bool {
    let request = format!("HEAD /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    statuses(&say(served, request.as_bytes()).await) == [200]
}

#[tokio::test(start_paused = true)]
async fn clients_that_do_not_come_to_the_point_are_not_waited_for() {
    let served = memory().await;
    for words in [
        "",
        "G",
        // Might become HTTP/2.
        "P",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\n",
        "GET /v2/ HTTP/1.1\r\nhost: x\r\nx-name: val",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let begun = Instant::now();
        let heard = tokio::time::timeout(Duration::from_secs(3600), say(&served, words.as_bytes())).await;
        assert!(!heard.unwrap_or_else(|_| panic!("{words:?} is waited for")).contains("HTTP/1.1 200"), "{words:?}");
        assert!((49..=121).contains(&begun.elapsed().as_secs()), "{words:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_on_its_way_is_not_waited_for() {
    let served = memory().await;
    for framing in ["content-length: 5", "transfer-encoding: chunked"] {
        let part = if framing.ends_with('5') { "hel" } else { "3\r\nhel\r\n" };
        let request = format!("PUT /v2/a/blobs/{} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n{part}", hello());
        let begun = Instant::now();
        let heard = tokio::time::timeout(Duration::from_secs(3600), say(&served, request.as_bytes())).await.unwrap();
        assert_eq!(statuses(&heard), [408], "{heard}");
        assert!(heard.contains("REQUEST_TIMEOUT") && heard.contains("nothing of the body came for 300s"), "{heard}");
        assert!((299..=301).contains(&begun.elapsed().as_secs()), "{framing}: {:?}", begun.elapsed());
        assert!(!is_there(&served, &hello()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_too_large_are_refused() {
    let served = memory().await;
    let many: String = (0..101).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    for (target, headers, status) in [
        ("/v2/", "", 200),
        ("/v2/", many.as_str(), 431),
        ("/v2/", &long, 431),
        (&format!("/v2/{}", "a".repeat(70_000)), "", 414),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n");
        assert_eq!(statuses(&say(&served, request.as_bytes()).await), [status]);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let served = memory().await;
    let put = format!("PUT /v2/a/blobs/{} HTTP/1.1\r\nhost: x\r\n", hello());
    let smuggled = "GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n";
    for head in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 5\r\n",
        "content-length: 18446744073709551616\r\n",
        "content-length:\r\n",
        "content-length : 5\r\n",
        " content-length: 5\r\n",
        "content-length: 5\r\n 0\r\n",
        "content-length: 5\rx: y\r\n",
        "content-length: 5\r\nx: a\0b\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding\r\n",
    ] {
        let heard = say(&served, format!("{put}{head}\r\nhello{smuggled}").as_bytes()).await;
        assert_eq!(statuses(&heard), [400], "{head:?}: {heard}");
    }
    let old = put.replace("HTTP/1.1", "HTTP/1.0");
    let heard = say(&served, format!("{old}transfer-encoding: chunked\r\n\r\n0\r\n\r\n").as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.0 400 ") || heard.starts_with("HTTP/1.1 400 "), "{heard}");
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
    ] {
        let request = format!("{put}transfer-encoding: chunked\r\n\r\n{chunks}{smuggled}");
        let heard = say(&served, request.as_bytes()).await;
        assert_eq!(statuses(&heard), [400], "{chunks:?}: {heard}");
    }
    assert!(!is_there(&served, &hello()).await);
}

#[tokio::test(start_paused = true)]
async fn of_two_lengths_the_chunks_count_and_the_connection_ends() {
    // RFC 9112, 6.1: a server may process such a request by its chunks alone, and must close the connection.
    let served = memory().await;
    let put = format!("PUT /v2/a/blobs/{} HTTP/1.1\r\nhost: x\r\n", hello());
    let smuggled = "GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n";
    for head in
        ["content-length: 5\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: chunked\r\ncontent-length: 99\r\n"]
    {
        let heard = say(&served, format!("{put}{head}\r\n5\r\nhello\r\n0\r\n\r\n{smuggled}").as_bytes()).await;
        assert_eq!(statuses(&heard), [201], "{head:?}: {heard}");
        let heard = say(&served, format!("{put}{head}\r\n0\r\n\r\n{smuggled}").as_bytes()).await;
        assert_eq!(statuses(&heard), [400], "{head:?}: {heard}");
    }
    // One length said twice is one length.
    let same = "content-length: 5\r\ncontent-length: 5\r\n";
    let heard = say(&served, format!("{put}{same}\r\nhello{smuggled}").as_bytes()).await;
    assert_eq!(statuses(&heard), [201, 200], "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_as_long_as_it_was_said_to_be() {
    let served = memory().await;
    let put = |digest: &Digest| format!("PUT /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n");
    // What comes behind it is another request, or none.
    let heard = say(&served, format!("{}hello world\r\n\r\n", put(&hello())).as_bytes()).await;
    assert_eq!(statuses(&heard), [201, 400], "{heard}");
    assert!(is_there(&served, &hello()).await);
    // A client that goes away has not stored what it sent.
    let short = Digest::sha256(b"hell");
    let mut stream = TcpStream::connect(&served.host).await.unwrap();
    stream.write_all(format!("{}hell", put(&short)).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = String::new();
    let _ = stream.read_to_string(&mut heard).await;
    assert!(!statuses(&heard).contains(&201), "{heard}");
    assert!(!is_there(&served, &short).await);
}
