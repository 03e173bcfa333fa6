//! Policies of gittuf: what was built stands where those put it who may.

use std::sync::Arc;

use crate::common::*;
use crate::source::*;
use serde_json::Value;
use serde_json::json;
use skep_registry::Memory;
use skep_trust::Error;
use skep_trust::Gittuf;
use skep_trust::GittufKey;
use skep_trust::KeySigner;
use skep_trust::Policy;
use skep_trust::Predicate;
use skep_trust::PrivateKey;
use skep_trust::Subject;
use skep_trust::Verifier;
use skep_trust::attest;

pub(crate) const REPOSITORY: &str = "https://github.com/acme/site";

pub(crate) const ROOT: Who = 1;
const TARGETS: Who = 2;
pub(crate) const DEV: Who = 3;
const OTHER: Who = 4;
const STRANGER: Who = 9;

/// A subject with provenance that a trusted key signed.
pub(crate) struct Built {
    pub(crate) registry: Memory,
    pub(crate) subject: Subject,
    pub(crate) signer: KeySigner,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) public_key: String,
}

impl Built {
    pub(crate) async fn new() -> Self {
        let (registry, subject) = site().await;
        let key = PrivateKey::generate().unwrap();
        let verifier = Arc::new(Verifier::default().trust_key(key.public_key().clone()));
        let public_key = key.public_key().to_pem();
        Self { registry, subject, signer: KeySigner::new(key), verifier, public_key }
    }

    pub(crate) async fn from(commit: &str) -> Self {
        let built = Self::new().await;
        built.attest("https://slsa.dev/provenance/v1", built_from(REPOSITORY, MAIN, commit)).await;
        built
    }

    pub(crate) async fn attest(&self, kind: &str, predicate: Value) {
        let predicate = Predicate { kind, content: &predicate, created: None };
        attest(&self.registry, &repo(), &self.subject, predicate, &self.signer).await.unwrap();
    }

    /// Nothing when the rule holds, or why it does not.
    pub(crate) async fn decide(&self, rule: Gittuf) -> Result<(), String> {
        let policy = Policy::rule(Arc::clone(&self.verifier), rule);
        let decision = policy.decide(&self.registry, &repo(), &self.subject, "example.com/acme/site:v1").await.unwrap();
        match decision.require() {
            Ok(()) => Ok(()),
            Err(Error::Denied(decision)) => Err(decision.to_string()),
            Err(other) => panic!("{other}"),
        }
    }
}

pub(crate) fn built_from(repository: &str, reference: &str, commit: &str) -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"repository": repository, "ref": reference, "path": ".github/workflows/a.yml"}},
            "resolvedDependencies": [{"uri": format!("git+{repository}@{reference}"), "digest": {"gitCommit": commit}}],
        },
        "runDetails": {"builder": {"id": "https://github.com/acme/builder"}},
    })
}

pub(crate) fn rooted(source: &Source) -> Gittuf {
    Gittuf::in_directory(REPOSITORY, source.path()).unwrap().with_root_key(GittufKey::ssh(&public(ROOT)).unwrap())
}

fn protect_main() -> [Metadata<'static>; 2] {
    with_rules(1, &[rule("protect-main", "git:refs/heads/main", &[DEV], 1)])
}

fn with_rules(version: u64, all: &[Value]) -> [Metadata<'static>; 2] {
    [
        ("root", root_of(version, &[ROOT], 1, &[TARGETS]), &[ROOT]),
        ("targets", rules(version, &[DEV, OTHER], all), &[TARGETS]),
    ]
}

/// A repository where one person may move the branch, and did.
pub(crate) fn good() -> (Source, String) {
    let mut source = Source::new();
    source.policy(&protect_main());
    let commit = source.change("one", &[], Some(DEV));
    source.put(MAIN, &commit, Some(DEV));
    (source, commit)
}

pub(crate) async fn verdict(source: &Source, commit: &str) -> Result<(), String> {
    Built::from(commit).await.decide(rooted(source)).await
}

async fn whole_verdict(source: &Source, commit: &str) -> Result<(), String> {
    Built::from(commit).await.decide(rooted(source).verify_whole_log(true)).await
}

pub(crate) fn assert_denied(verdict: Result<(), String>, why: &str) {
    let said = verdict.expect_err("it was allowed");
    assert!(said.contains(why), "wanted {why:?} in: {said}");
}

