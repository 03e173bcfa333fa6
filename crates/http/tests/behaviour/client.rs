//! The client, against registries that answer as they like: what it reads and lists.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream as parts;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Credential;
use skep_http::ResponseBody;
use skep_http::Server;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::UploadOptions;
use skep_registry::media_type;
use tower::Service;

use crate::support::Fake;
use crate::support::Served;
use crate::support::ask::ask;
use crate::support::code;
use crate::support::hello;
use crate::support::options;
use crate::support::reply;
use crate::support::repo;
use crate::support::stream;
use crate::support::tag;

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
async fn parts_are_as_long_as_they_say() {
    // Without a length beside it, a part may be too short or too long.
    for (body, want) in [("el", Ok("el")), ("e", Err(Code::RangeInvalid)), ("ell", Err(Code::SizeInvalid))] {
        let fake = Fake::new(move |_| {
            stream(206, &[("content-range", "bytes 1-2/5")], Body::new(None, parts::iter([Ok(Bytes::from(body))])))
        });
        let fake = fake.await;
        let got = fake.client().get_blob(&repo("a"), &hello(), Some(ByteRange::Span(1, 3))).await.unwrap();
        let got = got.body.bytes(10).await.map_err(|error| error.code().clone());
        assert_eq!(got, want.map(Bytes::from), "{body}");
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
    // With the length beside it, or said by HEAD alone.
    for (content, want) in [
        ("hello", Ok("hello")),
        ("hellO", Err(Code::DigestInvalid)),
        ("hello!", Err(Code::SizeInvalid)),
        ("hell", Err(Code::SizeInvalid)),
    ] {
        let fake = Fake::new(move |seen| match seen.method.as_str() {
            "HEAD" => reply(200, &[("content-length", "5")], ""),
            _ => stream(200, &[], Body::new(None, parts::iter([Ok(Bytes::from(content))]))),
        });
        let fake = fake.await;
        let blob = fake.client().get_blob(&repo("a"), &hello(), None).await.unwrap();
        let got = blob.body.bytes(100).await.map_err(|error| error.code().clone());
        assert_eq!(got, want.map(Bytes::from), "{content}");
    }
    let packed = Fake::new(|_| reply(200, &[("content-length", "5"), ("content-encoding", "gzip")], "hello")).await;
    assert_eq!(code(packed.client().get_blob(&repo("a"), &hello(), None).await), Code::Unsupported);
    assert_eq!(packed.seen()[0].text("accept-encoding"), Some("identity"));
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
async fn the_first_manifests_of_docker_come_without_their_signatures() {
    // `{"formatLength":16,"formatTail":"Cn0"}`, and the tail is a line break and a brace.
    let protected = "eyJmb3JtYXRMZW5ndGgiOjE2LCJmb3JtYXRUYWlsIjoiQ24wIn0";
    let plain = "{\n   \"name\": \"a\"\n}";
    let signed = format!("{},\"signatures\":[{{\"protected\":\"{protected}\"}}]}}", &plain[..16]);
    let stated = Digest::sha256(plain.as_bytes()).to_string();
    let fake = Fake::new(move |seen| {
        let head = [
            ("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ("docker-content-digest", stated.as_str()),
        ];
        reply(200, &head, if seen.method == "HEAD" { "" } else { &signed })
    });
    let fake = fake.await;
    let got = fake.client().get_manifest(&repo("a"), &tag("latest").into()).await.unwrap();
    assert_eq!((got.media_type(), &got.bytes()[..]), (SCHEMA1, plain.as_bytes()));
    let head = fake.client().head_manifest(&repo("a"), &tag("latest").into()).await.unwrap();
    assert_eq!(head, *got.descriptor());
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
    // Nor has an answer to HEAD words for anything else.
    for (status, want) in [
        (400, Code::Unknown),
        (401, Code::Unauthorized),
        (403, Code::Denied),
        (429, Code::TooManyRequests),
        (503, Code::Unavailable),
    ] {
        let fake = Fake::new(move |_| reply(status, &[], "")).await;
        assert_eq!(code(fake.client().head_blob(&repo("a"), &hello()).await), want);
        assert_eq!(code(fake.client().head_manifest(&repo("a"), &latest).await), want);
    }
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
    let host = crate::support::memory().await.host.clone();
    let error = Client::new(&host, crate::support::options()).unwrap();
    let error = error.head_blob(&repo("a"), &hello()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable);
    assert_eq!(error.message(), format!("HEAD http://{host}/v2/a/blobs/{}", hello()));
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
        (Some(2), Some("b"), &["c", "d"], None),
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
async fn lists_of_just_as_many_as_were_asked_for_end() {
    for names in [["a", "b", "c"], ["c", "a", "b"]] {
        let fake = Fake::new(move |_| tag_list(&names, None)).await;
        for (after, items, next) in [(None, &["a", "b", "c"][..], Some("c")), (Some("c"), &[], None)] {
            let page = Page { limit: Some(3), after: after.map(str::to_owned) };
            let got = fake.client().list_tags(&repo("a"), &page).await.unwrap();
            let items: Vec<_> = items.iter().map(|name| tag(name)).collect();
            assert_eq!((got.items, got.next.as_deref()), (items, next), "{names:?} {after:?}");
        }
    }
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
async fn what_a_registry_says_it_filtered_is_looked_at_nevertheless() {
    let one = Descriptor { artifact_type: Some("a/one".to_owned()), ..Descriptor::of(media_type::IMAGE, b"1") };
    let two = Descriptor { artifact_type: Some("a/two".to_owned()), ..Descriptor::of(media_type::IMAGE, b"2") };
    let body = serde_json::json!({"schemaVersion": 2, "manifests": [one, two]}).to_string();
    for filters in [None, Some("artifactType"), Some("annotations, artifactType"), Some("annotations")] {
        let body = body.clone();
        let fake = Fake::new(move |_| {
            let filters = filters.map(|filters| ("oci-filters-applied", filters));
            reply(200, &filters.into_iter().collect::<Vec<_>>(), &body)
        });
        let query = ReferrerQuery { artifact_type: Some("a/two".to_owned()), ..Default::default() };
        let got = fake.await.client().list_referrers(&repo("a"), &hello(), &query).await.unwrap();
        assert_eq!(got.items, std::slice::from_ref(&two), "{filters:?}");
    }
}

#[tokio::test]
async fn registries_without_lists_of_referrers_say_so_in_many_ways() {
    let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
    for (status, kind, body) in [
        (404, "application/json", unknown),
        (404, "text/html", "<h1>not found</h1>"),
        (404, "text/plain", ""),
        (405, "application/json", r#"{"errors":[{"code":"UNSUPPORTED"}]}"#),
        (501, "text/plain", ""),
        (200, "text/html", "<html>a page for people</html>"),
    ] {
        for (tag_status, tag_body) in [(404, unknown), (404, ""), (404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#)]
        {
            let fake = Fake::new(move |seen| match seen.target.contains("/referrers/") {
                true => reply(status, &[("content-type", kind)], body),
                false => reply(tag_status, &[], tag_body),
            });
            let fake = fake.await;
            let got = fake.client().list_referrers(&repo("a"), &hello(), &ReferrerQuery::default()).await;
            assert_eq!(got.unwrap().items, [], "{status} {kind} {tag_body}");
            let tag = hello().as_str().replace(':', "-");
            assert_eq!(fake.lines()[1], format!("GET /v2/a/manifests/{tag}"));
        }
    }
    // A registry that fails, or lets nobody in, is another matter.
    for (status, want) in [(403, Code::Denied), (503, Code::Unavailable)] {
        let fake = Fake::new(move |_| reply(status, &[], "")).await;
        let got = fake.client().list_referrers(&repo("a"), &hello(), &ReferrerQuery::default()).await;
        assert_eq!(code(got), want);
    }
}

#[tokio::test]
async fn a_damaged_list_of_referrers_is_not_an_empty_one() {
    for (content_type, body, want) in [
        ("text/html", "<h1>welcome</h1>", Ok(0)),
        (media_type::INDEX, r#"zzschemaVersion":2,"manifests":[]}"#, Err(Code::ManifestInvalid)),
        ("application/json; charset=utf-8", r#"{"schemaVersion":2,"mani"#, Err(Code::ManifestInvalid)),
    ] {
        let fake = Fake::new(move |seen| match seen.target.contains("/referrers/") {
            true => reply(200, &[("content-type", content_type)], body),
            false => reply(404, &[], ""),
        });
        let got = fake.await.client().list_referrers(&repo("a"), &hello(), &ReferrerQuery::default()).await;
        assert_eq!(got.map(|list| list.items.len()).map_err(|error| error.code().clone()), want, "{content_type}");
    }
}

#[tokio::test]
async fn a_registry_that_goes_silent_is_unavailable() {
    let silent = || Body::new(Some(5), futures_util::stream::pending::<Result<Bytes>>());
    let fake = Fake::new(move |_| stream(200, &[("content-length", "5")], silent())).await;
    let options = ClientOptions { read_timeout: std::time::Duration::from_millis(20), ..crate::support::options() };
    let client = Client::new(fake.host(), options).unwrap();
    let error = client.read_blob(&repo("a"), &hello(), 10).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unavailable, "{error}");
}

const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";

/// A registry that takes one token, with every request, and what it was asked.
async fn with_token(token: &'static str) -> (Served, Arc<Mutex<Vec<String>>>) {
    let (server, lines) = (Server::new(Arc::new(Memory::default())), Arc::new(Mutex::new(Vec::new())));
    let log = lines.clone();
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let (mut server, log) = (server.clone(), log.clone());
        async move {
            log.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            let want = format!("Bearer {token}");
            match request.headers().get("authorization").is_some_and(|value| *value == *want) {
                true => server.call(request).await,
                false => Ok(reply(401, &[], "")),
            }
        }
    });
    (Served::service(service).await, lines)
}

/// A base URL and a token are all that is needed; each of these is one call.
#[tokio::test]
async fn every_thing_to_do_with_content_is_one_call() {
    let (served, lines) = with_token("t0ken").await;
    let credentials = Arc::new(Credential::Bearer("t0ken".to_owned()));
    for base in [format!("http://{}", served.host), format!("  http://{}/  ", served.host), served.host.clone()] {
        let client = Client::new(&base, ClientOptions { credentials: credentials.clone(), ..options() }).unwrap();
        assert_eq!(client.base_url().as_str(), format!("http://{}/", served.host));
    }
    let client = Client::new(&served.host, ClientOptions { credentials, ..options() }).unwrap();
    let (name, parts) = (repo("vm/images/ubuntu/24.04"), ["disk ", "image"].map(|part| Ok(Bytes::from(part))));
    let blob = Descriptor::of("application/octet-stream", b"disk image");

    assert!(!client.has_blob(&name, &blob.digest).await.unwrap());
    client.put_blob(&name, &blob, Body::new(Some(10), parts::iter(parts))).await.unwrap();
    assert!(client.has_blob(&name, &blob.digest).await.unwrap());
    let got = client.get_blob(&name, &blob.digest, None).await.unwrap();
    assert_eq!((got.descriptor.size, got.body.bytes(10).await.unwrap()), (10, Bytes::from("disk image")));

    let json = format!(r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#, serde_json::to_string(&blob).unwrap());
    let (manifest, v1) = (Manifest::new(media_type::IMAGE, json.clone()), ManifestRef::Tag(tag("v1")));
    let put = PutManifest { tags: vec![tag("v1")], ..Default::default() };
    client.put_manifest(&name, &manifest, put).await.unwrap();
    let got = client.get_manifest(&name, &v1).await.unwrap();
    assert_eq!((got.media_type(), got.bytes()), (media_type::IMAGE, &Bytes::from(json)));
    assert_eq!(client.tags(&name).try_collect::<Vec<_>>().await.unwrap(), [tag("v1")]);
    assert_eq!(client.repos().try_collect::<Vec<_>>().await.unwrap(), std::slice::from_ref(&name));

    assert!(client.remove_manifest(&name, &v1).await.unwrap());
    assert!(!client.remove_manifest(&name, &v1).await.unwrap());
    assert!(client.delete_manifest(&name, &v1).await.unwrap_err().is_not_found());
    let missing = client.get_manifest(&name, &v1).await.unwrap_err();
    assert_eq!((missing.code(), missing.is_not_found()), (&Code::ManifestUnknown, true));
    let by_digest = ManifestRef::Digest(manifest.digest().clone());
    assert!(client.remove_manifest(&name, &by_digest).await.unwrap());

    let shortcut = format!("PUT /v2/{name}/blobs/{}", blob.digest);
    assert!(!lines.lock().unwrap().contains(&shortcut));
    let stranger = served.client_as(Credential::Bearer("wrong".to_owned()));
    assert_eq!(code(stranger.has_blob(&name, &blob.digest).await), Code::Unauthorized);
    let broken = Fake::new(|_| reply(500, &[], "")).await;
    let error = broken.client().get_manifest(&name, &v1).await.unwrap_err();
    assert!(!error.is_not_found(), "{error}");
}

#[tokio::test]
async fn a_blob_may_be_put_where_it_will_be() {
    let server = Server::new(Arc::new(Memory::default()));
    let (name, digest) = ("vm/images/ubuntu", hello());
    let target = format!("PUT /v2/{name}/blobs/{digest}");
    assert_eq!(ask(&server, &target, &[], "hello").await.status, 201);
    assert_eq!(ask(&server, &format!("GET /v2/{name}/blobs/{digest}"), &[], "").await.body, "hello");
    assert_eq!(ask(&server, &target, &[], "other").await.code(), "DIGEST_INVALID");
}
