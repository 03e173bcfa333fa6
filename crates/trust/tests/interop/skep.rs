//! Skep as a peer: the library, as a program would use it.

use std::future::Future;

use bytes::Bytes;
use skep_registry::Manifest;
use skep_registry::Memory;
use skep_registry::media_type;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::IdentityToken;
use skep_trust::KeySigner;
use skep_trust::KeylessSigner;
use skep_trust::Pattern;
use skep_trust::Predicate;
use skep_trust::PrivateKey;
use skep_trust::PublicKey;
use skep_trust::Services;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::Signer;
use skep_trust::Subject;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;
use skep_trust::Witnesses;
use skep_trust::attest;
use skep_trust::sign;

use crate::peer::Case;
use crate::peer::Expected;
use crate::peer::How;
use crate::peer::Peer;
use crate::peer::What;
use crate::world::World;

pub(crate) struct Skep;

impl Peer for Skep {
    fn name(&self) -> &str {
        "skep"
    }

    fn sign(&self, world: &World, case: Case, artifact: &Bytes) -> Result<Bytes, String> {
        let signer = signer(world, case.how);
        let (registry, repo) = (Memory::default(), "acme/site".parse().unwrap());
        let subject = subject(artifact);
        let attached = match case.what.predicate_type() {
            Some(kind) if case.what == What::Attestation => {
                let content = case.what.predicate();
                let predicate = Predicate { kind, content: &content, created: None };
                wait(attest(&registry, &repo, &subject, predicate, &*signer))
            }
            statement => {
                let format = if statement.is_some() { SignFormat::Statement } else { SignFormat::Message };
                let options = SignOptions { format, created: None };
                wait(sign(&registry, &repo, &subject, &*signer, &options))
            }
        };
        attached.map(|attached| attached.bundle).map_err(|error| error.to_string())
    }

    fn verify(&self, world: &World, case: Case, expected: &Expected, bundle: &Bytes) -> Result<(), String> {
        let verified = verifier(world, case.how, expected).verify_bundle(&subject(&expected.artifact), bundle);
        let verified = verified.map_err(|rejection| rejection.to_string())?;
        let came = verified.attestation().map(|attestation| attestation.predicate_type.as_str());
        let wanted = case.what.predicate_type().filter(|_| case.what == What::Attestation);
        if came != wanted {
            return Err(format!("wanted {wanted:?}, got {came:?}"));
        }
        Ok(())
    }
}

/// Signs with what a case says, in a world.
pub(crate) fn signer(world: &World, how: How) -> Box<dyn Signer> {
    let key = || KeySigner::new(PrivateKey::from_pem(&world.private_key(), None).unwrap());
    match how {
        How::Identity => {
            let services = Services::from_signing_config(&world.config(true)).unwrap();
            Box::new(KeylessSigner::new(services, IdentityToken::new(&world.token()).unwrap()))
        }
        How::Key => Box::new(key()),
        How::LoggedKey => Box::new(key().with_witnesses(Witnesses::from_signing_config(&world.config(true)).unwrap())),
    }
}

/// Accepts whom a case says, in a world.
pub(crate) fn verifier(world: &World, how: How, expected: &Expected) -> Verifier {
    let root = TrustedRoot::from_json(&world.root, Evidence::default()).unwrap();
    let verifier = Verifier::default().trust_root(&root).unwrap();
    match how {
        How::Identity => {
            verifier.accept(IdentityPattern::new(Pattern::exact(&expected.identity), Pattern::exact(world.issuer())))
        }
        How::Key | How::LoggedKey => {
            verifier.trust_key(PublicKey::from_pem(&expected.key).unwrap()).require_key_log(how == How::LoggedKey)
        }
    }
}

fn subject(artifact: &Bytes) -> Subject {
    Subject::from(&Manifest::new(media_type::INDEX, artifact.clone()))
}

/// Peers are asked one after the other, in a runtime that has more threads.
fn wait<F: Future>(future: F) -> F::Output {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}
