//! Sessions with `diff`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;

use crate::desk::Desk;

/// The desk with `oci:store:v1`, and a site that is different in all ways.
fn changed() -> Desk {
    let desk = Desk::new();
    fs::write(desk.path("site/old name.txt"), "moves").unwrap();
    desk.ok("push -q site oci:store:v1");
    fs::write(desk.path("site/index.html"), "<h1>hello, world</h1>\n").unwrap();
    fs::set_permissions(desk.path("site/css.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_dir(desk.path("site/css/empty")).unwrap();
    fs::create_dir(desk.path("site/new")).unwrap();
    fs::rename(desk.path("site/old name.txt"), desk.path("site/new/name.txt")).unwrap();
    fs::remove_file(desk.path("site/start")).unwrap();
    symlink("css.txt", desk.path("site/start")).unwrap();
    desk
}

const WORDS: &str = "\
M css.txt  (mode 600 is now 644)
D css/empty/
M index.html  (15 B is now 22 B)
A new/
R old name.txt -> new/name.txt
M start  (index.html is now css.txt)
";

#[test]
fn archives_and_directories_are_compared() {
    let desk = changed();
    // The mode of directories is what the mask of this process makes it; nothing changes it here.
    assert_eq!(desk.ok("diff oci:store:v1 site"), WORDS);
    desk.ok("push -q site oci:store:v2");
    assert_eq!(desk.ok("diff oci:store:v1 oci:store:v2"), WORDS);
    assert_eq!(desk.ok("diff oci:store:v2 site"), "");
    assert_eq!(desk.ok("diff ./site oci:store:v2"), "");
    assert_eq!(
        desk.ok("diff --name-status oci:store:v1 oci:store:v2"),
        "M\tcss.txt\nD\tcss/empty\nM\tindex.html\nA\tnew\nR\told name.txt\tnew/name.txt\nM\tstart\n"
    );
    assert_eq!(
        desk.ok("diff --name-only -0 oci:store:v1 oci:store:v2"),
        "css.txt\0css/empty\0index.html\0new\0new/name.txt\0start\0"
    );
    assert_eq!(
        desk.ok("diff --stat oci:store:v1 oci:store:v2"),
        "       1 added\n       1 removed\n       3 changed\n       1 renamed\n6 differences, 22 B came, 15 B went\n"
    );
    assert!(!desk.ok("diff --ignore mode,time,owner oci:store:v1 site").contains("css.txt  "));
    assert!(desk.ok("diff --ignore none oci:store:v1 site").contains("time"));
    let split = desk.ok("diff --no-renames oci:store:v1 site");
    assert!(split.contains("A new/name.txt\n") && split.contains("D old name.txt\n"), "{split}");
}

#[test]
fn the_exit_code_tells_only_if_asked_to() {
    let desk = changed();
    let came = desk.run("diff --exit-code oci:store:v1 site");
    assert_eq!((came.exit, came.out.as_str(), came.err.as_str()), (1, WORDS, ""));
    assert_eq!(desk.run("diff --exit-code site site").exit, 0);
    assert_eq!(desk.run("diff oci:store:v1 site").exit, 0);
    assert_eq!(desk.run("diff oci:store:v9 site").exit, 4);
    assert_eq!(desk.run("diff oci:store:v1 ./nowhere").exit, 12);
    let came = desk.run("diff oci:store:v1 nowhere");
    assert!(came.exit == 2 && came.err.contains("neither a directory here nor an address"), "{came:?}");
    assert_eq!(desk.run("diff --stat --name-only site site").exit, 2);
}

#[test]
fn json_has_both_sides() {
    let desk = changed();
    let json: serde_json::Value = serde_json::from_str(&desk.ok("diff --json oci:store:v1 site")).unwrap();
    assert_eq!(json["schema"], "skep/diff/v1");
    assert_eq!([&json["added"], &json["removed"], &json["changed"], &json["renamed"]], [1, 1, 3, 1]);
    let page = &json["changes"][2];
    assert_eq!((&page["status"], &page["aspects"]), (&"changed".into(), &serde_json::json!(["content"])));
    assert_eq!((&page["before"]["size"], &page["after"]["size"]), (&15.into(), &22.into()));
    assert_eq!(
        (&json["changes"][4]["from"], &json["changes"][4]["path"]),
        (&"old name.txt".into(), &"new/name.txt".into())
    );
}
