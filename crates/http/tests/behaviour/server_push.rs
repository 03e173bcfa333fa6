//! The server, request by request: what is written.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use serde_json::json;
use skep_http::Client;
use skep_http::ResponseBody;
use skep_http::Server;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
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
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::support::Served;
use crate::support::ask::MANIFEST;
use crate::support::ask::ask;
use crate::support::ask::get;
use crate::support::ask::image;
use crate::support::ask::put_blob;
use crate::support::ask::server;
use crate::support::code;
use crate::support::hello;
use crate::support::odd::Odd;
use crate::support::repo;
use crate::support::tag;
use crate::support::text;

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
    let largest = format!("{manifest}{}", " ".repeat((4 << 20) - manifest.len()));
    let large = format!("{largest} ");
    let deep_list = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let deep_field = manifest.replacen('{', &format!("{{\"x\":{deep_list},"), 1);
    let missing = manifest.replace(Digest::sha256(b"{}").as_str(), other.as_str());
    for (target, content_type, body, status, code) in [
        (other.as_str(), Some(media_type::IMAGE), manifest.as_str(), 400, "DIGEST_INVALID"),
        ("latest", Some(media_type::INDEX), &manifest, 400, "MANIFEST_INVALID"),
        ("latest", Some("text/html"), &untyped, 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), "", 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), "[]", 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), "{}", 400, "MANIFEST_INVALID"),
        ("latest", None, "hello", 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), &deep_list, 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), &deep_object, 400, "MANIFEST_INVALID"),
        ("latest", Some(media_type::IMAGE), &manifest[..manifest.len() - 1], 400, "MANIFEST_INVALID"),
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
        (&[], &largest),
        // What is not understood is not looked into.
        (&[MANIFEST], &deep_field),
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
async fn a_slow_upload_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::tree(dir.path(), Default::default()).unwrap();
    for registry in [Arc::new(Memory::default()) as Arc<dyn Registry>, Arc::new(layout)] {
        let server = Server::new(registry);
        let begin = async || {
            let got = ask(&server, "POST /v2/a/blobs/uploads/", &[], "").await;
            got.text("location").unwrap().to_owned()
        };
        let (slow, fast) = (begin().await, begin().await);
        let (parts, taken) = mpsc::channel(1);
        let taken = stream::unfold(taken, async |mut taken| taken.recv().await.map(|part| (Ok(part), taken)));
        let body = ResponseBody::from(Body::new(None, taken));
        let request = Request::builder().method("PATCH").uri(&slow).body(body).unwrap();
        let patch = tokio::spawn(server.clone().oneshot(request));
        // The second one has room when the first is taken: the slow upload is under way.
        parts.send(Bytes::from("hel")).await.unwrap();
        parts.send(Bytes::from("l")).await.unwrap();
        assert_eq!(ask(&server, &format!("PATCH {fast}"), &[], "world").await.status, 202);
        let put = format!("PUT {fast}?digest={}", Digest::sha256(b"world"));
        assert_eq!(ask(&server, &put, &[], "").await.status, 201);
        parts.send(Bytes::from("o")).await.unwrap();
        drop(parts);
        assert_eq!(patch.await.unwrap().unwrap().status().as_u16(), 202);
        assert_eq!(ask(&server, &format!("PUT {slow}?digest={}", hello()), &[], "").await.status, 201);
        assert_eq!(&get(&server, &format!("/v2/a/blobs/{}", hello())).await.body[..], b"hello");
    }
}

/// A registry behind a server, that behind a proxy, and that behind another: the clients of each, the nearest first.
async fn depths(registry: Arc<dyn Registry>) -> (Vec<Client>, Vec<Served>) {
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    let mut next = registry;
    for _ in 0..3 {
        let served = Served::new(next).await;
        clients.push(served.client());
        next = Arc::new(served.client());
        servers.push(served);
    }
    (clients, servers)
}

