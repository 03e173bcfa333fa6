//! Each quirk of a profile, as a raw request sees it.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use skep_http::Server;
use skep_http::testing::Chunks;
use skep_http::testing::Deletes;
use skep_http::testing::DigestHeader;
use skep_http::testing::FreshRange;
use skep_http::testing::Location;
use skep_http::testing::Login;
use skep_http::testing::NextLink;
use skep_http::testing::Profile;
use skep_http::testing::Quirky;
use skep_http::testing::Referrers;
use skep_http::testing::TokenName;
use skep_http::testing::Tokens;
use skep_registry::Algorithm;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::media_type;

use crate::support::ask::Got;
use crate::support::ask::MANIFEST;
use crate::support::ask::ask_any;
use crate::support::ask::image;
use crate::support::ask::put_blob;
use crate::support::ask::server;
use crate::support::repo;

/// An imitation, and the server in it.
fn double(profile: Profile) -> (Quirky<Server>, Server) {
    let server = server();
    (Quirky::new(server.clone(), profile), server)
}

async fn ask(double: &Quirky<Server>, line: &str) -> Got {
    ask_any(double, line, &[], "").await
}

async fn put_manifest(double: &Quirky<Server>, reference: &str, manifest: &str) -> Got {
    ask_any(double, &format!("PUT /v2/a/manifests/{reference}"), &[MANIFEST], manifest.to_owned()).await
}

/// Begins an upload, and gives its location.
async fn begin(double: &Quirky<Server>) -> String {
    let got = ask(double, "POST /v2/a/blobs/uploads/").await;
    assert_eq!(got.status, 202);
    got.text("location").unwrap().to_owned()
}

/// Sends a chunk.
async fn chunk(double: &Quirky<Server>, to: &str, start: usize, bytes: &str) -> Got {
    let range = format!("{start}-{}", start + bytes.len() - 1);
    ask_any(double, &format!("PATCH {to}"), &[("content-range", &range)], bytes.to_owned()).await
}

#[tokio::test]
async fn digests_are_left_out() {
    for (digest_header, want) in [
        (DigestHeader::Everywhere, [true, true, true, true]),
        (DigestHeader::NotOnGetByTag, [false, true, true, true]),
        (DigestHeader::Nowhere, [false, false, false, false]),
    ] {
        let (double, server) = double(Profile { digest_header, ..Default::default() });
        let manifest = image(&server, "1").await;
        put_manifest(&double, "v1", &manifest).await;
        let (digest, blob) = (Digest::sha256(manifest.as_bytes()), Digest::sha256(b"{}"));
        let mut got = Vec::new();
        for line in [
            "GET /v2/a/manifests/v1",
            "HEAD /v2/a/manifests/v1",
            &format!("GET /v2/a/manifests/{digest}"),
            &format!("GET /v2/a/blobs/{blob}"),
        ] {
            got.push(ask(&double, line).await.text("docker-content-digest").is_some());
        }
        assert_eq!(got, want, "{digest_header:?}");
    }
}

#[tokio::test]
async fn ranges_are_ignored() {
    let (double, server) = double(Profile { ignores_ranges: true, ..Default::default() });
    let digest = put_blob(&server, "hello").await;
    let got = ask_any(&double, &format!("GET /v2/a/blobs/{digest}"), &[("range", "bytes=1-2")], "").await;
    assert_eq!((got.status, &got.body[..]), (200, &b"hello"[..]));
}

#[tokio::test]
async fn blobs_are_at_a_storage_that_wants_no_credential() {
    let (double, server) = double(Profile { redirects_blobs: true, ..Default::default() });
    let digest = put_blob(&server, "hello").await;
    for (host, want) in [("127.0.0.1:5000", "http://localhost:5000/"), ("localhost:5000", "http://127.0.0.1:5000/")] {
        for method in ["GET", "HEAD"] {
            let got = ask_any(&double, &format!("{method} /v2/a/blobs/{digest}"), &[("host", host)], "").await;
            let location = got.text("location").unwrap();
            assert_eq!((got.status, location.starts_with(want)), (307, true), "{location}");
            let path = &location[want.len() - 1..];
            let line = format!("{method} {path}");
            let got = ask_any(&double, &line, &[("range", "bytes=1-2")], "").await;
            assert_eq!(got.text("docker-content-digest"), None);
            assert_eq!(got.status, if method == "GET" { 206 } else { 200 });
            let got = ask_any(&double, &line, &[("authorization", "Bearer t")], "").await;
            assert_eq!(got.status, 400);
            assert!(String::from_utf8_lossy(&got.body).contains("Only one auth mechanism allowed"));
            assert_eq!(ask(&double, line.split('?').next().unwrap()).await.status, 403);
        }
    }
    let missing = Digest::sha256(b"missing");
    assert_eq!(ask(&double, &format!("GET /v2/a/blobs/{missing}")).await.code(), "BLOB_UNKNOWN");
}

