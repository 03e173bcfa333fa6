//! Skep, cosign, sigstore-python and sigstore-js sign, and verify what each other signed.
//!
//! `.ci/judge-sigstore` installs the others and says by `SKEP_TEST_COSIGN`, `SKEP_TEST_SIGSTORE_PYTHON` and
//! `SKEP_TEST_SIGSTORE_JS` where they are: a command, a Python that has the package, a directory with `node_modules`.
//! `SKEP_TEST_FULCIO`, `SKEP_TEST_REKOR` and `SKEP_TEST_TIMESTAMPS` are the commands of the services of Sigstore.
//! With `SKEP_TEST_WHOLE=1` everything is tried, else a sample. Each cell is printed.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod claims;
mod cosign;
mod keys;
mod lines;
mod matrix;
mod peer;
mod registry;
mod services;
mod skep;
mod world;

use crate::matrix::Matrix;
use crate::peer::How;
use crate::services::Services;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs cosign, sigstore-python and sigstore-js"]
async fn everybody_verifies_what_everybody_signed() {
    let own = World::own().await;
    let mut matrix = Matrix::new();
    for (world, hows) in [
        (&own.with_log(1), &[How::Identity, How::LoggedKey, How::Key][..]),
        (&own.with_log(2), &[How::Identity, How::LoggedKey]),
    ] {
        for how in hows {
            matrix.fill(world, *how);
        }
    }
    if is_whole() {
        for key in [matrix::ED25519, matrix::P384, "rsa.pkcs8.pem"] {
            matrix.fill(&own.with_log(1).with_key(key), How::Key);
        }
    }
    matrix.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs Fulcio, Rekor, a timestamp authority, cosign, sigstore-python and sigstore-js"]
async fn everybody_verifies_what_was_signed_with_the_services_of_sigstore() {
    let services = Services::start().await;
    let mut matrix = Matrix::new();
    for how in [How::Identity, How::LoggedKey] {
        matrix.fill(services.world(), how);
    }
    matrix.finish();
    claims::judge(&services).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs cosign"]
async fn cosign_and_skep_verify_each_other_through_a_registry() {
    registry::judge(&World::own().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs cosign"]
async fn cosign_and_skep_sign_with_keys_that_the_other_made() {
    keys::judge(&World::own().await);
}

/// Everything, or what most depends on.
fn is_whole() -> bool {
    std::env::var("SKEP_TEST_WHOLE").is_ok_and(|value| value == "1")
}
