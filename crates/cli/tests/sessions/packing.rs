//! Sessions about what is packed: patterns, tar archives, archives that are there, and what would be pushed.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::desk::Came;
use crate::desk::Desk;
use crate::desk::census;
use crate::desk::field;

fn tar(desk: &Desk, line: &str) {
    let mut tar = std::process::Command::new("tar");
    let status = tar.args(line.split_whitespace()).current_dir(desk.path("")).status().unwrap();
    assert!(status.success(), "tar {line}");
}

fn with_input(desk: &Desk, line: &str, input: &[u8]) -> Came {
    let mut command = desk.command(line);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // Whoever refuses its input early does not read it all.
    let _ = child.stdin.take().unwrap().write_all(input);
    Came::from(child.wait_with_output().unwrap())
}

#[test]
fn patterns_and_ignore_files_leave_things_out() {
    let desk = Desk::new();
    fs::write(desk.path("site/.skepignore"), "*.html\n").unwrap();
    let came = desk.run("push --exclude *.css site oci:store");
    assert!(came.err.contains("left out as it was said: 2 paths"), "{}", came.err);
    assert_eq!(desk.ok("ls -R oci:store"), ".skepignore\ncss/\ncss/empty/\ncss.txt\nstart\n");
    let pushed = desk.ok("push --json --no-ignore-files --include *.html -i main.css site oci:store");
    assert_eq!((field(&pushed, "files"), field(&pushed, "excluded")), ("2".to_owned(), "4".to_owned()));
    assert_eq!(desk.ok("ls -R oci:store"), "css/\ncss/main.css\nindex.html\n");
    let by_variable = desk.command("push --json site oci:store").env("SKEP_EXCLUDE", "*.css\n/start").output().unwrap();
    assert_eq!(field(&Came::from(by_variable).out, "excluded"), "3");
    let refused = desk.run("push --exclude a{b site oci:store");
    assert_eq!(refused.exit, 2, "{}", refused.err);
    assert!(refused.err.contains("a{b"), "{}", refused.err);
}

#[test]
fn a_dry_run_tells_what_would_be_pushed_and_pushes_nothing() {
    let desk = Desk::new();
    let dry = desk.ok("push --json --dry-run --exclude *.css site oci:store:v1");
    assert!(!desk.path("store").exists());
    assert_eq!(
        ["dry_run", "files", "excluded", "sent_blobs", "sent_bytes"].map(|key| field(&dry, key)),
        ["true", "2", "1", "0", "0"]
    );
    // Nobody is asked, not even one who is not there.
    let words = desk.run("push -n site 127.0.0.1:1/a/b:v1");
    assert_eq!(words.exit, 0, "{}", words.err);
    assert!(words.err.contains("would push 127.0.0.1:1/a/b") && words.err.contains("3 files"), "{}", words.err);
    let pushed = desk.ok("push --json --exclude *.css site oci:store:v1");
    assert_eq!(
        (field(&pushed, "digest"), field(&pushed, "index_size"), field(&pushed, "dry_run")),
        (field(&dry, "digest"), field(&dry, "index_size"), "false".to_owned())
    );
}

#[test]
fn a_tar_archive_becomes_the_tree_that_was_in_it() {
    let desk = Desk::new();
    tar(&desk, "-cf site.tar --format=posix -C site .");
    tar(&desk, "-czf site.tgz --format=posix -C site .");
    let pushed = desk.ok("push --json --tar site.tar oci:store:v1");
    assert_eq!((field(&pushed, "files"), field(&pushed, "symlinks")), ("3".to_owned(), "1".to_owned()));
    desk.ok("pull oci:store:v1 copy");
    assert_eq!(census(&desk.path("copy")), census(&desk.path("site")));
    let by_pipe = with_input(&desk, "push --json - oci:store:v2", &fs::read(desk.path("site.tgz")).unwrap());
    assert_eq!((by_pipe.exit, field(&by_pipe.out, "digest")), (0, field(&pushed, "digest")), "{}", by_pipe.err);

    let cut = fs::read(desk.path("site.tar")).unwrap();
    let refused = with_input(&desk, "push - oci:store:v3", &cut[..2000]);
    assert_eq!(refused.exit, 10, "{}", refused.err);
    assert!(refused.err.contains("invalid tar archive at byte"), "{}", refused.err);
    assert_eq!(desk.run("inspect oci:store:v3").exit, 4);
    let refused = desk.run("push site.tar oci:store:v3");
    assert_eq!(refused.exit, 2, "{}", refused.err);
    assert!(refused.err.contains("hint: a tar archive is pushed with --tar"), "{}", refused.err);
}

