//! Sessions about copies into archives.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::process::Stdio;

use crate::desk::Came;
use crate::desk::Desk;
use crate::desk::census;
use crate::desk::field;

fn with_input(desk: &Desk, line: &str, input: &[u8]) -> Came {
    let mut command = desk.command(line);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // Whoever refuses its input early does not read it all.
    let _ = child.stdin.take().unwrap().write_all(input);
    Came::from(child.wait_with_output().unwrap())
}

/// Copies files, directories and standard input into an archive, and in the same way into a directory.
fn goes_in(desk: &Desk, to: &str, copy: &str) {
    desk.ok(&format!("push --annotation who=me site {to}"));
    fs::write(desk.path("site/css.txt"), "another").unwrap();
    let one = desk.ok(&format!("cp --json site/css.txt {to}:/"));
    assert_eq!((field(&one, "files"), field(&one, "sent_blobs")), ("3".to_owned(), "2".to_owned()));
    assert_eq!(field(&desk.ok(&format!("cp --json site/css.txt {to}:/")), "sent_blobs"), "0");

    fs::create_dir_all(desk.path("more/deep")).unwrap();
    fs::write(desk.path("more/deep/file"), "deep").unwrap();
    desk.ok(&format!("cp more {to}:/"));
    desk.ok(&format!("cp more/. {to}:/css/"));
    desk.ok(&format!("cp more {to}:/css/renamed"));
    desk.ok(&format!("cp more/deep/file site/index.html {to}:/new/"));
    let came = with_input(desk, &format!("cp - {to}:/new/piped"), b"from a pipe");
    assert_eq!((came.exit, came.out.as_str()), (0, ""), "{}", came.err);
    assert!(came.err.contains("now 9 files"), "{}", came.err);
    desk.ok(&format!("pull {to} {copy}"));
    let read = |path: &str| fs::read_to_string(desk.path(copy).join(path)).unwrap();
    assert_eq!(
        (read("new/piped"), read("new/file"), read("new/index.html")),
        ("from a pipe".to_owned(), "deep".to_owned(), "<h1>hello</h1>\n".to_owned())
    );
    // What was not copied is as it was, and what was is as it is here.
    assert_eq!(census(&desk.path(copy).join("more")), census(&desk.path("more")));
    assert_eq!(census(&desk.path(copy).join("css/deep")), census(&desk.path("more/deep")));
    assert_eq!(census(&desk.path(copy).join("css/renamed")), census(&desk.path("more")));
    let lines = |dir: &str, name: &str| {
        census(&desk.path(dir)).into_iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>()
    };
    for name in ["css.txt ", "css/main.css ", "css/empty/", "index.html ", "start "] {
        assert_eq!(lines(copy, name), lines("site", name), "{name}");
    }
    assert_eq!(field(&desk.ok(&format!("inspect --json {to}")), "who"), "me");
    fs::remove_dir_all(desk.path("more")).unwrap();
}

#[test]
fn files_and_directories_are_copied_into_a_layout() {
    goes_in(&Desk::new(), "oci:store:v1", "copy");
}

#[test]
fn files_and_directories_are_copied_into_a_registry() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    goes_in(&desk, &format!("{}/team/site:v1", served.addr), "copy");
}

#[test]
fn a_tag_that_is_not_there_is_made() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    for to in ["oci:store:v1".to_owned(), format!("{}/team/site:v1", served.addr)] {
        desk.ok(&format!("cp site/css/. {to}:/"));
        desk.ok(&format!("cp site/index.html {to}:/a/b.html"));
        assert_eq!(desk.ok(&format!("ls -R {to}")), "a/\na/b.html\nempty/\nmain.css\n");
    }
}

#[test]
fn patterns_and_ignore_files_leave_things_out_of_a_copy() {
    let desk = Desk::new();
    fs::write(desk.path("site/.skepignore"), "*.html\n.skepignore\n").unwrap();
    let came = desk.run("cp --exclude *.css site oci:store:/");
    assert!(came.exit == 0 && came.err.contains("left out as it was said: 3 paths"), "{}", came.err);
    assert_eq!(desk.ok("ls -R oci:store"), "site/\nsite/css/\nsite/css/empty/\nsite/css.txt\nsite/start\n");
    desk.ok("cp --no-ignore-files --include *.html site/. oci:store:/");
    assert_eq!(desk.ok("cat oci:store index.html"), "<h1>hello</h1>\n");
}

