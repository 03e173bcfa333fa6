//! `skep generate-key-pair`.

use std::fs::OpenOptions;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
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
    write_new(&private, &pair.private, 0o600)?;
    if let Err(failure) = write_new(&public, &pair.public, 0o644) {
        // One without the other is of no use, and would be in the way next time.
        let _ = std::fs::remove_file(&private);
        return Err(failure);
    }
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
    if !said && io::stdin().is_terminal() && password("the same again: ")? != first {
        return Err(Failure::new(Exit::Usage, "these were two passwords, and nothing was written"));
    }
    Ok(first)
}

/// Writes a file that is not there, for nobody else to read if the mode says so.
fn write_new(path: &Path, text: &str, mode: u32) -> Outcome {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display())),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(path);
        Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display()))
    })
}

fn exists(path: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("{} is there already, and keys are never overwritten", path.display()))
        .hint("choose another --output-prefix")
}
