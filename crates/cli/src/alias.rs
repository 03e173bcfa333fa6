//! Aliases: short names of addresses, `@name` on the command line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use skep::Address;

use crate::near::near;

/// The aliases that the configuration has. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aliases(Arc<BTreeMap<String, Address>>);

impl Aliases {
    pub(crate) fn new(aliases: BTreeMap<String, Address>) -> Self {
        Self(Arc::new(aliases))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Address)> {
        self.0.iter().map(|(name, address)| (name.as_str(), address))
    }

    /// Parses an address, which may begin with an alias.
    pub(crate) fn address(&self, text: &str) -> Result<Address, String> {
        self.expand(text)?.parse().map_err(|error: skep_registry::Error| error.to_string())
    }

    /// Puts the address of an alias in its place: `@name`, and with something behind it that replaces tag and digest,
    /// `@name:tag`, `@name@sha256:…`, or goes on with its repository, `@name/more`; with a path behind all of these,
    /// `@name:/path`. Other text stays as it is: no address begins with an `@`.
    pub(crate) fn expand<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, String> {
        let Some(rest) = text.strip_prefix('@') else { return Ok(text.into()) };
        let (name, rest) = rest.split_at(rest.find([':', '@', '/']).unwrap_or(rest.len()));
        let Some(address) = self.0.get(name) else { return Err(self.unknown(name)) };
        let (more, path) = rest.split_at(rest.find(":/").unwrap_or(rest.len()));
        let expanded = match more {
            "" => address.to_string(),
            more => format!("{}{more}", Address { tag: None, digest: None, ..address.clone() }),
        };
        Ok(format!("{expanded}{path}").into())
    }

    /// As [`expand`](Self::expand), where a repository is meant: `@name` stands for that of its address.
    pub(crate) fn repository<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, String> {
        match text.strip_prefix('@').and_then(|name| self.0.get(name)) {
            Some(address) => Ok(Address { tag: None, digest: None, ..address.clone() }.to_string().into()),
            None => self.expand(text),
        }
    }

    /// What to say of a name that is no alias.
    pub(crate) fn unknown(&self, name: &str) -> String {
        let near = near(name, self.0.keys().map(String::as_str));
        match near.is_empty() {
            true if self.0.is_empty() => format!("no alias is called {name:?}, there are none at all"),
            true => format!("no alias is called {name:?}; `skep alias list` tells those that there are"),
            false => format!("no alias is called {name:?}; near it: {}", near.join(", ")),
        }
    }
}

/// Says what is wrong with the name of an alias.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_fine) {
        return Err(format!("{name:?} cannot be the name of an alias: letters, digits, `-`, `_` and `.` make one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases() -> Aliases {
        let aliases = [
            ("site", "a.b/team/site:v1"),
            ("team", "a.b:5000/team"),
            ("here", "oci:/srv/store:v1"),
            ("fixed", "a.b/c@sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"),
        ];
        Aliases::new(aliases.map(|(name, text)| (name.to_owned(), text.parse().unwrap())).into())
    }

    #[test]
    fn what_is_behind_an_alias_replaces_what_it_has() {
        for (text, want) in [
            ("@site", "a.b/team/site:v1"),
            ("@site:v2", "a.b/team/site:v2"),
            ("@site@sha256:12", "a.b/team/site@sha256:12"),
            ("@site:/x:/y", "a.b/team/site:v1:/x:/y"),
            ("@site:v2:/", "a.b/team/site:v2:/"),
            ("@team/site:v1", "a.b:5000/team/site:v1"),
            ("@team/site:v1:/x", "a.b:5000/team/site:v1:/x"),
            ("@here:v2:/x", "oci:/srv/store:v2:/x"),
            ("@fixed:v1", "a.b/c:v1"),
            ("a.b/c@sha256:12", "a.b/c@sha256:12"),
        ] {
            assert_eq!(aliases().expand(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        for (text, want) in [
            ("@site", "a.b/team/site"),
            ("@here", "oci:/srv/store"),
            ("@team/site", "a.b:5000/team/site"),
            ("@site:v2", "a.b/team/site:v2"),
            ("a.b/c:v1", "a.b/c:v1"),
        ] {
            assert_eq!(aliases().repository(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn unknown_aliases_are_named_with_those_near_them() {
        for (text, want) in [("@sit", "near it: site"), ("@other:v1", "`skep alias list`"), ("@", "\"\"")] {
            let said = aliases().expand(text).unwrap_err();
            assert!(said.contains(want), "{text}: {said}");
        }
        assert!(Aliases::default().expand("@x").unwrap_err().contains("none at all"));
    }

    #[test]
    fn names_are_words() {
        for (name, is_fine) in [("a.b-c_1", true), ("", false), ("a/b", false), ("a:b", false), ("\x1b", false)] {
            assert_eq!(check_name(name).is_ok(), is_fine, "{name:?}");
        }
    }
}
