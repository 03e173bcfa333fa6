//! Bundles that other tools wrote, with the verdict they are to get; without a network.

use crate::common::*;
use bytes::Bytes;
use skep_trust::Evidence;
use skep_trust::IdentityPattern;
use skep_trust::Kind;
use skep_trust::Pattern;
use skep_trust::PublicKey;
use skep_trust::SignatureForm;
use skep_trust::Stage;
use skep_trust::TrustedRoot;
use skep_trust::Verified;
use skep_trust::Verifier;

const CONDA: &str = "signed-package-2.1.0-hb0f4dca_0.conda";

fn staging() -> TrustedRoot {
    TrustedRoot::from_json(sigstore_trust_root::SIGSTORE_STAGING_TRUSTED_ROOT, Evidence::default()).unwrap()
}

fn trusting(root: TrustedRoot) -> Verifier {
    Verifier::default().trust_root(&root).unwrap().accept(IdentityPattern::anyone())
}

fn public() -> Verifier {
    trusting(TrustedRoot::sigstore().unwrap())
}

fn holds(verifier: &Verifier, artifact: &str, bundle: &str) -> Verified {
    let verified = verifier.verify_bundle(&subject_of(&fixture(artifact)), &fixture(bundle));
    verified.unwrap_or_else(|rejection| panic!("{bundle}: {rejection:?}"))
}

#[test]
fn signatures_of_cosign_and_sigstore_python_hold() {
    let verified = holds(&public(), "cosign-v3-blob.txt", "cosign-v3-blob.sigstore.json");
    assert_eq!(verified.kind(), &Kind::Signature { form: SignatureForm::Message });
    assert_eq!(verified.signer().certificate().unwrap().issuer, "https://github.com/login/oauth");
    assert_eq!(verified.times().len(), 2);
    let verified = holds(&trusting(staging()), "staging-rekor-v2.txt", "staging-rekor-v2.txt.sigstore.json");
    assert!(verified.is_signature());
    assert_eq!(verified.log_entries().len(), 1);
}

#[test]
fn attestations_of_conda_hold_and_name_their_run() {
    for (verifier, bundle) in
        [(public(), "conda-attestation.sigstore.json"), (trusting(staging()), "conda-attestation-rekor2.sigstore.json")]
    {
        let verified = holds(&verifier, CONDA, bundle);
        let attestation = verified.attestation().unwrap();
        assert_eq!(attestation.predicate_type, "https://schemas.conda.org/attestations-publish-1.schema.json");
        assert_eq!(attestation.subjects[0].name, CONDA);
    }
    let verified = holds(&public(), CONDA, "conda-attestation.sigstore.json");
    let certificate = verified.signer().certificate().unwrap();
    assert_eq!(certificate.issuer, "https://token.actions.githubusercontent.com");
    assert!(certificate.identity.starts_with("https://github.com/"), "{}", certificate.identity);
    assert!(certificate.claims.repository.as_ref().unwrap().starts_with("https://github.com/"));
    assert!(certificate.claims.trigger.is_some() && certificate.claims.commit.is_some());
}

#[test]
fn a_key_with_an_entry_in_a_log_holds() {
    let key = PublicKey::from_pem(&text("managed-key/key.pub")).unwrap();
    let (artifact, bundle) = ("managed-key/artifact.txt", "managed-key/bundle.sigstore.json");
    let logged = Verifier::default().trust_root(&TrustedRoot::sigstore().unwrap()).unwrap().trust_key(key.clone());
    let verified = holds(&logged, artifact, bundle);
    assert_eq!(verified.log_entries().len(), 1);
    // Without a root there is nothing to check the entry by, and it says nothing.
    let verified = holds(&Verifier::default().trust_key(key), artifact, bundle);
    assert_eq!((verified.log_entries(), verified.times()), (&[][..], &[][..]));
    let other = PublicKey::from_pem(&text("keys/p256.pub")).unwrap();
    let other = Verifier::default().trust_root(&TrustedRoot::sigstore().unwrap()).unwrap().trust_key(other);
    let rejection = other.verify_bundle(&subject_of(&fixture(artifact)), &fixture(bundle)).unwrap_err();
    assert!(rejection.stage >= Stage::Log, "{rejection:?}");
}

