//! A corpus of hostile archives and hostile destinations: nothing outside of the destination ever changes.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use crate::support::forged::CONTENT;
use crate::support::forged::Sandbox;
use crate::support::forged::directory;
use crate::support::forged::file;
use crate::support::forged::forge;
use crate::support::forged::hash;
use crate::support::forged::link;
use crate::support::forged::open;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use skep_archive::Archive;
use skep_archive::Codec;
use skep_archive::Directory;
use skep_archive::Entry;
use skep_archive::Error;
use skep_archive::ExtractOptions;
use skep_archive::Extracted;
use skep_archive::Overwrite;
use skep_archive::Result;
use skep_archive::Symlink;
use skep_archive::write_index;

async fn extract(archive: &Archive, dest: &Path, options: &ExtractOptions) -> Result<Extracted> {
    archive.extract(dest, options, |_| {}).await
}

#[tokio::test]
async fn paths_that_lead_elsewhere_are_refused_before_anything_is_written() {
    let sandbox = Sandbox::new();
    let absolute = sandbox.outside("outside/victim").display().to_string();
    let (deep, long, name) = ("d/".repeat(255) + "x", "x".repeat(4097), "a/".repeat(2048) + "x");
    let climbing = "../".repeat(40) + &absolute[1..];
    let paths = [
        "..",
        "../victim",
        "../../victim",
        "../../outside/victim",
        "../dest/x",
        "../dest-beside",
        "a/..",
        "a/../b",
        "a/../../victim",
        "a/b/../../../victim",
        "a/b/c/../../../../outside/victim",
        "./a",
        "./../victim",
        "a/.",
        "a/./b",
        ".",
        "/",
        "//",
        "/x",
        "//x",
        "/../victim",
        "/etc/passwd",
        "/proc/self/cwd/x",
        "a//b",
        "a//../victim",
        "a/",
        "a//",
        "",
        "\0",
        "a\0",
        "\0a",
        "../victim\0.txt",
        "a/../victim\0",
        &absolute,
        &climbing,
        &deep,
        &long,
        &name,
    ];
    for path in paths {
        let good = "aaa";
        for archive in [
            forge(&[file(good), file(path)], &[], &[], CONTENT),
            forge(&[file(good)], &[link(path, "x")], &[], CONTENT),
            forge(&[file(good)], &[], &[directory(path)], CONTENT),
        ] {
            assert!(matches!(archive, Err(Error::InvalidIndex { .. })), "{path:?}");
        }
        // Nor do they lead out when a caller asks for them.
        let archive = forge(&[file("a/b"), file("victim")], &[], &[], CONTENT).unwrap();
        for options in [
            ExtractOptions { name: Some(path.to_owned()), select: vec!["victim".to_owned()], ..Default::default() },
            ExtractOptions { select: vec![path.to_owned() + "/../victim"], ..Default::default() },
            ExtractOptions { strip: path.to_owned() + "/..", ..Default::default() },
        ] {
            if options.name.as_deref() != Some(&long) || options.select.len() > 1 {
                extract(&archive, &sandbox.dest(), &options).await.unwrap_err();
            }
        }
        assert!(sandbox.paths().is_empty(), "{path:?}");
        sandbox.assert_untouched(path);
    }
}

