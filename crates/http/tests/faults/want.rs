//! What is right to come of a fault: the one table.

use skep_http::testing::Fault;
use skep_registry::Code;

use crate::op::Op;

/// How an operation may end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// It may succeed, with the right result.
    pub(crate) right: bool,
    /// It may succeed with another result, because nothing says what the right one is.
    pub(crate) any: bool,
    /// It may fail with one of these.
    pub(crate) codes: &'static [Code],
}

impl Want {
    pub(crate) const RIGHT: Self = Self { right: true, any: false, codes: &[] };

    const ANY: Self = Self { right: true, any: true, codes: &[] };

    const fn error(codes: &'static [Code]) -> Self {
        Self { right: false, any: false, codes }
    }

    const fn right_if(is_right: bool, codes: &'static [Code]) -> Self {
        if is_right { Self::RIGHT } else { Self::error(codes) }
    }
}

/// How an operation may end in which a fault happened, at its main exchange once or at each one always.
pub(crate) fn want(fault: Fault, op: Op, always: bool, http2: bool) -> Want {
    use Code::BlobUnknown;
    use Code::BlobUploadUnknown;
    use Code::Denied;
    use Code::DigestInvalid;
    use Code::ManifestInvalid;
    use Code::ManifestUnknown;
    use Code::NameUnknown;
    use Code::RangeInvalid;
    use Code::SizeInvalid;
    use Code::TooManyRequests;
    use Code::Unauthorized;
    use Code::Unavailable;
    use Code::Unknown;
    use Code::Unsupported;

    // Transfers take up what broke; what else sends a stream cannot, and says that it broke.
    let is_taken_up = !always && !op.sends_stream();
    let takes_up = matches!(op, Op::CopyTo | Op::Upload);
    // A blob whose chunks a registry seems not to know is sent in one piece.
    let goes_whole = !always && op == Op::Upload;
    match fault {
        // What passes is an error only when it does not pass.
        Fault::CloseBeforeHead
        | Fault::GoAway
        | Fault::Refuse
        | Fault::ResetBeforeHead
        | Fault::ResetInHead
        | Fault::ResetStream
        | Fault::StallBeforeHead
        | Fault::BadGateway => Want::right_if(is_taken_up, &[Unavailable]),
        Fault::InternalError => Want::right_if(is_taken_up, &[Unknown]),
        Fault::UnavailableFor => Want::right_if(is_taken_up, &[Unavailable, TooManyRequests]),
        Fault::Throttled | Fault::ThrottledUntil => Want::right_if(is_taken_up, &[TooManyRequests]),
        // A lost answer to what was done is found to be done, but for a chunk: that is for who resumes.
        Fault::AnswerLost | Fault::HugeHead => Want::right_if(!always && op != Op::ChunksAppend, &[Unavailable]),
        Fault::CloseInBody | Fault::CutChunk | Fault::ResetInBody | Fault::StallInBody => {
            Want::right_if(is_taken_up || op == Op::DeleteManifest, &[Unavailable])
        }

        // What is only odd does no harm.
        Fault::Drip | Fault::LengthMissing | Fault::RangeIgnored | Fault::WrongType => Want::RIGHT,
        Fault::Multipart | Fault::RangeRefused | Fault::WrongContentRange => {
            Want::right_if(op == Op::Download, &[RangeInvalid])
        }
        Fault::UploadBehind | Fault::UploadRefused => Want::right_if(takes_up, &[RangeInvalid]),
        Fault::UploadUnknown => Want::right_if(takes_up && !always, &[BlobUploadUnknown]),
        Fault::RedirectElsewhere => Want::right_if(always || goes_whole || !sends_streams(op), &[Unsupported]),
        Fault::RedirectLoop => Want::right_if(goes_whole || (!always && !sends_streams(op)), &[Unsupported]),

        // Wrong content is never taken for right content.
        _ if op == Op::DeleteManifest && is_about_content(fault) => Want::RIGHT,
        Fault::BitFlip | Fault::LengthTooShort => match op {
            Op::GetRange if fault == Fault::BitFlip => Want::ANY,
            Op::Download if fault == Fault::LengthTooShort => Want::right_if(!always, &[SizeInvalid]),
            Op::GetRange => Want::error(&[RangeInvalid]),
            // A frame of HTTP/2 shows that the length is wrong.
            Op::GetBlob if http2 && always && fault == Fault::LengthTooShort => Want::error(&[Unavailable]),
            Op::GetBlob => Want::error(&[DigestInvalid]),
            _ if http2 && fault == Fault::LengthTooShort => Want::right_if(!always, &[Unavailable]),
            Op::ListReferrers => Want::error(&[ManifestInvalid]),
            Op::ListRepos | Op::ListTags => Want::error(&[Unsupported]),
            _ => Want::error(&[DigestInvalid]),
        },
        Fault::LengthTooLong => match op {
            // What is missing is asked for, and not there; a part says itself how long it is.
            Op::GetBlob | Op::GetRange => Want::error(&[RangeInvalid, Unavailable]),
            _ => Want::right_if(!always, &[SizeInvalid, Unavailable]),
        },
        Fault::LengthTwice => Want::right_if(!always, &[Unavailable]),
        Fault::EndlessBody => Want::right_if(op == Op::Download, &[SizeInvalid]),
        Fault::Encoded => match op {
            Op::GetBlob | Op::GetRange => Want::error(&[Unsupported]),
            Op::Download => Want::right_if(!always, &[Unsupported]),
            _ => Want::RIGHT,
        },
        Fault::WrongDigest => match op {
            Op::CopyTo => Want::right_if(!always, &[DigestInvalid]),
            Op::ChunksAppend | Op::ChunksBegin | Op::ChunksCommit | Op::Resume => Want::error(&[DigestInvalid]),
            Op::GetManifestByTag | Op::PutBlobBegin | Op::PutBlobSend | Op::PutManifest => {
                Want::error(&[DigestInvalid])
            }
            _ => Want::RIGHT,
        },

        // What the registry refuses is refused, and nothing else is tried.
        Fault::Forbidden => Want::error(&[Denied]),
        // Asked by a name that may have led there before, the client may show its credentials once more.
        Fault::Unauthorized => Want { right: !always, any: false, codes: &[Unauthorized] },
        // The specification has 404 for registries that know nothing of referrers.
        Fault::NotFound if op == Op::ListReferrers => Want::ANY,
        Fault::NotFound => {
            Want::right_if(takes_up && !always, &[BlobUnknown, BlobUploadUnknown, ManifestUnknown, NameUnknown])
        }

        // Nobody goes where a client should not go.
        Fault::HostileLocation | Fault::RedirectToPlain | Fault::UnknownHost if goes_whole => Want::RIGHT,
        Fault::HostileLocation => match op {
            Op::DeleteManifest | Op::Mount | Op::PutManifest => Want::RIGHT,
            Op::ChunksCommit | Op::CopyTo | Op::Download | Op::PutBlobSend => Want::right_if(!always, &[Unsupported]),
            _ => Want::error(&[Unsupported]),
        },
        Fault::RedirectToPlain => Want::right_if(!always && op == Op::Download, &[Unsupported]),
        Fault::UnknownHost if !always && sends_streams(op) => Want::error(&[Unsupported]),
        Fault::TlsGarbage | Fault::UnknownHost => Want::error(&[Unavailable]),
        _ => Want::error(&[]),
    }
}

/// Tells whether the exchange that goes wrong carries a stream, which cannot be redirected.
fn sends_streams(op: Op) -> bool {
    op.sends_stream() || op == Op::Upload
}

/// Tells whether a fault is in what an answer says, so that it harms only who wants to know it.
fn is_about_content(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::BitFlip
            | Fault::Encoded
            | Fault::EndlessBody
            | Fault::LengthTooLong
            | Fault::LengthTooShort
            | Fault::LengthTwice
    )
}
