//! Guards: what they let through, what they hide, and that nothing goes around them.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use skep_registry::Access;
use skep_registry::Body;
use skep_registry::Call;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Listing;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Memory;
use skep_registry::Mount;
use skep_registry::Op;
use skep_registry::Page;
use skep_registry::PutManifest;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::UploadOptions;
use skep_registry::guarded;
use skep_registry::read_only;
use skep_registry::select;
use skep_registry::traced;

#[tokio::test]
async fn read_only_reads_and_lists() {
    let memory = seeded(&["a", "b"]).await;
    let registry = read_only(memory);
    for (op, code) in every_call(&registry, "a").await {
        match op.access() {
            Access::List | Access::Read => assert_eq!(code, None, "{op:?}"),
            Access::Delete | Access::Write => assert_eq!(code, Some(Code::Unsupported), "{op:?}"),
        }
    }
    assert_eq!(all_repos(&registry).await, ["a", "b"]);
}

#[tokio::test]
async fn read_only_changes_nothing() {
    let memory = seeded(&["a"]).await;
    every_call(&read_only(memory.clone()), "a").await;
    every_call(&read_only(memory.clone()), "new").await;
    assert_eq!(all_repos(&memory).await, ["a"]);
    assert_eq!(memory.get_manifest(&repo("a"), &tag("v1").into()).await.unwrap(), manifest());
    assert!(memory.has_blob(&repo("a"), &Digest::sha256(b"hello")).await.unwrap());
    assert!(!memory.has_blob(&repo("a"), &Digest::sha256(b"new")).await.unwrap());
}

#[tokio::test]
async fn select_hides_repositories() {
    let memory = seeded(&["open", "hidden"]).await;
    let registry = select(memory.clone(), |repo| repo.as_str() == "open");
    for name in ["hidden", "no/where"] {
        for (op, code) in every_call(&registry, name).await {
            let want = match op {
                Op::ListRepos => None,
                _ if op.access() == Access::Write => Some(Code::Denied),
                _ => Some(Code::NameUnknown),
            };
            assert_eq!(code, want, "{op:?} in {name}");
        }
    }
    assert!(every_call(&registry, "open").await.iter().all(|(_, code)| code.is_none()));
    assert_eq!(all_repos(&registry).await, ["open"]);
    assert!(memory.has_blob(&repo("hidden"), &Digest::sha256(b"hello")).await.unwrap());
}

#[tokio::test]
async fn hidden_repositories_leave_no_gaps_in_pages() {
    let names: Vec<String> = (0..700).map(|index| format!("r{index:03}")).collect();
    let memory = seeded(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let open = |repo: &RepoName| repo.as_str()[1..].parse::<usize>().unwrap() % 7 == 0;
    let registry = select(memory, open);
    let want: Vec<_> = names.iter().step_by(7).collect();
    for limit in [1, 10, 33, 99, 100] {
        let mut page = Page { limit: Some(limit), after: None };
        let mut seen = Vec::new();
        loop {
            let Listing { items, next } = registry.list_repos(&page).await.unwrap();
            seen.extend(items.iter().map(ToString::to_string));
            let Some(next) = next else { break };
            assert_eq!(items.len(), limit);
            page.after = Some(next);
        }
        assert_eq!(seen.iter().collect::<Vec<_>>(), want, "{limit}");
    }
    let none = registry.list_repos(&Page { limit: Some(0), after: None }).await.unwrap();
    assert_eq!(none, Listing::complete(vec![]));
    let end = registry.list_repos(&Page { limit: Some(5), after: Some("r690".to_owned()) }).await.unwrap();
    assert_eq!(end, Listing::complete(vec![repo("r693")]));
}

#[tokio::test]
async fn whoever_cannot_tell_makes_no_shorter_list() {
    let memory = seeded(&["a", "b", "c"]).await;
    for (code, want) in [
        (Code::Denied, Ok(vec!["a", "c"])),
        (Code::NameUnknown, Ok(vec!["a", "c"])),
        (Code::Unauthorized, Ok(vec!["a", "c"])),
        (Code::Unavailable, Err(Code::Unavailable)),
        (Code::TooManyRequests, Err(Code::TooManyRequests)),
    ] {
        let refusal = code.clone();
        let registry = guarded(memory.clone(), move |call| match call.repo {
            Some(repo) if repo.as_str() == "b" => Err(refusal.clone().into()),
            _ => Ok(()),
        });
        let got = registry.list_repos(&Page::default()).await;
        let got = got.map(|listing| listing.items).map_err(|error| error.code().clone());
        assert_eq!(got, want.map(|names| names.into_iter().map(repo).collect()), "{code:?}");
    }
}

#[tokio::test]
async fn list_of_repositories_is_asked_about_as_a_whole() {
    let memory = seeded(&["a"]).await;
    let registry = guarded(memory, |call| match call {
        Call { op: Op::ListRepos, repo: None } => Err(Code::Unauthorized.into()),
        _ => Ok(()),
    });
    let error = registry.list_repos(&Page::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unauthorized);
}

#[tokio::test]
async fn guards_see_every_call() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let registry = guarded(seeded(&["a"]).await, move |call| {
        seen.lock().unwrap().push((call.op, call.repo.map(ToString::to_string)));
        Ok(())
    });
    every_call(&registry, "a").await;
    let a = || Some("a".to_owned());
    let want = [
        (Op::GetBlob, a()),
        (Op::HeadBlob, a()),
        (Op::LocateBlob, a()),
        (Op::GetManifest, a()),
        (Op::HeadManifest, a()),
        (Op::ListTags, a()),
        (Op::ListReferrers, a()),
        (Op::ListRepos, None),
        (Op::GetManifest, a()),
        (Op::PutBlob, a()),
        (Op::GetBlob, a()),
        (Op::MountBlob, a()),
        (Op::UploadBlob, a()),
        (Op::AppendUpload, a()),
        (Op::CommitUpload, a()),
        (Op::UploadBlob, a()),
        (Op::CancelUpload, a()),
        (Op::PutManifest, a()),
        (Op::DeleteManifest, a()),
        (Op::DeleteBlob, a()),
    ];
    assert_eq!(*calls.lock().unwrap(), want);
}

