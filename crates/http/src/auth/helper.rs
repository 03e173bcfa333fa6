//! Credential helpers: programs that keep secrets for docker.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::auth::Credential;

/// One helper, `docker-credential-<name>`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Helper<'a> {
    pub(super) name: &'a str,
    /// Where it is looked for in place of `PATH`.
    pub(super) path: Option<&'a OsString>,
}

/// Why a helper did not help.
pub(super) enum Failure {
    /// There is no such program.
    Missing(Error),
    Failed(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing(error) | Failure::Failed(error) => error,
        }
    }
}

impl Helper<'_> {
    /// Asks for the credential that is kept under a key; none if there is none.
    pub(super) async fn get(self, key: &str) -> Result<Option<Credential>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            #[serde(default)]
            username: String,
            #[serde(default)]
            secret: String,
        }

        let Some(output) = self.run("get", key, key.as_bytes()).await? else { return Ok(None) };
        let answer: Answer = serde_json::from_slice(&output)
            .map_err(|_| Failure::Failed(self.failed(key, "did not answer with a credential")))?;
        Ok(match (answer.username.as_str(), answer.secret) {
            (_, secret) if secret.is_empty() => None,
            (TOKEN_USER, secret) => Some(Credential::Identity(secret)),
            (user, secret) => Some(Credential::Basic { user: user.to_owned(), password: secret }),
        })
    }

    /// The keys under which it keeps something.
    pub(super) async fn list(self) -> Result<Vec<String>> {
        let output = self.run("list", "all registries", b"").await?.unwrap_or_default();
        let users: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(&output).map_err(|_| self.failed("all registries", "did not answer with a list"))?;
        Ok(users.into_keys().collect())
    }

    /// Has a user and a secret kept under a key.
    pub(super) async fn store(self, key: &str, user: &str, secret: &str) -> Result<()> {
        let entry = json!({"ServerURL": key, "Username": user, "Secret": secret}).to_string();
        self.run("store", key, entry.as_bytes()).await?;
        Ok(())
    }

    /// Has what is kept under a key forgotten; tells whether there was something.
    pub(super) async fn erase(self, key: &str) -> Result<bool> {
        Ok(self.run("erase", key, key.as_bytes()).await?.is_some())
    }

    /// Runs the program: words on its standard input, its answer on its standard output. None if it says that
    /// there is nothing under the key.
    async fn run(self, verb: &str, key: &str, input: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let name = self.name;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.starts_with(['-', '.']) || !name.bytes().all(is_name) {
            return Err(Failure::Failed(self.failed(key, "is not the name of a program")));
        }
        let run = async {
            let mut command = Command::new(format!("docker-credential-{name}"));
            command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
            if let Some(path) = self.path {
                command.env("PATH", path);
            }
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that does not read its input has an answer nevertheless.
                let _ = stdin.write_all(input).await;
            }
            let mut output = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                stdout.take(MAX_ANSWER).read_to_end(&mut output).await?;
            }
            std::io::Result::Ok((child.wait().await?, output))
        };
        let (status, output) = match tokio::time::timeout(TIMEOUT, run).await {
            Ok(Ok(done)) => done,
            // What is looked for in a directory of PATH that may not be entered is "permission denied" to the kernel.
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                return Err(Failure::Missing(self.failed(key, "is not installed").with_source(error)));
            }
            Ok(Err(error)) => return Err(Failure::Failed(self.failed(key, "did not run").with_source(error))),
            Err(_) => return Err(Failure::Failed(self.failed(key, &format!("did not answer within {TIMEOUT:?}")))),
        };
        if status.success() {
            return Ok(Some(output));
        }
        // docker's helpers say so on standard output.
        match String::from_utf8_lossy(&output).contains("credentials not found") {
            true => Ok(None),
            false => Err(Failure::Failed(self.failed(key, &format!("failed with {status}")))),
        }
    }

    fn failed(self, key: &str, why: &str) -> Error {
        Error::new(Code::Unauthorized, format!("credential helper {:?} for {key}: {why}", self.name))
    }
}

/// The user under whose name helpers keep identity tokens.
pub(super) const TOKEN_USER: &str = "<token>";
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: u64 = 64 << 10;