#[tokio::test]
async fn a_commit_that_an_authorized_person_put_on_its_branch_is_allowed() {
    let (mut source, first) = good();
    assert_eq!(verdict(&source, &first).await, Ok(()));
    assert_eq!(whole_verdict(&source, &first).await, Ok(()));
    // What leads there was vouched for by whoever put the branch there.
    let second = source.change("two", &[&first], None);
    source.put(MAIN, &second, Some(DEV));
    assert_eq!(verdict(&source, &first).await, Ok(()));
    assert_eq!(verdict(&source, &second).await, Ok(()));
}

#[tokio::test]
async fn a_branch_that_moved_without_an_entry_is_denied() {
    let (source, first) = good();
    let second = source.change("two", &[&first], Some(DEV));
    source.set(MAIN, &second);
    assert_denied(verdict(&source, &first).await, "the log has it at");
    assert_denied(verdict(&source, &second).await, "the log has it at");
}

#[tokio::test]
async fn an_entry_that_nobody_signed_is_denied() {
    let (mut source, first) = good();
    let second = source.change("two", &[&first], Some(DEV));
    source.put(MAIN, &second, None);
    assert_denied(verdict(&source, &second).await, "protect-main: wanted 1 of");
}

#[tokio::test]
async fn an_entry_of_somebody_who_may_not_is_denied() {
    let (mut source, first) = good();
    let second = source.change("two", &[&first], Some(DEV));
    let entry = source.put(MAIN, &second, Some(STRANGER));
    assert_denied(verdict(&source, &second).await, &entry);
    assert_denied(whole_verdict(&source, &second).await, &entry);
}

#[tokio::test]
async fn the_whole_log_does_not_hold_when_an_entry_within_does_not() {
    let (mut source, first) = good();
    let second = source.change("two", &[&first], None);
    let entry = source.put(MAIN, &second, Some(STRANGER));
    let third = source.change("three", &[&second], None);
    source.put(MAIN, &third, Some(DEV));
    assert_eq!(verdict(&source, &third).await, Ok(()));
    assert_denied(whole_verdict(&source, &third).await, &entry);
}

#[tokio::test]
async fn a_broken_entry_can_be_taken_back_by_bringing_back_the_files_before_it() {
    let (mut source, first) = good();
    let bad = source.change("bad", &[&first], None);
    let entry = source.put(MAIN, &bad, Some(STRANGER));
    source.skip(&entry, Some(DEV));
    assert_denied(verdict(&source, &bad).await, "was taken back");
    assert_denied(whole_verdict(&source, &bad).await, "was taken back");
    let fix = source.change("one", &[&bad], None);
    source.put(MAIN, &fix, Some(DEV));
    assert_eq!(whole_verdict(&source, &fix).await, Ok(()));
}

#[tokio::test]
async fn a_broken_entry_is_not_mended_by_a_stranger_nor_by_other_files() {
    for (text, by, is_allowed) in [("one", DEV, true), ("one", STRANGER, false), ("two", DEV, false)] {
        let (mut source, first) = good();
        let bad = source.change("bad", &[&first], None);
        let entry = source.put(MAIN, &bad, Some(STRANGER));
        source.skip(&entry, Some(DEV));
        let fix = source.change(text, &[&bad], None);
        source.put(MAIN, &fix, Some(by));
        assert_eq!(whole_verdict(&source, &fix).await.is_ok(), is_allowed, "{text} {by}");
    }
}

#[tokio::test]
async fn a_root_that_the_pinned_key_did_not_sign_is_denied() {
    let (source, first) = good();
    let built = Built::from(&first).await;
    let bare = || Gittuf::in_directory(REPOSITORY, source.path()).unwrap();
    let stranger = GittufKey::ssh(&public(STRANGER)).unwrap();
    assert_denied(built.decide(bare().with_root_key(stranger.clone())).await, "wanted the first root to be signed");
    assert_denied(built.decide(rooted(&source).with_root_key(stranger.clone())).await, "wanted the first root");
    assert_denied(built.decide(bare()).await, "wanted the first root");
    assert_eq!(built.decide(bare().trust_first_root(true)).await, Ok(()));
    // To believe the first one is for those who pin none.
    assert_denied(built.decide(bare().trust_first_root(true).with_root_key(stranger)).await, "wanted the first root");
}

