//! The public suite for clients of Sigstore: every bundle gets the verdict it should.
//!
//! Its files have no licence, so they are not here: `SKEP_SIGSTORE_CONFORMANCE` is the directory `bundle-verify` of
//! <https://github.com/sigstore/sigstore-conformance>.

use std::path::Path;
use std::path::PathBuf;

use bytes::Bytes;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::Pattern;
use skep_trust::PublicKey;
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
