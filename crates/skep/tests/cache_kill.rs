//! Processes that fill a cache are killed at any moment, and what is left is right.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use skep::Address;
use skep::Caches;
use skep::Client;
use skep_registry::Store;
use skep_registry::StoreOptions;
use support::Served;
use support::noise;
use support::push;
use support::with;
use tempfile::tempdir;

/// Says to a process that it is one of those to be killed: the address, the directory and the original.
const VICTIM: &str = "SKEP_TEST_VICTIM";

/// So small that something is always to be removed, and so always to be written.
const STORE: StoreOptions = StoreOptions { max_bytes: 3 << 20 };

const VICTIMS: u64 = 30;

fn client(dir: &Path) -> Client {
    with(Caches::in_dir(dir, STORE).unwrap())
}

/// Reads every file and compares it.
async fn check(client: &Client, address: &Address, original: &Path) {
    let pulled = client.pull(address).await.unwrap();
    let paths: Vec<_> = pulled.entries().map(|entry| entry.path.to_owned()).collect();
    for path in paths {
        assert!(pulled.read(&path).await.unwrap() == fs::read(original.join(&path)).unwrap(), "{path}");
    }
}

/// Does nothing unless it is told to by its environment.
#[tokio::test]
async fn victim() {
    let Ok(order) = std::env::var(VICTIM) else { return };
    let [address, dir, original] = order.split('\n').collect::<Vec<_>>()[..] else { panic!("{order}") };
    loop {
        check(&client(Path::new(dir)), &address.parse().unwrap(), Path::new(original)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_leave_nothing_that_is_wrong() {
    let (served, tree, dir) = (Served::new().await, tempdir().unwrap(), tempdir().unwrap());
    for number in 0..60u64 {
        let len = if number % 10 == 0 { 1_500_000 } else { 20_000 };
        fs::write(tree.path().join(format!("{number:02}")), noise(len, number)).unwrap();
    }
    let v1 = served.address("v1");
    push(&Client::default(), tree.path(), &v1).await;
    let order = format!("{v1}\n{}\n{}", dir.path().display(), tree.path().display());
    for number in 0..VICTIMS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "victim"]).env(VICTIM, &order).stdout(Stdio::null()).stderr(Stdio::piped());
        // Two at a time, so that one is killed while the other goes on.
        let mut victims = [command.spawn().unwrap(), command.spawn().unwrap()];
        for (at, victim) in victims.iter_mut().enumerate() {
            // Spread over what starting and one round take, in no order that has to do with either.
            tokio::time::sleep(Duration::from_millis(20 + (number * 37 + at as u64 * 11) % 90)).await;
            victim.kill().unwrap();
        }
        for victim in victims {
            let came = victim.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&came.stderr);
            assert!(came.status.code().is_none() && !said.contains("panicked"), "it ended by itself: {said}");
        }
        if number % 10 == 0 {
            check(&client(dir.path()), &v1, tree.path()).await;
        }
    }
    let store = Store::open(dir.path(), STORE).unwrap();
    let before = store.stats().await;
    assert!(before.entries > 0 && before.bytes <= STORE.max_bytes, "{before:?}");
    let checked = store.verify().await.unwrap();
    // What has its name was written whole before; nothing is given that is not.
    assert_eq!(checked.broken, 0);
    let on_disk: u64 = files_in(dir.path());
    assert!(on_disk <= STORE.max_bytes, "{on_disk}");
    check(&client(dir.path()), &v1, tree.path()).await;
}

/// Bytes of the values in a store, without what was being written.
fn files_in(dir: &Path) -> u64 {
    let shards = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    let shards = shards.filter(|path| path.is_dir() && !path.ends_with("tmp"));
    shards.flat_map(|shard| support::files_below(&shard)).map(|path| path.metadata().unwrap().len()).sum()
}
