//! What a policy does not allow is not used, by no operation, and what it allows is the very bytes that were signed.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::Served;
use crate::support::files_below;
use crate::support::push;
use crate::support::site;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use skep::Addition;
use skep::Address;
use skep::Caches;
use skep::Client;
use skep::ClientOptions;
use skep::ErrorKind;
use skep::Policies;
use skep::Policy;
use skep::PullOptions;
use skep::PushOptions;
use skep::Result;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::Platform;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Tag;
use skep_registry::media_type;
use skep_registry::transfer::CopyOptions;
use skep_registry::transfer::Platforms;
use skep_trust::KeySigner;
use skep_trust::Pattern;
use skep_trust::PrivateKey;
use skep_trust::PublicKey;
use skep_trust::SignOptions;
use skep_trust::Subject;
use skep_trust::Verifier;
use skep_trust::sign;
use tempfile::TempDir;
use tempfile::tempdir;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

/// A registry with a site that somebody signed, and the policy that wants that.
struct Signed {
    served: Served,
    site: TempDir,
    v1: Address,
    digest: skep_registry::Digest,
    signer: KeySigner,
    key: PublicKey,
}

impl Signed {
    async fn new() -> Self {
        let (served, site) = (Served::new().await, site());
        let v1 = served.address("v1");
        let digest = push(&Client::default(), site.path(), &v1).await.manifest.digest;
        let (signer, key) = key();
        let signed = Self { served, site, v1, digest, signer, key };
        signed.sign().await;
        signed.served.calls();
        signed
    }

    /// Signs what the tag has.
    async fn sign(&self) {
        sign_in(&self.served.registry.memory, &repo(), &self.v1, &self.signer).await;
    }

    fn policy(&self) -> Policy {
        signed_by(&self.key)
    }

    fn allowing(&self) -> Client {
        with(Policies::default().for_all(self.policy()), Caches::default())
    }

    /// Pushes something else, without a signature, and gives its manifest.
    async fn unsigned(&self, tag: &str) -> Manifest {
        fs::write(self.site.path().join("page"), "evil").unwrap();
        let address = self.served.address(tag);
        push(&Client::default(), self.site.path(), &address).await;
        let manifest = self.served.registry.memory.get_manifest(&repo(), &address.manifest()).await.unwrap();
        self.served.calls();
        manifest
    }
}

fn repo() -> RepoName {
    "team/site".parse().unwrap()
}

fn key() -> (KeySigner, PublicKey) {
    let key = PrivateKey::generate().unwrap();
    let public = key.public_key().clone();
    (KeySigner::new(key), public)
}

fn signed_by(key: &PublicKey) -> Policy {
    Policy::signed(Arc::new(Verifier::default().trust_key(key.clone())))
}

async fn sign_in(registry: &dyn Registry, repo: &RepoName, at: &Address, signer: &KeySigner) {
    let manifest = registry.get_manifest(repo, &at.manifest()).await.unwrap();
    sign(registry, repo, &Subject::from(&manifest), signer, &SignOptions::default()).await.unwrap();
}

fn with(policies: Policies, caches: Caches) -> Client {
    Client::new(ClientOptions { policies, caches, ..Default::default() })
}

/// Somebody who signed nothing.
fn stranger() -> Policy {
    signed_by(&key().1)
}

fn denying() -> Client {
    with(Policies::default().for_all(stranger()), Caches::default())
}

fn violation<T>(result: Result<T>) -> String {
    let error = result.err().expect("it is not allowed");
    assert_eq!(error.kind(), ErrorKind::PolicyViolation, "{error}");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

type Operation = for<'a> fn(&'a Client, &'a Address, &'a Path) -> BoxFuture<'a, Result<()>>;

