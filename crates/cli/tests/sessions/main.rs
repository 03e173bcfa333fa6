//! Sessions with the command, as people have them.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod desk;
mod reach;

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
fn listings_show_files_directories_and_links() {
    let desk = Desk::new();
    desk.ok("push site oci:store");
    assert_eq!(desk.ok("ls oci:store"), "css/\ncss.txt\nindex.html\nstart\n");
    assert_eq!(desk.ok("ls oci:store css"), "empty/\nmain.css\n");
    assert_eq!(desk.ok("ls -R oci:store"), "css/\ncss/empty/\ncss/main.css\ncss.txt\nindex.html\nstart\n");
    let long = desk.ok("ls -l oci:store");
    let columns: Vec<Vec<&str>> = long.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((columns[1][0], columns[1][1]), ("-rw-------", "17"));
    assert!(columns[0][0].starts_with('d') && columns[3][0].starts_with('l'), "{long}");
    assert!(long.lines().last().unwrap().ends_with("start -> index.html"), "{long}");
    assert_eq!(
        desk.ok("tree oci:store"),
        ".\n├── css/\n│   ├── empty/\n│   └── main.css\n├── css.txt\n├── index.html\n└── start -> index.html\n\n2 directories, 3 files, 1 link, 9.3 KiB\n"
    );
    assert_eq!(desk.ok("tree -L 1 oci:store css"), "css\n├── empty/\n└── main.css\n\n1 directory, 1 file, 9.3 KiB\n");
    let json = desk.ok("ls --json oci:store css");
    assert_eq!((field(&json, "schema"), field(&json, "name")), ("skep/ls/v1".to_owned(), "empty".to_owned()));
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
fn registries_are_listed_and_cleaned() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let (host, repo) = (&served.addr, format!("{}/team/site", served.addr));
    let digest = field(&desk.ok(&format!("push --json --tag v2 site {repo}:v1")), "digest");
    desk.ok(&format!("push -q site {host}/other:v1"));
    assert_eq!(desk.ok(&format!("repos {host}")), "other\nteam/site\n");
    assert_eq!(desk.ok(&format!("repos http://{host}")), "other\nteam/site\n");
    assert_eq!(desk.ok(&format!("tags {repo}")), "v1\nv2\n");
    assert_eq!(desk.ok(&format!("digest {repo}:v2")), format!("{digest}\n"));
    assert_eq!(desk.run(&format!("tags {repo}:v1")).exit, 2);
    assert_eq!(desk.run(&format!("tags {host}/no/where")).exit, 4);
    assert_eq!(desk.run(&format!("rm {repo}")).exit, 2);
    desk.ok(&format!("rm {repo}:v1"));
    assert_eq!(desk.ok(&format!("tags {repo}")), "v2\n");
    desk.ok(&format!("rm {repo}@{digest}"));
    assert_eq!(desk.ok(&format!("tags {repo}")), "");
    assert_eq!(desk.run(&format!("digest {repo}:v2")).exit, 4);
}

#[test]
fn content_is_copied_between_stores() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let host = &served.addr;
    let digest = field(&desk.ok("push --json site oci:store:v1"), "digest");
    let there = desk.ok(&format!("copy --json --tag latest oci:store:v1 {host}/a:v2"));
    assert_eq!((field(&there, "digest"), field(&there, "blobs")), (digest.clone(), "3".to_owned()));
    assert_eq!(desk.ok(&format!("tags {host}/a")), "latest\nv2\n");
    let again = desk.ok(&format!("copy --json --tag latest oci:store:v1 {host}/a:v2"));
    assert_eq!((field(&again, "manifests"), field(&again, "bytes")), ("0".to_owned(), "0".to_owned()));
    let mounted = desk.ok(&format!("copy --json {host}/a:v2 {host}/b"));
    assert_eq!((mounted.contains("\"tags\":[\"v2\"]"), field(&mounted, "bytes")), (true, "0".to_owned()));
    desk.ok(&format!("copy {host}/b@{digest} oci:back:v3"));
    assert_eq!(desk.ok("cat oci:back:v3 css.txt"), "sorts before css/");
    assert_eq!(desk.run(&format!("copy {host}/nothing:v1 oci:back:v4")).exit, 4);
    assert_eq!(desk.run("copy --platform linux oci:store:v1 oci:back").exit, 2);
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

