//! Sessions with policies: what they do not allow is not read by any command, and what is wrong with them denies.

use std::fs;

use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_trust::KeySigner;
use skep_trust::PrivateKey;
use skep_trust::SignOptions;
use skep_trust::Subject;
use skep_trust::sign;

use crate::desk::Came;
use crate::desk::Desk;

const FILE: &str = ".config/skep/config.toml";

/// A desk with `oci:store:v1`, which is signed, `oci:store:v2`, which is not, and a policy for each of two keys.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.ok("push -q site oci:store:v1");
    fs::write(desk.path("site/index.html"), "evil").unwrap();
    desk.ok("push -q site oci:store:v2");
    for name in ["release", "stranger"] {
        let key = PrivateKey::generate().unwrap();
        fs::write(desk.path(&format!("{name}.pub")), key.public_key().to_pem()).unwrap();
        fs::write(desk.path(&format!("{name}.yaml")), format!("signature:\n  key:\n    path: {name}.pub\n")).unwrap();
        if name == "release" {
            sign_in_layout(&desk, key);
        }
    }
    desk
}

fn sign_in_layout(desk: &Desk, key: PrivateKey) {
    let repo = "layout".parse().unwrap();
    let layout = Layout::single(desk.path("store"), repo, LayoutOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (repo, v1) = ("layout".parse().unwrap(), ManifestRef::Tag("v1".parse().unwrap()));
        let subject = Subject::from(&layout.get_manifest(&repo, &v1).await.unwrap());
        sign(&layout, &repo, &subject, &KeySigner::new(key), &SignOptions::default()).await.unwrap();
    });
}

/// What the layout has: its blobs, and its tags.
fn stored(desk: &Desk) -> (usize, String) {
    let blobs = fs::read_dir(desk.path("store/blobs/sha256")).unwrap().count();
    (blobs, fs::read_to_string(desk.path("store/index.json")).unwrap())
}

/// Lines that read an archive, by the command they are of.
const BOUND: [(&str, &str); 16] = [
    ("cat", "cat REF css.txt"),
    ("copy", "copy REF oci:other:v1"),
    ("cp", "cp REF:/css.txt out.txt"),
    ("cp", "cp site/css.txt REF:/more.txt"),
    ("cp", "cp REF:/css.txt -"),
    ("diff", "diff REF site"),
    ("diff", "diff site REF"),
    ("du", "du REF"),
    ("find", "find REF"),
    ("inspect", "inspect REF"),
    ("ls", "ls REF"),
    ("manifest", "manifest get REF"),
    ("pull", "pull REF copy"),
    ("stat", "stat REF css.txt"),
    ("tag", "tag REF release"),
    ("tree", "tree REF"),
];

/// Commands that use nothing of an archive, or nothing but what they are told by digest.
const FREE: [&str; 26] = [
    // Nothing of registries.
    "alias",
    "cache",
    "completions",
    "config",
    "dev",
    "gc",
    "generate-key-pair",
    "help",
    "man",
    "serve",
    "version",
    // Names, descriptions, credentials.
    "auth",
    "digest",
    "doctor",
    "login",
    "logout",
    "referrers",
    "repos",
    "tags",
    // Blobs by digest.
    "blob",
    // These write.
    "push",
    "rm",
    // These make and look at signatures.
    "attest",
    "sign",
    "verify",
    "trusted-root",
];

