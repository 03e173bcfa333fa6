//! The client, against registries that answer as they like.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod support;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream as parts;
use http::Response;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::ResponseBody;
use skep_registry::Algorithm;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::UploadOptions;
use skep_registry::media_type;

use crate::support::Fake;
use crate::support::Seen;
use crate::support::reply;
use crate::support::stream;

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

fn hello() -> Digest {
    Digest::sha256(b"hello")
}

fn text(text: &'static str) -> Body {
    Body::from(Bytes::from(text))
}

/// The code of an error; panics when there is none.
fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.unwrap_err().code().clone()
}

#[tokio::test]
async fn a_whole_blob_in_place_of_a_range_is_told_from_the_range() {
    let fake = Fake::new(|_| reply(200, &[("content-length", "5")], "hello")).await;
    let blob = fake.client().get_blob(&repo("a"), &hello(), Some(ByteRange::Span(1, 3))).await.unwrap();
    assert_eq!((blob.descriptor.size, blob.range.clone()), (5, 0..5));
    assert_eq!(blob.narrow(1..3).unwrap().bytes(10).await.unwrap(), "el");
    assert_eq!(fake.seen()[0].text("range"), Some("bytes=1-2"));
    let past = fake.client().get_blob(&repo("a"), &hello(), Some(ByteRange::From(5))).await;
    assert_eq!(code(past), Code::RangeInvalid);
}

#[tokio::test]
async fn parts_must_be_the_ones_asked_for() {
    for (content_range, body, want) in [
        ("bytes 1-2/5", "el", Some(1..3)),
        ("bytes 1-2/*", "el", Some(1..3)),
        ("bytes 0-1/5", "he", None),
        ("bytes 1-1/5", "e", None),
        ("bytes 1-3/5", "ell", None),
        ("bytes 1-2/5", "ell", None),
        ("bytes 1-2/2", "el", None),
        ("bytes */5", "el", None),
        ("", "el", None),
    ] {
        let fake = Fake::new(move |seen| match seen.method.as_str() {
            "HEAD" => reply(200, &[("content-length", "5")], ""),
            _ => reply(206, &[("content-range", content_range), ("content-length", &body.len().to_string())], body),
        });
        let fake = fake.await;
        let got = fake.client().get_blob(&repo("a"), &hello(), Some(ByteRange::Span(1, 3))).await;
        match want {
            Some(range) => assert_eq!(got.unwrap().range, range),
            None => assert_eq!(code(got), Code::RangeInvalid, "{content_range} {body}"),
        }
    }
}

#[tokio::test]
async fn ranges_of_nothing_are_not_asked_for() {
    let fake = Fake::new(|_| reply(200, &[], "hello")).await;
    for range in [ByteRange::Span(3, 3), ByteRange::Span(4, 2), ByteRange::Last(0)] {
        assert_eq!(code(fake.client().get_blob(&repo("a"), &hello(), Some(range)).await), Code::RangeInvalid);
    }
    assert_eq!(fake.lines(), [""; 0]);
}

#[tokio::test]
async fn content_is_held_to_its_digest_and_length() {
    let wrong = Fake::new(|_| reply(200, &[("content-length", "5")], "hellO")).await;
    let body = wrong.client().get_blob(&repo("a"), &hello(), None).await.unwrap().body;
    assert_eq!(code(body.bytes(100).await), Code::DigestInvalid);
    let broken = || {
        let parts = [Ok(Bytes::from("hel")), Err(Error::new(Code::Unknown, "gone"))];
        Body::new(Some(5), parts::iter(parts))
    };
    let short = Fake::new(move |_| stream(200, &[("content-length", "5")], broken())).await;
    assert_eq!(code(short.client().read_blob(&repo("a"), &hello(), 100).await), Code::Unavailable);
}

