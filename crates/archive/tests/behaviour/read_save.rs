//! Archives that are saved: both files are there when all was verified, or none.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
#![allow(clippy::single_range_in_vec_init, reason = "a list of reads may have one")]

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::support::build;
use crate::support::data;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::open_noted;
use crate::support::write;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Source;
use skep_archive::write_index;
use skep_registry::Body;
use skep_registry::Code;
use tempfile::tempdir;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_archive_is_saved_by_one_request_as_it_was_built() {
    let (tree, dest) = (tempdir().unwrap(), tempdir().unwrap());
    nasty_tree(tree.path());
    let built = build(tree.path(), &BuildOptions::default());
    let (archive, source) = open_noted(&built);
    archive.save_in(dest.path()).await.unwrap();
    assert_eq!(source.take(), [0..built.data_descriptor().size]);
    assert_eq!(names(dest.path()), ["data.blob", "index.blob"]);
    assert!(fs::read(dest.path().join("index.blob")).unwrap() == *built.index());
    assert!(fs::read(dest.path().join("data.blob")).unwrap() == data(&built).await);
    let (index, data) = (dest.path().join("index.blob"), dest.path().join("data.blob"));
    let again = Archive::open_files(&index, &data, Limits::default()).unwrap();
    assert!(again.read("large/noise").await.unwrap() == noise(3_300_001, 1));
    // What is there is replaced, also by itself.
    again.save(&index, &data).await.unwrap();
    assert!(again.read("large/noise").await.unwrap() == noise(3_300_001, 1));
}

/// Data that is not what it should be.
#[derive(Debug)]
struct Spoilt {
    data: Bytes,
    /// Breaks off behind so many bytes.
    cut: Option<u64>,
    /// Never goes on behind that.
    hangs: bool,
}

#[async_trait]
impl Source for Spoilt {
    fn size(&self) -> u64 {
        self.data.len() as u64
    }

    async fn read(&self, range: Range<u64>) -> skep_archive::Result<Body> {
        let end = self.cut.unwrap_or(range.end);
        let first = stream::iter([Ok(self.data.slice(range.start as usize..end as usize))]);
        if self.hangs {
            return Ok(Body::new(None, futures_util::StreamExt::chain(first, stream::pending())));
        }
        Ok(Body::new(None, first))
    }
}

#[tokio::test]
async fn nothing_is_left_of_what_went_wrong() {
    let tree = tempdir().unwrap();
    write(tree.path(), "file", noise(3 << 20, 1));
    let built = build(tree.path(), &BuildOptions::default());
    let good = data(&built).await;
    let mut wrong = good.to_vec();
    wrong[2_000_000] ^= 1;
    let dest = tempdir().unwrap();
    fs::write(dest.path().join("data.blob"), "old").unwrap();
    for (data, cut, code) in
        [(wrong.into(), None, Code::DigestInvalid), (good.clone(), Some(2_000_000), Code::SizeInvalid)]
    {
        let source = Arc::new(Spoilt { data, cut, hangs: false });
        let archive = Archive::new(built.index().clone(), source, Limits::default()).unwrap();
        let error = archive.save_in(dest.path()).await.unwrap_err();
        assert!(matches!(&error, Error::Registry(error) if error.code() == &code), "{error}");
        assert_eq!(names(dest.path()), ["data.blob"]);
        assert_eq!(fs::read(dest.path().join("data.blob")).unwrap(), b"old");
    }
    let archive = Archive::new(built.index().clone(), Arc::new(good.clone()), Limits::default()).unwrap();
    let error = archive.save(&dest.path().join("missing/index"), &dest.path().join("new")).await.unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("missing/index")), "{error}");
    assert_eq!(names(dest.path()), ["data.blob"]);
    let index = write_index(
        archive.entries().collect::<Vec<_>>().into_iter(),
        archive.index().symlinks().collect::<Vec<_>>().into_iter(),
        archive.index().directories().collect::<Vec<_>>().into_iter(),
        good.len() as u64,
        &[],
    );
    let unhashed = Archive::new(index.unwrap(), Arc::new(good), Limits::default()).unwrap();
    assert!(matches!(unhashed.save_in(dest.path()).await, Err(Error::InvalidIndex { .. })));
}

#[tokio::test]
async fn a_save_that_is_given_up_leaves_nothing() {
    let (tree, dest) = (tempdir().unwrap(), tempdir().unwrap());
    write(tree.path(), "file", noise(3 << 20, 1));
    let built = build(tree.path(), &BuildOptions::default());
    let source = Arc::new(Spoilt { data: data(&built).await, cut: Some(2_000_000), hangs: true });
    let archive = Archive::new(built.index().clone(), source, Limits::default()).unwrap();
    let path = dest.path().to_owned();
    let saving = tokio::spawn(async move { archive.save_in(&path).await });
    while names(dest.path()).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    saving.abort();
    assert!(saving.await.unwrap_err().is_cancelled());
    for _ in 0..1000 {
        if names(dest.path()).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("left behind: {:?}", names(dest.path()));
}
