//! Archives that the Go writer of the format wrote: opened, read, and their indexes rebuilt byte for byte.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use skep_archive::Archive;
use skep_archive::Built;
use skep_archive::Codec;
use skep_archive::Directory;
use skep_archive::Entry;
use skep_archive::Index;
use skep_archive::Limits;
use skep_archive::Symlink;
use skep_archive::write_index;
use skep_registry::Digest;

#[derive(Deserialize)]
struct Expect {
    data_hash: String,
    data_size: u64,
    entries_in_index_order: Option<Vec<Expected>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Expected {
    path: String,
    sha256: String,
    mode: String,
    compression: String,
    data_offset: u64,
    data_size: u64,
    original: u64,
    #[serde(rename = "UID")]
    uid: u32,
    #[serde(rename = "GID")]
    gid: u32,
    mtime_ns: i64,
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/meigma-v1");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|item| item.unwrap().path()).collect();
    cases.retain(|case| case.is_dir());
    cases.sort();
    assert_eq!(cases.len(), 24);
    cases
}

fn index_bytes(case: &Path) -> Vec<u8> {
    fs::read(case.join("index.blob")).unwrap()
}

#[test]
fn all_entries_are_as_the_writer_sees_them() {
    for case in cases() {
        let expect: Expect = serde_json::from_slice(&fs::read(case.join("expect.json")).unwrap()).unwrap();
        let index = Index::parse(index_bytes(&case).into(), &Limits::default()).unwrap();
        assert_eq!(index.data_size(), expect.data_size);
        let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(index.data_hash().map(|hash| hex(hash)), Some(expect.data_hash));
        let expected = expect.entries_in_index_order.unwrap_or_default();
        assert_eq!(index.len(), expected.len());
        for (entry, want) in index.entries_as_written().zip(&expected) {
            assert_eq!(entry.path, want.path);
            assert_eq!(hex(entry.hash), want.sha256);
            assert_eq!(format!("{:o}", entry.mode), want.mode);
            assert_eq!(entry.codec == Codec::Zstd, want.compression == "zstd");
            assert_eq!((entry.data_offset, entry.data_size), (want.data_offset, want.data_size));
            assert_eq!(entry.original_size, want.original);
            assert_eq!((entry.uid, entry.gid, entry.mtime_ns), (want.uid, want.gid, want.mtime_ns));
            assert_eq!(index.find(&want.path), Some(entry), "{} is found in {}", want.path, case.display());
        }
    }
}

#[test]
fn indexes_are_rebuilt_byte_for_byte() {
    for case in cases() {
        let bytes = index_bytes(&case);
        let index = Index::parse(bytes.clone().into(), &Limits::default()).unwrap();
        let entries: Vec<_> = index.entries_as_written().collect();
        let (links, dirs) = (std::iter::empty::<Symlink<'_>>(), std::iter::empty::<Directory<'_>>());
        let hash = index.data_hash().map_or(&[][..], |hash| hash);
        let rebuilt = write_index(entries.into_iter(), links, dirs, index.data_size(), hash).unwrap();
        assert!(rebuilt == bytes, "{}", case.display());
    }
}

#[test]
fn all_cases_are_taken_to_be_sent_as_they_are() {
    for case in cases() {
        let (index, data) = (case.join("index.blob"), case.join("data.blob"));
        let built = Built::from_files(&index, &data, &Limits::default()).unwrap();
        assert!(built.index() == &index_bytes(&case), "{}", case.display());
        assert_eq!(built.data_descriptor().digest, Digest::sha256(&fs::read(&data).unwrap()), "{}", case.display());
    }
}

#[tokio::test]
async fn all_files_are_read() {
    for case in cases() {
        let archive =
            Archive::open_files(&case.join("index.blob"), &case.join("data.blob"), Limits::default()).unwrap();
        let paths: Vec<String> = archive.entries().map(|entry| entry.path.to_owned()).collect();
        assert!(paths.is_sorted());
        for path in paths {
            let entry = archive.entry(&path).unwrap();
            let want = Digest::from_hash(Default::default(), entry.hash).unwrap();
            let content = archive.read(&path).await.unwrap();
            assert_eq!(Digest::sha256(&content), want, "{path} of {}", case.display());
            let streamed = archive.stream(&path).await.unwrap().bytes(1 << 30).await.unwrap();
            assert!(streamed == content, "{path} of {}", case.display());
            let (start, end) = (entry.original_size / 3, entry.original_size / 2);
            let part = archive.read_range(&path, start..end).await.unwrap().bytes(1 << 30).await.unwrap();
            assert!(part == content[start as usize..end as usize], "{path} of {}", case.display());
        }
    }
}

#[tokio::test]
async fn directories_of_an_unsorted_index_are_complete() {
    for case in cases().into_iter().filter(|case| case.to_string_lossy().contains("unsorted")) {
        let archive =
            Archive::open_files(&case.join("index.blob"), &case.join("data.blob"), Limits::default()).unwrap();
        let names = |dir| archive.read_dir(dir).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("/"), ["a", "a-b", "a.txt", "z"]);
        assert_eq!(names("a"), ["x"]);
        assert!(archive.is_dir("a-b") && archive.is_file("a/x") && !archive.exists("a/y"));
        assert_eq!(archive.stats("").files, 4);
        assert_eq!(archive.stats("a").files, 1);
    }
}

