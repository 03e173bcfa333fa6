//! The probe, against a registry as the specification has it, an old one, and ones that refuse.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::sync::Mutex;

use skep_http::Credential;
use skep_http::Grade;
use skep_http::Probe;
use skep_http::ProbeOptions;
use skep_http::Report;
use skep_http::Trouble;
use skep_registry::Code;
use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::media_type;

use crate::support::Fake;
use crate::support::Served;
use crate::support::odd::Odd;
use crate::support::options;
use crate::support::reply;
use crate::support::repo;
use crate::support::tag;

/// Reads and writes `a`.
fn everything() -> ProbeOptions {
    ProbeOptions { write: Some(repo("a")), max_bytes: 4 << 20, ..Default::default() }
}

async fn probed(host: &str, what: &ProbeOptions) -> Report {
    Probe::new(host, options()).unwrap().run(what, &|_| {}).await
}

/// The checks of a grade.
fn checks(report: &Report, grade: Grade) -> Vec<&'static str> {
    report.findings.iter().filter(|finding| finding.grade == grade).map(|finding| finding.check).collect()
}

async fn blobs_and_tags(registry: &dyn Registry) -> usize {
    registry.list_tags(&repo("a"), &Page::default()).await.map_or(0, |listing| listing.items.len())
}

#[tokio::test]
async fn a_registry_as_specified_is_good_throughout() {
    let memory = Memory::default();
    let served = Served::new(Arc::new(memory.clone())).await;
    let told = Mutex::new(Vec::new());
    let probe = Probe::new(&served.host, options()).unwrap();
    let report = probe.run(&everything(), &|finding| told.lock().unwrap().push(finding.clone())).await;
    assert_eq!(*told.lock().unwrap(), report.findings);
    assert!(report.blocker.is_none());
    let want = [
        "tcp",
        "http",
        "version",
        "auth",
        "catalog",
        "upload",
        "single-post",
        "chunks",
        "chunk-size",
        "resume",
        "cancel",
        "mount",
        "sha512",
        "push",
        "tag-parameter",
        "subject",
        "tags",
        "manifest",
        "head",
        "caching",
        "referrers",
        "head-blob",
        "ranges",
        "delete-tag",
        "delete-manifest",
        "delete-blob",
        "clean-up",
    ];
    assert_eq!(checks(&report, Grade::Good), want, "{:#?}", report.findings);
    assert_eq!(report.findings.len(), want.len());
    assert_eq!(report.finding("referrers").unwrap().came, "a list of 1");
    assert_eq!(blobs_and_tags(&memory).await, 0);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn an_old_registry_is_coped_with() {
    let (_, served) = crate::support::quirky(skep_http::testing::Profile::before_1_1()).await;
    let report = probed(&served.host, &everything()).await;
    assert!(report.blocker.is_none(), "{:?}", report.blocker);
    let copes = checks(&report, Grade::Copes);
    assert_eq!(
        copes,
        ["tag-parameter", "subject", "tags", "manifest", "head", "caching", "referrers", "ranges"],
        "{:#?}",
        report.findings
    );
    for check in copes {
        assert!(report.finding(check).unwrap().instead.is_some(), "{check}");
    }
    assert_eq!(report.finding("clean-up").unwrap().grade, Grade::Good);
}

#[tokio::test]
async fn what_cannot_be_deleted_is_named() {
    let odd = Odd { refuses: Some(Code::Unsupported), ..Default::default() };
    let served = Served::new(Arc::new(odd)).await;
    let report = probed(&served.host, &everything()).await;
    assert!(report.blocker.is_none());
    let want = ["delete-tag", "delete-manifest", "delete-blob", "clean-up"];
    assert_eq!(checks(&report, Grade::Lacks), want, "{:#?}", report.findings);
    assert_eq!(checks(&report, Grade::Copes), ["mount"]);
    let left = report.finding("clean-up").unwrap();
    assert!(left.came.contains("left behind: a@sha256:") && left.advice.is_some(), "{}", left.came);
}

#[tokio::test]
async fn the_smallest_chunk_is_found_and_obeyed() {
    let odd = Odd { min_chunk: 1 << 20, ..Default::default() };
    let served = Served::new(Arc::new(odd)).await;
    let report = probed(&served.host, &everything()).await;
    let came = &report.finding("chunks").unwrap().came;
    assert!(came.contains("OCI-Chunk-Min-Length is 1048576"), "{came}");
}

#[tokio::test]
async fn content_of_others_is_left_alone() {
    let memory = Memory::default();
    let blob = memory.write_blob(&repo("a"), "{}".into()).await.unwrap();
    let config = serde_json::json!({"mediaType": "a/b", "digest": blob.digest, "size": 2});
    let json = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    let manifest = Manifest::new(media_type::IMAGE, json);
    let put = PutManifest { tags: vec![tag("v1")], ..Default::default() };
    memory.put_manifest(&repo("a"), &manifest, put).await.unwrap();
    let served = Served::new(Arc::new(memory.clone())).await;
    probed(&served.host, &everything()).await;
    let tags = memory.list_tags(&repo("a"), &Page::default()).await.unwrap().items;
    assert_eq!(tags, [tag("v1")]);
    assert_eq!(memory.get_manifest(&repo("a"), &tag("v1").into()).await.unwrap(), manifest);
    assert_eq!(memory.read_blob(&repo("a"), &blob.digest, 10).await.unwrap(), "{}");
    // What is read is read, and nothing else.
    let read = ProbeOptions { repo: Some(repo("a")), ..Default::default() };
    let report = probed(&served.host, &read).await;
    assert!(report.finding("upload").is_none() && report.finding("clean-up").is_none());
    assert_eq!(report.finding("ranges").unwrap().grade, Grade::Skipped);
}

#[tokio::test]
async fn what_is_written_is_removed_when_a_probe_is_dropped() {
    let memory = Memory::default();
    let served = Served::new(Arc::new(memory.clone())).await;
    let probe = Probe::new(&served.host, options()).unwrap();
    let stop = tokio::sync::Notify::new();
    let stopped = |finding: &skep_http::Finding| {
        if finding.check == "tag-parameter" {
            stop.notify_one();
        }
    };
    let everything = everything();
    tokio::select! {
        biased;
        () = stop.notified() => {}
        report = probe.run(&everything, &stopped) => panic!("{report:?}"),
    }
    assert_eq!(blobs_and_tags(&memory).await, 3);
    let cleaned = probe.clean_up().await;
    assert_eq!(cleaned.grade, Grade::Good, "{cleaned:?}");
    assert_eq!(blobs_and_tags(&memory).await, 0);
    assert_eq!(probe.clean_up().await.came, "nothing is left of 0 things");
}

#[tokio::test]
async fn what_blocks_is_told_with_its_remedy() {
    let locked = Fake::new(|_| reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")).await;
    let report = probed(locked.host(), &everything()).await;
    let blocker = report.blocker.unwrap();
    assert_eq!((blocker.code(), Trouble::of(&blocker)), (&Code::Unauthorized, Some(Trouble::LoggedOut)));
    let last = report.findings.last().unwrap();
    assert_eq!((last.check, last.grade), ("clean-up", Grade::Good));
    let auth = report.findings.iter().find(|finding| finding.check == "auth").unwrap();
    assert!(auth.grade == Grade::Broken && auth.advice.unwrap().contains("skep login"), "{auth:?}");
    let wrong = Credential::Basic { user: "me".to_owned(), password: "hunter2".to_owned() };
    let error = locked.served.client_as(wrong).ping().await.unwrap_err();
    assert_eq!(Trouble::of(&error), Some(Trouble::WrongCredential));
    let said = format!("{error:?}");
    assert!(said.contains("asked as user") && !said.contains("hunter2"), "{said}");

    let refused = probed("127.0.0.1:1", &ProbeOptions::default()).await;
    assert_eq!(Trouble::of(&refused.blocker.unwrap()), Some(Trouble::Refused));
    assert_eq!(refused.findings.len(), 1);
    let web = Fake::new(|_| reply(200, &[("content-type", "text/html")], "<h1>hello</h1>")).await;
    let read = ProbeOptions { repo: Some(repo("a")), ..Default::default() };
    let report = probed(web.host(), &read).await;
    assert_eq!(report.blocker.as_ref().unwrap().code(), &Code::Unsupported);
    assert_eq!(checks(&report, Grade::Broken), ["tags"]);
    let memory = Served::new(Arc::new(Memory::default())).await;
    assert_eq!(probed(&memory.host, &read).await.blocker.unwrap().code(), &Code::NameUnknown);
}

/// Debian's package of distribution, where it is installed.
#[tokio::test]
#[ignore = "needs docker-registry"]
async fn distribution_is_probed() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n",
        dir.path().join("data").display()
    );
    std::fs::write(dir.path().join("config.yml"), config).unwrap();
    let mut command = tokio::process::Command::new("docker-registry");
    command.arg("serve").arg(dir.path().join("config.yml")).env("OTEL_TRACES_EXPORTER", "none");
    command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stderr.take().unwrap()));
    let host = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some((_, rest)) = line.split_once("listening on ") {
            break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let report = probed(&host, &everything()).await;
    for finding in &report.findings {
        println!("{:7} {:15} {}: {}", finding.grade, finding.check, finding.did, finding.came);
    }
    assert!(report.blocker.is_none(), "{:?}", report.blocker);
    assert_eq!(report.finding("ranges").unwrap().grade, Grade::Good);
    assert_eq!(report.finding("referrers").unwrap().grade, Grade::Copes);
    assert_eq!(checks(&report, Grade::Broken), [""; 0]);
    assert_eq!(report.finding("clean-up").unwrap().grade, Grade::Good);
    child.kill().await.unwrap();
}
