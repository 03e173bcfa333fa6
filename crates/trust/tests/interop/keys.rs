//! Keys that cosign made and skep signs with, and the other way round.

use std::fs;

use bytes::Bytes;
use skep_registry::Manifest;
use skep_registry::media_type;
use skep_trust::KeySigner;
use skep_trust::PrivateKey;
use skep_trust::PublicKey;
use skep_trust::Signer;
use skep_trust::Subject;
use skep_trust::Verifier;
use skep_trust::generate_key_pair;

use crate::cosign::PASSWORD;
use crate::cosign::cosign;
use crate::cosign::run;
use crate::world::World;

pub(crate) fn judge(world: &World) {
    let manifest = Manifest::new(media_type::INDEX, r#"{"schemaVersion": 2, "manifests": []}"#);
    let artifact = world.file("artifact", manifest.bytes());
    let config = world.file("signing_config.json", world.config(false));

    let mut command = cosign(world, "generate-key-pair");
    run(command.arg("--output-key-prefix").arg(world.path("by-cosign"))).unwrap();
    let [private, public] =
        ["by-cosign.key", "by-cosign.pub"].map(|name| fs::read_to_string(world.path(name)).unwrap());
    let key = PrivateKey::from_pem(&private, Some(PASSWORD)).unwrap();
    assert_eq!(key.public_key(), &PublicKey::from_pem(&public).unwrap());
    assert!(PrivateKey::from_pem(&private, Some("another")).is_err());
    let signing = KeySigner::new(key);
    let bundle = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(signing.sign_message(manifest.bytes())).unwrap()
    });
    let mut command = cosign(world, "verify-blob");
    command.args(["--insecure-ignore-tlog=true", "--trusted-root"]).arg(world.path("trusted_root.json"));
    command.arg("--key").arg(world.path("by-cosign.pub")).arg("--bundle").arg(world.file("bundle.json", bundle));
    run(command.arg(&artifact)).unwrap();
    println!("skep signs with a key that cosign made, and cosign verifies that");

    let pair = generate_key_pair(PASSWORD).unwrap();
    let mut command = cosign(world, "sign-blob");
    command.arg("--key").arg(world.file("by-skep.key", &pair.private)).arg("--signing-config").arg(config);
    command.arg("--trusted-root").arg(world.path("trusted_root.json"));
    run(command.args(["--yes", "--bundle"]).arg(world.path("bundle.json")).arg(&artifact)).unwrap();
    let bundle = Bytes::from(fs::read(world.path("bundle.json")).unwrap());
    let verifier = Verifier::default().trust_key(pair.public_key().unwrap());
    verifier.verify_bundle(&Subject::from(&manifest), &bundle).unwrap();
    println!("cosign signs with a key that skep made, and skep verifies that");
}
