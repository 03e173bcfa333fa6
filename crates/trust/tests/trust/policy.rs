//! Policies are what boolean algebra says, deny what cannot be known, and say why.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use skep_registry::Digest;
use skep_registry::Registry;
use skep_trust::Error;
use skep_trust::Facts;
use skep_trust::Found;
use skep_trust::Limits;
use skep_trust::Pattern;
use skep_trust::Policies;
use skep_trust::Policy;
use skep_trust::Refusal;
use skep_trust::Rule;
use skep_trust::SignOptions;
use skep_trust::Verdict;
use skep_trust::Verified;
use skep_trust::Verifier;
use skep_trust::find;
use skep_trust::sign;

use crate::common::*;

const TESTS: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// A rule that is known to come out in a way.
#[derive(Debug)]
struct Known(Verdict);

impl Rule for Known {
    fn name(&self) -> String {
        format!("known to be {}", self.0)
    }

    fn check<'a>(&self, _: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal> {
        match self.0 {
            Verdict::Allow => Ok(Vec::new()),
            Verdict::Deny => Err(Refusal::new(["it is known"])),
            Verdict::Unknown => Err(Refusal::unknown(["it is not known"])),
        }
    }
}

#[derive(Clone, Debug)]
enum Tree {
    AllOf(Vec<Tree>),
    AnyOf(Vec<Tree>),
    AtLeast(usize, Vec<Tree>),
    Leaf(Verdict),
    Not(Box<Tree>),
}

impl Tree {
    fn policy(&self) -> Policy {
        let policies = |parts: &[Self]| parts.iter().map(Self::policy).collect::<Vec<_>>();
        match self {
            Self::AllOf(parts) => Policy::all_of(policies(parts)),
            Self::AnyOf(parts) => Policy::any_of(policies(parts)),
            Self::AtLeast(count, parts) => Policy::at_least(*count, policies(parts)),
            Self::Leaf(verdict) => Policy::rule(Arc::new(Verifier::default()), Known(*verdict)),
            Self::Not(part) => Policy::not(part.policy()),
        }
    }

    /// What boolean algebra says, with something in the place of what is not known, and of mistakes.
    fn holds(&self, unknown: &mut impl FnMut() -> bool) -> bool {
        let mut count = |parts: &[Self]| parts.iter().filter(|part| part.holds(unknown)).count();
        match self {
            Self::AllOf(parts) if !parts.is_empty() => count(parts) == parts.len(),
            Self::AnyOf(parts) if !parts.is_empty() => count(parts) > 0,
            Self::AtLeast(wanted, parts) if (1..=parts.len()).contains(wanted) => count(parts) >= *wanted,
            Self::AllOf(_) | Self::AnyOf(_) | Self::AtLeast(..) => unknown(),
            Self::Leaf(Verdict::Unknown) => unknown(),
            Self::Leaf(verdict) => *verdict == Verdict::Allow,
            Self::Not(part) => !part.holds(unknown),
        }
    }

    /// The same, where no `not` holds.
    fn holds_without_negation(&self) -> bool {
        let count = |parts: &[Self]| parts.iter().filter(|part| part.holds_without_negation()).count();
        match self {
            Self::AllOf(parts) => count(parts) == parts.len(),
            Self::AnyOf(parts) => count(parts) > 0,
            Self::AtLeast(wanted, parts) => count(parts) >= *wanted,
            Self::Leaf(verdict) => *verdict == Verdict::Allow,
            Self::Not(_) => false,
        }
    }
}

/// Trees over leaves; with mistakes in them if wanted.
fn trees(leaf: impl Strategy<Value = Verdict> + 'static, least: usize) -> impl Strategy<Value = Tree> {
    leaf.prop_map(Tree::Leaf).prop_recursive(5, 40, 4, move |inner| {
        let some = prop::collection::vec(inner.clone(), least..4);
        let counted = some.clone().prop_flat_map(move |parts| {
            let counts = if least == 0 { 0..=4 } else { 1..=parts.len() };
            (counts, Just(parts)).prop_map(|(count, parts)| Tree::AtLeast(count, parts))
        });
        prop_oneof![
            some.clone().prop_map(Tree::AllOf),
            some.prop_map(Tree::AnyOf),
            counted,
            inner.prop_map(|part| Tree::Not(Box::new(part))),
        ]
    })
}

fn sure() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Allow), Just(Verdict::Deny)]
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Allow), Just(Verdict::Deny), Just(Verdict::Unknown)]
}

fn judged(tree: &Tree, found: &Found) -> bool {
    let subject = subject_of(&Bytes::from_static(b"{}"));
    let decision = tree.policy().judge(&subject, "registry.test/acme/site", found);
    assert!(!decision.to_string().is_empty() && !decision.summary().is_empty());
    decision.is_allowed()
}

