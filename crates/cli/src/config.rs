//! The configuration of the command: a TOML file that says how single registries are reached, and what is remembered.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use skep::Caches;
use skep::ClientOptions;
use skep_http::Pem;
use skep_http::Settings;
use skep_registry::StoreOptions;
use toml::Spanned;

use crate::args::CacheFlags;
use crate::args::Global;
use crate::args::duration;
use crate::args::size;
use crate::exit::Outcome;
use crate::pointed;

/// What holds for a command: the file, and what the command line adds.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Where the file is, or would be; none if nothing says where home is.
    pub(crate) path: Option<PathBuf>,
    /// Whether it is there.
    pub(crate) is_there: bool,
    pub(crate) plain_http: bool,
    /// By host.
    pub(crate) registries: BTreeMap<String, Settings>,
    pub(crate) cache: CacheConfig,
}

/// What is remembered of registries, where, and how long it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheConfig {
    /// None if nothing is to be remembered, or nothing says where home is.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) is_enabled: bool,
    pub(crate) max_bytes: u64,
    pub(crate) tag_lifetime: Duration,
    /// Whether the command line says how long tags are believed, so that all believe it.
    pub(crate) is_lifetime_said: bool,
    pub(crate) offline: bool,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    registry: BTreeMap<Spanned<String>, Settings>,
    cache: CacheTable,
}

/// The table about the cache.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct CacheTable {
    enabled: Option<bool>,
    dir: Option<PathBuf>,
    max_size: Option<Spanned<String>>,
    tag_lifetime: Option<Spanned<String>>,
    offline: bool,
}

impl Config {
    /// Reads the file that the command line or the environment names, or the one in the usual place if it is there.
    pub(crate) fn load(global: &Global) -> Outcome<Self> {
        let unread = Self::unread(global);
        // A file that was named must be there.
        let found = unread.path.as_deref().filter(|path| global.client_config.is_some() || path.exists());
        let Some(found) = found else { return Ok(unread) };
        let (registries, cache) = read(found)?;
        Ok(Self { registries, cache: unread.cache.with(cache, &global.cache), ..unread })
    }

    /// What holds without the file, for commands that speak to no registry.
    pub(crate) fn unread(global: &Global) -> Self {
        let path = global.client_config.clone().or_else(|| usual_path(|name| std::env::var_os(name)));
        let is_there = path.as_deref().is_some_and(Path::exists);
        let cache = CacheConfig {
            dir: usual_cache(),
            is_enabled: true,
            max_bytes: StoreOptions::default().max_bytes,
            tag_lifetime: Caches::default().tag_lifetime,
            ..Default::default()
        };
        let cache = cache.with(CacheSaid::default(), &global.cache);
        Self { path, is_there, plain_http: global.plain_http, registries: BTreeMap::new(), cache }
    }

    /// The options of every client that a command makes.
    pub(crate) fn client(&self) -> ClientOptions {
        let (plain_http, registries) = (self.plain_http, self.registries.clone());
        ClientOptions { plain_http, registries, caches: self.cache.caches(), ..Default::default() }
    }
}

/// What the file says about the cache, understood.
#[derive(Debug, Default, PartialEq, Eq)]
struct CacheSaid {
    enabled: Option<bool>,
    dir: Option<PathBuf>,
    max_bytes: Option<u64>,
    tag_lifetime: Option<Duration>,
    offline: bool,
}

impl CacheConfig {
    /// What holds when the file says something; the command line has the last word.
    fn with(self, said: CacheSaid, flags: &CacheFlags) -> Self {
        let lifetime = if flags.refresh { Some(Duration::ZERO) } else { flags.tag_lifetime };
        Self {
            dir: flags.cache_dir.clone().or(said.dir).or(self.dir),
            is_enabled: said.enabled.unwrap_or(self.is_enabled) && !flags.no_cache,
            max_bytes: said.max_bytes.unwrap_or(self.max_bytes),
            tag_lifetime: lifetime.or(said.tag_lifetime).unwrap_or(self.tag_lifetime),
            is_lifetime_said: flags.tag_lifetime.is_some() && !flags.refresh,
            offline: flags.offline || (said.offline && !flags.refresh),
        }
    }

