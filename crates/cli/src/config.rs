//! The configuration of the command: a TOML file that says how single registries are reached.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use skep::ClientOptions;
use skep_http::Pem;
use skep_http::Settings;
use toml::Spanned;

use crate::args::Global;
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
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    registry: BTreeMap<Spanned<String>, Settings>,
}

impl Config {
    /// Reads the file that the command line or the environment names, or the one in the usual place if it is there.
    pub(crate) fn load(global: &Global) -> Outcome<Self> {
        let unread = Self::unread(global);
        // A file that was named must be there.
        let found = unread.path.as_deref().filter(|path| global.client_config.is_some() || path.exists());
        let registries = found.map(registries).transpose()?.unwrap_or_default();
        Ok(Self { registries, ..unread })
    }

    /// What holds without the file, for commands that speak to no registry.
    pub(crate) fn unread(global: &Global) -> Self {
        let path = global.client_config.clone().or_else(|| usual_path(|name| std::env::var_os(name)));
        let is_there = path.as_deref().is_some_and(Path::exists);
        Self { path, is_there, plain_http: global.plain_http, registries: BTreeMap::new() }
    }

    /// The options of every client that a command makes.
    pub(crate) fn client(&self) -> ClientOptions {
        let (plain_http, registries) = (self.plain_http, self.registries.clone());
        ClientOptions { plain_http, registries, ..Default::default() }
    }
}

/// The place of the file where nobody names one.
fn usual_path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let dir = |name: &str| variable(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir =
        dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").or_else(|| dir("USERPROFILE")).map(|home| home.join(".config")));
    dir.map(|dir| dir.join("skep/config.toml"))
}

/// Reads a file. Certificates that it names are beside it, if their path is not absolute.
fn registries(path: &Path) -> Outcome<BTreeMap<String, Settings>> {
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
    Ok(registries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<BTreeMap<String, Settings>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        registries(&path)
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
            ("registry", ":1:", "expected"),
        ] {
            let said = format!("{:?}", parse(text).map(|_| ()).unwrap_err()).replace("\\\"", "\"");
            assert!(said.contains(place) && said.contains(why) && !said.contains("hunter2"), "{text}: {said}");
        }
    }
}
