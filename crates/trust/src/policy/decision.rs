//! Decisions: whether a policy holds, and why, as a tree like the policy's.

use std::fmt;

use serde::Serialize;
use skep_registry::Descriptor;
use skep_registry::Digest;

use crate::error::Error;
use crate::error::Result;
use crate::report::Rejection;
use crate::report::tame;
use crate::verified::Check;
use crate::verified::LogEntry;
use crate::verified::SignedBy;
use crate::verified::SignedTime;
use crate::verified::Verified;

/// Whether a manifest may be used, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Decision {
    allowed: bool,
    reference: String,
    subject: Descriptor,
    outcome: Outcome,
}

impl Decision {
    pub(super) fn new(subject: Descriptor, reference: &str, outcome: Outcome) -> Self {
        Self { allowed: outcome.verdict == Verdict::Allow, reference: reference.to_owned(), subject, outcome }
    }

    /// Whether the manifest may be used.
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// What was asked for.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// What was decided about.
    pub fn subject(&self) -> &Descriptor {
        &self.subject
    }

    /// What came of the policy.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Gives nothing, if the manifest may be used.
    ///
    /// # Errors
    /// `Denied`, with this decision.
    pub fn require(&self) -> Result<()> {
        match self.allowed {
            true => Ok(()),
            false => Err(Error::Denied(Box::new(self.clone()))),
        }
    }

    /// The rules that would have to come out otherwise, and why they did not, on one line.
    pub fn summary(&self) -> String {
        let mut blamed = Vec::new();
        self.outcome.blame(&mut blamed);
        let said: Vec<_> = blamed.iter().map(|outcome| outcome.sentence()).collect();
        let verdict = if self.allowed { "allowed" } else { "denied" };
        let colon = if said.is_empty() { "" } else { ": " };
        tame(&format!("{verdict} {} ({}){colon}{}", self.reference, self.subject.digest, said.join("; ")))
    }
}

/// Everything, one rule per line, for people.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "denied" };
        writeln!(f, "{verdict}: {} ({})", tame(&self.reference), self.subject.digest)?;
        self.outcome.write(f, 1)
    }
}

/// What came of a policy or a part of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Outcome {
    /// The rule, or how the parts are put together: `all of`.
    pub rule: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// Why it does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What a rule that holds rests on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<Support>,
    /// For a rule that does not hold, what came closest to being verified and was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Rejection>,
    /// What came of the parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Outcome>,
}

impl Outcome {
    pub(super) fn new(rule: impl Into<String>, verdict: Verdict) -> Self {
        let rule = tame(&rule.into());
        Self { rule, verdict, reasons: Vec::new(), by: Vec::new(), nearest: None, parts: Vec::new() }
    }

    /// Those that would have to come out otherwise for this to hold.
    fn blame<'a>(&'a self, into: &mut Vec<&'a Self>) {
        if self.verdict == Verdict::Allow {
            return;
        }
        if !self.reasons.is_empty() || self.parts.is_empty() {
            into.push(self);
        }
        self.parts.iter().for_each(|part| part.blame(into));
    }

    fn sentence(&self) -> String {
        // What holds below a `not` is the culprit.
        let parts = self.parts.iter().filter(|part| part.verdict == Verdict::Allow).map(|part| part.rule.as_str());
        let name = [self.rule.as_str()].into_iter().chain(parts).collect::<Vec<_>>().join(" ");
        let near = self.nearest.iter().map(|near| format!("nearest: {near}"));
        let why: Vec<_> = self.reasons.iter().cloned().chain(near).collect();
        format!("{name}: {}", why.join(", "))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = depth * 2;
        writeln!(f, "{:indent$}{}: {}", "", self.verdict, self.rule)?;
        let below = indent + 2;
        for reason in &self.reasons {
            writeln!(f, "{:below$}{reason}", "")?;
        }
        for support in &self.by {
            writeln!(f, "{:below$}{}", "", tame(&support.to_string()))?;
        }
        if let Some(near) = &self.nearest {
            writeln!(f, "{:below$}nearest: {}", "", tame(&near.to_string()))?;
        }
        self.parts.iter().try_for_each(|part| part.write(f, depth + 1))
    }
}

/// Whether a policy, or a part of it, holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It holds.
    Allow,
    /// It does not hold.
    Deny,
    /// It cannot be told, or the policy is a mistake. Denies, also below a `not`.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "yes",
            Self::Deny => "no",
            Self::Unknown => "unknown",
        })
    }
}

/// A signature or an attestation that a rule rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Support {
    /// The type of what is attested; none for a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// Who signed.
    pub signer: SignedBy,
    /// When, as others vouch for it.
    pub times: Vec<SignedTime>,
    /// Where in transparency logs it stands.
    pub log: Vec<LogEntry>,
    /// What was checked.
    pub checks: Vec<Check>,
    /// The digest of the bytes that hold signature and proofs.
    pub bundle: Digest,
    /// The manifest that these were attached by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer: Option<Digest>,
}

impl Support {
    pub(super) fn new(verified: &Verified) -> Self {
        Self {
            predicate_type: verified.attestation().map(|attestation| attestation.predicate_type.clone()),
            signer: verified.signer().clone(),
            times: verified.times().to_vec(),
            log: verified.log_entries().to_vec(),
            checks: verified.checks().to_vec(),
            bundle: verified.bundle().clone(),
            referrer: verified.referrer().cloned(),
        }
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.predicate_type.as_deref().unwrap_or("signature"), self.signer)?;
        if let Some(time) = self.times.iter().map(|time| time.time).min() {
            write!(f, ", {time}")?;
        }
        for entry in &self.log {
            write!(f, ", entry {} of {}", entry.index, entry.log)?;
        }
        let checks: Vec<_> = self.checks.iter().map(Check::to_string).collect();
        write!(f, "; checked: {}", checks.join(", "))
    }
}
