//! Rekor: a log that shows itself to everybody, of version 1 and of version 2.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use skep_registry::Digest;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::key::PrivateKey;
use crate::key::PublicKey;
use crate::testing::Failure;
use crate::testing::hex;
use crate::testing::sorted;
use crate::testing::tree::Proof;
use crate::testing::tree::Tree;

/// A log with a key. Objects are written with their keys in lexical order: that is the canonical form entries are
/// hashed in.
pub(super) struct Rekor {
    name: &'static str,
    key: PrivateKey,
    tree: Mutex<Tree>,
    /// What was answered, by the content of the entry; of version 1 only.
    entries: Mutex<HashMap<String, Value>>,
}

/// What became of an entry.
pub(super) enum Entered {
    /// It is in the log now: its name, and what is answered.
    New(String, Value),
    /// It was there before, by this name.
    Standing(String),
}

impl Rekor {
    pub(super) fn new(name: &'static str) -> Result<Self, Failure> {
        Ok(Self { name, key: PrivateKey::generate()?, tree: Mutex::default(), entries: Mutex::default() })
    }

    pub(super) fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Enters a `hashedrekord` or a `dsse` of version 0.0.1.
    pub(super) fn enter(&self, request: &Value) -> Result<Entered, Failure> {
        let spec = &request["spec"];
        let body = match request["kind"].as_str() {
            Some("hashedrekord") => {
                let (hash, signature) = (&spec["data"]["hash"], &spec["signature"]);
                let pem = canonical(&signature["publicKey"]["content"])?;
                json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                    "data": {"hash": {"algorithm": hash["algorithm"], "value": hash["value"]}},
                    "signature": {"content": signature["content"], "publicKey": {"content": pem}},
                }})
            }
            Some("dsse") => {
                let proposed = &spec["proposedContent"];
                let text = proposed["envelope"].as_str().ok_or("no envelope")?;
                let envelope: Value = serde_json::from_str(text)?;
                let payload = STANDARD.decode(envelope["payload"].as_str().ok_or("no payload")?)?;
                json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": Digest::sha256(text.as_bytes()).hex()},
                    "payloadHash": {"algorithm": "sha256", "value": Digest::sha256(&payload).hex()},
                    "signatures": [{
                        "signature": envelope["signatures"][0]["sig"],
                        "verifier": canonical(&proposed["verifiers"][0])?,
                    }],
                }})
            }
            kind => return Err(format!("entries of kind {kind:?} are not known").into()),
        };
        let body = sorted(&body).to_string();
        let id = Digest::sha256(body.as_bytes()).hex().to_owned();
        if self.entry(&id).is_some() {
            return Ok(Entered::Standing(id));
        }
        let proof = self.add(body.as_bytes());
        let body = STANDARD.encode(body);
        let checkpoint = self.checkpoint(&proof, &format!("{} - 1", self.name))?;
        let (time, log) = (Timestamp::now().as_second(), self.key.public_key().fingerprint());
        let promise = json!({"body": body, "integratedTime": time, "logID": log.hex(), "logIndex": proof.index});
        let promise = STANDARD.encode(self.key.sign(sorted(&promise).to_string().as_bytes())?);
        let hashes: Vec<String> = proof.hashes.iter().map(|hash| hex(hash)).collect();
        let entry = json!({&id: {
            "body": body,
            "integratedTime": time,
            "logID": log.hex(),
            "logIndex": proof.index,
            "verification": {
                "inclusionProof": {
                    "checkpoint": checkpoint,
                    "hashes": hashes,
                    "logIndex": proof.index,
                    "rootHash": hex(&proof.root),
                    "treeSize": proof.size,
                },
                "signedEntryTimestamp": promise,
            },
        }});
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), entry.clone());
        Ok(Entered::New(id, entry))
    }

    /// An entry of version 1 by its name, as it was answered.
    pub(super) fn entry(&self, id: &str) -> Option<Value> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Enters a `hashedrekord` of version 0.0.2, and answers as a bundle has it.
    pub(super) fn enter_tile(&self, request: &Value) -> Result<Value, Failure> {
        let request = &request["hashedRekordRequestV002"];
        if request.is_null() {
            return Err("wanted a hashedRekordRequestV002".into());
        }
        let verifier = &request["signature"]["verifier"];
        match (verifier["publicKey"]["rawBytes"].as_str(), verifier["x509Certificate"]["rawBytes"].as_str()) {
            (Some(key), None) => drop(PublicKey::from_der(&STANDARD.decode(key)?)?),
            (None, Some(certificate)) => drop(Certificate::from_der(&STANDARD.decode(certificate)?)?),
            _ => return Err("wanted a key or a certificate".into()),
        }
        let body = json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": {
            "data": {"algorithm": "SHA2_256", "digest": request["digest"]},
            "signature": request["signature"],
        }}});
        let body = sorted(&body).to_string();
        let proof = self.add(body.as_bytes());
        let hashes: Vec<String> = proof.hashes.iter().map(|hash| STANDARD.encode(hash)).collect();
        Ok(json!({
            "logIndex": proof.index.to_string(),
            "logId": {"keyId": STANDARD.encode(self.key.public_key().fingerprint().hash())},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "inclusionProof": {
                "logIndex": proof.index.to_string(),
                "rootHash": STANDARD.encode(proof.root),
                "treeSize": proof.size.to_string(),
                "hashes": hashes,
                "checkpoint": {"envelope": self.checkpoint(&proof, self.name)?},
            },
            "canonicalizedBody": STANDARD.encode(body),
        }))
    }

    fn add(&self, body: &[u8]) -> Proof {
        // Entries are added whole, so a log whose holder panicked is still a log.
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).add(body)
    }

    /// A signed note on the tree as it is.
    fn checkpoint(&self, proof: &Proof, origin: &str) -> Result<String, Failure> {
        let note = format!("{origin}\n{}\n{}\n", proof.size, STANDARD.encode(proof.root));
        let mut signature = self.key.public_key().fingerprint().hash();
        signature.truncate(4);
        signature.extend(self.key.sign(note.as_bytes())?);
        Ok(format!("{note}\n\u{2014} {} {}\n", self.name, STANDARD.encode(signature)))
    }
}

/// PEM in base64 as Rekor writes it, with line feeds and one at the end, whatever came.
fn canonical(content: &Value) -> Result<String, Failure> {
    let pem = String::from_utf8(STANDARD.decode(content.as_str().ok_or("no key")?)?)?;
    Ok(STANDARD.encode(format!("{}\n", pem.replace("\r\n", "\n").trim_end())))
}
