//! Imitations of other products do what their profiles say, and the client copes with them.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use skep_http::Client;
use skep_http::Credential;
use skep_http::testing::Profile;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::media_type;
use skep_registry::transfer::CopyOptions;
use skep_registry::transfer::DownloadOptions;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::copy;
use skep_registry::transfer::download;
use skep_registry::transfer::upload;

use crate::support::code;
use crate::support::quirky;
use crate::support::repo;
use crate::support::tag;

/// What a client comes to know of a profile: everything that it may differ in.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// 3 MiB in one request.
    single: Result<(), Code>,
    /// Bytes sent for a blob of 12 MiB.
    chunked: u64,
    /// A manifest that is not that of an image.
    artifact: Result<(), Code>,
    repos: Result<usize, Code>,
    delete_tag: Result<(), Code>,
    delete_manifest: Result<(), Code>,
    delete_blob: Result<(), Code>,
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn the_client_copes_with_every_profile() {
    let ordinary = || Outcome {
        single: Ok(()),
        chunked: 12 * MIB,
        artifact: Ok(()),
        repos: Ok(2),
        delete_tag: Ok(()),
        delete_manifest: Ok(()),
        delete_blob: Ok(()),
    };
    let unsupported = || Err(Code::Unsupported);
    let deletes_nothing = || Outcome {
        delete_tag: unsupported(),
        delete_manifest: unsupported(),
        delete_blob: unsupported(),
        ..ordinary()
    };
    for (name, profile) in Profile::all() {
        let want = match name {
            "artifactory" => Outcome { chunked: 24 * MIB, ..ordinary() },
            "before-1.1" => ordinary(),
            "distribution-2" => Outcome { delete_tag: unsupported(), ..ordinary() },
            "docker-hub" => Outcome { repos: Err(Code::Denied), ..deletes_nothing() },
            // A chunk of 4 MiB, and one of 8 after which nobody knows how far it is; then all again.
            "ecr" => Outcome { chunked: 24 * MIB, ..ordinary() },
            // Of the chunks of 4 and 8 MiB the second is refused.
            "ghcr" => Outcome { chunked: 20 * MIB, ..deletes_nothing() },
            "google" => Outcome { chunked: 16 * MIB, ..ordinary() },
            // Chunks of 4 and 2 MiB are refused.
            "nginx" => Outcome { single: Err(Code::SizeInvalid), chunked: 18 * MIB, ..ordinary() },
            "quay" => Outcome { artifact: Err(Code::ManifestInvalid), delete_tag: unsupported(), ..ordinary() },
            _ => panic!("what of {name}?"),
        };
        // Two pages of what there is, where nobody says how long they are.
        let profile = Profile { default_n: profile.default_n.map(|_| 2), ..profile };
        let (client, _server) = quirky(profile).await;
        assert_eq!(work(name, client).await, want, "{name}");
    }
}

