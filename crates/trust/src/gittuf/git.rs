//! Running `git`: with bounds on time and output, without questions, and without what a repository could make it do.

use std::io;
use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use std::time::Instant;

use super::fault::Fault;
use super::fault::Result;

/// What came of a command.
pub(super) struct Output {
    pub(super) is_success: bool,
    bytes: Vec<u8>,
    words: String,
}

impl Output {
    /// What it printed.
    ///
    /// # Errors
    /// When it failed, what it said.
    pub(super) fn text(&self) -> Result<&str> {
        if !self.is_success {
            return Err(Fault::unknown(format!("git: {}", self.complaint())));
        }
        std::str::from_utf8(&self.bytes).map_err(|_| Fault::unknown("git: names that are not in UTF-8"))
    }

    /// The lines that say what went wrong, among those that say what it did.
    fn complaint(&self) -> String {
        let is_telling = |line: &&str| ["error", "fatal", "rejected"].iter().any(|word| line.contains(word));
        let telling: Vec<_> = self.words.lines().filter(is_telling).map(str::trim).collect();
        telling.join(" ")
    }

    pub(super) fn lines(&self) -> Result<impl Iterator<Item = &str>> {
        self.text().map(str::lines)
    }
}

/// A command that reads a repository, and opens no connection.
pub(super) fn read(directory: &Path) -> Command {
    let mut command = quiet();
    // The commit graph is a file that says who the parents of a commit are, and nothing signs it.
    command.arg("--git-dir").arg(directory).args(["-c", "core.commitGraph=false", "-c", "core.fsmonitor=false"]);
    command.env("GIT_ALLOW_PROTOCOL", "none").env("GIT_NO_LAZY_FETCH", "1");
    command
}

/// A command that asks nobody anything.
pub(super) fn quiet() -> Command {
    let mut command = Command::new("git");
    for name in
        ["GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE"]
    {
        command.env_remove(name);
    }
    command
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_GRAFT_FILE", "/dev/null/none")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "")
        .env("SSH_ASKPASS", "")
        .env("LC_ALL", "C");
    if std::env::var_os("GIT_SSH_COMMAND").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20");
    }
    command
}

/// Runs a command for at most two minutes, which prints at most `limit` bytes.
pub(super) fn run(command: &mut Command, limit: u64) -> Result<Output> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(missing)?;
    let (output, words) = (collect(child.stdout.take(), limit), collect(child.stderr.take(), MAX_WORDS));
    let status = wait(&mut child)?;
    // What it started may hold the pipes open; nobody waits for that.
    let output = output.recv_timeout(GRACE).map_err(|_| Fault::unknown("git: its output does not end"))?;
    let words = words.recv_timeout(GRACE).unwrap_or_default();
    if output.len() as u64 > limit {
        return Err(Fault::unknown(format!("git: more than {limit} bytes of output")));
    }
    Ok(Output { is_success: status.success(), bytes: output, words: String::from_utf8_lossy(&words).into_owned() })
}

pub(super) fn missing(error: io::Error) -> Fault {
    Fault::unknown(format!("cannot run git, which has to be installed to verify gittuf's policies: {error}"))
}

/// Reads to the end, or to one byte behind the limit, which ends the process.
fn collect(pipe: Option<impl Read + Send + 'static>, limit: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What was read until it broke is told apart by how the process ends.
            let _ = pipe.take(limit + 1).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    let (began, mut pause) = (Instant::now(), Duration::from_micros(200));
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if began.elapsed() < TIMEOUT => std::thread::sleep(pause),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Fault::unknown(format!("git: not done after {} s", TIMEOUT.as_secs())));
            }
            Err(error) => return Err(Fault::unknown(format!("git: {error}"))),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

const GRACE: Duration = Duration::from_secs(5);
// A fetch says a line for every reference.
const MAX_WORDS: u64 = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(120);
