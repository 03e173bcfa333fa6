//! Values: what stands behind an option, parsed.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use globset::GlobBuilder;
use globset::GlobMatcher;
use jiff::Span;
use jiff::Timestamp;
use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use skep::Compression;
use skep_registry::Platform;

use crate::args::pull::Preserve;

/// A switch is on when its variable is set to anything but nothing, `0`, `false`, `no` or `off`.
pub(super) fn switch() -> FalseyValueParser {
    FalseyValueParser::new()
}

pub(super) fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("wanted KEY=VALUE".to_owned()),
    }
}

pub(super) fn platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os, architecture, variant, ..Default::default() })
        }
        _ => Err("wanted OS/ARCH or OS/ARCH/VARIANT: linux/arm64".to_owned()),
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "wanted a time with its units: 90s, 1h 30m, 0s".to_owned())
}

/// What to restore: `none`, or some of `mode`, `times` and `owner`.
pub(super) fn preserve(text: &str) -> Result<Preserve, String> {
    let mut preserve = Preserve::default();
    if text == "none" {
        return Ok(preserve);
    }
    for word in text.split(',') {
        match word {
            "mode" => preserve.mode = true,
            "owner" => preserve.owner = true,
            "times" => preserve.times = true,
            _ => return Err("wanted none, or some of mode, times and owner, with commas between".to_owned()),
        }
    }
    Ok(preserve)
}

pub(super) fn compression(text: &str) -> Result<Compression, String> {
    let wanted = || "wanted none, zstd or zstd:LEVEL with a level from 1 to 22".to_owned();
    match text.split_once(':') {
        None if text == "none" => Ok(Compression::None),
        None if text == "zstd" => Ok(Compression::default()),
        Some(("zstd", level)) => match level.parse() {
            Ok(level @ 1..=22) => Ok(Compression::Zstd { level }),
            _ => Err(wanted()),
        },
        _ => Err(wanted()),
    }
}

/// A part of a file, in bytes, as people ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All from a byte on.
    From(u64),
    /// So many at the end.
    Last(u64),
    /// Those from one to before another.
    Span(u64, u64),
}

impl Part {
    /// The bytes that are meant in a file of a size; more than it has are none, but it has to reach to where they begin.
    pub(crate) fn of(self, size: u64) -> Range<u64> {
        match self {
            Self::From(start) => start..size.max(start),
            Self::Last(count) => size.saturating_sub(count)..size,
            Self::Span(start, end) => start..end.min(size).max(start),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        let part = match text.split_once(['-', ':']) {
            Some(("", last)) if text.starts_with('-') => number(last).map(Self::Last),
            Some((start, "")) if text.ends_with('-') => number(start).map(Self::From),
            Some((start, end)) => number(start).zip(number(end)).and_then(|(start, end): (u64, u64)| {
                let end = if text.contains(':') { start.checked_add(end)? } else { end.checked_add(1)? };
                (start < end || text.contains(':')).then_some(Self::Span(start, end))
            }),
            None => None,
        };
        part.ok_or_else(|| "wanted START-END, START-, -LAST or START:LENGTH, in bytes".to_owned())
    }
}

/// A pattern of a name or path.
#[derive(Clone, Debug)]
pub(crate) struct Glob(GlobMatcher);

impl Glob {
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let glob = GlobBuilder::new(text.trim_start_matches('/')).literal_separator(true).build();
        glob.map(|glob| Self(glob.compile_matcher())).map_err(|error| error.kind().to_string())
    }
}

/// What a size has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeTest {
    Above(u64),
    Below(u64),
    Equal(u64),
}

impl SizeTest {
    pub(crate) fn admits(self, size: u64) -> bool {
        match self {
            Self::Above(bound) => size > bound,
            Self::Below(bound) => size < bound,
            Self::Equal(bound) => size == bound,
        }
    }
}

impl FromStr for SizeTest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (make, text): (fn(u64) -> Self, _) = match text.as_bytes().first() {
            Some(b'+') => (Self::Above, &text[1..]),
            Some(b'-') => (Self::Below, &text[1..]),
            _ => (Self::Equal, text),
        };
        bytes(text).map(make).map_err(|_| "wanted a size: +10M, -1k, 4096".to_owned())
    }
}

/// A number of bytes: `4096`, `10M`, `1GiB`, `2 GiB`. Units count by 1024, in letters of either size.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kib" => Some(1),
        "m" | "mib" => Some(2),
        "g" | "gib" => Some(3),
        "t" | "tib" => Some(4),
        _ => None,
    };
    let bytes =
        digits.parse::<u64>().ok().zip(power).and_then(|(number, power)| number.checked_mul(1024u64.pow(power)));
    bytes.ok_or_else(|| "wanted a number of bytes: 4096, 64K, 10M, 1GiB".to_owned())
}