#[tokio::test]
async fn lengths_of_manifests_are_left_out() {
    let (double, server) = double(Profile { omits_length: true, ..Default::default() });
    let manifest = image(&server, "1").await;
    put_manifest(&double, "v1", &manifest).await;
    for method in ["GET", "HEAD"] {
        let got = ask(&double, &format!("{method} /v2/a/manifests/v1")).await;
        assert_eq!((got.status, got.text("content-length")), (200, None), "{method}");
    }
    assert_eq!(ask(&double, "GET /v2/a/manifests/v1").await.body, manifest);
}

#[tokio::test]
async fn lists_are_as_they_are() {
    let link = |query: &str| Some(format!("</v2/a/tags/list?{query}>; rel=\"next\""));
    let token = "djE";
    for (profile, target, want_tags, want_link) in [
        (Profile { max_n: Some(2), ..Default::default() }, "?n=2", json!(["v1", "v2"]), link("n=2&last=v2")),
        (Profile { default_n: Some(1), ..Default::default() }, "", json!(["v1"]), link("n=1&last=v1")),
        (Profile { default_n: Some(1), ..Default::default() }, "?n=2", json!(["v1", "v2"]), link("n=2&last=v2")),
        (
            Profile { ignores_paging_of_tags: true, ..Default::default() },
            "?n=1&last=v1",
            json!(["v1", "v2", "v3"]),
            None,
        ),
        (Profile { disorders_tags: true, ..Default::default() }, "", json!(["v3", "v2", "v1"]), None),
        (Profile { next_link: NextLink::None, ..Default::default() }, "?n=1", json!(["v1"]), None),
        (
            Profile { next_link: NextLink::Token, ..Default::default() },
            "?n=1",
            json!(["v1"]),
            link(&format!("n=1&next_page={token}")),
        ),
        (
            Profile { next_link: NextLink::Token, ..Default::default() },
            &format!("?n=2&next_page={token}"),
            json!(["v2", "v3"]),
            None,
        ),
        (Profile { next_link: NextLink::Token, ..Default::default() }, "?last=v2", json!(["v1", "v2", "v3"]), None),
    ] {
        let (double, server) = double(profile.clone());
        let manifest = image(&server, "1").await;
        for tag in ["v1", "v2", "v3"] {
            put_manifest(&double, tag, &manifest).await;
        }
        let got = ask(&double, &format!("GET /v2/a/tags/list{target}")).await;
        assert_eq!(got.json()["tags"], want_tags, "{profile:?} {target}");
        assert_eq!(got.text("link"), want_link.as_deref(), "{profile:?} {target}");
    }
}

#[tokio::test]
async fn lists_that_are_too_long_empty_or_misled() {
    let (one, _) = double(Profile { max_n: Some(1000), ..Default::default() });
    let got = ask(&one, "GET /v2/_catalog?n=1001").await;
    assert_eq!((got.status, got.code()), (400, "UNSUPPORTED".to_owned()));
    let (one, server) = double(Profile { null_tags: true, ..Default::default() });
    put_blob(&server, "hello").await;
    assert_eq!(ask(&one, "GET /v2/a/tags/list").await.json()["tags"], json!(null));
    let (one, _) = double(Profile { next_link: NextLink::WrongPath, ..Default::default() });
    for tag in ["v1", "v2"] {
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [] }).to_string();
        let headers = [("content-type", media_type::INDEX)];
        assert_eq!(ask_any(&one, &format!("PUT /v2/a/b/manifests/{tag}"), &headers, manifest).await.status, 201);
    }
    let got = ask(&one, "GET /v2/a/b/tags/list?n=1").await;
    assert_eq!(got.text("link"), Some("</v2/b/tags/list?n=1&last=v1>; rel=\"next\""));
    for (login, want) in [(None, 404), (Some(Login::bearer(Tokens::default())), 401)] {
        let (one, _) = double(Profile { no_catalog: true, login, ..Default::default() });
        assert_eq!(ask(&one, "GET /v2/_catalog").await.status, want);
    }
}

