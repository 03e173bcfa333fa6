//! Values: what stands behind an option, parsed.

use std::time::Duration;

use clap::builder::FalseyValueParser;
use skep::Compression;
use skep_registry::Platform;

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

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "wanted a time with its units: 90s, 1h 30m, 0s".to_owned())
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

/// A number of bytes, with K, M or G for 1024 of the one before.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wanted = || "wanted a number of bytes, or with K, M or G: 512, 64K, 1M".to_owned();
    let (digits, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) if text.ends_with('K') => (digits, 10),
        Some(digits) if text.ends_with('M') => (digits, 20),
        Some(digits) => (digits, 30),
        None => (text, 0),
    };
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()));
    number.and_then(|number| number.checked_mul(1 << shift)).ok_or_else(wanted)
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
    fn compressions_parse() {
        assert_eq!(compression("none").unwrap(), Compression::None);
        assert_eq!(compression("zstd:19").unwrap(), Compression::Zstd { level: 19 });
        for text in ["", "gzip", "zstd:", "zstd:0", "zstd:23", "none:1", "ZSTD"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_bytes_parse() {
        for (text, want) in [("0", 0), ("512", 512), ("64K", 64 << 10), ("1M", 1 << 20), ("2G", 2 << 30)] {
            assert_eq!(bytes(text).unwrap(), want, "{text}");
        }
        for text in ["", "K", "-1", "+1", "1k", "1.5M", "1 K", "99999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
