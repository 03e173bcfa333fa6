//! Where things are signed: services, the root to verify by, and tokens.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use skep_trust::PrivateKey;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;
use tempfile::TempDir;

/// Who signs.
pub(crate) const EMAIL: &str = "dev@acme.example";

/// A Sigstore, and files for those who read them.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) name: &'static str,
    /// The version of the log.
    pub(crate) log: u32,
    pub(crate) root: String,
    /// The key to sign with: the name of a file of the fixtures.
    pub(crate) key: &'static str,
    config: Value,
    provider: Arc<Sigstore>,
    dir: Arc<TempDir>,
}

impl World {
    /// One's own, with its log of version 2.
    pub(crate) async fn own() -> Self {
        let provider = Sigstore::start().await.unwrap();
        let config = serde_json::from_str(&provider.signing_config()).unwrap();
        Self::new("own services", provider.trusted_root(), config, Arc::new(provider))
    }

    /// With a log of version 2, and identities of one's own.
    pub(crate) fn new(name: &'static str, root: String, config: Value, provider: Arc<Sigstore>) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        fs::write(dir.path().join("trusted_root.json"), &root).unwrap();
        Self { name, log: 2, root, key: "p256.pkcs8.pem", config, provider, dir }
    }

    /// The same with a log of another version; the first stamps times itself.
    pub(crate) fn with_log(&self, version: u32) -> Self {
        let mut config = self.config.clone();
        config["rekorTlogUrls"][0]["majorApiVersion"] = json!(version);
        if version == 1 {
            forget(&mut config, "tsa");
        }
        Self { log: version, config, ..self.clone() }
    }

    /// The same with another key.
    pub(crate) fn with_key(&self, key: &'static str) -> Self {
        Self { key, ..self.clone() }
    }

    /// The key in PEM.
    pub(crate) fn private_key(&self) -> String {
        key(self.key)
    }

    /// Its public half in PEM.
    pub(crate) fn public_key(&self) -> String {
        PrivateKey::from_pem(&self.private_key(), None).unwrap().public_key().to_pem()
    }

    /// In the format of `signing_config.json`.
    pub(crate) fn config(&self, is_logged: bool) -> String {
        let mut config = self.config.clone();
        if !is_logged {
            for service in ["ca", "oidc", "rekorTlog", "tsa"] {
                forget(&mut config, service);
            }
        }
        config.to_string()
    }

    /// A token of the one who signs.
    pub(crate) fn token(&self) -> String {
        self.provider.token(&Who::person(EMAIL)).unwrap()
    }

    /// Who vouches for identities.
    pub(crate) fn issuer(&self) -> &str {
        self.provider.url()
    }

    /// A file with this content.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Takes a service out of a configuration.
fn forget(config: &mut Value, service: &str) {
    config[format!("{service}Urls")] = json!([]);
    config.as_object_mut().unwrap().remove(&format!("{service}Config"));
}

/// A key that is there for tests.
pub(crate) fn key(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