#[tokio::test]
async fn there_are_no_referrers_in_three_ways() {
    for (referrers, status, content_type) in [
        (Referrers::Listed, 200, media_type::INDEX),
        (Referrers::Html, 404, "text/html"),
        (Referrers::Json, 404, "application/json"),
        (Referrers::Text, 404, "text/plain; charset=utf-8"),
    ] {
        let (double, server) = double(Profile { referrers, ..Default::default() });
        let got = ask(&double, &format!("GET /v2/a/referrers/{}", Digest::sha256(b""))).await;
        assert_eq!((got.status, got.text("content-type")), (status, Some(content_type)));
        let mut manifest: serde_json::Value = serde_json::from_str(&image(&server, "1").await).unwrap();
        manifest["subject"] = json!(Descriptor::of(media_type::IMAGE, b"missing"));
        let got = put_manifest(&double, "v1", &manifest.to_string()).await;
        assert_eq!((got.status, got.text("oci-subject").is_some()), (201, referrers == Referrers::Listed));
    }
}

#[tokio::test]
async fn locations_are_absolute_with_a_state_or_elsewhere() {
    let digest = Digest::sha256(b"hello");
    let (one, _) = double(Profile { location: Location::AbsoluteWithState, ..Default::default() });
    let fresh = begin(&one).await;
    let (path, state) = fresh.strip_prefix("http://localhost").unwrap().split_once("?_state=").unwrap();
    assert_eq!(ask(&one, &format!("GET {path}")).await.status, 404);
    assert_eq!(ask(&one, &format!("GET {path}?_state=e30")).await.status, 404);
    let got = chunk(&one, &format!("{path}?_state={state}"), 0, "hel").await;
    let next = got.text("location").unwrap().strip_prefix("http://localhost").unwrap().to_owned();
    assert_eq!(chunk(&one, &format!("{path}?_state={state}"), 3, "lo").await.status, 500);
    let got = ask_any(&one, &format!("PUT {next}&digest={digest}"), &[("content-range", "3-4")], "lo").await;
    let want = format!("http://localhost/v2/a/blobs/{digest}");
    assert_eq!((got.status, got.text("location")), (201, Some(&*want)));

    let (one, _) = double(Profile { location: Location::Outside, ..Default::default() });
    let fresh = begin(&one).await;
    assert!(fresh.starts_with("/artifacts-uploads/namespaces/a/uploads/"), "{fresh}");
    assert_eq!(ask_any(&one, &format!("PUT {fresh}?digest={digest}"), &[], "hello").await.status, 201);
}

#[tokio::test]
async fn fresh_uploads_say_little() {
    for (fresh_range, want) in
        [(FreshRange::Zero, Some("0-0")), (FreshRange::MinusOne, Some("0--1")), (FreshRange::Missing, None)]
    {
        let (double, _) = double(Profile { fresh_range, ..Default::default() });
        assert_eq!(ask(&double, "POST /v2/a/blobs/uploads/").await.text("range"), want);
        let location = begin(&double).await;
        assert_eq!(ask(&double, &format!("GET {location}")).await.text("range"), want);
    }
}