/// Every operation that does something with what is in a registry.
const OPERATIONS: [(&str, Operation); 10] = [
    ("amend", |client, v1, dir| {
        async move {
            let before = client.pull_if_there(v1).await?;
            let more = Addition::Disk { from: dir.join("page"), path: "more".to_owned() };
            client.amend(before.as_ref(), vec![more], v1, PushOptions::default(), Arc::new(|_| {})).await.map(|_| ())
        }
        .boxed()
    }),
    ("copy", |client, v1, _| {
        async move {
            let to: Address = v1.to_string().replace("team/site", "team/copy").parse().unwrap();
            client.copy(v1, &to, CopyOptions::default()).await.map(|_| ())
        }
        .boxed()
    }),
    ("fetch", |client, v1, _| async move { client.fetch(v1).await.map(|_| ()) }.boxed()),
    ("fetch_with", |client, v1, _| async move { client.fetch_with(v1, fresh()).await.map(|_| ()) }.boxed()),
    ("inspect", |client, v1, _| async move { client.inspect(v1).await.map(|_| ()) }.boxed()),
    ("inspect_with", |client, v1, _| async move { client.inspect_with(v1, fresh()).await.map(|_| ()) }.boxed()),
    ("manifest", |client, v1, _| async move { client.manifest(v1).await.map(|_| ()) }.boxed()),
    ("pull", |client, v1, _| async move { client.pull(v1).await?.read("page").await.map(|_| ()) }.boxed()),
    ("pull_with", |client, v1, _| {
        let past = PullOptions { skip_caches: true, ..Default::default() };
        async move { client.pull_with(v1, past).await.map(|_| ()) }.boxed()
    }),
    ("tag", |client, v1, _| async move { client.tag(v1, &[release()], false).await.map(|_| ()) }.boxed()),
];

/// What uses no bytes of a registry, or only those it is told.
const OTHERS: [&str; 9] = [
    // Tells what the policies say.
    "decide",
    // Describes what refers to a manifest.
    "referrers",
    // Web servers have no signatures.
    "open_url",
    // These write; push reads too, which is a test of its own.
    "push",
    "push_built",
    // The part of amend that reads.
    "pull_if_there",
    // These make and look at signatures.
    "attest",
    "sign",
    "verify",
];

fn fresh() -> PullOptions {
    PullOptions { fresh: true, ..Default::default() }
}

fn release() -> Tag {
    "release".parse().unwrap()
}

#[test]
fn every_operation_of_the_client_is_in_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    for file in files_below(&src.join("client")).into_iter().chain([src.join("client.rs"), src.join("url.rs")]) {
        let text = fs::read_to_string(file).unwrap();
        let declared = text.split("\n    pub async fn ").skip(1);
        found.extend(declared.map(|rest| rest.split(['(', '<']).next().unwrap().to_owned()));
    }
    assert!(found.remove("open"), "UrlSource");
    let known = OPERATIONS.map(|(name, _)| name).into_iter().chain(OTHERS).map(str::to_owned).collect();
    assert_eq!(found.difference(&known).collect::<Vec<_>>(), [""; 0], "is what they give held against policies?");
}

#[tokio::test]
async fn every_operation_is_denied_what_is_not_allowed_and_writes_nothing() {
    let signed = Signed::new().await;
    for (name, operation) in OPERATIONS {
        let said = violation(operation(&denying(), &signed.v1, signed.site.path()).await);
        assert!(
            said.contains(&signed.v1.to_string()) && said.contains("signature: wanted a signature"),
            "{name}: {said}"
        );
        assert!(said.contains(signed.digest.as_str()), "{name}: {said}");
        let calls = signed.served.calls();
        assert!(calls.iter().all(|call| !call.contains("put") && !call.contains("upload")), "{name}: {calls:?}");
    }
    let memory = &signed.served.registry.memory;
    assert!(memory.get_manifest(&repo(), &release().into()).await.unwrap_err().is_not_found());
    assert!(memory.list_tags(&"team/copy".parse().unwrap(), &Default::default()).await.is_err());
    assert_eq!(memory.get_manifest(&repo(), &signed.v1.manifest()).await.unwrap().digest(), &signed.digest);
}

