//! Sessions with what is remembered of registries.

use std::fs;

use crate::desk::Desk;
use crate::desk::Served;
use crate::desk::field;

/// What a server was asked after a marker, `repo/after`, that somebody has looked for in vain.
fn asked(served: Served) -> Vec<String> {
    let (_, log) = served.stop();
    let (_, after) = log.rsplit_once("repo/after").expect("the marker is in the log");
    after.lines().skip(1).filter(|line| line.contains("/v2/")).map(str::to_owned).collect()
}

#[test]
fn the_next_process_remembers() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    desk.ok(&format!("push site {site}"));
    desk.ok(&format!("cat {site} css.txt index.html"));
    assert_eq!(desk.run(&format!("inspect {}/repo/after:v1", served.addr)).exit, 4);
    assert_eq!(desk.ok(&format!("cat {site} css.txt index.html")), "sorts before css/<h1>hello</h1>\n");
    desk.ok(&format!("ls -R {site}"));
    desk.ok(&format!("tree {site}"));
    desk.ok(&format!("find {site} --name *.css"));
    desk.ok(&format!("du {site}"));
    desk.ok(&format!("stat {site} css.txt"));
    desk.ok(&format!("diff {site} site"));
    desk.ok(&format!("inspect {site}"));
    desk.ok(&format!("cat --offline {site} css.txt"));
    desk.ok(&format!("inspect --offline {site}"));
    // What refers to an archive is not remembered.
    let asked = asked(served);
    assert!(asked.len() == 1 && asked[0].contains("/v2/site/referrers/"), "{asked:?}");
}

#[test]
fn who_copies_asks_and_who_looks_believes() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    let digest = |line: String| field(&desk.ok(&line), "digest");
    let one = digest(format!("push --json site {site}"));
    assert_eq!(digest(format!("inspect --json {site}")), one);
    // Through the same cache a move is seen at once; this one goes past it.
    fs::write(desk.path("site/css.txt"), "new").unwrap();
    let two = digest(format!("push --json --no-cache site {site}"));
    assert_eq!(digest(format!("inspect --json {site}")), one);
    assert_eq!(digest(format!("inspect --json --refresh {site}")), two);
    assert_eq!(digest(format!("inspect --json {site}")), two);
    fs::write(desk.path("site/css.txt"), "newer").unwrap();
    let three = digest(format!("push --json --no-cache site {site}"));
    assert_eq!(digest(format!("pull --json --tag-lifetime 1h {site} believed")), two);
    assert_eq!(digest(format!("pull --json {site} copy")), three);
    assert_eq!(fs::read_to_string(desk.path("copy/css.txt")).unwrap(), "newer");
    fs::write(desk.path("site/css.txt"), "newest").unwrap();
    let four = digest(format!("push --json --no-cache site {site}"));
    assert_eq!(desk.ok(&format!("digest {site}")), format!("{four}\n"));
    fs::write(desk.path("site/css.txt"), "own").unwrap();
    let five = digest(format!("push --json site {site}"));
    assert_eq!(digest(format!("inspect --json {site}")), five);
    assert_eq!(desk.ok(&format!("cat {site} css.txt")), "own");
}

#[test]
fn offline_what_is_not_remembered_is_said() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    desk.ok(&format!("push site {site}"));
    desk.ok(&format!("cat {site} css.txt"));
    served.stop();
    assert_eq!(desk.ok(&format!("cat --offline {site} css.txt")), "sorts before css/");
    for line in [
        format!("cat --offline {site} index.html"),
        format!("cat --offline {site}9 css.txt"),
        format!("push --offline site {site}"),
        format!("tag --offline {site} v2"),
        format!("pull --offline {site} copy"),
        format!("tags --offline {}", site.trim_end_matches(":v1")),
        format!("cat --offline --no-cache {site} css.txt"),
    ] {
        let came = desk.run(&line);
        assert_eq!(came.exit, 7, "{line}: {}", came.err);
        assert!(came.err.contains("offline: ") && came.err.contains("hint: leave out --offline"), "{}", came.err);
    }
    assert_eq!(desk.run(&format!("cat --offline --refresh {site} css.txt")).exit, 2);
}

