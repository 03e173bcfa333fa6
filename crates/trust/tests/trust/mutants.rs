//! Mutants: bundles with one bit changed, and bundles made of the parts of two; none says anything new.
//!
//! `SKEP_MUTANTS` and `SKEP_SWAPS` set how many; what is accepted is held against the original.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;
use skep_registry::Memory;
use skep_trust::IdentityPattern;
use skep_trust::KeySigner;
use skep_trust::Predicate;
use skep_trust::PrivateKey;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::Signer;
use skep_trust::Stage;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verified;
use skep_trust::Verifier;
use skep_trust::attest;
use skep_trust::sign;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

/// A bundle that holds, and for what.
struct Original {
    name: String,
    subject: Subject,
    bundle: Bytes,
}

fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Bundles of every form: keys and identities, both logs, timestamps, both formats, attestations, and real ones.
async fn originals(sigstore: &Sigstore, key: PrivateKey) -> (Vec<Original>, Verifier) {
    let registry = Memory::default();
    let root = root(sigstore);
    let verifier = Verifier::default()
        .trust_root(&root)
        .unwrap()
        .trust_root(&TrustedRoot::sigstore().unwrap())
        .unwrap()
        .trust_key(key.public_key().clone())
        .accept(IdentityPattern::anyone());
    let who = Who::workflow("acme/site", "release.yml", "refs/tags/v1");
    let signers: [(&str, Box<dyn Signer>); 3] = [
        ("key", Box::new(KeySigner::new(key))),
        ("rekor", Box::new(signer(sigstore, sigstore.services(), &Who::person(EMAIL)))),
        ("tiles", Box::new(signer(sigstore, sigstore.services_with_tiles(), &who))),
    ];
    let mut originals = Vec::new();
    for (name, signer) in &signers {
        for (form, format) in [("statement", SignFormat::Statement), ("message", SignFormat::Message)] {
            let subject = push(&registry, &format!("{name} {form}")).await;
            let options = SignOptions { format, created: None };
            let bundle = sign(&registry, &repo(), &subject, &**signer, &options).await.unwrap().bundle;
            originals.push(Original { name: format!("{name} {form}"), subject, bundle });
        }
        let subject = push(&registry, &format!("{name} attestation")).await;
        let content = json!({"builder": name});
        let predicate = Predicate { kind: "https://slsa.dev/provenance/v1", content: &content, created: None };
        let bundle = attest(&registry, &repo(), &subject, predicate, &**signer).await.unwrap().bundle;
        originals.push(Original { name: format!("{name} attestation"), subject, bundle });
    }
    for (artifact, bundle) in [
        ("cosign-v3-blob.txt", "cosign-v3-blob.sigstore.json"),
        ("signed-package-2.1.0-hb0f4dca_0.conda", "conda-attestation.sigstore.json"),
    ] {
        let subject = subject_of(&fixture(artifact));
        originals.push(Original { name: bundle.to_owned(), subject, bundle: fixture(bundle) });
    }
    (originals, verifier)
}

/// Checks that a bundle says the same as another, with the same evidence or less of it.
fn says_no_more(mutant: &Verified, original: &Verified, what: &str) {
    assert_eq!((mutant.subject(), mutant.kind()), (original.subject(), original.kind()), "{what}");
    assert_eq!(mutant.signer(), original.signer(), "{what}");
    assert!(mutant.times().iter().all(|time| original.times().contains(time)), "{what}: {:?}", mutant.times());
    assert!(mutant.checks().iter().all(|check| original.checks().contains(check)), "{what}: {:?}", mutant.checks());
    // Without its promise an entry has the number it has in its tree.
    let logs = |verified: &Verified| verified.log_entries().iter().map(|entry| entry.log.clone()).collect::<Vec<_>>();
    assert_eq!(logs(mutant), logs(original), "{what}");
    let is_whole = mutant.times() == original.times();
    assert!(!is_whole || mutant.log_entries() == original.log_entries(), "{what}: {:?}", mutant.log_entries());
}

