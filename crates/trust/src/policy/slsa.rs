//! SLSA: by whom, from which repository, branch or tag, and by which workflow something was built.

use super::provenance::Provenance;
use super::rule::Facts;
use super::rule::Refusal;
use super::rule::Rule;
use super::source;
use super::source::Refs;
use super::source::Source;
use crate::error::Result;
use crate::identity::Certificate;
use crate::pattern::Pattern;
use crate::verified::SignedBy;
use crate::verified::Verified;

/// Somebody attested that the manifest was built as one wants: SLSA provenance, version 0.2 or 1.
///
/// One provenance has to say everything that is asked for. What it says is held against the certificate of who signed
/// it, where that has claims of a CI: the repository, ref, commit, workflow and, when it is asked for, the builder that
/// a provenance names have to be those that the identity provider vouched for. So a workflow cannot say that another
/// one built something.
///
/// ```
/// use skep_trust::{IdentityPattern, GitHubActions, Pattern, Policy, Refs, Slsa, TrustedRoot, Verifier};
///
/// # fn main() -> skep_trust::Result<()> {
/// let main = Refs::default().or_branch("main");
/// let workflows = GitHubActions::of("acme/site").on(main.clone());
/// let verifier = Verifier::default().trust_root(&TrustedRoot::sigstore()?)?.accept(workflows.identity()?);
/// let rule = Slsa::default().with_repository("acme/site")?.with_refs(&main)?;
/// let policy = Policy::rule(verifier.into(), rule);
/// # let _ = policy;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Slsa {
    builder: Option<Pattern>,
    repository: Option<Pattern>,
    reference: Option<Pattern>,
    workflow: Option<Pattern>,
}

impl Slsa {
    /// Wants a builder.
    pub fn with_builder(mut self, builder: Pattern) -> Self {
        self.builder = Some(builder);
        self
    }

    /// Wants a repository: `acme/site`, which is one on GitHub, or a URL; `*` in it is anything but `/`.
    ///
    /// # Errors
    /// `Pattern` when it is neither.
    pub fn with_repository(mut self, repository: &str) -> Result<Self> {
        self.repository = Some(source::repository(repository)?);
        Ok(self)
    }

    /// Wants one of several branches and tags.
    ///
    /// # Errors
    /// `Pattern` when they are too large.
    pub fn with_refs(mut self, refs: &Refs) -> Result<Self> {
        self.reference = if refs.is_any() { None } else { Some(refs.pattern()?) };
        Ok(self)
    }

    /// Wants a workflow: a path in the repository, or the name of a file in `.github/workflows/`; `*` in it is
    /// anything but `/`.
    ///
    /// # Errors
    /// `Pattern` when it is too large.
    pub fn with_workflow(mut self, path: &str) -> Result<Self> {
        let path = if path.contains('/') { path.to_owned() } else { format!(".github/workflows/{path}") };
        self.workflow = Some(Pattern::exact_or_glob(&path)?);
        Ok(self)
    }

    /// Everything about a provenance that is not as it should be, given who signed it.
    pub fn mismatches(&self, provenance: &Provenance, signer: &SignedBy) -> Vec<Mismatch> {
        let wanted = [
            (Field::Builder, &self.builder, &provenance.builder),
            (Field::Repository, &self.repository, &provenance.repository),
            (Field::Ref, &self.reference, &provenance.reference),
            (Field::Workflow, &self.workflow, &provenance.workflow),
        ];
        let unwanted = wanted.into_iter().filter_map(|(field, pattern, came)| {
            let pattern = pattern.as_ref()?;
            let is_wanted = came.as_ref().is_some_and(|came| pattern.matches(came));
            (!is_wanted).then(|| Mismatch { field, wanted: pattern.to_string(), came: came.clone(), vouched: false })
        });
        let mut mismatches: Vec<_> = unwanted.collect();
        if let Some(certificate) = signer.certificate() {
            mismatches.extend(contradictions(provenance, certificate));
            if let (Some(_), Some(stated)) = (&self.builder, &provenance.builder) {
                mismatches.extend(usurped(stated, certificate));
            }
        }
        mismatches
    }

    fn failures(&self, verified: &Verified) -> Vec<String> {
        let Some(attestation) = verified.attestation() else { return vec!["not an attestation".to_owned()] };
        match Provenance::parse(attestation) {
            Ok(provenance) => self.mismatches(&provenance, verified.signer()).iter().map(Mismatch::to_string).collect(),
            Err(why) => vec![format!("malformed provenance: {why}")],
        }
    }
}

impl Rule for Slsa {
    fn name(&self) -> String {
        let parts =
            [("of", &self.repository), ("on", &self.reference), ("by", &self.workflow), ("from", &self.builder)];
        let parts = parts.into_iter().filter_map(|(word, part)| Some(format!(" {word} {}", part.as_ref()?)));
        format!("slsa provenance{}", parts.collect::<String>())
    }

