//! One configuration of docker: its entries, and the helpers that it names.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;

use crate::auth::Credential;
use crate::auth::docker::Found;
use crate::auth::docker::HUB_KEY;
use crate::auth::docker::url_host;

/// One configuration.
pub(super) struct Source {
    /// Where it came from.
    pub(super) name: String,
    /// Credentials by the key they stand under.
    pub(super) entries: BTreeMap<String, Credential>,
    /// Keys that stand there without a credential: of registries whose credentials are in a helper.
    pub(super) empty: Vec<String>,
    pub(super) helpers: BTreeMap<String, String>,
    pub(super) store: Option<String>,
}

impl std::fmt::Debug for Source {
    /// Prints no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source {
    pub(super) fn parse(name: &str, json: &[u8]) -> Result<Self> {
        let invalid = |why: &str| Error::new(Code::Unauthorized, format!("{name}: {why}"));
        let file: File = serde_json::from_slice(json).map_err(|error| {
            // Its words would quote the text, secrets and all.
            invalid(&format!("not a configuration, at line {} column {}", error.line(), error.column()))
        })?;
        let (mut entries, mut empty) = (BTreeMap::new(), Vec::new());
        for (key, entry) in file.auths.unwrap_or_default() {
            let entry = entry.unwrap_or_default();
            let credential = entry.credential().map_err(|why| invalid(&format!("auths entry {key:?} {why}")))?;
            match credential {
                Some(credential) => drop(entries.insert(key, credential)),
                None => empty.push(key),
            }
        }
        Ok(Self {
            name: name.to_owned(),
            entries,
            empty,
            helpers: file.cred_helpers.unwrap_or_default(),
            store: file.creds_store.filter(|store| !store.is_empty()),
        })
    }

    /// The helper to ask about hosts, and whether it is the one for all.
    pub(super) fn helper(&self, hosts: &[&str]) -> Option<(&str, bool)> {
        let named = hosts.iter().copied().chain([HUB_KEY].into_iter().filter(|_| hosts.len() > 1));
        let mut named = named.filter_map(|host| self.helpers.get(host));
        named.next().map(|helper| (helper.as_str(), false)).or(self.store.as_deref().map(|store| (store, true)))
    }

    pub(super) fn found(&self, key: &str, helper: Option<&str>, credential: Credential) -> Found {
        Found { credential, source: self.name.clone(), key: key.to_owned(), helper: helper.map(str::to_owned) }
    }

    /// The entry of a host, or of a URL with that host, and its key.
    pub(super) fn entry(&self, host: &str) -> Result<Option<(&str, Credential)>> {
        if let Some((key, entry)) = self.entries.get_key_value(host) {
            return Ok(Some((key.as_str(), entry.clone())));
        }
        let mut found = self.entries.iter().filter(|(key, _)| url_host(key) == Some(host));
        let Some((first, entry)) = found.next() else { return Ok(None) };
        if let Some((second, _)) = found.find(|(_, other)| *other != entry) {
            let message = format!("{}: {first:?} and {second:?} are both entries for {host}", self.name);
            return Err(Error::new(Code::Unauthorized, message));
        }
        Ok(Some((first.as_str(), entry.clone())))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Entry {
    /// What the entry says; none if it is empty, as `docker login` leaves them when a helper has the secret.
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = given(self.registrytoken) {
            return Ok(Some(Credential::Bearer(token)));
        }
        if let Some(token) = given(self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(auth) = given(self.auth) {
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| "has an auth that is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "has an auth that is not UTF-8")?;
            let (user, password) = text.split_once(':').ok_or("has an auth that is not user:password")?;
            let password = password.trim_matches('\0').to_owned();
            return Ok(Some(Credential::Basic { user: user.to_owned(), password }));
        }
        Ok(match (given(self.username), given(self.password)) {
            (Some(user), Some(password)) => Some(Credential::Basic { user, password }),
            _ => None,
        })
    }
}
