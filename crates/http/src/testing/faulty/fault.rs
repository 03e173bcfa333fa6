//! Faults: what networks, proxies and registries do, by name.

use http::Method;
use http::header;
use http::request::Parts;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident;)*) => {
        /// What goes wrong in one exchange.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault { $($(#[$doc])* $fault,)* }

        impl Fault {
            /// Every fault that there is.
            pub const ALL: &[Self] = &[$(Self::$fault,)*];
        }
    };
}

faults! {
    /// The connection is reset, and new ones are refused: for a moment, or as long as the rule says.
    Refuse;
    /// A redirection leads to a host whose name cannot be looked up. Without TLS only, for which it is no name at all.
    UnknownHost;
    /// The connection is reset, and the next one does not speak TLS. Of TLS only.
    TlsGarbage;
    /// The connection is reset in place of an answer; the request was not looked at.
    ResetBeforeHead;
    /// The connection is reset within the head of the answer.
    ResetInHead;
    /// The connection is reset within a body: that of the request if it has one, else of the answer.
    ResetInBody;
    /// The connection is closed in place of an answer; the request was not looked at.
    CloseBeforeHead;
    /// The connection is closed within the body of an answer that stated its length.
    CloseInBody;
    /// The connection is closed within the body of an answer in chunks.
    CutChunk;
    /// The answer does not come.
    StallBeforeHead;
    /// Nothing more is taken of the body of the request if it has one, else nothing more comes of that of the answer.
    StallInBody;
    /// The body of the answer comes in small parts, with pauses.
    Drip;
    /// 500.
    InternalError;
    /// 502, from a proxy with a page for people.
    BadGateway;
    /// 503, with `Retry-After` in seconds.
    UnavailableFor;
    /// 429, with `Retry-After` as a date.
    ThrottledUntil;
    /// 429, without a word of when to come again.
    Throttled;
    /// 401, though the credentials were right.
    Unauthorized;
    /// 403.
    Forbidden;
    /// 404, though it is there.
    NotFound;
    /// 307 to another origin, which has the same content.
    RedirectElsewhere;
    /// 307 to itself.
    RedirectLoop;
    /// 307 from TLS to without. Of TLS only.
    RedirectToPlain;
    /// `Location` is an address that no registry has a reason to name; where there is none, 307 leads there.
    HostileLocation;
    /// `Content-Length` is more than comes.
    LengthTooLong;
    /// `Content-Length` is less than there is.
    LengthTooShort;
    /// No `Content-Length`.
    LengthMissing;
    /// Two of `Content-Length`, which differ.
    LengthTwice;
    /// One bit of the body is another one.
    BitFlip;
    /// `Docker-Content-Digest` is that of something else.
    WrongDigest;
    /// `Content-Type` is that of something else.
    WrongType;
    /// The whole, with 200, in answer to a request for a range.
    RangeIgnored;
    /// `Content-Range` is beside the range that was asked for.
    WrongContentRange;
    /// 416 in answer to a request for a range.
    RangeRefused;
    /// `multipart/byteranges` in answer to a request for a range.
    Multipart;
    /// `Content-Encoding: gzip`, with bytes that are none.
    Encoded;
    /// The body does not end.
    EndlessBody;
    /// The head is of more than a mebibyte.
    HugeHead;
    /// 404 in answer to a request about an upload session.
    UploadUnknown;
    /// 416 in answer to a chunk.
    UploadRefused;
    /// Half of a chunk is taken, and the answer says so.
    UploadBehind;
    /// The request is done, and the connection is reset in place of the answer.
    AnswerLost;
    /// GOAWAY in place of an answer, and the end of the connection; the request was not looked at. Of HTTP/2 only.
    GoAway;
    /// RST_STREAM in place of an answer; the request was not looked at. Of HTTP/2 only.
    ResetStream;
}

impl Fault {
    /// Tells whether it can happen over a kind of connection.
    pub fn is_of(self, tls: bool, http2: bool) -> bool {
        match self {
            Self::RedirectToPlain | Self::TlsGarbage => tls,
            Self::UnknownHost => !tls,
            Self::GoAway | Self::ResetStream => http2,
            _ => true,
        }
    }

    /// Tells whether it ends the connection with all exchanges on it, or touches other connections.
    pub fn ends_connections(self) -> bool {
        matches!(
            self,
            Self::AnswerLost
                | Self::CloseBeforeHead
                | Self::CloseInBody
                | Self::GoAway
                | Self::HugeHead
                | Self::Refuse
                | Self::ResetBeforeHead
                | Self::ResetInBody
                | Self::ResetInHead
                | Self::TlsGarbage
        )
    }

    /// Tells whether it can happen to a request.
    pub(super) fn fits(self, request: &Parts) -> bool {
        let is_upload = request.uri.path().contains("/blobs/uploads/");
        match self {
            Self::Multipart | Self::RangeIgnored | Self::RangeRefused | Self::WrongContentRange => {
                request.headers.contains_key(header::RANGE)
            }
            Self::UploadBehind | Self::UploadRefused => request.method == Method::PATCH,
            Self::UploadUnknown => is_upload && request.method != Method::POST,
            _ => true,
        }
    }
}
