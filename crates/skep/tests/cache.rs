//! What a client remembers is not asked for again; what it must not believe is.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use skep::Address;
use skep::Caches;
use skep::Client;
use skep::ErrorKind;
use skep::PullOptions;
use skep_registry::MemoryStore;
use skep_registry::Registry;
use skep_registry::Store;
use support::Served;
use support::caching;
use support::files_below;
use support::noise;
use support::push;
use support::site;
use support::with;
use tempfile::tempdir;

const COLD: [&str; 3] = ["get_manifest", "get_blob", "get_blob part"];
const NOTHING: [&str; 0] = [];

fn fresh() -> PullOptions {
    PullOptions { fresh: true, ..Default::default() }
}

#[tokio::test]
async fn a_cold_read_is_three_requests_and_a_warm_one_none() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    push(&Client::default(), site.path(), &v1).await;
    served.calls();
    let client = caching(dir.path());
    assert_eq!(client.pull(&v1).await.unwrap().read("page").await.unwrap(), "hello");
    assert_eq!(served.calls(), COLD);
    assert_eq!(client.pull(&v1).await.unwrap().read("page").await.unwrap(), "hello");
    // As another process would.
    let other = caching(dir.path());
    assert_eq!(other.pull(&v1).await.unwrap().read("page").await.unwrap(), "hello");
    assert_eq!(other.inspect(&v1).await.unwrap().files, 12);
    other.fetch(&v1).await.unwrap();
    // However its address is written.
    let written: Address = format!("http://{v1}").parse().unwrap();
    other.pull(&written).await.unwrap();
    assert_eq!(served.calls(), NOTHING);
    // What was not read yet is one request more.
    assert!(other.pull(&v1).await.unwrap().read("picture").await.unwrap() == noise(3_300_001, 1));
    assert_eq!(served.calls(), ["get_blob part"]);
}

#[tokio::test]
async fn without_caches_nothing_is_remembered() {
    let (served, site) = (Served::new().await, site());
    let v1 = served.address("v1");
    let client = Client::default();
    push(&client, site.path(), &v1).await;
    served.calls();
    for _ in 0..2 {
        client.pull(&v1).await.unwrap().read("page").await.unwrap();
        assert_eq!(served.calls(), COLD);
    }
}

#[tokio::test]
async fn a_tag_that_moves_through_the_store_is_seen_at_once() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let (v1, v2) = (served.address("v1"), served.address("v2"));
    let (client, other) = (caching(dir.path()), caching(dir.path()));
    for round in 0..3 {
        fs::write(site.path().join("page"), format!("round {round}")).unwrap();
        let pushed = push(if round == 1 { &other } else { &client }, site.path(), &v1).await;
        for reader in [&client, &other, &caching(dir.path())] {
            let pulled = reader.pull(&v1).await.unwrap();
            assert_eq!(pulled.digest(), &pushed.manifest.digest);
            assert_eq!(pulled.read("page").await.unwrap(), format!("round {round}"));
        }
        other.tag(&v1, &["v2".parse().unwrap()], false).await.unwrap();
        for reader in [&client, &other] {
            assert_eq!(reader.pull(&v2).await.unwrap().digest(), &pushed.manifest.digest);
        }
    }
    // Also one that is removed.
    let (registry, repo) = client.registry(&v2.store).unwrap();
    registry.delete_manifest(&repo, &v2.manifest()).await.unwrap();
    assert_eq!(other.pull(&v2).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_tag_that_others_move_is_seen_when_it_is_asked_for_or_after_its_lifetime() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    let (client, foreign) = (caching(dir.path()), Client::default());
    let one = push(&foreign, site.path(), &v1).await.manifest.digest;
    assert_eq!(client.pull(&v1).await.unwrap().digest(), &one);
    fs::write(site.path().join("page"), "moved").unwrap();
    let two = push(&foreign, site.path(), &v1).await.manifest.digest;
    served.calls();
    assert_eq!(client.pull(&v1).await.unwrap().digest(), &one);
    assert_eq!(served.calls(), NOTHING);
    assert_eq!(client.fetch_with(&v1, fresh()).await.unwrap().descriptor.digest, two);
    assert_eq!(served.calls(), ["head_manifest", "get_manifest"]);
    // From then on for those who only look.
    assert_eq!(client.pull(&v1).await.unwrap().digest(), &two);
    assert_eq!(served.calls(), ["get_blob"]);
    // And when it has not moved it is one request.
    client.pull_with(&v1, fresh()).await.unwrap();
    assert_eq!(served.calls(), ["head_manifest"]);

    fs::write(site.path().join("page"), "moved again").unwrap();
    let three = push(&foreign, site.path(), &v1).await.manifest.digest;
    let brief = Caches { tag_lifetime: Duration::ZERO, ..Caches::in_dir(dir.path(), Default::default()).unwrap() };
    assert_eq!(with(brief).pull(&v1).await.unwrap().digest(), &three);
}

