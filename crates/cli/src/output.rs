//! What commands print: JSON, sizes, times, and foreign text that must not steer the terminal.

use std::borrow::Cow;
use std::io;
use std::io::Write;

use serde::Serialize;

use crate::exit::Outcome;

/// Prints an answer as one line of JSON on standard output.
pub(crate) fn json(answer: &impl Serialize) -> Outcome {
    let mut line = to_json(answer);
    line.push('\n');
    write(line.as_bytes())
}

/// One line of JSON, in which characters that could steer a terminal are escaped, too.
pub(crate) fn to_json(answer: &impl Serialize) -> String {
    let line = serde_json::to_string(answer).expect("strings, numbers and lists serialize");
    if !line.contains(steers) {
        return line;
    }
    // They can only be inside of strings, and none is beyond 16 bits.
    line.chars().fold(String::with_capacity(line.len() + 8), |mut escaped, c| {
        match steers(c) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
        escaped
    })
}

/// Prints text on standard output.
pub(crate) fn text(text: &str) -> Outcome {
    write(text.as_bytes())
}

/// Prints bytes on standard output, as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Outcome {
    write(bytes)
}

fn write(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever read us has seen enough: `skep ls … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Foreign text with control and direction characters escaped, so that it is only ever shown.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::with_capacity(text.len() + 8), |mut escaped, c| {
        if steers(c) {
            escaped.extend(c.escape_unicode())
        } else {
            escaped.push(c)
        }
        escaped
    });
    Cow::Owned(escaped)
}

/// Tells whether a character does something else than being shown, as controls and changes of direction do.
pub(crate) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number of bytes for people: `1.2 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its noun: `1 file`, `1,204 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let plural = match (number, noun.strip_suffix('y'), noun.split_once(" that is ")) {
        (1, ..) => noun.to_owned(),
        (_, Some(stem), _) => format!("{stem}ies"),
        (_, _, Some((noun, rest))) => format!("{noun}s that are {rest}"),
        _ => format!("{noun}s"),
    };
    format!("{grouped} {plural}")
}

/// A point in time, in nanoseconds since the epoch, as people read it, in UTC.
pub(crate) fn time(nanoseconds: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "-".to_owned(),
    }
}

/// A point in time, in nanoseconds since the epoch, as exactly as it is known, in UTC.
pub(crate) fn exact_time(nanoseconds: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => time.to_string(),
        Err(_) => "-".to_owned(),
    }
}

/// Permission bits as `ls` shows them.
pub(crate) fn mode(kind: char, mode: u32) -> String {
    let bits = (0..9).map(|bit| if mode & (0o400 >> bit) != 0 { ['r', 'w', 'x'][bit % 3] } else { '-' });
    std::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }

    #[test]
    fn counts_have_their_plural() {
        for (number, noun, want) in [
            (0, "file", "0 files"),
            (1, "file", "1 file"),
            (1_234_567, "file", "1,234,567 files"),
            (2, "directory", "2 directories"),
            (1, "directory", "1 directory"),
            (2, "name that is not UTF-8", "2 names that are not UTF-8"),
        ] {
            assert_eq!(count(number, noun), want);
        }
    }

    #[test]
    fn hostile_names_are_only_shown() {
        assert_eq!(escape("naïve 文件.txt"), "naïve 文件.txt");
        assert_eq!(escape("a\x1b[2Jb\n\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\u{a}\\u{202e}c\\u{9b}");
    }

    #[test]
    fn json_has_no_character_that_steers() {
        let line = to_json(&["a\x1b\n\u{202e}\u{9b}é"]);
        assert_eq!(line, "[\"a\\u001b\\n\\u202e\\u009bé\"]");
        assert_eq!(serde_json::from_str::<[String; 1]>(&line).unwrap(), ["a\x1b\n\u{202e}\u{9b}é"]);
    }

    #[test]
    fn modes_read_like_those_of_ls() {
        assert_eq!(mode('-', 0o644), "-rw-r--r--");
        assert_eq!(mode('d', 0o750), "drwxr-x---");
    }

    #[test]
    fn times_before_the_epoch_are_times() {
        assert_eq!(time(0), "1970-01-01 00:00");
        assert_eq!(time(-1), "1969-12-31 23:59");
    }
}