proptest! {
    #[test]
    fn a_policy_is_what_boolean_algebra_says(tree in trees(sure(), 1)) {
        let expected = tree.holds(&mut || panic!("everything is known"));
        prop_assert_eq!(judged(&tree, &Found::default()), expected);
    }

    #[test]
    fn what_is_allowed_holds_whatever_the_unknown_turns_out_to_be(tree in trees(any_verdict(), 0), bits: u64) {
        if judged(&tree, &Found::default()) {
            for bits in [0, u64::MAX, bits] {
                let mut bits = bits;
                let mut unknown = || {
                    bits = bits.rotate_left(1);
                    bits & 1 == 1
                };
                prop_assert!(tree.holds(&mut unknown), "{:?}", tree);
            }
        }
    }

    #[test]
    fn no_negation_holds_where_something_could_not_be_read(tree in trees(sure(), 1)) {
        let found = Found::default().with_bundle(Bytes::from_static(b"not a bundle"));
        prop_assert_eq!(judged(&tree, &found), tree.holds_without_negation());
    }
}

#[test]
fn mistakes_deny_also_below_a_negation() {
    let known = || Policy::rule(Arc::new(Verifier::default()), Known(Verdict::Allow));
    let mistakes = [
        Policy::all_of([]),
        Policy::any_of([]),
        Policy::at_least(0, [known()]),
        Policy::at_least(0, []),
        Policy::at_least(2, [known()]),
    ];
    let subject = subject_of(&Bytes::from_static(b"{}"));
    for policy in mistakes {
        for policy in [policy.clone(), Policy::not(policy.clone()), Policy::not(Policy::not(policy))] {
            let decision = policy.judge(&subject, "registry.test/acme/site", &Found::default());
            assert!(!decision.is_allowed(), "{policy:?}");
            assert!(decision.summary().contains("a mistake"), "{decision}");
        }
    }
}

#[tokio::test]
async fn what_was_not_fetched_or_is_beyond_the_limits_denies_below_a_negation() {
    let (registry, subject) = site().await;
    let ((stranger, _), (signer, verifier)) = (trusted_key(), trusted_key());
    let recalled = |verifier| Policy::not(Policy::attested(Arc::new(verifier), "https://acme.example/recall"));
    let trusting = |limits| Verifier::default().with_limits(limits);
    assert!(decide(&recalled(trusting(Limits::default())), &registry, &subject).await.is_allowed());

    // What strangers attest says nothing, but has to be read to know.
    let attached = sign(&registry, &repo(), &subject, &stranger, &SignOptions::default()).await.unwrap();
    assert!(decide(&recalled(trusting(Limits::default())), &registry, &subject).await.is_allowed());
    let decision = decide(&recalled(trusting(Limits { referrers: 0, ..Limits::default() })), &registry, &subject).await;
    assert!(decision.summary().contains("1 referrers more than the limit"), "{decision}");

    registry.delete_blob(&repo(), &Digest::sha256(&attached.bundle)).await.unwrap();
    let decision = decide(&recalled(trusting(Limits::default())), &registry, &subject).await;
    assert!(decision.summary().contains("not everything could be read"), "{decision}");

    let (registry, subject) = site().await;
    attested(&registry, &subject, "https://acme.example/recall", &json!({}), &signer).await;
    let decision = decide(&recalled(verifier), &registry, &subject).await;
    assert!(decision.summary().contains("not attestation https://acme.example/recall: it holds"), "{decision}");
}

#[tokio::test]
async fn each_part_has_its_own_verifier() {
    let (registry, subject) = site().await;
    let ((dev, dev_verifier), (tests, tests_verifier)) = (trusted_key(), trusted_key());
    let (dev_verifier, tests_verifier) = (Arc::new(dev_verifier), Arc::new(tests_verifier));
    let policy = Policy::all_of([
        Policy::signed(Arc::clone(&dev_verifier)),
        Policy::attested(Arc::clone(&tests_verifier), TESTS),
    ]);
    sign(&registry, &repo(), &subject, &dev, &SignOptions::default()).await.unwrap();
    assert!(!decide(&policy, &registry, &subject).await.is_allowed());
    // Who signs does not attest, and who attests does not sign.
    attested(&registry, &subject, TESTS, &json!({"result": "PASSED"}), &dev).await;
    assert!(!decide(&policy, &registry, &subject).await.is_allowed());
    attested(&registry, &subject, TESTS, &json!({"result": "PASSED"}), &tests).await;
    assert!(decide(&policy, &registry, &subject).await.is_allowed());
    assert!(!decide(&Policy::signed(tests_verifier), &registry, &subject).await.is_allowed());
    let two_of_three = Policy::at_least(
        2,
        [Policy::signed(Arc::clone(&dev_verifier)), Policy::attested(dev_verifier, TESTS), policy.clone()],
    );
    assert!(decide(&two_of_three, &registry, &subject).await.is_allowed());
}