/// What a client does with a registry in a life.
async fn work(name: &str, client: Client) -> Outcome {
    let (a, b) = (repo("team/a"), repo("team/b"));

    // Blobs, in one go and in chunks, as a whole and in part.
    let config = client.write_blob(&a, Bytes::from("{}")).await.unwrap();
    let (three, twelve) = (noise(3 * MIB), noise(12 * MIB));
    let blob = Descriptor::of(OCTET_STREAM, &three);
    let single = result(client.put_blob(&a, &blob, Body::from(three.clone())).await);
    let place = Place::new(Arc::new(client.clone()), a.clone());
    let large = Descriptor::of(OCTET_STREAM, &twelve);
    let sent = upload(&place, &large, source(&twelve), &UploadSettings::default()).await;
    let sent = sent.unwrap_or_else(|error| panic!("{name}: {error}"));
    if single.is_err() {
        upload(&place, &blob, source(&three), &UploadSettings::default()).await.unwrap();
    }
    assert!(client.read_blob(&a, &blob.digest, 4 * MIB).await.unwrap() == three, "{name}");
    assert_eq!(client.head_blob(&a, &large.digest).await.unwrap().size, 12 * MIB, "{name}");
    let part = client.get_blob(&a, &large.digest, Some(ByteRange::from(70_000..80_000))).await.unwrap();
    let part = part.narrow(70_000..80_000).unwrap().bytes(MIB).await.unwrap();
    assert!(part == twelve[70_000..80_000], "{name}");
    let whole = download(&place, &large, &DownloadOptions::default()).bytes(12 * MIB).await;
    assert!(whole.unwrap_or_else(|error| panic!("{name}: {error}")) == twelve, "{name}");
    let mounted = client.mount_blob(&b, &blob.digest, Some(&a)).await.unwrap();
    assert!(matches!(mounted, Mount::Mounted), "{name}: {mounted:?}");

    // Manifests by several tags and by digest; what refers to them; pages.
    let image = manifest(&config, &blob, None);
    let tags = ["v1", "v10", "v2", "v3", "v4"];
    let options = PutManifest { tags: tags.iter().map(|name| tag(name)).collect(), ..Default::default() };
    client.put_manifest(&a, &image, options).await.unwrap();
    let by_tag = ManifestRef::Tag(tag("v10"));
    let by_digest = ManifestRef::Digest(image.digest().clone());
    for reference in [&by_tag, &by_digest] {
        assert_eq!(client.get_manifest(&a, reference).await.unwrap(), image, "{name}");
        assert_eq!(client.head_manifest(&a, reference).await.unwrap(), *image.descriptor(), "{name}");
    }
    let missing = ManifestRef::Tag(tag("v9"));
    assert_eq!(code(client.get_manifest(&a, &missing).await), Code::ManifestUnknown, "{name}");
    let signature = manifest(&config, &blob, Some(image.descriptor()));
    client.put_manifest(&a, &signature, PutManifest::default()).await.unwrap();
    let referrers: Vec<Descriptor> = client.referrers(&a, image.digest(), None).try_collect().await.unwrap();
    assert_eq!(referrers.iter().map(|one| &one.digest).collect::<Vec<_>>(), [signature.digest()], "{name}");
    let all = |tags: Vec<Tag>| tags.into_iter().filter(|tag| !tag.as_str().starts_with("sha256-")).collect::<Vec<_>>();
    let listed: Vec<Tag> = client.tags(&a).try_collect().await.unwrap();
    assert_eq!(all(listed), tags.map(tag), "{name}");
    assert_eq!(in_pages(&client, &a).await, tags.map(tag), "{name}");
    let artifact = result(client.put_manifest(&a, &other(&config), PutManifest::default()).await);

    // A copy within the registry, with what refers to it; the blobs are mounted, sent again if that fails.
    let to = Place { repo: b.clone(), ..place.clone() };
    let options = CopyOptions { tags: vec![tag("v1")], referrers: true, ..Default::default() };
    copy(&place, &by_tag, &to, &options).await.unwrap();
    assert_eq!(client.get_manifest(&b, &ManifestRef::Tag(tag("v1"))).await.unwrap(), image, "{name}");
    let referrers: Vec<Descriptor> = client.referrers(&b, image.digest(), None).try_collect().await.unwrap();
    assert_eq!(referrers.len(), 1, "{name}");

    let repos = result(client.repos().try_collect::<Vec<_>>().await.map(|repos| repos.len()));
    let mut delete_tag = Ok(());
    for name in tags {
        delete_tag = result(client.delete_manifest(&a, &ManifestRef::Tag(tag(name))).await);
    }
    Outcome {
        single,
        chunked: sent.sent,
        artifact,
        repos,
        delete_tag,
        delete_manifest: result(client.delete_manifest(&a, &by_digest).await),
        delete_blob: result(client.delete_blob(&a, &large.digest).await),
    }
}

