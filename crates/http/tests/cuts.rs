//! Large blobs arrive over links that are cut and in processes that are killed, and hardly a byte goes twice.
//!
//! `bench/cuts` runs this with a blob of 1 GiB: `SKEP_CUTS_MIB=1024 SKEP_CUTS=200`.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Proxies;
use skep_http::Server;
use skep_http::testing::Link;
use skep_http::testing::LinkOptions;
use skep_registry::Descriptor;
use skep_registry::Hasher;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::OCTET_STREAM;
use skep_registry::RegistryExt;
use skep_registry::transfer::DownloadOptions;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::download_to_file;
use skep_registry::transfer::file_source;
use skep_registry::transfer::upload;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A registry on disk behind a server, and a file that is a blob of its first repository.
struct World {
    dir: tempfile::TempDir,
    layout: Arc<Layout>,
    host: String,
    blob: Descriptor,
    served: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blob = write_noise(&dir.path().join("file"));
        let layout = Arc::new(Layout::tree(dir.path().join("registry"), LayoutOptions::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = Server::new(layout.clone());
        let served = tokio::spawn(async move {
            skep_http::serve(listener, server, std::future::pending()).await.unwrap();
        });
        Self { dir, layout, host, blob, served }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("file")
    }

    /// Puts the blob where it can be pulled from.
    async fn store(&self) {
        let place = Place::new(self.layout.clone(), "pull".parse().unwrap());
        upload(&place, &self.blob, file_source(self.file()), &UploadSettings::default()).await.unwrap();
    }

    async fn link(&self, cuts: Option<u64>) -> Link {
        let mean = |cuts: u64| size() * 8 / 9 / cuts;
        let cut = cuts.map(|cuts| mean(cuts) * 2 / 9..mean(cuts) * 16 / 9);
        Link::to(&self.host, LinkOptions { cut, rate: Some(RATE), seed: 1, ..Default::default() }).await.unwrap()
    }

    /// A process that pulls or pushes, and can be killed.
    fn child(&self, what: &str, link: &Link) -> Child {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("SKEP_CUTS_CHILD", what)
            .env("SKEP_CUTS_HOST", link.host())
            .env("SKEP_CUTS_DIR", self.dir.path())
            .env("SKEP_CUTS_DIGEST", self.blob.digest.as_str())
            .stdout(Stdio::null())
            .spawn();
        child.unwrap()
    }

    /// Lets a process do it that is killed several times; how often it was started.
    async fn through_deaths(&self, what: &str, link: &Link) -> u64 {
        for life in 1.. {
            let mut child = self.child(what, link);
            let death = link.up() + link.down() + size() / (DEATHS + 1);
            let ended = loop {
                tokio::select! {
                    () = link.until(death), if life <= DEATHS => {
                        // SIGKILL: nothing is tidied up.
                        child.kill().unwrap();
                        child.wait().unwrap();
                        break None;
                    }
                    () = tokio::time::sleep(Duration::from_millis(10)) => {
                        if let Some(status) = child.try_wait().unwrap() {
                            break Some(status);
                        }
                    }
                }
            };
            match ended {
                None => {}
                Some(status) if status.success() => return life,
                Some(status) => panic!("{what} ended with {status}"),
            }
        }
        unreachable!("lives are without number")
    }

    async fn is_pushed(&self) -> bool {
        self.layout.has_blob(&"push".parse().unwrap(), &self.blob.digest).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.served.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_pulled_through_cuts() {
    let world = World::new().await;
    world.store().await;
    let link = world.link(Some(cuts())).await;
    pull(link.host(), &world.blob, &world.dir.path().join("pulled")).await;
    assert_eq!(hash(&world.dir.path().join("pulled")), world.blob);
    judge("pulled", &link, link.down());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_pushed_through_cuts() {
    let world = World::new().await;
    let link = world.link(Some(cuts())).await;
    push(link.host(), &world.blob, world.dir.path()).await;
    assert!(world.is_pushed().await);
    judge("pushed", &link, link.up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_pulled_by_processes_that_are_killed() {
    let world = World::new().await;
    world.store().await;
    let link = world.link(None).await;
    let lives = world.through_deaths("pull", &link).await;
    assert_eq!(hash(&world.dir.path().join("pulled")), world.blob);
    assert!(lives > DEATHS, "{lives} lives");
    judge(&format!("pulled in {lives} lives"), &link, link.down());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_pushed_by_processes_that_are_killed() {
    let world = World::new().await;
    let link = world.link(None).await;
    let lives = world.through_deaths("push", &link).await;
    assert!(world.is_pushed().await);
    assert!(lives > DEATHS, "{lives} lives");
    judge(&format!("pushed in {lives} lives"), &link, link.up());
}

/// What the processes do.
#[tokio::test]
#[ignore = "is what the others start"]
async fn child() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let (host, dir) = (variable("SKEP_CUTS_HOST"), PathBuf::from(variable("SKEP_CUTS_DIR")));
    let blob = Descriptor::new(OCTET_STREAM, variable("SKEP_CUTS_DIGEST").parse().unwrap(), size());
    match variable("SKEP_CUTS_CHILD").as_str() {
        "pull" => pull(&host, &blob, &dir.join("pulled")).await,
        _ => push(&host, &blob, &dir).await,
    }
}

async fn pull(host: &str, blob: &Descriptor, path: &Path) {
    // What is not durable when a process is killed comes again.
    let options = DownloadOptions { checkpoint: size() / 512, memory: size() / 128, ..DownloadOptions::default() };
    download_to_file(&place(host, "pull"), blob, path, &options).await.unwrap();
}

async fn push(host: &str, blob: &Descriptor, dir: &Path) {
    let settings = UploadSettings { journal: Some(dir.join("journal")), ..UploadSettings::default() };
    upload(&place(host, "push"), blob, file_source(dir.join("file")), &settings).await.unwrap();
}

fn place(host: &str, repo: &str) -> Place {
    let options = ClientOptions { certs_dirs: Vec::new(), proxies: Proxies::default(), ..ClientOptions::default() };
    Place::new(Arc::new(Client::new(host, options).unwrap()), repo.parse().unwrap())
}

/// Says what passed, and holds it to 5 % more than the blob, or to what is on its way to the disk at each death.
fn judge(what: &str, link: &Link, moved: u64) {
    let again = moved.saturating_sub(size());
    let share = again as f64 / size() as f64 * 100.0;
    println!("{} MiB {what}, {} cuts: {again} bytes more than the blob, {share:.2} %", size() >> 20, link.cuts());
    let (wanted, most) =
        if what.contains("lives") { (0, (size() / 20).max(DEATHS * UNSYNCED)) } else { (cuts(), size() / 20) };
    assert!(moved >= size() && again <= most, "{what}: {moved} bytes of {}, {share:.2} %", size());
    assert!(link.cuts() >= wanted, "{what}: {} cuts", link.cuts());
}

/// Fills a file with bytes of which no 4 KiB are the same as others.
fn write_noise(path: &Path) -> Descriptor {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let page: Vec<u8> = (0..4088u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for at in 0..size() / 4096 {
        file.write_all(&at.to_le_bytes()).unwrap();
        file.write_all(&page).unwrap();
    }
    file.flush().unwrap();
    hash(path)
}

fn hash(path: &Path) -> Descriptor {
    let mut file = std::fs::File::open(path).unwrap();
    let (mut hasher, mut buffer) = (Hasher::new(Default::default()), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            let size = hasher.len();
            return Descriptor::new(OCTET_STREAM, hasher.finish(), size);
        }
        hasher.update(&buffer[..read]);
    }
}

/// Bytes of the blob.
fn size() -> u64 {
    number("SKEP_CUTS_MIB", 64) << 20
}

/// How often the link is cut at least.
fn cuts() -> u64 {
    number("SKEP_CUTS", 40)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// How often a process is killed.
const DEATHS: u64 = 5;
/// Bytes that a disk takes a moment to make durable.
const UNSYNCED: u64 = 3 << 20;
/// Bytes a second over one connection, of about what a good link has.
const RATE: u64 = 100 << 20;
