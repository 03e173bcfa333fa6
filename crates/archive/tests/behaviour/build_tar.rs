//! Archives of tar archives.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::io::Read;
use std::io::Write;

use crate::support::build;
use crate::support::data;
use crate::support::describe;
use crate::support::link;
use crate::support::nasty_tree;
use crate::support::noise;
use crate::support::open;
use crate::support::text;
use crate::support::touch;
use crate::support::write;
use proptest::prelude::any;
use proptest::prelude::prop;
use proptest::proptest;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::Error;
use skep_archive::Limits;
use skep_archive::Reason;
use skep_archive::Result;
use skep_archive::Summary;
use tar::EntryType;
use tar::Header;
use tempfile::tempdir;

type Builder = tar::Builder<Vec<u8>>;

fn pack(bytes: &[u8]) -> Result<Built> {
    skep_archive::build_tar(bytes, &BuildOptions::default(), &|_| {})
}

fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o640);
    header.set_mtime(1_000_000_000);
    header.set_uid(7);
    header.set_gid(8);
    header
}

fn add(tar: &mut Builder, path: &str, content: &[u8]) {
    tar.append_data(&mut header(EntryType::Regular, content.len()), path, content).unwrap();
}

fn add_link(tar: &mut Builder, kind: EntryType, path: &str, target: &str) {
    tar.append_link(&mut header(kind, 0), path, target).unwrap();
}

/// Adds an entry whose path the crate would refuse, or with anything else that is odd.
fn add_raw(tar: &mut Builder, path: &[u8], content: &[u8], change: impl FnOnce(&mut Header)) {
    let mut header = header(EntryType::Regular, content.len());
    header.as_mut_bytes()[..path.len()].copy_from_slice(path);
    change(&mut header);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn add_extended(tar: &mut Builder, records: &[(&str, &[u8])]) {
    tar.append_pax_extensions(records.iter().copied()).unwrap();
}

/// A tar archive of a few files.
fn sample() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, "z/last", b"last");
    add(&mut tar, "a.txt", &text(5000));
    add(&mut tar, "a/large", &text(3_000_000));
    add(&mut tar, "a/noise", &noise(2_500_000, 3));
    add_link(&mut tar, EntryType::Symlink, "a/link", "../a.txt");
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn a_tree_comes_back_as_it_went_into_a_tar_archive() {
    let (tree, dest) = (tempdir().unwrap(), tempdir().unwrap());
    nasty_tree(tree.path());
    let long = "long-name/".repeat(30) + &"x".repeat(200);
    write(tree.path(), &long, "far away");
    link(tree.path(), "long-link", &"../".repeat(100));
    // What the headers have is whole seconds from 1970 on.
    for path in describe(tree.path()).keys().rev() {
        touch(tree.path(), path, 1_234_567_890_000_000_000);
    }
    let mut tar = Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", tree.path()).unwrap();
    let built = pack(&tar.into_inner().unwrap()).unwrap();
    open(&built).extract(dest.path(), &Default::default(), |_| {}).await.unwrap();
    assert_eq!(describe(dest.path()), describe(tree.path()));
    let (summary, of_directory) = (built.summary(), build(tree.path(), &BuildOptions::default()));
    let want = of_directory.summary();
    assert_eq!((summary.files, summary.directories, summary.symlinks), (want.files, want.directories, want.symlinks));
    let special = |summary: &Summary| summary.omitted[&Reason::SpecialBits].count;
    assert_eq!((summary.duplicates, special(summary)), (want.duplicates, special(want)));
}

#[tokio::test]
async fn what_comes_unsorted_is_found_and_does_not_depend_on_workers() {
    let tar = sample();
    let mut first = None;
    for workers in [1, 2, 7] {
        let options = BuildOptions { workers, ..Default::default() };
        let built = skep_archive::build_tar(&*tar, &options, &|_| {}).unwrap();
        let digests = (built.index_descriptor().clone(), built.data_descriptor().clone());
        assert_eq!(*first.get_or_insert(digests.clone()), digests, "{workers} workers");
        let archive = open(&built);
        let paths: Vec<_> = archive.index().entries_as_written().map(|entry| entry.path).collect();
        assert_eq!(paths, ["a.txt", "a/large", "a/noise", "z/last"]);
        assert_eq!(archive.read("a/link").await.unwrap(), text(5000));
        assert!(archive.read("a/large").await.unwrap() == text(3_000_000));
        assert!(archive.read("a/noise").await.unwrap() == noise(2_500_000, 3));
        // Contents stand as they came.
        assert_eq!((archive.entry("z/last").unwrap().data_offset, &data(&built).await[..4]), (0, &b"last"[..]));
        let entry = archive.entry("a.txt").unwrap();
        assert_eq!((entry.mode, entry.uid, entry.gid, entry.mtime_ns), (0o640, 7, 8, 1_000_000_000_000_000_000));
    }
}

