//! Policies: what has to hold of a manifest before it is used.

use std::fmt;
use std::sync::Arc;

use skep_registry::Registry;
use skep_registry::RepoName;

use crate::error::Error;
use crate::error::Result;
use crate::find;
use crate::find::Found;
use crate::limits::Limits;
use crate::report::Report;
use crate::subject::Subject;
use crate::verifier::Verifier;

mod ci;
mod decision;
mod file;
mod provenance;
mod references;
mod rule;
mod slsa;
mod source;

pub use ci::GitHubActions;
pub use ci::GitLab;
pub use decision::Decision;
pub use decision::Outcome;
pub use decision::Support;
pub use decision::Verdict;
pub use file::PolicyFile;
pub use provenance::Provenance;
pub use references::Policies;
pub use rule::Attested;
pub use rule::Facts;
pub use rule::Refusal;
pub use rule::Rule;
pub use rule::Signature;
pub use slsa::Field;
pub use slsa::Mismatch;
pub use slsa::Slsa;
pub use source::Refs;
#[cfg(feature = "gittuf")]
pub(crate) use source::Source;

use ci::GITHUB_ISSUER;
use slsa::GITHUB_RUNNER;

/// What has to hold of a manifest before it is used. Cheap to clone.
///
/// A leaf is a [`Verifier`], whom one trusts, and a [`Rule`] over what that verifier verified. So nothing that nobody
/// signed, or somebody else, or about other bytes, reaches a rule. Leaves are put together by [`all_of`](Self::all_of),
/// [`any_of`](Self::any_of), [`at_least`](Self::at_least) and [`not`](Self::not).
///
/// What is a mistake (all of nothing, a threshold that nothing or everything reaches) denies, also below a `not`.
///
/// ```
/// use std::sync::Arc;
/// use skep_trust::{Policy, PrivateKey, Verifier};
///
/// # fn main() -> skep_trust::Result<()> {
/// let release = Arc::new(Verifier::default().trust_key(PrivateKey::generate()?.public_key().clone()));
/// let tests = Arc::new(Verifier::default().trust_key(PrivateKey::generate()?.public_key().clone()));
/// let policy = Policy::all_of([
///     Policy::signed(release),
///     Policy::attested(tests, "https://in-toto.io/attestation/test-result/v0.1"),
/// ]);
/// # let _ = policy;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Policy(Arc<Node>);

enum Node {
    AllOf(Vec<Policy>),
    AnyOf(Vec<Policy>),
    AtLeast(usize, Vec<Policy>),
    Leaf { verifier: Arc<Verifier>, rule: Box<dyn Rule> },
    Not(Policy),
}

impl Policy {
    /// Holds when a rule does, over what a verifier verified.
    ///
    /// Leaves that share a verifier have everything verified once.
    pub fn rule(verifier: Arc<Verifier>, rule: impl Rule) -> Self {
        Self(Arc::new(Node::Leaf { verifier, rule: Box::new(rule) }))
    }

    /// Holds when somebody whom the verifier accepts signed the manifest.
    pub fn signed(verifier: Arc<Verifier>) -> Self {
        Self::rule(verifier, Signature)
    }

    /// Holds when somebody whom the verifier accepts attested something of a type, whatever it says.
    pub fn attested(verifier: Arc<Verifier>, predicate_type: impl Into<String>) -> Self {
        Self::rule(verifier, Attested::new(predicate_type))
    }

    /// Holds when all parts do. Of nothing, it denies.
    pub fn all_of(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(Arc::new(Node::AllOf(parts.into_iter().collect())))
    }

    /// Holds when one part does. Of nothing, it denies.
    pub fn any_of(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(Arc::new(Node::AnyOf(parts.into_iter().collect())))
    }

    /// Holds when at least `count` parts do. Denies when that is 0, or more than there are.
    pub fn at_least(count: usize, parts: impl IntoIterator<Item = Self>) -> Self {
        Self(Arc::new(Node::AtLeast(count, parts.into_iter().collect())))
    }

    /// Holds when a part does not, and everything that is attached could be read.
    ///
    /// What could not be fetched, is beyond the limits, or is malformed might be what is not wanted.
    #[expect(clippy::should_implement_trait, reason = "it takes no receiver, as its siblings")]
    pub fn not(part: Self) -> Self {
        Self(Arc::new(Node::Not(part)))
    }