#[tokio::test]
async fn all_cases_are_extracted() {
    for case in cases() {
        let archive =
            Archive::open_files(&case.join("index.blob"), &case.join("data.blob"), Limits::default()).unwrap();
        let dest = tempfile::tempdir().unwrap();
        let extracted = archive.extract(dest.path(), &Default::default(), |_| {}).await.unwrap();
        assert_eq!(extracted.files, archive.entries().len() as u64);
        for entry in archive.entries() {
            let path = dest.path().join(entry.path);
            // Some may be read by nobody, not even by who owns them.
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert_eq!(Digest::sha256(&fs::read(&path).unwrap()).hash(), entry.hash);
        }
    }
}

/// The bytes that `docs/format.md` explains.
#[test]
fn the_smallest_index_is_as_documented() {
    let hash: [u8; 32] = Digest::sha256(b"hello").hash().try_into().unwrap();
    let entry = Entry {
        path: "a.txt",
        data_offset: 0,
        data_size: 5,
        original_size: 5,
        hash: &hash,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_ns: 1_700_000_000_000_000_000,
        codec: Codec::None,
        chunks: None,
    };
    let link = Symlink { path: "l", target: "a.txt", uid: 0, gid: 0, mtime_ns: 0 };
    let directory = Directory { path: "d", mode: 0o755, uid: 0, gid: 0, mtime_ns: 0 };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let plain = [
        "180000000000000000000e001800000000001400080004000e00000014000000",
        "05000000000000000000000028000000200000002cf24dba5fb0a30e26e83b2a",
        "c5b9e29e1b161e5c1fa7425e73043362938b9824010000001c00000000001600",
        "2c00280000001c00140010000c000000000004001600000000002a36fe9c9717",
        "a40100001c000000050000000000000005000000000000000000000028000000",
        "200000002cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362",
        "938b982405000000612e747874000000",
    ];
    let extended = [
        "18000000000012002000000000001c0010000c00080004001200000040000000",
        "440000001400000005000000000000000000000038000000200000002cf24dba",
        "5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b982401000000",
        "1400000001000000280000000100000054000000ecffffffed01000004000000",
        "010000006400000008000c000800040008000000080000001000000005000000",
        "612e747874000000010000006c0016002c00280000001c00140010000c000000",
        "000004001600000000002a36fe9c9717a40100001c0000000500000000000000",
        "05000000000000000000000028000000200000002cf24dba5fb0a30e26e83b2a",
        "c5b9e29e1b161e5c1fa7425e73043362938b982405000000612e747874000000",
    ];
    let bytes = write_index([entry].into_iter(), [].into_iter(), [].into_iter(), 5, &hash).unwrap();
    assert_eq!(hex(&bytes), plain.concat());
    let bytes = write_index([entry].into_iter(), [link].into_iter(), [directory].into_iter(), 5, &hash).unwrap();
    assert_eq!(hex(&bytes), extended.concat());
}

#[test]
fn every_byte_of_an_index_may_be_wrong() {
    for case in cases().into_iter().filter(|case| case.to_string_lossy().contains("basic")) {
        let good = index_bytes(&case);
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                touch_everything(bytes);
            }
        }
        for len in 0..good.len() {
            touch_everything(good[..len].to_vec());
        }
    }
}

fn touch_everything(bytes: Vec<u8>) {
    let Ok(index) = Index::parse(bytes.into(), &Limits::default()) else { return };
    for entry in index.entries() {
        assert_eq!(index.find(entry.path), Some(entry));
    }
    for (_, node) in index.children("") {
        std::hint::black_box(node);
    }
    std::hint::black_box((index.symlinks().count(), index.directories().count()));
}
