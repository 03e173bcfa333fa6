//! Faults: why a repository does not vouch for a commit, or why that cannot be told.

pub(super) type Result<T, E = Fault> = std::result::Result<T, E>;

/// Why something does not hold, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    why: String,
    is_sure: bool,
}

impl Fault {
    /// It was checked, and does not hold.
    pub(super) fn denied(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_sure: true }
    }

    /// It cannot be told: something is malformed, not supported, too large, or away.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_sure: false }
    }

    /// Says what the fault is part of.
    pub(super) fn of(self, what: impl std::fmt::Display) -> Self {
        Self { why: format!("{what}: {}", self.why), ..self }
    }

    pub(super) fn why(&self) -> &str {
        &self.why
    }

    pub(super) fn is_sure(&self) -> bool {
        self.is_sure
    }
}
