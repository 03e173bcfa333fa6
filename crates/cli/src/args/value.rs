//! Values: what stands behind an option, parsed.

use std::time::Duration;

use clap::builder::FalseyValueParser;
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

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "wanted a time with its units: 90s, 1h 30m, 0s".to_owned())
}

/// A number of bytes: `4096`, `100MiB`, `2 GiB`. Units count by 1024, and so do `K`, `M`, `G` and `T`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kib" => Some(1),
        "m" | "mib" => Some(2),
        "g" | "gib" => Some(3),
        "t" | "tib" => Some(4),
        _ => None,
    };
    let bytes =
        power.zip(number.parse::<u64>().ok()).and_then(|(power, number)| number.checked_mul(1024u64.pow(power)));
    bytes.ok_or_else(|| "wanted a number of bytes, or one with a unit: 4096, 100MiB, 2GiB".to_owned())
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
    fn sizes_parse() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("1KiB", 1024), ("100 MiB", 100 << 20), ("2g", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "-1", "1kB", "16777216TiB", "1 2"] {
            assert!(size(text).is_err(), "{text}");
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
    fn compressions_parse() {
        assert_eq!(compression("none").unwrap(), Compression::None);
        assert_eq!(compression("zstd:19").unwrap(), Compression::Zstd { level: 19 });
        for text in ["", "gzip", "zstd:", "zstd:0", "zstd:23", "none:1", "ZSTD"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }
}