#[tokio::test]
async fn what_a_registry_leaves_out_is_found_otherwise() {
    // Neither length nor digest: chunked, as some proxies do it.
    let unsaid = |content: &'static str| Body::new(None, parts::iter([Ok(Bytes::from(content))]));
    let manifest = r#"{"schemaVersion":2,"config":{}}"#;
    let fake = Fake::new(move |seen| match seen.line().as_str() {
        line if line.starts_with("HEAD /v2/a/blobs/") => reply(200, &[], ""),
        line if line.starts_with("GET /v2/a/blobs/") && seen.text("range") == Some("bytes=0-0") => {
            reply(206, &[("content-range", "bytes 0-0/5")], "h")
        }
        line if line.starts_with("GET /v2/a/blobs/") => stream(200, &[], unsaid("hello")),
        "HEAD /v2/a/manifests/latest" => reply(200, &[("content-type", media_type::IMAGE)], ""),
        "GET /v2/a/manifests/latest" => stream(200, &[("content-type", media_type::IMAGE)], unsaid(manifest)),
        line => panic!("{line}"),
    });
    let fake = fake.await;
    let client = fake.client();
    assert_eq!(client.head_blob(&repo("a"), &hello()).await.unwrap().size, 5);
    assert_eq!(client.read_blob(&repo("a"), &hello(), 10).await.unwrap(), "hello");
    let want = Descriptor::of(media_type::IMAGE, manifest.as_bytes());
    let latest = ManifestRef::Tag(tag("latest"));
    assert_eq!(client.head_manifest(&repo("a"), &latest).await.unwrap(), want);
    assert_eq!(client.get_manifest(&repo("a"), &latest).await.unwrap().descriptor(), &want);
}

