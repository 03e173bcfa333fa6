//! Sessions with what holds without being said: variables, defaults, aliases, and the file that they are in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;

use crate::desk::Came;
use crate::desk::Desk;
use crate::desk::field;

const FILE: &str = ".config/skep/config.toml";

/// The desk with a configuration.
fn with(text: &str) -> Desk {
    let desk = Desk::new();
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    fs::write(desk.path(FILE), text).unwrap();
    desk
}

#[test]
fn switches_have_variables() {
    let desk = Desk::new();
    for (value, json) in [("1", true), ("true", true), ("0", false), ("", false)] {
        let out = desk.command("version").env("SKEP_JSON", value).output().unwrap();
        assert_eq!(out.stdout.starts_with(b"{"), json, "{value:?}");
    }
    assert_eq!(desk.ok("version"), format!("skep {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn flags_go_before_variables_and_those_before_the_file() {
    let desk = with("[default]\nsort = 'size'\nlong = false\njson = true\n");
    desk.ok("push -q site oci:store");
    let ls = |line: &str, variables: &[(&str, &str)]| {
        let came = Came::from(desk.command(line).envs(variables.iter().copied()).output().unwrap());
        assert_eq!(came.exit, 0, "{}", came.err);
        came.out
    };
    assert!(ls("ls oci:store", &[]).starts_with("{\"schema\":\"skep/ls/v1\""));
    let plain = ("SKEP_JSON", "0");
    assert_eq!(ls("ls oci:store", &[plain]), "css.txt\nindex.html\ncss/\nstart\n");
    assert_eq!(ls("ls oci:store", &[plain, ("SKEP_SORT", "name")]), "css/\ncss.txt\nindex.html\nstart\n");
    assert_eq!(ls("ls --sort name oci:store", &[plain, ("SKEP_SORT", "time")]), "css/\ncss.txt\nindex.html\nstart\n");
    assert!(ls("ls oci:store", &[plain, ("SKEP_LONG", "1")]).starts_with("-rw"));
    // Mistakes are said in JSON where answers are.
    let came = Came::from(desk.command("ls oci:store").env("SKEP_SORT", "colour").output().unwrap());
    assert_eq!((came.exit, field(&came.err, "schema")), (2, "skep/error/v1".to_owned()));
    assert!(came.err.contains("colour"), "{came:?}");
    let came = Came::from(desk.command("ls --sort colour oci:store").envs([plain]).output().unwrap());
    assert!(came.exit == 2 && came.err.starts_with("error: "), "{came:?}");
}

#[test]
fn compression_in_the_file_holds_for_push() {
    for (value, is_compressed) in [("none", false), ("zstd:9", true)] {
        let desk = with(&format!("[default]\ncompression = '{value}'\n"));
        let pushed = desk.ok("push --json site oci:store");
        assert_eq!(field(&pushed, "stored") != field(&pushed, "size"), is_compressed, "{value}: {pushed}");
        assert_eq!(desk.ok("inspect oci:store").contains("zstd: "), is_compressed);
    }
}

#[test]
fn mistakes_in_the_file_are_pointed_at() {
    for (text, place, words) in [
        ("[default]\njobs = 'many'\n", ":2:1:", "cannot be jobs"),
        ("[default]\njson = 'yes'\n", ":2:1:", "true or false"),
        ("[default]\nverbos = 1\n", ":2:1:", "near it: verbose"),
        ("[alias]\nsite = 'alpine'\n", ":2:8:", "host"),
        ("[aliases]\n", ":1:2:", "unknown field `aliases`"),
    ] {
        let desk = with(text);
        let came = desk.run("ls oci:store");
        assert_eq!(came.exit, 2, "{text}");
        assert!(came.err.contains(&format!("config.toml{place}")) && came.err.contains(words), "{text}: {}", came.err);
        assert_eq!(desk.run("alias list").exit, 2);
        for line in ["version", "config path", "completions bash", "man ls", "--help"] {
            assert_eq!(desk.run(line).exit, 0, "{line}");
        }
    }
}

#[test]
fn aliases_stand_for_addresses_everywhere() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let host = &served.addr;
    let digest = field(&desk.ok(&format!("push --json site {host}/team/site:v1")), "digest");
    desk.ok(&format!("alias set site {host}/team/site:v1"));
    desk.ok(&format!("alias set team {host}/team"));
    desk.ok("alias set here oci:store");
    desk.ok("push -q site @site:v2");
    assert_eq!(desk.ok("tags @team/site"), "v1\nv2\n");
    assert_eq!(desk.ok("tags @site"), "v1\nv2\n");
    assert!(desk.ok("doctor @site").contains("GET /v2/team/site/tags/list"));
    assert_eq!(desk.ok("cat @site css.txt"), "sorts before css/");
    assert_eq!(desk.ok(&format!("cat @site@{digest} css.txt")), "sorts before css/");
    assert_eq!(desk.ok("cp @site:/css.txt -"), "sorts before css/");
    assert_eq!(desk.ok("cp @site:v2:/css.txt -"), "sorts before css/");
    assert_eq!(desk.ok("diff @site @team/site:v2"), "");
    desk.ok("copy @site @here:v1");
    assert_eq!(desk.ok("digest @here:v1"), format!("{digest}\n"));
    desk.ok("tag @site latest");
    desk.ok("pull @team/site copy");
    desk.ok("rm @site:v2");
    assert_eq!(desk.ok("tags @team/site"), "latest\nv1\n");
    assert!(desk.ok("manifest get @site").starts_with('{'));
    // A layout is meant by its place, wherever the command runs.
    let far = Came::from(desk.command("cat @here:v1 css.txt").current_dir("/").output().unwrap());
    assert_eq!(far.out, "sorts before css/");
    let came = desk.run("cat @sit css.txt");
    assert_eq!(came.exit, 2);
    assert!(came.err.contains("no alias is called \"sit\"; near it: site"), "{}", came.err);
    assert!(desk.run("cp @nobody:/x -").err.contains("no alias is called \"nobody\""));
}

#[test]
fn changes_keep_everything_else_in_the_file() {
    let text = "# mine\n[registry.'a.b']  # a registry\nplain-http = true\n\n# short names\n[alias]\n# the first\nsite = 'a.b/site:v1'  # of ours\nzoo = \"a.b/zoo\"\n";
    let desk = with(text);
    fs::set_permissions(desk.path(FILE), fs::Permissions::from_mode(0o640)).unwrap();
    let read = || fs::read_to_string(desk.path(FILE)).unwrap();
    desk.ok("alias set site a.b/site:v2");
    assert_eq!(read(), text.replace("'a.b/site:v1'", "\"a.b/site:v2\""));
    desk.ok("alias set team.new a.b/team");
    desk.ok("alias rm team.new zoo");
    assert_eq!(read(), text.replace("'a.b/site:v1'", "\"a.b/site:v2\"").replace("zoo = \"a.b/zoo\"\n", ""));
    assert_eq!(desk.ok("alias list"), "site  a.b/site:v2\n");
    let json: serde_json::Value = serde_json::from_str(&desk.ok("alias list --json")).unwrap();
    assert_eq!(json, serde_json::json!({"schema": "skep/alias-list/v1", "aliases": {"site": "a.b/site:v2"}}));
    desk.ok("config set default.jobs 3");
    desk.ok("config set registry.\"c.d:5000\".mirrors [\"e.f\"]");
    // A table goes to those of its kind, and what is said above another one stays there.
    assert!(
        read().contains("plain-http = true\n\n[registry.\"c.d:5000\"]\nmirrors = [\"e.f\"]\n\n# short names\n"),
        "{}",
        read()
    );
    assert!(read().ends_with("\n[default]\njobs = 3\n"), "{}", read());
    assert_eq!(desk.ok("config get default.jobs"), "3\n");
    assert_eq!(desk.ok("config get alias.site"), "a.b/site:v2\n");
    assert_eq!(desk.ok("config get registry.\"c.d:5000\".mirrors"), "[\"e.f\"]\n");
    desk.ok("config unset registry.\"c.d:5000\"");
    desk.ok("config unset default");
    assert!(!read().contains("c.d") && !read().contains("jobs") && read().starts_with("# mine\n"), "{}", read());
    assert_eq!(fs::metadata(desk.path(FILE)).unwrap().permissions().mode() & 0o777, 0o640);
    // What would be a mistake is not written.
    let before = read();
    for (line, exit) in [
        ("config set default.jobs many", 2),
        ("config set default.nothing 1", 2),
        ("config set alias.x alpine", 2),
        ("config set registry.a.b.plain-http true", 2),
        ("config set alias.site.x 1", 2),
        ("config get default.jobs", 4),
        ("config unset default.jobs", 4),
        ("alias rm nobody", 4),
        ("alias set a/b a.b/c", 2),
        ("alias set x alpine", 2),
    ] {
        let came = desk.run(line);
        assert_eq!((came.exit, came.err.is_empty()), (exit, false), "{line}: {}", came.err);
    }
    assert_eq!(read(), before);
    assert_eq!(fs::read_dir(desk.path(".config/skep")).unwrap().count(), 1);
}

#[test]
fn a_file_behind_a_link_is_changed_where_it_is() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    fs::write(desk.path("dotfile.toml"), "").unwrap();
    symlink(desk.path("dotfile.toml"), desk.path(FILE)).unwrap();
    desk.ok("alias set site a.b/site");
    assert!(fs::symlink_metadata(desk.path(FILE)).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(desk.path("dotfile.toml")).unwrap(), "[alias]\nsite = \"a.b/site\"\n");
}

#[test]
fn processes_that_change_the_file_at_once_lose_nothing() {
    let desk = Desk::new();
    let children: Vec<_> =
        (0..8).map(|at| desk.command(&format!("alias set -q name{at} a.b/repo{at}")).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(desk.ok("alias list").lines().count(), 8);
}

#[test]
fn an_editor_opens_the_file_and_mistakes_are_said_afterwards() {
    let desk = Desk::new();
    let edit = |editor: &str| {
        Came::from(desk.command("config edit").env_remove("VISUAL").env("EDITOR", editor).output().unwrap())
    };
    assert_eq!(edit("printf '[default]\\njobs = 1\\n' >").exit, 0);
    assert_eq!(desk.ok("config get default.jobs"), "1\n");
    let came = edit("printf 'x = 1' >");
    assert!(came.exit == 2 && came.err.contains("config.toml:1:1: unknown field `x`"), "{came:?}");
    assert_eq!(edit("false").exit, 1);
    assert_eq!(edit("").exit, 2);
}
