//! Sessions that look at an archive: `cat`, `ls`, `tree`, `stat`, `inspect`.

use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use crate::desk::Desk;
use crate::desk::field;

/// The desk with times and modes that are known, pushed to `oci:store`.
fn known() -> Desk {
    let desk = Desk::new();
    for (at, path) in ["index.html", "css.txt", "css/main.css", "css/empty", "css"].iter().enumerate() {
        let path = desk.path("site").join(path);
        let mode = if path.is_dir() { 0o755 } else { 0o640 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_600_000_000 + 86_400 * at as u64);
        File::open(&path).unwrap().set_modified(time).unwrap();
    }
    desk.ok("push -q site oci:store");
    desk
}

#[test]
fn listings_show_files_directories_and_links() {
    let desk = Desk::new();
    desk.ok("push site oci:store");
    assert_eq!(desk.ok("ls oci:store"), "css/\ncss.txt\nindex.html\nstart\n");
    assert_eq!(desk.ok("ls oci:store css"), "empty/\nmain.css\n");
    assert_eq!(desk.ok("ls -R oci:store"), "css/\ncss/empty/\ncss/main.css\ncss.txt\nindex.html\nstart\n");
    assert_eq!(desk.ok("ls -R oci:store css"), "empty/\nmain.css\n");
    assert_eq!(desk.ok("ls -d oci:store css"), "css/\n");
    assert_eq!(desk.ok("ls -d oci:store"), "./\n");
    assert_eq!(desk.ok("ls oci:store start"), "start\n");
    let json = desk.ok("ls --json oci:store css");
    assert_eq!((field(&json, "schema"), field(&json, "name")), ("skep/ls/v1".to_owned(), "empty".to_owned()));
    let came = desk.run("ls oci:store nothing");
    assert_eq!((came.exit, came.err.as_str()), (4, "error: nothing: not found\n"));
}

#[test]
fn long_listings_have_columns_and_an_order() {
    let desk = known();
    let main = field(&desk.ok("ls --json oci:store css/main.css"), "stored");
    let long = desk.ok("ls -l oci:store");
    let lines: Vec<_> = long.lines().collect();
    assert_eq!(lines[0], "drwxr-xr-x            -            - 2020-09-17 12:26 css/");
    assert_eq!(lines[1], "-rw-r-----           17           17 2020-09-14 12:26 css.txt");
    assert_eq!(lines[2], "-rw-r-----           15           15 2020-09-13 12:26 index.html");
    assert!(lines[3].starts_with("lrwxrwxrwx ") && lines[3].ends_with(" start -> index.html"), "{long}");
    let human = format!("-rw-r-----      9.3 KiB {:>12} 2020-09-15 12:26 main.css\n", format!("{main} B"));
    assert_eq!(desk.ok("ls -lh oci:store css/main.css"), human);
    assert_eq!(desk.ok("ls --sort size oci:store"), "css.txt\nindex.html\ncss/\nstart\n");
    assert_eq!(desk.ok("ls --sort size -r oci:store"), "start\ncss/\nindex.html\ncss.txt\n");
    let by_time = desk.ok("ls -r --sort time oci:store");
    assert!(by_time.starts_with("index.html\ncss.txt\ncss/\n"), "{by_time}");
    let digests = desk.ok("ls --digest oci:store");
    let hash = "sha256:6f2a2b0c2c5c9c4e";
    assert_eq!(hash.len(), 23);
    let line = digests.lines().nth(2).unwrap();
    let (digest, name) = line.split_once(' ').unwrap();
    assert_eq!((digest.len(), name), (71, "index.html"));
    assert_eq!(digest, field(&desk.ok("ls --json oci:store index.html"), "digest"));
    assert_eq!(digests.lines().next().unwrap(), format!("{:<71} css/", "-"));
}