#[tokio::test]
async fn manifests_are_held_to_what_is_said_of_them() {
    let wrong = Digest::sha256(b"wrong");
    let json = |media_type: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}"}}"#);
    let (image, index) = (json(media_type::IMAGE), json(media_type::INDEX));
    let long = " ".repeat((4 << 20) + 1);
    for (content_type, digest, body, want) in [
        (media_type::IMAGE, None, &image, Ok(media_type::IMAGE)),
        ("application/vnd.oci.image.manifest.v1+json; charset=utf-8", None, &image, Ok(media_type::IMAGE)),
        ("text/plain", None, &index, Ok(media_type::INDEX)),
        ("", None, &index, Ok(media_type::INDEX)),
        ("application/vnd.example+json", None, &"{}".to_owned(), Ok("application/vnd.example+json")),
        (media_type::IMAGE, Some("sha3:unknown"), &image, Ok(media_type::IMAGE)),
        (media_type::IMAGE, Some(wrong.as_str()), &image, Err(Code::DigestInvalid)),
        (media_type::IMAGE, None, &index, Err(Code::ManifestInvalid)),
        (media_type::IMAGE, None, &long, Err(Code::SizeInvalid)),
    ] {
        let (body, digest) = (body.clone(), digest.map(str::to_owned));
        let fake = Fake::new(move |_| {
            let digest = digest.as_deref().map(|digest| ("docker-content-digest", digest));
            let content_type = Some(("content-type", content_type)).filter(|(_, text)| !text.is_empty());
            reply(200, &content_type.into_iter().chain(digest).collect::<Vec<_>>(), &body)
        });
        let fake = fake.await;
        let got = fake.client().get_manifest(&repo("a"), &tag("latest").into()).await;
        let got = got.map(|manifest| manifest.media_type().to_owned()).map_err(|error| error.code().clone());
        assert_eq!(got, want.map(str::to_owned), "{content_type}");
        let accept = fake.seen()[0].text("accept").unwrap().to_owned();
        for one in [media_type::IMAGE, media_type::INDEX, media_type::DOCKER_IMAGE, media_type::DOCKER_INDEX, "*/*"] {
            assert!(accept.contains(one), "{accept}");
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_known_from_what_was_asked_for() {
    let fake = Fake::new(|_| reply(404, &[], "")).await;
    let (client, latest) = (fake.client(), ManifestRef::Tag(tag("latest")));
    assert_eq!(code(client.head_blob(&repo("a"), &hello()).await), Code::BlobUnknown);
    assert_eq!(code(client.get_blob(&repo("a"), &hello(), None).await), Code::BlobUnknown);
    assert_eq!(code(client.delete_blob(&repo("a"), &hello()).await), Code::BlobUnknown);
    assert_eq!(code(client.head_manifest(&repo("a"), &latest).await), Code::ManifestUnknown);
    assert_eq!(code(client.delete_manifest(&repo("a"), &latest).await), Code::ManifestUnknown);
    assert_eq!(code(client.list_tags(&repo("a"), &Page::default()).await), Code::NameUnknown);
    assert_eq!(code(client.upload_blob(&repo("a"), UploadOptions::default()).await), Code::NameUnknown);
}

#[tokio::test]
async fn errors_are_read_in_any_form() {
    let page = format!("<html>\u{1b}[31m{}", "x".repeat(1000));
    let large = format!(r#"{{"errors":[{{"code":"DENIED","message":"{}"}}]}}"#, "x".repeat(100_000));
    for (status, body, want, message) in [
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no a"}]}"#, Code::NameUnknown, "no a"),
        (400, r#"{"errors":[{"code":"X"},{"code":"Y"}]}"#, Code::Other("X".to_owned()), ""),
        (403, r#"{"errors":[]}"#, Code::Denied, "/v2/a/manifests/latest: \"{\\\"errors\\\":[]}\""),
        (403, &large, Code::Denied, "/v2/a/manifests/latest"),
        (500, &page, Code::Unknown, "<html>\\u{1b}[31mxxx"),
        (418, "short", Code::Unknown, "/v2/a/manifests/latest: \"short\""),
        (503, "", Code::Unavailable, "/v2/a/manifests/latest"),
        (429, "", Code::TooManyRequests, "/v2/a/manifests/latest"),
        (204, "", Code::Unknown, "unexpected status 204 No Content"),
    ] {
        let answer = body.to_owned();
        let fake = Fake::new(move |_| reply(status, &[], &answer)).await;
        let error = fake.client().get_manifest(&repo("a"), &tag("latest").into()).await.unwrap_err();
        assert_eq!(error.code(), &want, "{status} {error}");
        assert!(error.message().contains(message) && error.message().len() < 400, "{status} {error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with(&format!("GET http://{}/v2/a/manifests/latest: {status}", fake.host())), "{source}");
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let host = support::memory().await.host.clone();
    let error = Client::new(&host, ClientOptions::default()).unwrap();
    let error = error.head_blob(&repo("a"), &hello()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert_eq!(error.message(), format!("HEAD http://{host}/v2/a/blobs/{}", hello()));
}

/// A registry whose uploads are at a location of some form.
async fn uploads_at(location: &'static str) -> Fake {
    Fake::new(move |seen| match seen.method.as_str() {
        "POST" => reply(202, &[("location", location)], ""),
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
    ] {
        let fake = uploads_at(location).await;
        let blob = Descriptor::of(OCTET_STREAM, b"hello");
        fake.client().put_blob(&repo("a"), &blob, text("hello")).await.unwrap();
        let seen = fake.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].line().as_str(), seen[0].text("content-length")), ("POST /v2/a/blobs/uploads/", Some("0")));
        assert_eq!(seen[1].line(), format!("{want}{}", hello().as_str().replace(':', "%3A")));
        assert_eq!((seen[1].text("content-length"), &seen[1].body[..]), (Some("5"), &b"hello"[..]));
    }
}

#[tokio::test]
async fn sha512_is_announced() {
    let fake = uploads_at("/up").await;
    let blob = Descriptor::new(OCTET_STREAM, Digest::of(Algorithm::Sha512, b"hello"), 5);
    fake.client().put_blob(&repo("a"), &blob, text("hello")).await.unwrap();
    assert_eq!(fake.lines()[0], "POST /v2/a/blobs/uploads/?digest-algorithm=sha512");
}

#[tokio::test]
async fn a_wrong_body_is_told_from_a_wrong_registry() {
    let fake = uploads_at("/up").await;
    let blob = Descriptor::of(OCTET_STREAM, b"hello");
    for (content, want) in [
        (vec![Ok(Bytes::from("hell"))], Code::SizeInvalid),
        (vec![Ok(Bytes::from("hello")), Ok(Bytes::from("!"))], Code::SizeInvalid),
        (vec![Ok(Bytes::from("hel")), Err(Error::new(Code::Denied, "no more"))], Code::Denied),
    ] {
        let body = Body::new(None, parts::iter(content));
        assert_eq!(code(fake.client().put_blob(&repo("a"), &blob, body).await), want);
    }
    assert_eq!(code(fake.client().put_blob(&repo("a"), &blob, text("hell")).await), Code::SizeInvalid);
    assert!(fake.lines().contains(&"DELETE /up".to_owned()), "{:?}", fake.lines());
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
    assert_eq!(seen.len(), 5);
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

fn tag_list(tags: &[&str], link: Option<&str>) -> Response<ResponseBody> {
    let body = serde_json::json!({"name": "a", "tags": tags}).to_string();
    let link = link.map(|link| ("link", link));
    reply(200, &link.into_iter().collect::<Vec<_>>(), &body)
}

fn all(client: &Client) -> impl Future<Output = Result<Vec<Tag>>> {
    let client = client.clone();
    async move { client.tags(&repo("a")).try_collect().await }
}

#[tokio::test]
async fn lists_follow_links_of_any_kind() {
    // Plain ones, ones with a token of the registry's own, and absolute ones.
    let fake = Fake::new(|seen| match seen.target.as_str() {
        "/v2/a/tags/list" => tag_list(&["a", "b"], Some("</v2/a/tags/list?last=b&n=2>; rel=\"next\"")),
        "/v2/a/tags/list?last=b" => tag_list(&[], Some("<list?next_page=x%3D%3D&n=2>; rel=next")),
        "/v2/a/tags/list?next_page=x%3D%3D&n=2" => {
            let link = format!("<http://{}/v2/a/tags/list?next_page=y>", seen.text("host").unwrap());
            tag_list(&["c", "bad tag", "d"], Some(&link))
        }
        "/v2/a/tags/list?next_page=y" => reply(200, &[], r#"{"name":"a","tags":null}"#),
        target => panic!("{target}"),
    });
    let fake = fake.await;
    assert_eq!(all(&fake.client()).await.unwrap(), ["a", "b", "c", "d"].map(tag));
}

#[tokio::test]
async fn lists_are_cut_where_the_caller_wants() {
    // Ignores what it is asked, as some do.
    let fake = Fake::new(|_| tag_list(&["a", "b", "c", "d"], None)).await;
    for (limit, after, items, next) in [
        (None, None, &["a", "b", "c", "d"][..], None),
        (Some(2), None, &["a", "b"], Some("b")),
        (Some(2), Some("b"), &["c", "d"], Some("d")),
        (Some(2), Some("d"), &[], None),
        (None, Some("c"), &["d"], None),
        (Some(0), None, &[], None),
    ] {
        let page = Page { limit, after: after.map(str::to_owned) };
        let got = fake.client().list_tags(&repo("a"), &page).await.unwrap();
        let items: Vec<_> = items.iter().map(|name| tag(name)).collect();
        assert_eq!((got.items, got.next.as_deref()), (items, next), "{page:?}");
    }
    assert!(fake.lines().iter().all(|line| !line.contains("n=0")), "{:?}", fake.lines());
    let page = Page { limit: Some(5000), after: None };
    fake.client().list_tags(&repo("a"), &page).await.unwrap();
    assert_eq!(fake.lines().last().unwrap(), "GET /v2/a/tags/list?n=1000");
}

#[tokio::test]
async fn lists_that_do_not_advance_end_in_an_error() {
    for link in
        ["</v2/a/tags/list?last=b>; rel=next", "</v2/a/tags/list?last=a>; rel=next", "</v2/a/tags/list?p=1>; rel=next"]
    {
        let fake = Fake::new(move |_| tag_list(&["a", "b"], Some(link))).await;
        assert_eq!(code(all(&fake.client()).await), Code::Unsupported, "{link}");
        assert!(fake.lines().len() <= 3, "{:?}", fake.lines());
    }
    let fake = Fake::new(|_| tag_list(&["a"], Some("<https://other.example.com/v2/a/tags/list>; rel=next"))).await;
    assert_eq!(code(all(&fake.client()).await), Code::Unsupported);
}

#[tokio::test]
async fn referrers_are_filtered_sorted_and_gathered() {
    let one = Descriptor { artifact_type: Some("a/one".to_owned()), ..Descriptor::of(media_type::IMAGE, b"1") };
    let two = Descriptor { artifact_type: Some("a/two".to_owned()), ..Descriptor::of(media_type::IMAGE, b"2") };
    let mut sorted = [one.clone(), two.clone()];
    sorted.sort_by(|a, b| a.digest.cmp(&b.digest));
    let [first, second] = sorted.clone();
    let list = |manifests: &[&Descriptor]| {
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests}).to_string()
    };
    // In two pages, the larger digest first, and without a filter.
    let pages = (list(&[&second]), list(&[&first]));
    let fake = Fake::new(move |seen| match seen.target.contains("page=2") {
        false => reply(200, &[("link", "<?page=2>; rel=next")], &pages.0),
        true => reply(200, &[], &pages.1),
    });
    let fake = fake.await;
    let get = async |query: ReferrerQuery| fake.client().list_referrers(&repo("a"), &hello(), &query).await.unwrap();
    assert_eq!(get(ReferrerQuery::default()).await.items, sorted);
    let page = Page { limit: Some(1), after: None };
    let got = get(ReferrerQuery { page, artifact_type: None }).await;
    assert_eq!((got.items, got.next.as_deref()), (vec![first.clone()], Some(first.digest.as_str())));
    let got = get(ReferrerQuery { artifact_type: Some("a/two".to_owned()), ..Default::default() }).await;
    assert_eq!((got.items, got.next), (vec![two], None));
    assert!(fake.lines().contains(&format!("GET /v2/a/referrers/{}?artifactType=a%2Ftwo", hello())));
}

#[tokio::test]
async fn a_tag_stands_in_for_the_list_of_referrers() {
    let server = support::old_registry().await;
    let client = server.client();
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

#[tokio::test]
async fn redirects_are_followed_with_the_range_and_without_end() {
    let storage = Fake::new(|seen| {
        assert_eq!(seen.text("range"), Some("bytes=1-2"));
        reply(206, &[("content-range", "bytes 1-2/5")], "el")
    });
    let storage = storage.await;
    let target = format!("http://{}/signed?signature=x", storage.host());
    let fake = Fake::new(move |seen: &Seen| match seen.target.as_str() {
        "/hop" => reply(302, &[("location", &target)], ""),
        _ => reply(307, &[("location", "/hop")], ""),
    });
    let fake = fake.await;
    let blob = fake.client().get_blob(&repo("a"), &hello(), Some(ByteRange::Span(1, 3))).await.unwrap();
    assert_eq!(blob.body.bytes(10).await.unwrap(), "el");
    let circle = Fake::new(|_| reply(307, &[("location", "/again?secret")], "")).await;
    let error = circle.client().get_blob(&repo("a"), &hello(), None).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unsupported);
    assert!(error.message().ends_with("leads in circles"), "{error}");
    assert_eq!(circle.lines().len(), 11);
}

#[tokio::test]
async fn a_registry_that_goes_silent_is_unavailable() {
    let silent = || Body::new(Some(5), futures_util::stream::pending::<Result<Bytes>>());
    let fake = Fake::new(move |_| stream(200, &[("content-length", "5")], silent())).await;
    let options = ClientOptions { read_timeout: std::time::Duration::from_millis(50), ..Default::default() };
    let client = Client::new(fake.host(), options).unwrap();
    let error = client.read_blob(&repo("a"), &hello(), 10).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable, "{error}");
}