#[test]
fn what_is_remembered_is_counted_and_forgotten() {
    let desk = Desk::new();
    let dir = desk.path(".cache/skep").display().to_string();
    assert_eq!(desk.ok("cache dir"), format!("{dir}\n"));
    assert_eq!(desk.ok("cache status"), format!("{dir}: 0 values, 0 B of 4.0 GiB\n"));
    desk.ok("cache clear");
    assert!(!desk.path(".cache").exists());
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    desk.ok(&format!("push site {site}"));
    desk.ok(&format!("cat {site} css.txt css/main.css"));
    let status = desk.ok("cache status --json");
    let number = |json: &str, key: &str| field(json, key).parse::<u64>().unwrap();
    assert_eq!((field(&status, "schema"), field(&status, "enabled")), ("skep/cache/v1".to_owned(), "true".to_owned()));
    assert!(number(&status, "entries") >= 5 && number(&status, "bytes") > 9500, "{status}");
    let verified = desk.ok("cache verify --json");
    assert_eq!((number(&verified, "whole"), number(&verified, "broken")), (number(&status, "entries"), 0));
    for shard in fs::read_dir(&dir).unwrap().map(|item| item.unwrap().path()).filter(|path| path.is_dir()) {
        for item in fs::read_dir(shard).unwrap() {
            fs::write(item.unwrap().path(), "broken").unwrap();
        }
    }
    assert_eq!(desk.ok(&format!("cat {site} css.txt")), "sorts before css/");
    let pruned = desk.ok("cache prune --to 1KiB --json");
    assert!(number(&pruned, "bytes") <= 1024 && number(&pruned, "removed_entries") > 0, "{pruned}");
    assert!(desk.ok("cache clear").contains("removed "));
    assert_eq!(number(&desk.ok("cache status --json"), "entries"), 0);
    assert_eq!(desk.ok("cache status --cache-dir other --no-cache"), "other: 0 values, 0 B of 4.0 GiB, not used\n");
    assert_eq!(desk.run("cache prune --to much").exit, 2);
}

#[test]
fn a_cache_that_cannot_be_used_costs_time_only() {
    let desk = Desk::new();
    fs::write(desk.path("place"), "a file").unwrap();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    desk.ok(&format!("push --cache-dir place site {site}"));
    for _ in 0..2 {
        let came = desk.run(&format!("cat --cache-dir place {site} css.txt"));
        assert_eq!((came.exit, came.out.as_str()), (0, "sorts before css/"));
        assert!(came.err.contains("going on without"), "{}", came.err);
    }
    assert_eq!(desk.run("cache status --cache-dir place").exit, 12);
    // Nobody may make directories there, not even root.
    assert_eq!(desk.ok(&format!("cat --cache-dir /proc/self/cache {site} css.txt")), "sorts before css/");
    assert_eq!(fs::read(desk.path("place")).unwrap(), b"a file");
    assert_eq!(desk.ok(&format!("cat --no-cache {site} css.txt")), "sorts before css/");
    assert!(!desk.path(".cache").exists());
}

#[test]
fn a_file_says_what_is_remembered() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    let config = "[cache]\ndir = 'kept'\nmax-size = '1MiB'\ntag-lifetime = '0s'\n";
    fs::write(desk.path(".config/skep/config.toml"), config).unwrap();
    let kept = desk.path(".config/skep/kept").display().to_string();
    assert_eq!(desk.ok("cache status"), format!("{kept}: 0 values, 0 B of 1.0 MiB\n"));
    let came = desk.ok("config --json");
    assert_eq!((field(&came, "max_bytes"), field(&came, "tag_seconds")), ("1048576".to_owned(), "0".to_owned()));
    assert!(desk.ok("config").contains(&format!("cache: {kept}\n")));
    fs::write(desk.path(".config/skep/config.toml"), "[cache]\nenabled = false\n").unwrap();
    assert!(desk.ok("config").contains("cache: none\n"));
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    desk.ok(&format!("push site {site}"));
    desk.ok(&format!("cat {site} css.txt"));
    assert!(!desk.path(".cache").exists());
}