#[tokio::test]
async fn who_acts_asks_where_a_tag_points() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    let (client, foreign) = (caching(dir.path()), Client::default());
    push(&foreign, site.path(), &v1).await;
    client.pull(&v1).await.unwrap();
    fs::write(site.path().join("page"), "moved").unwrap();
    let moved = push(&foreign, site.path(), &v1).await.manifest.digest;
    served.calls();
    // A tag that is given now is given to what is there now; so is a signature, which reads referrers.
    assert_eq!(client.tag(&v1, &["stable".parse().unwrap()], false).await.unwrap(), moved);
    assert_eq!(served.calls(), ["head_manifest", "get_manifest", "put_manifest"]);
    assert!(client.referrers(&v1, None).await.unwrap().is_empty());
    assert_eq!(served.calls(), ["head_manifest", "list_referrers"]);
    let (registry, repo) = client.registry(&v1.store).unwrap();
    assert_eq!(registry.head_manifest(&repo, &v1.manifest()).await.unwrap().digest, moved);
    assert_eq!(served.calls(), ["head_manifest"]);
    // Whether the registry has something is not remembered for those who push.
    registry.head_manifest(&repo, &moved.clone().into()).await.unwrap();
    assert_eq!(served.calls(), ["head_manifest"]);
    // A push that finds the tag where it wants it reads what is there and sends nothing, and tells those who look.
    fs::write(site.path().join("page"), "once more").unwrap();
    let last = push(&foreign, site.path(), &v1).await.manifest.digest;
    served.calls();
    assert_eq!(push(&client, site.path(), &v1).await.sent_blobs, 0);
    assert_eq!(served.calls(), ["head_manifest", "get_manifest", "get_blob"]);
    assert_eq!(push(&client, site.path(), &v1).await.sent_blobs, 0);
    assert_eq!(served.calls(), ["head_manifest"]);
    assert_eq!(client.pull(&v1).await.unwrap().digest(), &last);
}