#[test]
fn manifests_and_blobs_are_moved_as_they_are() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    for store in [format!("{}/a", served.addr), "oci:store".to_owned()] {
        fs::write(desk.path("blob"), "hello").unwrap();
        let put = desk.ok(&format!("blob put {store} blob"));
        let digest = put.split(' ').next().unwrap();
        assert_eq!(desk.ok(&format!("blob put {store} blob")), put);
        assert_eq!(desk.ok(&format!("blob get {store}@{digest}")), "hello");
        assert_eq!(desk.ok(&format!("blob get {store}@{digest} -o got")), put);
        assert_eq!(fs::read_to_string(desk.path("got")).unwrap(), "hello");
        assert_eq!(desk.ok(&format!("blob head {store}@{digest}")), format!("{digest} 5\n"));
        let config = serde_json::json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 5});
        let subject = serde_json::json!({"mediaType": "a/b", "digest": digest, "size": 5});
        let manifest = serde_json::json!({
            "schemaVersion": 2, "artifactType": "application/test", "config": config, "layers": [], "subject": subject,
        });
        fs::write(desk.path("manifest"), manifest.to_string()).unwrap();
        let put = desk.ok(&format!("manifest put {store}:v1 manifest"));
        assert_eq!(desk.ok(&format!("digest {store}:v1")), put);
        assert_eq!(desk.ok(&format!("manifest get {store}:v1")), manifest.to_string());
        let size = manifest.to_string().len();
        let head = format!("application/vnd.oci.image.manifest.v1+json {} {size}\n", put.trim());
        assert_eq!(desk.ok(&format!("manifest head {store}:v1")), head);
        let tree = desk.ok(&format!("referrers {store}@{digest}"));
        assert_eq!(tree, format!("{store}@{digest}\n└── {} application/test\n", put.trim()));
        assert_eq!(desk.ok(&format!("referrers --type none/such {store}@{digest}")), format!("{store}@{digest}\n"));
        assert_eq!(desk.run(&format!("manifest put {store}:v2 blob")).exit, 1);
        assert_eq!(desk.run(&format!("blob get {store}:v1")).exit, 2);
    }
    let host = &served.addr;
    let digest = desk.ok(&format!("blob put {host}/a blob")).split(' ').next().unwrap().to_owned();
    desk.ok(&format!("blob mount {host}/b@{digest} a"));
    desk.ok(&format!("blob rm {host}/a@{digest}"));
    assert_eq!(desk.ok(&format!("blob get {host}/b@{digest}")), "hello");
    assert_eq!(desk.run(&format!("blob get {host}/a@{digest}")).exit, 4);
    assert_eq!(desk.run(&format!("blob mount {host}/c@{digest} a")).exit, 9);
}

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
fn completions_are_printed_for_each_shell() {
    let desk = Desk::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(desk.ok(&format!("completions {shell}")).contains("inspect"), "{shell}");
    }
}

#[test]
fn hostile_names_do_not_steer_the_terminal() {
    let desk = Desk::new();
    fs::write(desk.path("site/\x1b[2Jcleared"), "").unwrap();
    desk.ok("push site oci:store");
    assert!(desk.ok("ls oci:store").contains("\\u{1b}[2Jcleared"));
    assert!(!desk.ok("tree oci:store").contains('\x1b'));
    let came = desk.run("cat oci:store \x1b[31mred");
    assert_eq!(came.exit, 4);
    assert!(!came.err.contains('\x1b'), "{:?}", came.err);
}
