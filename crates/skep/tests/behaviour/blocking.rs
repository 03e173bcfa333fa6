//! The client that waits does what the other one does.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::sync::Arc;

use crate::support::Served;
use crate::support::noise;
use crate::support::site;
use skep::Address;
use skep::ErrorKind;
use skep::ExtractOptions;
use skep::PullOptions;
use skep::PushOptions;
use skep::blocking::Client;
use skep_registry::Registry;
use tempfile::tempdir;

#[test]
fn everything_can_be_waited_for() {
    let (site, dir) = (site(), tempdir().unwrap());
    let address: Address = format!("oci:{}:v1", dir.path().join("store").display()).parse().unwrap();
    let client = Client::default();
    let pushed = client.push(site.path(), &address, PushOptions::default(), Arc::new(|_| {})).unwrap();
    let digest = pushed.manifest.digest;
    let again = client.tag(&address, &["v2".parse().unwrap()], false).unwrap();
    assert_eq!((again, client.fetch(&address).unwrap().descriptor.digest), (digest.clone(), digest.clone()));
    assert_eq!(client.inspect(&address).unwrap().files, 12);
    assert!(client.referrers(&address, None).unwrap().is_empty());
    let pulled = client.pull_with(&address.at(digest.clone()), PullOptions::default()).unwrap();
    // It works on when the client is gone.
    drop(client);
    assert_eq!((pulled.digest(), pulled.entries().len()), (&digest, 12));
    assert_eq!(pulled.read("page").unwrap(), "hello");
    assert!(pulled.read_range("picture", 1_000_000..2_000_000).unwrap() == noise(3_300_001, 1)[1_000_000..2_000_000]);
    let many: Vec<_> = pulled.read_many(["page", "some-3"]).unwrap().map(|file| file.unwrap().0).collect();
    assert_eq!(many, ["page", "some-3"]);
    assert_eq!(pulled.read("nothing").unwrap_err().kind(), ErrorKind::NotFound);
    pulled.extract(&dir.path().join("copy"), ExtractOptions::default(), Arc::new(|_| {})).unwrap();
    assert_eq!(fs::read(dir.path().join("copy/page")).unwrap(), b"hello");
}

/// A registry, what is served by it, and a runtime that keeps it going.
fn served() -> (tokio::runtime::Runtime, Served) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(Served::new());
    (runtime, served)
}

#[test]
fn a_file_is_read_from_anywhere_with_few_requests() {
    let ((_runtime, served), site) = (served(), site());
    let (client, address) = (Client::default(), served.address("v1"));
    client.push(site.path(), &address, PushOptions::default(), Arc::new(|_| {})).unwrap();
    let pulled = client.pull(&address).unwrap();
    let want = noise(3_300_001, 1);
    served.calls();
    let mut file = pulled.open("picture").unwrap();
    assert_eq!(file.size(), 3_300_001);
    let mut content = Vec::new();
    let mut small = [0; 1000];
    loop {
        match file.read(&mut small).unwrap() {
            0 => break,
            count => content.extend_from_slice(&small[..count]),
        }
    }
    assert!(content == want);
    assert_eq!(served.calls(), ["get_blob part"]);

    let part = |file: &mut skep::blocking::File, at: SeekFrom| {
        let position = file.seek(at).unwrap();
        let mut bytes = [0; 100];
        file.read_exact(&mut bytes).unwrap();
        assert!(bytes[..] == want[position as usize..][..100], "{position}");
    };
    part(&mut file, SeekFrom::Start(2_500_000));
    part(&mut file, SeekFrom::Current(100));
    assert_eq!(served.calls(), ["get_blob part"], "a little ahead is no new request");
    part(&mut file, SeekFrom::End(-100));
    part(&mut file, SeekFrom::Start(0));
    assert_eq!(served.calls().len(), 2);
    assert_eq!(file.seek(SeekFrom::End(5)).unwrap(), 3_300_006);
    assert_eq!(file.read(&mut small).unwrap(), 0);
    assert_eq!(file.seek(SeekFrom::Start(0)).unwrap(), 0);
    assert_eq!(file.seek(SeekFrom::Current(-1)).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(pulled.open("nothing").unwrap_err().kind(), ErrorKind::NotFound);

    // What is gone from the registry is said.
    let (registry, repo) = client.client().registry(&address.store).unwrap();
    let data = pulled.manifest().data.digest.clone();
    client.wait(async move { registry.delete_blob(&repo, &data).await }).unwrap();
    let error = pulled.open("page").unwrap().read(&mut small).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn it_may_be_used_and_dropped_on_a_thread_of_a_runtime() {
    let (site, dir) = (site(), tempdir().unwrap());
    let address: Address = format!("oci:{}:v1", dir.path().join("store").display()).parse().unwrap();
    let client = Client::default();
    client.push(site.path(), &address, PushOptions::default(), Arc::new(|_| {})).unwrap();
    assert_eq!(client.pull(&address).unwrap().read("page").unwrap(), "hello");
    drop(client);
}

#[test]
fn a_panic_is_passed_on() {
    let client = Client::default();
    let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.wait(async { panic!("on purpose") })));
    assert_eq!(*came.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
    assert_eq!(client.wait(async { 7 }), 7);
}
