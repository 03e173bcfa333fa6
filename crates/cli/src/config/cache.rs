//! What is remembered of registries: the table `cache` of the file, and what holds once the flags are known.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use skep::Caches;
use skep_registry::StoreOptions;
use toml::Spanned;

use crate::args::CacheFlags;
use crate::args::bytes;
use crate::args::duration;
use crate::exit::Outcome;
use crate::pointed;

/// The table of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Table {
    enabled: Option<bool>,
    dir: Option<PathBuf>,
    max_size: Option<Spanned<String>>,
    tag_lifetime: Option<Spanned<String>>,
    offline: bool,
}

/// What is remembered of registries, where, and how long it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheConfig {
    /// None if nothing says where: the file does not, and when the flags are known, nothing says where home is.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) is_enabled: bool,
    pub(crate) max_bytes: u64,
    pub(crate) tag_lifetime: Duration,
    /// Whether a flag says how long tags are believed, so that all believe it.
    pub(crate) is_lifetime_said: bool,
    pub(crate) offline: bool,
}

impl CacheConfig {
    /// What holds by what the file says; a directory that is not absolute is beside it.
    pub(super) fn parse(path: &Path, text: &str, table: Table) -> Outcome<Self> {
        let built_in = Self::default();
        let wrong = |span, why: String| pointed::at(path, text, Some(span), &why);
        let max_bytes = table.max_size.map(|it| bytes(it.get_ref()).map_err(|why| wrong(it.span(), why)));
        let lifetime = table.tag_lifetime.map(|it| duration(it.get_ref()).map_err(|why| wrong(it.span(), why)));
        Ok(Self {
            dir: table.dir.map(|dir| path.parent().unwrap_or(Path::new("")).join(dir)),
            is_enabled: table.enabled.unwrap_or(built_in.is_enabled),
            max_bytes: max_bytes.transpose()?.unwrap_or(built_in.max_bytes),
            tag_lifetime: lifetime.transpose()?.unwrap_or(built_in.tag_lifetime),
            is_lifetime_said: false,
            offline: table.offline,
        })
    }

    /// What holds with the flags, which have the last word.
    pub(super) fn with_flags(self, flags: &CacheFlags) -> Self {
        let lifetime = if flags.refresh { Some(Duration::ZERO) } else { flags.tag_lifetime };
        Self {
            dir: flags.cache_dir.clone().or(self.dir).or_else(usual_cache),
            is_enabled: self.is_enabled && !flags.no_cache,
            max_bytes: self.max_bytes,
            tag_lifetime: lifetime.unwrap_or(self.tag_lifetime),
            is_lifetime_said: flags.tag_lifetime.is_some() && !flags.refresh,
            offline: flags.offline || (self.offline && !flags.refresh),
        }
    }

    pub(super) fn caches(&self) -> Caches {
        let options = StoreOptions { max_bytes: self.max_bytes };
        let opened = self.dir.as_ref().filter(|_| self.is_enabled).map(|dir| Caches::in_dir(dir, options));
        let caches = opened.and_then(|opened| {
            opened.inspect_err(|error| tracing::warn!(%error, "nothing is remembered; going on without")).ok()
        });
        Caches { tag_lifetime: self.tag_lifetime, offline: self.offline, ..caches.unwrap_or_default() }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            dir: None,
            is_enabled: true,
            max_bytes: StoreOptions::default().max_bytes,
            tag_lifetime: Caches::default().tag_lifetime,
            is_lifetime_said: false,
            offline: false,
        }
    }
}

/// Where to remember where nobody says it.
pub(crate) fn usual_cache() -> Option<PathBuf> {
    cache_path(|name| std::env::var_os(name))
}

fn cache_path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let dir = |name: &str| variable(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || dir("HOME").or_else(|| dir("USERPROFILE")).map(|home| home.join(".cache"));
    dir("XDG_CACHE_HOME").or_else(home).map(|dir| dir.join("skep"))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::args::Cli;
    use crate::config::Config;
    use crate::line;

    /// What holds by a file and a line.
    fn held(text: &str, flags: &str) -> CacheConfig {
        let config = Config::parse(Path::new("/etc/skep/config.toml"), text).unwrap();
        let words = ["skep", "version"].into_iter().chain(flags.split_whitespace());
        let matches = line::command(&config).try_get_matches_from(words).unwrap();
        config.with_flags(&Cli::from_arg_matches(&matches).unwrap().global).cache
    }

    #[test]
    fn flags_have_the_last_word() {
        let text = "[cache]\nmax-size = '1 MiB'\ntag-lifetime = '5m'\ndir = 'beside'\noffline = true";
        let said = CacheConfig {
            dir: Some("/etc/skep/beside".into()),
            is_enabled: true,
            max_bytes: 1 << 20,
            tag_lifetime: Duration::from_secs(300),
            is_lifetime_said: false,
            offline: true,
        };
        assert_eq!(held(text, ""), said);
        let (dir, tag_lifetime) = (Some("/said".into()), Duration::from_secs(3600));
        assert_eq!(
            held(text, "--tag-lifetime 1h --cache-dir /said --no-cache"),
            CacheConfig { dir, tag_lifetime, is_enabled: false, is_lifetime_said: true, ..said.clone() }
        );
        let asked = CacheConfig { tag_lifetime: Duration::ZERO, offline: false, ..said };
        assert_eq!(held(text, "--refresh"), asked);
    }

    #[test]
    fn defaults_of_flags_count_as_flags() {
        let text = "[cache]\ntag-lifetime = '5m'\n[default]\ntag-lifetime = '1h'\noffline = true";
        let came = held(text, "");
        assert_eq!((came.tag_lifetime.as_secs(), came.is_lifetime_said, came.offline), (3600, true, true));
        assert_eq!(held(text, "--tag-lifetime 2h").tag_lifetime.as_secs(), 7200);
        let came = held(text, "--refresh");
        assert_eq!((came.tag_lifetime.as_secs(), came.is_lifetime_said, came.offline), (0, false, false));
        let came = held("[default]\nrefresh = true", "--offline --tag-lifetime 2h");
        assert_eq!((came.tag_lifetime.as_secs(), came.offline), (7200, true));
    }

    #[test]
    fn the_usual_place_is_below_an_absolute_directory() {
        for (variables, want) in [
            (&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")][..], Some("/x/skep")),
            (&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")], Some("/h/.cache/skep")),
            (&[("HOME", "")], None),
        ] {
            let got = cache_path(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
            assert_eq!(got, want.map(PathBuf::from), "{variables:?}");
        }
    }
}
