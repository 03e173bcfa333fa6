//! Sessions with names that are made to deceive whoever reads them on a terminal.

use std::fs;
use std::os::unix::fs::symlink;

use crate::desk::Came;
use crate::desk::Desk;

/// Names that clear the screen, break the line, ring, turn the direction, and have no or odd width.
const NAMES: [&str; 6] =
    ["\x1b[2Jcleared", "two\nlines", "bell\x07", "exe.\u{202e}gpj", "zero\u{200b}width", "c1\u{9b}31m"];

fn hostile() -> Desk {
    let desk = Desk::new();
    fs::create_dir(desk.path("site/\x1b]0;title\x07dir")).unwrap();
    for name in NAMES {
        fs::write(desk.path("site").join(name), name).unwrap();
    }
    fs::write(desk.path("site/\x1b]0;title\x07dir/in\rside"), "").unwrap();
    symlink("\x1b[31mnowhere", desk.path("site/link")).unwrap();
    desk.ok("push -q site oci:store");
    desk
}

fn assert_harmless(line: &str, text: &str) {
    let steers = |c: &char| c.is_control() && *c != '\n' && *c != '\t' || "\u{202e}\u{200b}".contains(*c);
    assert_eq!(text.chars().find(steers), None, "{line}: {text:?}");
}

#[test]
fn nothing_that_is_printed_steers_the_terminal() {
    let desk = hostile();
    fs::rename(desk.path("site"), desk.path("moved")).unwrap();
    fs::create_dir(desk.path("site")).unwrap();
    for line in [
        "ls oci:store",
        "ls -lR oci:store",
        "ls --digest oci:store",
        "ls --json oci:store",
        "tree oci:store",
        "tree --du oci:store",
        "find oci:store",
        "find -l oci:store",
        "find --json oci:store",
        "du -a oci:store",
        "du --json -a oci:store",
        "stat oci:store link two\nlines",
        "diff oci:store site",
        "diff site oci:store",
        "diff --name-status site oci:store",
        "diff --json site oci:store",
        "inspect oci:store",
        "inspect --json oci:store",
    ] {
        let came = desk.run(line);
        // The line is taken apart at its spaces, so one of the names is not there.
        assert!(came.exit == 0 || line.starts_with("stat"), "{line}: {}", came.err);
        assert_harmless(line, &came.out);
        assert_harmless(line, &came.err);
    }
    let names = NAMES.len() + 6;
    assert_eq!(desk.ok("ls oci:store").lines().count(), names);
    assert!(desk.ok("ls oci:store").contains("\\u{1b}[2Jcleared\n"));
    assert!(desk.ok("ls oci:store").contains("two\\u{a}lines\n"));
}

#[test]
fn words_about_hostile_names_are_harmless_too() {
    let desk = hostile();
    for words in [
        &["cat", "oci:store", "\x1b[31mred"][..],
        &["cat", "oci:store", "\x1b[31m*"],
        &["ls", "oci:store", "\u{202e}x"],
        &["stat", "oci:store", "a\x07", "b\x1b"],
        &["ls", "\x1b[31mred"],
        &["ls", "@\x1b[31mred"],
        &["diff", "\x1b[31mred", "site"],
        &["find", "oci:store", "--name", "\x1b["],
        &["alias", "set", "\x1b", "a.b/c"],
        &["config", "get", "\x1b"],
        &["\x1b[2J"],
        &["ls", "--json", "oci:store", "\u{9b}x"],
        &["cp", "oci:store:/\x1b[31mred", "out"],
    ] {
        let came = Came::from(desk.command("").args(words).output().unwrap());
        assert_ne!(came.exit, 0, "{words:?}");
        assert!(!came.err.is_empty(), "{words:?}");
        assert_harmless(&words.join(" "), &came.err);
    }
}

#[test]
fn bytes_that_are_asked_for_come_as_they_are() {
    let desk = hostile();
    let cat = |name: &str| Came::from(desk.command("cat oci:store").arg(name).output().unwrap()).out;
    for name in NAMES {
        assert_eq!(cat(name), name);
    }
    let found = desk.ok("find -0 oci:store --type f --max-depth 1");
    for name in NAMES {
        assert!(found.split('\0').any(|found| found == name), "{name:?}");
    }
    let paths = desk.ok("diff --name-only -0 oci:store site/css");
    assert!(paths.split('\0').any(|path| path == NAMES[0]), "{paths:?}");
}