#[test]
fn what_moves_meanwhile_is_not_lost() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    for (at, to) in ["oci:store:v1".to_owned(), format!("{}/team/site:v1", served.addr)].iter().enumerate() {
        for is_new in [true, false] {
            let mut command = desk.command(&format!("cp - {to}:/slow"));
            let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            // More than a pipe holds is taken only when the archive was read.
            input.write_all(&vec![b'x'; 1 << 20]).unwrap();
            fs::write(desk.path("site/index.html"), format!("{at} {is_new}")).unwrap();
            let theirs = field(&desk.ok(&format!("push --json site {to}")), "digest");
            drop(input);
            let status = child.wait().unwrap();
            let mut words = String::new();
            child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
            assert_eq!(status.code(), Some(6), "{to} {is_new}: {words}");
            assert!(words.contains("hint: somebody else has pushed meanwhile"), "{words}");
            assert_eq!(field(&desk.ok(&format!("inspect --json {to}")), "digest"), theirs);
        }
        assert_eq!(with_input(&desk, &format!("cp - {to}:/slow"), b"again").exit, 0);
        assert_eq!(desk.ok(&format!("cat {to} slow")), "again");
    }
}

#[test]
fn copies_that_cannot_be_are_refused() {
    let desk = Desk::new();
    let digest = field(&desk.ok("push --json site oci:store:v1"), "digest");
    for (line, exit, words) in [
        (format!("cp site/css.txt oci:store@{digest}:/"), 2, "needs a tag"),
        ("cp - oci:store:v1:/".to_owned(), 2, "has no name"),
        ("cp - oci:store:v1:/css".to_owned(), 2, "has no name"),
        ("cp site/css.txt site/index.html oci:store:v1:/x".to_owned(), 2, "not a directory of the archive"),
        ("cp oci:store:v1:/css oci:store:v2:/".to_owned(), 2, "both in archives"),
        ("cp site/css.txt here".to_owned(), 2, "is not REF:/PATH"),
        ("cp --overwrite skip site/css.txt oci:store:v1:/".to_owned(), 2, "--overwrite"),
        ("cp missing oci:store:v1:/".to_owned(), 12, "missing"),
        ("cp site/css oci:store:v1:/css.txt".to_owned(), 1, "css.txt: it is a directory, and a file"),
        ("cp site/css.txt oci:store:v1:/start/x".to_owned(), 1, "start, which is a symbolic link"),
        ("cp site/css.txt oci:store:v1:/a/../b".to_owned(), 1, "is not a path"),
        ("cp --offline site/css.txt 127.0.0.1:1/a/b:/x".to_owned(), 7, "offline"),
    ] {
        let came = desk.run(&line);
        assert_eq!(came.exit, exit, "{line}: {}", came.err);
        assert!(came.err.contains(words), "{line}: {}", came.err);
    }
    assert_eq!(field(&desk.ok("inspect --json oci:store:v1"), "digest"), digest);
    // A tag with a digest moves as long as it has that.
    desk.ok(&format!("cp site/css.txt oci:store:v1@{digest}:/x"));
    let late = desk.run(&format!("cp site/css.txt oci:store:v1@{digest}:/y"));
    assert_eq!(late.exit, 6, "{}", late.err);
    // What begins with a dot is here, whatever follows.
    fs::create_dir(desk.path("a:")).unwrap();
    desk.ok("cp oci:store:v1:/x ./a:/x");
    desk.ok("cp ./a:/x oci:store:v1:/y");
    desk.ok("alias set site oci:store:v1");
    desk.ok("cp site/index.html @site:/z");
    assert_eq!(desk.ok("cat @site y z"), "sorts before css/<h1>hello</h1>\n");
}