#[tokio::test]
async fn errors_say_the_same_at_any_depth() {
    let registry = Arc::new(Memory::default());
    registry.write_blob(&repo("a"), Bytes::from("hello")).await.unwrap();
    let (clients, _servers) = depths(registry.clone()).await;
    let other = Digest::sha256(b"other");
    let missing = json!({"schemaVersion": 2, "mediaType": media_type::IMAGE, "layers": [],
        "config": Descriptor::of(media_type::EMPTY, b"{}")});
    let missing = Manifest::new(media_type::IMAGE, missing.to_string());
    let broken = Manifest::new(media_type::IMAGE, "{}");
    let said = async |registry: &dyn Registry| {
        fn words<T: std::fmt::Debug>(result: Result<T>) -> String {
            result.unwrap_err().to_string()
        }
        let put = || PutManifest { tags: vec![tag("v1")], ..Default::default() };
        let mut upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.append(text("hello")).await.unwrap();
        [
            words(registry.get_blob(&repo("a"), &other, None).await),
            words(registry.get_blob(&repo("b"), &other, None).await),
            words(registry.get_blob(&repo("a"), &hello(), Some((5..6).into())).await),
            words(registry.get_manifest(&repo("a"), &tag("v1").into()).await),
            words(registry.get_manifest(&repo("a"), &other.clone().into()).await),
            words(registry.list_tags(&repo("b"), &Page::default()).await),
            words(registry.delete_blob(&repo("a"), &other).await),
            words(registry.delete_manifest(&repo("a"), &tag("v1").into()).await),
            words(registry.put_manifest(&repo("a"), &missing, put()).await),
            words(registry.put_manifest(&repo("a"), &broken, put()).await),
            words(upload.commit(&other).await),
        ]
    };
    let nearest = said(&registry).await;
    for (depth, client) in clients.iter().enumerate() {
        assert_eq!(said(client).await, nearest, "{depth}");
    }
    // An answer to HEAD has no words, so only the code travels.
    for client in &clients {
        assert_eq!(code(client.head_blob(&repo("a"), &other).await), Code::BlobUnknown);
        assert_eq!(code(client.head_manifest(&repo("a"), &tag("v1").into()).await), Code::ManifestUnknown);
    }
}

#[tokio::test]
async fn uploads_live_at_any_depth() {
    let odd = Arc::new(Odd { min_chunk: 3, ..Default::default() });
    let (clients, servers) = depths(odd.clone()).await;
    let name = repo("a/b");
    for (depth, client) in clients.iter().enumerate() {
        let mut upload = client.upload_blob(&name, UploadOptions::default()).await.unwrap();
        assert_eq!((upload.offset(), upload.min_chunk()), (0, 3));
        upload.append(text("hello")).await.unwrap();
        let id = upload.id().to_owned();
        drop(upload);
        // A chunk in the wrong place, and one that breaks off, leave it as it is.
        let patch = |range: &str| reqwest::Client::new().patch(&id).header("content-range", range.to_owned());
        assert_eq!(patch("3-4").body("lo").send().await.unwrap().status().as_u16(), 416, "{depth}");
        // By another client, as after a restart.
        let resume = async || {
            let options = UploadOptions { resume: Some(id.clone()), ..Default::default() };
            servers[depth].client().upload_blob(&name, options).await
        };
        let mut upload = resume().await.unwrap();
        assert_eq!((upload.offset(), upload.min_chunk()), (5, 3), "{depth}");
        upload.append(text(" world")).await.unwrap();
        let digest = Digest::sha256(b"hello world");
        assert_eq!(upload.commit(&digest).await.unwrap(), Descriptor::new(OCTET_STREAM, digest.clone(), 11));
        assert_eq!(odd.read_blob(&name, &digest, 100).await.unwrap(), "hello world");
        assert_eq!(code(resume().await), Code::BlobUploadUnknown, "{depth}");
        odd.inner.delete_blob(&name, &digest).await.unwrap();
        let mut upload = client.upload_blob(&name, UploadOptions::default()).await.unwrap();
        upload.append(text("hello")).await.unwrap();
        let options = UploadOptions { resume: Some(upload.id().to_owned()), ..Default::default() };
        upload.cancel().await.unwrap();
        assert_eq!(code(client.upload_blob(&name, options).await), Code::BlobUploadUnknown, "{depth}");
    }
}