#[tokio::test]
async fn deciding_asks_the_registry_what_one_search_does() {
    let (registry, subject) = site().await;
    let ((dev, dev_verifier), (_, tests_verifier)) = (trusted_key(), trusted_key());
    sign(&registry, &repo(), &subject, &dev, &SignOptions::default()).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let registry = skep_registry::guarded(registry, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    find(&registry, &repo(), &subject, &Limits::default()).await.unwrap();
    let once = asked.swap(0, Ordering::Relaxed);
    let (dev, tests) = (Arc::new(dev_verifier), Arc::new(tests_verifier));
    let policy = Policy::any_of([
        Policy::signed(Arc::clone(&dev)),
        Policy::attested(dev, TESTS),
        Policy::not(Policy::attested(tests, TESTS)),
    ]);
    assert!(decide(&policy, &registry, &subject).await.is_allowed());
    assert_eq!(asked.load(Ordering::Relaxed), once);
}

#[tokio::test]
async fn a_decision_says_who_signed_and_which_rule_failed() {
    let (registry, subject) = site().await;
    let ((dev, dev_verifier), (_, tests_verifier)) = (trusted_key(), trusted_key());
    sign(&registry, &repo(), &subject, &dev, &SignOptions::default()).await.unwrap();
    let policy = Policy::all_of([Policy::signed(dev_verifier.into()), Policy::attested(tests_verifier.into(), TESTS)]);
    let decision = decide(&policy, &registry, &subject).await;
    let digest = subject.digest();
    let key = decision.outcome().parts[0].by[0].signer.to_string();
    let nearest = decision.outcome().parts[1].nearest.as_ref().unwrap().why.clone();
    let expected = format!(
        "denied: registry.test/acme/site:v1 ({digest})\n  \
           no: all of\n    \
             yes: signature\n      \
               signature by {key}; checked: signature, subject, identity\n    \
             no: attestation {TESTS}\n      \
               wanted an attestation, got none of 0 that hold\n      \
               nearest: {nearest}\n"
    );
    assert_eq!(decision.to_string(), expected);
    let Err(error @ Error::Denied(_)) = decision.require() else { panic!("it is denied") };
    assert_eq!(
        error.to_string(),
        format!(
            "denied registry.test/acme/site:v1 ({digest}): attestation {TESTS}: wanted an attestation, got none of 0 \
             that hold, nearest: {nearest}"
        )
    );
    let json = serde_json::to_value(&decision).unwrap();
    assert_eq!(json["allowed"], false);
    assert_eq!(json["outcome"]["rule"], "all of");
    assert_eq!(json["outcome"]["parts"][0]["verdict"], "allow");
    assert_eq!(json["outcome"]["parts"][0]["by"][0]["checks"], json!(["signature", "subject", "identity"]));
    assert_eq!(json["outcome"]["parts"][1]["verdict"], "deny");
}

#[tokio::test]
async fn what_strangers_wrote_does_not_reach_the_terminal_as_it_is() {
    #[derive(Debug)]
    struct Quoting;
    impl Rule for Quoting {
        fn name(&self) -> String {
            "\x1b[2Jquoting".to_owned()
        }

        fn check<'a>(&self, _: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal> {
            Err(Refusal::new([format!("got \x1b]0;evil\x07 and {}", "a".repeat(5000))]))
        }
    }
    let policy = Policy::rule(Arc::new(Verifier::default()), Quoting);
    let subject = subject_of(&Bytes::from_static(b"{}"));
    let decision = policy.judge(&subject, "registry.test/\x1b[31m", &Found::default());
    for text in [decision.to_string(), decision.summary()] {
        assert!(!text.contains(|character: char| character.is_control() && character != '\n'), "{text:?}");
        assert!(text.len() < 3000);
    }
}

#[test]
fn policies_apply_to_the_references_that_match() {
    let policy = |name: Verdict| Policy::rule(Arc::new(Verifier::default()), Known(name));
    let policies = Policies::default()
        .for_references(Pattern::glob("registry.test/acme/*").unwrap(), policy(Verdict::Allow))
        .for_references(Pattern::glob("registry.test/acme/**:v*").unwrap(), policy(Verdict::Deny))
        .for_references(Pattern::glob("other.test:5000/**").unwrap(), policy(Verdict::Allow));
    let allowed = |reference: &str| {
        let subject = subject_of(&Bytes::from_static(b"{}"));
        policies.of(reference).map(|policy| policy.judge(&subject, reference, &Found::default()).is_allowed())
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    let cases = [
        ("registry.test/acme/site".to_owned(), Some(true)),
        ("registry.test/acme/site:latest".to_owned(), Some(true)),
        (format!("registry.test/acme/site@{digest}"), Some(true)),
        (format!("registry.test/acme/site:latest@{digest}"), Some(true)),
        ("registry.test/acme/site:v1".to_owned(), Some(false)),
        ("registry.test/acme/deep/site:v1".to_owned(), Some(false)),
        ("registry.test/acme/deep/site:main".to_owned(), None),
        ("registry.test/acme-evil/site".to_owned(), None),
        ("other.test:5000/acme/site:v1".to_owned(), Some(true)),
        ("other.test/acme/site".to_owned(), None),
    ];
    for (reference, expected) in cases {
        assert_eq!(allowed(&reference), expected, "{reference}");
    }
    assert!(Policies::default().is_empty() && Policies::default().of("registry.test/acme/site").is_none());
    assert!(!policies.is_empty());
}
