//! `Store` is bounded, shared and checked, and never stands in the way of an answer.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use skep_registry::Algorithm;
use skep_registry::CacheStore;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Key;
use skep_registry::MAX_VALUE;
use skep_registry::MemoryStore;
use skep_registry::Store;
use skep_registry::StoreCheck;
use skep_registry::StoreOptions;

#[tokio::test]
async fn values_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let stores: [&dyn CacheStore; 2] = [&open(dir.path(), 1 << 20), &MemoryStore::new(1 << 20)];
    for store in stores {
        for algorithm in Algorithm::ALL {
            let keys = [
                Key::content("a", &Digest::of(algorithm, b"hello")),
                Key::block("a", &Digest::of(algorithm, b"blob"), 7),
                Key::note("a", &["tag", algorithm.as_str()]),
            ];
            for key in keys {
                assert!(!store.has(&key).await);
                assert_eq!(store.get(&key).await, None);
                store.put(&key, "hello".into()).await;
                assert!(store.has(&key).await);
                assert_eq!(store.get(&key).await.unwrap(), "hello");
                store.remove(&key).await;
                store.remove(&key).await;
                assert_eq!(store.get(&key).await, None);
            }
        }
        let note = Key::note("a", &["moves"]);
        for value in ["one", "", "three"] {
            store.put(&note, value.into()).await;
            assert_eq!(store.get(&note).await.unwrap(), value);
        }
    }
}

#[tokio::test]
async fn values_that_are_not_the_content_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::content("a", &Digest::sha256(b"hello"));
    let stores: [&dyn CacheStore; 2] = [&open(dir.path(), 1 << 20), &MemoryStore::new(1 << 20)];
    for store in stores {
        store.put(&key, "hellO".into()).await;
        assert_eq!(store.get(&key).await, None);
    }
}

#[tokio::test]
async fn values_outlive_the_handle_and_the_process() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), 1 << 20).put(&note(1), "hello".into()).await;
    let store = open(dir.path(), 1 << 20);
    assert_eq!(store.get(&note(1)).await.unwrap(), "hello");
    let stats = store.stats().await;
    assert_eq!((stats.entries, stats.max_bytes, stats.hits, stats.misses), (1, 1 << 20, 1, 0));
    assert_eq!(stats.bytes, on_disk(dir.path()));
}

#[tokio::test]
async fn opening_reads_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there");
    let store = open(&path, 1 << 20);
    assert_eq!((store.get(&note(1)).await, store.stats().await.entries), (None, 0));
    assert!(!path.exists());
    store.put(&note(1), "hello".into()).await;
    assert_eq!(store.get(&note(1)).await.unwrap(), "hello");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let error = Store::open(files(&path)[0].clone(), StoreOptions::default()).unwrap_err();
    assert_eq!(error.code(), &Code::Unknown);
}

#[tokio::test]
async fn the_store_never_outgrows_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let max = 100_000;
    let store = open(dir.path(), max);
    for at in 0..1000 {
        let value = Bytes::from(vec![at as u8; 500 + at % 700]);
        store.put(&note(at), value.clone()).await;
        assert_eq!(store.get(&note(at)).await.unwrap(), value, "what was just put is there");
        if at % 50 == 0 {
            assert!(on_disk(dir.path()) <= max, "{} bytes", on_disk(dir.path()));
        }
    }
    let stats = store.stats().await;
    assert_eq!((stats.bytes, stats.entries), (on_disk(dir.path()), files(dir.path()).len() as u64));
    assert!(stats.bytes > max * 3 / 4, "only {} bytes are left", stats.bytes);
    store.put(&note(1), vec![0; max as usize].into()).await;
    assert!(store.get(&note(1)).await.is_none_or(|value| value.len() < 2000), "too large for the store");
    assert_eq!(store.stats().await.bytes, stats.bytes);
}

#[tokio::test]
async fn what_was_used_last_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    for at in 0..20 {
        store.put(&note(at), vec![at as u8; 1000].into()).await;
    }
    for path in files(dir.path()) {
        let file = File::options().write(true).open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - Duration::from_secs(3600)).unwrap();
    }
    let used = [3, 0, 17];
    for at in used {
        store.get(&note(at)).await.unwrap();
    }
    store.prune(5500).await.unwrap();
    let mut left = Vec::new();
    for at in 0..20 {
        if store.has(&note(at)).await {
            left.push(at);
        }
    }
    // Besides those that were used, those that were written last.
    assert_eq!(left, [0, 3, 17, 18, 19]);
}

#[tokio::test]
async fn memory_forgets_what_was_not_used_for_longest() {
    let store = MemoryStore::new(3000);
    for at in 0..3 {
        store.put(&note(at), vec![at as u8; 1000].into()).await;
    }
    store.get(&note(0)).await.unwrap();
    store.put(&note(3), vec![3; 1000].into()).await;
    assert!(store.has(&note(0)).await && !store.has(&note(1)).await && store.has(&note(2)).await);
    store.put(&note(4), vec![4; 3001].into()).await;
    assert!(!store.has(&note(4)).await && store.has(&note(3)).await);
}