#[tokio::test]
async fn odd_names_are_names_and_nothing_else() {
    let name = "n".repeat(255);
    let deep = "d/".repeat(254) + "x";
    let long = vec!["l".repeat(250); 15].join("/");
    let paths = [
        "..a",
        "a..",
        "...",
        "....",
        "a/.../b",
        "..\\victim",
        "\\..\\victim",
        "a\\b",
        "C:",
        "C:\\x",
        "C:/x",
        "\\\\server\\share",
        "con",
        "CON.txt",
        "aux/nul",
        "lpt1",
        "x.",
        "x ",
        " x",
        "x. ",
        "a:b",
        "a:stream:$DATA",
        "a\nb",
        "a\rb",
        "a\tb",
        "\u{1b}[2Jx",
        "\u{7f}",
        "\u{202e}gpj.exe",
        "\u{2215}x",
        "\u{ff0e}\u{ff0e}/x",
        "%2e%2e/victim",
        "..%2fvictim",
        "~",
        "~root/x",
        "$HOME",
        "`id`",
        "-rf",
        "--",
        "*",
        "?",
        "a|b",
        "\"quoted\"",
        ".git/config",
        ".hidden/.deep",
        ".skep-",
        ".skep-0123456789abcdeg",
        ".skep-0123456789abcdef/x",
        "proc/self/cwd/x",
        &name,
        &deep,
        &long,
    ];
    for path in paths {
        let sandbox = Sandbox::new();
        let archive = forge(&[file(path)], &[], &[], CONTENT).unwrap();
        for _ in 0..2 {
            let extracted = extract(&archive, &sandbox.dest(), &Default::default()).await;
            assert_eq!(extracted.unwrap_or_else(|error| panic!("{path:?}: {error}")).files, 1);
            assert_eq!(sandbox.paths().last().unwrap(), path);
            assert_eq!(sandbox.paths().len(), path.split('/').count());
        }
        sandbox.assert_untouched(path);
    }
    // What the disk cannot have is an error.
    let sandbox = Sandbox::new();
    let archive = forge(&[file(&"n".repeat(256))], &[], &[], CONTENT).unwrap();
    assert!(matches!(extract(&archive, &sandbox.dest(), &Default::default()).await, Err(Error::Io { .. })));
    assert!(sandbox.paths().is_empty());
    sandbox.assert_untouched("a name of 256 bytes");
}

#[tokio::test]
async fn names_that_differ_only_for_a_disk_are_both_there_or_none_is_lost() {
    for names in [["a", "A"], ["ß", "SS"], ["é", "e\u{301}"], ["x", "x "], ["x", "x."], ["ı", "I"], ["ﬁ", "fi"]] {
        let sandbox = Sandbox::new();
        let mut names = names;
        names.sort();
        let other: &[u8] = b"other";
        let second = Entry { data_offset: 7, data_size: 5, original_size: 5, hash: hash(other), ..file(names[1]) };
        let archive = forge(&[file(names[0]), second], &[], &[], &[CONTENT, other].concat()).unwrap();
        match extract(&archive, &sandbox.dest(), &Default::default()).await {
            Ok(_) => {
                assert_eq!(fs::read(sandbox.dest().join(names[0])).unwrap(), CONTENT);
                assert_eq!(fs::read(sandbox.dest().join(names[1])).unwrap(), other);
            }
            Err(error) => assert!(matches!(error, Error::Collision { .. }), "{error}"),
        }
        sandbox.assert_untouched(names[0]);
    }
}

#[tokio::test]
async fn links_of_an_archive_are_made_and_never_followed() {
    let sandbox = Sandbox::new();
    let outside = sandbox.outside("outside").display().to_string();
    // Files through links: no index may say that.
    for (links, path) in [
        (vec![link("a", &outside)], "a/victim"),
        (vec![link("a", "..")], "a/victim"),
        (vec![link("a", "b"), link("b", "..")], "b/x"),
        (vec![link("a", "b"), link("b", &outside)], "a/deep/victim"),
        (vec![link("d/a", "../..")], "d/a/victim"),
        (vec![link("a", "a")], "a/a"),
        (vec![link("a", ".")], "a/b"),
    ] {
        let archive = forge(&[file(path)], &links, &[], CONTENT);
        assert!(matches!(archive, Err(Error::InvalidIndex { .. })), "{path}");
        let archive = forge(&[], &links, &[directory(path)], CONTENT);
        assert!(matches!(archive, Err(Error::InvalidIndex { .. })), "{path}");
    }
    // Links that lead anywhere: they are made as they are.
    for target in [&outside, "..", "../victim", "/", "/dev/null", "a", ".", "../../../../../../etc", "x\ny", "~"] {
        let sandbox = Sandbox::new();
        let archive = forge(&[file("f")], &[link("a", target), link("d/b", target)], &[], CONTENT).unwrap();
        for clean in [false, true, false] {
            extract(&archive, &sandbox.dest(), &ExtractOptions { clean, ..Default::default() }).await.unwrap();
            assert_eq!(sandbox.paths(), ["a", "d", "d/b", "f"]);
            assert_eq!(fs::read_link(sandbox.dest().join("a")).unwrap(), Path::new(target));
        }
        sandbox.assert_untouched(target);
    }
    // A second archive whose files lie below what the first has as links.
    let sandbox = Sandbox::new();
    let first = forge(&[], &[link("a", &outside), link("d/b", "../../outside")], &[], CONTENT).unwrap();
    extract(&first, &sandbox.dest(), &Default::default()).await.unwrap();
    let second = forge(&[file("a/victim"), file("d/b/victim")], &[], &[], CONTENT).unwrap();
    let error = extract(&second, &sandbox.dest(), &Default::default()).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    sandbox.assert_untouched("two archives");
    extract(&second, &sandbox.dest(), &ExtractOptions { clean: true, ..Default::default() }).await.unwrap();
    assert_eq!(sandbox.paths(), ["a", "a/victim", "d", "d/b", "d/b/victim"]);
    sandbox.assert_untouched("two archives, the second clean");
}

