//! Reports: what was found about a subject, what holds, what does not and why.

use std::fmt;

use serde::Serialize;
use skep_registry::Descriptor;
use skep_registry::Digest;

use crate::error::Error;
use crate::error::Result;
use crate::verified::SignedBy;
use crate::verified::Verified;

/// What came of looking at everything that is attached to a subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What was looked at.
    pub subject: Descriptor,
    /// What holds.
    pub verified: Vec<Verified>,
    /// What does not, and why.
    pub rejected: Vec<Rejection>,
    /// Referrers that were not read, because there are more than the limit; at least so many.
    pub unread: usize,
}

impl Report {
    pub(crate) fn new(subject: Descriptor, rejected: Vec<Rejection>, unread: usize) -> Self {
        Self { subject, verified: Vec::new(), rejected, unread }
    }

    pub(crate) fn enter(&mut self, verdict: Result<Verified, Box<Rejection>>) {
        match verdict {
            Ok(verified) => self.verified.push(verified),
            Err(rejection) => self.rejected.push(*rejection),
        }
    }

    /// The signatures that hold.
    pub fn signatures(&self) -> impl Iterator<Item = &Verified> {
        self.verified.iter().filter(|verified| verified.is_signature())
    }

    /// The attestations with a predicate type that hold.
    pub fn attestations(&self, predicate_type: &str) -> Vec<&Verified> {
        let has_type = |verified: &&Verified| {
            verified.attestation().is_some_and(|attestation| attestation.predicate_type == predicate_type)
        };
        self.verified.iter().filter(has_type).collect()
    }

    /// The candidate that came closest to holding: the one that failed the latest check.
    pub fn nearest(&self) -> Option<&Rejection> {
        // `max_by_key` gives the last of equals; the first is as good and the order then does not matter to readers.
        self.rejected.iter().rev().max_by_key(|rejection| rejection.stage)
    }

    /// What could not be read and may be anything, if there is something.
    ///
    /// Who decides by what is not there has to look at this.
    pub fn missing(&self) -> Option<String> {
        if self.unread > 0 {
            return Some(format!("{} referrers more than the limit", self.unread));
        }
        let unreadable = self.rejected.iter().find(|rejection| rejection.stage <= Stage::Parse);
        unreadable.map(|rejection| rejection.why.clone())
    }

    /// The first signature that holds.
    ///
    /// # Errors
    /// `Rejected` with the nearest match.
    pub fn require_signature(&self) -> Result<&Verified> {
        self.signatures().next().ok_or_else(|| self.refusal("no signature holds"))
    }

    /// The first attestation with a predicate type that holds.
    ///
    /// # Errors
    /// `Rejected` with the nearest match.
    pub fn require_attestation(&self, predicate_type: &str) -> Result<&Verified> {
        let found = self.attestations(predicate_type).into_iter().next();
        found.ok_or_else(|| self.refusal(&format!("no attestation {predicate_type} holds")))
    }

    fn refusal(&self, what: &str) -> Error {
        let digest = &self.subject.digest;
        let tried = self.rejected.len() + self.verified.len();
        let rejection = match self.nearest() {
            Some(near) => {
                let why = tame(&format!("{what} for {digest}; of {tried}, the nearest: {}", near.why));
                Rejection { why, ..near.clone() }
            }
            None => Rejection::new(Stage::Find, format!("{what} for {digest}; {tried} found")),
        };
        Error::Rejected(Box::new(rejection))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.subject.digest)?;
        for verified in &self.verified {
            let what = verified.attestation().map_or("signature", |attestation| &attestation.predicate_type);
            write!(f, "  verified: {what} by {}", verified.signer())?;
            if let Some(time) = verified.times().iter().map(|time| time.time).min() {
                write!(f, ", {time}")?;
            }
            for entry in verified.log_entries() {
                write!(f, ", log entry {}", entry.index)?;
            }
            writeln!(f)?;
        }
        for rejection in &self.rejected {
            writeln!(f, "  rejected: {rejection}")?;
        }
        if self.unread > 0 {
            writeln!(f, "  not read: {} more referrers", self.unread)?;
        }
        Ok(())
    }
}

/// Why a candidate does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rejection {
    /// How far it came.
    pub stage: Stage,
    /// What was wanted and what came; 1000 characters at most, none of them a control character.
    pub why: String,
    /// Who signed, where that is sure: from [`Stage::Identity`] on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignedBy>,
    /// The manifest it was attached by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer: Option<Digest>,
    /// The digest of the bytes that were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
}

impl Rejection {
    pub(crate) fn new(stage: Stage, why: impl Into<String>) -> Self {
        Self { stage, why: tame(&why.into()), signer: None, referrer: None, bundle: None }
    }
}

/// A sentence that may quote strangers: short, and without what a terminal would act on.
pub(crate) fn tame(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut tame: String = text.chars().take(MAX_WHY).map(shown).collect();
    if text.chars().nth(MAX_WHY).is_some() {
        tame.push('…');
    }
    tame
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        match &self.signer {
            Some(signer) => write!(f, " (signed by {signer})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rejection {}

/// How far a candidate came before it failed; the later, the nearer to holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Nothing was there.
    Find,
    /// It could not be fetched.
    Fetch,
    /// It is too large, or has too many parts.
    Limit,
    /// It is malformed, or of a kind that is not supported.
    Parse,
    /// Nobody the verifier trusts: no root, no key.
    Trust,
    /// The certificate does not lead to the root, or was not valid then.
    Certificate,
    /// No time that somebody vouches for.
    Time,
    /// The transparency log does not have it.
    Log,
    /// The signature was not made by this key over these bytes.
    Signature,
    /// It is about other bytes.
    Subject,
    /// Signed properly, by somebody else.
    Identity,
}

const MAX_WHY: usize = 1000;
