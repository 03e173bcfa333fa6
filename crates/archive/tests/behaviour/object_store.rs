//! An archive as an object store: every call of its trait.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;

use crate::support::Noted;
use crate::support::link;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::open_noted;
use crate::support::text;
use crate::support::touch;
use crate::support::write;
use chrono::DateTime;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
use object_store::Error;
use object_store::GetOptions;
use object_store::GetRange;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use skep_archive::ArchiveStore;
use skep_archive::BuildOptions;
use skep_archive::FileSource;
use skep_archive::ReadOptions;
use skep_registry::Digest;
use tempfile::tempdir;

const MIB: u64 = 1 << 20;

fn store() -> (ArchiveStore, Arc<Noted<FileSource>>) {
    let tree = tempdir().unwrap();
    for path in ["a/b/1.txt", "a/b/2.txt", "a/b-c/3.txt", "a/top.txt", "b.txt"] {
        write(tree.path(), path, path);
    }
    write(tree.path(), "large", noise(8 * MIB as usize, 1));
    write(tree.path(), "packed", text(3 * MIB as usize));
    write(tree.path(), "a/odd [name] 100%.txt", "odd");
    std::fs::create_dir_all(tree.path().join("a/void")).unwrap();
    link(tree.path(), "link", "a/b/1.txt");
    touch(tree.path(), "b.txt", 1_700_000_000_123_456_789);
    let (archive, source) = open_noted(&crate::support::build(tree.path(), &BuildOptions::default()));
    (ArchiveStore::new(archive), source)
}

fn at(path: &str) -> Path {
    Path::parse(path).unwrap()
}

fn locations(objects: &[ObjectMeta]) -> Vec<&str> {
    objects.iter().map(|object| object.location.as_ref()).collect()
}

#[tokio::test]
async fn an_object_is_described_by_the_index() {
    let (store, source) = store();
    let want = ObjectMeta {
        location: at("b.txt"),
        last_modified: DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap(),
        size: 5,
        e_tag: Some(Digest::sha256(b"b.txt").to_string()),
        version: None,
    };
    assert_eq!(store.head(&at("b.txt")).await.unwrap(), want);
    assert_eq!(store.head(&at("link")).await.unwrap().size, 9);
    let head = store.get_opts(&at("b.txt"), GetOptions::new().with_head(true)).await.unwrap();
    assert_eq!((&head.meta, head.range.clone()), (&want, 0..5));
    assert!(head.bytes().await.unwrap().is_empty());
    assert_eq!(source.take(), [], "nothing is fetched for that");
    for missing in ["missing", "a", "a/void", "b.txt/x"] {
        assert!(matches!(store.head(&at(missing)).await, Err(Error::NotFound { path, .. }) if path == missing));
    }
}

#[tokio::test]
async fn every_kind_of_range_is_read() {
    let (store, source) = store();
    let large = noise(8 * MIB as usize, 1);
    let size = large.len() as u64;
    for (range, want) in [
        (None, 0..size),
        (Some(GetRange::Bounded(5..10)), 5..10),
        (Some(GetRange::Bounded(size - 5..size + 100)), size - 5..size),
        (Some(GetRange::Offset(size - 7)), size - 7..size),
        (Some(GetRange::Suffix(9)), size - 9..size),
        (Some(GetRange::Suffix(size + 9)), 0..size),
    ] {
        let got = store.get_opts(&at("large"), GetOptions::new().with_range(range)).await.unwrap();
        assert_eq!((got.range.clone(), got.meta.size), (want.clone(), size));
        assert!(got.bytes().await.unwrap() == large[want.start as usize..want.end as usize]);
    }
    assert_eq!(source.take().len(), 6);
    for wrong in [GetRange::Bounded(size..size + 1), GetRange::Bounded(5..5), GetRange::Offset(size)] {
        let options = GetOptions::new().with_range(Some(wrong.clone()));
        assert!(matches!(store.get_opts(&at("large"), options).await, Err(Error::Generic { .. })), "{wrong:?}");
    }
    let versioned = GetOptions::new().with_version(Some("1"));
    assert!(matches!(store.get_opts(&at("large"), versioned).await, Err(Error::NotSupported { .. })));
    assert_eq!(store.get(&at("a/odd [name] 100%.txt")).await.unwrap().bytes().await.unwrap(), "odd");
    assert_eq!(store.get(&at("link")).await.unwrap().bytes().await.unwrap(), "a/b/1.txt");
}

