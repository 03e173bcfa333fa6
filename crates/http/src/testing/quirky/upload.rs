//! Uploads: chunks that are refused, lost or miscounted, and sessions under other addresses.

use std::collections::HashMap;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;

use crate::endpoint::Endpoint;
use crate::server::ResponseBody;
use crate::testing::Chunks;
use crate::testing::FreshRange;
use crate::testing::Location;
use crate::testing::Profile;
use crate::testing::quirky::asked::Asked;
use crate::testing::quirky::said::refuse;
use crate::testing::quirky::said::set;
use crate::wire;

/// How far the uploads have come that are under way, by the paths that the server gave them.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<String, Session>);

#[derive(Clone, Debug, Default)]
struct Session {
    offset: u64,
    /// Bytes of the first chunk.
    first: u64,
    last: Range<u64>,
    chunks: u32,
    /// Another chunk than the last was too short.
    is_short: bool,
}

/// What an upload became.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Only these of its bytes.
    Part(Range<u64>),
    /// All its bytes.
    Whole,
}

/// Leads from the address of an upload to its path.
pub(super) fn enter(asked: &mut Asked) {
    if let Some(rest) = asked.path.strip_prefix(OUTSIDE)
        && let Some((repo, session)) = rest.rsplit_once("/uploads/")
    {
        asked.path = format!("/v2/{repo}/blobs/uploads/{session}");
    }
}

impl Sessions {
    pub(super) fn refusal(&self, profile: &Profile, asked: &Asked) -> Option<Response<ResponseBody>> {
        let session = self.0.get(&asked.path);
        if profile.location == Location::AbsoluteWithState {
            // As distribution 2.8.2 was seen to do it.
            let invalid = || refuse(404, "BLOB_UPLOAD_INVALID", "blob upload invalid");
            let state = asked.get(STATE).and_then(|state| URL_SAFE_NO_PAD.decode(state).ok());
            let Some(state) = state.and_then(|state| String::from_utf8(state).ok()) else { return Some(invalid()) };
            let Some((path, offset)) = state.split_once(' ') else { return Some(invalid()) };
            if path != asked.path {
                return Some(invalid());
            }
            if asked.method == Method::PATCH && session.is_some_and(|session| session.offset.to_string() != offset) {
                return Some(refuse(500, "UNKNOWN", "unknown error"));
            }
        }
        match asked.method {
            Method::PATCH if profile.chunks == Chunks::Refused => {
                Some(refuse(405, "UNSUPPORTED", "chunked uploads are not supported"))
            }
            Method::PATCH => {
                let max = profile.max_chunk.filter(|_| asked.text(&header::CONTENT_RANGE).is_some())?;
                let megabytes = max as f64 / f64::from(1 << 20);
                let message = format!(
                    "the request body is too large and exceeds the maximum permissible limit of {megabytes:.2}MiB"
                );
                let is_large = asked.length().is_some_and(|length| length > max);
                is_large.then(|| refuse(416, "REQUESTED_RANGE_NOT_SATISFIABLE", &message))
            }
            Method::PUT => {
                let (min, session) = (profile.min_chunk?, session?);
                let ends_short =
                    session.last.end - session.last.start < min && asked.length().is_some_and(|len| len > 0);
                let is_short = session.is_short || (session.chunks > 0 && ends_short);
                let message = format!("layer parts must be at least {min} bytes in size");
                is_short.then(|| refuse(400, "BLOB_UPLOAD_INVALID", &message))
            }
            Method::GET if profile.no_upload_status => {
                Some(refuse(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"))
            }
            _ => None,
        }
    }

    /// Notes what an answer says of an upload, and says it in the manner of this registry.
    ///
    /// What the upload became is known when it is over.
    pub(super) fn answer(
        &mut self,
        profile: &Profile,
        asked: &Asked,
        answer: &mut Response<ResponseBody>,
    ) -> Option<Stored> {
        let path = wire::text(answer.headers(), &header::LOCATION).map(str::to_owned);
        if asked.method == Method::PUT && answer.status() == StatusCode::CREATED {
            let session = self.0.remove(&asked.path).unwrap_or_default();
            let rest = session.offset..session.offset + asked.length().unwrap_or(0);
            let last = if rest.is_empty() { session.last } else { rest.clone() };
            let chunks = session.chunks + u32::from(!rest.is_empty());
            let is_part = profile.chunks == Chunks::LastKept && chunks > 1;
            return Some(if is_part { Stored::Part(last) } else { Stored::Whole });
        }
        if asked.method == Method::DELETE {
            self.0.remove(&asked.path);
        }
        let path = path.filter(|_| answer.status().is_success())?;
        let offset = wire::text(answer.headers(), &wire::UPLOAD_OFFSET).and_then(wire::number)?;
        let mut session = self.0.remove(&asked.path).unwrap_or_default();
        let mut shown = offset;
        if asked.method == Method::PATCH && offset > session.offset {
            let min = profile.min_chunk.unwrap_or(0);
            session.is_short |= session.chunks > 0 && session.last.end - session.last.start < min;
            session.last = session.offset..offset;
            session.chunks += 1;
            if session.chunks == 1 {
                session.first = offset;
            }
            if profile.chunks == Chunks::StaleRange {
                shown = session.first;
            }
            if let Some(status) = profile.chunk_status {
                *answer.status_mut() = StatusCode::from_u16(status).expect("statuses of profiles have three digits");
            }
        }
        session.offset = offset;
        self.0.insert(path, session);
        match profile.fresh_range {
            FreshRange::Missing => drop(answer.headers_mut().remove(header::RANGE)),
            FreshRange::MinusOne if shown == 0 => set(answer, header::RANGE, "0--1"),
            _ => set(answer, header::RANGE, &wire::upload_range(shown)),
        }
        None
    }

    /// The location of something in the manner of this registry.
    pub(super) fn located(&self, profile: &Profile, host: &str, path: &str) -> String {
        let session = match Endpoint::parse(path) {
            Ok(Some(Endpoint::Upload(repo, _))) => Some((repo, path.rsplit('/').next().unwrap_or_default())),
            _ => None,
        };
        match (profile.location, session) {
            (Location::AbsoluteWithState, Some(_)) => {
                let offset = self.0.get(path).map_or(0, |session| session.offset);
                let state = URL_SAFE_NO_PAD.encode(format!("{path} {offset}"));
                format!("http://{host}{path}?{STATE}={state}")
            }
            (Location::AbsoluteWithState, None) => format!("http://{host}{path}"),
            (Location::Outside, Some((repo, session))) => format!("{OUTSIDE}{repo}/uploads/{session}"),
            (Location::Outside | Location::Path, _) => path.to_owned(),
        }
    }
}

/// Where uploads are that are not below `/v2/`.
const OUTSIDE: &str = "/artifacts-uploads/namespaces/";
/// The parameter with the state of an upload.
const STATE: &str = "_state";