#[tokio::test]
async fn refused_calls_do_not_reach_the_registry() {
    let reached = Arc::new(Mutex::new(Vec::new()));
    let seen = reached.clone();
    let inner = guarded(seeded(&["a"]).await, move |call| {
        seen.lock().unwrap().push(call.op);
        Ok(())
    });
    let registry = guarded(inner, |_| Err(Code::Denied.into()));
    for (op, code) in every_call(&registry, "a").await {
        assert_eq!(code, Some(Code::Denied), "{op:?}");
    }
    assert_eq!(*reached.lock().unwrap(), []);
}

#[tokio::test]
async fn mount_reads_one_repository_and_writes_another() {
    for (readable, writable, want) in [
        (true, true, None),
        (true, false, Some(Code::Denied)),
        (false, true, Some(Code::NameUnknown)),
        (false, false, Some(Code::NameUnknown)),
    ] {
        let memory = seeded(&["from"]).await;
        let registry = guarded(memory.clone(), move |call| match (call.access(), call.repo.map(RepoName::as_str)) {
            (Access::Read, Some("from")) if !readable => Err(Code::NameUnknown.into()),
            (Access::Write, Some("to")) if !writable => Err(Code::Denied.into()),
            _ => Ok(()),
        });
        let digest = Digest::sha256(b"hello");
        let mounted = registry.mount_blob(&repo("to"), &digest, Some(&repo("from"))).await;
        assert_eq!(mounted.err().map(|error| error.code().clone()), want, "{readable} {writable}");
        assert_eq!(memory.has_blob(&repo("to"), &digest).await.unwrap(), want.is_none());
    }
}

#[tokio::test]
async fn mount_from_anywhere_reaches_no_hidden_repository() {
    let memory = seeded(&["hidden"]).await;
    let registry = select(memory.clone(), |repo| repo.as_str() != "hidden");
    for content in [b"hello", b"other"] {
        let error = registry.mount_blob(&repo("to"), &Digest::sha256(content), None).await.unwrap_err();
        assert_eq!(error.code(), &Code::Unsupported);
    }
    assert!(!memory.has_blob(&repo("to"), &Digest::sha256(b"hello")).await.unwrap());
    // Where nothing is hidden, the registry may look everywhere.
    let mounted = traced(memory).mount_blob(&repo("to"), &Digest::sha256(b"hello"), None).await;
    assert!(matches!(mounted, Ok(Mount::Mounted)));
}

#[tokio::test]
async fn each_part_of_an_upload_is_admitted() {
    let memory = Memory::default();
    let allowed = Arc::new(AtomicBool::new(true));
    let still = allowed.clone();
    let registry =
        guarded(memory.clone(), move |_| if still.load(Ordering::Relaxed) { Ok(()) } else { Err(Code::Denied.into()) });
    let begin = || async {
        allowed.store(true, Ordering::Relaxed);
        let mut upload = registry.upload_blob(&repo("a"), UploadOptions::default()).await.unwrap();
        upload.append(body("he")).await.unwrap();
        allowed.store(false, Ordering::Relaxed);
        upload
    };
    let mut upload = begin().await;
    assert_eq!(upload.append(body("llo")).await.unwrap_err().code(), &Code::Denied);
    assert_eq!(upload.offset(), 2);
    let error = begin().await.commit(&Digest::sha256(b"he")).await.unwrap_err();
    assert_eq!(error.code(), &Code::Denied);
    assert!(!memory.has_blob(&repo("a"), &Digest::sha256(b"he")).await.unwrap());
    let upload = begin().await;
    let id = upload.id().to_owned();
    assert_eq!(upload.cancel().await.unwrap_err().code(), &Code::Denied);
    let options = UploadOptions { resume: Some(id), ..Default::default() };
    assert_eq!(memory.upload_blob(&repo("a"), options).await.unwrap().offset(), 2);
}

