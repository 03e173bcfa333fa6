//! Kinds: what went wrong in one word, wherever in the causes of an error it stands.

use std::error::Error as StdError;

use skep_registry::Code;

use super::Error;

/// What went wrong, in one word by which programs decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked to stop.
    Cancelled,
    /// A file changed while it was read.
    Changed,
    /// Something is there already and is not to be replaced.
    Conflict,
    /// Stored bytes are not what a compressor writes.
    Decompression,
    /// The registry does not know the caller, or does not let it.
    Denied,
    /// A disk failed.
    Disk,
    /// Bytes do not have the hash that names them.
    HashMismatch,
    /// The index is malformed.
    InvalidIndex,
    /// The manifest is malformed, or not one of an archive.
    InvalidManifest,
    /// A path, pattern or range is malformed, or lies outside of what there is.
    InvalidPath,
    /// The name of a repository, tag or registry is malformed.
    InvalidReference,
    /// What an archive was to be built of is malformed, or has no place in one.
    InvalidSource,
    /// The manifest has no data.
    MissingData,
    /// The manifest has no index.
    MissingIndex,
    /// Nothing has this name, in the registry or in the archive.
    NotFound,
    /// None of the others.
    Other,
    /// What has to hold of a manifest before it is used does not.
    PolicyViolation,
    /// There are more or fewer bytes than was stated.
    SizeMismatch,
    /// Something is larger than a limit allows.
    TooLarge,
    /// There are more files than a limit allows.
    TooManyFiles,
    /// The registry asks for patience.
    TooManyRequests,
    /// The registry was not reached, broke off, or is not to be asked.
    Unavailable,
    /// The registry cannot do this: list referrers, for instance.
    Unsupported,
    /// A directory where a file is wanted, or the other way round.
    WrongType,
}

impl ErrorKind {
    /// The kind of an error of a registry, or of a body, which may have one of this crate as its cause.
    pub fn of(error: &skep_registry::Error) -> Self {
        if let Some(error) = error.source().and_then(|cause| cause.downcast_ref::<Error>()) {
            return error.kind();
        }
        let is_of_disk = || error.source().is_some_and(|cause| cause.is::<std::io::Error>());
        match error.code() {
            Code::Denied | Code::Unauthorized => Self::Denied,
            Code::DigestInvalid => Self::HashMismatch,
            Code::ManifestInvalid => Self::InvalidManifest,
            Code::NameInvalid => Self::InvalidReference,
            Code::PreconditionFailed => Self::Conflict,
            Code::RangeInvalid => Self::InvalidPath,
            Code::SizeInvalid => Self::SizeMismatch,
            Code::TooManyRequests => Self::TooManyRequests,
            Code::Unavailable => Self::Unavailable,
            Code::Unsupported => Self::Unsupported,
            Code::Unknown if is_of_disk() => Self::Disk,
            _ if error.is_not_found() => Self::NotFound,
            _ => Self::Other,
        }
    }
}

impl Error {
    /// What went wrong, in one word by which programs decide.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Changed { .. } => ErrorKind::Changed,
            Self::Collision { .. } | Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Decompression { .. } => ErrorKind::Decompression,
            Self::HashMismatch { .. } => ErrorKind::HashMismatch,
            Self::InvalidEntry { .. } | Self::InvalidTar { .. } => ErrorKind::InvalidSource,
            Self::InvalidIndex { .. } => ErrorKind::InvalidIndex,
            Self::InvalidManifest { .. } => ErrorKind::InvalidManifest,
            Self::InvalidPath { .. } | Self::InvalidPattern { .. } | Self::InvalidRange { .. } => {
                ErrorKind::InvalidPath
            }
            Self::Io { .. } => ErrorKind::Disk,
            Self::IsDirectory { .. } | Self::NotDirectory { .. } => ErrorKind::WrongType,
            Self::Limit { .. } => ErrorKind::TooLarge,
            Self::MissingData => ErrorKind::MissingData,
            Self::MissingIndex => ErrorKind::MissingIndex,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::PolicyViolation { .. } => ErrorKind::PolicyViolation,
            Self::Registry(error) => ErrorKind::of(error),
            Self::SizeMismatch { .. } => ErrorKind::SizeMismatch,
            Self::TooManyFiles { .. } => ErrorKind::TooManyFiles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_apart() {
        let path = || "a".to_owned();
        let registry = |code: Code| Error::Registry(code.into());
        let reference = "no reference".parse::<skep_registry::Reference>().unwrap_err();
        for (error, want) in [
            (Error::not_found("a"), ErrorKind::NotFound),
            (registry(Code::ManifestUnknown), ErrorKind::NotFound),
            (registry(Code::BlobUnknown), ErrorKind::NotFound),
            (registry(Code::NameUnknown), ErrorKind::NotFound),
            (reference.into(), ErrorKind::InvalidReference),
            (Error::InvalidManifest { why: path() }, ErrorKind::InvalidManifest),
            (registry(Code::ManifestInvalid), ErrorKind::InvalidManifest),
            (Error::InvalidTar { at: 0, why: path() }, ErrorKind::InvalidSource),
            (Error::MissingIndex, ErrorKind::MissingIndex),
            (Error::MissingData, ErrorKind::MissingData),
            (Error::HashMismatch { path: path(), want: path(), came: path() }, ErrorKind::HashMismatch),
            (registry(Code::DigestInvalid), ErrorKind::HashMismatch),
            (Error::Decompression { path: path(), why: path() }, ErrorKind::Decompression),
            (Error::SizeMismatch { path: path(), want: 1, came: 2 }, ErrorKind::SizeMismatch),
            (registry(Code::SizeInvalid), ErrorKind::SizeMismatch),
            (Error::TooManyFiles { limit: 1 }, ErrorKind::TooManyFiles),
            (Error::limit("a", 1, 2), ErrorKind::TooLarge),
            (Error::PolicyViolation { what: path(), source: "unsigned".into() }, ErrorKind::PolicyViolation),
            (registry(Code::Unsupported), ErrorKind::Unsupported),
            (registry(Code::Unauthorized), ErrorKind::Denied),
            (registry(Code::Denied), ErrorKind::Denied),
            (registry(Code::Unavailable), ErrorKind::Unavailable),
            (registry(Code::TooManyRequests), ErrorKind::TooManyRequests),
            (registry(Code::PreconditionFailed), ErrorKind::Conflict),
            (registry(Code::Other("TEAPOT".to_owned())), ErrorKind::Other),
        ] {
            assert_eq!(error.kind(), want, "{error}");
        }
    }

    #[test]
    fn errors_of_bodies_are_told_apart_by_their_cause() {
        let path = || "a".to_owned();
        for (error, want) in [
            (Error::Decompression { path: path(), why: path() }, ErrorKind::Decompression),
            (Error::HashMismatch { path: path(), want: path(), came: path() }, ErrorKind::HashMismatch),
            (Error::limit("a", 1, 2), ErrorKind::TooLarge),
            (Error::Registry(Code::Unavailable.into()), ErrorKind::Unavailable),
        ] {
            let body = skep_registry::Error::from(error);
            assert_eq!(ErrorKind::of(&body), want, "{body}");
        }
        let disk = skep_registry::Error::io("read a", std::io::ErrorKind::PermissionDenied.into());
        assert_eq!(ErrorKind::of(&disk), ErrorKind::Disk);
    }
}
