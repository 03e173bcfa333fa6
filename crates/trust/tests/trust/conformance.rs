//! The public suite for clients of Sigstore: every bundle gets the verdict it should.
//!
//! Its files have no licence, so they are not here: `SKEP_SIGSTORE_CONFORMANCE` is the directory `bundle-verify` of
//! <https://github.com/sigstore/sigstore-conformance>.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use skep_registry::Algorithm;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::Pattern;
use skep_trust::PublicKey;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;

use crate::common::*;

#[test]
#[ignore = "wants the files of sigstore-conformance"]
fn bundles_of_the_public_suite_get_the_verdict_they_should() {
    let directory = PathBuf::from(std::env::var("SKEP_SIGSTORE_CONFORMANCE").unwrap());
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in std::fs::read_dir(&directory).unwrap() {
        let case = case.unwrap().path();
        if !case.is_dir() {
            continue;
        }
        count += 1;
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let verdict = verdict(&directory, &case);
        if verdict.is_ok() == name.ends_with("_fail") {
            wrong.push(format!("{name}: {verdict:?}"));
        }
    }
    println!("{count} cases, {} wrong", wrong.len());
    assert!(count >= 60, "{count} cases in {}", directory.display());
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn verdict(directory: &Path, case: &Path) -> Result<(), String> {
    let read = |name: &str| std::fs::read_to_string(case.join(name)).ok();
    let root = match read("trusted_root.json") {
        Some(json) => TrustedRoot::from_json(&json, Evidence::default()),
        None => TrustedRoot::sigstore(),
    };
    let mut verifier = Verifier::default().trust_root(&root.map_err(|error| error.to_string())?).unwrap();
    let pattern = |name| read(name).map_or(Pattern::any(), |text| Pattern::exact(text.trim()));
    verifier = verifier.accept(IdentityPattern::new(pattern("identity"), pattern("issuer")));
    if let Some(key) = read("key.pub") {
        let key = PublicKey::from_pem(&key).map_err(|error| error.to_string())?;
        verifier = verifier.trust_key(key).require_key_log(true);
    }
    let artifact = std::fs::read(case.join("artifact")).or_else(|_| std::fs::read(directory.join("a.txt"))).unwrap();
    let bundle = std::fs::read(case.join("bundle.sigstore.json")).unwrap();
    let verified = verifier.verify_bundle(&subject_of(&Bytes::from(artifact)), &bundle.into());
    verified.map(|_| ()).map_err(|rejection| format!("{:?}: {rejection}", rejection.stage))
}

/// `SKEP_PUBLISHED_BUNDLES` is a directory with bundles, and somewhere below it the files that they are about.
#[test]
#[ignore = "wants bundles that people published"]
fn bundles_that_people_published_hold_for_their_files() {
    let directory = PathBuf::from(std::env::var("SKEP_PUBLISHED_BUNDLES").unwrap());
    let mut files = Vec::new();
    collect(&directory, &mut files);
    let mut subjects = HashMap::new();
    for file in &files {
        let bytes = Bytes::from(std::fs::read(file).unwrap());
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let descriptor =
                Descriptor::new("application/octet-stream", Digest::of(algorithm, &bytes), bytes.len() as u64);
            let subject = Subject::new(descriptor, bytes.clone()).unwrap();
            subjects.insert(subject.digest().hex().to_owned(), subject);
        }
    }
    let verifier = Verifier::default().trust_root(&TrustedRoot::sigstore().unwrap()).unwrap();
    let verifier = verifier.accept(IdentityPattern::anyone());
    let (mut held, mut wrong) = (0, Vec::new());
    for file in &files {
        let Ok(json) = serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()) else { continue };
        // npm's answers hold several.
        let several = json["attestations"].as_array().cloned().unwrap_or_default();
        let bundles = [json].into_iter().chain(several.into_iter().map(|mut one| one["bundle"].take()));
        for bundle in bundles.filter(|bundle| bundle.pointer("/verificationMaterial/publicKey").is_none()) {
            let Some(payload) = bundle.pointer("/dsseEnvelope/payload").and_then(Value::as_str) else { continue };
            let Ok(statement) = serde_json::from_slice::<Value>(&STANDARD.decode(payload).unwrap()) else { continue };
            let digests =
                statement["subject"].as_array().into_iter().flatten().filter_map(|one| one["digest"].as_object());
            let hex = digests.flat_map(|digests| digests.values()).filter_map(Value::as_str);
            let Some(subject) = hex.into_iter().find_map(|hex| subjects.get(hex)) else { continue };
            match verifier.verify_bundle(subject, &bundle.to_string().into()) {
                Ok(_) => held += 1,
                Err(rejection) => wrong.push(format!("{}: {:?}: {rejection}", file.display(), rejection.stage)),
            }
        }
    }
    println!("{held} bundles hold, {} do not", wrong.len());
    // Some are there to be refused, and say so.
    wrong.retain(|line| !["mismatch", "invalid", "tampered"].iter().any(|word| line.contains(word)));
    assert!(wrong.is_empty() && held >= 80, "{held} hold, {} do not:\n{}", wrong.len(), wrong.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => collect(&entry.path(), files),
            false => files.push(entry.path()),
        }
    }
}
