//! Properties of whatever parses what strangers signed: for fuzzers, and for a short run with the tests.
//!
//! Each function takes bytes of a stranger, and panics where a property does not hold. They are there only in what
//! `cargo fuzz` builds, which sets `cfg(fuzzing)`, and in tests.

use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use skep_registry::Annotations;
use skep_registry::Descriptor;

use crate::cosign;
use crate::cosign::Legacy;
use crate::find::Found;
use crate::identity::IdentityPattern;
use crate::key::PrivateKey;
use crate::limits::Limits;
use crate::policy::PolicyFile;
use crate::policy::Provenance;
use crate::policy::Slsa;
use crate::root::TrustedRoot;
use crate::statement;
use crate::subject::Subject;
use crate::verified::Attestation;
use crate::verified::Kind;
use crate::verified::SignedBy;
use crate::verifier::Verifier;

/// Nobody signed this.
static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let bytes = Bytes::from_static(b"{}");
    Subject::new(Descriptor::of("application/json", &bytes), bytes).expect("a digest of its own bytes")
});

/// Trusts a key that signs nothing, and everybody whom the public Sigstore knows.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let key = PrivateKey::generate().expect("there is randomness").public_key().clone();
    let root = TrustedRoot::sigstore().expect("the root that is built in");
    let verifier = Verifier::default().trust_root(&root).expect("the root that is built in");
    verifier.trust_key(key).accept(IdentityPattern::anyone())
});

/// Bundles: none holds for what nobody signed.
pub fn bundle(bytes: &[u8]) {
    assert!(VERIFIER.verify_bundle(&SUBJECT, &Bytes::copy_from_slice(bytes)).is_err());
}

/// Envelopes and payloads of the older format: what is made of them is a bundle like others, or nothing.
pub fn dsse(bytes: &[u8]) {
    let halves = bytes.split_at(bytes.len() / 2);
    for (payload, log) in [(bytes, &b""[..]), halves] {
        let mut annotations = Annotations::new();
        if !log.is_empty() {
            annotations.insert("dev.sigstore.cosign/bundle".to_owned(), String::from_utf8_lossy(log).into_owned());
        }
        annotations.insert("dev.cosignproject.cosign/signature".to_owned(), "AAAA".to_owned());
        for kind in cosign::MEDIA_TYPES {
            let legacy = Legacy::new(kind.to_owned(), Bytes::copy_from_slice(payload), annotations.clone());
            if let Ok((bundle, message)) = legacy.convert(&Limits::default()) {
                assert_eq!(message.is_some(), kind == cosign::MEDIA_TYPES[0]);
                assert!(bundle.verification_material.tlog_entries.len() <= 1);
            }
        }
    }
    if cosign::about(bytes, &SUBJECT).is_ok() {
        assert!(String::from_utf8_lossy(bytes).contains(SUBJECT.digest().hex()));
    }
}

/// Statements: what is about the subject names its digest, and what is written of it reads the same.
pub fn intoto(bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(kind) = statement::read(bytes, &SUBJECT, &limits) else { return };
    assert!(String::from_utf8_lossy(bytes).contains("sha256"));
    let Kind::Attestation(attestation) = kind else { return };
    let named = attestation.subjects.iter().filter_map(|subject| subject.digest.get("sha256"));
    assert!(named.into_iter().any(|hex| hex == SUBJECT.digest().hex()));
    let written = statement::write(&SUBJECT, &attestation.predicate_type, &attestation.predicate);
    let Ok(Kind::Attestation(again)) = statement::read(&written, &SUBJECT, &limits) else {
        panic!("what was written is not read: {attestation:?}");
    };
    assert_eq!((again.predicate_type, again.predicate), (attestation.predicate_type, attestation.predicate));
}

/// Entries of gittuf's log, and all else that is read of a repository: what is understood says what stands there.
#[cfg(feature = "gittuf")]
pub fn reference_log(bytes: &[u8]) {
    crate::gittuf::fuzzing::reference_log(bytes);
}

/// Policy files: what is taken decides, and an unsigned manifest is allowed by none that has no `not` in it.
pub fn policy_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // No directory: a file that is named is not there.
    let Ok(policy) = PolicyFile::parse(text, Path::new("/nonexistent")).and_then(|file| file.policy()) else { return };
    let decision = policy.judge(&SUBJECT, "registry.test/acme/site", &Found::default());
    assert!(!decision.is_allowed() || text.contains("not"), "{decision}");
    assert_eq!(decision.require().is_ok(), decision.is_allowed());
    assert!(!format!("{decision}{}", decision.summary()).contains('\u{1b}'));
}