/// Where two values differ, as JSON pointers.
fn differences(one: &Value, other: &Value, at: &str, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let (one, other) = (one.get(key), other.get(key));
                differences(one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null), &format!("{at}/{key}"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, &format!("{at}/{number}"), found);
            }
        }
        (one, other) if one == other => {}
        _ => found.push(at.to_owned()),
    }
}

/// What nobody signs, and nobody is told: fields that may be missing, how a key is hinted at, the names beside signatures of checkpoints, the
/// certificates that come along in timestamps (those of the root are used), what an entry repeats of its checkpoint in the
/// newer log, and what is under names that nobody knows.
fn is_unsigned(pointer: &str, original: &Value, mutant: &Value) -> bool {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    // A field whose name changed is missing; what holds without it holds.
    let is_missing = original.pointer(pointer).is_none() || mutant.pointer(pointer).is_none();
    if is_missing || ["keyid", "hint", "signedTimestamp"].contains(&name) {
        return true;
    }
    let text = |value: &Value| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    if name == "algorithm" && text(original) == text(mutant) {
        return true;
    }
    let is_tile = original.pointer("/verificationMaterial/tlogEntries/0/kindVersion/version") == Some(&json!("0.0.2"));
    let repeated = ["inclusionProof/logIndex", "inclusionProof/rootHash", "inclusionProof/treeSize", "logId/keyId"];
    if is_tile && repeated.iter().any(|field| pointer.ends_with(field)) {
        return true;
    }
    if name == "envelope" {
        let signed = |value: &Value| {
            let text = value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (body, signatures) =
                text.split_once("\n\n").map_or((text.clone(), ""), |(body, rest)| (body.to_owned(), rest));
            let first = signatures
                .lines()
                .next()
                .and_then(|line| line.split_whitespace().next_back())
                .unwrap_or_default()
                .to_owned();
            (body, first)
        };
        return signed(original) == signed(mutant);
    }
    false
}

#[tokio::test]
async fn no_bundle_with_one_bit_changed_says_anything_else() {
    let sigstore = Sigstore::start().await.unwrap();
    let (originals, verifier) = originals(&sigstore, PrivateKey::generate().unwrap()).await;
    let mut numbers = Numbers(0x5eed);
    let mutants = count("SKEP_MUTANTS", 10_000);
    let mut accepted = BTreeMap::<String, usize>::new();
    let mut rejected = BTreeMap::<Stage, usize>::new();
    let began = Instant::now();
    for number in 0..mutants {
        let original = &originals[number % originals.len()];
        let mut bytes = original.bundle.to_vec();
        let (at, bit) = (numbers.below(bytes.len()), numbers.below(8));
        bytes[at] ^= 1 << bit;
        let mutant = match verifier.verify_bundle(&original.subject, &bytes.clone().into()) {
            Ok(mutant) => mutant,
            Err(rejection) => {
                *rejected.entry(rejection.stage).or_default() += 1;
                continue;
            }
        };
        let verified = verifier.verify_bundle(&original.subject, &original.bundle).unwrap();
        says_no_more(&mutant, &verified, &format!("{}: bit {bit} of byte {at}", original.name));
        let one: Value = serde_json::from_slice(&original.bundle).unwrap();
        let other: Value = serde_json::from_slice(&bytes).unwrap();
        let mut found = Vec::new();
        differences(&one, &other, "", &mut found);
        for pointer in found {
            let (before, after) = (one.pointer(&pointer), other.pointer(&pointer));
            let is_unsigned = is_unsigned(&pointer, &one, &other);
            assert!(is_unsigned, "{}: bit {bit} of byte {at}: {pointer}: {before:?}, {after:?}", original.name);
            *accepted.entry(before.map_or("an unknown field".to_owned(), |_| pointer)).or_default() += 1;
        }
    }
    let same = mutants - rejected.values().sum::<usize>();
    let rate = mutants as f64 / began.elapsed().as_secs_f64();
    println!("{mutants} mutants, {rate:.0} per second; rejected: {rejected:?}");
    println!("{same} accepted, with nothing signed changed: {accepted:?}");
}

