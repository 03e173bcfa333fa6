//! Keys: every kind in every form signs, and what was signed holds for that key only.

use crate::common::*;
use serde_json::json;
use skep_trust::Check;
use skep_trust::Error;
use skep_trust::KeyKind;
use skep_trust::KeySigner;
use skep_trust::Kind;
use skep_trust::Predicate;
use skep_trust::PrivateKey;
use skep_trust::PublicKey;
use skep_trust::SignFormat;
use skep_trust::SignOptions;
use skep_trust::SignatureForm;
use skep_trust::SignedBy;
use skep_trust::Stage;
use skep_trust::Verifier;
use skep_trust::Witnesses;
use skep_trust::attest;
use skep_trust::generate_key_pair;
use skep_trust::sign;
use skep_trust::testing::Sigstore;

const PASSWORD: &str = "hunter2";

/// A private key in each form it is written in, its public half, and what it is.
const KEYS: [(&str, &str, KeyKind); 14] = [
    ("p256.pkcs8.pem", "p256.pub", KeyKind::P256),
    ("p256.sec1.pem", "p256.pub", KeyKind::P256),
    ("p256.encrypted.pem", "p256.pub", KeyKind::P256),
    ("p256.scrypt.pem", "p256.pub", KeyKind::P256),
    ("p256.cosign.pem", "p256.pub", KeyKind::P256),
    ("p256.cosign-old.pem", "p256.pub", KeyKind::P256),
    ("p384.pkcs8.pem", "p384.pub", KeyKind::P384),
    ("p384.sec1.pem", "p384.pub", KeyKind::P384),
    ("p384.encrypted.pem", "p384.pub", KeyKind::P384),
    ("rsa.pkcs8.pem", "rsa.pub", KeyKind::Rsa),
    ("rsa.pkcs1.pem", "rsa.pub", KeyKind::Rsa),
    ("rsa.encrypted.pem", "rsa.pub", KeyKind::Rsa),
    ("ed25519.pkcs8.pem", "ed25519.pub", KeyKind::Ed25519),
    ("ed25519.encrypted.pem", "ed25519.pub", KeyKind::Ed25519),
];

fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&text(&format!("keys/{name}")), Some(PASSWORD)).unwrap()
}

fn public(name: &str) -> PublicKey {
    PublicKey::from_pem(&text(&format!("keys/{name}"))).unwrap()
}

#[tokio::test]
async fn every_key_in_every_form_signs_in_both_formats() {
    for (name, half, kind) in KEYS {
        let (registry, subject) = site().await;
        let key = private(name);
        assert_eq!((key.kind(), key.public_key()), (kind, &public(half)), "{name}");
        assert_eq!(public(half).to_pem(), text(&format!("keys/{half}")));
        let signer = KeySigner::new(key);
        for format in [SignFormat::Statement, SignFormat::Message] {
            let options = SignOptions { format, created: None };
            sign(&registry, &repo(), &subject, &signer, &options).await.unwrap();
        }
        let verifier = Verifier::default().trust_key(public(half));
        let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
        assert!(report.rejected.is_empty(), "{name}: {report}");
        let mut forms: Vec<_> = report.verified.iter().map(|verified| verified.kind().clone()).collect();
        forms.sort_by_key(|kind| format!("{kind:?}"));
        let form = |form| Kind::Signature { form };
        assert_eq!(forms, [form(SignatureForm::Message), form(SignatureForm::Statement)], "{name}");
        let fingerprint = public(half).fingerprint();
        assert_eq!(report.verified[0].signer(), &SignedBy::Key { fingerprint });
    }
}

#[tokio::test]
async fn an_attestation_of_a_key_holds_and_is_no_signature() {
    let (registry, subject) = site().await;
    let signer = KeySigner::new(private("p256.pkcs8.pem"));
    let content = json!({"passed": true});
    let predicate = Predicate { kind: "https://acme.example/tests/v1", content: &content, created: None };
    let attached = attest(&registry, &repo(), &subject, predicate, &signer).await.unwrap();
    let verifier = Verifier::default().trust_key(public("p256.pub"));
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    let verified = report.require_attestation("https://acme.example/tests/v1").unwrap();
    let attestation = verified.attestation().unwrap();
    assert_eq!(attestation.predicate, content);
    assert_eq!(attestation.subjects[0].digest["sha256"], subject.digest().hex());
    assert_eq!(verified.referrer(), Some(attached.manifest.digest()));
    assert!(report.require_signature().is_err());
    assert!(report.require_attestation("https://acme.example/tests/v2").is_err());
}

