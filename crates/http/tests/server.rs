//! The server, request by request.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use serde_json::Value;
use serde_json::json;
use skep_http::Server;
use skep_http::ServerOptions;
use skep_registry::Algorithm;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Memory;
use skep_registry::RegistryExt;
use skep_registry::media_type;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tower::ServiceExt;

use crate::support::Fake;
use crate::support::odd::Odd;
use crate::support::reply;

/// The answer to one request.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        assert!(self.text("content-type").unwrap().ends_with("json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of an error body.
    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

fn server() -> Server {
    Server::new(Arc::new(Memory::default()))
}

async fn ask(server: &Server, line: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Got {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = server.clone().oneshot(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(parts.headers["docker-distribution-api-version"], "registry/2.0", "{line}");
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH)
        && method != "HEAD"
    {
        assert_eq!(length.to_str().unwrap(), body.len().to_string(), "{line}");
    }
    Got { status: parts.status.as_u16(), headers: parts.headers, body }
}

async fn get(server: &Server, target: &str) -> Got {
    ask(server, &format!("GET {target}"), &[], "").await
}

/// Stores a blob in the repository `a`.
async fn put_blob(server: &Server, content: &str) -> Digest {
    let digest = Digest::sha256(content.as_bytes());
    let got = ask(server, &format!("POST /v2/a/blobs/uploads/?digest={digest}"), &[], content.to_owned()).await;
    assert_eq!(got.status, 201);
    digest
}

/// The manifest of an image in the repository `a`; `seed` makes it another one.
async fn image(server: &Server, seed: &str) -> String {
    put_blob(server, "{}").await;
    let config = Descriptor::of(media_type::EMPTY, b"{}");
    let annotations = json!({ "seed": seed });
    json!({"schemaVersion": 2, "mediaType": media_type::IMAGE, "config": config, "layers": [], "annotations": annotations})
        .to_string()
}

const MANIFEST: (&str, &str) = ("content-type", media_type::IMAGE);

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
        ("GET /v2/a/manifests/.bad", 400, "NAME_INVALID"),
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
        ("GET /v2/_catalog?n=1.5", 400, "PAGINATION_NUMBER_INVALID"),
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
async fn an_upload_goes_from_chunk_to_chunk() {
    let server = server();
    let got = ask(&server, "POST /v2/a/blobs/uploads/", &[], "").await;
    assert_eq!((got.status, got.text("range"), got.text("upload-offset")), (202, Some("0-0"), Some("0")));
    assert_eq!(got.text("oci-chunk-min-length"), None);
    let location = got.text("location").unwrap().to_owned();
    assert!(location.starts_with("/v2/a/blobs/uploads/"), "{location}");
    let state = async || {
        let got = get(&server, &location).await;
        assert_eq!((got.status, got.text("location")), (204, Some(location.as_str())));
        (got.text("range").unwrap().to_owned(), got.text("upload-offset").unwrap().to_owned())
    };
    assert_eq!(state().await, ("0-0".to_owned(), "0".to_owned()));
    let patch = format!("PATCH {location}");
    for (range, body, status, code) in [
        (Some("1-3"), "ell", 416, Some("RANGE_INVALID")),
        (Some("0-2"), "hel", 202, None),
        (Some("2-4"), "llo", 416, Some("RANGE_INVALID")),
        (Some("4-5"), "o ", 416, Some("RANGE_INVALID")),
        (Some("0-bar"), "lo", 400, Some("BLOB_UPLOAD_INVALID")),
        (Some("5-3"), "lo", 400, Some("BLOB_UPLOAD_INVALID")),
        (Some("3-4"), "lo!", 400, Some("SIZE_INVALID")),
        (Some("bytes 3-4/*"), "lo", 202, None),
        (None, " wor", 202, None),
    ] {
        let headers: Vec<_> = range.iter().map(|range| ("content-range", *range)).collect();
        let got = ask(&server, &patch, &headers, body).await;
        assert_eq!(got.status, status, "{range:?} {body}");
        assert_eq!((status != 202).then(|| got.code()).as_deref(), code, "{range:?} {body}");
    }
    assert_eq!(state().await, ("0-8".to_owned(), "9".to_owned()));
    let digest = Digest::sha256(b"hello world");
    let put = format!("PUT {location}?digest={digest}");
    let got = ask(&server, &put, &[("content-range", "8-9")], "ld").await;
    assert_eq!((got.status, got.code().as_str()), (416, "RANGE_INVALID"));
    let got = ask(&server, &put, &[("content-range", "9-10")], "ld").await;
    let blob = format!("/v2/a/blobs/{digest}");
    assert_eq!((got.status, got.text("location")), (201, Some(blob.as_str())));
    assert_eq!(got.text("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(&get(&server, &blob).await.body[..], b"hello world");
    assert_eq!(get(&server, &location).await.code(), "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn uploads_end_in_the_ways_that_clients_know() {
    let server = server();
    for (algorithm, last, headers) in [
        (Algorithm::Sha256, "hello", &[][..]),
        (Algorithm::Sha512, "hello", &[("content-range", "0-4")]),
        // A client that counts down from nothing.
        (Algorithm::Sha256, "", &[("content-range", "0--1")]),
        (Algorithm::Sha512, "", &[]),
    ] {
        let begin = format!("POST /v2/a/blobs/uploads?digest-algorithm={algorithm}");
        let got = ask(&server, &begin, &[], "").await;
        let location = got.text("location").unwrap();
        let digest = Digest::of(algorithm, last.as_bytes());
        let wrong = Digest::of(algorithm, b"wrong");
        let got = ask(&server, &format!("PUT {location}?digest={digest}"), headers, last).await;
        assert_eq!(got.status, 201, "{last} {headers:?}");
        assert_eq!(get(&server, got.text("location").unwrap()).await.body, last);
        let got = ask(&server, &begin, &[], "").await;
        let got = ask(&server, &format!("PUT {}?digest={wrong}", got.text("location").unwrap()), &[], last).await;
        assert_eq!((got.status, got.code().as_str()), (400, "DIGEST_INVALID"));
        assert_eq!(get(&server, &format!("/v2/a/blobs/{wrong}")).await.status, 404);
    }
    let got = ask(&server, "POST /v2/a/blobs/uploads/", &[], "").await;
    let location = got.text("location").unwrap();
    assert_eq!(ask(&server, &format!("DELETE {location}"), &[], "").await.status, 204);
    assert_eq!(ask(&server, &format!("DELETE {location}"), &[], "").await.status, 404);
}

#[tokio::test]
async fn a_blob_may_come_in_one_request() {
    let server = server();
    let digest = Digest::sha256(b"hello");
    for line in [format!("POST /v2/a/blobs/uploads/?digest={digest}"), format!("PUT /v2/b/blobs/{digest}")] {
        let got = ask(&server, &line, &[], "hellO").await;
        assert_eq!((got.status, got.code().as_str()), (400, "DIGEST_INVALID"), "{line}");
        let got = ask(&server, &line, &[], "hello").await;
        assert_eq!((got.status, got.text("docker-content-digest")), (201, Some(digest.as_str())), "{line}");
        assert_eq!(&get(&server, got.text("location").unwrap()).await.body[..], b"hello");
    }
}

#[tokio::test]
async fn uploads_tell_the_least_length_of_a_chunk() {
    let server = Server::new(Arc::new(Odd { min_chunk: 5 << 20, ..Default::default() }));
    let got = ask(&server, "POST /v2/a/blobs/uploads/", &[], "").await;
    assert_eq!(got.text("oci-chunk-min-length"), Some("5242880"));
}

#[tokio::test]
async fn mounts_succeed_or_become_uploads() {
    let server = server();
    let digest = put_blob(&server, "hello").await;
    let unknown = Digest::sha256(b"unknown");
    for (query, status) in [
        (format!("mount={digest}&from=a"), 201),
        (format!("from=a&mount={}", digest.as_str().replace(':', "%3A")), 201),
        (format!("mount={digest}"), 201),
        (format!("mount={unknown}&from=a"), 202),
        (format!("mount={digest}&from=no/where"), 202),
        ("from=a".to_owned(), 202),
    ] {
        let got = ask(&server, &format!("POST /v2/b/c/blobs/uploads/?{query}"), &[], "").await;
        assert_eq!(got.status, status, "{query}");
        if status == 201 {
            assert_eq!(&get(&server, got.text("location").unwrap()).await.body[..], b"hello", "{query}");
            ask(&server, &format!("DELETE /v2/b/c/blobs/{digest}"), &[], "").await;
        } else {
            assert_eq!(get(&server, got.text("location").unwrap()).await.status, 204, "{query}");
        }
    }
    for code in [Code::Denied, Code::Unsupported] {
        let server = Server::new(Arc::new(Odd { refuses: Some(code), ..Default::default() }));
        let got = ask(&server, &format!("POST /v2/b/blobs/uploads/?mount={digest}&from=a"), &[], "").await;
        assert_eq!(got.status, 202);
    }
}

#[tokio::test]
async fn manifests_are_stored_under_what_they_are_pushed_to() {
    let server = server();
    let manifest = image(&server, "1").await;
    let digest = Digest::sha256(manifest.as_bytes());
    let by_digest = format!("/v2/a/manifests/{digest}");
    let tags: Vec<_> = (0..12).map(|n| format!("tag=v{n}")).collect();
    for (target, tags) in [
        ("/v2/a/manifests/latest".to_owned(), vec!["latest".to_owned()]),
        (by_digest.clone(), vec![]),
        (format!("{by_digest}?{}", tags.join("&")), (0..12).map(|n| format!("v{n}")).collect()),
    ] {
        let got = ask(&server, &format!("PUT {target}"), &[MANIFEST], manifest.clone()).await;
        assert_eq!((got.status, got.text("location")), (201, Some(by_digest.as_str())), "{target}");
        assert_eq!(got.text("docker-content-digest"), Some(digest.as_str()));
        let set: Vec<_> = got.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
        assert_eq!(set, tags);
        assert_eq!(got.text("oci-subject"), None);
        for tag in tags {
            let got = get(&server, &format!("/v2/a/manifests/{tag}")).await;
            assert_eq!((got.status, &got.body[..]), (200, manifest.as_bytes()));
            assert_eq!(got.text("content-type"), Some(media_type::IMAGE));
            assert_eq!(got.text("docker-content-digest"), Some(digest.as_str()));
        }
    }
    assert_eq!(ask(&server, "DELETE /v2/a/manifests/v0", &[], "").await.status, 202);
    assert_eq!(get(&server, "/v2/a/manifests/v0").await.status, 404);
    assert_eq!(get(&server, &by_digest).await.status, 200);
    assert_eq!(ask(&server, &format!("DELETE {by_digest}"), &[], "").await.status, 202);
    assert_eq!(get(&server, "/v2/a/manifests/v1").await.status, 404);
}

#[tokio::test]
async fn manifests_that_are_not_right_are_refused() {
    let server = server();
    let manifest = image(&server, "1").await;
    let untyped =
        manifest.replace(&format!("\"mediaType\":\"{}\",\"schemaVersion\"", media_type::IMAGE), "\"schemaVersion\"");
    let other = Digest::sha256(b"other");
    let large = format!("{manifest}{}", " ".repeat(4 << 20));
    let missing = manifest.replace(Digest::sha256(b"{}").as_str(), other.as_str());
    for (target, content_type, body, status, code) in [
        (other.as_str(), Some(media_type::IMAGE), manifest.as_str(), 400, "DIGEST_INVALID"),
        ("latest", Some(media_type::INDEX), &manifest, 400, "MANIFEST_INVALID"),
        ("latest", Some("text/html"), &untyped, 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), "", 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), "[]", 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), "{}", 400, "MANIFEST_INVALID"),
        ("latest", None, "hello", 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), &large, 413, "SIZE_INVALID"),
        ("latest", Some(media_type::IMAGE), &missing, 404, "MANIFEST_BLOB_UNKNOWN"),
        ("latest?tag=.bad", Some(media_type::IMAGE), &manifest, 400, "NAME_INVALID"),
    ] {
        let headers: Vec<_> = content_type.iter().map(|text| ("content-type", *text)).collect();
        let got = ask(&server, &format!("PUT /v2/a/manifests/{target}"), &headers, body.to_owned()).await;
        assert_eq!((got.status, got.code().as_str()), (status, code), "{target} {content_type:?}");
    }
    assert_eq!(get(&server, "/v2/a/tags/list").await.json()["tags"], json!([]));
    // Parameters do not count, and either of the two may be left out.
    let with_parameter = format!("{}; charset=utf-8", media_type::IMAGE);
    for (headers, body) in [
        (&[("content-type", with_parameter.as_str())][..], &manifest),
        (&[], &manifest),
        (&[MANIFEST], &untyped),
        (&[], &untyped),
    ] {
        let got = ask(&server, "PUT /v2/a/manifests/latest", headers, body.clone()).await;
        assert_eq!(got.status, 201, "{headers:?}");
        let got = get(&server, "/v2/a/manifests/latest").await;
        assert_eq!((got.text("content-type"), &got.body[..]), (Some(media_type::IMAGE), body.as_bytes()));
    }
}

