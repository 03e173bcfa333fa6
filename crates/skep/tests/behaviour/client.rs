//! The client, against a layout and against a server over memory.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use skep::Address;
use skep::Client;
use skep::ClientOptions;
use skep::Error;
use skep::ExtractOptions;
use skep::OnProgress;
use skep::PushOptions;
use skep_http::Server;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::Memory;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::media_type;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;

fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

fn site() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/one"), "one").unwrap();
    fs::write(dir.path().join("a.two"), "two").unwrap();
    dir
}

/// A registry behind HTTP, and the address of a repository in it.
async fn served() -> (Memory, Address) {
    let memory = Memory::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("{}/team/site:v1", listener.local_addr().unwrap()).parse().unwrap();
    let server = Server::new(Arc::new(memory.clone()));
    tokio::spawn(skep_http::serve(listener, server, std::future::pending()));
    (memory, address)
}

async fn push(client: &Client, dir: &Path, to: &Address) -> skep::Pushed {
    client.push(dir, to, PushOptions::default(), quiet()).await.unwrap()
}

async fn round_trips(address: &Address) {
    let (client, site, copy) = (Client::default(), site(), tempfile::tempdir().unwrap());
    let pushed = push(&client, site.path(), address).await;
    assert_eq!((pushed.summary.files, pushed.sent_blobs), (2, 3));
    assert_eq!(push(&client, site.path(), address).await.sent_blobs, 0);

    let pulled = Client::default().pull(address).await.unwrap();
    assert_eq!(pulled.digest(), &pushed.manifest.digest);
    assert_eq!(pulled.read("a.two").await.unwrap(), "two");
    let extracted = pulled.extract(copy.path(), ExtractOptions::default(), quiet()).await.unwrap();
    assert_eq!(extracted.files, 2);
    assert_eq!(fs::read(copy.path().join("a/one")).unwrap(), b"one");

    let inspected = client.inspect(address).await.unwrap();
    assert_eq!((inspected.files, inspected.directories, inspected.original_size), (2, 1, 6));
    assert_eq!(client.fetch(address).await.unwrap().descriptor, pushed.manifest);
}

#[tokio::test]
async fn archives_round_trip_through_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    round_trips(&format!("oci:{}:v1", dir.path().join("store").display()).parse().unwrap()).await;
}

#[tokio::test]
async fn archives_round_trip_through_a_registry() {
    let (_memory, address) = served().await;
    round_trips(&address).await;
}

#[tokio::test]
async fn a_moved_tag_is_seen_at_once() {
    let (_memory, address) = served().await;
    let (client, site) = (Client::default(), site());
    let one = push(&client, site.path(), &address).await;
    assert_eq!(client.pull(&address).await.unwrap().digest(), &one.manifest.digest);
    fs::write(site.path().join("a.two"), "2").unwrap();
    let two = push(&client, site.path(), &address).await;
    assert_eq!(client.pull(&address).await.unwrap().digest(), &two.manifest.digest);
    let old = client.pull(&address.at(one.manifest.digest)).await.unwrap();
    assert_eq!(old.read("a.two").await.unwrap(), "two");
}

