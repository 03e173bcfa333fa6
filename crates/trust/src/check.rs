//! The checks, in their order: signature, signer, subject, identity. The only place that makes a `Verified`.

use std::fmt;

use jiff::Timestamp;
use sigstore_crypto::CertificateInfo;
use sigstore_types::Bundle;
use sigstore_types::KindVersion;
use sigstore_types::SignatureContent;
use sigstore_types::TransparencyLogEntry;
use sigstore_types::bundle::MessageDigest;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_verify::PublicKeyVerificationPolicy;
use sigstore_verify::VerificationPolicy;
use sigstore_verify::VerificationResult;

use crate::cosign;
use crate::error::Error;
use crate::error::Result;
use crate::find::Candidate;
use crate::identity::Certificate;
use crate::identity::Claims;
use crate::key;
use crate::key::PublicKey;
use crate::report::Rejection;
use crate::report::Stage;
use crate::root::Evidence;
use crate::root::TrustedRoot;
use crate::statement;
use crate::subject::Subject;
use crate::verified::Check;
use crate::verified::Kind;
use crate::verified::LogEntry;
use crate::verified::SignatureForm;
use crate::verified::SignedBy;
use crate::verified::SignedTime;
use crate::verified::TimeSource;
use crate::verified::Verified;
use crate::verifier::Verifier;

/// A trusted root, ready to verify.
pub(crate) struct Anchor {
    name: String,
    evidence: Evidence,
    verifier: sigstore_verify::Verifier,
}

/// What a message signature is over.
#[derive(Clone, Copy)]
pub(crate) enum Message<'a> {
    /// The manifest.
    Manifest,
    /// A payload that names the manifest's digest.
    SimpleSigning(&'a [u8]),
}

/// What the checks of one root or key gave.
struct Evident {
    signer: SignedBy,
    times: Vec<SignedTime>,
    checks: Vec<Check>,
}

impl Anchor {
    pub(crate) fn new(root: &TrustedRoot) -> Result<Self> {
        let verifier = sigstore_verify::Verifier::new(&root.inner).map_err(|error| Error::trust(&root.name, error))?;
        Ok(Self { name: root.name.clone(), evidence: root.evidence, verifier })
    }

    /// Checks a bundle with a certificate; who that is, is for the caller to look at.
    fn certificate(&self, bundle: &Bundle, message: &[u8]) -> Result<Evident, Rejection> {
        let mut policy = VerificationPolicy::any_identity();
        if !self.evidence.log {
            policy = policy.skip_tlog_unsafe();
        }
        if !self.evidence.certificate_log {
            policy = policy.skip_sct();
        }
        let result = self.verifier.verify(message, bundle, &policy).map_err(rejection)?;
        let unchecked = || Rejection::new(Stage::Certificate, "the certificate was not checked");
        let certificate = result.certificate().filter(|_| result.certificate_verified()).ok_or_else(unchecked)?;
        let mut checks = vec![Check::Certificate];
        checks.extend(result.sct_verified().then_some(Check::CertificateLog));
        let signer = SignedBy::Certificate(Box::new(certificate_of(certificate)?));
        let evident = Evident::new(signer, bundle, &result, checks);
        if self.evidence.timestamp && !evident.checks.contains(&Check::Timestamp) {
            return Err(Rejection::new(Stage::Time, format!("no timestamp of an authority that {} knows", self.name)));
        }
        Ok(evident)
    }

    /// Checks a bundle that a key made, with the log entries and timestamps it has.
    fn key(&self, bundle: &Bundle, message: &[u8], key: &PublicKey) -> Result<Evident, Rejection> {
        let mut policy = PublicKeyVerificationPolicy::new(key.spki.clone());
        let is_logged = !bundle.verification_material.tlog_entries.is_empty();
        if !is_logged {
            policy = policy.skip_tlog_unsafe();
        }
        let result = self.verifier.verify(message, bundle, &policy).map_err(rejection)?;
        Ok(Evident::new(SignedBy::Key { fingerprint: key.fingerprint() }, bundle, &result, Vec::new()))
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor").field("name", &self.name).field("evidence", &self.evidence).finish_non_exhaustive()
    }
}