const PARTS: [&str; 16] = [
    "/verificationMaterial",
    "/verificationMaterial/certificate",
    "/verificationMaterial/publicKey",
    "/verificationMaterial/tlogEntries",
    "/verificationMaterial/tlogEntries/0/canonicalizedBody",
    "/verificationMaterial/tlogEntries/0/inclusionProof",
    "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint",
    "/verificationMaterial/tlogEntries/0/inclusionPromise",
    "/verificationMaterial/tlogEntries/0/integratedTime",
    "/verificationMaterial/tlogEntries/0/logIndex",
    "/verificationMaterial/timestampVerificationData",
    "/dsseEnvelope",
    "/dsseEnvelope/payload",
    "/dsseEnvelope/signatures",
    "/messageSignature",
    "/messageSignature/signature",
];

#[tokio::test]
async fn no_bundle_made_of_two_holds() {
    let sigstore = Sigstore::start().await.unwrap();
    let (originals, verifier) = originals(&sigstore, PrivateKey::generate().unwrap()).await;
    let (mut numbers, mut swapped) = (Numbers(0xbee), 0);
    let swaps = count("SKEP_SWAPS", 200);
    let (mut rejected, mut weaker) = (BTreeMap::<Stage, usize>::new(), 0);
    while swapped < swaps {
        let (to, from) = (numbers.below(originals.len()), numbers.below(originals.len()));
        let pointer = PARTS[numbers.below(PARTS.len())];
        let mut bundle: Value = serde_json::from_slice(&originals[to].bundle).unwrap();
        let other: Value = serde_json::from_slice(&originals[from].bundle).unwrap();
        let (Some(place), Some(part)) = (bundle.pointer_mut(pointer), other.pointer(pointer)) else { continue };
        // Some parts are the same in both: no log, no timestamps, the same key.
        if place == part {
            continue;
        }
        *place = part.clone();
        // What is left is the other bundle: same key, no log.
        if bundle == other {
            continue;
        }
        swapped += 1;
        let bundle = Bytes::from(bundle.to_string());
        let what = format!("{pointer} of {} in {}", originals[from].name, originals[to].name);
        assert!(verifier.verify_bundle(&originals[from].subject, &bundle).is_err(), "{what}");
        let mixed = match verifier.verify_bundle(&originals[to].subject, &bundle) {
            Ok(mixed) => mixed,
            Err(rejection) => {
                *rejected.entry(rejection.stage).or_default() += 1;
                continue;
            }
        };
        weaker += 1;
        // Whoever can write can leave a timestamp out; it is missed by those who require one.
        let whole = verifier.verify_bundle(&originals[to].subject, &originals[to].bundle).unwrap();
        assert_eq!(pointer, "/verificationMaterial/timestampVerificationData", "{what}");
        says_no_more(&mixed, &whole, &what);
        assert!(mixed.times().len() < whole.times().len(), "{what}");
    }
    println!(
        "{swapped} swaps; rejected: {rejected:?}; {weaker} accepted, with a timestamp less and nothing else changed"
    );
}

#[tokio::test]
async fn every_original_holds_for_its_subject_only() {
    let sigstore = Sigstore::start().await.unwrap();
    let (originals, verifier) = originals(&sigstore, PrivateKey::generate().unwrap()).await;
    for (number, original) in originals.iter().enumerate() {
        for (other, subject) in originals.iter().map(|original| &original.subject).enumerate() {
            let verdict = verifier.verify_bundle(subject, &original.bundle);
            assert_eq!(verdict.is_ok(), number == other, "{} for {other}: {verdict:?}", original.name);
        }
    }
}
