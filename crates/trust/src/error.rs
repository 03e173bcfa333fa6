//! Errors: what can go wrong around signatures, apart from a signature that does not hold.

use crate::report::Rejection;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with a key, a trusted root, a service or a registry.
///
/// That a signature does not hold is a [`Rejection`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key cannot be read, or is of a kind that is not supported.
    #[error("key: {why}")]
    Key {
        /// What was wanted and what came.
        why: String,
    },
    /// The password of a key is missing or wrong.
    #[error("key: {why}")]
    Password {
        /// Which of the two.
        why: &'static str,
    },
    /// A pattern for identities cannot be read.
    #[error("pattern {pattern:?}: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody tells how something was built.
    #[error("provenance: {why}")]
    Provenance {
        /// What was wanted and what came.
        why: String,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] skep_registry::Error),
    /// A signature does not hold, or none was found.
    #[error(transparent)]
    Rejected(#[from] Box<Rejection>),
    /// A service that signing needs failed, or refused.
    #[error("{service}: {why}")]
    Service {
        /// The service.
        service: &'static str,
        /// What it said.
        why: String,
    },
    /// Bytes that are to be signed or verified are not what their digest says.
    #[error("subject: {why}")]
    Subject {
        /// What was wanted and what came.
        why: String,
    },
    /// A trusted root or a signing configuration cannot be read.
    #[error("{what}: {why}")]
    Trust {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    pub(crate) fn key(why: impl Into<String>) -> Self {
        Self::Key { why: why.into() }
    }

    pub(crate) fn trust(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Trust { what: what.into(), why: why.to_string() }
    }
}

/// An error with its causes, for what others give often only says that there was one.
#[cfg(any(feature = "keyless", feature = "tuf"))]
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