    fn caches(&self) -> Caches {
        let options = StoreOptions { max_bytes: self.max_bytes };
        let opened = self.dir.as_ref().filter(|_| self.is_enabled).map(|dir| Caches::in_dir(dir, options));
        let caches = opened.and_then(|opened| {
            opened.inspect_err(|error| tracing::warn!(%error, "nothing is remembered; going on without")).ok()
        });
        Caches { tag_lifetime: self.tag_lifetime, offline: self.offline, ..caches.unwrap_or_default() }
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

/// The place of the file where nobody names one.
fn usual_path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let dir = |name: &str| variable(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir =
        dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").or_else(|| dir("USERPROFILE")).map(|home| home.join(".config")));
    dir.map(|dir| dir.join("skep/config.toml"))
}

/// Reads a file. Certificates that it names are beside it, if their path is not absolute, and so is the cache.
fn read(path: &Path) -> Outcome<(BTreeMap<String, Settings>, CacheSaid)> {
    let (text, file) = pointed::read::<File>(path)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut registries = BTreeMap::new();
    for (host, mut settings) in file.registry {
        let (span, host) = (host.span(), host.into_inner());
        let wrong = |why: &str| Err(pointed::at(path, &text, Some(span.clone()), why));
        if host.contains("://") {
            return wrong(&format!("{host:?} has a scheme; write the host alone, and plain-http = true for http"));
        }
        if host != "localhost" && !skep_registry::is_host(&host) {
            return wrong(&format!("{host:?} is not the host of a registry, as registry.example.com:5000 is"));
        }
        if settings.client_key.is_some() && settings.client_certificate.is_none() {
            return wrong(&format!("{host:?} has a client-key, and no client-certificate"));
        }
        let pems = settings.ca.iter_mut().chain(&mut settings.client_certificate).chain(&mut settings.client_key);
        for pem in pems {
            if let Pem::File(file) = pem {
                *file = dir.join(&file);
            }
        }
        registries.insert(host, settings);
    }
    let wrong = |span, why: String| pointed::at(path, &text, Some(span), &why);
    let CacheTable { enabled, dir: cache_dir, max_size, tag_lifetime, offline } = file.cache;
    let max_bytes = max_size.map(|it| size(it.get_ref()).map_err(|why| wrong(it.span(), why))).transpose()?;
    let tag_lifetime =
        tag_lifetime.map(|it| duration(it.get_ref()).map_err(|why| wrong(it.span(), why))).transpose()?;
    let cache_dir = cache_dir.map(|it| dir.join(it));
    Ok((registries, CacheSaid { enabled, dir: cache_dir, max_bytes, tag_lifetime, offline }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Outcome<(BTreeMap<String, Settings>, CacheSaid)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn parse(text: &str) -> Outcome<BTreeMap<String, Settings>> {
        read_text(text).map(|(registries, _)| registries)
    }

    #[test]
    fn the_usual_place_is_below_an_absolute_directory() {
        for (variables, want) in [
            (&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")][..], Some("/x/skep/config.toml")),
            (&[("XDG_CONFIG_HOME", "x"), ("HOME", "/h")], Some("/h/.config/skep/config.toml")),
            (&[("XDG_CONFIG_HOME", ""), ("HOME", "/h")], Some("/h/.config/skep/config.toml")),
            (&[("USERPROFILE", "/u")], Some("/u/.config/skep/config.toml")),
            (&[("HOME", "")], None),
        ] {
            let got = usual_path(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
            assert_eq!(got, want.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn the_command_line_has_the_last_word_about_the_cache() {
        let text = "[cache]\nmax-size = '1 MiB'\ntag-lifetime = '5m'\ndir = 'beside'\noffline = true";
        let said = || read_text(text).unwrap().1;
        let flags = |words: &str| {
            let words = ["skep", "version"].into_iter().chain(words.split_whitespace());
            let cli: crate::args::Cli = clap::Parser::try_parse_from(words).unwrap();
            cli.global.cache
        };
        let base = CacheConfig { dir: Some("/usual".into()), is_enabled: true, max_bytes: 7, ..Default::default() };
        let came = base.clone().with(said(), &flags(""));
        assert!(came.dir.as_ref().unwrap().is_absolute() && came.dir.as_ref().unwrap().ends_with("beside"));
        assert_eq!((came.max_bytes, came.tag_lifetime.as_secs(), came.offline), (1 << 20, 300, true));
        assert!(came.is_enabled && !came.is_lifetime_said);
        let came = base.clone().with(said(), &flags("--tag-lifetime 1h --cache-dir /said --no-cache"));
        assert_eq!((came.dir, came.tag_lifetime.as_secs()), (Some("/said".into()), 3600));
        assert!(came.is_lifetime_said && !came.is_enabled);
        let came = base.with(said(), &flags("--refresh"));
        assert_eq!((came.tag_lifetime.as_secs(), came.offline, came.is_lifetime_said), (0, false, false));
    }

    #[test]
    fn the_usual_cache_is_below_an_absolute_directory() {
        for (variables, want) in [
            (&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")][..], Some("/x/skep")),
            (&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")], Some("/h/.cache/skep")),
            (&[("HOME", "")], None),
        ] {
            let got = cache_path(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
            assert_eq!(got, want.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn certificates_are_beside_the_file() {
        let text = "[registry.'a.b:1']\nplain-http = true\nca = ['ca.pem', '/etc/ca.pem']\n[registry.localhost]";
        let read = parse(text).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), ["a.b:1", "localhost"]);
        let settings = &read["a.b:1"];
        assert!(settings.plain_http);
        assert!(matches!(&settings.ca[0], Pem::File(path) if path.is_absolute() && path.ends_with("ca.pem")));
        assert_eq!(settings.ca[1], Pem::File("/etc/ca.pem".into()));
    }

    #[test]
    fn mistakes_are_pointed_at_and_secrets_are_not_repeated() {
        for (text, place, why) in [
            ("[registry.'https://a.b']", ":1:11:", "has a scheme"),
            ("[registry.'a.b/c']", ":1:11:", "is not the host of a registry"),
            ("[registry.name]", ":1:11:", "is not the host of a registry"),
            ("[registry.'a.b']\nskip_verify = true", ":2:1:", "unknown field `skip_verify`"),
            ("[registry.'a.b']\nheaders = 'hunter2'", ":2:11:", "invalid type: string, expected a map"),
            ("[registry.'a.b'.retry]\nattempt = 1", ":2:1:", "unknown field `attempt`"),
            ("[registry.'a.b']\nclient-key = 'hunter2'", ":1:11:", "no client-certificate"),
            ("[registries.'a.b']", ":1:2:", "unknown field `registries`"),
            ("[cache]\nmax-size = 'much'", ":2:12:", "wanted a number of bytes"),
            ("[cache]\ntag-lifetime = '1'", ":2:16:", "wanted a time"),
            ("[cache]\nmax = 1", ":2:1:", "unknown field `max`"),
            ("registry", ":1:", "expected"),
        ] {
            let said = format!("{:?}", parse(text).map(|_| ()).unwrap_err()).replace("\\\"", "\"");
            assert!(said.contains(place) && said.contains(why) && !said.contains("hunter2"), "{text}: {said}");
        }
    }
}