#[tokio::test]
async fn another_key_does_not_hold() {
    let (registry, subject) = site().await;
    let signer = KeySigner::new(private("p256.pkcs8.pem"));
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    for name in ["p384.pub", "rsa.pub", "ed25519.pub"] {
        let report = Verifier::default().trust_key(public(name)).inspect(&registry, &repo(), &subject).await.unwrap();
        assert_eq!(report.verified, []);
        assert_eq!(report.nearest().unwrap().stage, Stage::Signature, "{name}: {report}");
    }
    let report = Verifier::default().inspect(&registry, &repo(), &subject).await.unwrap();
    assert_eq!(report.nearest().unwrap().stage, Stage::Trust);
}

#[tokio::test]
async fn one_of_several_keys_is_enough() {
    let (registry, subject) = site().await;
    let signer = KeySigner::new(private("p384.pkcs8.pem"));
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    let verifier = ["rsa.pub", "ed25519.pub", "p384.pub", "p256.pub"]
        .into_iter()
        .fold(Verifier::default(), |verifier, name| verifier.trust_key(public(name)));
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    assert_eq!(
        report.require_signature().unwrap().signer().to_string(),
        format!("key {}", public("p384.pub").fingerprint())
    );
}

#[tokio::test]
async fn a_pair_that_was_generated_signs_and_opens_with_its_password_only() {
    let pair = generate_key_pair(PASSWORD).unwrap();
    assert!(pair.private.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), "{}", pair.private);
    let key = PrivateKey::from_pem(&pair.private, Some(PASSWORD)).unwrap();
    assert_eq!(key.public_key(), &pair.public_key().unwrap());
    for password in [Some("hunter3"), Some(""), None] {
        let error = PrivateKey::from_pem(&pair.private, password).unwrap_err();
        assert!(matches!(error, Error::Password { .. }), "{error}");
    }
    assert_ne!(generate_key_pair(PASSWORD).unwrap().public, pair.public);
}

#[test]
fn a_pair_is_written_once_and_the_private_key_is_its_owners() {
    let directory = tempfile::tempdir().unwrap();
    let [private, public] = ["cosign.key", "cosign.pub"].map(|name| directory.path().join(name));
    let pair = generate_key_pair(PASSWORD).unwrap();
    pair.save(&private, &public).unwrap();
    assert_eq!(std::fs::read_to_string(&private).unwrap(), pair.private);
    assert_eq!(std::fs::read_to_string(&public).unwrap(), pair.public);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let other = generate_key_pair(PASSWORD).unwrap();
    let error = other.save(&private, &public).unwrap_err().to_string();
    assert!(error.contains("cosign.key"), "{error}");
    // One is there, so neither is written.
    std::fs::remove_file(&private).unwrap();
    let error = other.save(&private, &public).unwrap_err().to_string();
    assert!(error.contains("cosign.pub"), "{error}");
    assert!(!private.exists());
    assert_eq!(std::fs::read_to_string(&public).unwrap(), pair.public);
}