/// Everything about these holds but that they are about this text: certificate, log, time and signature.
#[test]
fn bundles_about_other_bytes_fail_at_the_subject() {
    let github = trusting(TrustedRoot::github().unwrap());
    let cases = [
        (public(), "conda-attestation.sigstore.json"),
        (public(), "sigstore.js@2.0.0-provenance.sigstore.json"),
        (public(), "dsse.sigstore.json"),
        (github, "github-private-attestation.sigstore.json"),
        (trusting(staging()), "a.dsse.staging-rekor-v2.txt.sigstore.json"),
        (trusting(staging()), "conda-attestation-rekor2.sigstore.json"),
    ];
    let other = subject_of(&Bytes::from_static(b"another text"));
    for (verifier, bundle) in cases {
        let rejection = verifier.verify_bundle(&other, &fixture(bundle)).unwrap_err();
        assert_eq!(rejection.stage, Stage::Subject, "{bundle}: {rejection:?}");
    }
}

#[test]
fn bundles_that_are_broken_fail_where_they_are_broken() {
    let cases = [
        ("bundle_cve_2022_36056.txt.sigstore", &[Stage::Subject, Stage::Log, Stage::Certificate, Stage::Signature][..]),
        ("bundle_invalid_version.txt.sigstore", &[Stage::Parse]),
        ("bundle_no_cert_v1.txt.sigstore", &[Stage::Parse]),
        ("bundle_no_checkpoint.txt.sigstore", &[Stage::Parse]),
        ("bundle_no_log_entry.txt.sigstore", &[Stage::Parse]),
        ("bundle_v3_no_signed_time.txt.sigstore.json", &[Stage::Time, Stage::Log]),
        ("dsse-2sigs.sigstore.json", &[Stage::Parse]),
        ("invalid-ct-key/bundle.sigstore.json", &[Stage::Certificate]),
    ];
    let custom = TrustedRoot::from_json(&text("invalid-ct-key/trusted_root.json"), Evidence::default());
    for (bundle, stages) in cases {
        let verifier = match (bundle.starts_with("invalid-ct-key"), &custom) {
            (true, Ok(root)) => trusting(root.clone()),
            // A root with a key that cannot be one is refused by itself.
            (true, Err(_)) => continue,
            (false, _) => public(),
        };
        let rejection =
            verifier.verify_bundle(&subject_of(&Bytes::from_static(b"another text")), &fixture(bundle)).unwrap_err();
        assert!(stages.contains(&rejection.stage), "{bundle}: {rejection:?}");
    }
}

#[test]
fn githubs_private_instance_is_believed_by_its_own_root_only() {
    let other = subject_of(&Bytes::from_static(b"another text"));
    let bundle = fixture("github-private-attestation.sigstore.json");
    let rejection = public().verify_bundle(&other, &bundle).unwrap_err();
    assert!(rejection.stage < Stage::Subject, "{rejection:?}");
    let both = public().trust_root(&TrustedRoot::github().unwrap()).unwrap();
    assert_eq!(both.verify_bundle(&other, &bundle).unwrap_err().stage, Stage::Subject);
}

#[test]
fn the_identity_of_a_real_bundle_is_matched() {
    let verified = holds(&public(), CONDA, "conda-attestation.sigstore.json");
    let certificate = verified.signer().certificate().unwrap();
    let accepting = |identity, issuer| {
        let root = TrustedRoot::sigstore().unwrap();
        let verifier = Verifier::default().trust_root(&root).unwrap().accept(IdentityPattern::new(identity, issuer));
        verifier.verify_bundle(&subject_of(&fixture(CONDA)), &fixture("conda-attestation.sigstore.json"))
    };
    let (identity, issuer) = (Pattern::exact(&certificate.identity), Pattern::exact(&certificate.issuer));
    assert!(accepting(identity.clone(), issuer.clone()).is_ok());
    let shorter = Pattern::exact(&certificate.identity[..certificate.identity.len() - 1]);
    assert_eq!(accepting(shorter, issuer.clone()).unwrap_err().stage, Stage::Identity);
    assert_eq!(accepting(identity, Pattern::exact("https://gitlab.com")).unwrap_err().stage, Stage::Identity);
}

#[test]
fn a_bundle_without_its_version_is_refused() {
    let bundle = text("cosign-v3-blob.sigstore.json").replace("\"mediaType\"", "\"mediatype\"");
    let subject = subject_of(&fixture("cosign-v3-blob.txt"));
    assert_eq!(public().verify_bundle(&subject, &bundle.into()).unwrap_err().stage, Stage::Parse);
}

/// The size decides which of an entry's neighbours are where; another one can lead to the same root.
#[test]
fn a_proof_for_a_tree_of_another_size_is_refused() {
    let good = text("conda-attestation.sigstore.json");
    let bundle = good.replacen("\"334214816\"", "\"334214814\"", 1);
    assert_ne!(bundle, good);
    let rejection = public().verify_bundle(&subject_of(&fixture(CONDA)), &bundle.into()).unwrap_err();
    assert_eq!(rejection.stage, Stage::Log, "{rejection:?}");
}