#[test]
fn compression_is_told_by_the_first_bytes() {
    let tar = sample();
    let want = pack(&tar).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar[..70_000]).unwrap();
    let mut gzipped = gzip.finish().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(gzipped, flate2::Compression::fast());
    gzip.write_all(&tar[70_000..]).unwrap();
    gzipped = gzip.finish().unwrap();
    let frames = [&tar[..100_000], &tar[100_000..]].map(|part| zstd::bulk::compress(part, 1).unwrap());
    // Frames that are to be skipped may come first.
    let skippable = [&b"\x50\x2a\x4d\x18\x04\0\0\0abcd"[..], &frames.concat()].concat();
    for packed in [&gzipped, &frames.concat(), &skippable] {
        let built = pack(packed).unwrap();
        assert_eq!(built.data_descriptor(), want.data_descriptor());
        assert_eq!(built.index(), want.index());
    }
    let mut broken = gzipped;
    let end = broken.len() - 6;
    broken[end] ^= 1;
    assert!(matches!(pack(&broken), Err(Error::Io { .. })), "the checksum of gzip is at its end");
    for (magic, name) in [(&b"BZh91AY"[..], "bzip2"), (b"\xfd7zXZ\0\0", "xz"), (b"\x04\x22\x4d\x18aaa", "lz4")] {
        let error = pack(magic).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn an_archive_that_is_cut_off_is_an_error_wherever() {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, "a", b"hello");
    add(&mut tar, &"long".repeat(40), &[7; 600]);
    add_extended(&mut tar, &[("path", b"some/where")]);
    add(&mut tar, "b", b"");
    let tar = tar.into_inner().unwrap();
    let marker = tar.len() - 1024;
    for end in 0..marker + 512 {
        let error = pack(&tar[..end]).unwrap_err();
        assert!(matches!(error, Error::InvalidTar { .. }), "{end}: {error}");
    }
    assert_eq!(pack(&tar[..marker + 512]).unwrap().summary().files, 3);
    let zstd = zstd::bulk::compress(&sample(), 1).unwrap();
    assert!(pack(&zstd[..zstd.len() - 1]).is_err());
}

#[tokio::test]
async fn hard_links_become_files_whose_content_is_stored_once() {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, "b/first", &noise(3_000_000, 1));
    add_link(&mut tar, EntryType::Link, "a/second", "./b/first");
    add_link(&mut tar, EntryType::Link, "c", "a/second");
    add_link(&mut tar, EntryType::Symlink, "s", "c");
    add_link(&mut tar, EntryType::Link, "t", "s");
    let built = pack(&tar.into_inner().unwrap()).unwrap();
    let archive = open(&built);
    assert_eq!(built.data_descriptor().size, 3_000_000);
    for path in ["a/second", "b/first", "c", "t"] {
        assert!(archive.read(path).await.unwrap() == noise(3_000_000, 1), "{path}");
    }
    let summary = built.summary();
    assert_eq!((summary.files, summary.symlinks, summary.original_size), (3, 2, 9_000_000));
    assert_eq!((summary.duplicates, summary.duplicate_size), (2, 6_000_000));
    assert_eq!(summary.omitted[&Reason::HardLink].examples, ["a/second", "c", "t"]);
}