#[tokio::test]
async fn offline_everything_that_was_read_is_there_and_nothing_is_asked() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    let warm = with(Caches { tag_lifetime: Duration::ZERO, ..Caches::in_dir(dir.path(), Default::default()).unwrap() });
    let digest = push(&warm, site.path(), &v1).await.manifest.digest;
    let pulled = warm.pull(&v1).await.unwrap();
    pulled.read("page").await.unwrap();
    pulled.read("picture").await.unwrap();
    served.calls();
    let offline = with(Caches { offline: true, ..Caches::in_dir(dir.path(), Default::default()).unwrap() });
    for options in [PullOptions::default(), fresh(), PullOptions { skip_caches: true, ..Default::default() }] {
        let pulled = offline.pull_with(&v1, options).await.unwrap();
        assert_eq!(pulled.digest(), &digest);
    }
    let pulled = offline.pull(&v1.at(digest)).await.unwrap();
    assert_eq!(pulled.read("page").await.unwrap(), "hello");
    assert!(pulled.read("picture").await.unwrap() == noise(3_300_001, 1));
    let error = pulled.read("some-3").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("offline: "), "{error}");
    let error = offline.pull(&served.address("v2")).await.unwrap_err();
    assert!(error.to_string().contains("offline: tag v2 of team/site is not in the cache"), "{error}");
    let pushed = offline.push(site.path(), &v1, Default::default(), Arc::new(|_| {})).await;
    assert_eq!(pushed.unwrap_err().kind(), ErrorKind::Unavailable);
    let nothing = with(Caches { offline: true, ..Default::default() });
    assert_eq!(nothing.pull(&v1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(nothing.referrers(&v1, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(served.calls(), NOTHING);
}

#[tokio::test]
async fn caches_that_are_to_be_passed_by_are() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    let client = caching(dir.path());
    push(&client, site.path(), &v1).await;
    client.pull(&v1).await.unwrap().read("page").await.unwrap();
    served.calls();
    let files = files_below(dir.path()).len();
    for _ in 0..2 {
        let options = PullOptions { skip_caches: true, ..Default::default() };
        client.pull_with(&v1, options).await.unwrap().read("page").await.unwrap();
        assert_eq!(served.calls(), COLD);
    }
    assert_eq!(files_below(dir.path()).len(), files);
}

#[tokio::test]
async fn archives_share_content_and_limits_are_those_of_the_pull() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let (v1, v2) = (served.address("v1"), served.address("v2"));
    let client = caching(dir.path());
    push(&client, site.path(), &v1).await;
    fs::write(site.path().join("page"), "another").unwrap();
    push(&client, site.path(), &v2).await;
    client.pull(&v1).await.unwrap().read("picture").await.unwrap();
    let second = client.pull(&v2).await.unwrap();
    served.calls();
    assert!(second.read("picture").await.unwrap() == noise(3_300_001, 1));
    assert_eq!(served.calls(), NOTHING);
    let limits = Some(skep::Limits { entries: 3, ..Default::default() });
    let error = client.pull_with(&v2, PullOptions { limits, ..Default::default() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManyFiles);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_who_pull_and_read_at_once_are_three_requests() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    push(&Client::default(), site.path(), &v1).await;
    served.calls();
    let client = caching(dir.path());
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let (client, v1) = (client.clone(), v1.clone());
            tokio::spawn(async move { client.pull(&v1).await.unwrap().read("picture").await.unwrap() })
        })
        .collect();
    for reader in readers {
        assert!(reader.await.unwrap() == noise(3_300_001, 1));
    }
    assert_eq!(served.calls(), COLD);
}

#[tokio::test]
async fn blocks_bring_along_what_lies_beside() {
    let (served, site) = (Served::new().await, site());
    let v1 = served.address("v1");
    push(&Client::default(), site.path(), &v1).await;
    served.calls();
    let store: Arc<dyn skep_registry::CacheStore> = Arc::new(MemoryStore::new(64 << 20));
    let client = with(Caches { blocks: Some(store.clone()), ..Caches::over(store) });
    let pulled = client.pull(&v1).await.unwrap();
    assert!(pulled.read("some-3").await.unwrap() == noise(3000, 3));
    assert_eq!(served.calls(), COLD);
    assert!(pulled.read("some-4").await.unwrap() == noise(3000, 4));
    assert_eq!(served.calls(), NOTHING);
}

