//! The verifier: what one trusts, and what it says about a bundle.

use std::fmt;

use bytes::Bytes;
use skep_registry::Registry;
use skep_registry::RepoName;

use crate::bundle;
use crate::check::Anchor;
use crate::check::Message;
use crate::error::Result;
use crate::find;
use crate::find::Candidate;
use crate::find::Content;
use crate::find::Found;
use crate::identity::IdentityPattern;
use crate::key::PublicKey;
use crate::limits::Limits;
use crate::report::Rejection;
use crate::report::Report;
use crate::root::TrustedRoot;
use crate::subject::Subject;
use crate::verified::Verified;

/// Says who signed a subject, of those one trusts.
///
/// A new one trusts nobody. It never opens a connection: everything that is needed is in the bundles and in the roots.
///
/// ```
/// use skep_trust::{IdentityPattern, Pattern, TrustedRoot, Verifier};
///
/// # fn main() -> skep_trust::Result<()> {
/// let verifier = Verifier::default()
///     .trust_root(&TrustedRoot::sigstore()?)?
///     .accept(IdentityPattern::new(
///         Pattern::glob("https://github.com/acme/site/.github/workflows/*@refs/tags/*")?,
///         Pattern::exact("https://token.actions.githubusercontent.com"),
///     ));
/// # let _ = verifier;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Verifier {
    pub(crate) roots: Vec<Anchor>,
    pub(crate) keys: Vec<PublicKey>,
    pub(crate) identities: Vec<IdentityPattern>,
    pub(crate) limits: Limits,
    pub(crate) key_log: bool,
}

impl Verifier {
    /// Believes certificates, logs and timestamps of a root.
    ///
    /// # Errors
    /// `Trust` when the root cannot be used.
    pub fn trust_root(mut self, root: &TrustedRoot) -> Result<Self> {
        self.roots.push(Anchor::new(root)?);
        Ok(self)
    }

    /// Accepts what the holder of a key signed.
    pub fn trust_key(mut self, key: PublicKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Accepts what an identity signed, of those the roots certify. Any of several is enough.
    pub fn accept(mut self, identity: IdentityPattern) -> Self {
        self.identities.push(identity);
        self
    }

    /// Whether what a key signed has to stand in a transparency log of a root. Not, by default.
    ///
    /// Entries and timestamps that are there have to hold in any case, as soon as there is a root.
    pub fn require_key_log(mut self, required: bool) -> Self {
        self.key_log = required;
        self
    }

    /// Sets the bounds on what is read.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The bounds on what is read.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks one bundle against a subject.
    ///
    /// # Errors
    /// The first check that fails, and what was wanted there.
    pub fn verify_bundle(&self, subject: &Subject, bytes: &Bytes) -> Result<Verified, Box<Rejection>> {
        self.verify(&Candidate::from_bundle(bytes.clone()), subject)
    }

    /// Checks everything that was found about a subject.
    ///
    /// Takes about a millisecond for each.
    pub fn judge(&self, subject: &Subject, found: &Found) -> Report {
        let mut report = Report::new(subject.descriptor().clone(), found.rejected.clone(), found.unread);
        for candidate in &found.candidates {
            report.enter(self.verify(candidate, subject));
        }
        report
    }

    /// Finds everything that is attached to a subject and checks it.
    ///
    /// # Errors
    /// `Registry` when the list of referrers cannot be had. What cannot be read of it is in the report.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn inspect(&self, registry: &dyn Registry, repo: &RepoName, subject: &Subject) -> Result<Report> {
        let found = find::find(registry, repo, subject, &self.limits).await?;
        let mut report = Report::new(subject.descriptor().clone(), found.rejected, found.unread);
        for candidate in &found.candidates {
            report.enter(self.verify(candidate, subject));
            // Strangers say how many there are; others have their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(report)
    }

    fn verify(&self, candidate: &Candidate, subject: &Subject) -> Result<Verified, Box<Rejection>> {
        let verified = match candidate.content() {
            Content::Bundle(bytes) => bundle::parse(bytes, &self.limits)
                .and_then(|bundle| self.check(subject, &bundle, Message::Manifest, candidate)),
            Content::Cosign(legacy) => legacy.convert(&self.limits).and_then(|(bundle, message)| {
                let message = message.as_ref().map_or(Message::Manifest, |payload| Message::SimpleSigning(payload));
                self.check(subject, &bundle, message, candidate)
            }),
        };
        verified.map_err(|rejection| {
            let bundle = Some(candidate.digest().clone());
            Box::new(Rejection { referrer: candidate.referrer().cloned(), bundle, ..rejection })
        })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("roots", &self.roots)
            .field("keys", &self.keys.len())
            .field("identities", &self.identities)
            .field("limits", &self.limits)
            .field("key_log", &self.key_log)
            .finish()
    }
}
