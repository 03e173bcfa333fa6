//! The client, against registries that answer as they like: what it writes.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream as parts;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::PutManifest;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::Result;
use skep_registry::UploadOptions;
use skep_registry::media_type;

use crate::support::Fake;
use crate::support::code;
use crate::support::hello;
use crate::support::reply;
use crate::support::repo;
use crate::support::tag;
use crate::support::text;

/// A registry whose uploads are at a location of some form.
async fn uploads_at(location: &'static str) -> Fake {
    Fake::new(move |seen| match seen.method.as_str() {
        "POST" => reply(202, &[("location", &location.replace("HOST", seen.text("host").unwrap()))], ""),
        "PUT" => reply(201, &[], ""),
        _ => reply(204, &[], ""),
    })
    .await
}

#[tokio::test]
async fn uploads_go_where_the_registry_says() {
    for (location, want) in [
        ("/v2/a/blobs/uploads/1", "PUT /v2/a/blobs/uploads/1?digest="),
        ("1?_state=x%2By", "PUT /v2/a/blobs/uploads/1?_state=x%2By&digest="),
        ("/elsewhere?a=b&c", "PUT /elsewhere?a=b&c&digest="),
        ("//HOST/v2/a/blobs/uploads/1", "PUT /v2/a/blobs/uploads/1?digest="),
        ("http://HOST/v2/a/blobs/uploads/1?x", "PUT /v2/a/blobs/uploads/1?x&digest="),
    ] {
        let fake = uploads_at(location).await;
        let blob = Descriptor::of(OCTET_STREAM, b"hello");
        fake.client().put_blob(&repo("a"), &blob, text("hello")).await.unwrap();
        let seen = fake.seen();
        assert_eq!(seen.len(), 2);
        let digest = hello().as_str().replace(':', "%3A");
        assert_eq!(seen[0].line(), format!("POST /v2/a/blobs/uploads/?digest={digest}"));
        assert_eq!(seen[1].line(), format!("{want}{digest}"));
        assert_eq!((seen[1].text("content-length"), &seen[1].body[..]), (Some("5"), &b"hello"[..]));
    }
}

#[tokio::test]
async fn sha512_is_announced() {
    let fake = uploads_at("/up").await;
    let options = UploadOptions { algorithm: Algorithm::Sha512, ..Default::default() };
    fake.client().upload_blob(&repo("a"), options).await.unwrap();
    assert_eq!(fake.seen()[0].text("content-length"), Some("0"));
    assert_eq!(fake.lines()[0], "POST /v2/a/blobs/uploads/?digest-algorithm=sha512");
}

/// The lines of requests, without digests.
fn lines(fake: &Fake) -> Vec<String> {
    let short = |line: String| line.split(['=', ':']).next().unwrap().to_owned();
    fake.lines().into_iter().map(short).collect()
}