/// Provenance: what is read of it is there, and a rule that asks for one repository takes no other.
pub fn slsa(bytes: &[u8]) {
    let Ok(predicate) = serde_json::from_slice(bytes) else { return };
    for predicate_type in Provenance::TYPES {
        let attestation = Attestation {
            statement_type: "https://in-toto.io/Statement/v1".to_owned(),
            predicate_type: predicate_type.to_owned(),
            predicate: serde_json::Value::clone(&predicate),
            subjects: Vec::new(),
        };
        let Ok(provenance) = Provenance::parse(&attestation) else { continue };
        let signer = SignedBy::Key { fingerprint: SUBJECT.digest().clone() };
        let rule = Slsa::default().with_repository("acme/site").expect("a repository");
        let is_taken = rule.mismatches(&provenance, &signer).is_empty();
        assert_eq!(is_taken, provenance.repository.as_deref() == Some("https://github.com/acme/site"));
        if let Some(repository) = &provenance.repository {
            let host = repository.strip_prefix("https://").expect("the scheme is kept");
            assert!(!host.contains(['@', '?', '#']) && !host.ends_with('/'), "{repository}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Something that is nearly what it should be: a piece replaced by another text.
    fn damaged(good: &str, at: usize, length: usize, text: &str) -> Vec<u8> {
        let at = at % good.len();
        let end = (at + length).min(good.len());
        [&good.as_bytes()[..at], text.as_bytes(), &good.as_bytes()[end..]].concat()
    }

    const PIECE: &str = "(\\{|\\}|\\[|\\]|\"|:|,|null|0|-1|1e99|AAAA|=|%|sha256|\\\\u0000|\\PC){0,4}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn bundles_of_strangers_do_not_hold(at: usize, length in 0usize..9, text in PIECE) {
            let good = include_str!("../tests/fixtures/conda-attestation.sigstore.json");
            bundle(&damaged(good, at, length, &text));
        }

        #[test]
        fn envelopes_become_bundles_or_nothing(at: usize, length in 0usize..9, text in PIECE) {
            let envelope = r#"{"payload":"e30=","payloadType":"text/plain","signatures":[{"sig":"AAAA"}]}"#;
            let log = r#"{"SignedEntryTimestamp":"AAAA","Payload":{"body":"e30=","integratedTime":1,"logIndex":2,"logID":"00"}}"#;
            let log = log.replace("e30=", "eyJraW5kIjoiZHNzZSIsImFwaVZlcnNpb24iOiIwLjAuMSJ9");
            dsse(&damaged(envelope, at, length, &text));
            dsse(&damaged(&format!("{envelope:>width$}{log}", width = log.len()), at, length, &text));
            let image = format!(r#"{{"critical":{{"image":{{"docker-manifest-digest":"{}"}},"type":"cosign container image signature"}}}}"#, SUBJECT.digest());
            dsse(&damaged(&image, at, length, &text));
        }

        #[test]
        #[cfg(feature = "gittuf")]
        fn logs_say_what_stands_there(at: usize, length in 0usize..9, text in PIECE) {
            let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
            let entry = format!("RSL Reference Entry\n\nref: refs/heads/main\ntargetID: {id}\nnumber: 7");
            let commit = format!("tree {id}\nparent {id}\ngpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n\n{entry}");
            let tag = format!("object {id}\ntype commit\n\nv1\n-----BEGIN SSH SIGNATURE-----\nAAAA\n");
            let role = r#"{"principalIDs":["a::b"],"threshold":1}"#;
            let key = r#"{"keyid":"a::b","keytype":"sigstore-oidc","keyval":{"identity":"a","issuer":"b"},"scheme":"fulcio"}"#;
            let root = format!(r#"{{"type":"root","schemaVersion":"https://gittuf.dev/policy/root/v0.2","version":1,"principals":{{"a::b":{key}}},"roles":{{"root":{role}}}}}"#);
            let allow = r#"{"name":"gittuf-allow-rule","paths":["*"],"terminating":true,"principalIDs":null,"threshold":1}"#;
            let rules = format!(r#"{{"type":"targets","schemaVersion":"http://gittuf.dev/policy/rule-file/v0.2","version":1,"delegations":{{"principals":{{}},"roles":[{{"name":"a","paths":["git:[a-c]*"],"principalIDs":["a::b"],"threshold":1}},{allow}]}}}}"#);
            for good in [entry, commit, tag, root, rules, "git:refs/heads/[!a]?*".to_owned()] {
                reference_log(good.as_bytes());
                reference_log(&damaged(&good, at, length, &text));
            }
        }

        #[test]
        fn policies_that_are_damaged_allow_nothing(at: usize, length in 0usize..9, text in PIECE) {
            let good = "trusted-root: sigstore\nall-of:\n- signature: {keyless: {issuer: a, identity: b}}\n- any-of:\n  \
                        - provenance: {slsa: {repository: acme/site, branch: [main, dev]}}\n  \
                        - at-least: {count: 1, of: [{attestation: {type: c, by: {anyone: true}}}]}\n";
            policy_file(good.as_bytes());
            policy_file(&damaged(good, at, length, &text));
        }

        #[test]
        fn provenance_of_one_repository_is_of_no_other(at: usize, length in 0usize..9, text in PIECE) {
            let new = r#"{"buildDefinition":{"externalParameters":{"workflow":{"repository":"https://github.com/acme/site","ref":"a"}},"resolvedDependencies":[{"uri":"git+https://github.com/acme/site@a"}]},"runDetails":{"builder":{"id":"b"}}}"#;
            let old = r#"{"builder":{"id":"b"},"invocation":{"configSource":{"uri":"git+https://github.com/acme/site@refs/heads/a","digest":{"sha1":"0"}}},"materials":[{"uri":"git+https://github.com/acme/site@refs/heads/a"}]}"#;
            for good in [new, old] {
                slsa(good.as_bytes());
                slsa(&damaged(good, at, length, &text));
            }
        }

        #[test]
        fn statements_read_as_they_are_written(at: usize, length in 0usize..9, text in PIECE, predicate in "(\\{\\}|null|[0-9]{1,20}|\"\\PC*\"|\\[1e3\\])") {
            let digest = SUBJECT.digest().hex();
            let good = format!(r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"a","digest":{{"sha256":"{digest}"}}}}],"predicateType":"a/b","predicate":{predicate}}}"#);
            intoto(good.as_bytes());
            intoto(&damaged(&good, at, length, &text));
        }
    }
}
