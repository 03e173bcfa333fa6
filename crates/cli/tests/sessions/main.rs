//! Sessions with the command, as people have them.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod cache;
mod content;
mod desk;
mod diff;
mod hostile;
mod insert;
mod look;
mod packing;
mod policy;
mod reach;
mod search;
mod serving;
mod settings;
mod shells;
mod trust;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::process::Stdio;

use crate::desk::Came;
use crate::desk::Desk;
use crate::desk::census;
use crate::desk::field;
use crate::desk::terminate;

#[test]
fn a_directory_goes_to_a_layout_and_comes_back() {
    let desk = Desk::new();
    let pushed = desk.ok("push --json site oci:store:v1");
    assert_eq!(
        (field(&pushed, "files"), field(&pushed, "symlinks"), field(&pushed, "sent_blobs")),
        ("3".to_owned(), "1".to_owned(), "3".to_owned())
    );
    let again = desk.ok("push --json site oci:store:v1");
    assert_eq!((field(&again, "digest"), field(&again, "sent_blobs")), (field(&pushed, "digest"), "0".to_owned()));
    assert_eq!(
        desk.ok("cat oci:store:v1 index.html /css.txt start"),
        "<h1>hello</h1>\nsorts before css/<h1>hello</h1>\n"
    );
    desk.ok("pull oci:store:v1 copy");
    assert_eq!(census(&desk.path("copy")), census(&desk.path("site")));
}

#[test]
fn a_directory_goes_to_a_registry_and_comes_back() {
    let desk = Desk::new();
    for line in ["serve --addr 127.0.0.1:0 data", "serve --addr 127.0.0.1:0 --memory"] {
        let served = desk.serve(line);
        let repo = format!("{}/team/site", served.addr);
        let pushed = desk.ok(&format!("push --json --tag latest --annotation who=me site {repo}:v1"));
        assert_eq!(field(&desk.ok(&format!("push --json site {repo}:v1")), "sent_blobs"), "0");
        let copy = format!("copy{}", line.len());
        desk.ok(&format!("pull {repo}@{} {copy}", field(&pushed, "digest")));
        assert_eq!(census(&desk.path(&copy)), census(&desk.path("site")));
        assert_eq!(desk.ok(&format!("cat {repo} css.txt")), "sorts before css/");
        let inspected = desk.ok(&format!("inspect --json {repo}"));
        assert_eq!(
            (field(&inspected, "digest"), field(&inspected, "who")),
            (field(&pushed, "digest"), "me".to_owned())
        );
        let (exit, log) = served.stop();
        assert_eq!(exit, 0, "{log}");
    }
}

#[test]
fn reading_one_file_takes_three_requests() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let site = format!("{}/site:v1", served.addr);
    desk.ok(&format!("push site {site}"));
    let marker = format!("inspect {}/no/where:v1", served.addr);
    assert_eq!(desk.run(&marker).exit, 4);
    assert_eq!(desk.ok(&format!("cat {site} css.txt")), "sorts before css/");
    let (_, log) = served.stop();
    let (_, after) = log.rsplit_once("no/where").expect("the marker is in the log");
    let requests: Vec<_> = after.lines().skip(1).filter(|line| line.contains("/v2/")).collect();
    assert_eq!(requests.len(), 3, "{requests:#?}");
}

#[test]
fn parts_are_copied_out() {
    let desk = Desk::new();
    desk.ok("push site oci:store:v1");
    desk.ok("cp oci:store:v1:/css.txt one.txt");
    assert_eq!(fs::read_to_string(desk.path("one.txt")).unwrap(), "sorts before css/");
    assert_eq!(desk.ok("cp oci:store:v1:/css.txt -"), "sorts before css/");
    fs::create_dir(desk.path("into")).unwrap();
    desk.ok("cp oci:store:v1:/css.txt oci:store:v1:/css into");
    assert_eq!(fs::read_to_string(desk.path("into/css.txt")).unwrap(), "sorts before css/");
    assert_eq!(fs::read(desk.path("into/css/main.css")).unwrap().len(), 19 * 500);
    desk.ok("cp oci:store:v1:/css new");
    assert_eq!(census(&desk.path("new")), census(&desk.path("site/css")));
    assert_eq!(desk.run("cp oci:store:v1:/nothing x").exit, 4);
    assert_eq!(desk.run("cp oci:store:v1 x").exit, 2);
    assert!(!desk.path("x").exists());
}

