//! Identities: who a certificate says has signed, and whom one accepts.

use serde::Serialize;

use crate::pattern::Pattern;

/// What the certificate of a signer says; the certificate was checked when this was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Certificate {
    /// Who: an e-mail address, or the URI of a workflow.
    pub identity: String,
    /// Who says so: the address of the identity provider.
    pub issuer: String,
    /// What the provider says of the run that signed.
    pub claims: Claims,
}

/// What an identity provider of a CI system says of the run that signed.
///
/// Fulcio writes these into certificates (OIDs 1.3.6.1.4.1.57264.1.9 to .22).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// The repository, as URL (.12).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The commit (.13).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch or tag, as `refs/heads/main` (.14).
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The owner of the repository, as URL (.16).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The workflow that ran at the top, as URL with its ref (.18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The workflow that signed, which may be one that others reuse, as URL with its ref (.9).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// What made it run: `push`, `workflow_dispatch` (.20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// Whose machine it ran on: `github-hosted`, `self-hosted` (.11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// The run, as URL (.21).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Whom one accepts: an identity, who vouches for it, and what is claimed of the run.
///
/// Everything has to match. A claim that is asked for and missing in the certificate does not.
#[derive(Clone, Debug, Serialize)]
pub struct IdentityPattern {
    identity: Pattern,
    issuer: Pattern,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    claims: Vec<(Claim, Pattern)>,
}

/// A claim that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Claim {
    /// [`Claims::builder`].
    Builder,
    /// [`Claims::commit`].
    Commit,
    /// [`Claims::owner`].
    Owner,
    /// [`Claims::reference`].
    Ref,
    /// [`Claims::repository`].
    Repository,
    /// [`Claims::runner`].
    Runner,
    /// [`Claims::trigger`].
    Trigger,
    /// [`Claims::workflow`].
    Workflow,
}

impl IdentityPattern {
    /// Accepts an identity that an issuer vouches for.
    pub fn new(identity: Pattern, issuer: Pattern) -> Self {
        Self { identity, issuer, claims: Vec::new() }
    }

    /// Accepts everybody who has a certificate. For those who look at the signer themselves.
    pub fn anyone() -> Self {
        Self::new(Pattern::any(), Pattern::any())
    }

    /// Asks for a claim, besides.
    pub fn with_claim(mut self, claim: Claim, pattern: Pattern) -> Self {
        self.claims.push((claim, pattern));
        self
    }

    /// Whether everything matches; if not, what does not.
    ///
    /// # Errors
    /// A sentence that says what was wanted and what came.
    pub fn matches(&self, certificate: &Certificate) -> Result<(), String> {
        self.mismatches(certificate).into_iter().next().map_or(Ok(()), Err)
    }

    /// Everything that does not match, one sentence each.
    pub(crate) fn mismatches(&self, certificate: &Certificate) -> Vec<String> {
        let fixed =
            [("issuer", &self.issuer, &certificate.issuer), ("identity", &self.identity, &certificate.identity)];
        let fixed = fixed
            .into_iter()
            .filter(|(_, pattern, came)| !pattern.matches(came))
            .map(|(what, pattern, came)| format!("{what}: wanted {pattern}, got {came}"));
        let claims = self.claims.iter().filter_map(|(claim, pattern)| match claim.of(&certificate.claims) {
            Some(came) if pattern.matches(came) => None,
            Some(came) => Some(format!("{}: wanted {pattern}, got {came}", claim.name())),
            None => Some(format!("{}: wanted {pattern}, the certificate does not say", claim.name())),
        });
        fixed.chain(claims).collect()
    }
}

impl Claim {
    fn of(self, claims: &Claims) -> Option<&str> {
        match self {
            Self::Builder => &claims.builder,
            Self::Commit => &claims.commit,
            Self::Owner => &claims.owner,
            Self::Ref => &claims.reference,
            Self::Repository => &claims.repository,
            Self::Runner => &claims.runner,
            Self::Trigger => &claims.trigger,
            Self::Workflow => &claims.workflow,
        }
        .as_deref()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Commit => "commit",
            Self::Owner => "owner",
            Self::Ref => "ref",
            Self::Repository => "repository",
            Self::Runner => "runner",
            Self::Trigger => "trigger",
            Self::Workflow => "workflow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        let claims = Claims { repository: Some("https://github.com/acme/site".to_owned()), ..Claims::default() };
        Certificate { identity: "dev@acme.example".to_owned(), issuer: "https://id.example".to_owned(), claims }
    }

    #[test]
    fn a_claim_that_is_missing_does_not_match() {
        let pattern = IdentityPattern::anyone().with_claim(Claim::Trigger, Pattern::any());
        assert_eq!(
            pattern.matches(&certificate()),
            Err("trigger: wanted anything, the certificate does not say".to_owned())
        );
    }

    #[test]
    fn everything_has_to_match() {
        let repository = |text: &str| Pattern::exact(format!("https://github.com/acme/{text}"));
        let pattern = |name: &str| {
            IdentityPattern::new(Pattern::exact("dev@acme.example"), Pattern::exact("https://id.example"))
                .with_claim(Claim::Repository, repository(name))
        };
        assert_eq!(pattern("site").matches(&certificate()), Ok(()));
        assert_eq!(
            pattern("site-evil").matches(&certificate()),
            Err("repository: wanted https://github.com/acme/site-evil, got https://github.com/acme/site".to_owned())
        );
    }
}