#[tokio::test]
async fn a_later_entry_takes_the_place_of_an_earlier_one() {
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, "a", b"old");
    add_link(&mut tar, EntryType::Link, "b", "a");
    add(&mut tar, "a", b"new");
    add(&mut tar, "c", b"a file");
    tar.append_data(&mut header(EntryType::Directory, 0), "c/", &[][..]).unwrap();
    tar.append_data(&mut header(EntryType::Directory, 0), "c/", &[][..]).unwrap();
    add(&mut tar, "c/d", b"below");
    let built = pack(&tar.into_inner().unwrap()).unwrap();
    let archive = open(&built);
    let paths: Vec<_> = archive.entries().map(|entry| entry.path).collect();
    assert_eq!((paths, built.summary().directories), (vec!["a", "b", "c/d"], 1));
    assert_eq!(archive.read("a").await.unwrap(), "new");
    // As it would be on a disk: the name is new, the file behind the other name is the old one.
    assert_eq!(archive.read("b").await.unwrap(), "old");
    assert_eq!((built.summary().files, built.summary().original_size), (3, 11));
}

#[test]
fn what_has_no_place_in_an_archive_is_refused() {
    let refused = |words: &str, fill: &dyn Fn(&mut Builder)| {
        let mut tar = Builder::new(Vec::new());
        fill(&mut tar);
        let error = pack(&tar.into_inner().unwrap()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused("/etc/passwd: its path is absolute", &|tar| add_raw(tar, b"/etc/passwd", b"", |_| {}));
    refused("a/../../b: its path has `..`", &|tar| add_raw(tar, b"a/../../b", b"", |_| {}));
    refused("a\\0b", &|tar| {
        add_extended(tar, &[("path", b"a\0b")]);
        add(tar, "x", b"");
    });
    refused("b: it is a hard link to a, which did not come before it", &|tar| {
        add_link(tar, EntryType::Link, "b", "a");
        add(tar, "a", b"");
    });
    refused("/a: its path is absolute", &|tar| add_link(tar, EntryType::Link, "b", "/a"));
    refused("d/e: it lies in d, which is a symbolic link", &|tar| {
        add_link(tar, EntryType::Symlink, "d", "/tmp");
        add(tar, "d/e", b"");
    });
    refused("d: it is a file, and d/e lies in it", &|tar| {
        add(tar, "d/e", b"");
        add(tar, "d", b"");
    });
    refused("that is no directory is that of the root", &|tar| {
        add_raw(tar, b"./", b"", |header| {
            header.set_entry_type(EntryType::Symlink);
        })
    });
    refused("make it without --sparse", &|tar| {
        add_raw(tar, b"s", b"", |header| header.set_entry_type(EntryType::GNUSparse))
    });
    refused("make it without --sparse", &|tar| {
        add_extended(tar, &[("GNU.sparse.major", b"1")]);
        add(tar, "x", b"");
    });
    refused("unknown kind 'M'", &|tar| add_raw(tar, b"m", b"", |header| header.set_entry_type(EntryType::new(b'M'))));
    refused("an extended header says mtime=\"soon\"", &|tar| {
        add_extended(tar, &[("mtime", b"soon")]);
        add(tar, "x", b"");
    });
    refused("it ends behind an extended header", &|tar| add_extended(tar, &[("path", b"x")]));
    refused("the owner or group of x is no number", &|tar| {
        add_raw(tar, b"x", b"", |header| header.as_mut_bytes()[108..116].fill(b'9'));
    });
    refused("invalid tar archive at byte 512", &|tar| {
        add(tar, "x", b"");
        tar.get_mut().extend([1; 512]);
    });
    let long = vec![b'x'; 2 << 20];
    refused("an extended header of the tar archive, in bytes, has 2097152", &|tar| {
        add_raw(tar, b"././@LongLink", &long, |header| header.set_entry_type(EntryType::GNULongName));
    });
    assert!(matches!(pack(b""), Err(Error::InvalidTar { at: 0, .. })));
    assert!(matches!(pack(&noise(2000, 1)), Err(Error::InvalidTar { at: 0, .. })));
}

#[tokio::test]
async fn extended_headers_count_for_more_than_fields() {
    let mut tar = Builder::new(Vec::new());
    // The value of an attribute may have any bytes; what is not known is left alone.
    add_extended(
        &mut tar,
        &[
            ("SCHILY.xattr.user.odd", b"1\n2 3=4\n\xff\0"),
            ("path", "dir/\u{1f41d}\nname".as_bytes()),
            ("mtime", b"-1.000000001"),
            ("uid", b"4000000000"),
            ("size", b"5"),
        ],
    );
    add_raw(&mut tar, b"short", b"hello", |header| header.set_size(0));
    // Of the next one they say nothing any more; this one is of the oldest kind, with a prefix, and of the root.
    add_raw(&mut tar, b"dir/", b"", |_| {});
    add_raw(&mut tar, b"name", b"x", |header| {
        header.as_mut_bytes()[257..265].copy_from_slice(b"ustar\x0000");
        header.as_mut_bytes()[345..351].copy_from_slice(b"prefix");
    });
    add_raw(&mut tar, b"./", b"", |header| header.set_entry_type(EntryType::Directory));
    let built = pack(&tar.into_inner().unwrap()).unwrap();
    let archive = open(&built);
    let entry = archive.entry("dir/\u{1f41d}\nname").unwrap();
    assert_eq!((entry.mtime_ns, entry.uid, entry.gid), (-1_000_000_001, 4_000_000_000, 8));
    assert_eq!(archive.read("dir/\u{1f41d}\nname").await.unwrap(), "hello");
    assert_eq!(archive.read("prefix/name").await.unwrap(), "x");
    assert_eq!((built.summary().files, built.summary().directories), (2, 1));
}

#[test]
fn what_archives_do_not_carry_is_counted() {
    let mut tar = Builder::new(Vec::new());
    for (path, kind) in [("null", EntryType::Char), ("disk", EntryType::Block), ("pipe", EntryType::Fifo)] {
        tar.append_data(&mut header(kind, 0), path, &[][..]).unwrap();
    }
    add_raw(&mut tar, b"\xff\xfe", b"content", |_| {});
    add_raw(&mut tar, b"set", b"content", |header| header.set_mode(0o4755));
    add(&mut tar, "there", b"");
    let built = pack(&tar.into_inner().unwrap()).unwrap();
    let omitted: Vec<_> = built.summary().omitted.iter().map(|(reason, omitted)| (*reason, omitted.count)).collect();
    assert_eq!(omitted, [(Reason::Device, 2), (Reason::Fifo, 1), (Reason::NonUtf8, 1), (Reason::SpecialBits, 1)]);
    assert_eq!(built.summary().files, 2);
}

#[test]
fn all_of_the_input_is_read() {
    struct Counted<'a>(&'a [u8], &'a mut usize);
    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            // As little as a pipe may give.
            let end = buffer.len().min(7);
            let count = self.0.read(&mut buffer[..end])?;
            *self.1 += count;
            Ok(count)
        }
    }
    let mut tar = Builder::new(Vec::new());
    add(&mut tar, "a", &text(3000));
    let mut bytes = tar.into_inner().unwrap();
    bytes.resize(10_240, 0);
    let mut count = 0;
    let built = skep_archive::build_tar(Counted(&bytes, &mut count), &BuildOptions::default(), &|_| {}).unwrap();
    assert_eq!((built.summary().files, count), (1, 10_240));
}

proptest! {
    #[test]
    fn any_bytes_are_an_archive_or_an_error(
        spoiled in prop::collection::vec((0_usize..6000, any::<u8>()), 0..20),
        recompute in any::<bool>(),
    ) {
        let mut tar = Builder::new(Vec::new());
        add(&mut tar, &"long".repeat(40), &[7; 600]);
        add_extended(&mut tar, &[("path", b"some/where"), ("size", b"3")]);
        add(&mut tar, "b", b"abc");
        add_link(&mut tar, EntryType::Link, "c", "some/where");
        let mut bytes = tar.into_inner().unwrap();
        for (at, byte) in spoiled {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if recompute {
            for block in bytes.as_chunks_mut::<512>().0 {
                let mut header = Header::from_byte_slice(&block[..]).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let limits = Limits { memory: 1 << 20, ..Default::default() };
        let options = BuildOptions { limits, workers: 1, ..Default::default() };
        if let Ok(built) = skep_archive::build_tar(&*bytes, &options, &|_| {}) {
            // What was built can be opened.
            let archive = open(&built);
            assert_eq!(archive.entries().len() as u64, built.summary().files);
        }
    }
}
