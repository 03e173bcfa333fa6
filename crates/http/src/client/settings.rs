//! Settings: how one registry is reached, as a configuration file has it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use skep_registry::Error;
use skep_registry::Result;

use crate::client::retry::RetryOptions;

/// How one registry is reached: a table `[registry."registry.example.com:5000"]` of a configuration file.
///
/// Certificates to trust are good for every server that the registry leads to, its token server for instance. All
/// else is for the registry's own origin: what it redirects to sees no client certificate and no header of these.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Speak without TLS.
    pub plain_http: bool,
    /// Take any certificate. Whoever is on the way can read and change everything, credentials included.
    pub skip_verify: bool,
    /// Certificates to trust besides those of the system.
    pub ca: Vec<Pem>,
    /// The certificate by which the registry knows the client, with those between it and the root.
    pub client_certificate: Option<Pem>,
    /// The key of the client's certificate.
    pub client_key: Option<Pem>,
    /// Headers that every request has. They may be secret, and are not printed.
    pub headers: BTreeMap<String, String>,
    /// Registries to read from first, in this order: [`Mirrors`](crate::Mirrors).
    pub mirrors: Vec<String>,
    /// How long to bear with failures, if this registry differs.
    pub retry: Option<RetryOptions>,
}

impl fmt::Debug for Settings {
    /// Prints no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("plain_http", &self.plain_http)
            .field("skip_verify", &self.skip_verify)
            .field("ca", &self.ca)
            .field("client_certificate", &self.client_certificate)
            .field("headers", &self.headers.keys())
            .field("mirrors", &self.mirrors)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// Certificates or a key as PEM: in a file, or as text that begins with `-----BEGIN`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Pem {
    /// The path of a file.
    File(PathBuf),
    /// The text itself.
    Text(String),
}

impl Pem {
    /// Reads the text.
    ///
    /// # Errors
    /// `Unknown` when the file cannot be read.
    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                std::fs::read(path).map_err(|error| Error::io(format_args!("cannot read {}", path.display()), error))
            }
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

impl From<String> for Pem {
    fn from(text: String) -> Self {
        if text.trim_start().starts_with("-----BEGIN") { Self::Text(text) } else { Self::File(text.into()) }
    }
}

impl fmt::Debug for Pem {
    /// Prints no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_strictly_and_printed_without_secrets() {
        let json = r#"{"skip-verify":true,"ca":["/etc/ca.pem","-----BEGIN CERTIFICATE-----\nx"],
            "client-key":"-----BEGIN PRIVATE KEY-----\nhunter2","headers":{"x-key":"hunter2"},
            "mirrors":["mirror.example.com"],"retry":{"attempts":2}}"#;
        let settings: Settings = serde_json::from_str(json).unwrap();
        assert_eq!(settings.ca[0], Pem::File("/etc/ca.pem".into()));
        assert_eq!(settings.ca[1], Pem::Text("-----BEGIN CERTIFICATE-----\nx".to_owned()));
        assert_eq!((settings.skip_verify, settings.plain_http), (true, false));
        assert_eq!(settings.retry.as_ref().unwrap().attempts, 2);
        let printed = format!("{settings:?}");
        assert!(printed.contains("x-key") && !printed.contains("hunter2"), "{printed}");
        for wrong in [r#"{"skip_verify":true}"#, r#"{"insecure":true}"#, r#"{"ca":"x"}"#, r#"{"retry":{"x":1}}"#] {
            assert!(serde_json::from_str::<Settings>(wrong).is_err(), "{wrong}");
        }
    }
}
