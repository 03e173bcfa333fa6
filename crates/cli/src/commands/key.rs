//! `skep generate-key-pair`.

use std::io::IsTerminal;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;

use super::Session;
use super::signer::PASSWORDS;
use super::signer::password;
use crate::args::GenerateKeyPair;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output::escape;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    private_key: String,
    public_key: String,
    fingerprint: String,
}

pub(super) async fn generate_key_pair(session: &Session, args: GenerateKeyPair) -> Outcome {
    let [private, public] = ["key", "pub"].map(|ending| with_ending(&args.output_prefix, ending));
    // Better known before a password is thought of.
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
    }
    let password = new_password()?;
    let pair = tokio::task::spawn_blocking(move || skep_trust::generate_key_pair(&password)).await;
    let pair = pair.map_err(|error| Failure::new(Exit::Other, error.to_string()))??;
    let answer = Answer {
        schema: "skep/generate-key-pair/v1",
        private_key: private.display().to_string(),
        public_key: public.display().to_string(),
        fingerprint: pair.public_key()?.fingerprint().to_string(),
    };
    pair.save(&private, &public).map_err(|error| Failure::from(error).exits(Exit::Disk))?;
    session.answer(&answer, || {
        let (private, public) = (escape(&answer.private_key), escape(&answer.public_key));
        format!("{private}: the private key, encrypted\n{public}: the public key, {}", answer.fingerprint)
    })
}

/// PREFIX with an ending, also where it has a dot already.
fn with_ending(prefix: &Path, ending: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(format!(".{ending}"));
    path.into()
}

fn new_password() -> Outcome<String> {
    let said = PASSWORDS.iter().any(|name| std::env::var_os(name).is_some());
    let first = password("password for the private key: ")?;
    if !said && std::io::stdin().is_terminal() && password("the same again: ")? != first {
        return Err(Failure::new(Exit::Usage, "these were two passwords, and nothing was written"));
    }
    Ok(first)
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("{} is there already, and keys are never overwritten", path.display()))
        .hint("choose another --output-prefix")
}
