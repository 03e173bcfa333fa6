//! Routes: which registry, which name, and lists that are made of other lists.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use futures_util::TryStreamExt;
use skep_registry::Call;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Listing;
use skep_registry::Memory;
use skep_registry::Meter;
use skep_registry::Mount;
use skep_registry::Names;
use skep_registry::Op;
use skep_registry::Page;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Routed;
use skep_registry::Routes;
use skep_registry::Usage;
use skep_registry::guarded;
use skep_registry::metered;
use skep_registry::prefixed;

#[tokio::test]
async fn prefix_goes_before_names() {
    let memory = Memory::default();
    let registry = prefixed(memory.clone(), repo("team/eu"));
    let blob = registry.write_blob(&repo("site"), "hello".into()).await.unwrap();
    assert_eq!(all_repos(&memory).await, ["team/eu/site"]);
    assert!(memory.has_blob(&repo("team/eu/site"), &blob.digest).await.unwrap());
    assert!(registry.has_blob(&repo("site"), &blob.digest).await.unwrap());
}

#[tokio::test]
async fn prefix_is_of_whole_components() {
    let names = ["te", "team", "team-a", "team.a/b", "team/a", "team/a-b", "team/a/b", "team0", "teams/a", "z"];
    let registry = prefixed(with(&names).await, repo("team"));
    assert_eq!(all_repos(&registry).await, ["a", "a-b", "a/b"]);
    assert_eq!(all_repos(&prefixed(with(&names).await, repo("te"))).await, [""; 0]);
    assert_eq!(all_repos(&prefixed(with(&names).await, repo("team/a"))).await, ["b"]);
}

#[tokio::test]
async fn pages_beneath_a_prefix_go_on_where_they_ended() {
    let names = ["team", "team-a", "team/a", "team/b", "team/c", "team/d", "teams/a"];
    let registry = prefixed(with(&names).await, repo("team"));
    for (limit, after, want, next) in [
        (None, None, &["a", "b", "c", "d"][..], None),
        (Some(4), None, &["a", "b", "c", "d"], None),
        (Some(2), None, &["a", "b"], Some("b")),
        (Some(2), Some("b"), &["c", "d"], None),
        (None, Some("bb"), &["c", "d"], None),
        (Some(0), None, &[], None),
        (Some(3), Some("d"), &[], None),
    ] {
        let page = Page { limit, after: after.map(str::to_owned) };
        let items = want.iter().map(|name| repo(name)).collect();
        let want = Listing { items, next: next.map(str::to_owned) };
        assert_eq!(registry.list_repos(&page).await.unwrap(), want, "{page:?}");
    }
}