#[tokio::test]
async fn upload_in_place_of_a_mount_is_admitted_part_by_part() {
    let registry = guarded(Reluctant(seeded(&["from"]).await), |call| match call.op {
        Op::AppendUpload => Err(Error::new(Code::Denied, call.to_string())),
        _ => Ok(()),
    });
    let mount = registry.mount_blob(&repo("to"), &Digest::sha256(b"hello"), Some(&repo("from"))).await.unwrap();
    let Mount::Upload(mut upload) = mount else { panic!("mounted") };
    let error = upload.append(body("hello")).await.unwrap_err();
    assert_eq!(error.to_string(), "requested access to the resource is denied: append_upload in to");
}

/// Makes every call once, in a fixed order, and tells what came of each.
///
/// Parts of an upload are left out when none can be begun.
async fn every_call(registry: &dyn Registry, name: &str) -> Vec<(Op, Option<Code>)> {
    let (repo, hello) = (repo(name), Digest::sha256(b"hello"));
    let reference = ManifestRef::Tag(tag("v1"));
    let mut calls = Vec::new();
    let mut note = |op: Op, result: Result<()>| calls.push((op, result.err().map(|error| error.code().clone())));
    note(Op::GetBlob, registry.get_blob(&repo, &hello, None).await.map(drop));
    note(Op::HeadBlob, registry.head_blob(&repo, &hello).await.map(drop));
    note(Op::LocateBlob, registry.locate_blob(&repo, &hello).await.map(drop));
    note(Op::GetManifest, registry.get_manifest(&repo, &reference).await.map(drop));
    note(Op::HeadManifest, registry.head_manifest(&repo, &reference).await.map(drop));
    note(Op::ListTags, registry.list_tags(&repo, &Page::default()).await.map(drop));
    let query = ReferrerQuery::default();
    note(Op::ListReferrers, registry.list_referrers(&repo, &hello, &query).await.map(drop));
    note(Op::ListRepos, registry.list_repos(&Page::default()).await.map(drop));
    let new = Descriptor::of("text/plain", b"new");
    note(Op::PutBlob, registry.put_blob(&repo, &new, body("new")).await);
    // From a repository that may be read, if there is one.
    let from = if name == "a" { "a" } else { "open" }.parse().unwrap();
    note(Op::MountBlob, registry.mount_blob(&repo, &hello, Some(&from)).await.map(drop));
    match registry.upload_blob(&repo, UploadOptions::default()).await {
        Ok(mut upload) => {
            note(Op::UploadBlob, Ok(()));
            note(Op::AppendUpload, upload.append(body("part")).await);
            note(Op::CommitUpload, upload.commit(&Digest::sha256(b"part")).await.map(drop));
            let upload = registry.upload_blob(&repo, UploadOptions::default()).await.unwrap();
            note(Op::CancelUpload, upload.cancel().await);
        }
        Err(error) => note(Op::UploadBlob, Err(error)),
    }
    note(Op::PutManifest, registry.put_manifest(&repo, &manifest(), PutManifest::default()).await);
    note(Op::DeleteManifest, registry.delete_manifest(&repo, &reference).await);
    note(Op::DeleteBlob, registry.delete_blob(&repo, &new.digest).await);
    calls
}

/// A registry that begins uploads when it is to mount.
#[derive(Debug)]
struct Reluctant(Memory);

#[async_trait]
impl Registry for Reluctant {
    async fn mount_blob(&self, repo: &RepoName, _: &Digest, _: Option<&RepoName>) -> Result<Mount> {
        self.0.upload_blob(repo, UploadOptions::default()).await.map(Mount::Upload)
    }

    skep_registry::forward_registry!(self => self.0; get_blob, head_blob, locate_blob, get_manifest, head_manifest,
        put_blob, upload_blob, put_manifest, delete_blob, delete_manifest, list_tags, list_referrers, list_repos);
}

/// A registry in which each of the repositories has a blob `hello` and a manifest `v1`.
async fn seeded(names: &[&str]) -> Memory {
    let memory = Memory::default();
    for name in names {
        memory.write_blob(&repo(name), "hello".into()).await.unwrap();
        let options = PutManifest { tags: vec![tag("v1")], ..Default::default() };
        memory.put_manifest(&repo(name), &manifest(), options).await.unwrap();
    }
    memory
}

fn manifest() -> Manifest {
    Manifest::new("application/vnd.example", "{}")
}

fn body(text: &'static str) -> Body {
    Body::from(Bytes::from(text))
}

async fn all_repos(registry: &dyn Registry) -> Vec<String> {
    let repos: Vec<RepoName> = registry.repos().try_collect().await.unwrap();
    repos.iter().map(ToString::to_string).collect()
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}