/// What somebody has put where something is to go.
struct Obstacle {
    what: &'static str,
    is_dir: bool,
    put: fn(&Sandbox, &Path),
}

const fn other(what: &'static str, put: fn(&Sandbox, &Path)) -> Obstacle {
    Obstacle { what, is_dir: false, put }
}

const fn dir(what: &'static str, put: fn(&Sandbox, &Path)) -> Obstacle {
    Obstacle { what, is_dir: true, put }
}

const OBSTACLES: [Obstacle; 12] = [
    other("a link to a directory", |sandbox, at| symlink(sandbox.outside("outside"), at).unwrap()),
    other("a link to a directory, relative", |_, at| symlink("../../outside", at).unwrap()),
    other("a link to a file", |sandbox, at| symlink(sandbox.outside("victim"), at).unwrap()),
    other("a link to nothing", |sandbox, at| symlink(sandbox.outside("nothing"), at).unwrap()),
    other("a link to itself", |_, at| symlink(at.file_name().unwrap(), at).unwrap()),
    other("a link upwards", |_, at| symlink("..", at).unwrap()),
    other("a hard link", |sandbox, at| fs::hard_link(sandbox.outside("outside/victim"), at).unwrap()),
    other("a pipe", |_, at| rustix::fs::mknodat(CWD, at, FileType::Fifo, 0o600.into(), 0).unwrap()),
    other("a socket", |_, at| drop(std::os::unix::net::UnixListener::bind(at).unwrap())),
    other("a file nobody may write", |_, at| {
        fs::write(at, "old").unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o000)).unwrap();
    }),
    dir("an empty directory", |_, at| fs::create_dir(at).unwrap()),
    dir("a directory", |sandbox, at| {
        fs::create_dir(at).unwrap();
        symlink(sandbox.outside("outside"), at.join("more")).unwrap();
    }),
];

