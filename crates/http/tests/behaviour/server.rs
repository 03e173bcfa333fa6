//! The server, request by request: what is read, listed and refused.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_http::Server;
use skep_http::ServerOptions;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Memory;
use skep_registry::RegistryExt;
use skep_registry::media_type;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::support::Fake;
use crate::support::Served;
use crate::support::ask::MANIFEST;
use crate::support::ask::ask;
use crate::support::ask::get;
use crate::support::ask::image;
use crate::support::ask::put_blob;
use crate::support::ask::server;
use crate::support::odd::Odd;
use crate::support::reply;

#[tokio::test]
async fn both_forms_of_the_base_are_answered() {
    for target in ["/v2", "/v2/"] {
        let got = get(&server(), target).await;
        assert_eq!((got.status, got.json()), (200, json!({})));
    }
}

#[tokio::test]
async fn what_is_malformed_or_unknown_has_its_code() {
    let server = server();
    let digest = put_blob(&server, "hello").await;
    let other = Digest::sha256(b"other");
    for (line, status, code) in [
        ("GET /", 404, "UNKNOWN"),
        ("GET /v2/bad", 404, "UNKNOWN"),
        (&format!("GET /v2/blobs/{digest}"), 404, "UNKNOWN"),
        ("GET /v2/a/b/c", 404, "UNKNOWN"),
        ("GET /v2/A/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/../b/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%2F..%2Fb/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/../../etc/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/%2e%2e/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%00b/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%0d%0ab/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%zz/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%2/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%ff/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a%252e%252e/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/manifests/.bad", 400, "NAME_INVALID"),
        ("GET /v2/a/manifests/v1%00", 400, "NAME_INVALID"),
        ("PUT /v2/a/manifests/..", 400, "NAME_INVALID"),
        ("GET /v2/a/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
        ("GET /v2/a/blobs/sha256:wrong", 400, "DIGEST_INVALID"),
        ("DELETE /v2/a/blobs/sha256:wrong", 400, "DIGEST_INVALID"),
        ("GET /v2/a/referrers/latest", 400, "DIGEST_INVALID"),
        (&format!("GET /v2/a/blobs/{other}"), 404, "BLOB_UNKNOWN"),
        (&format!("DELETE /v2/a/blobs/{other}"), 404, "BLOB_UNKNOWN"),
        (&format!("GET /v2/b/blobs/{digest}"), 404, "NAME_UNKNOWN"),
        ("GET /v2/a/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("DELETE /v2/a/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/b/manifests/latest", 404, "NAME_UNKNOWN"),
        ("GET /v2/b/tags/list", 404, "NAME_UNKNOWN"),
        ("GET /v2/a/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET /v2/a/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET /v2/a/tags/list?n=", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET /v2/a/tags/list?n=%2B1", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET /v2/a/tags/list?n=99999999999999999999", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET /v2/_catalog?n=1.5", 400, "PAGINATION_NUMBER_INVALID"),
        (&format!("GET /v2/a/referrers/{digest}?n=-1"), 400, "PAGINATION_NUMBER_INVALID"),
        ("GET /v2/a/blobs/uploads/bm8", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PATCH /v2/a/blobs/uploads/bm8", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("DELETE /v2/a/blobs/uploads/bm8", 404, "BLOB_UPLOAD_UNKNOWN"),
        (&format!("PUT /v2/a/blobs/uploads/bm8?digest={digest}"), 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT /v2/a/blobs/uploads/bm8", 400, "DIGEST_INVALID"),
        ("PUT /v2/a/blobs/uploads/bm8?digest=md5:abc", 400, "DIGEST_INVALID"),
        ("POST /v2/a/blobs/uploads/?digest=sha256:fake", 400, "DIGEST_INVALID"),
        ("POST /v2/a/blobs/uploads/?mount=sha256:fake", 400, "DIGEST_INVALID"),
        ("POST /v2/a/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID"),
        (&format!("POST /v2/a/blobs/uploads/?mount={digest}&from=b:latest"), 400, "NAME_INVALID"),
    ] {
        let got = ask(&server, line, &[], "").await;
        assert_eq!((got.status, got.code().as_str()), (status, code), "{line}");
        assert!(got.json()["errors"][0]["message"].is_string());
    }
}

#[tokio::test]
async fn methods_that_an_endpoint_does_not_know_are_refused_with_those_that_it_does() {
    let digest = Digest::sha256(b"");
    for (line, allow) in [
        ("POST /v2/", "GET, HEAD"),
        ("DELETE /v2/_catalog", "GET, HEAD"),
        ("PUT /v2/a/tags/list", "GET, HEAD"),
        (&format!("POST /v2/a/referrers/{digest}"), "GET, HEAD"),
        (&format!("PATCH /v2/a/blobs/{digest}"), "GET, HEAD, PUT, DELETE"),
        ("POST /v2/a/manifests/latest", "GET, HEAD, PUT, DELETE"),
        ("GET /v2/a/blobs/uploads/", "POST"),
        ("OPTIONS /v2/a/blobs/uploads/bm8", "GET, HEAD, PATCH, PUT, DELETE"),
        ("FOO /v2/a/manifests/latest", "GET, HEAD, PUT, DELETE"),
    ] {
        let got = ask(&server(), line, &[], "").await;
        assert_eq!((got.status, got.code().as_str(), got.text("allow")), (405, "UNSUPPORTED", Some(allow)), "{line}");
    }
}

#[tokio::test]
async fn head_says_what_get_says() {
    let server = server();
    let digest = put_blob(&server, "hello").await;
    let manifest = image(&server, "1").await;
    assert_eq!(ask(&server, "PUT /v2/a/manifests/latest", &[MANIFEST], manifest).await.status, 201);
    let upload = ask(&server, "POST /v2/a/blobs/uploads/", &[], "").await;
    for target in [
        "/v2/",
        "/v2/_catalog",
        "/v2/a/tags/list?n=0",
        "/v2/a/manifests/latest",
        "/v2/a/manifests/other",
        &format!("/v2/a/blobs/{digest}"),
        &format!("/v2/b/blobs/{digest}"),
        &format!("/v2/a/referrers/{digest}"),
        upload.text("location").unwrap(),
        "/v2/nowhere",
    ] {
        let (get, head) = (get(&server, target).await, ask(&server, &format!("HEAD {target}"), &[], "").await);
        assert_eq!((head.status, head.headers, head.body.len()), (get.status, get.headers, 0), "{target}");
    }
}

#[tokio::test]
async fn blobs_come_with_all_their_headers() {
    let server = server();
    let digest = put_blob(&server, "hello world").await;
    let got = get(&server, &format!("/v2/a/blobs/{digest}")).await;
    assert_eq!((got.status, &got.body[..]), (200, &b"hello world"[..]));
    let etag = format!("\"{digest}\"");
    for (name, want) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "11"),
        ("docker-content-digest", digest.as_str()),
        ("accept-ranges", "bytes"),
        ("etag", &etag),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(got.text(name), Some(want), "{name}");
    }
}

#[tokio::test]
async fn ranges_are_served_by_any_backend() {
    for ignores_ranges in [false, true] {
        let server = Server::new(Arc::new(Odd { ignores_ranges, ..Default::default() }));
        let digest = put_blob(&server, "hello world").await;
        for (range, status, body, content_range) in [
            ("bytes=1-4", 206, "ello", Some("bytes 1-4/11")),
            ("bytes=3-", 206, "lo world", Some("bytes 3-10/11")),
            ("bytes=-5", 206, "world", Some("bytes 6-10/11")),
            ("bytes=-500", 206, "hello world", Some("bytes 0-10/11")),
            ("bytes=6-500", 206, "world", Some("bytes 6-10/11")),
            ("bytes=0-10", 206, "hello world", Some("bytes 0-10/11")),
            ("bytes=0-0,2-2", 200, "hello world", None),
            ("items=0-1", 200, "hello world", None),
        ] {
            let got = ask(&server, &format!("GET /v2/a/blobs/{digest}"), &[("range", range)], "").await;
            assert_eq!(
                (got.status, &got.body[..], got.text("content-range")),
                (status, body.as_bytes(), content_range)
            );
        }
        for range in ["bytes=11-", "bytes=500-0", "bytes=50-60", "bytes=-0", "bytes=x", "bytes=1-2-3"] {
            let got = ask(&server, &format!("GET /v2/a/blobs/{digest}"), &[("range", range)], "").await;
            assert_eq!((got.status, got.code().as_str()), (416, "RANGE_INVALID"), "{range}");
            assert_eq!(got.text("content-range"), Some("bytes */11"), "{range}");
        }
    }
}

#[tokio::test]
async fn conditions_on_content_are_heeded() {
    let server = server();
    let digest = put_blob(&server, "hello").await;
    let (etag, other) = (format!("\"{digest}\""), "\"other\"");
    let weak = format!("W/{etag}, {other}");
    for (headers, status) in [
        (&[("if-none-match", etag.as_str())][..], 304),
        (&[("if-none-match", weak.as_str())], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", other)], 200),
        (&[("range", "bytes=1-2"), ("if-range", etag.as_str())], 206),
        (&[("range", "bytes=1-2"), ("if-range", other)], 200),
        (&[("range", "bytes=1-2"), ("if-range", "Wed, 21 Oct 2015 07:28:00 GMT")], 200),
    ] {
        let got = ask(&server, &format!("GET /v2/a/blobs/{digest}"), headers, "").await;
        assert_eq!(got.status, status, "{headers:?}");
        assert_eq!(got.text("etag"), Some(etag.as_str()), "{headers:?}");
    }
    let unknown = Digest::sha256(b"");
    let got = ask(&server, &format!("GET /v2/a/blobs/{unknown}"), &[("if-none-match", "*")], "").await;
    assert_eq!(got.status, 404);
    let manifest = image(&server, "1").await;
    let etag = format!("\"{}\"", Digest::sha256(manifest.as_bytes()));
    ask(&server, "PUT /v2/a/manifests/latest", &[MANIFEST], manifest).await;
    for method in ["GET", "HEAD"] {
        let got = ask(&server, &format!("{method} /v2/a/manifests/latest"), &[("if-none-match", &etag)], "").await;
        assert_eq!((got.status, got.body.len()), (304, 0));
    }
}

#[tokio::test]
async fn blobs_that_are_elsewhere_are_redirected_to() {
    let elsewhere = Some("https://storage.example.com/x?signature=y".parse().unwrap());
    let server = Server::new(Arc::new(Odd { elsewhere, ..Default::default() }));
    let digest = put_blob(&server, "hello").await;
    let got = get(&server, &format!("/v2/a/blobs/{digest}")).await;
    assert_eq!((got.status, got.text("location")), (307, Some("https://storage.example.com/x?signature=y")));
    assert_eq!(ask(&server, &format!("HEAD /v2/a/blobs/{digest}"), &[], "").await.status, 200);
}

#[tokio::test]
async fn tags_are_listed_in_pages_that_link() {
    let server = server();
    let manifest = image(&server, "1").await;
    for tag in ["delta", "alpha", "charlie", "bravo"] {
        ask(&server, &format!("PUT /v2/a/manifests/{tag}"), &[MANIFEST], manifest.clone()).await;
    }
    let next = |query: &str| Some(format!("</v2/a/tags/list?{query}>; rel=\"next\""));
    for (query, tags, link) in [
        ("", json!(["alpha", "bravo", "charlie", "delta"]), None),
        ("?n=4", json!(["alpha", "bravo", "charlie", "delta"]), None),
        ("?n=18446744073709551615", json!(["alpha", "bravo", "charlie", "delta"]), None),
        ("?n=1000000", json!(["alpha", "bravo", "charlie", "delta"]), None),
        ("?n=0", json!([]), None),
        ("?n=3", json!(["alpha", "bravo", "charlie"]), next("n=3&last=charlie")),
        ("?last=bravo", json!(["charlie", "delta"]), None),
        ("?n=1&last=bravo", json!(["charlie"]), next("n=1&last=charlie")),
        ("?last=b", json!(["bravo", "charlie", "delta"]), None),
        ("?last=zulu", json!([]), None),
    ] {
        let got = get(&server, &format!("/v2/a/tags/list{query}")).await;
        assert_eq!(got.json(), json!({"name": "a", "tags": tags}), "{query}");
        assert_eq!(got.text("link"), link.as_deref(), "{query}");
    }
}

#[tokio::test]
async fn pages_are_bounded_whatever_is_asked() {
    let options = ServerOptions { max_page: 2, ..Default::default() };
    let memory = Memory::default();
    let server = Server::with_options(Arc::new(memory.clone()), options);
    for repo in ["c", "b", "a/b", "a"] {
        memory.write_blob(&repo.parse().unwrap(), Bytes::from("hello")).await.unwrap();
    }
    for query in ["", "?n=3"] {
        let got = get(&server, &format!("/v2/_catalog{query}")).await;
        assert_eq!(got.json(), json!({"repositories": ["a", "a/b"]}));
        let link = got.text("link").unwrap();
        let target = link.strip_prefix('<').unwrap().split('>').next().unwrap();
        let got = get(&server, target).await;
        assert_eq!((got.json(), got.text("link")), (json!({"repositories": ["b", "c"]}), None));
    }
}

/// All that comes for a request, whether it ends well or not.
async fn get_raw(host: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut came = Vec::new();
    while stream.read_buf(&mut came).await.is_ok_and(|read| read > 0) {}
    String::from_utf8(came).unwrap()
}

#[tokio::test]
async fn a_damaged_blob_breaks_off_unless_clients_are_to_verify_it() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::tree(dir.path(), LayoutOptions::default()).unwrap();
    let name = "a".parse().unwrap();
    let blob = layout.write_blob(&name, Bytes::from("hello")).await.unwrap();
    let empty = layout.write_blob(&name, Bytes::new()).await.unwrap();
    std::fs::write(dir.path().join("a/blobs/sha256").join(blob.digest.hex()), "jello").unwrap();
    for verify in [true, false] {
        let options = ServerOptions { verify, ..Default::default() };
        let served = Served::service(Server::with_options(Arc::new(layout.clone()), options)).await;
        let get = async |digest: &Digest| get_raw(&served.host, &format!("/v2/a/blobs/{digest}")).await;
        let got = get(&blob.digest).await;
        // The head may not even be sent when what follows is known to be wrong.
        assert_eq!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\njello"), !verify, "{got}");
        assert!(!got.contains("\r\n\r\njello") || !verify, "{got}");
        assert!(get(&empty.digest).await.contains("content-length: 0"));
    }
}

#[tokio::test]
async fn referrers_are_an_index() {
    let server = server();
    let subject = Descriptor::of(media_type::IMAGE, b"missing");
    let target = format!("/v2/a/referrers/{}", subject.digest);
    let got = get(&server, &target).await;
    assert_eq!((got.status, got.text("content-type")), (200, Some(media_type::INDEX)));
    assert_eq!(got.json(), json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": []}));
    let mut manifest: Value = serde_json::from_str(&image(&server, "1").await).unwrap();
    manifest["subject"] = json!(subject);
    let manifest = manifest.to_string();
    let digest = Digest::sha256(manifest.as_bytes());
    let got = ask(&server, &format!("PUT /v2/a/manifests/{digest}"), &[MANIFEST], manifest).await;
    assert_eq!((got.status, got.text("oci-subject")), (201, Some(subject.digest.as_str())));
    for (query, count, filtered) in [
        ("", 1, None),
        ("?artifactType=application/vnd.oci.empty.v1%2Bjson", 1, Some("artifactType")),
        ("?artifactType=application/other", 0, Some("artifactType")),
    ] {
        let got = get(&server, &format!("{target}{query}")).await;
        assert_eq!(got.text("oci-filters-applied"), filtered);
        let manifests = got.json()["manifests"].as_array().unwrap().clone();
        assert_eq!(manifests.len(), count, "{query}");
        for one in manifests {
            assert_eq!(one["digest"], digest.as_str());
            assert_eq!(one["artifactType"], media_type::EMPTY);
            assert_eq!(one["annotations"], json!({"seed": "1"}));
        }
    }
}

#[tokio::test]
async fn errors_of_the_backend_keep_their_status() {
    let digest = Digest::sha256(b"");
    for (code, status) in [
        (Code::Denied, 403),
        (Code::Unauthorized, 401),
        (Code::TooManyRequests, 429),
        (Code::Unsupported, 405),
        (Code::Unavailable, 503),
        (Code::Unknown, 500),
    ] {
        let server = Server::new(Arc::new(Odd { refuses: Some(code.clone()), ..Default::default() }));
        for line in [format!("DELETE /v2/a/blobs/{digest}"), "DELETE /v2/a/manifests/latest".to_owned()] {
            let got = ask(&server, &line, &[], "").await;
            assert_eq!((got.status, got.code().as_str()), (status, code.as_str()), "{line}");
            assert_eq!(got.json()["errors"][0]["message"], Error::new(code.clone(), "as configured").to_string());
        }
    }
}

#[tokio::test]
async fn errors_pass_a_proxy_as_they_are() {
    for (status, body, want) in [
        (403, r#"{"errors":[{"code":"DENIED","message":"not for you","detail":{"a":1}}]}"#, (403, "DENIED")),
        (429, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#, (429, "TOOMANYREQUESTS")),
        (418, r#"{"errors":[{"code":"TEAPOT","message":"short and stout"}]}"#, (418, "TEAPOT")),
        (401, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, (404, "NAME_UNKNOWN")),
        (404, "<html>", (404, "MANIFEST_UNKNOWN")),
        (502, "bad gateway", (503, "UNAVAILABLE")),
        (500, "", (500, "UNKNOWN")),
    ] {
        let origin = Fake::new(move |_| reply(status, &[], body)).await;
        let server = Server::new(Arc::new(origin.client()));
        let got = get(&server, "/v2/a/manifests/latest").await;
        assert_eq!((got.status, got.code().as_str()), want, "{body}");
        if status == 403 {
            let error = &got.json()["errors"][0];
            assert_eq!(error["message"], "requested access to the resource is denied: not for you");
            assert_eq!(error["detail"], json!({"a": 1}));
        }
    }
}

#[tokio::test]
async fn wrong_content_from_below_breaks_off_before_its_end() {
    let origin = Fake::new(|_| reply(200, &[], "hellO")).await;
    let proxy = crate::support::Served::new(Arc::new(origin.client())).await;
    let digest = Digest::sha256(b"hello");
    let mut stream = TcpStream::connect(&proxy.host).await.unwrap();
    let request = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // An error is as good as an end here: either way less came than was announced.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.ends_with(b"hellO"));
}

#[tokio::test]
async fn requests_under_way_are_finished_before_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shut, down) = oneshot::channel::<()>();
    let shutdown = async move { drop(down.await) };
    let serving = tokio::spawn(skep_http::serve(listener, server(), shutdown));
    // One that says nothing must not hold up the end.
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let digest = Digest::sha256(b"hello");
    let head =
        format!("PUT /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    shut.send(()).unwrap();
    // The listener is gone as soon as the end has begun.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn refusals_reach_clients_that_are_still_sending() {
    let served = crate::support::memory().await;
    for (method, path, status) in [
        ("PUT", "/v2/a/manifests/latest", 413),
        ("PATCH", "/v2/a/blobs/uploads/bm8", 404),
        ("PUT", "/v2/a/blobs/sha256:wrong", 400),
        ("POST", "/nowhere", 404),
    ] {
        let url = format!("http://{}{path}", served.host);
        let request = reqwest::Client::new().request(method.parse().unwrap(), url).body(vec![b' '; 8 << 20]);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn both_versions_of_http_are_spoken() {
    let served = crate::support::memory().await;
    for (builder, version) in [
        (reqwest::Client::builder(), http::Version::HTTP_11),
        (reqwest::Client::builder().http2_prior_knowledge(), http::Version::HTTP_2),
    ] {
        let url = format!("http://{}/v2/", served.host);
        let response = builder.build().unwrap().get(url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
}