#[tokio::test]
async fn a_policy_that_another_root_signed_is_denied() {
    let (mut source, first) = good();
    source.policy(&[
        ("root", root_of(2, &[STRANGER], 1, &[STRANGER]), &[STRANGER]),
        ("targets", rules(2, &[STRANGER], &[rule("protect-main", "git:refs/heads/main", &[STRANGER], 1)]), &[STRANGER]),
    ]);
    assert_denied(verdict(&source, &first).await, "root: wanted 1 of");
}

#[tokio::test]
async fn a_root_can_be_handed_over_by_those_who_have_it() {
    let (mut source, first) = good();
    source.policy(&[
        ("root", root_of(2, &[OTHER], 1, &[TARGETS]), &[ROOT, OTHER]),
        ("targets", rules(2, &[OTHER], &[rule("protect-main", "git:refs/heads/main", &[OTHER], 1)]), &[TARGETS]),
    ]);
    let second = source.change("two", &[&first], None);
    source.put(MAIN, &second, Some(DEV));
    assert_denied(verdict(&source, &second).await, "protect-main");
    source.put(MAIN, &second, Some(OTHER));
    assert_eq!(verdict(&source, &second).await, Ok(()));
}

#[tokio::test]
async fn rules_that_the_wrong_ones_signed_are_denied() {
    let mut source = Source::new();
    let [root, (name, targets, _)] = protect_main();
    source.policy(&[root, (name, targets, &[ROOT])]);
    let commit = source.change("one", &[], None);
    source.put(MAIN, &commit, Some(DEV));
    assert_denied(verdict(&source, &commit).await, "targets: wanted 1 of");
}

#[tokio::test]
async fn a_policy_that_becomes_older_is_denied() {
    let (mut source, _) = good();
    source.policy(&with_rules(3, &[rule("protect-main", "git:refs/heads/main", &[OTHER], 1)]));
    source.policy(&with_rules(2, &[rule("protect-main", "git:refs/heads/main", &[DEV], 1)]));
    let commit = source.change("two", &[], None);
    source.put(MAIN, &commit, Some(DEV));
    assert_denied(verdict(&source, &commit).await, "rolled back: version 2 of root after 3");
}

#[tokio::test]
async fn as_many_as_a_rule_wants_have_to_agree() {
    let mut source = Source::new();
    source.policy(&with_rules(1, &[rule("protect-main", "git:refs/heads/main", &[DEV, OTHER], 2)]));
    let commit = source.change("one", &[], None);
    source.put(MAIN, &commit, Some(DEV));
    assert_denied(verdict(&source, &commit).await, "wanted 2 of");
    source.git(&["update-ref", "-d", MAIN], b"");
    // The one who moves it and the one who approves are two; twice the same is one.
    for (approver, by, is_allowed) in
        [(DEV, DEV, false), (STRANGER, DEV, false), (OTHER, DEV, true), (DEV, OTHER, true)]
    {
        let mut source = Source::new();
        source.policy(&with_rules(1, &[rule("protect-main", "git:refs/heads/main", &[DEV, OTHER], 2)]));
        let commit = source.change("one", &[], None);
        source.authorize(MAIN, ZERO, &commit, &[approver]);
        source.put(MAIN, &commit, Some(by));
        assert_eq!(verdict(&source, &commit).await.is_ok(), is_allowed, "{approver} {by}");
    }
}

#[tokio::test]
async fn an_approval_of_another_change_does_not_count() {
    let mut source = Source::new();
    source.policy(&with_rules(1, &[rule("protect-main", "git:refs/heads/main", &[DEV, OTHER], 2)]));
    let (one, two) = (source.change("one", &[], None), source.change("two", &[], None));
    source.authorize(MAIN, ZERO, &two, &[OTHER]);
    // Somebody lays it where the other would be.
    let tree = |commit: &str| source.git(&["rev-parse", &format!("{commit}^{{tree}}")], b"");
    let path = |tree: &str| format!("reference-authorizations/{MAIN}/{ZERO}-{tree}");
    let (from, to) = (path(&tree(&two)), path(&tree(&one)));
    let bytes = source.git(&["cat-file", "blob", &format!("{ATTESTATIONS}:{from}")], b"").into_bytes();
    source.attest(to, bytes);
    source.put(MAIN, &one, Some(DEV));
    assert_denied(verdict(&source, &one).await, "an approval for");
}