#[test]
fn what_goes_into_a_layout_is_packed_beside_it() {
    let desk = Desk::new();
    tar(&desk, "-cf site.tar -C site .");
    let without_tmp = |line: &str| Came::from(desk.command(line).env("TMPDIR", "/does/not/exist").output().unwrap());
    for line in ["push site oci:a/b/store", "push --tar site.tar oci:store", "cp site/css.txt oci:store:latest:/new"] {
        let came = without_tmp(line);
        assert_eq!(came.exit, 0, "{line}: {}", came.err);
    }
    let elsewhere = without_tmp("push -n site oci:store");
    assert_eq!(elsewhere.exit, 12, "{}", elsewhere.err);
    assert!(elsewhere.err.contains("/does/not/exist"), "{}", elsewhere.err);
}

#[test]
fn a_reproducible_archive_is_the_same_from_any_checkout() {
    let desk = Desk::new();
    tar(&desk, "-cf site.tar -C site .");
    fs::create_dir(desk.path("other")).unwrap();
    tar(&desk, "-xmf site.tar -C other");
    let digest = |line: &str| field(&desk.ok(line), "digest");
    assert_ne!(digest("push -n --json site oci:x"), digest("push -n --json other oci:x"));
    assert_eq!(digest("push -n --json --reproducible site oci:x"), digest("push -n --json --reproducible other oci:x"));
}

#[test]
fn options_say_how_it_is_packed() {
    let desk = Desk::new();
    let stored = |line: &str| field(&desk.ok(&format!("push -n --json {line} site oci:x")), "stored");
    let raw = field(&desk.ok("push -n --json site oci:x"), "size");
    assert_ne!(stored("--strict"), raw);
    assert_eq!(stored("--store-below 1M"), raw);
    assert_eq!(stored("-c none --compress-all"), raw);
    assert_eq!(desk.run("push --store-below 1x site oci:x").exit, 2);
    assert_eq!(desk.run("push --store-below 1K --compress-all site oci:x").exit, 2);
}

#[test]
fn an_archive_that_is_there_is_checked_and_sent_as_it_is() {
    let desk = Desk::new();
    let pushed = desk.ok("push --json site oci:store:v1");
    let manifest = desk.ok("manifest get oci:store:v1");
    let (_, layers) = manifest.split_once("\"layers\"").unwrap();
    fs::create_dir(desk.path("made")).unwrap();
    for (layer, name) in layers.split("\"digest\":\"").skip(1).zip(["index.blob", "data.blob"]) {
        let digest = layer.split('"').next().unwrap();
        desk.ok(&format!("blob get oci:store@{digest} -o made/{name}"));
    }
    let again = desk.ok("push --json --archive made oci:store:v2");
    assert_eq!((field(&again, "digest"), field(&again, "files")), (field(&pushed, "digest"), "3".to_owned()));
    let mut data = fs::read(desk.path("made/data.blob")).unwrap();
    data[10] ^= 1;
    fs::write(desk.path("made/data.blob"), data).unwrap();
    let refused = desk.run("push --archive made oci:store:v3");
    assert_eq!(refused.exit, 10, "{}", refused.err);
    assert!(refused.err.contains("invalid index: it is of the data sha256:"), "{}", refused.err);
}