#[tokio::test]
async fn a_broken_store_costs_requests_and_no_answer() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    push(&Client::default(), site.path(), &v1).await;
    caching(dir.path()).pull(&v1).await.unwrap().read("picture").await.unwrap();
    for (at, path) in files_below(dir.path()).iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        match at % 3 {
            0 => bytes.truncate(middle),
            1 => bytes[middle] ^= 0x10,
            _ => bytes.extend_from_slice(b"more"),
        }
        fs::write(path, bytes).unwrap();
    }
    let client = caching(dir.path());
    assert!(client.pull(&v1).await.unwrap().read("picture").await.unwrap() == noise(3_300_001, 1));
    let check = Store::open(dir.path(), Default::default()).unwrap().verify().await.unwrap();
    assert_eq!(check.broken, 0, "what was broken was replaced");
    served.calls();
    client.pull(&v1).await.unwrap().read("picture").await.unwrap();
    assert_eq!(served.calls(), NOTHING);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_costs_requests_only() {
    let (served, site, dir) = (Served::new().await, site(), tempdir().unwrap());
    let v1 = served.address("v1");
    push(&Client::default(), site.path(), &v1).await;
    let place = dir.path().join("cache");
    fs::write(&place, "a file").unwrap();
    assert_eq!(Caches::in_dir(&place, Default::default()).unwrap_err().kind(), ErrorKind::Disk);
    fs::remove_file(&place).unwrap();
    let client = caching(&place);
    fs::write(&place, "a file").unwrap();
    assert_eq!(client.pull(&v1).await.unwrap().read("page").await.unwrap(), "hello");
    fs::remove_file(&place).unwrap();

    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o555)).unwrap();
    let client = caching(&place);
    for _ in 0..2 {
        assert_eq!(client.pull(&v1).await.unwrap().read("page").await.unwrap(), "hello");
    }
    push(&client, site.path(), &v1).await;
    client.tag(&v1, &["v2".parse().unwrap()], false).await.unwrap();
}

#[tokio::test]
async fn nothing_of_layouts_is_kept() {
    let (site, dir) = (site(), tempdir().unwrap());
    let cache = dir.path().join("cache");
    let client = caching(&cache);
    let address: Address = format!("oci:{}:v1", dir.path().join("store").display()).parse().unwrap();
    push(&client, site.path(), &address).await;
    client.pull(&address).await.unwrap().read("page").await.unwrap();
    assert!(!cache.exists());
    // They are here, so they are read without a network.
    let offline = with(Caches { offline: true, ..Caches::in_dir(&cache, Default::default()).unwrap() });
    assert_eq!(offline.pull(&address).await.unwrap().read("page").await.unwrap(), "hello");
}

#[tokio::test]
async fn an_archive_is_inspected_with_what_refers_to_it() {
    let (served, site) = (Served::new().await, site());
    let v1 = served.address("v1");
    let client = Client::default();
    push(&client, site.path(), &v1).await;
    let inspected = client.inspect(&v1).await.unwrap();
    assert_eq!((inspected.files, inspected.original_size), (12, 5 + 3_300_001 + 30_000));
    assert_eq!((inspected.stored_size, inspected.data_size()), (inspected.original_size, inspected.original_size));
    assert!(inspected.index_size() > 0 && inspected.created().is_some() && inspected.ratio() == 1.0);
    for kind in ["application/x-one", "application/x-two"] {
        let content = skep_registry::ManifestContent {
            schema_version: 2,
            artifact_type: Some(kind.to_owned()),
            config: Some(inspected.manifest.index.clone()),
            layers: Some(vec![]),
            subject: Some(inspected.manifest.descriptor.clone()),
            ..Default::default()
        };
        let manifest = skep_registry::Manifest::new(skep_registry::media_type::IMAGE, content.to_bytes());
        let (registry, repo) = client.registry(&v1.store).unwrap();
        registry.put_manifest(&repo, &manifest, Default::default()).await.unwrap();
    }
    assert_eq!(inspected.referrers(None).await.unwrap().len(), 2);
    let one = inspected.referrers(Some("application/x-one")).await.unwrap();
    assert_eq!(one[0].artifact_type.as_deref(), Some("application/x-one"));
    assert_eq!(one.len(), 1);
    assert_eq!(client.referrers(&v1, None).await.unwrap().len(), 2);
    assert_eq!(client.referrers(&served.address("v9"), None).await.unwrap_err().kind(), ErrorKind::NotFound);
}