#[tokio::test]
async fn conditions_are_held_against_the_content() {
    let (store, source) = store();
    let (tag, other) = (Digest::sha256(b"b.txt").to_string(), Digest::sha256(b"other").to_string());
    let get = |options: GetOptions| {
        let store = store.clone();
        async move { store.get_opts(&at("b.txt"), options.with_head(true)).await.map(drop) }
    };
    let options = GetOptions::new;
    get(options().with_if_match(Some(&tag))).await.unwrap();
    get(options().with_if_match(Some(format!("{other}, {tag}")))).await.unwrap();
    get(options().with_if_none_match(Some(&other))).await.unwrap();
    assert!(matches!(get(options().with_if_match(Some(&other))).await, Err(Error::Precondition { .. })));
    assert!(matches!(get(options().with_if_none_match(Some(&tag))).await, Err(Error::NotModified { .. })));
    let (before, after) = (1_600_000_000, 1_800_000_000);
    let time = |seconds| DateTime::from_timestamp(seconds, 0);
    get(options().with_if_modified_since(time(before))).await.unwrap();
    get(options().with_if_unmodified_since(time(after))).await.unwrap();
    assert!(matches!(get(options().with_if_modified_since(time(after))).await, Err(Error::NotModified { .. })));
    assert!(matches!(get(options().with_if_unmodified_since(time(before))).await, Err(Error::Precondition { .. })));
    assert_eq!(source.take(), []);
}

