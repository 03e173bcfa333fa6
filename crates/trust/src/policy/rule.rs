//! Rules: what is asked of verified signatures and attestations.

use std::fmt;

use crate::report::Report;
use crate::report::tame;
use crate::subject::Subject;
use crate::verified::Verified;

/// Something that is asked of what was verified.
pub trait Rule: fmt::Debug + Send + Sync + 'static {
    /// A name for people: `signature`, `slsa provenance`.
    fn name(&self) -> String;

    /// Gives what the rule rests on, if it holds. May block.
    ///
    /// # Errors
    /// Why it does not hold: what was wanted and what came.
    fn check<'a>(&self, facts: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal>;
}

/// What is known of a manifest when a rule is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Facts<'a> {
    /// What the user asked for. Nobody signed it.
    pub reference: &'a str,
    /// The manifest.
    pub subject: &'a Subject,
    /// What the verifier of the rule verified, and what it did not.
    pub report: &'a Report,
}

impl<'a> Facts<'a> {
    /// Facts for a rule that is asked outside of a policy.
    pub fn new(reference: &'a str, subject: &'a Subject, report: &'a Report) -> Self {
        Self { reference, subject, report }
    }
}

/// Why a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reasons: Vec<String>,
    is_sure: bool,
}

impl Refusal {
    /// The rule does not hold, for these reasons.
    pub fn new(reasons: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { reasons: Self::tamed(reasons), is_sure: true }
    }

    /// Whether the rule holds could not be found out: a limit was reached, something was away.
    ///
    /// It denies, also below a [`not`](crate::Policy::not).
    pub fn unknown(reasons: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { reasons: Self::tamed(reasons), is_sure: false }
    }

    /// The reasons, at most 100 of at most 1000 characters, none of them a control character.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Whether the rule was applied and does not hold.
    pub fn is_sure(&self) -> bool {
        self.is_sure
    }

    pub(crate) fn into_reasons(self) -> Vec<String> {
        self.reasons
    }

    fn tamed(reasons: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
        reasons.into_iter().take(MAX_REASONS).map(|reason| tame(&reason.into())).collect()
    }
}

impl From<Vec<String>> for Refusal {
    fn from(reasons: Vec<String>) -> Self {
        Self::new(reasons)
    }
}

/// Somebody signed the manifest.
///
/// An attestation is no signature: who attests that the tests failed does not approve.
#[derive(Clone, Copy, Debug)]
pub struct Signature;

impl Rule for Signature {
    fn name(&self) -> String {
        "signature".to_owned()
    }

    fn check<'a>(&self, facts: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal> {
        let report = facts.report;
        let signatures: Vec<_> = report.signatures().collect();
        match signatures.is_empty() {
            true => Err(Refusal::new([format!("wanted a signature, got none of {} that hold", report.verified.len())])),
            false => Ok(signatures),
        }
    }
}

/// Somebody attested something of a type, whatever it says.
#[derive(Clone, Debug)]
pub struct Attested {
    predicate_type: String,
}

impl Attested {
    /// Wants an attestation with a predicate of this type, exactly.
    pub fn new(predicate_type: impl Into<String>) -> Self {
        Self { predicate_type: predicate_type.into() }
    }
}

impl Rule for Attested {
    fn name(&self) -> String {
        format!("attestation {}", self.predicate_type)
    }

    fn check<'a>(&self, facts: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal> {
        let report = facts.report;
        let attestations = report.attestations(&self.predicate_type);
        match attestations.is_empty() {
            true => {
                Err(Refusal::new([format!("wanted an attestation, got none of {} that hold", report.verified.len())]))
            }
            false => Ok(attestations),
        }
    }
}

const MAX_REASONS: usize = 100;