impl Evident {
    fn new(signer: SignedBy, bundle: &Bundle, result: &VerificationResult, mut checks: Vec<Check>) -> Self {
        let entries = &bundle.verification_material.tlog_entries;
        // Without a promise the time of an entry is signed by nobody, and was not among those that were verified.
        let promised = entries.iter().filter(|entry| entry.inclusion_promise.is_some());
        let mut promised: Vec<_> = promised.filter_map(|entry| entry.integrated_time).collect();
        // A log and an authority may give the same second, so each time of a log accounts for one.
        let mut source = |time: &Timestamp| match promised.iter().position(|promised| promised == time) {
            Some(place) => {
                promised.swap_remove(place);
                TimeSource::Log
            }
            None => TimeSource::TimestampAuthority,
        };
        let times = result.verified_timestamps().iter().rev();
        let mut times: Vec<_> = times.map(|time| SignedTime { source: source(time), time: *time }).collect();
        times.reverse();
        checks.push(Check::Signature);
        checks.extend((result.tlog_verified() && !entries.is_empty()).then_some(Check::Log));
        let is_stamped = times.iter().any(|time| time.source == TimeSource::TimestampAuthority);
        checks.extend(is_stamped.then_some(Check::Timestamp));
        Self { signer, times, checks }
    }
}

impl Verifier {
    /// Checks a bundle, from the signature to the identity.
    pub(crate) fn check(
        &self,
        subject: &Subject,
        bundle: &Bundle,
        message: Message<'_>,
        candidate: &Candidate,
    ) -> Result<Verified, Rejection> {
        // Read first, because the limits hold before anything is parsed; it goes nowhere unless the signature holds.
        // That it is about other bytes is said only of what was signed properly.
        let kind = match self.kind(subject, bundle, message) {
            Err(rejection) if rejection.stage < Stage::Subject => return Err(rejection),
            kind => kind,
        };
        let bytes = match message {
            Message::Manifest => &subject.bytes()[..],
            Message::SimpleSigning(payload) => payload,
        };
        let evident = match &bundle.verification_material.content {
            VerificationMaterialContent::PublicKey(_) => self.by_key(bundle, bytes)?,
            _ => self.by_certificate(bundle, bytes)?,
        };
        let kind = kind?;
        self.admit(&evident.signer)?;
        let mut checks = evident.checks;
        checks.extend([Check::Subject, Check::Identity]);
        let entries = bundle.verification_material.tlog_entries.iter().map(|entry| LogEntry {
            index: proven_index(entry),
            log: proven_log(entry),
            kind: entry.kind_version.kind(),
        });
        Ok(Verified {
            subject: subject.descriptor().clone(),
            kind,
            signer: evident.signer,
            times: evident.times,
            log: entries.filter(|_| checks.contains(&Check::Log)).collect(),
            checks,
            bundle: candidate.digest().clone(),
            referrer: candidate.referrer().cloned(),
        })
    }

    /// What is signed, and that it is about the subject.
    fn kind(&self, subject: &Subject, bundle: &Bundle, message: Message<'_>) -> Result<Kind, Rejection> {
        match (&bundle.content, message) {
            (SignatureContent::MessageSignature(_), Message::Manifest) => {
                Ok(Kind::Signature { form: SignatureForm::Message })
            }
            (SignatureContent::MessageSignature(_), Message::SimpleSigning(payload)) => {
                cosign::about(payload, subject)?;
                Ok(Kind::Signature { form: SignatureForm::SimpleSigning })
            }
            (SignatureContent::DsseEnvelope(envelope), Message::Manifest) => {
                if envelope.payload_type != statement::PAYLOAD_TYPE {
                    let why = format!("payload type {}, wanted {}", envelope.payload_type, statement::PAYLOAD_TYPE);
                    return Err(Rejection::new(Stage::Parse, why));
                }
                statement::read(envelope.payload.as_bytes(), subject, &self.limits)
            }
            _ => Err(Rejection::new(Stage::Parse, "a bundle without a signature of a kind that is known")),
        }
    }

    fn by_certificate(&self, bundle: &Bundle, message: &[u8]) -> Result<Evident, Rejection> {
        if self.roots.is_empty() {
            return Err(Rejection::new(Stage::Trust, "signed with a certificate, and no root is trusted"));
        }
        furthest(self.roots.iter().map(|root| root.certificate(bundle, message)))
    }

    fn by_key(&self, bundle: &Bundle, message: &[u8]) -> Result<Evident, Rejection> {
        if self.keys.is_empty() {
            return Err(Rejection::new(Stage::Trust, "signed with a key, and no key is trusted"));
        }
        furthest(self.keys.iter().map(|key| self.with_key(bundle, message, key)))
    }

