//! Trusted roots: whose certificates, logs and timestamps are believed.

use std::path::Path;

use sigstore_trust_root::SigstoreInstance;

use crate::error::Error;
use crate::error::Result;

/// The keys and certificates of one Sigstore, and what a signature has to bring to be believed there.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    pub(crate) inner: sigstore_trust_root::TrustedRoot,
    pub(crate) evidence: Evidence,
    pub(crate) name: String,
}

/// What a certificate has to be accompanied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The signature stands in a transparency log of the root.
    pub log: bool,
    /// The certificate stands in a certificate transparency log of the root.
    pub certificate_log: bool,
    /// A timestamp authority of the root vouches for the time.
    pub timestamp: bool,
}

impl Default for Evidence {
    /// Both logs, as the public Sigstore has them.
    fn default() -> Self {
        Self { log: true, certificate_log: true, timestamp: false }
    }
}

impl TrustedRoot {
    /// The public Sigstore, as of the release of this crate.
    ///
    /// # Errors
    /// `Trust`, never with the root that is built in.
    pub fn sigstore() -> Result<Self> {
        Self::embedded("sigstore", SigstoreInstance::PublicGood, Evidence::default())
    }

    /// GitHub's Sigstore for private repositories, which has timestamps and no public logs.
    ///
    /// # Errors
    /// `Trust`, never with the root that is built in.
    pub fn github() -> Result<Self> {
        let evidence = Evidence { log: false, certificate_log: false, timestamp: true };
        Self::embedded("github", SigstoreInstance::GitHub, evidence)
    }

    /// A root in the format of `trusted_root.json`.
    ///
    /// # Errors
    /// `Trust` when it is malformed or unusable.
    pub fn from_json(json: &str, evidence: Evidence) -> Result<Self> {
        Self::parse("trusted root", json, evidence)
    }

    /// Reads a root from a file, 1 MiB at most.
    ///
    /// # Errors
    /// `Trust` when it cannot be read or used.
    pub fn from_file(path: &Path, evidence: Evidence) -> Result<Self> {
        use std::io::Read;
        let name = path.display().to_string();
        let mut json = String::new();
        let file = std::fs::File::open(path).map_err(|error| Error::trust(&name, error))?;
        file.take(MAX_FILE + 1).read_to_string(&mut json).map_err(|error| Error::trust(&name, error))?;
        if json.len() as u64 > MAX_FILE {
            return Err(Error::trust(&name, format!("larger than {MAX_FILE} bytes")));
        }
        Self::parse(&name, &json, evidence)
    }

    fn embedded(name: &str, instance: SigstoreInstance, evidence: Evidence) -> Result<Self> {
        Self::parse(name, instance.embedded_trusted_root_json(), evidence)
    }

    pub(crate) fn parse(name: &str, json: &str, evidence: Evidence) -> Result<Self> {
        let inner = sigstore_trust_root::TrustedRoot::from_json(json).map_err(|error| Error::trust(name, error))?;
        Self::usable(Self { inner, evidence, name: name.to_owned() })
    }

    /// A root that cannot be used is refused here, not at the first signature.
    fn usable(root: Self) -> Result<Self> {
        sigstore_verify::Verifier::new(&root.inner).map_err(|error| Error::trust(&root.name, error))?;
        Ok(root)
    }
}

const MAX_FILE: u64 = 1 << 20;