#[test]
fn what_is_pulled_and_what_is_there_is_a_matter_of_options() {
    let desk = Desk::new();
    desk.ok("push site oci:store:v1");
    desk.ok("pull --include *.css --exclude empty/ oci:store:v1 some");
    assert!(desk.path("some/css/main.css").exists() && !desk.path("some/index.html").exists());
    desk.ok("pull --strip /css oci:store:v1 css");
    assert_eq!(census(&desk.path("css")), census(&desk.path("site/css")));

    fs::create_dir(desk.path("copy")).unwrap();
    fs::write(desk.path("copy/css.txt"), "mine").unwrap();
    fs::write(desk.path("copy/more"), "mine").unwrap();
    let refused = desk.run("pull --overwrite fail oci:store:v1 copy");
    assert_eq!((refused.exit, fs::read_dir(desk.path("copy")).unwrap().count()), (6, 2), "{}", refused.err);
    let kept = desk.ok("pull --json --overwrite skip oci:store:v1 copy");
    assert_eq!((field(&kept, "files"), field(&kept, "skipped")), ("2".to_owned(), "1".to_owned()));
    assert_eq!(fs::read_to_string(desk.path("copy/css.txt")).unwrap(), "mine");
    let came = desk.run("pull --clean oci:store:v1 copy");
    assert!(came.exit == 0 && came.err.ends_with("into copy; 1 removed that were not\n"), "{}", came.err);
    assert_eq!(census(&desk.path("copy")), census(&desk.path("site")));
    let refused = desk.run("pull --clean oci:store:v1 .");
    assert!(refused.exit == 6 && desk.path("site").exists(), "{}", refused.err);

    desk.ok("pull --preserve none oci:store:v1 plain");
    let mode = |path| fs::metadata(desk.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("copy/css.txt"), mode("plain/css.txt") & 0o600), (0o600, 0o600));
    let modified = |path| fs::metadata(desk.path(path)).unwrap().modified().unwrap();
    assert!(
        modified("plain/css.txt") > modified("site/css.txt") && modified("copy/css.txt") == modified("site/css.txt")
    );
    desk.ok("pull --memory 0 --requests 1 --jobs 3 oci:store:v1 small");
    assert_eq!(census(&desk.path("small")), census(&desk.path("site")));
    let refused = desk.run("pull --max-total 1KiB oci:store:v1 large");
    assert!(refused.exit == 1 && refused.err.contains("limit of 1024"), "{}", refused.err);
    for line in ["--preserve all", "--overwrite maybe", "--memory much", "--include a{b"] {
        assert_eq!(desk.run(&format!("pull {line} oci:store:v1 large")).exit, 2, "{line}");
    }
    assert!(!desk.path("large").exists());
}

