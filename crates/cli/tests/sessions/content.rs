//! Sessions with content of any kind: listed, copied, moved as it is.

use std::fs;

use crate::desk::Desk;
use crate::desk::field;

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