#[tokio::test]
async fn reviews_count_when_the_application_signed_them() {
    for (signer, approver, is_allowed) in [(6, "octo+1", true), (STRANGER, "octo+1", false), (6, "octo+2", false)] {
        let mut source = Source::new();
        let mut root = root_of(1, &[ROOT], 1, &[TARGETS]);
        root["principals"][id(6)] = key_body(6);
        root["githubApps"] = json!({APPLICATION: {"trusted": true, "principalIDs": [id(6)], "threshold": 1}});
        let mut targets = rules(1, &[DEV], &[]);
        targets["delegations"]["principals"]["octo"] =
            json!({"personID": "octo", "keys": {}, "associatedIdentities": {APPLICATION: "octo+1"}, "custom": {}});
        let mut protect = rule("protect-main", "git:refs/heads/main", &[DEV], 2);
        protect["principalIDs"] = json!([id(DEV), "octo"]);
        targets["delegations"]["roles"].as_array_mut().unwrap().insert(0, protect);
        source.policy(&[("root", root, &[ROOT]), ("targets", targets, &[TARGETS])]);
        let commit = source.change("one", &[], None);
        source.review(MAIN, ZERO, &commit, &[approver], &[signer]);
        source.put(MAIN, &commit, Some(DEV));
        assert_eq!(verdict(&source, &commit).await.is_ok(), is_allowed, "{signer} {approver}");
    }
}

#[tokio::test]
async fn a_delegation_may_let_others_in_for_what_was_delegated() {
    let delegated = |pattern: &str| rules(1, &[OTHER], &[rule("inner", pattern, &[OTHER], 1)]);
    for (pattern, signer, is_allowed) in [
        ("git:refs/heads/main", DEV, true),
        // Not signed by those to whom it was delegated.
        ("git:refs/heads/main", OTHER, false),
        ("git:refs/heads/other", DEV, false),
    ] {
        let mut source = Source::new();
        let [root, targets] = protect_main();
        let signers = [signer];
        source.policy(&[root, targets, ("protect-main", delegated(pattern), &signers)]);
        let commit = source.change("one", &[], None);
        source.put(MAIN, &commit, Some(OTHER));
        assert_eq!(verdict(&source, &commit).await.is_ok(), is_allowed, "{pattern} {signer}");
    }
}

#[tokio::test]
async fn rules_that_nothing_leads_to_are_denied() {
    let mut source = Source::new();
    let [root, targets] = protect_main();
    source.policy(&[root, targets, ("loose", rules(1, &[OTHER], &[]), &[DEV])]);
    let commit = source.change("one", &[], None);
    source.put(MAIN, &commit, Some(DEV));
    assert_denied(verdict(&source, &commit).await, "which nothing leads to");
}

#[tokio::test]
async fn commits_have_to_be_signed_by_those_who_may_change_their_files() {
    let all = [rule("protect-main", "git:refs/heads/main", &[DEV], 1), rule("files", "file:fi*", &[OTHER], 1)];
    for (by, is_allowed) in [(Some(OTHER), true), (Some(DEV), false), (None, false)] {
        let mut source = Source::new();
        source.policy(&with_rules(1, &all));
        let first = source.change("one", &[], Some(OTHER));
        let second = source.change("two", &[&first], by);
        let third = source.change("three", &[&second], Some(OTHER));
        source.put(MAIN, &third, Some(DEV));
        assert_eq!(verdict(&source, &third).await.is_ok(), is_allowed, "{by:?}");
    }
}

#[tokio::test]
async fn a_reference_that_nothing_protects_is_denied_unless_allowed() {
    let mut source = Source::new();
    source.policy(&with_rules(1, &[rule("tags", "git:refs/tags/*", &[DEV], 1)]));
    let commit = source.change("one", &[], None);
    source.put(MAIN, &commit, Some(DEV));
    assert_denied(verdict(&source, &commit).await, "no rule protects it");
    assert_eq!(Built::from(&commit).await.decide(rooted(&source).allow_unprotected(true)).await, Ok(()));
}

#[tokio::test]
async fn global_rules_hold_besides_all_others() {
    let mut root = root_of(1, &[ROOT], 1, &[TARGETS]);
    let paths = json!(["git:refs/heads/main"]);
    let keep = json!({"name": "keep", "type": "block-force-pushes", "paths": paths});
    let two = json!({"name": "two", "type": "threshold", "paths": paths, "threshold": 2});
    for (rule, parent, by, why) in [
        (&keep, true, DEV, None),
        (&keep, false, DEV, Some("keep: ")),
        // gittuf itself forgets its other rules as soon as there is a global one.
        (&keep, true, STRANGER, Some("protect-main: ")),
        (&two, true, DEV, Some("two: wanted 2")),
    ] {
        let mut source = Source::new();
        root["globalRules"] = json!([rule]);
        let [_, targets] = protect_main();
        source.policy(&[("root", root.clone(), &[ROOT]), targets]);
        let first = source.change("one", &[], None);
        source.put(MAIN, &first, Some(DEV));
        let parents = if parent { vec![first.as_str()] } else { Vec::new() };
        let second = source.change("two", &parents, None);
        source.put(MAIN, &second, Some(by));
        match why {
            None => assert_eq!(verdict(&source, &second).await, Ok(())),
            Some(why) => assert_denied(verdict(&source, &second).await, why),
        }
    }
}

