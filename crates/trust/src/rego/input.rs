//! The input of a policy: what was verified, in the form that meigma/blob gives it, and who signed.

use serde_json::Value;
use serde_json::json;

use crate::policy::Facts;
use crate::report::Report;
use crate::verified::Attestation;
use crate::verified::Kind;
use crate::verified::SignatureForm;
use crate::verified::SignedBy;
use crate::verified::Verified;

/// What a policy is shown: signatures, and attestations that have one of the types.
pub(super) fn shown<'a>(report: &'a Report, types: Option<&[String]>) -> Vec<&'a Verified> {
    let is_wanted = |one: &&Verified| match (one.kind(), types) {
        (Kind::Attestation(attestation), Some(types)) => types.contains(&attestation.predicate_type),
        _ => true,
    };
    report.verified.iter().filter(is_wanted).collect()
}

/// Writes the document.
pub(super) fn document(facts: &Facts<'_>, shown: &[&Verified]) -> Value {
    let subject = facts.subject.descriptor();
    let (mut attestations, mut signatures) = (Vec::new(), Vec::new());
    for one in shown {
        match one.kind() {
            Kind::Attestation(what) => attestations.push(attestation(one, what)),
            Kind::Signature { form } => signatures.push(signature(one, *form)),
        }
    }
    json!({
        "manifest": {"reference": facts.reference, "digest": subject.digest, "mediaType": subject.media_type},
        "attestations": attestations,
        "signatures": signatures,
        "complete": facts.report.missing().is_none(),
    })
}

fn signature(verified: &Verified, form: SignatureForm) -> Value {
    let mut signature = signer(verified.signer());
    signature["form"] = json!(form);
    signature["times"] = json!(verified.times());
    signature
}

fn attestation(verified: &Verified, attestation: &Attestation) -> Value {
    json!({
        "_type": attestation.statement_type,
        "predicateType": attestation.predicate_type,
        "subject": attestation.subjects,
        "predicate": attestation.predicate,
        "signer": signer(verified.signer()),
        "times": verified.times(),
    })
}

fn signer(signer: &SignedBy) -> Value {
    match signer {
        SignedBy::Certificate(certificate) => json!(certificate),
        SignedBy::Key { fingerprint } => json!({"key": fingerprint}),
    }
}
