//! `skep sign REF` and `skep attest REF`.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use skep::Address;
use skep::Store;
use skep_registry::Code;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_trust::Attached;
use skep_trust::Predicate;
use skep_trust::SLSA_PROVENANCE;
use skep_trust::SignOptions;
use skep_trust::Subject;

use super::Session;
use super::manifest::read;
use super::signer::Prepared;
use super::signer::Ready;
use crate::args::Attest;
use crate::args::Sign;
use crate::args::SignFormat;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output::escape;

/// Bytes of what is stated. In an envelope it is larger by a third, and verifiers read 8 MiB.
const MAX_PREDICATE: u64 = 5 << 20;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    digest: String,
    #[serde(flatten)]
    signed: Signed,
}

/// What was attached to a manifest, and by whom.
#[derive(Serialize)]
pub(super) struct Signed {
    /// Who signed.
    signer: String,
    /// What is stated, for an attestation.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicate_type: Option<String>,
    /// The manifest that refers to what was signed.
    referrer: String,
    /// The bytes with signature and proofs.
    bundle: String,
}

/// A manifest that is there, and where.
pub(super) struct Target {
    registry: Arc<dyn Registry>,
    repo: RepoName,
    subject: Subject,
}

pub(super) async fn sign(session: &Session, args: Sign) -> Outcome {
    let prepared = Prepared::new(session, &args.signer).await?;
    let target = Target::of(session, &args.from).await?;
    let signed = target.sign(&prepared.ready().await?, args.format).await?;
    answer(session, "skep/sign/v1", &args.from, &target, signed)
}

pub(super) async fn attest(session: &Session, args: Attest) -> Outcome {
    let prepared = Prepared::new(session, &args.signer).await?;
    let stated = match (args.predicate_type, &args.predicate) {
        (Some(kind), Some(path)) => Some((kind, predicate(path).await?)),
        _ => None,
    };
    let target = Target::of(session, &args.from).await?;
    let ready = prepared.ready().await?;
    let signed = match stated {
        Some((kind, content)) => target.attest(&ready, &kind, &content).await?,
        None => target.attest_provenance(&ready).await?,
    };
    answer(session, "skep/attest/v1", &args.from, &target, signed)
}

impl Target {
    /// What an address stands for now, as the registry says. No policy is asked: what it wants may be about to be attached.
    pub(super) async fn of(session: &Session, address: &Address) -> Outcome<Self> {
        let offline = session.client.options().caches.offline;
        if offline && matches!(address.store, Store::Repository { .. }) {
            let message = format!("offline: {address} cannot be written");
            return Err(skep_registry::Error::new(Code::Unavailable, message).into());
        }
        let (registry, repo) = session.client.registry(&address.store)?;
        let manifest = registry.get_manifest(&repo, &address.manifest()).await?;
        match &address.digest {
            Some(digest) if digest != manifest.digest() => {
                let message = format!("{address}: expected {digest}, got {}", manifest.digest());
                Err(skep_registry::Error::new(Code::DigestInvalid, message).into())
            }
            _ => Ok(Self { registry, repo, subject: Subject::from(&manifest) }),
        }
    }

    pub(super) async fn sign(&self, by: &Ready, format: SignFormat) -> Outcome<Signed> {
        let options = SignOptions { format: format.into(), created: Some(Timestamp::now()) };
        let signed = skep_trust::sign(&*self.registry, &self.repo, &self.subject, &*by.signer, &options).await?;
        Ok(Signed::new(&by.who, None, &signed))
    }

    pub(super) async fn attest(&self, by: &Ready, kind: &str, content: &Value) -> Outcome<Signed> {
        let predicate = Predicate { kind, content, created: Some(Timestamp::now()) };
        let signed = skep_trust::attest(&*self.registry, &self.repo, &self.subject, predicate, &*by.signer).await?;
        Ok(Signed::new(&by.who, Some(kind.to_owned()), &signed))
    }

    /// States how it was built, as the CI system that this runs on tells.
    pub(super) async fn attest_provenance(&self, by: &Ready) -> Outcome<Signed> {
        let provenance = skep_trust::slsa_provenance(|name| std::env::var(name).ok(), by.claims.as_ref())?;
        self.attest(by, SLSA_PROVENANCE, &provenance).await
    }
}

impl Signed {
    fn new(signer: &str, predicate_type: Option<String>, attached: &Attached) -> Self {
        let bundle = skep_registry::Digest::sha256(&attached.bundle).to_string();
        let signer = signer.to_owned();
        Self { signer, predicate_type, referrer: attached.manifest.digest().to_string(), bundle }
    }

    /// Said to people.
    pub(super) fn words(&self) -> String {
        let what = match &self.predicate_type {
            Some(kind) => format!("attested as {}", escape(kind)),
            None => "signed".to_owned(),
        };
        format!("{what} by {}, attached as {}", escape(&self.signer), self.referrer)
    }
}

fn answer(session: &Session, schema: &'static str, from: &Address, target: &Target, signed: Signed) -> Outcome {
    let digest = target.subject.digest();
    let answer = Answer { schema, r#ref: from.at(digest.clone()).to_string(), digest: digest.to_string(), signed };
    session.answer(&answer, || format!("{}\n{}", escape(&answer.r#ref), answer.signed.words()))
}

async fn predicate(path: &Path) -> Outcome<Value> {
    let bytes = read(path, MAX_PREDICATE).await?;
    let malformed = |error| Failure::new(Exit::Usage, format!("{} is not JSON: {error}", path.display()));
    serde_json::from_slice(&bytes).map_err(malformed)
}