#[tokio::test]
async fn whatever_waits_in_the_destination_leads_nowhere_else() {
    let directories = [directory("d"), directory("d/e")];
    let links = [link("d/l", "x"), link("l", "x")];
    let archive = forge(&[file("d/e/f"), file("f")], &links, &directories, CONTENT).unwrap();
    for Obstacle { what, is_dir, put } in OBSTACLES {
        for place in ["f", "d", "d/e", "d/e/f", "l", "d/l"] {
            for (overwrite, clean) in [
                (Overwrite::Replace, false),
                (Overwrite::Replace, true),
                (Overwrite::Skip, false),
                (Overwrite::Fail, false),
            ] {
                let case = format!("{what} at {place}, {overwrite:?}, clean {clean}");
                let sandbox = Sandbox::new();
                let at = sandbox.dest().join(place);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                put(&sandbox, &at);
                let inode = fs::symlink_metadata(&at).unwrap().ino();
                let options = ExtractOptions { overwrite, clean, workers: 1, ..Default::default() };
                let came = extract(&archive, &sandbox.dest(), &options).await;
                sandbox.assert_untouched(&case);
                let is_kept = fs::symlink_metadata(&at).unwrap().ino() == inode;
                let is_for_dir = matches!(place, "d" | "d/e");
                let want = match overwrite {
                    _ if is_for_dir && is_dir => Ok(0),
                    _ if clean => Ok(0),
                    _ if is_for_dir => Err(()),
                    Overwrite::Replace if is_dir => Err(()),
                    Overwrite::Replace => Ok(0),
                    Overwrite::Skip => Ok(1),
                    Overwrite::Fail => Err(()),
                };
                match (&came, want) {
                    (Ok(came), Ok(skipped)) => assert_eq!(came.skipped, skipped, "{case}"),
                    (Err(Error::Conflict { path, .. }), Err(())) => assert_eq!(*path, at, "{case}"),
                    _ => panic!("{case}: {came:?}"),
                }
                let stays = want != Ok(0) || (is_for_dir && is_dir);
                assert_eq!(is_kept, stays, "{case}");
                if clean {
                    assert_eq!(sandbox.paths(), ["d", "d/e", "d/e/f", "d/l", "f", "l"], "{case}");
                }
                assert!(!sandbox.paths().iter().any(|path| path.starts_with(".skep-")), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn the_destination_may_be_reached_by_a_link_and_may_not_be_a_file() {
    let archive = forge(&[file("d/f")], &[], &[], CONTENT).unwrap();
    let sandbox = Sandbox::new();
    symlink(sandbox.dest(), sandbox.dest().join("self")).unwrap();
    extract(&archive, &sandbox.dest().join("self/self"), &Default::default()).await.unwrap();
    assert_eq!(sandbox.paths(), ["d", "d/f", "self"]);
    let error = extract(&archive, &sandbox.outside("victim"), &Default::default()).await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    sandbox.assert_untouched("a file as the destination");
}

/// A small archive with all kinds of things, as bytes of its index, and its data.
fn specimen() -> (Vec<u8>, Vec<u8>) {
    let packed = zstd::encode_all(&b"packed ".repeat(100)[..], 3).unwrap();
    let data = [CONTENT, &packed].concat();
    let second = Entry {
        data_offset: CONTENT.len() as u64,
        data_size: packed.len() as u64,
        original_size: 700,
        hash: hash(&b"packed ".repeat(100)),
        codec: Codec::Zstd,
        mtime_ns: 1,
        ..file("d/second")
    };
    let entries = [file("a"), file("d/first"), second];
    let (links, directories) = ([link("link", "a")], [directory("d"), directory("d/empty")]);
    let (links, directories) = (links.into_iter(), directories.into_iter());
    let index = write_index(entries.into_iter(), links, directories, data.len() as u64, hash(&data)).unwrap();
    (index.to_vec(), data)
}

#[tokio::test]
async fn a_corrupt_index_is_refused_or_gives_content_that_is_right() {
    let (good, data) = specimen();
    let sandbox = Sandbox::new();
    let options = ExtractOptions { workers: 1, ..Default::default() };
    extract(&open(good.clone().into(), &data).unwrap(), &sandbox.dest(), &options).await.unwrap();
    assert_eq!(sandbox.paths(), ["a", "d", "d/empty", "d/first", "d/second", "link"]);
    let mut corrupt: Vec<(String, Vec<u8>)> = Vec::new();
    for len in 0..good.len() {
        corrupt.push((format!("{len} bytes"), good[..len].to_vec()));
    }
    for at in 0..good.len() {
        for byte in [0, 0x2f, 0x7f, good[at] ^ 1] {
            let mut index = good.clone();
            index[at] = byte;
            corrupt.push((format!("byte {at} is {byte}"), index));
        }
    }
    for at in (0..good.len() - 3).step_by(4) {
        for word in [0u32, 3, 0x7fff_ffff, u32::MAX] {
            let mut index = good.clone();
            index[at..at + 4].copy_from_slice(&word.to_le_bytes());
            corrupt.push((format!("word {at} is {word}"), index));
        }
    }
    let (mut refused, mut taken) = (0, 0);
    for (number, (what, index)) in corrupt.into_iter().enumerate() {
        let Ok(archive) = open(index.into(), &data) else {
            refused += 1;
            continue;
        };
        taken += 1;
        let dest = sandbox.dest().join(number.to_string());
        let _ = extract(&archive, &dest, &options).await;
        sandbox.assert_untouched(&what);
        let mut left = vec![dest];
        while let Some(path) = left.pop() {
            let kind = fs::symlink_metadata(&path).unwrap();
            if !kind.is_symlink() {
                fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            }
            if kind.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|item| item.unwrap().path()));
            } else if kind.is_file() {
                let content = fs::read(&path).unwrap();
                assert!(content == CONTENT || content == b"packed ".repeat(100), "{what}");
            }
        }
    }
    assert!(refused > 1000 && taken > 100, "{refused} are refused, {taken} are taken");
}

#[tokio::test]
async fn metadata_is_what_it_can_be_and_never_more_than_permissions_and_time() {
    let umask = 0o777;
    for mode in [0, 0o000, 0o200, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o6777, 0o7777, 0o100_644, u32::MAX] {
        let sandbox = Sandbox::new();
        let directories = [Directory { mode: mode & !0o700 | 0o500, ..directory("d") }];
        let files = [Entry { mode, ..file("d/f") }, Entry { mode, ..file("f") }];
        let archive = forge(&files, &[], &directories, CONTENT).unwrap();
        // The second time it is there, and the directory may not be written.
        for _ in 0..2 {
            extract(&archive, &sandbox.dest(), &Default::default()).await.unwrap();
            for path in ["d/f", "f"] {
                let mode_there = fs::metadata(sandbox.dest().join(path)).unwrap().mode() & 0o7777;
                assert_eq!(mode_there, mode & umask, "{path} {mode:o}");
            }
            let mode_there = fs::metadata(sandbox.dest().join("d")).unwrap().mode() & 0o7777;
            assert_eq!(mode_there, (mode & !0o700 | 0o500) & umask, "{mode:o}");
        }
        sandbox.assert_untouched(&format!("{mode:o}"));
    }
    for mtime_ns in [i64::MIN, i64::MIN + 1, -1_000_000_001, -1, 0, 1, 999_999_999, i64::MAX] {
        let sandbox = Sandbox::new();
        let links = [Symlink { mtime_ns, ..link("l", "f") }];
        let directories = [Directory { mtime_ns, ..directory("d") }];
        let archive = forge(&[Entry { mtime_ns, ..file("f") }], &links, &directories, CONTENT).unwrap();
        extract(&archive, &sandbox.dest(), &Default::default()).await.unwrap();
        assert_eq!(fs::read(sandbox.dest().join("f")).unwrap(), CONTENT);
        // Disks clamp what they cannot keep.
        if (-1_000_000_001..=999_999_999).contains(&mtime_ns) {
            for path in ["d", "f", "l"] {
                let stat = fs::symlink_metadata(sandbox.dest().join(path)).unwrap();
                assert_eq!(stat.mtime() * 1_000_000_000 + stat.mtime_nsec(), mtime_ns, "{path}");
            }
        }
        sandbox.assert_untouched(&mtime_ns.to_string());
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for owner in [0, 1, 65534, u32::MAX - 1, u32::MAX] {
        let sandbox = Sandbox::new();
        let links = [Symlink { uid: owner, gid: owner, ..link("l", "../../victim") }];
        let directories = [Directory { uid: owner, gid: owner, ..directory("d") }];
        let entry = Entry { uid: owner, gid: owner, mode: 0o4755, ..file("f") };
        let archive = forge(&[entry], &links, &directories, CONTENT).unwrap();
        let options = ExtractOptions { owners: true, ..Default::default() };
        extract(&archive, &sandbox.dest(), &options).await.unwrap();
        for path in ["d", "f", "l"] {
            let stat = fs::symlink_metadata(sandbox.dest().join(path)).unwrap();
            // The largest number means nobody: it stays with who extracts.
            let want = if owner == u32::MAX { 0 } else { owner };
            assert_eq!((stat.uid(), stat.gid()), (want, want), "{path}");
        }
        assert_eq!(fs::metadata(sandbox.dest().join("f")).unwrap().mode() & 0o7777, 0o755);
        sandbox.assert_untouched(&owner.to_string());
    }
}

/// Seconds of the race; `SKEP_RACE_SECONDS` makes it longer.
fn race_seconds() -> u64 {
    std::env::var("SKEP_RACE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_turn_into_links_meanwhile_lead_nowhere_else() {
    let paths: Vec<String> = (0..120).map(|number| format!("{}/{}/victim{}", number % 3, number % 4, number)).collect();
    let mut paths: Vec<_> = paths.iter().map(String::as_str).collect();
    paths.extend(["0/0/victim", "1/1/victim", "deep/victim", "victim"]);
    paths.sort_unstable();
    let entries: Vec<_> = paths.iter().map(|path| file(path)).collect();
    let directories: Vec<_> = ["0", "0/0", "1", "2"].map(directory).into();
    let archive = forge(&entries, &[link("0/link", "../.."), link("1/1/link", "x")], &directories, CONTENT).unwrap();
    let sandbox = Sandbox::new();
    let dest = sandbox.dest();
    for path in ["0/0", "1/1", "2/2", "deep"] {
        fs::create_dir_all(dest.join(path)).unwrap();
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let is_over = || stop.load(std::sync::atomic::Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(race_seconds());
    let (mut good, mut bad) = (0, 0);
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        for (number, (parent, name)) in
            [("", "0"), ("0", "0"), ("1", "1"), ("", "deep"), ("", "2")].into_iter().enumerate()
        {
            let (top, outside) = (fs::File::open(&dest).unwrap(), sandbox.outside("outside"));
            let aside = format!("aside{number}");
            scope.spawn(move || {
                // By handles, so that this does not follow the links of its neighbours.
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
                while !is_over() {
                    let parent = if parent.is_empty() { "." } else { parent };
                    let Ok(parent) = rustix::fs::openat(&top, parent, flags, Mode::empty()) else { continue };
                    if rustix::fs::renameat(&parent, name, &top, &aside).is_ok() {
                        let _ = rustix::fs::symlinkat(&outside, &parent, name);
                        std::thread::yield_now();
                        let _ = rustix::fs::unlinkat(&parent, name, AtFlags::empty());
                        let _ = rustix::fs::renameat(&top, &aside, &parent, name);
                    }
                    // Cleaning may have taken it.
                    let _ = rustix::fs::mkdirat(&parent, name, Mode::RWXU);
                }
            });
        }
        let race = async {
            while Instant::now() < deadline {
                for (overwrite, clean) in
                    [(Overwrite::Replace, false), (Overwrite::Replace, true), (Overwrite::Skip, false)]
                {
                    let options = ExtractOptions { overwrite, clean, workers: 2, ..Default::default() };
                    match extract(&archive, &dest, &options).await {
                        Ok(_) => good += 1,
                        Err(_) => bad += 1,
                    }
                }
                sandbox.assert_untouched("in the race");
            }
        };
        let raced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            tokio::task::block_in_place(|| runtime.block_on(race));
        }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Err(panic) = raced {
            std::panic::resume_unwind(panic);
        }
    });
    sandbox.assert_untouched("after the race");
    assert!(good + bad > 10, "{good} went well, {bad} did not");
    // Whoever comes next in peace makes it right.
    extract(&archive, &dest, &ExtractOptions { clean: true, ..Default::default() }).await.unwrap();
    assert_eq!(fs::read(dest.join("0/0/victim")).unwrap(), CONTENT);
    assert!(!sandbox.paths().iter().any(|path| path.starts_with(".skep-") || path.starts_with("aside")));
}
