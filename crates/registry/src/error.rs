//! Errors: one type, and the one table of codes, statuses and texts.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $wire:literal $status:literal $text:literal;)*) => {
        /// What went wrong, in the words of the distribution specification.
        ///
        /// A code that is not in the table is kept as it came, so that errors survive proxies.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A code that another registry made up.
            Other(String),
        }

        impl Code {
            /// Every code of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as it stands in an error body.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $wire,)* Self::Other(code) => code }
            }

            /// The HTTP status that goes with the code.
            pub fn status(&self) -> u16 {
                match self { $(Self::$variant => $status,)* Self::Other(_) => 500 }
            }

            /// What the code means, for people.
            pub fn text(&self) -> &str {
                match self { $(Self::$variant => $text,)* Self::Other(code) => code }
            }
        }

        impl From<&str> for Code {
            fn from(code: &str) -> Self {
                match code { $($wire => Self::$variant,)* _ => Self::Other(code.to_owned()) }
            }
        }
    };
}

codes! {
    /// The blob is not in the repository.
    BlobUnknown "BLOB_UNKNOWN" 404 "blob unknown to registry";
    /// A chunk did not continue where the upload stands, or the request was malformed.
    BlobUploadInvalid "BLOB_UPLOAD_INVALID" 400 "blob upload invalid";
    /// The upload session is not known, or is over.
    BlobUploadUnknown "BLOB_UPLOAD_UNKNOWN" 404 "blob upload unknown to registry";
    /// The caller is known and may not do this.
    Denied "DENIED" 403 "requested access to the resource is denied";
    /// A digest is malformed, or bytes do not have it.
    DigestInvalid "DIGEST_INVALID" 400 "digest did not match content";
    /// A manifest names a blob or manifest that is not in the repository.
    ManifestBlobUnknown "MANIFEST_BLOB_UNKNOWN" 404 "manifest references a manifest or blob unknown to registry";
    /// A manifest is malformed.
    ManifestInvalid "MANIFEST_INVALID" 400 "manifest invalid";
    /// The manifest or tag is not in the repository.
    ManifestUnknown "MANIFEST_UNKNOWN" 404 "manifest unknown to registry";
    /// A repository name, tag or reference is malformed.
    NameInvalid "NAME_INVALID" 400 "invalid repository name";
    /// The repository does not exist.
    NameUnknown "NAME_UNKNOWN" 404 "repository name not known to registry";
    /// What was to be absent is there: the tag exists and was to be created (RFC 9110, 13.1.2).
    PreconditionFailed "PRECONDITION_FAILED" 412 "precondition failed";
    /// A range lies outside of the content, or a chunk is out of order.
    RangeInvalid "RANGE_INVALID" 416 "range not satisfiable";
    /// Content is longer or shorter than was stated, or than a limit allows.
    SizeInvalid "SIZE_INVALID" 400 "length did not match content";
    /// The registry asks for patience, or a quota is used up.
    TooManyRequests "TOOMANYREQUESTS" 429 "too many requests";
    /// The caller has to say who it is.
    Unauthorized "UNAUTHORIZED" 401 "authentication required";
    /// The registry cannot be reached, or broke off.
    Unavailable "UNAVAILABLE" 503 "registry unavailable";
    /// Something failed that no other code describes, a disk for instance.
    Unknown "UNKNOWN" 500 "unknown error";
    /// The registry cannot do this.
    Unsupported "UNSUPPORTED" 405 "the operation is unsupported";
}

/// An error of a registry: a code, words, and what caused it.
///
/// Two errors are the same error when their codes are equal; the words are for people.
#[derive(Debug)]
pub struct Error(Box<Repr>);

#[derive(Debug)]
struct Repr {
    code: Code,
    message: Cow<'static, str>,
    detail: Option<Value>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    is_exhausted: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error of a code and words that name the thing and the value.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Repr {
            code,
            message: message.into(),
            detail: None,
            status: None,
            retry_after: None,
            is_exhausted: false,
            source: None,
        }))
    }

    /// Makes an error of a failed file operation; `what` names the operation and the path.
    pub fn io(what: impl fmt::Display, error: std::io::Error) -> Self {
        Self::new(Code::Unknown, what.to_string()).with_source(error)
    }

    /// Adds the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the `detail` of an error body.
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Adds the HTTP status that came with the error; it counts for codes outside of the table.
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Adds how long the registry asked to wait.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Notes that whoever reports the error has tried as often as may be.
    ///
    /// There is one budget for retries, and it is spent where the failure is seen first. Whoever stands above and
    /// retries what this crate calls transient must not begin a budget of its own over it.
    pub fn exhausted(mut self) -> Self {
        self.0.is_exhausted = true;
        self
    }

    /// Puts words before the message: where it happened.
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        let message = std::mem::take(&mut self.0.message);
        self.0.message = if message.is_empty() { place.to_string() } else { format!("{place}: {message}") }.into();
        self
    }

    /// The same error once more, for another who waits for the same thing; causes become words.
    pub(crate) fn again(&self) -> Self {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        let repr = Repr {
            code: self.0.code.clone(),
            message: self.0.message.clone(),
            detail: self.0.detail.clone(),
            status: self.0.status,
            retry_after: self.0.retry_after,
            is_exhausted: self.0.is_exhausted,
            source: (!causes.is_empty()).then(|| causes.join(": ").into()),
        };
        Self(Box::new(repr))
    }

    /// The code, by which errors are told apart.
    pub fn code(&self) -> &Code {
        &self.0.code
    }

    /// The words without the text of the code; may be empty.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The `detail` of an error body.
    pub fn detail(&self) -> Option<&Value> {
        self.0.detail.as_ref()
    }

    /// The HTTP status: that of the code, or for unknown codes the one that came along.
    pub fn status(&self) -> u16 {
        match (&self.0.code, self.0.status) {
            (Code::Other(_) | Code::Unknown, Some(status)) => status,
            (code, _) => code.status(),
        }
    }

    /// How long the registry asked to wait before the next attempt (RFC 9110, 10.2.3), if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Tells whether it was tried as often as may be, so that trying again is for people.
    pub fn is_exhausted(&self) -> bool {
        self.0.is_exhausted
    }

    /// Tells whether the same call may well succeed a moment later, and nobody has tried that yet.
    pub fn is_transient(&self) -> bool {
        let passes = match (&self.0.code, self.0.status) {
            (Code::TooManyRequests | Code::Unavailable, _) => true,
            // A server that stumbled says so by its status alone; a disk that failed has none.
            (Code::Other(_) | Code::Unknown, Some(500)) => true,
            _ => false,
        };
        passes && !self.0.is_exhausted
    }

    /// Tells whether the thing asked for is not there, whatever kind of thing it is.
    pub fn is_not_found(&self) -> bool {
        self.status() == 404
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.code, &*self.0.message) {
            (code, "") => f.write_str(code.text()),
            // That it is unknown says less than the message does.
            (Code::Unknown, message) => f.write_str(message),
            (code, message) => write!(f, "{}: {message}", code.text()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|error| error as _)
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::new(code, "")
    }
}

