//! Sessions that look through an archive: `find` and `du`.

use std::fs;
use std::fs::File;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::desk::Desk;
use crate::desk::field;

#[test]
fn files_are_found_by_what_they_are() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("site/logs/old")).unwrap();
    fs::write(desk.path("site/logs/a.txt"), "").unwrap();
    fs::write(desk.path("site/logs/old/b.txt"), vec![b'x'; 2048]).unwrap();
    File::open(desk.path("site/logs/old/b.txt"))
        .unwrap()
        .set_modified(UNIX_EPOCH + Duration::from_secs(86_400))
        .unwrap();
    desk.ok("push -q site oci:store");
    for (line, want) in [
        ("", "css/ css/empty/ css/main.css css.txt index.html logs/ logs/a.txt logs/old/ logs/old/b.txt start"),
        ("--name *.txt", "css.txt logs/a.txt logs/old/b.txt"),
        ("--name *.html --name s*", "index.html start"),
        ("--path logs/*.txt", "logs/a.txt"),
        ("--path logs/**", "logs/a.txt logs/old/ logs/old/b.txt"),
        ("--type l", "start"),
        ("--type d,l", "css/ css/empty/ logs/ logs/old/ start"),
        ("--type f --size +1k", "css/main.css logs/old/b.txt"),
        ("--size -18 --size +0", "css.txt index.html"),
        ("--size 2k", "logs/old/b.txt"),
        ("--older-than 1971-01-01 --type f", "logs/old/b.txt"),
        ("--newer-than 2h --name b.txt", ""),
        ("--newer-than 2h --name a.txt", "logs/a.txt"),
        ("--empty", "css/empty/ logs/a.txt"),
        ("--max-depth 1 --type d", "css/ logs/"),
        ("--min-depth 3", "logs/old/b.txt"),
        ("--name nothing", ""),
    ] {
        let found = desk.ok(&format!("find oci:store {line}"));
        assert_eq!(found.lines().collect::<Vec<_>>().join(" "), want, "{line}");
    }
    assert_eq!(desk.ok("find oci:store logs --type f"), "logs/a.txt\nlogs/old/b.txt\n");
    assert_eq!(desk.ok("find oci:store css.txt"), "css.txt\n");
    assert_eq!(desk.ok("find -0 oci:store logs --type f"), "logs/a.txt\0logs/old/b.txt\0");
    assert_eq!(desk.ok("find -0l --json oci:store logs --name b.txt"), "logs/old/b.txt\0");
    assert!(desk.ok("find -l oci:store --name b.txt").ends_with(" 1970-01-02 00:00 logs/old/b.txt\n"));
    let json: serde_json::Value = serde_json::from_str(&desk.ok("find --json oci:store --name b.txt")).unwrap();
    assert_eq!((&json["schema"], &json["entries"][0]["size"]), (&"skep/find/v1".into(), &2048.into()));
    assert_eq!(desk.run("find oci:store nothing").exit, 4);
    for wrong in ["--size 1X", "--type x", "--newer-than soon", "--name a["] {
        assert_eq!(desk.run(&format!("find oci:store {wrong}")).exit, 2, "{wrong}");
    }
}

#[test]
fn sums_count_shared_content_once() {
    let desk = Desk::new();
    fs::remove_dir_all(desk.path("site")).unwrap();
    for (path, content) in [("a/one", b'x'), ("a/b/two", b'x'), ("a/b/three", b'y'), ("c/four", b'x')] {
        let path = desk.path("site").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![content; 1024]).unwrap();
        File::open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    }
    desk.ok("push -q -c none site oci:store");
    let lines = |line: &str| {
        desk.ok(line)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(desk.ok("du oci:store"), "        2048  a/b/\n        2048  a/\n           0  c/\n        2048  .\n");
    assert_eq!(lines("du --apparent oci:store"), "2048 a/b/, 3072 a/, 1024 c/, 4096 .");
    assert_eq!(lines("du --stored oci:store"), "2048 a/b/, 2048 a/, 0 c/, 2048 .");
    assert_eq!(lines("du -d 1 --apparent --sort size oci:store"), "4096 ., 3072 a/, 1024 c/");
    assert_eq!(lines("du -d 1 --apparent --sort size -r oci:store"), "1024 c/, 3072 a/, 4096 .");
    assert_eq!(lines("du -s --max-depth 1 --apparent oci:store"), "4096 .");
    assert_eq!(lines("du -sh --apparent oci:store"), "4.0 KiB .");
    assert_eq!(lines("du -a oci:store a/b"), "1024 a/b/three, 1024 a/b/two, 2048 a/b/");
    assert_eq!(lines("du oci:store a/one"), "1024 a/one");
    let json: serde_json::Value = serde_json::from_str(&desk.ok("du --json -s oci:store")).unwrap();
    let root = serde_json::json!({"path": "", "kind": "directory", "files": 4, "size": 2048, "stored": 2048});
    assert_eq!((&json["schema"], &json["entries"]), (&"skep/du/v1".into(), &serde_json::json!([root])));
    assert_eq!(field(&desk.ok("du --json --apparent oci:store"), "shared_once"), "false");
    assert_eq!(desk.run("du oci:store nothing").exit, 4);
    assert_eq!(desk.run("du --sort time oci:store").exit, 2);
}