#[test]
fn passwords_that_are_wrong_or_missing_are_said_to_be() {
    for name in ["p256.encrypted.pem", "p256.scrypt.pem", "p256.cosign.pem", "p256.cosign-old.pem"] {
        let pem = text(&format!("keys/{name}"));
        for (password, why) in
            [(Some("hunter3"), "key: the password is wrong"), (None, "key: it is encrypted, and there is no password")]
        {
            assert_eq!(PrivateKey::from_pem(&pem, password).unwrap_err().to_string(), why, "{name}");
        }
    }
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let cases = [
        ("p521.pkcs8.pem", "key: wanted P-256, P-384, RSA or Ed25519"),
        ("rsa1024.pem", "key: wanted P-256, P-384, RSA or Ed25519"),
        ("p256.legacy.pem", "key: encrypted by OpenSSL's old method"),
        ("p256.pbes1.pem", "key: PKCS#"),
        ("p256.des3.pem", "key: PKCS#"),
        ("p256.sha1.pem", "key: PKCS#"),
        ("p256.pub", "key: wanted a PEM block with a private key, got [\"PUBLIC KEY\"]"),
    ];
    for (name, why) in cases {
        let error = PrivateKey::from_pem(&text(&format!("keys/{name}")), Some(PASSWORD)).unwrap_err().to_string();
        assert!(error.starts_with(why), "{name}: {error}");
        let is_convertible = ["legacy", "pbes1", "des3", "sha1"].iter().any(|method| name.contains(method));
        assert_eq!(error.contains("`openssl pkcs8 -topk8"), is_convertible, "{name}: {error}");
    }
    assert!(PublicKey::from_pem(&text("keys/p521.pub")).unwrap_err().to_string().contains("unsupported"));
    let error = PublicKey::from_pem(&text("keys/p256.pkcs8.pem")).unwrap_err().to_string();
    assert_eq!(error, "key: wanted a PEM block PUBLIC KEY, got [\"PRIVATE KEY\"]");
}

#[test]
fn key_files_that_would_take_for_ever_are_refused() {
    let file = |n: u64| {
        let salt = "c2FsdA==";
        let json = json!({
            "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": salt},
            "cipher": {"name": "nacl/secretbox", "nonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
            "ciphertext": "AAAA",
        });
        pem(json.to_string().as_bytes())
    };
    for n in [1 << 30, 3, 0] {
        let error = PrivateKey::from_pem(&file(n), Some(PASSWORD)).unwrap_err().to_string();
        assert!(error.starts_with("key: scrypt with Params"), "{error}");
    }
}

