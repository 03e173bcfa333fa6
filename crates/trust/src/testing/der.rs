//! DER, as little of it as timestamps and certificate extensions need.

/// One value: tag, length, content.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => bytes.push(length),
        _ => {
            let length: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | length.len() as u8);
            bytes.extend(length);
        }
    }
    bytes.extend(content);
    bytes
}

/// Several values in a row, in one.
pub(super) fn all(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    value(tag, &parts.concat())
}

/// The values in a content, each with its tag and as its bytes stand there; stops at what is malformed.
pub(super) fn parts(mut rest: &[u8]) -> Vec<(u8, &[u8])> {
    let mut parts = Vec::new();
    while let Some((tag, _, size)) = head(rest) {
        parts.push((tag, &rest[..size]));
        rest = &rest[size..];
    }
    parts
}

/// The content of a value.
pub(super) fn content(bytes: &[u8]) -> Option<&[u8]> {
    let (_, start, size) = head(bytes)?;
    Some(&bytes[start..size])
}

/// The tag of the first value, where its content begins and where it ends.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (tag, first) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    let (start, length) = match first.checked_sub(0x80) {
        None => (2, first),
        Some(count) if count <= 4 => {
            let digits = bytes.get(2..2 + count)?;
            (2 + count, digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
        }
        Some(_) => return None,
    };
    let size = start.checked_add(length)?;
    (size <= bytes.len()).then_some((tag, start, size))
}

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8: u8 = 0x0c;
pub(super) const TIME: u8 = 0x18;
pub(super) const CONTEXT: u8 = 0xa0;