#[test]
fn trees_count_what_they_show() {
    let desk = known();
    let links = "2 directories, 3 files, 1 link, 9.3 KiB\n";
    assert_eq!(
        desk.ok("tree oci:store"),
        format!(
            ".\n├── css/\n│   ├── empty/\n│   └── main.css\n├── css.txt\n├── index.html\n└── start -> index.html\n\n{links}"
        )
    );
    assert_eq!(desk.ok("tree -L 1 oci:store css"), "css\n├── empty/\n└── main.css\n\n1 directory, 1 file, 9.3 KiB\n");
    assert_eq!(
        desk.ok("tree --du oci:store"),
        format!(
            "[   9.3 KiB]  .\n├── [   9.3 KiB]  css/\n│   ├── [       0 B]  empty/\n│   └── [   9.3 KiB]  main.css\n\
             ├── [      17 B]  css.txt\n├── [      15 B]  index.html\n└── [         -]  start -> index.html\n\n{links}"
        )
    );
    fs::create_dir(desk.path("site/zoo")).unwrap();
    desk.ok("push -q site oci:store");
    let first: String = desk.ok("tree -s --dirs-first -L 1 oci:store").lines().take(3).collect::<Vec<_>>().join("\n");
    assert_eq!(first, ".\n├── [         -]  css/\n├── [         -]  zoo/");
    assert_eq!(desk.run("tree oci:store nothing").exit, 4);
    assert_ne!(desk.run("tree oci:store css.txt").exit, 0);
}

#[test]
fn parts_of_files_are_printed() {
    let desk = known();
    for (part, want) in [
        ("0-4", "sorts"),
        ("13-", "css/"),
        ("-4", "css/"),
        ("-99", "sorts before css/"),
        ("6:6", "before"),
        ("13-99", "css/"),
        ("17-", ""),
    ] {
        assert_eq!(desk.ok(&format!("cat --range {part} oci:store css.txt")), want, "{part}");
    }
    assert_eq!(desk.ok("cat --range=0-3 oci:store css.txt index.html"), "sort<h1>");
    let beyond = desk.run("cat --range 18- oci:store css.txt");
    assert_eq!((beyond.exit, beyond.out.as_str()), (2, ""));
    assert!(beyond.err.contains("css.txt: bytes 18 to 18 of 17"), "{}", beyond.err);
    assert_eq!(desk.run("cat --range 5 oci:store css.txt").exit, 2);
}

#[test]
fn patterns_stand_for_files_unless_one_is_called_so() {
    let desk = Desk::new();
    fs::write(desk.path("site/css/[x].txt"), "literal ").unwrap();
    fs::write(desk.path("site/css/x.txt"), "x ").unwrap();
    desk.ok("push -q site oci:store");
    assert_eq!(desk.ok("cat oci:store *.txt"), "sorts before css/");
    assert_eq!(desk.ok("cat oci:store **/*.txt"), "sorts before css/literal x ");
    assert_eq!(desk.ok("cat oci:store css/[x].txt"), "literal ");
    assert_eq!(desk.ok("cat oci:store css/[w-y].txt"), "x ");
    assert_eq!(desk.ok("cat oci:store s*t css/x.txt"), "<h1>hello</h1>\nx ");
    let came = desk.run("cat oci:store css.txt *.md");
    assert_eq!((came.exit, came.out.as_str()), (11, "sorts before css/"));
    assert!(came.err.contains("*.md: no file matches"), "{}", came.err);
    assert_eq!(desk.run("cat oci:store a[").exit, 2);
}

#[test]
fn several_files_are_read_together_and_printed_in_order() {
    let desk = Desk::new();
    for at in 0..40 {
        fs::write(desk.path(&format!("site/part{at:02}")), format!("<{at}>").repeat(100)).unwrap();
    }
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    desk.ok(&format!("push -q site {site}"));
    assert_eq!(desk.run(&format!("digest {}/no/where:v1", served.addr)).exit, 4);
    let backwards: Vec<_> = (0..40).rev().map(|at| format!("part{at:02}")).collect();
    let want: String = (0..40).rev().map(|at| format!("<{at}>").repeat(100)).collect();
    assert_eq!(desk.ok(&format!("cat {site} {} part39", backwards.join(" "))), want + &"<39>".repeat(100));
    let (_, log) = served.stop();
    let (_, after) = log.rsplit_once("no/where").expect("the marker is in the log");
    let requests = after.lines().skip(1).filter(|line| line.contains("/v2/")).count();
    assert!(requests <= 4, "{requests} requests: {after}");
}

