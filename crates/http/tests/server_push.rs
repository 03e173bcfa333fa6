//! The server, request by request: what is written.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skep_http::Server;
use skep_registry::Algorithm;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Registry;
use skep_registry::UploadOptions;
use skep_registry::media_type;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Served;
use crate::support::ask::MANIFEST;
use crate::support::ask::ask;
use crate::support::ask::get;
use crate::support::ask::image;
use crate::support::ask::put_blob;
use crate::support::ask::server;
use crate::support::odd::Odd;
use crate::support::repo;

#[tokio::test]
async fn what_came_of_a_chunk_whose_connection_broke_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::tree(dir.path(), LayoutOptions::default()).unwrap();
    let served = Served::new(Arc::new(layout)).await;
    let client = served.client();
    let upload = client.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    let path = upload.id().strip_prefix(&format!("http://{}", served.host)).unwrap();
    let head = format!("PATCH {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nContent-Range: 0-9\r\n\r\nhello");
    let mut stream = TcpStream::connect(&served.host).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    let kept = async {
        loop {
            let options = UploadOptions { resume: Some(upload.id().to_owned()), ..Default::default() };
            match client.upload_blob(&repo("a"), options).await.unwrap().offset() {
                0 => tokio::task::yield_now().await,
                offset => break offset,
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), kept).await.unwrap(), 5);
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