#[tokio::test]
async fn ranges_that_lie_close_to_each_other_are_one_request() {
    let (store, source) = store();
    const CHUNK: u64 = crate::support::CHUNK as u64;
    // Of one file the last chunk lies far behind the others, of the other next to them.
    for (path, content, end, requests) in [
        ("large", noise(8 * MIB as usize, 1), CHUNK + CHUNK / 2, 2),
        ("packed", text(3 * MIB as usize), 3 * MIB - CHUNK, 1),
    ] {
        let last = content.len() as u64 - 8;
        // Out of order, overlapping, across chunks, and one of nothing.
        let ranges = [last..last + 8, 10..20, CHUNK - 5..CHUNK + 5, 15..18, 7..7, 100..end];
        let came = store.get_ranges(&at(path), &ranges).await.unwrap();
        for (range, came) in ranges.iter().zip(&came) {
            assert!(came == &content[range.start as usize..range.end as usize], "{path} {range:?}");
        }
        let reads = source.take();
        assert_eq!(reads.len(), requests, "{path} {reads:?}");
        let fetched: u64 = reads.iter().map(|range| range.end - range.start).sum();
        let most = store.archive().entry(path).unwrap().data_size.min(3 * CHUNK);
        assert!(fetched <= most, "no chunk is fetched that has nothing, or twice: {reads:?}");
    }
    let wide = ArchiveStore::with_options(store.archive().clone(), ReadOptions { gap: 8 * MIB, ..Default::default() });
    wide.get_ranges(&at("large"), &[0..1, 7 * MIB..7 * MIB + 1]).await.unwrap();
    let start = store.archive().entry("large").unwrap().data_offset;
    let reads = source.take();
    assert_eq!((reads.len(), &reads[0]), (1, &(start..start + 7 * MIB + CHUNK)));
    assert!(store.get_ranges(&at("large"), &[]).await.unwrap().is_empty());
    assert!(store.get_ranges(&at("large"), &[0..1, 0..8 * MIB + 1]).await.is_err());
    assert!(matches!(store.get_ranges(&at("missing"), &[0..1, 1..2]).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn lists_are_those_of_files_by_whole_names() {
    let (store, source) = store();
    let list = |prefix: Option<&str>| {
        let prefix = prefix.map(at);
        let store = store.clone();
        async move { store.list(prefix.as_ref()).try_collect::<Vec<_>>().await.unwrap() }
    };
    let below_a = ["a/b-c/3.txt", "a/b/1.txt", "a/b/2.txt", "a/odd [name] 100%.txt", "a/top.txt"];
    assert_eq!(locations(&list(Some("a")).await), below_a);
    assert_eq!(locations(&list(None).await), [&below_a[..], &["b.txt", "large", "packed"]].concat());
    assert_eq!(locations(&list(Some("a/b")).await), ["a/b/1.txt", "a/b/2.txt"]);
    assert_eq!(locations(&list(Some("b.txt")).await), [""; 0], "a prefix is a directory");
    assert_eq!(locations(&list(Some("missing")).await), [""; 0]);
    assert_eq!(list(None).await[5], store.head(&at("b.txt")).await.unwrap());
    for (prefix, offset, want) in [
        (Some("a"), "a/b/1.txt", &below_a[2..]),
        (Some("a"), "a/b/1", &below_a[1..]),
        (Some("a"), "", &below_a[..]),
        (Some("a"), "b", &[]),
        (None, "large", &["packed"]),
    ] {
        let listed =
            store.list_with_offset(prefix.map(at).as_ref(), &at(offset)).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(locations(&listed), want, "{prefix:?} {offset}");
    }
    assert_eq!(source.take(), []);
}

#[tokio::test]
async fn a_list_of_a_directory_has_what_lies_in_it_and_no_more() {
    let (store, _) = store();
    for (prefix, directories, objects) in [
        (None, &["a"][..], &["b.txt", "large", "packed"][..]),
        (Some("a"), &["a/b", "a/b-c"], &["a/odd [name] 100%.txt", "a/top.txt"]),
        (Some("a/b"), &[], &["a/b/1.txt", "a/b/2.txt"]),
        (Some("a/void"), &[], &[]),
        (Some("missing"), &[], &[]),
    ] {
        let listed = store.list_with_delimiter(prefix.map(at).as_ref()).await.unwrap();
        assert_eq!(listed.common_prefixes.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), directories);
        assert_eq!(locations(&listed.objects), objects);
    }
}

#[tokio::test]
async fn names_that_paths_cannot_have_are_left_out_and_all_others_are_read() {
    let tree = tempdir().unwrap();
    nasty_tree(tree.path());
    let (archive, _) = open_noted(&crate::support::build(tree.path(), &BuildOptions::default()));
    let store = ArchiveStore::new(archive.clone());
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    let readable: Vec<_> = archive.entries().map(|entry| entry.path).filter(|path| !path.contains('\n')).collect();
    assert_eq!(locations(&objects), readable);
    for object in objects {
        let content = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        assert_eq!(Some(Digest::sha256(&content).to_string()), object.e_tag);
    }
}

#[tokio::test]
async fn an_archive_does_not_change() {
    let (store, _) = store();
    let (one, two) = (at("b.txt"), at("new"));
    let refused = |error: Error| matches!(error, Error::NotSupported { .. });
    assert!(refused(store.put(&two, "x".into()).await.unwrap_err()));
    assert!(refused(store.put_multipart(&two).await.unwrap_err()));
    assert!(refused(store.copy(&one, &two).await.unwrap_err()));
    assert!(refused(store.rename(&one, &two).await.unwrap_err()));
    assert!(refused(store.delete(&one).await.unwrap_err()));
    let mut deleted = store.delete_stream(stream::iter([Ok(one.clone()), Ok(two)]).boxed());
    assert!(refused(deleted.next().await.unwrap().unwrap_err()));
    assert!(refused(deleted.next().await.unwrap().unwrap_err()));
    assert!(deleted.next().await.is_none());
    assert_eq!(store.get(&one).await.unwrap().bytes().await.unwrap(), "b.txt");
    assert_eq!(store.to_string(), "ArchiveStore of 8 files");
}