/// The tags that are not for referrers, in pages of two.
async fn in_pages(client: &Client, repo: &RepoName) -> Vec<Tag> {
    let (mut tags, mut after) = (Vec::new(), None);
    loop {
        let page = client.list_tags(repo, &Page { limit: Some(2), after }).await.unwrap();
        assert!(page.items.len() <= 2, "{:?}", page.items);
        tags.extend(page.items.into_iter().filter(|tag| !tag.as_str().starts_with("sha256-")));
        after = page.next;
        if after.is_none() {
            return tags;
        }
    }
}

#[tokio::test]
async fn content_goes_from_each_profile_to_the_next() {
    let profiles = Profile::all();
    for ((from, one), (to, other)) in profiles.iter().zip(profiles.iter().cycle().skip(1)) {
        // That pulls are counted is another test's, and 20 MiB would be many.
        let ((source, _one), (target, _other)) = (quirky(one.clone()).await, quirky(other.clone()).await);
        let a = repo("team/a");
        let config = source.write_blob(&a, Bytes::from("{}")).await.unwrap();
        let bytes = noise(MIB / 2);
        let blob = source.write_blob(&a, bytes.clone()).await.unwrap();
        let image = manifest(&config, &blob, None);
        source.put_manifest(&a, &image, PutManifest { tags: vec![tag("v1")], ..Default::default() }).await.unwrap();
        let signature = manifest(&config, &blob, Some(image.descriptor()));
        source.put_manifest(&a, &signature, PutManifest::default()).await.unwrap();
        let options = CopyOptions { tags: vec![tag("v1")], referrers: true, ..Default::default() };
        let (source, target) = (Place::new(Arc::new(source), a.clone()), Place::new(Arc::new(target), a.clone()));
        let copied = copy(&source, &ManifestRef::Tag(tag("v1")), &target, &options).await;
        let copied = copied.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        assert_eq!(
            (copied.manifest.digest, copied.manifests, copied.blobs),
            (image.digest().clone(), 2, 2),
            "{from} to {to}"
        );
        assert!(target.registry.read_blob(&a, &blob.digest, MIB).await.unwrap() == bytes, "{from} to {to}");
        let referrers: Vec<Descriptor> =
            target.registry.referrers(&a, image.digest(), None).try_collect().await.unwrap();
        assert_eq!(referrers.len(), 1, "{from} to {to}");
    }
}

#[tokio::test]
async fn everyone_may_read_where_tokens_are_for_everyone_and_nobody_else_may_write() {
    for profile in [Profile::docker_hub(), Profile::ghcr(), Profile::quay()] {
        let (user, server) = quirky(profile).await;
        let blob = user.write_blob(&repo("a"), Bytes::from("hello")).await.unwrap();
        let everyone = server.client();
        assert_eq!(everyone.read_blob(&repo("a"), &blob.digest, 10).await.unwrap(), "hello");
        assert_eq!(code(everyone.write_blob(&repo("a"), Bytes::from("more")).await), Code::Unauthorized);
        let stranger = Credential::Basic { user: "user".to_owned(), password: "wrong".to_owned() };
        let read = server.client_as(stranger).read_blob(&repo("a"), &blob.digest, 10).await;
        assert_eq!(code(read), Code::Unauthorized);
    }
}