#[tokio::test]
async fn every_operation_does_what_is_allowed() {
    for (name, operation) in OPERATIONS {
        let signed = Signed::new().await;
        let client = signed.allowing();
        operation(&client, &signed.v1, signed.site.path()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn a_policy_of_ones_own_is_explained_whatever_the_client_allows() {
    let signed = Signed::new().await;
    for client in [denying(), signed.allowing()] {
        let decision = client.verify(&signed.v1, &signed.policy()).await.unwrap();
        assert!(decision.is_allowed() && decision.subject().digest == signed.digest, "{decision}");
        let decision = client.verify(&signed.v1, &stranger()).await.unwrap();
        assert!(!decision.is_allowed() && decision.to_string().contains("signature"), "{decision}");
    }
}

#[test]
fn the_client_that_waits_is_bound_as_well() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let signed = runtime.block_on(Signed::new());
    let to: Address = signed.v1.to_string().replace("team/site", "team/copy").parse().unwrap();
    for (policy, allows) in [(signed.policy(), true), (stranger(), false)] {
        let policies = Policies::default().for_all(policy);
        let client = skep::blocking::Client::new(ClientOptions { policies, ..Default::default() }).unwrap();
        assert_eq!(client.decide(&signed.v1).unwrap().unwrap().is_allowed(), allows);
        assert!(client.verify(&signed.v1, &signed.policy()).unwrap().is_allowed());
        let v1 = &signed.v1;
        let results = [
            client.pull(v1).map(|_| ()),
            client.fetch(v1).map(|_| ()),
            client.inspect(v1).map(|_| ()),
            client.manifest(v1).map(|_| ()),
            client.copy(v1, &to, CopyOptions::default()).map(|_| ()),
            client.tag(v1, &[release()], false).map(|_| ()),
        ];
        for result in results {
            assert_eq!(result.err().map(|error| error.kind()), (!allows).then_some(ErrorKind::PolicyViolation));
        }
    }
}

#[tokio::test]
async fn a_decision_costs_what_is_attached_and_nothing_else() {
    let signed = Signed::new().await;
    let page = signed.allowing().pull(&signed.v1).await.unwrap().read("page").await.unwrap();
    assert_eq!(page, "hello");
    let mut calls = signed.served.calls();
    assert_eq!((calls[0].as_str(), calls.last().unwrap().as_str()), ("get_manifest", "get_blob part"));
    calls.sort();
    let mut want = vec!["get_manifest", "get_blob", "get_blob part"];
    // The list; what is on it, and the two tags of cosign before version 3; the bundle.
    want.extend(["list_referrers", "get_manifest", "get_manifest", "get_manifest", "get_blob"]);
    want.sort_unstable();
    assert_eq!(calls, want);
    // Where none applies, a pull is what it was.
    let others = Policies::default().for_references(Pattern::glob("a.b/**").unwrap(), stranger());
    with(others, Caches::default()).pull(&signed.v1).await.unwrap();
    assert_eq!(signed.served.calls(), ["get_manifest", "get_blob"]);
}

#[tokio::test]
async fn the_index_comes_while_it_is_decided() {
    let signed = Signed::new().await;
    // Each waits for the other, so that one after the other would be never.
    signed.served.registry.hold_until_all(&["get_blob", "list_referrers"]);
    timeout(SOON, signed.allowing().pull(&signed.v1)).await.unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_given_before_it_is_decided() {
    let signed = Signed::new().await;
    signed.served.registry.hold("list_referrers");
    let client = signed.allowing();
    let pull = client.pull(&signed.v1);
    assert!(timeout(Duration::from_millis(300), pull).await.is_err());
    assert!(signed.served.calls().contains(&"get_blob".to_owned()), "the index has come");
}

#[tokio::test]
async fn a_denial_does_not_wait_for_the_index() {
    let signed = Signed::new().await;
    let unsigned = signed.unsigned("v2").await;
    signed.served.registry.hold("get_blob");
    let at = signed.v1.at(unsigned.digest().clone());
    violation(timeout(SOON, signed.allowing().pull(&at)).await.unwrap());
}

#[tokio::test]
async fn h6_what_is_verified_are_the_bytes_that_are_used() {
    let signed = Signed::new().await;
    let (registry, v1) = (&signed.served.registry, &signed.v1);
    let good = registry.memory.get_manifest(&repo(), &v1.manifest()).await.unwrap();
    let evil = signed.unsigned("v2").await;
    // The peer took what came first and verified what came next.
    registry.say_instead(&signed.digest, [evil.clone(), good.clone(), good.clone()]);
    let said = violation(signed.allowing().pull(v1).await);
    assert!(said.contains(evil.digest().as_str()), "{said}");
    registry.say_instead(&signed.digest, [evil.clone()]);
    violation(signed.allowing().tag(v1, &[release()], false).await);
    registry.say_instead(&signed.digest, [evil.clone(), good.clone()]);
    let to: Address = v1.to_string().replace("team/site", "team/copy").parse().unwrap();
    violation(signed.allowing().copy(v1, &to, CopyOptions::default()).await);
    assert!(registry.memory.get_manifest(&"team/copy".parse().unwrap(), &to.manifest()).await.is_err());
    // The other way round: what was decided about is copied, or nothing.
    let then_evil = std::iter::repeat_n(evil.clone(), 20);
    registry.say_instead(&signed.digest, [good.clone()].into_iter().chain(then_evil));
    let copied = signed.allowing().copy(v1, &to, CopyOptions::default()).await;
    let error = copied.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HashMismatch, "{error}");
    assert!(registry.memory.get_manifest(&"team/copy".parse().unwrap(), &to.manifest()).await.is_err());
    // Whoever asks by digest gets that, whoever is asked.
    registry.say_instead(&signed.digest, [evil.clone()]);
    let error = signed.allowing().pull(&v1.at(signed.digest.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HashMismatch, "{error}");
}

#[tokio::test]
async fn a_tag_that_moves_takes_no_signature_along() {
    let signed = Signed::new().await;
    let dir = tempdir().unwrap();
    let policies = Policies::default().for_all(signed.policy());
    let client = with(policies, Caches::in_dir(dir.path(), Default::default()).unwrap());
    client.pull(&signed.v1).await.unwrap();
    signed.unsigned("v1").await;
    // Who looks believes for a minute where the tag pointed; that is signed.
    assert_eq!(client.pull(&signed.v1).await.unwrap().digest(), &signed.digest);
    violation(client.pull_with(&signed.v1, fresh()).await);
    violation(signed.allowing().pull(&signed.v1).await);
    violation(client.tag(&signed.v1, &[release()], false).await);
    assert_eq!(client.pull(&signed.v1.at(signed.digest.clone())).await.unwrap().digest(), &signed.digest);
    // Who signs it lets it in.
    signed.sign().await;
    client.pull(&signed.v1).await.unwrap();
}

#[tokio::test]
async fn what_is_cached_is_decided_about_each_time() {
    let signed = Signed::new().await;
    let dir = tempdir().unwrap();
    let caches = || Caches::in_dir(dir.path(), Default::default()).unwrap();
    with(Policies::default(), caches()).pull(&signed.v1).await.unwrap().read("page").await.unwrap();
    signed.served.calls();
    let (denying, allowing) = (Policies::default().for_all(stranger()), Policies::default().for_all(signed.policy()));
    let (denying, allowing) = (with(denying, caches()), with(allowing, caches()));
    for _ in 0..2 {
        violation(denying.pull(&signed.v1).await);
        violation(denying.fetch(&signed.v1).await);
        allowing.pull(&signed.v1).await.unwrap();
    }
    let calls = signed.served.calls();
    assert_eq!(calls.iter().filter(|call| *call == "list_referrers").count(), 6, "{calls:?}");
    // What is attached is kept, but not that nothing else is.
    assert_eq!(calls.iter().filter(|call| *call == "get_blob").count(), 1, "{calls:?}");
}

#[tokio::test]
async fn offline_it_is_decided_by_what_is_kept_or_denied() {
    let signed = Signed::new().await;
    let dir = tempdir().unwrap();
    let caches = |offline| Caches { offline, ..Caches::in_dir(dir.path(), Default::default()).unwrap() };
    let policies = || Policies::default().for_all(signed.policy());
    with(Policies::default(), caches(false)).pull(&signed.v1).await.unwrap();
    signed.served.calls();
    let error = with(policies(), caches(true)).pull(&signed.v1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let said = error.to_string();
    assert!(said.contains("what is attached to it: offline: what refers to sha256:"), "{said}");
    with(policies(), caches(false)).pull(&signed.v1).await.unwrap();
    signed.served.calls();
    with(policies(), caches(true)).pull(&signed.v1).await.unwrap();
    violation(with(Policies::default().for_all(stranger()), caches(true)).pull(&signed.v1).await);
    assert_eq!(signed.served.calls(), [""; 0]);
}

#[tokio::test]
async fn a_layout_has_its_signatures_with_it() {
    let (site, dir, (signer, key)) = (site(), tempdir().unwrap(), key());
    let v1: Address = format!("oci:{}:v1", dir.path().join("store").display()).parse().unwrap();
    push(&Client::default(), site.path(), &v1).await;
    let offline = Caches { offline: true, ..Default::default() };
    let client = with(Policies::default().for_all(signed_by(&key)), offline);
    violation(client.pull(&v1).await);
    let (registry, repo) = client.registry(&v1.store).unwrap();
    sign_in(&*registry, &repo, &v1, &signer).await;
    assert_eq!(client.pull(&v1).await.unwrap().read("page").await.unwrap(), "hello");
    // However it is written.
    let glob = format!("oci:{}/*", dir.path().canonicalize().unwrap().display());
    let client = with(Policies::default().for_references(Pattern::glob(&glob).unwrap(), stranger()), Caches::default());
    let written: Address = format!("oci:{}/x/../store:v1", dir.path().display()).parse().unwrap();
    fs::create_dir(dir.path().join("x")).unwrap();
    violation(client.pull(&written).await);
}

#[tokio::test]
async fn policies_apply_by_name_and_all_that_apply_have_to_hold() {
    let signed = Signed::new().await;
    let host = &signed.served.host;
    let glob = |text: String| Pattern::glob(&text).unwrap();
    let base = || Policies::default().for_references(glob(format!("{host}/team/**")), signed.policy());
    for (policies, allows) in [
        (base(), true),
        (base().for_references(glob(format!("{host}/other/**")), stranger()), true),
        (base().for_references(glob(format!("{host}/team/site:v2")), stranger()), true),
        (base().for_references(glob(format!("{host}/*/site")), stranger()), false),
        (base().for_references(glob(format!("{host}/team/site:v1")), stranger()), false),
        (base().for_all(stranger()), false),
    ] {
        let client = with(policies, Caches::default());
        assert_eq!(client.pull(&signed.v1).await.is_ok(), allows, "{:?}", client.policy(&signed.v1).unwrap());
    }
    // Neither a scheme nor a digest leads around them.
    let by_tag = Policies::default().for_references(glob(format!("{host}/team/site:v1")), stranger());
    let client = with(by_tag, Caches::default());
    violation(client.pull(&format!("http://{}", signed.v1).parse().unwrap()).await);
    violation(client.pull(&signed.v1.at(signed.digest.clone())).await);
}

fn platform() -> Platform {
    Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), ..Platform::default() }
}

#[tokio::test]
async fn what_is_named_is_what_is_decided_about_and_it_names_its_children() {
    let signed = Signed::new().await;
    let memory = &signed.served.registry.memory;
    let child = memory.get_manifest(&repo(), &signed.unsigned("v2").await.digest().clone().into()).await.unwrap();
    let content = ManifestContent {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests: Some(vec![Descriptor { platform: Some(platform()), ..child.descriptor().clone() }]),
        ..Default::default()
    };
    let index = Manifest::new(media_type::INDEX, content.to_bytes());
    let options = PutManifest { tags: vec!["multi".parse().unwrap()], ..Default::default() };
    memory.put_manifest(&repo(), &index, options).await.unwrap();
    let multi = signed.served.address("multi");
    let to: Address = multi.to_string().replace("team/site", "team/copy").parse().unwrap();
    violation(signed.allowing().copy(&multi, &to, CopyOptions::default()).await);
    sign_in(memory, &repo(), &multi, &signed.signer).await;
    // Who signed the index signed the digests in it.
    let one = CopyOptions { platforms: Platforms::One(platform()), ..Default::default() };
    assert_eq!(&signed.allowing().copy(&multi, &to, one).await.unwrap().manifest.digest, child.digest());
    let all = CopyOptions { referrers: true, ..Default::default() };
    assert_eq!(&signed.allowing().copy(&multi, &to, all).await.unwrap().manifest.digest, index.digest());
    // By its own name it has no signature; and the copy has what came along.
    violation(signed.allowing().manifest(&multi.at(child.digest().clone())).await);
    signed.allowing().manifest(&to).await.unwrap();
}

#[tokio::test]
async fn a_push_does_not_use_what_it_may_not() {
    let signed = Signed::new().await;
    let options = || PushOptions::default();
    let quiet: skep::OnProgress = Arc::new(|_| {});
    // Unchanged: the old index says so, and nothing is packed.
    signed.allowing().push(signed.site.path(), &signed.v1, options(), quiet.clone()).await.unwrap();
    let asks = |calls: Vec<String>| calls.iter().any(|call| call.starts_with("head_"));
    assert!(!asks(signed.served.calls()));
    let pushed = denying().push(signed.site.path(), &signed.v1, options(), quiet).await.unwrap();
    assert_eq!(pushed.manifest.digest, signed.digest);
    assert!(asks(signed.served.calls()), "it was packed again, and then there");
}

#[tokio::test]
async fn what_is_attached_and_cannot_be_listed_denies() {
    let signed = Signed::new().await;
    let Signed { served, v1, .. } = &signed;
    let client = signed.allowing();
    client.pull(v1).await.unwrap();
    served.registry.fail("list_referrers");
    let error = client.pull(v1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("what is attached to it"), "{error}");
}