#[tokio::test]
async fn large_stores_evict_by_sample() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 30);
    for at in 0..2000 {
        store.put(&note(at), vec![0; 100].into()).await;
    }
    let total = store.stats().await.bytes;
    store.prune(total * 3 / 4).await.unwrap();
    let (mut old, mut young) = (0, 0);
    for at in 0..1000 {
        old += usize::from(store.has(&note(at)).await);
        young += usize::from(store.has(&note(1000 + at)).await);
    }
    assert!(young > old + 300, "{young} of the young half are left and {old} of the old");
    assert_eq!(store.stats().await.bytes, on_disk(dir.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_handles_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let max = 60_000;
    let tasks = (0..6).map(|task| {
        let store = open(dir.path(), max);
        tokio::spawn(async move {
            for at in 0..150 {
                let key = note((at * 7 + task) % 200);
                match store.get(&key).await {
                    Some(value) => assert_eq!(value, content((at * 7 + task) % 200)),
                    None => store.put(&key, content((at * 7 + task) % 200)).await,
                }
                if at % 40 == 39 {
                    store.remove(&key).await;
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let stats = open(dir.path(), max).stats().await;
    assert_eq!((stats.bytes, stats.entries), (on_disk(dir.path()), files(dir.path()).len() as u64));
    assert!(stats.bytes <= max);
    assert_eq!(dir.path().join("tmp").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn broken_files_are_misses_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    let damages: [fn(&Path); 6] = [
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, "garbage").unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| File::options().write(true).open(path).unwrap().set_len(75).unwrap(),
        |path| File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap(),
        |path| {
            fs::rename(path, path.with_extension("old")).unwrap();
            std::os::unix::fs::symlink(path.with_extension("old"), path).unwrap();
        },
    ];
    for damage in damages {
        store.put(&note(1), "hello".into()).await;
        damage(&files(dir.path())[0]);
        assert_eq!(store.get(&note(1)).await, None);
        store.put(&note(1), "hello".into()).await;
        assert_eq!(store.get(&note(1)).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn verify_finds_what_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    for at in 0..10 {
        store.put(&note(at), content(at)).await;
    }
    fs::write(&files(dir.path())[3], "garbage").unwrap();
    fs::remove_file(&files(dir.path())[7]).unwrap();
    assert_eq!(store.verify().await.unwrap(), StoreCheck { whole: 8, broken: 1 });
    assert_eq!(store.verify().await.unwrap(), StoreCheck { whole: 8, broken: 0 });
    let stats = store.stats().await;
    assert_eq!((stats.bytes, stats.entries), (on_disk(dir.path()), 8));
}

#[tokio::test]
async fn clear_removes_the_values_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    for at in 0..10 {
        store.put(&note(at), content(at)).await;
    }
    for name in ["mine.txt", "00", "ab/mine.txt"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            fs::write(path, "mine").unwrap();
        }
    }
    store.clear().await.unwrap();
    assert_eq!((store.stats().await.entries, store.stats().await.bytes), (0, 0));
    assert_eq!(store.get(&note(1)).await, None);
    assert_eq!(fs::read_to_string(dir.path().join("mine.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(dir.path().join("ab/mine.txt")).unwrap(), "mine");
    store.put(&note(1), "hello".into()).await;
    assert_eq!(store.stats().await.entries, 1);
}

#[tokio::test]
async fn a_lost_or_torn_ledger_is_made_anew() {
    for garbage in [None, Some(""), Some("garbage")] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), 1 << 20);
        for at in 0..10 {
            store.put(&note(at), content(at)).await;
        }
        let ledger = dir.path().join("ledger");
        match garbage {
            None => fs::remove_file(&ledger).unwrap(),
            Some(garbage) => fs::write(&ledger, garbage).unwrap(),
        }
        store.put(&note(10), content(10)).await;
        let stats = store.stats().await;
        assert_eq!((stats.bytes, stats.entries), (on_disk(dir.path()), 11));
    }
}

#[tokio::test]
async fn what_dead_processes_were_writing_goes() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tmp")).unwrap();
    for (name, age) in [("old", 2 * 60 * 60), ("new", 10)] {
        let file = File::create(dir.path().join("tmp").join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    open(dir.path(), 1 << 20).put(&note(1), "hello".into()).await;
    let left: Vec<_> = dir.path().join("tmp").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["new"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    // Where a directory has to be there is a file: this holds for root too, who may write anywhere.
    fs::write(dir.path().join("file"), "").unwrap();
    let store = open(&dir.path().join("file/store"), 1 << 20);
    store.put(&note(1), "hello".into()).await;
    assert_eq!((store.get(&note(1)).await, store.has(&note(1)).await), (None, false));
    store.remove(&note(1)).await;
    assert!(store.clear().await.is_err());

    let store = open(&dir.path().join("store"), 1 << 20);
    store.put(&note(1), "hello".into()).await;
    fs::remove_dir_all(dir.path().join("store/tmp")).unwrap();
    fs::write(dir.path().join("store/tmp"), "").unwrap();
    store.put(&note(2), "hello".into()).await;
    assert_eq!((store.get(&note(1)).await.unwrap(), store.get(&note(2)).await), (Bytes::from("hello"), None));
}

#[tokio::test]
async fn values_have_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), u64::MAX);
    store.put(&note(1), vec![0; MAX_VALUE].into()).await;
    store.put(&note(2), vec![0; MAX_VALUE + 1].into()).await;
    assert!(store.get(&note(1)).await.is_some() && store.get(&note(2)).await.is_none());
}

fn open(dir: &Path, max_bytes: u64) -> Store {
    Store::open(dir, StoreOptions { max_bytes }).unwrap()
}

fn note(at: usize) -> Key {
    Key::note("test", &[&at.to_string()])
}

fn content(at: usize) -> Bytes {
    vec![at as u8; 100 + at * 5].into()
}

/// The files of values.
fn files(dir: &Path) -> Vec<PathBuf> {
    let shards = dir.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let shards = shards.filter(|path| path.file_name().unwrap().len() == 2);
    let mut files: Vec<_> =
        shards.flat_map(|shard| shard.read_dir().unwrap().map(|file| file.unwrap().path())).collect();
    files.retain(|path| path.file_name().unwrap().len() == 62);
    files.sort();
    files
}

fn on_disk(dir: &Path) -> u64 {
    files(dir).iter().map(|path| path.metadata().unwrap().len()).sum()
}
