//! Sessions with a registry of one's own: what it serves, and what is collected of it.

use std::fs;

use crate::desk::Came;
use crate::desk::Desk;

#[test]
fn a_file_says_what_is_served() {
    let desk = Desk::new();
    let config = r#"
        addr = "127.0.0.1:0"
        serve = "front"

        [registry.front]
        routes = [
            { names = "frozen/*", of = { immutable = { of = "store" } } },
            { names = "readable/*", of = { read_only = { of = "store" } } },
            { names = "*", of = "store" },
        ]

        [registry.store.layout]
        dir = "data"
    "#;
    fs::write(desk.path("serve.toml"), config).unwrap();
    let served = desk.serve("serve --config serve.toml");
    let host = served.addr.clone();
    desk.ok(&format!("push site {host}/free/site:v1"));
    desk.ok(&format!("push site {host}/frozen/site:v1"));
    assert_eq!(desk.run(&format!("push site {host}/readable/site:v1")).exit, 9);
    fs::write(desk.path("site/new"), "new").unwrap();
    desk.ok(&format!("push site {host}/free/site:v1"));
    let refused = desk.run(&format!("push site {host}/frozen/site:v1"));
    assert_eq!(refused.exit, 3, "{}", refused.err);
    assert_eq!(desk.run(&format!("rm {host}/frozen/site:v1")).exit, 3);
    assert_eq!(desk.ok(&format!("cat {host}/frozen/site:v1 css.txt")), "sorts before css/");
    assert!(desk.path("data/free/site/oci-layout").exists());
    fs::write(desk.path("serve.toml"), config.replace("of = \"store\" },", "of = \"stor\" },")).unwrap();
    let came = desk.run("serve --config serve.toml");
    assert_eq!(came.exit, 2);
    assert!(came.err.contains("serve.toml:9:") && came.err.contains("there are: front, store"), "{}", came.err);
}

#[test]
fn what_is_deleted_is_collected_while_the_registry_runs() {
    let desk = Desk::new();
    let served = desk.serve("serve data --addr 127.0.0.1:0");
    let host = served.addr.clone();
    desk.ok(&format!("push site {host}/team/site:v1"));
    fs::write(desk.path("site/new"), "new").unwrap();
    desk.ok(&format!("push site {host}/team/site:v1"));
    desk.ok(&format!("push site {host}/team/old:v1"));
    let old = desk.ok(&format!("digest {host}/team/old:v1"));
    desk.ok(&format!("rm {host}/team/old@{}", old.trim()));
    let kept = desk.run("gc data");
    let nothing = "removed 0 blobs, 0 untagged manifests, 0 unfinished uploads: 0 B\n";
    assert_eq!(kept, Came { exit: 0, out: String::new(), err: nothing.to_owned() }, "all of it is young");
    let dry = desk.run("gc data --grace 0s --untagged --dry-run");
    assert_eq!((dry.exit, dry.out.lines().filter(|line| line.starts_with("team/old@sha256:")).count()), (0, 3));
    let gone = desk.run("gc data --grace 0s --untagged");
    assert_eq!(gone.out, dry.out);
    assert_eq!(gone.err.replace("removed", "would remove"), dry.err);
    assert!(gone.err.contains("blobs, 1 untagged manifest, 0 unfinished uploads"), "{}", gone.err);
    assert_eq!(desk.ok(&format!("cat {host}/team/site:v1 new")), "new");
    let again: serde_json::Value = serde_json::from_str(&desk.ok("--json gc data --grace 0s")).unwrap();
    assert_eq!((&again["blobs"], &again["removed"]), (&0.into(), &serde_json::json!([])));
    assert_eq!(desk.run("gc nowhere").exit, 4);
    assert_eq!(desk.run("gc data --grace soon").exit, 2);
}

/// It listens for the signal before it says that it is ready, so there is no moment at which it is just cut off.
#[test]
fn a_server_that_is_told_to_stop_at_once_stops_well() {
    let desk = Desk::new();
    for _ in 0..20 {
        let (exit, log) = desk.serve("serve --addr 127.0.0.1:0 --memory").stop();
        assert_eq!(exit, 0, "{log}");
        assert!(log.ends_with("stopped\n"), "{log}");
    }
}
