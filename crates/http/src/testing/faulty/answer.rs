//! Answers with faults: in place of right ones, and made of right ones.

use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::Version;
use http::header;
use http::request::Parts;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;

use crate::testing::faulty::Fault;
use crate::testing::faulty::Rule;
use crate::testing::faulty::State;
use crate::testing::faulty::wire::Fate;
use crate::wire;

/// Tells whether a fault happens without a look at the request.
pub(super) fn is_in_place(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::BadGateway
            | Fault::CloseBeforeHead
            | Fault::Forbidden
            | Fault::GoAway
            | Fault::InternalError
            | Fault::NotFound
            | Fault::RangeRefused
            | Fault::RedirectElsewhere
            | Fault::RedirectLoop
            | Fault::RedirectToPlain
            | Fault::Refuse
            | Fault::ResetBeforeHead
            | Fault::ResetInHead
            | Fault::ResetStream
            | Fault::StallBeforeHead
            | Fault::Throttled
            | Fault::ThrottledUntil
            | Fault::TlsGarbage
            | Fault::Unauthorized
            | Fault::UnavailableFor
            | Fault::UnknownHost
            | Fault::UploadRefused
            | Fault::UploadUnknown
    )
}

/// The answer that a fault is.
pub(super) fn of(fault: Fault, state: &State, request: &Parts) -> Response<Body> {
    let scheme = state.origin.split("://").next().unwrap_or_default();
    let json = |code: Code| format!(r#"{{"errors":[{{"code":"{}","message":"as was wanted"}}]}}"#, code.as_str());
    let soon = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1));
    let none = String::new;
    let (status, header, body) = match fault {
        Fault::BadGateway => (502, None, "<html><h1>502 Bad Gateway</h1></html>".to_owned()),
        Fault::Forbidden => (403, None, json(Code::Denied)),
        Fault::InternalError => (500, None, json(Code::Unknown)),
        Fault::NotFound => (404, None, none()),
        Fault::RangeRefused | Fault::UploadRefused => (416, None, none()),
        Fault::RedirectElsewhere => {
            let origin = state.elsewhere.as_deref().unwrap_or(&state.origin);
            (307, Some((header::LOCATION, state.at(origin, request))), none())
        }
        Fault::RedirectLoop => (307, Some((header::LOCATION, state.at(&state.origin, request))), none()),
        Fault::RedirectToPlain => {
            let plain = state.origin.replacen("https", "http", 1);
            (307, Some((header::LOCATION, state.at(&plain, request))), none())
        }
        Fault::Throttled => (429, None, json(Code::TooManyRequests)),
        Fault::ThrottledUntil => (429, Some((header::RETRY_AFTER, soon())), json(Code::TooManyRequests)),
        Fault::Unauthorized => {
            (401, Some((header::WWW_AUTHENTICATE, r#"Basic realm="registry""#.to_owned())), json(Code::Unauthorized))
        }
        Fault::UnavailableFor => (503, Some((header::RETRY_AFTER, "1".to_owned())), none()),
        Fault::UnknownHost => {
            (307, Some((header::LOCATION, state.at(&format!("{scheme}://{UNKNOWN_HOST}"), request))), none())
        }
        Fault::UploadUnknown => (404, None, json(Code::BlobUploadUnknown)),
        _ => (200, None, none()),
    };
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).expect("it is a status");
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, HeaderValue::try_from(value).expect("URLs and dates are visible"));
    }
    response
}