#[test]
fn cards_tell_all_that_the_index_says() {
    let desk = known();
    let json = desk.ok("stat --json oci:store css.txt");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let card = &value["entries"][0];
    assert_eq!(value["schema"], "skep/stat/v1");
    let (uid, gid, offset) = (&card["uid"], &card["gid"], &card["offset"]);
    assert_eq!(
        desk.ok("stat oci:store css.txt"),
        format!(
            "css.txt\n  kind        file\n  size        17 B\n  stored      17 B, 100 %\n  compression none\n  \
             offset      {offset}\n  mode        640\n  owner       {uid}:{gid}\n  changed     2020-09-14T12:26:40Z\n  \
             digest      {}\n",
            card["digest"].as_str().unwrap()
        )
    );
    let link = desk.ok("stat oci:store start");
    assert!(link.contains("  kind        symlink\n"), "{link}");
    assert!(link.ends_with("  target      index.html\n  leads to    index.html\n"), "{link}");
    let two = desk.ok("stat oci:store css /");
    assert!(two.starts_with("css\n  kind        directory\n  below       1 file, 9.3 KiB (9500 B), stored"), "{two}");
    assert!(two.contains("\n\n.\n  kind        directory\n  below       3 files, "), "{two}");
    let came = desk.run("stat oci:store css.txt nothing");
    assert!(
        came.exit == 11 && came.out.starts_with("css.txt\n") && came.err.contains("nothing: not found"),
        "{came:?}"
    );
    fs::write(desk.path("site/large"), vec![b'x'; 3 << 20]).unwrap();
    desk.ok("push -q site oci:store");
    assert!(desk.ok("stat oci:store large").contains("  chunks      12 of 256.0 KiB\n"));
}

#[test]
fn an_archive_has_a_card() {
    let desk = known();
    let json: serde_json::Value = serde_json::from_str(&desk.ok("inspect --json oci:store")).unwrap();
    assert_eq!((&json["schema"], &json["files"], &json["size"]), (&"skep/inspect/v1".into(), &3.into(), &9532.into()));
    assert_eq!(json["compression"], serde_json::json!({"none": 2, "zstd": 1}));
    assert_eq!(json["largest"][0]["path"], "css/main.css");
    assert_eq!(json["referrers"], serde_json::json!({}));
    let digest = json["digest"].as_str().unwrap().to_owned();
    let subject =
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1});
    let config = serde_json::json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "size": 2});
    let signature = serde_json::json!({"schemaVersion": 2, "artifactType": "application/test", "config": config, "layers": [], "subject": subject});
    fs::write(desk.path("signature"), signature.to_string()).unwrap();
    desk.ok("manifest put oci:store:signature signature");
    let card = desk.ok("inspect oci:store");
    let size = json["stored"].as_u64().unwrap();
    for line in [
        format!("oci:store@{digest}\n  digest      {digest}\n  created     "),
        "  contents    3 files, 2 directories, 1 link\n".to_owned(),
        format!("  size        9.3 KiB stored in {size} B (1 %)\n"),
        "  compression none: 2 files, zstd: 1 file\n".to_owned(),
        "  large          9.3 KiB  css/main.css\n  large             17 B  css.txt\n  large             15 B  index.html\n".to_owned(),
        "  annotation  org.opencontainers.image.created=".to_owned(),
        "  referrers   1 of application/test\n".to_owned(),
    ] {
        assert!(card.contains(&line), "{line:?} in {card}");
    }
}