#[tokio::test]
async fn small_blobs_go_with_a_single_post_where_that_works() {
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    let (post, begin, put) = ("POST /v2/a/blobs/uploads/?digest", "POST /v2/a/blobs/uploads/", "PUT /up?digest");
    let (head, works) = ("HEAD /v2/a/blobs/sha256", 200);
    // What the single POST is answered with, and a question whether the blob is there.
    for (posted, there, want) in [
        // It is believed when it was true once.
        (201, works, vec![post, head, post]),
        (201, 404, vec![post, head, begin, put, begin, put]),
        // The session that came of it is used, and it is not tried again.
        (202, works, vec![post, put, begin, put]),
        (400, works, vec![post, begin, put, begin, put]),
        (405, works, vec![post, begin, put, begin, put]),
        (413, works, vec![post, begin, put, begin, put]),
    ] {
        let fake = Fake::new(move |seen| match seen.method.as_str() {
            "POST" if seen.target.contains("digest=") => {
                assert_eq!((seen.text("content-length"), &seen.body[..]), (Some("5"), &b"hello"[..]));
                reply(posted, &[("location", "/up")], "")
            }
            "POST" => reply(202, &[("location", "/up")], ""),
            "HEAD" => reply(there, &[("content-length", "5")], ""),
            _ => reply(201, &[], ""),
        });
        let fake = fake.await;
        let client = fake.client();
        for _ in 0..2 {
            client.put_blob(&repo("a"), &blob, text("hello")).await.unwrap();
        }
        assert_eq!(lines(&fake), want, "{posted} {there}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_registry_is_not_held_against_the_single_post() {
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    for (status, want, requests) in [
        (403, Code::Denied, 1),
        (404, Code::NameUnknown, 1),
        (429, Code::TooManyRequests, 6),
        (503, Code::Unavailable, 6),
    ] {
        let fake = Fake::new(move |_| reply(status, &[], "")).await;
        let client = fake.client();
        for round in 1..=2 {
            assert_eq!(code(client.put_blob(&repo("a"), &blob, text("hello")).await), want);
            // No other request is tried with attempts of its own, and the next blob is posted again.
            assert_eq!(fake.lines().len(), round * requests, "{status}");
            assert!(fake.lines().iter().all(|line| line.starts_with("POST /v2/a/blobs/uploads/?digest=")), "{status}");
        }
    }
}

#[tokio::test]
async fn what_a_single_post_stored_is_what_was_sent() {
    let other = Digest::sha256(b"other").to_string();
    let fake = Fake::new(move |_| reply(201, &[("docker-content-digest", &other)], "")).await;
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    assert_eq!(code(fake.client().put_blob(&repo("a"), &blob, text("hello")).await), Code::DigestInvalid);
}

#[tokio::test]
async fn a_wrong_body_is_told_from_a_wrong_registry() {
    let fake = uploads_at("/up").await;
    for whole in [Bytes::from("hello"), vec![7; 100 << 10].into()] {
        let blob = Descriptor::of(OCTET_STREAM, &whole);
        let short = whole.slice(1..);
        for (content, want) in [
            (vec![Ok(short.clone())], Code::SizeInvalid),
            (vec![Ok(whole.clone()), Ok(Bytes::from("!"))], Code::SizeInvalid),
            (vec![Ok(short.clone()), Err(Error::new(Code::Denied, "no more"))], Code::Denied),
        ] {
            let body = Body::new(None, parts::iter(content));
            assert_eq!(code(fake.client().put_blob(&repo("a"), &blob, body).await), want);
        }
        assert_eq!(code(fake.client().put_blob(&repo("a"), &blob, short.into()).await), Code::SizeInvalid);
        // The small one is not sent at all.
        let is_large = whole.len() > 5;
        assert_eq!(fake.lines().contains(&"DELETE /up".to_owned()), is_large, "{:?}", fake.lines());
    }
}

#[tokio::test]
async fn a_stream_is_not_redirected() {
    let fake = Fake::new(|seen| match seen.method.as_str() {
        "POST" => reply(202, &[("location", "/up")], ""),
        _ => reply(307, &[("location", "/elsewhere")], ""),
    });
    let fake = fake.await;
    let mut upload = fake.client().upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    assert_eq!(code(upload.append(text("hello")).await), Code::Unsupported);
    assert_eq!(fake.lines(), ["POST /v2/a/blobs/uploads/", "PATCH /up"]);
}

#[tokio::test]
async fn chunks_say_where_they_belong() {
    let fake = Fake::new(|seen| match seen.line().as_str() {
        "POST /v2/a/blobs/uploads/" => {
            reply(202, &[("location", "/up/0?x=1"), ("oci-chunk-min-length", "3"), ("range", "0-0")], "")
        }
        "PATCH /up/0?x=1" => reply(202, &[("location", "/up/1"), ("range", "0-4")], ""),
        "PATCH /up/1" => reply(202, &[("location", "/up/2"), ("range", "bytes=0-10")], ""),
        "GET /up/2" => reply(204, &[("location", "/up/3"), ("range", "0-10")], ""),
        _ => reply(201, &[], ""),
    });
    let fake = fake.await;
    let client = fake.client();
    let mut upload = client.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    assert_eq!((upload.offset(), upload.min_chunk()), (0, 3));
    upload.append(text("hello")).await.unwrap();
    assert_eq!(upload.offset(), 5);
    upload.append(Body::new(None, parts::iter([Ok(Bytes::from(" world"))]))).await.unwrap();
    assert_eq!(upload.offset(), 11);
    upload.append(Body::empty()).await.unwrap();
    assert_eq!(upload.id(), format!("http://{}/up/2", fake.host()));
    let options = UploadOptions { resume: Some(upload.id().to_owned()), ..Default::default() };
    let upload = client.upload_blob(&repo("a"), options).await.unwrap();
    assert_eq!(upload.offset(), 11);
    let digest = Digest::sha256(b"hello world");
    let blob = upload.commit(&digest).await.unwrap();
    assert_eq!(blob, Descriptor::new(OCTET_STREAM, digest.clone(), 11));
    let seen = fake.seen();
    assert_eq!((seen[1].text("content-range"), seen[1].text("content-length")), (Some("0-4"), Some("5")));
    assert_eq!((seen[2].text("content-range"), seen[2].text("content-length")), (None, None));
    assert_eq!(seen[4].line(), format!("PUT /up/3?digest={}", digest.as_str().replace(':', "%3A")));
    // Nothing is left to send, which no range of bytes can say.
    assert_eq!((seen[4].text("content-range"), seen[4].text("content-length")), (None, Some("0")));
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn a_cancelled_upload_is_deleted_and_nobody_minds_if_it_cannot_be() {
    for status in [204, 404, 405, 500] {
        let fake = Fake::new(move |seen| match seen.method.as_str() {
            "POST" => reply(202, &[("location", "/up?_state=x%2By")], ""),
            _ => reply(status, &[], ""),
        });
        let fake = fake.await;
        let upload = fake.client().upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.cancel().await.unwrap();
        assert_eq!(fake.lines()[1], "DELETE /up?_state=x%2By", "{status}");
    }
}

#[tokio::test]
async fn what_a_registry_has_is_read_from_any_form_of_range() {
    for (range, exact, want) in [
        ("0-4", None, Ok(5)),
        ("bytes=0-4", None, Ok(5)),
        ("0-0", None, Ok(0)),
        ("0-0", Some("1"), Ok(1)),
        ("0--1", None, Ok(0)),
        ("", None, Err(Code::Unsupported)),
        ("1-4", None, Err(Code::Unsupported)),
    ] {
        let fake = Fake::new(move |_| {
            let exact = exact.map(|exact| ("upload-offset", exact));
            reply(204, &[("range", range)].into_iter().chain(exact).collect::<Vec<_>>(), "")
        });
        let fake = fake.await;
        let options = UploadOptions { resume: Some(format!("http://{}/up", fake.host())), ..Default::default() };
        let got = fake.client().upload_blob(&repo("a"), options).await;
        assert_eq!(got.map(|upload| upload.offset()).map_err(|error| error.code().clone()), want, "{range}");
    }
}

#[tokio::test]
async fn a_session_that_the_registry_gave_up_is_unknown() {
    for (status, body) in [
        (404, r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#),
        (404, r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}"#),
        (400, r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}"#),
        (404, "not found"),
    ] {
        let fake = Fake::new(move |_| reply(status, &[], body)).await;
        let options = UploadOptions { resume: Some(format!("http://{}/up", fake.host())), ..Default::default() };
        let error = code(fake.client().upload_blob(&repo("a"), options).await);
        assert_eq!(error, Code::BlobUploadUnknown, "{status} {body}");
    }
}

#[tokio::test]
async fn a_chunk_that_was_kept_in_part_is_an_error_with_the_true_offset() {
    let fake = Fake::new(|seen| match seen.method.as_str() {
        "POST" => reply(202, &[("location", "/up")], ""),
        _ => reply(202, &[("location", "/up"), ("range", "0-2")], ""),
    });
    let fake = fake.await;
    let mut upload = fake.client().upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
    assert_eq!(code(upload.append(text("hello")).await), Code::RangeInvalid);
    assert_eq!(upload.offset(), 3);
}

#[tokio::test]
async fn sessions_of_others_are_not_resumed() {
    let fake = Fake::new(|_| reply(204, &[("range", "0-4")], "")).await;
    let host = fake.host().to_owned();
    for id in [
        "",
        "not a url",
        "http://registry.example.com/v2/a/blobs/uploads/1",
        &format!("https://{host}/v2/a/blobs/uploads/1"),
        &format!("http://{host}/v2/other/blobs/uploads/1"),
        &format!("http://{host}/v2/a/blobs/uploads/../../../other/blobs/uploads/1"),
        &format!("http://{host}/v2/a/manifests/latest"),
    ] {
        let options = UploadOptions { resume: Some(id.to_owned()), ..Default::default() };
        assert_eq!(code(fake.client().upload_blob(&repo("a"), options).await), Code::BlobUploadUnknown, "{id}");
    }
    assert_eq!(fake.lines(), [""; 0]);
}

#[tokio::test]
async fn mounts_may_become_uploads() {
    let fake = Fake::new(|seen| match seen.method.as_str() {
        "POST" => reply(202, &[("location", "/up")], ""),
        "PATCH" => reply(202, &[("location", "/up"), ("range", "0-4")], ""),
        _ => reply(201, &[], ""),
    });
    let fake = fake.await;
    let Mount::Upload(mut upload) = fake.client().mount_blob(&repo("a"), &hello(), Some(&repo("b/c"))).await.unwrap()
    else {
        panic!("mounted")
    };
    upload.append(text("hello")).await.unwrap();
    upload.commit(&hello()).await.unwrap();
    let digest = hello().as_str().replace(':', "%3A");
    assert_eq!(
        fake.lines(),
        [
            format!("POST /v2/a/blobs/uploads/?mount={digest}&from=b%2Fc"),
            "PATCH /up".to_owned(),
            format!("PUT /up?digest={digest}")
        ]
    );
}

#[tokio::test]
async fn several_tags_go_with_the_digest_or_one_by_one() {
    let manifest = Manifest::new(media_type::IMAGE, "{}");
    let by_digest = format!("PUT /v2/a/manifests/{}", manifest.digest());
    let together = format!("{by_digest}?tag=v1&tag=v2&tag=v3");
    for (status, set, want) in [
        (201, &["v1, v2", "v3"][..], vec![together.as_str()]),
        (201, &["v1"], vec![&together, "PUT /v2/a/manifests/v2", "PUT /v2/a/manifests/v3"]),
        (201, &[], vec![&together, "PUT /v2/a/manifests/v1", "PUT /v2/a/manifests/v2", "PUT /v2/a/manifests/v3"]),
        (414, &[], vec![&together, "PUT /v2/a/manifests/v1", "PUT /v2/a/manifests/v2", "PUT /v2/a/manifests/v3"]),
    ] {
        let fake = Fake::new(move |seen| match seen.target.contains("?tag=") {
            true => reply(status, &set.iter().map(|tags| ("oci-tag", *tags)).collect::<Vec<_>>(), ""),
            false => reply(201, &[], ""),
        });
        let fake = fake.await;
        let options = PutManifest { tags: ["v1", "v2", "v3"].map(tag).into(), ..Default::default() };
        fake.client().put_manifest(&repo("a"), &manifest, options).await.unwrap();
        assert_eq!(fake.lines(), want);
        assert_eq!(fake.seen()[0].text("content-type"), Some(media_type::IMAGE));
    }
    let fake = Fake::new(|_| reply(201, &[], "")).await;
    let one = PutManifest { tags: vec![tag("v1")], ..Default::default() };
    fake.client().put_manifest(&repo("a"), &manifest, one).await.unwrap();
    fake.client().put_manifest(&repo("a"), &manifest, PutManifest::default()).await.unwrap();
    assert_eq!(fake.lines(), ["PUT /v2/a/manifests/v1".to_owned(), by_digest]);
}

#[tokio::test]
async fn a_tag_that_is_to_be_new_is_looked_for_and_guarded() {
    let manifest = Manifest::new(media_type::IMAGE, "{}");
    let (right, wrong) = (manifest.digest().clone(), hello());
    let fake = Fake::new(move |seen| {
        let digest = if seen.target.ends_with("right") { &right } else { &wrong };
        let headers = [("docker-content-digest", digest.as_str()), ("content-type", "x/y"), ("content-length", "2")];
        match seen.line().as_str() {
            "HEAD /v2/a/manifests/new" | "HEAD /v2/a/manifests/raced" => reply(404, &[], ""),
            line if line.starts_with("HEAD") => reply(200, &headers, ""),
            "PUT /v2/a/manifests/raced" => reply(412, &[], ""),
            _ => reply(201, &[], ""),
        }
    });
    let fake = fake.await;
    let put = async |tags: &[&str]| {
        let options = PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), if_absent: true };
        fake.client().put_manifest(&repo("a"), &manifest, options).await.map_err(|error| error.code().clone())
    };
    assert_eq!(put(&["new"]).await, Ok(()));
    assert_eq!(fake.seen()[1].text("if-none-match"), Some("*"));
    assert_eq!(put(&["wrong"]).await, Err(Code::PreconditionFailed));
    assert_eq!(put(&["raced"]).await, Err(Code::PreconditionFailed));
    assert_eq!(put(&["right"]).await, Ok(()));
    assert_eq!(fake.seen().last().unwrap().text("if-none-match"), None);
    assert!(!fake.lines().contains(&"PUT /v2/a/manifests/wrong".to_owned()));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn a_tag_stands_in_for_the_list_of_referrers() {
    let (client, _server) = crate::support::quirky(skep_http::testing::Profile::before_1_1()).await;
    let config = client.write_blob(&repo("a"), Bytes::from("{}")).await.unwrap();
    let subject = Descriptor::of(media_type::IMAGE, b"missing");
    let refer = |annotation: &str| {
        let content = ManifestContent {
            schema_version: 2,
            media_type: Some(media_type::IMAGE.to_owned()),
            config: Some(Descriptor { media_type: "a/config".to_owned(), ..config.clone() }),
            layers: Some(vec![]),
            subject: Some(subject.clone()),
            annotations: [("key".to_owned(), annotation.to_owned())].into(),
            ..Default::default()
        };
        let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
        let descriptor = content.describe(manifest.descriptor());
        (manifest, descriptor)
    };
    let fallback = ManifestRef::Tag(tag(&subject.digest.as_str().replace(':', "-")));
    let (one, described_one) = refer("one");
    let (two, described_two) = refer("two");
    for manifest in [&one, &two, &one] {
        client.put_manifest(&repo("a"), manifest, PutManifest::default()).await.unwrap();
    }
    let index = client.get_manifest(&repo("a"), &fallback).await.unwrap().content().unwrap();
    assert_eq!(index.manifests, Some(vec![described_one.clone(), described_two.clone()]));
    let list = async || {
        let query = ReferrerQuery { artifact_type: Some("a/config".to_owned()), ..Default::default() };
        client.list_referrers(&repo("a"), &subject.digest, &query).await.unwrap().items
    };
    assert_eq!(list().await.len(), 2);
    client.delete_manifest(&repo("a"), &one.digest().clone().into()).await.unwrap();
    assert_eq!(list().await, [described_two]);
    // What stands under the tag is not always a list.
    client.put_manifest(&repo("a"), &two, PutManifest { tags: vec![tag("x")], ..Default::default() }).await.unwrap();
    let plain = Manifest::new("application/vnd.example+json", "{}");
    let options = PutManifest { tags: vec![tag(&subject.digest.as_str().replace(':', "-"))], ..Default::default() };
    client.put_manifest(&repo("a"), &plain, options).await.unwrap();
    assert_eq!(code(client.put_manifest(&repo("a"), &one, PutManifest::default()).await), Code::ManifestInvalid);
}

/// A manifest about `hello`, which differs from others by its annotation.
fn referrer(annotation: &str) -> Manifest {
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        config: Some(Descriptor::of(media_type::EMPTY, b"{}")),
        layers: Some(vec![]),
        subject: Some(Descriptor::of(media_type::IMAGE, b"hello")),
        annotations: [("key".to_owned(), annotation.to_owned())].into(),
        ..Default::default()
    };
    Manifest::new(media_type::IMAGE, content.to_bytes())
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn no_referrer_is_lost_among_many_at_once() {
    let (client, _server) = crate::support::quirky(skep_http::testing::Profile::before_1_1()).await;
    client.write_blob(&repo("a"), Bytes::from("{}")).await.unwrap();
    let all: Vec<_> = (0..16).map(|n| referrer(&n.to_string())).collect();
    let name = repo("a");
    let put = |manifest| client.put_manifest(&name, manifest, PutManifest::default());
    assert!(join_all(all.iter().map(put)).await.iter().all(Result::is_ok));
    let list = async || client.list_referrers(&name, &hello(), &ReferrerQuery::default()).await.unwrap().items.len();
    assert_eq!(list().await, 16);
    let references: Vec<ManifestRef> = all[..8].iter().map(|one| one.digest().clone().into()).collect();
    let delete = |reference| client.delete_manifest(&name, reference);
    assert!(join_all(references.iter().map(delete)).await.iter().all(Result::is_ok));
    assert_eq!(list().await, 8);
}

#[tokio::test]
async fn referrers_that_others_enter_at_the_same_time_stay() {
    // Has no lists, but conditions; each write of the list is forestalled twice by somebody else's.
    let turn = AtomicUsize::new(0);
    let list = |turn: usize| {
        let manifests = (0..turn).map(|n| Descriptor::of(media_type::IMAGE, n.to_string().as_bytes())).collect();
        ManifestContent {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests: Some(manifests),
            ..Default::default()
        }
        .to_bytes()
    };
    let fake = Fake::new(move |seen| {
        let now = turn.load(SeqCst);
        let etag = format!("\"{now}\"");
        let is_list = seen.target.contains("/manifests/sha256-");
        match (seen.method.as_str(), now) {
            ("GET", 0) => reply(404, &[], ""),
            ("GET", _) if !is_list => reply(404, &[], ""),
            ("GET", now) => {
                let body = String::from_utf8(list(now).to_vec()).unwrap();
                reply(200, &[("content-type", media_type::INDEX), ("etag", &etag)], &body)
            }
            ("PUT", _) if !is_list => reply(201, &[], ""),
            ("PUT", 0) => {
                assert_eq!((seen.text("if-none-match"), seen.text("if-match")), (Some("*"), None));
                turn.store(1, SeqCst);
                reply(412, &[], "")
            }
            ("PUT", 1) => {
                assert_eq!((seen.text("if-none-match"), seen.text("if-match")), (None, Some("\"1\"")));
                turn.store(2, SeqCst);
                reply(412, &[], "")
            }
            ("PUT", _) => reply(if seen.text("if-match") == Some(&etag) { 201 } else { 412 }, &[], ""),
            (method, _) => panic!("{method}"),
        }
    });
    let fake = fake.await;
    let one = referrer("one");
    fake.client().put_manifest(&repo("a"), &one, PutManifest::default()).await.unwrap();
    let last = fake.seen().pop().unwrap();
    let written = Manifest::new(media_type::INDEX, last.body).content().unwrap().manifests.unwrap();
    let digests: Vec<_> = written.into_iter().map(|one| one.digest).collect();
    assert_eq!(digests, [Digest::sha256(b"0"), Digest::sha256(b"1"), one.digest().clone()]);
    // One that is never satisfied is not asked for ever.
    let never = Fake::new(|seen| match seen.method.as_str() {
        "PUT" if seen.target.contains("/manifests/sha256-") => reply(412, &[], ""),
        "PUT" => reply(201, &[], ""),
        _ => reply(404, &[], ""),
    });
    let never = never.await;
    let put = never.client().put_manifest(&repo("a"), &one, PutManifest::default()).await;
    assert_eq!((code(put), never.lines().len()), (Code::PreconditionFailed, 17));
}

#[tokio::test]
async fn deleting_that_is_disabled_is_unsupported() {
    for (status, want) in [
        (200, Ok(())),
        (202, Ok(())),
        (204, Ok(())),
        (400, Err(Code::Unsupported)),
        (405, Err(Code::Unsupported)),
        (403, Err(Code::Denied)),
        (404, Err(Code::BlobUnknown)),
    ] {
        let fake = Fake::new(move |_| reply(status, &[], "")).await;
        let got = fake.client().delete_blob(&repo("a"), &hello()).await.map_err(|error| error.code().clone());
        assert_eq!(got, want, "{status}");
    }
    let fake = Fake::new(|_| reply(400, &[], r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#)).await;
    assert_eq!(code(fake.client().delete_manifest(&repo("a"), &tag("v1").into()).await), Code::NameUnknown);
}