#[tokio::test]
async fn a_tag_that_was_to_be_new_is_not_moved() {
    let server = server();
    let (one, two) = (image(&server, "1").await, image(&server, "2").await);
    let headers = &[MANIFEST, ("if-none-match", "*")];
    assert_eq!(ask(&server, "PUT /v2/a/manifests/latest", headers, one.clone()).await.status, 201);
    let got = ask(&server, "PUT /v2/a/manifests/latest", headers, two.clone()).await;
    assert_eq!((got.status, got.code().as_str()), (412, "PRECONDITION_FAILED"));
    assert_eq!(get(&server, "/v2/a/manifests/latest").await.body, one);
}

#[tokio::test]
async fn types_that_a_client_does_not_accept_are_not_sent() {
    let server = server();
    let manifest = image(&server, "1").await;
    ask(&server, "PUT /v2/a/manifests/latest", &[MANIFEST], manifest).await;
    for method in ["GET", "HEAD"] {
        let line = format!("{method} /v2/a/manifests/latest");
        for (accept, status) in
            [("*/*", 200), (media_type::IMAGE, 200), (media_type::DOCKER_IMAGE, 200), ("text/html", 406)]
        {
            assert_eq!(ask(&server, &line, &[("accept", accept)], "").await.status, status, "{line} {accept}");
        }
    }
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
        ("?n=99999999999999999999", json!(null), None),
        ("?n=1000000", json!(["alpha", "bravo", "charlie", "delta"]), None),
        ("?n=0", json!([]), None),
        ("?n=3", json!(["alpha", "bravo", "charlie"]), next("n=3&last=charlie")),
        ("?last=bravo", json!(["charlie", "delta"]), None),
        ("?n=1&last=bravo", json!(["charlie"]), next("n=1&last=charlie")),
        ("?last=b", json!(["bravo", "charlie", "delta"]), None),
        ("?last=zulu", json!([]), None),
    ] {
        let got = get(&server, &format!("/v2/a/tags/list{query}")).await;
        if tags.is_null() {
            assert_eq!(got.status, 400, "{query}");
            continue;
        }
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
            assert_eq!(got.json()["errors"][0]["message"], format!("{}: as configured", code.text()));
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
    let proxy = support::Served::new(Arc::new(origin.client())).await;
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
    let served = support::memory().await;
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
    let served = support::memory().await;
    for (builder, version) in [
        (reqwest::Client::builder(), http::Version::HTTP_11),
        (reqwest::Client::builder().http2_prior_knowledge(), http::Version::HTTP_2),
    ] {
        let url = format!("http://{}/v2/", served.host);
        let response = builder.build().unwrap().get(url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
}
