//! Sources: the repository, reference and commit that verified provenance says something was built from.

use super::fault::Fault;
use super::fault::Result;
use super::object::ObjectId;
use crate::policy::Provenance;
use crate::verified::Attestation;

/// What something was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// `https://github.com/acme/site`.
    pub(super) repository: String,
    /// `refs/heads/main`.
    pub(super) reference: Option<String>,
    pub(super) commit: ObjectId,
}

impl Source {
    /// Reads what provenance says.
    pub(super) fn of(attestation: &Attestation) -> Result<Self> {
        let malformed = |why: String| Fault::denied(format!("provenance: {why}"));
        let Provenance { repository, reference, commit, .. } = Provenance::parse(attestation).map_err(malformed)?;
        let repository = repository.ok_or_else(|| malformed("no repository".to_owned()))?;
        let commit = commit.ok_or_else(|| malformed(format!("no commit of {repository}")))?;
        Ok(Self { commit: commit.parse().map_err(|fault: Fault| fault.of("provenance"))?, repository, reference })
    }
}
