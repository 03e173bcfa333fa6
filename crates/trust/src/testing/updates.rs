//! Updates: a TUF repository with the trusted root and the signing configuration.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use skep_registry::Digest;

use crate::key::PrivateKey;
use crate::testing::Failure;
use crate::testing::hex;
use crate::testing::sorted;

/// A repository with one key for every role, as short as the specification allows.
pub(super) struct Updates {
    key: PrivateKey,
    root: String,
    files: Mutex<HashMap<String, Vec<u8>>>,
}

impl Updates {
    pub(super) fn new() -> Result<Self, Failure> {
        let key = PrivateKey::generate()?;
        let role = json!({"keyids": [key.public_key().fingerprint().hex()], "threshold": 1});
        let root = json!({
            "_type": "root",
            "spec_version": "1.0.31",
            "version": 1,
            "expires": "2100-01-01T00:00:00Z",
            "consistent_snapshot": true,
            "keys": {(key.public_key().fingerprint().hex()): {
                "keytype": "ecdsa",
                "scheme": "ecdsa-sha2-nistp256",
                "keyval": {"public": key.public_key().to_pem()},
            }},
            "roles": {"root": role, "timestamp": role, "snapshot": role, "targets": role},
        });
        let root = sign(&key, root)?;
        let files = HashMap::from([("1.root.json".to_owned(), root.clone().into_bytes())]);
        Ok(Self { key, root, files: Mutex::new(files) })
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Publishes targets as a version, which may be one that was before, until a time, which may be over.
    pub(super) fn publish(&self, version: u32, expires: Timestamp, targets: &[(&str, String)]) -> Result<(), Failure> {
        let role = |kind: &str, name: &str, content: Value| {
            let mut signed = json!({
                "_type": kind, "spec_version": "1.0.31", "version": version, "expires": expires.to_string(),
            });
            signed[name] = content;
            sign(&self.key, signed)
        };
        let mut files = HashMap::new();
        let mut list = json!({});
        for (name, content) in targets {
            let hash = Digest::sha256(content.as_bytes()).hex().to_owned();
            list[*name] = json!({"length": content.len(), "hashes": {"sha256": hash}});
            files.insert(format!("targets/{hash}.{name}"), content.clone().into_bytes());
        }
        files.insert(format!("{version}.targets.json"), role("targets", "targets", list)?.into_bytes());
        let meta = json!({"targets.json": {"version": version}});
        files.insert(format!("{version}.snapshot.json"), role("snapshot", "meta", meta)?.into_bytes());
        let meta = json!({"snapshot.json": {"version": version}});
        files.insert("timestamp.json".to_owned(), role("timestamp", "meta", meta)?.into_bytes());
        self.files.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
        Ok(())
    }

    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// What is signed is its canonical form, in which a line feed in a text stands for itself.
fn sign(key: &PrivateKey, signed: Value) -> Result<String, Failure> {
    let canonical = sorted(&signed).to_string().replace("\\n", "\n");
    let signature = hex(&key.sign(canonical.as_bytes())?);
    let signatures = json!([{"keyid": key.public_key().fingerprint().hex(), "sig": signature}]);
    Ok(json!({"signed": signed, "signatures": signatures}).to_string())
}
