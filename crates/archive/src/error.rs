//! Errors: what can go wrong with an archive.

mod kind;

use std::io;
use std::path::Path;
use std::path::PathBuf;

use skep_registry::Code;

pub use kind::ErrorKind;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with an archive, with the path of the file it went wrong with.
///
/// Paths of the archive are relative and use `/`; paths of the disk are [`PathBuf`]s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A file changed while it was read.
    #[error("{}: changed while it was read: {why}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What was wanted and what came.
        why: String,
    },
    /// Two names of the archive are one on this disk, which may not tell upper from lower case.
    #[error("{}: this disk takes it for {}, which the archive has, too", path.display(), other.display())]
    Collision {
        /// What was to be written.
        path: PathBuf,
        /// What it would have replaced.
        other: PathBuf,
    },
    /// Something on the disk is in the way, and is not to be replaced.
    #[error("{}: {why}", path.display())]
    Conflict {
        /// What is in the way.
        path: PathBuf,
        /// What should have been there.
        why: &'static str,
    },
    /// Stored bytes are not what a compressor writes.
    #[error("{path}: cannot be decompressed: {why}")]
    Decompression {
        /// The file.
        path: String,
        /// What the decompressor says.
        why: String,
    },
    /// Content does not have the hash that the index states.
    #[error("{path}: expected content of sha256:{want}, got sha256:{came}")]
    HashMismatch {
        /// The file.
        path: String,
        /// Hexadecimal.
        want: String,
        /// Hexadecimal.
        came: String,
    },
    /// Something to build an archive of has no place in it.
    #[error("{path}: {why}")]
    InvalidEntry {
        /// Its path.
        path: String,
        /// What is wrong with it, and with which other path if there is one.
        why: String,
    },
    /// The index is malformed or contradicts itself.
    #[error("invalid index: {why}")]
    InvalidIndex {
        /// What is wrong, and where.
        why: String,
    },
    /// The manifest is not one of an archive.
    #[error("invalid manifest: {why}")]
    InvalidManifest {
        /// What is wrong.
        why: String,
    },
    /// A path is not a relative path of names between slashes.
    #[error("{path:?} is not a path of an archive: {why}")]
    InvalidPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A pattern is malformed.
    #[error("{pattern:?} is not a pattern: {why}")]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A range lies outside of the file.
    #[error("{path}: bytes {start} to {end} of {size}")]
    InvalidRange {
        /// The file.
        path: String,
        /// The first byte asked for.
        start: u64,
        /// The byte behind the last one asked for.
        end: u64,
        /// Bytes the file has.
        size: u64,
    },
    /// The disk failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried, a verb.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What was to be read as a tar archive is none, or is cut off.
    #[error("invalid tar archive at byte {at}: {why}")]
    InvalidTar {
        /// Bytes before what is wrong, uncompressed.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// A file was asked for and the path is a directory.
    #[error("{path}: is a directory")]
    IsDirectory {
        /// The directory.
        path: String,
    },
    /// Something is larger than a limit allows.
    #[error("{what} has {came}, more than the limit of {limit}")]
    Limit {
        /// What is too large, and in which unit.
        what: String,
        /// The limit.
        limit: u64,
        /// How large it is, or is at least.
        came: u64,
    },
    /// The manifest has no layer with data.
    #[error("the manifest has no data layer")]
    MissingData,
    /// The manifest has no layer with an index.
    #[error("the manifest has no index layer")]
    MissingIndex,
    /// A directory was asked for and the path is none.
    #[error("{path}: is not a directory")]
    NotDirectory {
        /// What is not a directory.
        path: String,
    },
    /// Nothing has this path.
    #[error("{path}: not found{why}")]
    NotFound {
        /// The path.
        path: String,
        /// Why, when that is not obvious; begins with a colon then.
        why: String,
    },
    /// A policy does not allow that a manifest is used.
    #[error("{what}: not allowed by policy")]
    PolicyViolation {
        /// What was asked for.
        what: String,
        /// Which rule does not hold, and why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry failed, or a body that came from it.
    #[error(transparent)]
    Registry(#[from] skep_registry::Error),
    /// Content has more or fewer bytes than were stated, by an index or by whoever gives it to be packed.
    #[error("{path}: expected {want} bytes, got {came}{}", if came > want { " or more" } else { "" })]
    SizeMismatch {
        /// The file.
        path: String,
        /// Bytes that were stated.
        want: u64,
        /// Bytes that came.
        came: u64,
    },
    /// There are more files than a limit allows.
    #[error("more than {limit} files")]
    TooManyFiles {
        /// The limit.
        limit: u64,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { what, path, source: source.into() }
    }

    pub(crate) fn index(why: impl Into<String>) -> Self {
        Self::InvalidIndex { why: why.into() }
    }

    pub(crate) fn not_found(path: impl Into<String>) -> Self {
        Self::NotFound { path: path.into(), why: String::new() }
    }

    pub(crate) fn limit(what: impl Into<String>, limit: u64, came: u64) -> Self {
        Self::Limit { what: what.into(), limit, came }
    }

    /// Tells whether the thing asked for is not there, in the archive or in the registry.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Registry(error) => error.is_not_found(),
            _ => false,
        }
    }
}

/// For bodies, whose errors are those of registries.
impl From<Error> for skep_registry::Error {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Registry(_) => Code::Unknown,
            Error::NotFound { .. } => Code::BlobUnknown,
            Error::Decompression { .. } | Error::HashMismatch { .. } => Code::DigestInvalid,
            Error::Limit { .. } | Error::SizeMismatch { .. } => Code::SizeInvalid,
            Error::InvalidRange { .. } => Code::RangeInvalid,
            _ => Code::Unknown,
        };
        match error {
            Error::Registry(error) => error,
            error => Self::new(code, "").with_source(error),
        }
    }
}

/// For readers and writers of the standard library, whose errors have a kind; the error itself is within.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Decompression { .. } | Error::HashMismatch { .. } | Error::SizeMismatch { .. } => {
                io::ErrorKind::InvalidData
            }
            Error::InvalidIndex { .. } | Error::InvalidManifest { .. } => io::ErrorKind::InvalidData,
            Error::InvalidPath { .. } | Error::InvalidPattern { .. } => io::ErrorKind::InvalidInput,
            Error::InvalidRange { .. } => io::ErrorKind::InvalidInput,
            Error::Io { source, .. } => source.kind(),
            Error::IsDirectory { .. } => io::ErrorKind::IsADirectory,
            Error::NotDirectory { .. } => io::ErrorKind::NotADirectory,
            error if error.is_not_found() => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