#[tokio::test]
async fn what_is_hidden_is_unauthorized_to_everyone_and_unknown_to_the_user() {
    let (user, server) = quirky(Profile::docker_hub()).await;
    let missing = ManifestRef::Tag(tag("v1"));
    assert_eq!(code(server.client().get_manifest(&repo("a"), &missing).await), Code::Unauthorized);
    assert!(user.get_manifest(&repo("a"), &missing).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn refresh_tokens_are_taken_where_there_is_post_and_nobody_is_let_in_where_not() {
    for (profile, want) in [(Profile::docker_hub(), Ok(())), (Profile::ghcr(), Err(Code::Denied))] {
        let (_user, server) = quirky(profile).await;
        let client = server.client_as(Credential::Identity("secret".to_owned()));
        assert_eq!(result(client.write_blob(&repo("a"), Bytes::from("hello")).await.map(drop)), want);
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_told_at_once() {
    let (client, _server) = quirky(Profile { pull_limit: Some(1), ..Profile::docker_hub() }).await;
    let config = client.write_blob(&repo("a"), Bytes::from("{}")).await.unwrap();
    let image = manifest(&config, &config, None);
    client.put_manifest(&repo("a"), &image, PutManifest::default()).await.unwrap();
    let reference = ManifestRef::Digest(image.digest().clone());
    client.get_manifest(&repo("a"), &reference).await.unwrap();
    client.head_manifest(&repo("a"), &reference).await.unwrap();
    assert_eq!(code(client.get_manifest(&repo("a"), &reference).await), Code::TooManyRequests);
}

#[tokio::test]
async fn a_manifest_with_a_tag_stays_with_googles_own_words() {
    let (client, _server) = quirky(Profile::google()).await;
    let config = client.write_blob(&repo("a"), Bytes::from("{}")).await.unwrap();
    let image = manifest(&config, &config, None);
    client.put_manifest(&repo("a"), &image, PutManifest { tags: vec![tag("v1")], ..Default::default() }).await.unwrap();
    let error = client.delete_manifest(&repo("a"), &ManifestRef::Digest(image.digest().clone())).await.unwrap_err();
    assert_eq!(*error.code(), Code::Other("GOOGLE_MANIFEST_DANGLING_TAG".to_owned()));
    assert!(error.to_string().contains("tag: v1"), "{error}");
}

#[tokio::test]
async fn tags_that_do_not_move_are_an_error_of_the_registry() {
    let (client, _server) = quirky(Profile { immutable_tags: true, ..Profile::ecr() }).await;
    let config = client.write_blob(&repo("a"), Bytes::from("{}")).await.unwrap();
    let put = || async {
        let options = PutManifest { tags: vec![tag("v1")], ..Default::default() };
        client.put_manifest(&repo("a"), &manifest(&config, &config, None), options).await
    };
    put().await.unwrap();
    assert_eq!(code(put().await), Code::Other("TAG_INVALID".to_owned()));
}

fn result<T>(result: Result<T>) -> Result<T, Code> {
    result.map_err(|error| error.code().clone())
}

fn source(bytes: &Bytes) -> impl Fn(std::ops::Range<u64>) -> Body + Send + Sync + use<> {
    let bytes = bytes.clone();
    move |range| Body::from(bytes.slice(range.start as usize..range.end as usize))
}

/// The manifest of an image, about another one if it has a subject.
fn manifest(config: &Descriptor, layer: &Descriptor, subject: Option<&Descriptor>) -> Manifest {
    let config = Descriptor { media_type: "application/vnd.oci.image.config.v1+json".to_owned(), ..config.clone() };
    content(config, vec![layer.clone()], subject.cloned())
}

/// The manifest of something that is no image.
fn other(config: &Descriptor) -> Manifest {
    content(
        Descriptor { media_type: "application/vnd.example.config.v1+json".to_owned(), ..config.clone() },
        vec![],
        None,
    )
}

fn content(config: Descriptor, layers: Vec<Descriptor>, subject: Option<Descriptor>) -> Manifest {
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::IMAGE.to_owned()),
        config: Some(config),
        layers: Some(layers),
        subject,
        ..Default::default()
    };
    Manifest::new(media_type::IMAGE, content.to_bytes())
}

/// Bytes that are the same each time and repeat nowhere.
fn noise(len: u64) -> Bytes {
    (0..len / 32).flat_map(|at| hash(at).into_iter()).collect::<Vec<_>>().into()
}

fn hash(at: u64) -> [u8; 32] {
    let digest = Digest::sha256(&at.to_le_bytes());
    let hex = digest.hex().as_bytes();
    std::array::from_fn(|index| hex[index].wrapping_mul(31) ^ hex[index + 32])
}