/// A point in time, or how long ago it was. A day without a time begins in UTC, where times are shown.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if let Ok(moment) = text.parse::<DateTime>().and_then(|date| date.to_zoned(TimeZone::UTC)) {
        return Ok(moment.timestamp());
    }
    let ago = |span: Span| Zoned::now().with_time_zone(TimeZone::UTC).checked_sub(span);
    match text.parse::<Span>().and_then(ago) {
        Ok(moment) => Ok(moment.timestamp()),
        Err(_) => Err("wanted a time, 2026-01-31 or 2026-01-31T12:00:00Z, or how long ago: 36h, 7d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_parse() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("1h", 3600), ("1h 30m", 5400), ("48h", 48 * 3600)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "1", "-1h", "1 month", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_parse_and_end_with_the_file() {
        for (text, part, of_ten) in [
            ("0-4", Part::Span(0, 5), 0..5),
            ("4-4", Part::Span(4, 5), 4..5),
            ("4-99", Part::Span(4, 100), 4..10),
            ("4-", Part::From(4), 4..10),
            ("-4", Part::Last(4), 6..10),
            ("-99", Part::Last(99), 0..10),
            ("4:3", Part::Span(4, 7), 4..7),
            ("4:0", Part::Span(4, 4), 4..4),
            ("11-", Part::From(11), 11..11),
            ("11-20", Part::Span(11, 21), 11..11),
        ] {
            let parsed: Part = text.parse().unwrap();
            assert_eq!((parsed, parsed.of(10)), (part, of_ten), "{text}");
        }
        for text in ["", "-", "5", "5-4", "a-b", "1-2-3", ":", ":5", "1:", "+1-2", "-1-2", "18446744073709551616-"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_parse() {
        for (text, want) in [
            ("+10M", SizeTest::Above(10 << 20)),
            ("-1k", SizeTest::Below(1024)),
            ("0", SizeTest::Equal(0)),
            ("2GiB", SizeTest::Equal(2 << 30)),
        ] {
            assert_eq!(text.parse::<SizeTest>().unwrap(), want, "{text}");
        }
        for text in ["", "+", "k", "1X", "1.5M", "--1", "99999999999999T"] {
            assert!(text.parse::<SizeTest>().is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_said_or_so_long_ago() {
        for (text, want) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31 12:30", "2026-01-31T12:30:00Z"),
            ("2026-01-31T12:30:00+02:00", "2026-01-31T10:30:00Z"),
        ] {
            assert_eq!(moment(text).unwrap().to_string(), want, "{text}");
        }
        let ago = moment("2d").unwrap().duration_until(Timestamp::now()).as_hours();
        assert!((47..=49).contains(&ago), "{ago}");
        for text in ["", "soon", "2026-13-01", "5"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_to_preserve_parses() {
        let words = |mode, times, owner| Ok(Preserve { mode, times, owner });
        assert_eq!(preserve("none"), words(false, false, false));
        assert_eq!(preserve("mode,times"), words(true, true, false));
        assert_eq!(preserve("owner,mode"), words(true, false, true));
        for text in ["", "modes", "none,mode", "mode,", "mode times"] {
            assert!(preserve(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stars_stay_in_a_directory() {
        for (glob, path, want) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a/b.txt", false),
            ("**/*.txt", "a.txt", true),
            ("**/*.txt", "a/b/c.txt", true),
            ("/a/*", "a/b", true),
            ("a/{b,c}[0-9]", "a/c7", true),
        ] {
            assert_eq!(glob.parse::<Glob>().unwrap().matches(path), want, "{glob} {path}");
        }
        assert!("a[".parse::<Glob>().is_err());
    }

    #[test]
    fn compressions_parse() {
        assert_eq!(compression("none").unwrap(), Compression::None);
        assert_eq!(compression("zstd:19").unwrap(), Compression::Zstd { level: 19 });
        for text in ["", "gzip", "zstd:", "zstd:0", "zstd:23", "none:1", "ZSTD"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_bytes_parse() {
        for (text, want) in [
            ("0", 0),
            ("512", 512),
            ("4096", 4096),
            ("7B", 7),
            ("1k", 1 << 10),
            ("1 K", 1 << 10),
            ("1KiB", 1 << 10),
            ("64K", 64 << 10),
            ("1M", 1 << 20),
            ("100 MiB", 100 << 20),
            ("2G", 2 << 30),
            ("2g", 2 << 30),
            ("16777215TiB", 16777215 << 40),
        ] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for text in ["", "K", "GiB", "-1", "+1", "1kB", "1 2", "1.5M", "1.5GiB", "99999999999G", "16777216TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