#[test]
fn patterns_are_copied_out() {
    let desk = Desk::new();
    desk.ok("push site oci:store:v1");
    desk.ok("cp oci:store:v1:/*.txt oci:store:v1:/**/*.css into/");
    let names = |dir| {
        let mut names: Vec<_> = fs::read_dir(desk.path(dir)).unwrap().map(|item| item.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("into"), ["css.txt", "main.css"]);
    assert_eq!(desk.ok("cp oci:store:v1:/cs[s].t?t -"), "sorts before css/");
    desk.ok("cp oci:store:v1:/** all/");
    assert_eq!(census(&desk.path("all")), census(&desk.path("site")));
    assert_eq!(desk.run("cp oci:store:v1:/*.md into/").exit, 4);
    let refused = desk.run("cp oci:store:v1:/*.txt new");
    assert!(refused.exit == 2 && refused.err.contains("hint: "), "{}", refused.err);
    fs::write(desk.path("into/css.txt"), "mine").unwrap();
    assert_eq!(desk.run("cp --overwrite fail oci:store:v1:/css.txt into").exit, 6);
    desk.ok("cp --overwrite skip oci:store:v1:/css.txt into");
    assert_eq!(fs::read_to_string(desk.path("into/css.txt")).unwrap(), "mine");
}

#[test]
fn tags_are_set_and_guarded() {
    let desk = Desk::new();
    let one = field(&desk.ok("push --json site oci:store:v1"), "digest");
    desk.ok("tag oci:store:v1 v2 latest");
    assert_eq!(field(&desk.ok("inspect --json oci:store"), "digest"), one);
    fs::write(desk.path("site/new"), "new").unwrap();
    let refused = desk.run("push --no-clobber site oci:store:v1");
    assert_eq!(refused.exit, 6, "{}", refused.err);
    assert!(refused.err.contains("hint: "), "{}", refused.err);
    assert_eq!(field(&desk.ok("inspect --json oci:store:v1"), "digest"), one);
    let two = field(&desk.ok("push --json site oci:store:v1"), "digest");
    assert_ne!(one, two);
    assert_eq!(field(&desk.ok(&format!("inspect --json oci:store@{one}")), "digest"), one);
    assert_eq!(desk.run("tag oci:store v3").exit, 2);
}

#[test]
fn failures_have_their_exit_code_and_a_hint() {
    let desk = Desk::new();
    desk.tries_once(&["127.0.0.1:1"]);
    desk.ok("push site oci:store:v1");
    for (line, exit, words) in [
        ("", 2, "Usage"),
        ("push site", 2, "REF"),
        ("push site alpine", 2, "host"),
        ("cat oci:store:v1", 2, "PATH"),
        ("push missing oci:store:v1", 12, "missing"),
        ("cat oci:store:v1 nothing", 4, "nothing"),
        ("cat oci:store:v1 css", 1, "directory"),
        ("cat oci:store:v9 index.html", 4, "v9"),
        ("ls oci:nowhere", 4, "nowhere"),
        ("ls oci:store:v1 nothing", 4, "nothing"),
        ("inspect 127.0.0.1:1/a/b", 7, "hint: "),
        ("serve --addr 0.0.0.0:0", 2, "--open"),
    ] {
        let came = desk.run(line);
        assert_eq!(came.exit, exit, "{line}: {}", came.err);
        assert!(came.err.contains(words), "{line}: {}", came.err);
        assert!(came.out.is_empty(), "{line}: {}", came.out);
    }
    let came = desk.run("push --json site");
    assert_eq!((came.exit, field(&came.err, "code")), (2, "usage".to_owned()));
    let came = desk.run("cat --json oci:store:v9 index.html");
    assert_eq!(
        (field(&came.err, "schema"), field(&came.err, "code"), field(&came.err, "exit")),
        ("skep/error/v1".to_owned(), "not_found".to_owned(), "4".to_owned())
    );
}

#[test]
fn what_is_there_is_printed_and_what_is_not_is_said() {
    let desk = Desk::new();
    desk.ok("push site oci:store");
    let came = desk.run("cat oci:store css.txt nothing index.html");
    assert_eq!((came.exit, came.out.as_str()), (11, "sorts before css/<h1>hello</h1>\n"));
    assert!(came.err.contains("nothing: not found") && came.err.contains("1 of 3 failed"), "{}", came.err);
    assert_eq!(desk.run("cat oci:store nothing nowhere").exit, 4);
    assert_eq!(desk.run("cp oci:store:/css.txt oci:store:/nothing into/").exit, 11);
    assert!(desk.path("into/css.txt").exists());
}

#[test]
fn a_damaged_store_is_noticed() {
    let desk = Desk::new();
    desk.ok("push -c none site oci:store:v1");
    for blob in fs::read_dir(desk.path("store/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // The data blob is the one with the page in it as it is.
        if let Some(at) = bytes.windows(14).position(|part| part == b"<h1>hello</h1>") {
            let mut bytes = bytes;
            bytes[at + 5] ^= 1;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, bytes).unwrap();
        }
    }
    let came = desk.run("cat oci:store:v1 index.html");
    assert_eq!(came.exit, 10, "{}", came.err);
    assert_eq!(desk.run("pull oci:store:v1 copy").exit, 10);
    assert!(!desk.path("copy/index.html").exists());
    assert_eq!(desk.ok("cat oci:store:v1 css.txt"), "sorts before css/");
}

#[test]
fn what_is_wrong_with_a_layout_is_no_matter_of_networks() {
    let desk = Desk::new();
    let came = desk.run("pull oci:nowhere:v1 copy");
    assert_eq!(came.exit, 4, "{}", came.err);
    assert!(came.err.contains("hint: nowhere is no OCI layout"), "{}", came.err);
    let came = desk.run("push site oci:/proc/nowhere:v1");
    assert_eq!(came.exit, 12, "{}", came.err);
    assert!(came.err.starts_with("error: cannot make a temporary file in /proc\n"), "{}", came.err);
    desk.ok("push site oci:store:v1");
    for damaged in ["index.json", "oci-layout"] {
        let whole = fs::read(desk.path("store").join(damaged)).unwrap();
        fs::write(desk.path("store").join(damaged), "{").unwrap();
        let came = desk.run("ls --no-cache oci:store:v1");
        assert_eq!(came.exit, 10, "{}", came.err);
        assert!(came.err.contains(damaged) && !came.err.contains("network"), "{}", came.err);
        fs::write(desk.path("store").join(damaged), whole).unwrap();
    }
    desk.ok("ls --no-cache oci:store:v1");
}

#[test]
fn an_interrupted_pull_leaves_nothing_half_done() {
    let desk = Desk::new();
    let mut noise = vec![0u8; 12 << 20];
    let mut state = 1u64;
    noise.chunks_exact_mut(8).for_each(|chunk| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes());
    });
    for at in 0..6 {
        noise[0] = at;
        fs::write(desk.path(&format!("site/large{at}")), &noise).unwrap();
    }
    desk.ok("push site oci:store:v1");
    let want = census(&desk.path("site"));
    let mut child = desk.command("pull oci:store:v1 copy").stderr(Stdio::piped()).spawn().unwrap();
    while !desk.path("copy").exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    terminate(&child);
    let began = std::time::Instant::now();
    let came = Came::from(child.wait_with_output().unwrap());
    assert!(began.elapsed().as_secs_f64() < 10.0, "took {:?}", began.elapsed());
    assert!(came.exit == 130 || came.exit == 0, "{came:?}");
    for line in census(&desk.path("copy")) {
        let name = line.split(' ').next().unwrap();
        assert!(
            name.ends_with('/')
                || want.iter().any(|want| want.split(" SystemTime").next() == line.split(" SystemTime").next()),
            "{name}"
        );
    }
    desk.ok("pull oci:store:v1 copy");
    assert_eq!(census(&desk.path("copy")), want);
}