    fn check<'a>(&self, facts: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal> {
        let report = facts.report;
        let provenances = Provenance::TYPES.into_iter().flat_map(|kind| report.attestations(kind));
        let (mut holding, mut nearest) = (Vec::new(), None::<Vec<String>>);
        for verified in provenances {
            let failures = self.failures(verified);
            if failures.is_empty() {
                holding.push(verified);
            } else if nearest.as_ref().is_none_or(|nearest| failures.len() < nearest.len()) {
                nearest = Some(failures);
            }
        }
        if !holding.is_empty() {
            return Ok(holding);
        }
        Err(nearest.map_or_else(
            || Refusal::new([format!("wanted provenance, got none among {} that hold", report.verified.len())]),
            Refusal::new,
        ))
    }
}

/// Something that a provenance does not say as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// What it is about.
    pub field: Field,
    /// What was wanted.
    pub wanted: String,
    /// What the provenance says, if it does.
    pub came: Option<String>,
    /// Whether it was wanted because the certificate of who signed says so, and not by the rule.
    pub vouched: bool,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if self.vouched { ", as the signer's certificate says" } else { "" };
        let came = self.came.as_deref().unwrap_or("nothing");
        write!(f, "{}: wanted {}{by}, got {came}", self.field, self.wanted)
    }
}

/// What a provenance says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// [`Provenance::builder`].
    Builder,
    /// [`Provenance::commit`].
    Commit,
    /// [`Provenance::reference`].
    Ref,
    /// [`Provenance::repository`].
    Repository,
    /// [`Provenance::workflow`].
    Workflow,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Builder => "builder",
            Self::Commit => "commit",
            Self::Ref => "ref",
            Self::Repository => "repository",
            Self::Workflow => "workflow",
        })
    }
}

/// What a provenance says otherwise than the identity provider did, who saw the run.
fn contradictions(provenance: &Provenance, certificate: &Certificate) -> Vec<Mismatch> {
    let claims = &certificate.claims;
    let repository = claims.repository.as_ref().map(|url| Source::parse(url).map_or(url.clone(), |it| it.repository));
    let workflow = claims.workflow.as_deref().zip(repository.as_deref());
    let workflow = workflow.and_then(|(url, repository)| {
        let path = url.strip_prefix(repository)?.trim_start_matches('/');
        // What GitLab calls the entry point is a job, and no path.
        path.starts_with(".github/").then(|| path.split_once('@').map_or(path, |(path, _)| path).to_owned())
    });
    let both = [
        (Field::Repository, repository, &provenance.repository),
        (Field::Ref, claims.reference.clone(), &provenance.reference),
        (Field::Commit, claims.commit.clone(), &provenance.commit),
        (Field::Workflow, workflow, &provenance.workflow),
    ];
    let both = both.into_iter().filter_map(|(field, claimed, stated)| Some((field, claimed?, stated.clone()?)));
    both.filter(|(_, claimed, stated)| claimed != stated)
        .map(|(field, wanted, came)| Mismatch { field, wanted, came: Some(came), vouched: true })
        .collect()
}

/// A builder that is named by somebody who is not it.
fn usurped(stated: &str, certificate: &Certificate) -> Option<Mismatch> {
    let claims = &certificate.claims;
    // Certificates before 2023 have the workflow that signed in their name only.
    let is_workflow = certificate.identity.contains("/.github/workflows/");
    let builder = claims.builder.as_ref().or(is_workflow.then_some(&certificate.identity))?;
    let is_runner = stated.strip_prefix(GITHUB_RUNNER).is_some_and(|kind| match kind.strip_prefix('/') {
        Some(kind) => claims.runner.as_deref() == Some(kind),
        None => kind.is_empty(),
    });
    let is_gitlab = claims.repository.as_ref().is_some_and(|project| {
        stated.strip_prefix(project.as_str()).is_some_and(|rest| rest.starts_with("/-/runners/"))
    });
    // https://github.com/slsa-framework/slsa-github-generator/blob/main/BYOB.md: these run a builder and vouch for it.
    let is_delegated = builder.starts_with(DELEGATOR) && builder.contains("@refs/tags/v");
    let is_so = stated == builder || is_runner || is_gitlab || is_delegated;
    let mismatch =
        Mismatch { field: Field::Builder, wanted: builder.clone(), came: Some(stated.to_owned()), vouched: true };
    (!is_so).then_some(mismatch)
}

/// What GitHub's runners call themselves, with `/github-hosted` or `/self-hosted` behind it, or nothing.
pub(super) const GITHUB_RUNNER: &str = "https://github.com/actions/runner";

const DELEGATOR: &str = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/delegator_";