/// The JSON body of an error answer.
///
/// spec, "Error Codes": `{"errors": [{"code", "message", "detail"}]}`.
#[derive(Debug, Deserialize, Serialize)]
pub struct ErrorBody {
    /// At least one, the first one counts.
    pub errors: Vec<ErrorItem>,
}

/// One error of an [`ErrorBody`].
#[derive(Debug, Deserialize, Serialize)]
pub struct ErrorItem {
    /// The code, as it came.
    #[serde(default)]
    pub code: String,
    /// Words for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Anything a program may want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

impl From<&Error> for ErrorBody {
    fn from(error: &Error) -> Self {
        let item = ErrorItem {
            code: error.code().as_str().to_owned(),
            message: error.to_string(),
            detail: error.detail().cloned(),
        };
        Self { errors: vec![item] }
    }
}

impl ErrorItem {
    /// The error that this item states, having come with an HTTP status.
    ///
    /// The text of the code is cut from the message, so that errors do not stutter through proxies.
    pub fn into_error(self, status: u16) -> Error {
        let code = Code::from(self.code.as_str());
        let message = self
            .message
            .strip_prefix(code.text())
            .map_or(self.message.as_str(), |rest| rest.trim_start_matches([':', ' ']));
        let error = Error::new(code, message.to_owned()).with_status(status);
        match self.detail {
            Some(detail) => error.with_detail(detail),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_by_their_wire_name() {
        for code in Code::ALL {
            assert_eq!(&Code::from(code.as_str()), code);
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
        assert_eq!(Code::from("TAG_LOCKED"), Code::Other("TAG_LOCKED".to_owned()));
    }

    #[test]
    fn errors_survive_a_proxy_without_stutter() {
        let mut error = Error::new(Code::BlobUnknown, "sha256:ab in a/b").with_detail(Value::Bool(true));
        for _ in 0..3 {
            let mut body = ErrorBody::from(&error);
            error = body.errors.remove(0).into_error(404);
        }
        assert_eq!(error.to_string(), "blob unknown to registry: sha256:ab in a/b");
        assert_eq!(error.detail(), Some(&Value::Bool(true)));
    }

    #[test]
    fn what_is_unknown_is_not_said_where_more_is_known() {
        for (code, message, want) in [
            (Code::Unknown, "open /x", "open /x"),
            (Code::Unknown, "", "unknown error"),
            (Code::NameUnknown, "a/b", "repository name not known to registry: a/b"),
        ] {
            assert_eq!(Error::new(code, message).to_string(), want);
        }
    }

    #[test]
    fn unknown_codes_keep_their_status() {
        let item = ErrorItem { code: "TEAPOT".to_owned(), message: String::new(), detail: None };
        let error = item.into_error(418);
        assert_eq!((error.code().as_str(), error.status()), ("TEAPOT", 418));
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let status = |code: Code, status| Error::new(code, "").with_status(status);
        for (error, want) in [
            (Error::from(Code::Unavailable), true),
            (Error::from(Code::TooManyRequests), true),
            (Error::from(Code::Unavailable).exhausted(), false),
            (status(Code::Unknown, 500), true),
            (status(Code::Other("OOPS".to_owned()), 500), true),
            (status(Code::Other("TEAPOT".to_owned()), 418), false),
            (Error::io("read x", std::io::ErrorKind::NotFound.into()), false),
            (Error::from(Code::BlobUnknown), false),
        ] {
            assert_eq!(error.is_transient(), want, "{error:?}");
            assert_eq!(error.again().is_transient(), want, "{error:?}");
        }
    }

    #[test]
    fn a_known_code_decides_its_status() {
        let item = ErrorItem { code: "NAME_UNKNOWN".to_owned(), message: String::new(), detail: None };
        assert_eq!(item.into_error(401).status(), 404);
    }
}