    fn with_key(&self, bundle: &Bundle, message: &[u8], key: &PublicKey) -> Result<Evident, Rejection> {
        let material = &bundle.verification_material;
        let is_logged = !material.tlog_entries.is_empty();
        let is_stamped = !material.timestamp_verification_data.rfc3161_timestamps.is_empty();
        if self.key_log && (!is_logged || self.roots.is_empty()) {
            return Err(Rejection::new(
                Stage::Log,
                "a log is required, and there is no entry or no root to check it by",
            ));
        }
        if (is_logged || is_stamped) && !self.roots.is_empty() {
            return furthest(self.roots.iter().map(|root| root.key(bundle, message, key)));
        }
        // Nothing to check but the signature. The verifier of sigstore wants evidence of a time, which a key that
        // does not expire has no need of.
        let holds = match &bundle.content {
            SignatureContent::MessageSignature(signature) => {
                let is_digest =
                    |stated: &MessageDigest| key::hash(stated.algorithm, message) == stated.digest.as_bytes();
                signature.message_digest.as_ref().is_none_or(is_digest) && key.verifies(message, &signature.signature)
            }
            SignatureContent::DsseEnvelope(envelope) => key.verifies(&envelope.pae(), &envelope.signature.sig),
            _ => false,
        };
        if !holds {
            let why = format!("the signature was not made by the key {}", key.fingerprint());
            return Err(Rejection::new(Stage::Signature, why));
        }
        let signer = SignedBy::Key { fingerprint: key.fingerprint() };
        Ok(Evident { signer, times: Vec::new(), checks: vec![Check::Signature] })
    }

    /// Whether the signer is one of those who are accepted. Keys are, for they were given.
    fn admit(&self, signer: &SignedBy) -> Result<(), Rejection> {
        let SignedBy::Certificate(certificate) = signer else { return Ok(()) };
        let refused = |why: String| Rejection { signer: Some(signer.clone()), ..Rejection::new(Stage::Identity, why) };
        let mut nearest: Option<Vec<String>> = None;
        for pattern in &self.identities {
            let mismatches = pattern.mismatches(certificate);
            if mismatches.is_empty() {
                return Ok(());
            }
            if nearest.as_ref().is_none_or(|nearest| mismatches.len() < nearest.len()) {
                nearest = Some(mismatches);
            }
        }
        Err(refused(nearest.map_or_else(|| "no identity is accepted".to_owned(), |nearest| nearest.join("; "))))
    }
}

/// The first that holds, or the failure that came the furthest.
fn furthest(attempts: impl Iterator<Item = Result<Evident, Rejection>>) -> Result<Evident, Rejection> {
    let mut furthest: Option<Rejection> = None;
    for attempt in attempts {
        match attempt {
            Ok(evident) => return Ok(evident),
            Err(rejection) if furthest.as_ref().is_none_or(|best| rejection.stage > best.stage) => {
                furthest = Some(rejection);
            }
            Err(_) => {}
        }
    }
    Err(furthest.unwrap_or_else(|| Rejection::new(Stage::Trust, "nobody is trusted")))
}

/// The number of an entry, as the log vouches for it.
///
/// Logs of version 1 count twice: over all their trees, which the promise states, and within one, as the proof states.
fn proven_index(entry: &TransparencyLogEntry) -> u64 {
    match &entry.inclusion_proof {
        Some(proof) if entry.inclusion_promise.is_none() && entry.kind_version != KindVersion::HashedRekordV002 => {
            proof.log_index.get()
        }
        _ => entry.log_index.get(),
    }
}

/// The log of an entry: as its checkpoint, which is signed, calls it; else the key that signed the promise.
fn proven_log(entry: &TransparencyLogEntry) -> String {
    match entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint()) {
        Some(checkpoint) => checkpoint.origin().to_owned(),
        None => entry.log_id.key_id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn certificate_of(info: &CertificateInfo) -> Result<Certificate, Rejection> {
    let missing = |what| Rejection::new(Stage::Certificate, format!("the certificate names no {what}"));
    let identity = info.identity.as_ref().ok_or_else(|| missing("identity"))?.as_str().to_owned();
    let issuer = info.issuer.clone().ok_or_else(|| missing("issuer"))?;
    let ci = &info.ci_claims;
    let claims = Claims {
        repository: ci.source_repository_uri.clone(),
        commit: ci.source_repository_digest.clone(),
        reference: ci.source_repository_ref.clone(),
        owner: ci.source_repository_owner_uri.clone(),
        workflow: ci.build_config_uri.clone(),
        builder: ci.build_signer_uri.clone(),
        trigger: ci.build_trigger.clone(),
        runner: ci.runner_environment.clone(),
        run: ci.run_invocation_uri.clone(),
    };
    Ok(Certificate { identity, issuer, claims })
}

fn rejection(error: sigstore_verify::Error) -> Rejection {
    use sigstore_verify::Error as E;
    let stage = match &error {
        E::SignatureInvalid(_) | E::Crypto(_) => Stage::Signature,
        E::ArtifactMismatch(_) => Stage::Subject,
        E::Certificate(_) => Stage::Certificate,
        E::TransparencyLog(_) => Stage::Log,
        E::Timestamp(_) => Stage::Time,
        E::InvalidTrustRoot(_) | E::TrustRoot(_) => Stage::Trust,
        _ => Stage::Parse,
    };
    Rejection::new(stage, error.to_string())
}
