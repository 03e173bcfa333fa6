//! Bodies on the wire, where the announced length ends them.

use futures_util::StreamExt;
use futures_util::stream;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Error;

/// Holds the part that would complete a body back until the body has ended well.
///
/// HTTP ends a body with the last byte that was announced. The verdict over verified content comes behind
/// that byte, where nobody would ask for it any more; so the other side sees wrong content break off.
pub(crate) fn held(body: Body) -> Body {
    let Some(len) = body.len() else { return body };
    let stream = stream::try_unfold((body, len), |(mut body, rest)| async move {
        let Some(part) = body.next().await.transpose()? else { return Ok(None) };
        let rest = rest.saturating_sub(part.len() as u64);
        while rest == 0
            && let Some(more) = body.next().await.transpose()?
        {
            if !more.is_empty() {
                return Err(Error::new(Code::SizeInvalid, "more bytes came than were announced"));
            }
        }
        Ok(Some((part, (body, rest))))
    });
    Body::new(Some(len), stream)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skep_registry::Digest;

    use super::*;

    #[tokio::test]
    async fn the_last_part_comes_only_after_the_verdict() {
        for (parts, want) in [
            (&["hel", "lo"][..], "hello, ok"),
            (&["hel", "l0"], "hel, DIGEST_INVALID"),
            (&["hel", "lo!"], "hel, SIZE_INVALID"),
            (&["hel", "lo", "!"], "hel, SIZE_INVALID"),
            (&["hel"], "hel, SIZE_INVALID"),
            (&["hello", ""], "hello, ok"),
        ] {
            let stream = stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))));
            let mut body = held(Body::new(None, stream).verify(&Digest::sha256(b"hello"), Some(5)));
            let mut seen = String::new();
            let verdict = loop {
                match body.next().await {
                    Some(Ok(part)) => seen.push_str(std::str::from_utf8(&part).unwrap()),
                    Some(Err(error)) => break error.code().as_str().to_owned(),
                    None => break "ok".to_owned(),
                }
            };
            assert_eq!(format!("{seen}, {verdict}"), want);
        }
    }
}