#[test]
fn every_command_is_bound_or_has_a_reason_not_to_be() {
    let desk = Desk::new();
    let help = desk.ok("--help");
    let (_, commands) = help.split_once("\nCommands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names: Vec<_> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.contains(&"pull"), "{help}");
    let known = |name: &&str| BOUND.iter().any(|(bound, _)| bound == name) || FREE.contains(name);
    assert_eq!(names.iter().filter(|name| !known(name)).collect::<Vec<_>>(), [&""; 0], "is it held against policies?");
}

#[test]
fn every_command_that_reads_is_denied_what_is_not_signed() {
    let desk = desk();
    let before = stored(&desk);
    for (command, line) in BOUND {
        for (policy, reference) in [("release", "oci:store:v2"), ("stranger", "oci:store:v1")] {
            let line = format!("--policy {policy}.yaml {}", line.replace("REF", reference));
            let came = desk.run(&line);
            assert_eq!((came.exit, came.out.as_str()), (5, ""), "{command}: {line}: {}", came.err);
            assert!(came.err.contains(&format!("error: {reference}: not allowed by policy")), "{line}: {}", came.err);
            assert!(came.err.contains("signature"), "{line}: {}", came.err);
        }
    }
    for nothing in ["copy", "out.txt", "other"] {
        assert!(!desk.path(nothing).exists(), "{nothing}");
    }
    assert_eq!(stored(&desk), before);
}

#[test]
fn every_command_that_reads_reads_what_is_signed() {
    for (_, line) in BOUND {
        let desk = desk();
        let came = desk.run(&format!("{} --policy release.yaml", line.replace("REF", "oci:store:v1")));
        // A difference is 1.
        assert!(came.exit == 0 || line.starts_with("diff") && came.exit == 1, "{line}: {}", came.err);
    }
}

#[test]
fn a_denial_explains() {
    let desk = desk();
    let came = desk.run("cat --policy stranger.yaml oci:store:v1 css.txt");
    assert!(
        came.err.contains("denied: oci:") && came.err.contains("nearest: ") && came.err.contains("hint: "),
        "{}",
        came.err
    );
    let came = desk.run("cat --json --policy stranger.yaml oci:store:v1 css.txt");
    let said: serde_json::Value = serde_json::from_str(&came.err).unwrap();
    assert_eq!((&said["code"], &said["exit"]), (&"policy".into(), &5.into()));
    assert_eq!(said["decision"]["allowed"], false);
}

#[test]
fn policies_add_up_wherever_they_are_said() {
    let desk = desk();
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    let root = desk.path("").canonicalize().unwrap().display().to_string();
    let rule = |glob: &str, name: &str| {
        format!("[[policy]]\nreferences = [\"oci:{root}/{glob}\"]\nfile = \"{root}/{name}.yaml\"\n")
    };
    let cat = |line: &str, variable: &str| {
        let mut command = desk.command(&format!("cat {line} oci:store:v1 css.txt"));
        if !variable.is_empty() {
            command.env("SKEP_POLICY", variable);
        }
        Came::from(command.output().unwrap())
    };
    let stranger = "--policy stranger.yaml";
    for (config, line, variable, exit) in [
        (String::new(), "", "", 0),
        (rule("*", "release"), "", "", 0),
        (rule("*", "stranger"), "", "", 5),
        (rule("*", "release") + &rule("store", "stranger"), "", "", 5),
        (rule("*", "release") + &rule("other", "stranger"), "", "", 0),
        (rule("store:v2", "stranger"), "", "", 0),
        // A flag or a variable takes the place of nothing.
        (rule("*", "stranger"), "--policy release.yaml", "", 5),
        (rule("*", "release"), stranger, "", 5),
        (String::new(), "--policy release.yaml", "stranger.yaml", 5),
        (String::new(), stranger, "release.yaml", 5),
        (String::new(), "--policy release.yaml --policy stranger.yaml", "", 5),
        (String::new(), "--policy stranger.yaml --policy release.yaml", "", 5),
        (String::new(), "", "release.yaml", 0),
    ] {
        fs::write(desk.path(FILE), &config).unwrap();
        let came = cat(line, variable);
        assert_eq!(came.exit, exit, "{config}{line} {variable}: {}", came.err);
    }
    fs::write(desk.path(FILE), "").unwrap();
    let came = desk.run("--policy stranger.yaml cat --policy release.yaml oci:store:v1 css.txt");
    assert_eq!(came.exit, 5, "on both sides of the command: {}", came.err);
    fs::write(desk.path(FILE), "[default]\npolicy = [\"release.yaml\"]\n").unwrap();
    let came = desk.run("cat oci:store:v1 css.txt");
    assert!(came.exit == 2 && came.err.contains("no flag with a default called \"policy\""), "{}", came.err);
}

#[test]
fn a_policy_that_cannot_be_read_denies_everything() {
    let desk = desk();
    fs::write(desk.path("empty.yaml"), "").unwrap();
    fs::write(desk.path("misspelt.yaml"), "signatures:\n  key:\n    path: release.pub\n").unwrap();
    fs::write(desk.path("keyless.yaml"), "signature:\n  key:\n    path: nowhere.pub\n").unwrap();
    fs::create_dir(desk.path("directory.yaml")).unwrap();
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    for name in ["missing", "empty", "misspelt", "keyless", "directory"] {
        fs::write(desk.path(FILE), "").unwrap();
        let variable = desk.command("ls oci:store:v1").env("SKEP_POLICY", format!("{name}.yaml")).output().unwrap();
        let by_flag = desk.run(&format!("ls oci:store:v1 --policy {name}.yaml"));
        let file = format!("../../{name}.yaml");
        let config = format!("[[policy]]\nreferences = [\"registry.example.com/**\"]\nfile = \"{file}\"\n");
        fs::write(desk.path(FILE), config).unwrap();
        // It need not apply: what is wrong with the configuration is wrong for all.
        for came in [by_flag, Came::from(variable), desk.run("ls oci:store:v1")] {
            assert_eq!((came.exit, came.out.as_str()), (2, ""), "{name}: {}", came.err);
            assert!(came.err.contains(&format!("{name}.yaml")), "{name}: {}", came.err);
        }
        assert!(desk.run("ls oci:store:v1").err.contains("config.toml:3:8: "));
        assert_eq!(desk.run("version").exit, 0);
    }
}

#[test]
fn what_applies_is_told() {
    let desk = desk();
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    let config = "[[policy]]\nreferences = [\"a.b/acme/**\", \"a.b/x:v*\"]\nfile = \"../../release.yaml\"\n";
    fs::write(desk.path(FILE), config).unwrap();
    let applies = |line: &str| desk.ok(line).contains("release.yaml\n");
    assert!(applies("config policies a.b/acme/site") && applies("config policies https://A.b:443/acme/site:v1"));
    assert!(
        applies("config policies a.b/x:v1") && !applies("config policies a.b/x") && !applies("config policies a.b/y")
    );
    assert!(desk.ok("config policies a.b/y --policy stranger.yaml").ends_with("stranger.yaml\n"));
    let shown = desk.ok("config");
    assert!(shown.contains("release.yaml\n  for: a.b/acme/**, a.b/x:v*\n"), "{shown}");
    let json = desk.ok("config policies --json a.b/acme/site");
    assert!(json.contains("\"canonical\":\"a.b/acme/site:latest\""), "{json}");
}

#[test]
fn policies_hold_over_a_registry_and_its_cache() {
    let desk = desk();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/team/site", served.addr);
    desk.ok(&format!("copy --referrers oci:store:v1 {site}:v1"));
    desk.ok(&format!("copy oci:store:v2 {site}:v2"));
    desk.ok(&format!("cat {site}:v2 css.txt"));
    desk.ok(&format!("ls {site}:v1 --policy release.yaml"));
    assert_eq!(desk.run(&format!("cat {site}:v2 css.txt --policy release.yaml")).exit, 5, "though it is cached");
    desk.ok(&format!("ls {site}:v1 --policy release.yaml --offline"));
    assert_eq!(desk.run(&format!("ls {site}:v1 --policy stranger.yaml --offline")).exit, 5);
    desk.ok(&format!("pull {site}:v1 copy --policy release.yaml"));
    desk.ok(&format!("tag {site}:v1 v2 --policy release.yaml"));
    desk.ok(&format!("ls {site}:v2 --policy release.yaml --refresh"));
}