#[test]
fn processes_push_to_one_layout_at_once() {
    let desk = Desk::new();
    let pushes: Vec<Child> = (0..8)
        .map(|at| desk.command(&format!("push -q site oci:store:v{at}")).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for push in pushes {
        let came = Came::from(push.wait_with_output().unwrap());
        assert_eq!(came.exit, 0, "{}", came.err);
    }
    for at in 0..8 {
        assert_eq!(desk.ok(&format!("cat oci:store:v{at} css.txt")), "sorts before css/");
    }
}

#[test]
fn what_is_not_carried_is_said() {
    let desk = Desk::new();
    let socket = std::os::unix::net::UnixListener::bind(desk.path("site/socket")).unwrap();
    let came = desk.run("push site oci:store:v1");
    assert_eq!(came.exit, 0, "{}", came.err);
    assert!(came.err.contains("not carried: 1 socket (socket)"), "{}", came.err);
    drop(socket);
}

#[test]
fn credentials_are_kept_and_forgotten() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let host = &served.addr;
    let login = |line: &str, secret: &str| {
        let mut child = desk.command(line).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        Came::from(child.wait_with_output().unwrap())
    };
    let came = login(&format!("login --password-stdin -u me {host}"), "s3cret-word\n");
    assert_eq!(came.exit, 0, "{}", came.err);
    assert!(!came.err.contains("s3cret-word"));
    let config = fs::read_to_string(desk.path(".docker/config.json")).unwrap();
    // "me:s3cret-word" in base64.
    assert!(config.contains(host.as_str()) && config.contains("bWU6czNjcmV0LXdvcmQ="), "{config}");
    let mode = fs::metadata(desk.path(".docker/config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    desk.ok(&format!("push site {host}/a:v1"));
    desk.ok(&format!("logout {host}"));
    assert!(!fs::read_to_string(desk.path(".docker/config.json")).unwrap().contains("bWU6"));
    assert_eq!(desk.run(&format!("logout {host}")).exit, 4);
    assert_eq!(login(&format!("login -u me {host}"), "x").exit, 2);
    assert_eq!(login(&format!("login -u me --password-stdin {host}"), "").exit, 2);
}
