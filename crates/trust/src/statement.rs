//! Statements: the in-toto statements that are signed, read and written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::json;
use skep_registry::Digest;

use crate::bundle::fits;
use crate::limits::Limits;
use crate::report::Rejection;
use crate::report::Stage;
use crate::subject::Subject;
use crate::verified::Attestation;
use crate::verified::Kind;
use crate::verified::SignatureForm;
use crate::verified::StatementSubject;

/// The predicate type of a statement that is a signature, as cosign writes it since version 3.
pub const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// The payload type of envelopes that hold in-toto statements.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Writes a statement about a subject.
pub(crate) fn write(subject: &Subject, predicate_type: &str, predicate: &Value) -> Vec<u8> {
    let digest = subject.digest();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {(digest.algorithm().as_str()): digest.hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    });
    statement.to_string().into_bytes()
}

/// Parses a statement that keeps to the limits, and checks that it is about the subject.
///
/// The caller has checked who signed the payload, or will.
pub(crate) fn read(payload: &[u8], subject: &Subject, limits: &Limits) -> Result<Kind, Rejection> {
    let shape: Shape = serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
    fits("subjects", shape.subject.len() as u64, limits.subjects as u64)?;
    for one in &shape.subject {
        fits("digests of a subject", one.digest.len() as u64, limits.digests as u64)?;
    }
    let statement: Statement = serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
    let known = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
    if !known.contains(&statement.statement_type.as_str()) {
        return Err(malformed(&format!("type {}, wanted one of {known:?}", statement.statement_type)));
    }
    if !statement.subject.iter().any(|one| names(&one.digest, subject.digest())) {
        let why = format!("the statement is about {}, wanted {}", first_of(&statement.subject), subject.digest());
        return Err(Rejection::new(Stage::Subject, why));
    }
    let is_empty = statement.predicate.as_ref().is_none_or(|value| value.as_object().is_some_and(|map| map.is_empty()));
    if statement.predicate_type == SIGNATURE_PREDICATE {
        // What is in it would be signed and looked at by nobody.
        if !is_empty {
            return Err(malformed(&format!("a predicate {SIGNATURE_PREDICATE} that is not empty")));
        }
        return Ok(Kind::Signature { form: SignatureForm::Statement });
    }
    let subjects = statement.subject.into_iter().map(|one| StatementSubject { name: one.name, digest: one.digest });
    Ok(Kind::Attestation(Attestation {
        statement_type: statement.statement_type,
        predicate_type: statement.predicate_type,
        predicate: statement.predicate.unwrap_or_else(|| json!({})),
        subjects: subjects.collect(),
    }))
}

/// Whether a subject's digests are those of the bytes: all that skep knows, and the one they go by among them.
fn names(digests: &BTreeMap<String, String>, digest: &Digest) -> bool {
    digests.get(digest.algorithm().as_str()).is_some_and(|hex| hex == digest.hex())
}

fn first_of(subjects: &[SubjectBody]) -> String {
    let first = subjects.first().and_then(|one| one.digest.iter().next());
    first.map_or_else(|| "nothing".to_owned(), |(algorithm, hex)| format!("{algorithm}:{hex}"))
}

fn malformed(error: &dyn std::fmt::Display) -> Rejection {
    Rejection::new(Stage::Parse, format!("malformed statement: {error}"))
}

#[derive(Deserialize)]
struct Shape {
    subject: Vec<SubjectShape>,
}

#[derive(Deserialize)]
struct SubjectShape {
    #[serde(default)]
    digest: BTreeMap<String, IgnoredAny>,
}

/// Fields that stand twice are refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<SubjectBody>,
    predicate_type: String,
    predicate: Option<Value>,
}

#[derive(Deserialize)]
struct SubjectBody {
    #[serde(default)]
    name: String,
    digest: BTreeMap<String, String>,
}