    /// Finds everything that is attached to a subject and decides by it.
    ///
    /// `reference` is what the user asked for, as rules that look at it and people see it.
    ///
    /// # Errors
    /// `Registry` when the list of referrers cannot be had. What cannot be read of it is in the decision.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn decide(
        &self,
        registry: &dyn Registry,
        repo: &RepoName,
        subject: &Subject,
        reference: &str,
    ) -> Result<Decision> {
        let found = find::find(registry, repo, subject, &self.limits()).await?;
        let (policy, subject, reference) = (self.clone(), subject.clone(), reference.to_owned());
        // Signatures and rules keep a thread busy, and some rules wait for something.
        let judging = tokio::task::spawn_blocking(move || policy.judge(&subject, &reference, &found));
        judging.await.map_err(|error| Error::policy("policy", error))
    }

    /// Decides by what was found. Blocks: a millisecond for each bundle and verifier, and what the rules take.
    ///
    /// Opens no connection, but for rules that say so. Everything is looked at, also what changes nothing any more, so
    /// that the decision says all that is wrong.
    pub fn judge(&self, subject: &Subject, reference: &str, found: &Found) -> Decision {
        let mut verifiers = Vec::new();
        self.verifiers(&mut verifiers);
        let reports: Vec<_> = verifiers.iter().map(|verifier| verifier.judge(subject, found)).collect();
        let missing = reports.iter().find_map(Report::missing);
        let case = Case { subject, reference, verifiers: &verifiers, reports: &reports, missing: missing.as_deref() };
        Decision::new(subject.descriptor().clone(), reference, case.outcome(self))
    }

    /// How much is read of what is attached: the widest bounds of all verifiers.
    pub fn limits(&self) -> Limits {
        let mut verifiers = Vec::new();
        self.verifiers(&mut verifiers);
        let limits = verifiers.iter().map(|verifier| verifier.limits().clone());
        limits.reduce(Limits::widest).unwrap_or_default()
    }

    /// The verifiers of all leaves, each once.
    fn verifiers<'a>(&'a self, into: &mut Vec<&'a Arc<Verifier>>) {
        match &*self.0 {
            Node::AllOf(parts) | Node::AnyOf(parts) | Node::AtLeast(_, parts) => {
                parts.iter().for_each(|part| part.verifiers(into));
            }
            Node::Leaf { verifier, .. } if into.iter().any(|known| Arc::ptr_eq(known, verifier)) => {}
            Node::Leaf { verifier, .. } => into.push(verifier),
            Node::Not(part) => part.verifiers(into),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Node::AllOf(parts) => f.debug_tuple("AllOf").field(parts).finish(),
            Node::AnyOf(parts) => f.debug_tuple("AnyOf").field(parts).finish(),
            Node::AtLeast(count, parts) => f.debug_tuple("AtLeast").field(count).field(parts).finish(),
            Node::Leaf { verifier, rule } => f.debug_tuple("Rule").field(verifier).field(rule).finish(),
            Node::Not(part) => f.debug_tuple("Not").field(part).finish(),
        }
    }
}

/// What a policy is held against.
struct Case<'a> {
    subject: &'a Subject,
    reference: &'a str,
    verifiers: &'a [&'a Arc<Verifier>],
    reports: &'a [Report],
    /// What could not be read, if anything.
    missing: Option<&'a str>,
}

impl Case<'_> {
    fn outcome(&self, policy: &Policy) -> Outcome {
        match &*policy.0 {
            Node::AllOf(parts) => self.threshold("all of".to_owned(), parts.len(), parts),
            Node::AnyOf(parts) => self.threshold("any of".to_owned(), 1, parts),
            Node::AtLeast(count, parts) => self.threshold(format!("at least {count} of"), *count, parts),
            Node::Leaf { verifier, rule } => self.leaf(verifier, rule.as_ref()),
            Node::Not(part) => self.negation(part),
        }
    }

    /// At least so many parts hold; what is not known counts as either.
    fn threshold(&self, name: String, count: usize, parts: &[Policy]) -> Outcome {
        let parts: Vec<_> = parts.iter().map(|part| self.outcome(part)).collect();
        if count == 0 || count > parts.len() {
            let reason = format!("a mistake: {name} {} parts", parts.len());
            return Outcome { reasons: vec![reason], parts, ..Outcome::new(name, Verdict::Unknown) };
        }
        let having = |verdict| parts.iter().filter(|part| part.verdict == verdict).count();
        let (allow, unknown) = (having(Verdict::Allow), having(Verdict::Unknown));
        let verdict = match () {
            () if allow >= count => Verdict::Allow,
            () if allow + unknown >= count => Verdict::Unknown,
            () => Verdict::Deny,
        };
        Outcome { parts, ..Outcome::new(name, verdict) }
    }

    fn leaf(&self, verifier: &Arc<Verifier>, rule: &dyn Rule) -> Outcome {
        let known = self.verifiers.iter().zip(self.reports).find(|(known, _)| Arc::ptr_eq(known, verifier));
        let Some((_, report)) = known else { return Outcome::new(rule.name(), Verdict::Unknown) };
        let facts = Facts { reference: self.reference, subject: self.subject, report };
        match rule.check(&facts) {
            Ok(by) => {
                let by = by.into_iter().map(Support::new).collect();
                Outcome { by, ..Outcome::new(rule.name(), Verdict::Allow) }
            }
            Err(refusal) => {
                let verdict = if refusal.is_sure() { Verdict::Deny } else { Verdict::Unknown };
                let (reasons, nearest) = (refusal.into_reasons(), report.nearest().cloned());
                Outcome { reasons, nearest, ..Outcome::new(rule.name(), verdict) }
            }
        }
    }

    fn negation(&self, part: &Policy) -> Outcome {
        let part = self.outcome(part);
        let (verdict, reason) = match (part.verdict, self.missing) {
            (Verdict::Allow, _) => (Verdict::Deny, Some("it holds".to_owned())),
            (_, Some(missing)) => (Verdict::Unknown, Some(format!("not everything could be read: {missing}"))),
            (Verdict::Deny, None) => (Verdict::Allow, None),
            (Verdict::Unknown, None) => (Verdict::Unknown, None),
        };
        Outcome { reasons: reason.into_iter().collect(), parts: vec![part], ..Outcome::new("not", verdict) }
    }
}
