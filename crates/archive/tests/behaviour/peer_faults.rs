//! Faults of another reader of the format that `docs/faults.md` lists, on its archives where it has one; and the list.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::support::build;
use crate::support::data;
use crate::support::describe;
use crate::support::noise;
use crate::support::text;
use crate::support::write;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Compression;
use skep_archive::ExtractOptions;
use skep_archive::Limits;
use skep_archive::Source;
use skep_registry::Body;
use tempfile::tempdir;
use tokio::io::AsyncReadExt;

#[test]
fn every_fault_of_the_list_has_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Fault")).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    let mut named = BTreeSet::new();
    for row in rows {
        let (fault, tests) = row.trim_matches(['|', ' ']).split_once(" | ").unwrap_or_else(|| panic!("{row}"));
        let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {fault}");
        for test in tests {
            let (file, name) = test.split_once(' ').unwrap_or_else(|| panic!("no name: {test}"));
            let source =
                fs::read_to_string(root.join("crates").join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(source.contains(&format!("fn {name}(")), "{name} is not in {file}");
            named.insert(test);
        }
    }
    assert!(named.len() >= 50, "{} tests", named.len());
}

#[tokio::test]
async fn a_directory_of_an_unsorted_index_is_extracted_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/meigma-v1");
    for case in ["unsorted.none", "unsorted.zstd", "unsorted.zstd-skip1024"] {
        let open = |name| root.join(case).join(name);
        let archive = Archive::open_files(&open("index.blob"), &open("data.blob"), Limits::default()).unwrap();
        let dest = tempdir().unwrap();
        let options = ExtractOptions { select: vec!["a".to_owned()], ..Default::default() };
        let extracted = archive.extract(dest.path(), &options, |_| {}).await.unwrap();
        assert_eq!(extracted.files, 1, "{case}");
        assert_eq!(describe(dest.path()).into_keys().collect::<Vec<_>>(), ["a", "a/x"], "{case}");
        assert_eq!(fs::read(dest.path().join("a/x")).unwrap(), archive.read("a/x").await.unwrap());
    }
}

/// Data that is sent in small parts, and how much of it anybody took.
#[derive(Debug)]
struct Metered {
    data: Bytes,
    sent: Arc<AtomicU64>,
}

#[async_trait]
impl Source for Metered {
    fn size(&self) -> u64 {
        self.data.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> skep_archive::Result<Body> {
        let sent = self.sent.clone();
        let parts: Vec<_> = self.data[range.start as usize..range.end as usize].chunks(16 << 10).collect();
        let parts: Vec<_> = parts.into_iter().map(Bytes::copy_from_slice).collect();
        let parts = futures_util::stream::iter(parts).map(move |part| {
            sent.fetch_add(part.len() as u64, Ordering::SeqCst);
            Ok(part)
        });
        Ok(Body::new(Some(range.end - range.start), parts))
    }
}

#[tokio::test]
async fn a_file_that_is_left_early_fetches_no_more() {
    let tree = tempdir().unwrap();
    write(tree.path(), "noise", noise(20 << 20, 1));
    write(tree.path(), "text", text(20 << 20));
    for options in [
        BuildOptions::default(),
        BuildOptions { extensions: false, ..Default::default() },
        BuildOptions { extensions: false, compression: Compression::None, ..Default::default() },
    ] {
        let built = build(tree.path(), &options);
        let sent = Arc::new(AtomicU64::new(0));
        let source = Arc::new(Metered { data: data(&built).await, sent: sent.clone() });
        let archive = Archive::new(built.index().clone(), source, Limits::default()).unwrap();
        for path in ["noise", "text"] {
            drop(archive.file(path).unwrap());
            assert_eq!(sent.swap(0, Ordering::SeqCst), 0, "{path} was not read");
            let mut file = archive.file(path).unwrap();
            file.read_exact(&mut [0; 10]).await.unwrap();
            drop(file);
            let mut stream = archive.stream(path).await.unwrap();
            assert!(!stream.next().await.unwrap().unwrap().is_empty());
            drop(stream);
            let sent = sent.swap(0, Ordering::SeqCst);
            assert!(sent <= 5 << 20, "{sent} bytes of {path} for the first of them");
        }
    }
}