#[tokio::test]
async fn a_tag_has_to_be_signed_itself() {
    for (by, is_allowed) in [(Some(DEV), true), (Some(STRANGER), false), (None, false)] {
        let mut source = Source::new();
        source.policy(&with_rules(1, &[rule("tags", "git:refs/tags/v*", &[DEV], 1)]));
        let commit = source.change("one", &[], None);
        let tag = source.tag("v1", &commit, by);
        source.put("refs/tags/v1", &tag, Some(DEV));
        let built = Built::new().await;
        built.attest("https://slsa.dev/provenance/v1", built_from(REPOSITORY, "refs/tags/v1", &commit)).await;
        assert_eq!(built.decide(rooted(&source)).await.is_ok(), is_allowed, "{by:?}");
    }
}

#[tokio::test]
async fn what_was_taken_over_from_another_repository_is_denied() {
    let (mut source, first) = good();
    let entry = format!(
        "RSL Propagation Entry\n\nref: {MAIN}\ntargetID: {first}\nupstreamRepository: https://a.example\nupstreamEntryID: {first}"
    );
    source.log(&entry, Some(DEV));
    assert_denied(verdict(&source, &first).await, "taken over from another repository");
}

#[tokio::test]
async fn a_log_that_is_not_understood_is_denied() {
    for (entry, why) in [
        ("RSL Reference Entry\n\nref: refs/heads/other\ntargetID: 00", "wanted the id"),
        ("RSL Novel Entry\n\nref: refs/heads/other", "not known"),
        ("hello", "wanted a header"),
    ] {
        let (mut source, first) = good();
        source.log(entry, Some(DEV));
        assert_denied(verdict(&source, &first).await, why);
    }
}

#[tokio::test]
async fn metadata_that_is_not_understood_is_denied() {
    let change = |pointer: &str, value: Value| {
        let mut source = Source::new();
        let [(_, mut root, _), (_, mut targets, _)] = protect_main();
        let (file, place) = pointer.split_once(':').unwrap();
        let body = if file == "root" { &mut root } else { &mut targets };
        let (parent, name) = place.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        source.policy(&[("root", root, &[ROOT]), ("targets", targets, &[TARGETS])]);
        let commit = source.change("one", &[], None);
        source.put(MAIN, &commit, Some(DEV));
        (source, commit)
    };
    for (pointer, value) in [
        ("root:/novel", json!(1)),
        ("root:/type", json!("targets")),
        ("root:/schemaVersion", json!("https://gittuf.dev/policy/root/v0.3")),
        ("root:/globalRules", json!([{"name": "a", "type": "novel", "paths": []}])),
        ("root:/roles/root", json!({"principalIDs": [id(ROOT)], "threshold": 0})),
        ("root:/roles/root", json!({"principalIDs": [id(ROOT)], "threshold": -1})),
        ("root:/multiRepository", json!({"controllerRepositories": [{"name": "a", "location": "b"}]})),
        ("targets:/delegations/roles", json!([rule("protect-main", "git:refs/heads/main", &[DEV], 1)])),
        ("targets:/delegations/roles", json!([])),
        ("targets:/delegations/roles", json!([rule("a", "git:[", &[DEV], 1)])),
        ("targets:/targets", json!({"a": 1})),
    ] {
        let (source, commit) = change(pointer, value);
        assert!(verdict(&source, &commit).await.is_err(), "{pointer}");
    }
    let (source, commit) = change("root:/repositoryLocation", json!("https://a.example"));
    assert_eq!(verdict(&source, &commit).await, Ok(()));
}

#[tokio::test]
async fn metadata_beyond_its_time_is_denied_if_asked() {
    let (source, first) = good();
    let built = Built::from(&first).await;
    assert_denied(built.decide(rooted(&source).refuse_expired(true)).await, "expired");
}
