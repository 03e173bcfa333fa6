//! The configuration of the command: a TOML file that says how single registries are reached, what is remembered of
//! them, what has to hold of what is read, which short names there are for addresses, and what holds where a flag is not given.

mod cache;
mod edit;
mod policy;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use skep::Address;
use skep::ClientOptions;
use skep_http::Pem;
use skep_http::Settings;
use toml::Spanned;

use crate::alias;
use crate::alias::Aliases;
use crate::args::Global;
use crate::exit::Outcome;
use crate::line;
use crate::pointed;

use cache::CacheConfig;
pub(crate) use cache::usual_cache;
pub(crate) use edit::edit;
use policy::PolicyConfig;
pub(crate) use policy::Rule;

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
    pub(crate) policies: PolicyConfig,
    pub(crate) aliases: Aliases,
    /// Values of flags that are not given, by their names without the dashes.
    pub(crate) defaults: BTreeMap<String, Vec<String>>,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    alias: BTreeMap<Spanned<String>, Spanned<String>>,
    default: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    registry: BTreeMap<Spanned<String>, Settings>,
    cache: cache::Table,
    policy: Vec<policy::Table>,
}

impl Config {
    /// Reads the file that the command line or the environment names, or the one in the usual place if it is there.
    pub(crate) fn load() -> Outcome<Self> {
        let unread = Self::unread();
        // A file that was named must be there.
        let Some(path) = unread.path.as_deref().filter(|path| named().is_some() || path.exists()) else {
            return Ok(unread);
        };
        let text = pointed::text(path)?;
        Ok(Self { path: unread.path.clone(), is_there: true, ..Self::parse(path, &text)? })
    }

    /// What holds without the file, for commands that speak to no registry.
    pub(crate) fn unread() -> Self {
        let path = named().or_else(|| usual_path(|name| std::env::var_os(name)));
        let is_there = path.as_deref().is_some_and(Path::exists);
        Self { path, is_there, ..Self::default() }
    }

    /// Understands the text of a file. What it names, certificates and the cache, is beside it, if the path is not
    /// absolute.
    pub(crate) fn parse(path: &Path, text: &str) -> Outcome<Self> {
        let file: File = pointed::parse(path, text)?;
        let mut config = Self::default();
        for (host, settings) in file.registry {
            let (span, host) = (host.span(), host.into_inner());
            let settings = reached(path, &host, settings).map_err(|why| pointed::at(path, text, Some(span), &why))?;
            config.registries.insert(host, settings);
        }
        let mut aliases = BTreeMap::new();
        for (name, address) in file.alias {
            alias::check_name(name.as_ref()).map_err(|why| pointed::at(path, text, Some(name.span()), &why))?;
            let parsed = address.as_ref().parse::<Address>();
            let parsed = parsed.map_err(|error| pointed::at(path, text, Some(address.span()), &error.to_string()))?;
            aliases.insert(name.into_inner(), parsed);
        }
        config.aliases = Aliases::new(aliases);
        for (flag, value) in file.default {
            let values = line::default_of(flag.as_ref(), value.as_ref());
            let values = values.map_err(|why| pointed::at(path, text, Some(flag.span()), &why))?;
            config.defaults.insert(flag.into_inner(), values);
        }
        config.cache = CacheConfig::parse(path, text, file.cache)?;
        config.policies = PolicyConfig::parse(path, text, file.policy)?;
        Ok(config)
    }

    /// What holds with the flags, which go before the file.
    pub(crate) fn with_flags(self, global: &Global) -> Self {
        Self { plain_http: global.plain_http, cache: self.cache.with_flags(&global.cache), ..self }
    }

    /// What holds with the policies that the command line adds to those of the file.
    pub(crate) fn with_policies(self, global: &Global) -> Outcome<Self> {
        Ok(Self { policies: self.policies.with_flags(&global.policy)?, ..self })
    }

    /// The options of every client that a command makes.
    pub(crate) fn client(&self) -> ClientOptions {
        let (plain_http, registries) = (self.plain_http, self.registries.clone());
        let (caches, policies) = (self.cache.caches(), self.policies.policies());
        ClientOptions { plain_http, registries, caches, policies, ..Default::default() }
    }
}

/// The file that the command line or the environment names. It is wanted before the rest of the line is understood,
/// which depends on it.
fn named() -> Option<PathBuf> {
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    let mut named = None;
    while let Some(word) = words.next() {
        if word == "--client-config" {
            named = words.next();
        } else if let Some(file) = word.to_str().and_then(|word| word.strip_prefix("--client-config=")) {
            named = Some(file.into());
        }
    }
    named.or_else(|| std::env::var_os("SKEP_CONFIG")).filter(|file| !file.is_empty()).map(PathBuf::from)
}

/// The place of the file where nobody names one.
fn usual_path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let dir = |name: &str| variable(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir =
        dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").or_else(|| dir("USERPROFILE")).map(|home| home.join(".config")));
    dir.map(|dir| dir.join("skep/config.toml"))
}

/// How a registry is reached, with the certificates beside the file.
fn reached(path: &Path, host: &str, mut settings: Settings) -> Result<Settings, String> {
    if host.contains("://") {
        return Err(format!("{host:?} has a scheme; write the host alone, and plain-http = true for http"));
    }
    if host != "localhost" && !skep_registry::is_host(host) {
        return Err(format!("{host:?} is not the host of a registry, as registry.example.com:5000 is"));
    }
    if settings.client_key.is_some() && settings.client_certificate.is_none() {
        return Err(format!("{host:?} has a client-key, and no client-certificate"));
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    let pems = settings.ca.iter_mut().chain(&mut settings.client_certificate).chain(&mut settings.client_key);
    for pem in pems {
        if let Pem::File(file) = pem {
            *file = dir.join(&file);
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<BTreeMap<String, Settings>> {
        Ok(Config::parse(Path::new("/etc/skep/config.toml"), text)?.registries)
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
            ("[alias]\n'a/b' = 'a.b/c'", ":2:1:", "cannot be the name of an alias"),
            ("[alias]\na = 'alpine'", ":2:5:", "host"),
            ("[default]\njobs = 1\njobz = 1", ":3:1:", "near it: jobs"),
            ("[default]\njobs = 'hunter'", ":2:1:", "cannot be jobs"),
            ("[cache]\nmax-size = 'much'", ":2:12:", "wanted a number of bytes"),
            ("[cache]\ntag-lifetime = '1'", ":2:16:", "wanted a time"),
            ("[cache]\nmax = 1", ":2:1:", "unknown field `max`"),
            ("[[policy]]\nreferences = []\nfile = 'x'", ":2:14:", "a policy for nothing"),
            ("[[policy]]\nreferences = ['a.b']\nfile = 'x'", ":2:15:", "names no repository"),
            ("[[policy]]\nreferences = ['a.b/**']\nfile = 'no/where'", ":3:8:", "/etc/skep/no/where"),
            ("[[policy]]\nreference = ['a.b/**']\nfile = 'x'", ":2:1:", "unknown field `reference`"),
            ("[[policy]]\nreferences = ['a.b/**']", ":1:1:", "missing field `file`"),
            ("registry", ":1:", "expected"),
        ] {
            let said = format!("{:?}", parse(text).map(|_| ()).unwrap_err()).replace("\\\"", "\"");
            assert!(said.contains(place) && said.contains(why) && !said.contains("hunter2"), "{text}: {said}");
        }
    }
}