fn pem(content: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(content);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

#[tokio::test]
async fn keys_can_have_witnesses_who_are_checked() {
    let sigstore = Sigstore::start().await.unwrap();
    let witnesses =
        Witnesses::default().with_log(sigstore.url()).with_timestamps(&format!("{}/timestamp", sigstore.url()));
    for (name, half) in [("p256.pkcs8.pem", "p256.pub"), ("p384.pkcs8.pem", "p384.pub"), ("rsa.pkcs8.pem", "rsa.pub")] {
        let (registry, subject) = site().await;
        let signer = KeySigner::new(private(name)).with_witnesses(witnesses.clone());
        let format = if name.starts_with("p256") { SignFormat::Message } else { SignFormat::Statement };
        sign(&registry, &repo(), &subject, &signer, &SignOptions { format, created: None }).await.unwrap();
        let verifier =
            Verifier::default().trust_root(&root(&sigstore)).unwrap().trust_key(public(half)).require_key_log(true);
        let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
        let verified = report.require_signature().unwrap_or_else(|error| panic!("{name}: {error}"));
        for check in [Check::Log, Check::Timestamp, Check::Signature, Check::Subject] {
            assert!(verified.checks().contains(&check), "{name}: {check:?} of {:?}", verified.checks());
        }
        assert_eq!(verified.log_entries().len(), 1);
        let foreign = Sigstore::start().await.unwrap();
        let verifier = Verifier::default().trust_root(&root(&foreign)).unwrap().trust_key(public(half));
        let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
        assert_eq!(report.nearest().unwrap().stage, Stage::Log, "{name}: {report}");
    }
}

#[tokio::test]
async fn keys_are_entered_into_logs_made_of_tiles() {
    let sigstore = Sigstore::start().await.unwrap();
    let configured = Witnesses::from_signing_config(&sigstore.signing_config()).unwrap();
    for (witnesses, is_stamped) in [(Witnesses::default().with_log_tiles(sigstore.url()), false), (configured, true)] {
        for format in [SignFormat::Statement, SignFormat::Message] {
            let (registry, subject) = site().await;
            let signer = KeySigner::new(private("p256.cosign.pem")).with_witnesses(witnesses.clone());
            sign(&registry, &repo(), &subject, &signer, &SignOptions { format, created: None }).await.unwrap();
            let verifier = Verifier::default().trust_root(&root(&sigstore)).unwrap();
            let verifier = verifier.trust_key(public("p256.pub")).require_key_log(true);
            let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
            let verified = report.require_signature().unwrap_or_else(|error| panic!("{format:?}: {error}"));
            assert!(verified.checks().contains(&Check::Log));
            assert_eq!(verified.checks().contains(&Check::Timestamp), is_stamped);
            let log = &verified.log_entries()[0];
            assert_eq!((log.log.as_str(), log.kind), ("tiles.test", "hashedrekord"));
            // Another key in the entry, or none that is trusted, is another signer.
            let other = Verifier::default().trust_root(&root(&sigstore)).unwrap().trust_key(public("p384.pub"));
            assert_eq!(other.inspect(&registry, &repo(), &subject).await.unwrap().verified, []);
        }
    }
}

#[tokio::test]
async fn what_a_log_does_not_take_is_refused_before_it_is_signed() {
    let away = "http://127.0.0.1:9";
    let (one, two) = (Witnesses::default().with_log(away), Witnesses::default().with_log_tiles(away));
    let cases = [
        ("ed25519.pkcs8.pem", &one, SignFormat::Message, "a Rekor of version 1 takes statements of every key"),
        ("p384.pkcs8.pem", &one, SignFormat::Message, "a Rekor of version 1 takes statements of every key"),
        ("ed25519.pkcs8.pem", &two, SignFormat::Statement, "a Rekor of version 2 takes signatures of P-256 keys only"),
        ("rsa.pkcs8.pem", &two, SignFormat::Message, "a Rekor of version 2 takes signatures of P-256 keys only"),
        ("p384.pkcs8.pem", &two, SignFormat::Message, "a Rekor of version 2 takes signatures of P-256 keys only"),
    ];
    for (name, witnesses, format, why) in cases {
        let (registry, subject) = site().await;
        let signer = KeySigner::new(private(name)).with_witnesses(witnesses.clone());
        let options = SignOptions { format, created: None };
        let error = sign(&registry, &repo(), &subject, &signer, &options).await.unwrap_err();
        assert!(matches!(error, Error::Key { .. }) && error.to_string().contains(why), "{name}: {error}");
    }
}

#[tokio::test]
async fn every_kind_of_key_is_entered_and_again() {
    let sigstore = Sigstore::start().await.unwrap();
    let witnesses = Witnesses::default().with_log(sigstore.url());
    let kinds = [
        ("p256", SignFormat::Message),
        ("p256", SignFormat::Statement),
        ("p384", SignFormat::Statement),
        ("rsa", SignFormat::Message),
        ("rsa", SignFormat::Statement),
        ("ed25519", SignFormat::Statement),
    ];
    for (kind, format) in kinds {
        let (registry, subject) = site().await;
        let signer = KeySigner::new(private(&format!("{kind}.pkcs8.pem"))).with_witnesses(witnesses.clone());
        let verifier = Verifier::default().trust_root(&root(&sigstore)).unwrap();
        let verifier = verifier.trust_key(public(&format!("{kind}.pub"))).require_key_log(true);
        let options = SignOptions { format, created: None };
        // RSA and Ed25519 sign the same in the same way again, and the log has it already.
        let attached = [
            sign(&registry, &repo(), &subject, &signer, &options).await.unwrap(),
            sign(&registry, &repo(), &subject, &signer, &options).await.unwrap(),
        ];
        let is_same = attached[0].manifest.digest() == attached[1].manifest.digest();
        assert_eq!(is_same, ["rsa", "ed25519"].contains(&kind), "{kind}");
        let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
        assert_eq!(report.signatures().count(), if is_same { 1 } else { 2 }, "{kind} {format:?}: {report}");
    }
}

#[tokio::test]
async fn a_log_that_is_required_is_missed() {
    let sigstore = Sigstore::start().await.unwrap();
    let (registry, subject) = site().await;
    let signer = KeySigner::new(private("p256.pkcs8.pem"));
    sign(&registry, &repo(), &subject, &signer, &SignOptions::default()).await.unwrap();
    let verifier = Verifier::default().trust_key(public("p256.pub"));
    assert!(verifier.inspect(&registry, &repo(), &subject).await.unwrap().require_signature().is_ok());
    let verifier = verifier.trust_root(&root(&sigstore)).unwrap().require_key_log(true);
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    assert_eq!(report.nearest().unwrap().stage, Stage::Log);
}
