//! Cosign, by its command.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;

use crate::peer::Case;
use crate::peer::Expected;
use crate::peer::How;
use crate::peer::Peer;
use crate::world::World;

/// Of keys that cosign encrypts.
pub(crate) const PASSWORD: &str = "hunter2";

pub(crate) struct Cosign;

impl Peer for Cosign {
    fn name(&self) -> &str {
        "cosign"
    }

    fn sign(&self, world: &World, case: Case, artifact: &Bytes) -> Result<Bytes, String> {
        let out = world.path("by-cosign.json");
        let mut command = cosign(
            world,
            match case.what.predicate_type() {
                Some(_) => "attest-blob",
                None => "sign-blob",
            },
        );
        command.arg("--yes").arg("--bundle").arg(&out);
        match case.what.statement(artifact) {
            Some(statement) => command.arg("--statement").arg(world.file("statement.json", statement)),
            None => command.arg(world.file("artifact", artifact)),
        };
        run(sign_with(&mut command, world, case.how))?;
        Ok(fs::read(&out).unwrap().into())
    }

    fn verify(&self, world: &World, case: Case, expected: &Expected, bundle: &Bytes) -> Result<(), String> {
        let mut command = match case.what.predicate_type() {
            Some(kind) => {
                let mut command = cosign(world, "verify-blob-attestation");
                command.args(["--type", kind]);
                command
            }
            None => cosign(world, "verify-blob"),
        };
        command.arg("--bundle").arg(world.file("bundle.json", bundle));
        verify_with(&mut command, world, case.how, expected);
        run(command.arg(world.file("artifact", &expected.artifact))).map(drop)
    }
}

/// A command of cosign that asks nobody and looks nowhere but where it is told.
pub(crate) fn cosign(world: &World, verb: &str) -> Command {
    let path = env::var("SKEP_TEST_COSIGN").expect("SKEP_TEST_COSIGN is a command");
    let mut command = Command::new(path);
    command.arg(verb).env("COSIGN_PASSWORD", PASSWORD).env("HOME", world.path("."));
    command
}

/// The key of a world, as cosign wants it.
pub(crate) fn private_key(world: &World) -> PathBuf {
    let prefix = world.path(world.key);
    let imported = world.path(&format!("{}.key", world.key));
    if !imported.exists() {
        let mut command = cosign(world, "import-key-pair");
        command.arg("--output-key-prefix").arg(prefix);
        run(command.arg("--key").arg(world.file("plain.pem", world.private_key()))).unwrap();
    }
    imported
}

/// Adds who signs.
pub(crate) fn sign_with<'a>(command: &'a mut Command, world: &World, how: How) -> &'a mut Command {
    command.arg("--trusted-root").arg(world.path("trusted_root.json"));
    let config = world.file("signing_config.json", world.config(how != How::Key));
    command.arg("--signing-config").arg(config);
    match how {
        How::Identity => command.arg("--identity-token").arg(world.file("token", world.token())),
        How::Key | How::LoggedKey => command.arg("--key").arg(private_key(world)),
    }
}

/// Adds who has to have signed.
pub(crate) fn verify_with<'a>(
    command: &'a mut Command,
    world: &World,
    how: How,
    expected: &Expected,
) -> &'a mut Command {
    command.arg("--trusted-root").arg(world.path("trusted_root.json"));
    match how {
        How::Identity => {
            command.args(["--certificate-identity", &expected.identity, "--certificate-oidc-issuer", world.issuer()])
        }
        How::Key | How::LoggedKey => {
            command.arg("--key").arg(world.file("cosign.pub", &expected.key));
            command.arg(format!("--insecure-ignore-tlog={}", how == How::Key))
        }
    }
}

/// Runs a command: what it prints, or what it says when it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // It says it twice, and first what it was about to do.
    Err(String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned())
}