#[tokio::test]
async fn chunks_are_refused_lost_or_miscounted() {
    let digest = Digest::sha256(b"hello");
    let (one, _) = double(Profile { chunks: Chunks::Refused, ..Default::default() });
    let location = begin(&one).await;
    assert_eq!(chunk(&one, &location, 0, "hel").await.status, 405);
    assert_eq!(ask_any(&one, &format!("PUT {location}?digest={digest}"), &[], "hello").await.status, 201);

    let (one, _) = double(Profile { chunks: Chunks::LastKept, ..Default::default() });
    for (bytes, want) in [("hello", "lo"), ("hello", "hello")] {
        let location = begin(&one).await;
        if want == "lo" {
            chunk(&one, &location, 0, "hel").await;
            chunk(&one, &location, 3, "lo").await;
            assert_eq!(ask(&one, &format!("PUT {location}?digest={digest}")).await.status, 201);
        } else {
            assert_eq!(ask_any(&one, &format!("PUT {location}?digest={digest}"), &[], bytes).await.status, 201);
        }
        let got = ask(&one, &format!("GET /v2/a/blobs/{digest}")).await;
        assert_eq!((got.status, got.text("content-range"), &got.body[..]), (200, None, want.as_bytes()));
        let length = want.len().to_string();
        assert_eq!(ask(&one, &format!("HEAD /v2/a/blobs/{digest}")).await.text("content-length"), Some(&*length));
    }

    let stale = Profile { chunks: Chunks::StaleRange, chunk_status: Some(201), ..Default::default() };
    let (one, _) = double(Profile { no_upload_status: true, ..stale });
    let location = begin(&one).await;
    for (start, bytes) in [(0, "hel"), (3, "lo")] {
        let got = chunk(&one, &location, start, bytes).await;
        assert_eq!((got.status, got.text("range")), (201, Some("0-2")));
    }
    assert_eq!(ask(&one, &format!("GET {location}")).await.code(), "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(ask(&one, &format!("PUT {location}?digest={digest}")).await.status, 201);
}

#[tokio::test]
async fn chunks_and_requests_have_their_lengths() {
    let digest = Digest::sha256(b"hello");
    let (one, _) = double(Profile { max_chunk: Some(3), ..Default::default() });
    let location = begin(&one).await;
    let got = chunk(&one, &location, 0, "hell").await;
    assert_eq!((got.status, got.code()), (416, "REQUESTED_RANGE_NOT_SATISFIABLE".to_owned()));
    assert_eq!(chunk(&one, &location, 0, "hel").await.status, 202);
    assert_eq!(ask_any(&one, &format!("PATCH {location}"), &[], "lo, all of you").await.status, 202);

    for (parts, status) in [(["he", "llo"], 400), (["hel", "lo"], 201)] {
        let (one, _) = double(Profile { min_chunk: Some(3), ..Default::default() });
        let location = begin(&one).await;
        assert_eq!(chunk(&one, &location, 0, parts[0]).await.status, 202);
        assert_eq!(chunk(&one, &location, parts[0].len(), parts[1]).await.status, 202);
        assert_eq!(ask(&one, &format!("PUT {location}?digest={digest}")).await.status, status, "{parts:?}");
    }

    let (one, _) = double(Profile { max_body: Some(4), ..Default::default() });
    let location = begin(&one).await;
    let got = ask_any(&one, &format!("PUT {location}?digest={digest}"), &[], "hello").await;
    assert_eq!((got.status, got.text("content-type")), (413, Some("text/html")));
}

#[tokio::test]
async fn writes_are_refused() {
    let (one, server) = double(Profile { never_mounts: true, ..Default::default() });
    let digest = put_blob(&server, "hello").await;
    assert_eq!(ask(&one, &format!("POST /v2/b/blobs/uploads/?mount={digest}&from=a")).await.status, 202);

    let (one, _) = double(Profile { repos_must_exist: true, ..Default::default() });
    assert_eq!(ask(&one, "POST /v2/a/blobs/uploads/").await.code(), "NAME_UNKNOWN");
    one.create(&repo("a"));
    begin(&one).await;

    let (one, server) = double(Profile { immutable_tags: true, ..Default::default() });
    let manifest = image(&server, "1").await;
    assert_eq!(put_manifest(&one, "v1", &manifest).await.status, 201);
    let got = put_manifest(&one, "v1", &manifest).await;
    assert_eq!((got.status, got.code()), (400, "TAG_INVALID".to_owned()));

    let (one, server) = double(Profile { only_images: true, ..Default::default() });
    let manifest = image(&server, "1").await;
    assert_eq!(put_manifest(&one, "v1", &manifest).await.code(), "MANIFEST_INVALID");
    let allowed = manifest.replace(media_type::EMPTY, "application/vnd.oci.image.config.v1+json");
    assert_eq!(put_manifest(&one, "v1", &allowed).await.status, 201);
    let artifact = [("content-type", "application/vnd.oci.artifact.manifest.v1+json")];
    assert_eq!(ask_any(&one, "PUT /v2/a/manifests/v1", &artifact, "{}").await.status, 415);

    let (one, server) = double(Profile { only_sha256: true, ..Default::default() });
    let manifest = image(&server, "1").await;
    let digest = Digest::of(Algorithm::Sha512, manifest.as_bytes());
    assert_eq!(put_manifest(&one, digest.as_str(), &manifest).await.code(), "DIGEST_INVALID");
}

#[tokio::test]
async fn deletions_are_refused() {
    for (deletes, want) in [
        (Deletes::All, [202, 202, 202]),
        (Deletes::ByDigest, [202, 400, 202]),
        (Deletes::Nothing, [405, 405, 405]),
        (Deletes::Untagged, [202, 202, 202]),
    ] {
        let (double, server) = double(Profile { deletes, ..Default::default() });
        let manifest = image(&server, "1").await;
        put_manifest(&double, "v1", &manifest).await;
        let line = format!("DELETE /v2/a/manifests/{}", Digest::sha256(manifest.as_bytes()));
        if deletes == Deletes::Untagged {
            assert_eq!(ask(&double, &line).await.code(), "GOOGLE_MANIFEST_DANGLING_TAG");
        }
        let blob = ask(&double, &format!("DELETE /v2/a/blobs/{}", put_blob(&server, "hello").await)).await.status;
        let tag = ask(&double, "DELETE /v2/a/manifests/v1").await.status;
        assert_eq!([blob, tag, ask(&double, &line).await.status], want, "{deletes:?}");
    }
}

#[tokio::test]
async fn a_plain_registry_knows_nothing_of_what_is_new() {
    let (double, server) = double(Profile { plain: true, ..Default::default() });
    let got = ask(&double, "POST /v2/a/blobs/uploads/").await;
    assert_eq!((got.text("range"), got.text("upload-offset")), (Some("0-0"), None));
    let manifest = image(&server, "1").await;
    let digest = Digest::sha256(manifest.as_bytes());
    let got = put_manifest(&double, &format!("{digest}?tag=v1"), &manifest).await;
    assert_eq!((got.status, got.text("oci-tag")), (201, None));
    assert_eq!(ask(&double, "GET /v2/a/manifests/v1").await.status, 404);
    for _ in 0..2 {
        let headers = [MANIFEST, ("if-none-match", "*")];
        assert_eq!(ask_any(&double, "PUT /v2/a/manifests/v1", &headers, manifest.clone()).await.status, 201);
    }
}

#[tokio::test]
async fn every_answer_warns() {
    let (double, _) = double(Profile { warning: Some("going away".to_owned()), ..Default::default() });
    for (line, status) in [("GET /v2/", 200), ("GET /v2/a/manifests/v1", 404)] {
        let got = ask(&double, line).await;
        assert_eq!((got.status, got.text("warning")), (status, Some("299 - \"going away\"")));
    }
}

#[tokio::test]
async fn pulls_are_counted_down_to_429() {
    let (double, server) = double(Profile { pull_limit: Some(1), ..Default::default() });
    put_manifest(&double, "v1", &image(&server, "1").await).await;
    for (method, status, left) in [("HEAD", 200, "1"), ("GET", 200, "0"), ("HEAD", 200, "0"), ("GET", 429, "0")] {
        let got = ask(&double, &format!("{method} /v2/a/manifests/v1")).await;
        let want = format!("{left};w=21600");
        assert_eq!((got.status, got.text("ratelimit-remaining")), (status, Some(&*want)), "{method}");
    }
}

#[tokio::test]
async fn a_password_is_wanted_with_each_request() {
    let (double, _) = double(Profile { login: Some(Login::basic()), ..Default::default() });
    let got = ask(&double, "GET /v2/").await;
    assert_eq!((got.status, got.text("www-authenticate")), (401, Some("Basic realm=\"double\"")));
    for (credential, want) in [("user:secret", 200), ("user:wrong", 401)] {
        let value = format!("Basic {}", STANDARD.encode(credential));
        assert_eq!(ask_any(&double, "GET /v2/", &[("authorization", &value)], "").await.status, want);
    }
}

#[tokio::test]
async fn tokens_are_good_for_what_they_were_asked_for() {
    let (double, server) = double(Profile { login: Some(Login::bearer(Tokens::default())), ..Default::default() });
    let digest = put_blob(&server, "hello").await;
    let blob = format!("GET /v2/a/blobs/{digest}");
    let want = r#"Bearer realm="http://localhost/token",service="localhost",scope="repository:a:pull""#;
    assert_eq!(ask(&double, &blob).await.text("www-authenticate"), Some(want));
    let mount = format!("POST /v2/b/blobs/uploads/?mount={digest}&from=a");
    let user = format!("Basic {}", STANDARD.encode("user:secret"));
    for (headers, scopes, line, want) in [
        (vec![], "scope=repository:a:pull", &*blob, 200),
        (vec![], "scope=repository:b:pull", &*blob, 401),
        (vec![], "scope=repository:a:pull,push", "POST /v2/a/blobs/uploads/", 401),
        (vec![("authorization", &*user)], "scope=repository:a:pull,push", "POST /v2/a/blobs/uploads/", 202),
        (vec![("authorization", &*user)], "scope=repository:b:pull,push", &*mount, 401),
        (vec![("authorization", &*user)], "scope=repository:b:pull,push&scope=repository:a:pull", &*mount, 201),
    ] {
        let got = ask_any(&double, &format!("GET /token?{scopes}"), &headers, "").await;
        let token = format!("Bearer {}", got.json()["token"].as_str().unwrap());
        assert_eq!(ask_any(&double, line, &[("authorization", &token)], "").await.status, want, "{scopes} {line}");
    }
    let wrong = format!("Basic {}", STANDARD.encode("user:wrong"));
    assert_eq!(ask_any(&double, "GET /token", &[("authorization", &wrong)], "").await.status, 401);
}

#[tokio::test]
async fn tokens_come_under_several_names_by_get_and_post() {
    let plain = Tokens::default();
    for (tokens, names) in [
        (plain, [true, false]),
        (Tokens { name: TokenName::AccessToken, ..plain }, [false, true]),
        (Tokens { name: TokenName::Both, ..plain }, [true, true]),
    ] {
        let (double, _) = double(Profile { login: Some(Login::bearer(tokens)), ..Default::default() });
        let answer = ask(&double, "GET /token").await.json();
        assert_eq!([!answer["token"].is_null(), !answer["access_token"].is_null()], names);
    }
    for (answers_post, form, want) in [
        (false, "grant_type=refresh_token&refresh_token=secret", 404),
        (true, "grant_type=refresh_token&refresh_token=secret", 200),
        (true, "grant_type=refresh_token&refresh_token=wrong", 401),
        (true, "grant_type=password&username=user&password=secret", 200),
    ] {
        let login = Login::bearer(Tokens { answers_post, ..plain });
        let (double, _) = double(Profile { login: Some(login), ..Default::default() });
        assert_eq!(ask_any(&double, "POST /token", &[], form).await.status, want, "{form}");
    }
    let login = Login::bearer(Tokens { empty_for_everyone: true, ..plain });
    let (double, server) = double(Profile { login: Some(login), ..Default::default() });
    let digest = put_blob(&server, "hello").await;
    assert_eq!(ask(&double, "GET /token?scope=repository:a:pull").await.json()["token"], "");
    assert_eq!(ask(&double, "GET /v2/").await.status, 401);
    assert_eq!(ask(&double, &format!("GET /v2/a/blobs/{digest}")).await.status, 200);
    assert_eq!(ask(&double, "POST /v2/a/blobs/uploads/").await.status, 401);
}

#[tokio::test]
async fn what_is_unknown_is_hidden_from_everyone() {
    let login = Some(Login::bearer(Tokens::default()));
    let (double, _) = double(Profile { hides_unknown: true, login, ..Default::default() });
    let user = format!("Basic {}", STANDARD.encode("user:secret"));
    for (headers, want) in [(vec![], 401), (vec![("authorization", &*user)], 404)] {
        let got = ask_any(&double, "GET /token?scope=repository:a:pull", &headers, "").await;
        let token = format!("Bearer {}", got.json()["token"].as_str().unwrap());
        let got = ask_any(&double, "GET /v2/a/manifests/v1", &[("authorization", &token)], "").await;
        assert_eq!(got.status, want);
    }
}