/// What a fault makes of an answer, if it can make something of it.
pub(super) fn altered(
    state: &State,
    rule: &Rule,
    fate: &Fate,
    request: &Parts,
    response: Response<Body>,
) -> Response<Body> {
    let fault = rule.0.fault;
    let is_head = request.method == Method::HEAD;
    let has_body = !is_head && !response.body().is_empty();
    let headers = response.headers();
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let can_happen = match fault {
        Fault::HostileLocation => reads || headers.contains_key(header::LOCATION),
        Fault::HugeHead => true,
        Fault::LengthMissing => headers.contains_key(header::CONTENT_LENGTH) && !response.body().is_empty(),
        Fault::Multipart | Fault::WrongContentRange => response.status() == StatusCode::PARTIAL_CONTENT,
        // What HEAD says can be held to nothing.
        Fault::WrongDigest => !is_head && headers.contains_key(wire::CONTENT_DIGEST),
        Fault::WrongType => !is_head && headers.contains_key(header::CONTENT_TYPE),
        _ => has_body,
    };
    if !can_happen || !rule.take() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let len = body.len().unwrap_or_default();
    // So that who goes on from there each time comes near the end soon, and never to it.
    let rest = len.div_ceil(8);
    let headers = &mut head.headers;
    let body = match fault {
        Fault::BitFlip => flipped(body),
        Fault::CloseInBody | Fault::ResetInBody | Fault::StallInBody => broken(body, len - rest, fault, fate),
        Fault::CutChunk => {
            headers.remove(header::CONTENT_LENGTH);
            broken(body, len - rest, fault, fate)
        }
        Fault::Drip => dripping(body, len / 16 + 1),
        Fault::Encoded => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            body
        }
        Fault::EndlessBody => {
            headers.remove(header::CONTENT_LENGTH);
            let more = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 64 << 10])));
            Body::new(None, body.chain(more))
        }
        Fault::HostileLocation => {
            if !headers.contains_key(header::LOCATION) {
                head.status = StatusCode::TEMPORARY_REDIRECT;
            }
            headers.insert(header::LOCATION, HeaderValue::from_static(HOSTILE));
            body
        }
        Fault::HugeHead => {
            headers.insert("x-filler", HeaderValue::from_static(FILLER));
            body
        }
        Fault::LengthMissing => {
            headers.remove(header::CONTENT_LENGTH);
            Body::new(None, body)
        }
        Fault::LengthTooLong => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len + 7));
            broken(body, len, fault, fate)
        }
        Fault::LengthTooShort => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len / 2));
            Body::new(None, body)
        }
        Fault::LengthTwice if request.version == Version::HTTP_2 => {
            headers.append(header::CONTENT_LENGTH, HeaderValue::from(len + 7));
            body
        }
        Fault::LengthTwice => {
            fate.close(TWO_LENGTHS);
            Body::empty()
        }
        Fault::Multipart => {
            let range = headers.remove(header::CONTENT_RANGE);
            let range = range.as_ref().and_then(|range| range.to_str().ok()).unwrap_or_default();
            let first = format!("--x\r\nContent-Type: application/octet-stream\r\nContent-Range: {range}\r\n\r\n");
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("multipart/byteranges; boundary=x"));
            let first = stream::iter([Ok(Bytes::from(first))]);
            Body::new(None, first.chain(body).chain(stream::iter([Ok(Bytes::from_static(b"\r\n--x--\r\n"))])))
        }
        Fault::WrongContentRange => {
            let beside = wire::content_range(&(1 << 40..(1 << 40) + len), 1 << 41);
            headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(beside).expect("digits are visible"));
            body
        }
        Fault::WrongDigest => {
            let other = Digest::sha256(state.origin.as_bytes());
            headers.insert(wire::CONTENT_DIGEST, HeaderValue::try_from(other.as_str()).expect("hex is visible"));
            body
        }
        Fault::WrongType => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            body
        }
        _ => body,
    };
    Response::from_parts(head, body)
}

/// A body that ends, or stands still, after so many bytes.
pub(super) fn broken(body: Body, after: u64, fault: Fault, fate: &Fate) -> Body {
    let (len, fate) = (body.len(), fate.clone());
    let end = async move {
        // Until what came before is on its way.
        tokio::time::sleep(MOMENT).await;
        match fault {
            Fault::CloseInBody => fate.close(""),
            Fault::ResetInBody => fate.reset(""),
            Fault::StallInBody => std::future::pending().await,
            _ => {}
        }
        Err(Error::new(Code::Unavailable, "as was wanted"))
    };
    let len = len.filter(|_| !matches!(fault, Fault::CutChunk | Fault::LengthTooLong));
    Body::new(len, body.slice(0..after).chain(stream::once(end)))
}

fn flipped(body: Body) -> Body {
    let (len, mut is_first) = (body.len(), true);
    let parts = body.map_ok(move |part| {
        let mut part = BytesMut::from(&part[..]);
        if let Some(byte) = part.first_mut().filter(|_| std::mem::take(&mut is_first)) {
            *byte ^= 1;
        }
        part.freeze()
    });
    Body::new(len, parts)
}

/// A body that comes in small parts with pauses between them.
fn dripping(body: Body, size: u64) -> Body {
    let len = body.len();
    let parts = stream::try_unfold((body, Bytes::new()), move |(mut body, mut part)| async move {
        if part.is_empty() {
            match body.next().await.transpose()? {
                Some(next) => part = next,
                None => return Ok(None),
            }
        }
        tokio::time::sleep(MOMENT).await;
        let drop = part.split_to(part.len().min(size as usize));
        Ok(Some((drop, (body, part))))
    });
    Body::new(len, parts)
}

const MOMENT: Duration = Duration::from_millis(5);
/// Where machines in clouds find their secrets.
const HOSTILE: &str = "http://169.254.169.254/latest/meta-data/";
/// Too long to be asked for, so that it fails at once, whoever answers for names (RFC 1035, 2.3.4).
const UNKNOWN_HOST: &str = "no-such-host-no-such-host-no-such-host-no-such-host-no-such-host-no.invalid";
/// More than any client should take.
const FILLER: &str = match std::str::from_utf8(&[b'x'; (1 << 20) + (1 << 18)]) {
    Ok(filler) => filler,
    Err(_) => "",
};
const TWO_LENGTHS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nhello";
