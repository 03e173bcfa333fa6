//! Headers of tar archives: fields at fixed places, and records of extended headers.

use std::ops::Range;

/// Bytes of a header, and what contents are padded to.
pub(super) const BLOCK: usize = 512;

/// The block before a content.
pub(super) struct Header(pub(super) [u8; BLOCK]);

impl Header {
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        // GNU's own headers have something else there, and another magic.
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn target(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// A number: octal digits, or binary from the second bit on if the first one is set.
    pub(super) fn number(&self, field: Range<usize>) -> Option<i64> {
        let field = &self.0[field];
        if field[0] & 0x80 != 0 {
            let sign = if field[0] & 0x40 != 0 { -1_i128 } else { 0 };
            let first = sign << 6 | i128::from(field[0] & 0x3f);
            let number = field[1..]
                .iter()
                .try_fold(first, |number, &byte| number.checked_mul(256).map(|number| number | i128::from(byte)));
            return number?.try_into().ok();
        }
        let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
        if digits.is_empty() {
            return Some(0);
        }
        let all_octal = digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        i64::from_str_radix(digits, 8).ok().filter(|_| all_octal)
    }
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

pub(super) fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(text(&name).len());
    name
}

/// Key and value of the first record of an extended header, and what is behind it: `LENGTH KEY=VALUE\n`.
pub(super) fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Seconds with a fraction as nanoseconds; further digits are cut off.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let (digits, is_negative) = text.strip_prefix('-').map_or((text, false), |digits| (digits, true));
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if seconds.is_empty() || !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let count = seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)?;
    Some(if is_negative { -count } else { count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        for (text, want) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("-1.5", Some(-1_500_000_000)),
            ("1.1234567899", Some(1_123_456_789)),
            ("", None),
            ("-", None),
            (".5", None),
            ("1.x", None),
            ("99999999999", None),
        ] {
            assert_eq!(nanoseconds(text), want, "{text}");
        }
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        let number = |field: &[u8]| {
            let mut block = [0; BLOCK];
            block[..field.len()].copy_from_slice(field);
            Header(block).number(0..field.len())
        };
        for (field, want) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"+000644\0", None),
            (b"\x80\0\0\0\x02\0\0\0", Some(1 << 25)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), want, "{field:?}");
        }
    }

    #[test]
    fn records_are_taken_by_their_length() {
        assert_eq!(record(b"13 path=a\nb\n6 x=\n"), None);
        assert_eq!(record(b"12 path=a\nb\n6 x=y\n"), Some((&b"path"[..], &b"a\nb"[..], &b"6 x=y\n"[..])));
        for bytes in [&b""[..], b"6 x=y", b"99 x=y\n", b"2 x\n", b" x=y\n", b"6 xyz\n", b"-1 x=y\n"] {
            assert_eq!(record(bytes), None, "{bytes:?}");
        }
    }
}