#[tokio::test]
async fn lists_beneath_a_prefix_read_no_more_than_that() {
    let names: Vec<_> = (0..5000).map(|index| format!("r{:04}/a", index)).collect();
    let memory = with(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let calls = Arc::new(Lists::default());
    let registry = prefixed(metered(memory, calls.clone()), repo("r0100"));
    assert_eq!(all_repos(&registry).await, ["a"]);
    assert_eq!(calls.0.load(Ordering::Relaxed), 1);
}

#[test]
fn no_name_leads_out_of_a_prefix() {
    for name in ["..", "../a", "a/../../b", "a/..", ".", "./a", "/a", "a//b", "", "a/%2e%2e/b"] {
        assert_eq!(name.parse::<RepoName>().unwrap_err().code(), &Code::NameInvalid, "{name:?}");
    }
}

#[tokio::test]
async fn name_that_is_too_long_with_its_prefix_is_invalid() {
    let registry = prefixed(Memory::default(), repo("team"));
    registry.write_blob(&repo(&"a".repeat(250)), "hello".into()).await.unwrap();
    let error = registry.write_blob(&repo(&"a".repeat(251)), "hello".into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::NameInvalid);
}

#[tokio::test]
async fn mounts_beneath_a_prefix_stay_there() {
    let memory = with(&["other", "team/a"]).await;
    memory.write_blob(&repo("other"), "outside".into()).await.unwrap();
    let registry = prefixed(memory, repo("team"));
    let (inside, outside) = (Digest::sha256(b"hello"), Digest::sha256(b"outside"));
    assert!(matches!(registry.mount_blob(&repo("b"), &inside, Some(&repo("a"))).await, Ok(Mount::Mounted)));
    assert!(registry.mount_blob(&repo("b"), &outside, Some(&repo("other"))).await.unwrap_err().is_not_found());
    let error = registry.mount_blob(&repo("b"), &outside, None).await.unwrap_err();
    assert_eq!(error.code(), &Code::Unsupported);
}

#[tokio::test]
async fn the_first_route_of_a_name_counts() {
    let (one, beneath, rest) = (Memory::default(), Memory::default(), Memory::default());
    let registry =
        routed([(Names::One(repo("team/a")), &one), (Names::Beneath(repo("team")), &beneath), (Names::All, &rest)]);
    for name in ["team/a", "team/b", "team/a/b", "team", "teams/a"] {
        registry.write_blob(&repo(name), "hello".into()).await.unwrap();
    }
    assert_eq!(all_repos(&one).await, ["team/a"]);
    assert_eq!(all_repos(&beneath).await, ["team/a/b", "team/b"]);
    assert_eq!(all_repos(&rest).await, ["team", "teams/a"]);
    assert_eq!(all_repos(&registry).await, ["team", "team/a", "team/a/b", "team/b", "teams/a"]);
}

#[tokio::test]
async fn name_without_a_route_is_unknown() {
    let registry = routed([(Names::One(repo("a")), &Memory::default())]);
    let error = registry.write_blob(&repo("b"), "hello".into()).await.unwrap_err();
    assert_eq!(error.code(), &Code::NameUnknown);
    let error = registry.list_tags(&repo("b"), &Page::default()).await.unwrap_err();
    assert_eq!(error.code(), &Code::NameUnknown);
    assert_eq!(all_repos(&registry).await, [""; 0]);
}

#[tokio::test]
async fn repositories_that_no_route_leads_to_are_not_listed() {
    // What is behind another route has the same names and is not to be seen.
    let (team, rest) = (with(&["team/a", "team/c", "x", "z"]).await, with(&["team/a", "team/b", "a", "y"]).await);
    let registry = routed([(Names::Beneath(repo("team")), &team), (Names::All, &rest)]);
    assert_eq!(all_repos(&registry).await, ["a", "team/a", "team/c", "y"]);
}

#[tokio::test]
async fn merged_pages_go_on_where_they_ended() {
    let mut registries: Vec<Vec<String>> = vec![Vec::new(); 5];
    for index in 0..500 {
        let owner = index * 7 % 5;
        registries[owner].push(format!("n{owner}/r{index:03}"));
    }
    let mut routes: Vec<(Names, Memory)> = Vec::new();
    for (owner, names) in registries.iter().enumerate().take(4) {
        let memory = with(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        routes.push((Names::Beneath(repo(&format!("n{owner}"))), memory));
    }
    routes.push((Names::One(repo("n1/exactly")), Memory::default()));
    routes.insert(0, (Names::One(repo("n2/exactly")), with(&["n2/exactly"]).await));
    let mut others: Vec<&str> = registries[4].iter().map(String::as_str).collect();
    others.extend(["a", "n", "n1", "n1-x", "n2.x", "zz"]);
    routes.push((Names::All, with(&others).await));
    let mut want: Vec<String> = registries.concat();
    want.extend(["a", "n", "n1", "n1-x", "n2.x", "zz", "n2/exactly"].map(str::to_owned));
    want.sort_unstable();
    let registry = routed(routes.iter().map(|(names, memory)| (names.clone(), memory)));
    for limit in [1, 7, 100, 1000] {
        let mut page = Page { limit: Some(limit), after: None };
        let mut seen = Vec::new();
        loop {
            let Listing { items, next } = registry.list_repos(&page).await.unwrap();
            seen.extend(items.iter().map(ToString::to_string));
            let Some(next) = next else { break };
            assert_eq!(items.len(), limit);
            page.after = Some(next);
        }
        assert_eq!(seen, want, "{limit}");
    }
}

#[tokio::test]
async fn list_that_lacks_a_registry_is_an_error() {
    let failing = guarded(Memory::default(), |call| match call.op {
        Op::ListRepos => Err(Code::Unavailable.into()),
        _ => Ok(()),
    });
    let routes: [(Names, Arc<dyn Registry>); 2] =
        [(Names::Beneath(repo("team")), Arc::new(failing)), (Names::All, Arc::new(with(&["a"]).await))];
    let error = Routed::new(Routes::new(routes)).list_repos(&Page::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "registry unavailable: repositories team/*");
}

#[tokio::test]
async fn mounts_do_not_cross_registries() {
    let (one, two) = (with(&["one/a"]).await, Memory::default());
    let one: Arc<dyn Registry> = Arc::new(one);
    let routes = [
        (Names::Beneath(repo("one")), one.clone()),
        (Names::Beneath(repo("again")), one),
        (Names::Beneath(repo("two")), Arc::new(two) as Arc<dyn Registry>),
    ];
    let registry = Routed::new(Routes::new(routes));
    let digest = Digest::sha256(b"hello");
    for (to, from, want) in [
        ("one/b", Some("one/a"), None),
        ("again/b", Some("one/a"), None),
        ("two/b", Some("one/a"), Some(Code::Unsupported)),
        ("one/c", Some("two/a"), Some(Code::Unsupported)),
        ("one/c", Some("no/where"), Some(Code::NameUnknown)),
        ("no/where", Some("one/a"), Some(Code::NameUnknown)),
        ("one/c", None, Some(Code::Unsupported)),
    ] {
        let mounted = registry.mount_blob(&repo(to), &digest, from.map(repo).as_ref()).await;
        assert_eq!(mounted.err().map(|error| error.code().clone()), want, "{from:?} to {to}");
    }
}

/// Counts the lists of repositories that are asked for.
#[derive(Debug, Default)]
struct Lists(AtomicUsize);

impl Meter for Lists {
    fn record(&self, call: Call<'_>, _usage: &Usage) {
        if call.op == Op::ListRepos {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn routed<'a>(routes: impl IntoIterator<Item = (Names, &'a Memory)>) -> impl Registry {
    let routes = routes.into_iter().map(|(names, memory)| (names, Arc::new(memory.clone()) as Arc<dyn Registry>));
    Routed::new(Routes::new(routes))
}

/// A registry in which each of the repositories has a blob `hello`.
async fn with(names: &[&str]) -> Memory {
    let memory = Memory::default();
    for name in names {
        memory.write_blob(&repo(name), "hello".into()).await.unwrap();
    }
    memory
}

async fn all_repos(registry: &dyn Registry) -> Vec<String> {
    let repos: Vec<RepoName> = registry.repos().try_collect().await.unwrap();
    repos.iter().map(ToString::to_string).collect()
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}