#[tokio::test]
async fn tags_that_exist_are_not_moved_unless_wanted() {
    let (_memory, address) = served().await;
    let (client, site) = (Client::default(), site());
    let one = push(&client, site.path(), &address).await.manifest.digest;
    let stable = "stable".parse().unwrap();
    assert_eq!(client.tag(&address, std::slice::from_ref(&stable), true).await.unwrap(), one);
    fs::write(site.path().join("a.two"), "2").unwrap();
    let options = PushOptions { tags: vec![stable], if_absent: true, ..Default::default() };
    let fresh: Address = address.to_string().replace(":v1", ":v2").parse().unwrap();
    let error = client.push(site.path(), &fresh, options, quiet()).await.unwrap_err();
    let Error::Registry(error) = error else { panic!("{error}") };
    assert_eq!(error.code(), &Code::PreconditionFailed);
    assert!(client.pull(&fresh).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    let (memory, address) = served().await;
    let repo = "team/site".parse().unwrap();
    let config = memory.write_blob(&repo, "{}".into()).await.unwrap();
    let content = ManifestContent {
        schema_version: 2,
        config: Some(Descriptor { media_type: "application/vnd.oci.image.config.v1+json".to_owned(), ..config }),
        layers: Some(vec![]),
        ..Default::default()
    };
    let manifest = Manifest::new(media_type::IMAGE, content.to_bytes());
    let options = PutManifest { tags: vec!["v1".parse().unwrap()], ..Default::default() };
    memory.put_manifest(&repo, &manifest, options).await.unwrap();
    let error = Client::default().pull(&address).await.unwrap_err();
    assert!(matches!(error, Error::InvalidManifest { .. }), "{error}");
}

#[tokio::test]
async fn a_directory_that_is_not_there_pushes_nothing() {
    let (memory, address) = served().await;
    let error = Client::default().push(Path::new("/no/where"), &address, PushOptions::default(), quiet()).await;
    assert!(matches!(error.unwrap_err(), Error::Io { .. }));
    assert!(memory.list_repos(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_client_says_who_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = format!("{}/team/site:v1", listener.local_addr().unwrap()).parse().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = String::new();
        let mut lines = BufReader::new(&mut stream).lines();
        while let Some(line) = lines.next_line().await.unwrap()
            && !line.is_empty()
        {
            head += &format!("{}\n", line.to_lowercase());
        }
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        head
    });
    let options = ClientOptions { user_agent: Some("hive/7".to_owned()), ..Default::default() };
    assert!(Client::new(options).pull(&address).await.unwrap_err().is_not_found());
    let head = asked.await.unwrap();
    assert!(head.contains("user-agent: hive/7\n"), "{head}");
}

/// Options with which nothing can be packed.
fn without_packing() -> PushOptions {
    let mut options = PushOptions::default();
    options.build.spool_dir = Some("/does/not/exist".into());
    options
}

#[tokio::test]
async fn a_directory_that_is_there_already_is_not_packed() {
    let (_memory, address) = served().await;
    let (client, site) = (Client::default(), site());
    let push = async |to: &Address, options: PushOptions| client.push(site.path(), to, options, quiet()).await;
    assert!(matches!(push(&address, without_packing()).await, Err(Error::Io { .. })));
    let first = push(&address, PushOptions::default()).await.unwrap();
    let again = push(&address, without_packing()).await.unwrap();
    assert_eq!((&again.manifest, &again.summary, again.sent_blobs), (&first.manifest, &first.summary, 0));

    // Another tag, or another annotation, is no reason either.
    let tagged = PushOptions { tags: vec!["stable".parse().unwrap()], ..without_packing() };
    assert_eq!(push(&address, tagged).await.unwrap().manifest, first.manifest);
    let stable: Address = address.to_string().replace(":v1", ":stable").parse().unwrap();
    assert_eq!(client.fetch(&stable).await.unwrap().descriptor, first.manifest);
    let annotations = [("key".to_owned(), "value".to_owned())].into();
    let annotated = push(&address, PushOptions { annotations, ..without_packing() }).await.unwrap();
    assert_ne!(annotated.manifest, first.manifest);
    assert_eq!(client.pull(&address).await.unwrap().read("a.two").await.unwrap(), "two");
}

#[tokio::test]
async fn a_directory_that_changed_in_any_way_is_packed() {
    use std::os::unix::fs::PermissionsExt;
    type Change<'a> = Box<dyn Fn() + 'a>;

    let (_memory, address) = served().await;
    let (client, site) = (Client::default(), site());
    let path = site.path().to_owned();
    std::os::unix::fs::symlink("one", path.join("a/link")).unwrap();
    let two = path.join("a.two");
    let at = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let set = |path: &Path, time| fs::File::open(path).unwrap().set_modified(time).unwrap();
    let changes: [(&str, Change<'_>); 7] = [
        ("content of the same size, in the same second", {
            let (two, time) = (two.clone(), at(&two));
            Box::new(move || {
                fs::write(&two, "TWO").unwrap();
                set(&two, time);
            })
        }),
        ("size", Box::new(|| fs::write(&two, "three").unwrap())),
        ("mode", Box::new(|| fs::set_permissions(&two, PermissionsExt::from_mode(0o600)).unwrap())),
        ("time", Box::new(|| set(&two, std::time::UNIX_EPOCH))),
        ("a new file", Box::new(|| fs::write(path.join("new"), "").unwrap())),
        ("a file that goes", Box::new(|| fs::remove_file(path.join("new")).unwrap())),
        (
            "a link",
            Box::new(|| {
                fs::remove_file(path.join("a/link")).unwrap();
                std::os::unix::fs::symlink("two", path.join("a/link")).unwrap();
            }),
        ),
    ];
    for (what, change) in changes {
        client.push(&path, &address, PushOptions::default(), quiet()).await.unwrap();
        assert!(client.push(&path, &address, without_packing(), quiet()).await.is_ok(), "before {what}");
        change();
        let pushed = client.push(&path, &address, without_packing(), quiet()).await;
        assert!(matches!(pushed, Err(Error::Io { .. })), "{what}: {pushed:?}");
    }
    let mut raw = without_packing();
    client.push(&path, &address, PushOptions::default(), quiet()).await.unwrap();
    raw.build.reproducible = true;
    assert!(matches!(client.push(&path, &address, raw, quiet()).await, Err(Error::Io { .. })));
}

#[tokio::test]
async fn a_directory_that_is_to_be_compressed_and_was_not_is_packed() {
    let (_memory, address) = served().await;
    let (client, site) = (Client::default(), site());
    fs::write(site.path().join("text"), "a line that is there again and again\n".repeat(1000)).unwrap();
    let mut raw = PushOptions::default();
    raw.build.compression = skep::Compression::None;
    let wanted = PushOptions::default();
    for (first, then) in [(&raw, &wanted), (&wanted, &raw)] {
        let one = client.push(site.path(), &address, first.clone(), quiet()).await.unwrap();
        let two = client.push(site.path(), &address, then.clone(), quiet()).await.unwrap();
        assert_ne!(one.summary.stored_size, two.summary.stored_size);
    }
}
