//! A directory to work in, and the command run in it.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

/// A directory to work in, and the command run in it.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

/// What came of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    /// With a small site in `site`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        fs::create_dir_all(site.join("css/empty")).unwrap();
        fs::write(site.join("index.html"), "<h1>hello</h1>\n").unwrap();
        fs::write(site.join("css/main.css"), "h1 { color: teal }\n".repeat(500)).unwrap();
        fs::write(site.join("css.txt"), "sorts before css/").unwrap();
        fs::set_permissions(site.join("css.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("index.html", site.join("start")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command.args(line.split_whitespace()).current_dir(self.dir.path());
        let others = ["ACTIONS_", "BUILDKITE", "CIRCLE", "COSIGN_", "GITHUB_", "GITLAB_", "SIGSTORE_", "SKEP_"];
        let counts = |name: &str| others.iter().any(|prefix| name.starts_with(prefix)) || name.contains("DOCKER");
        for (name, _) in std::env::vars().filter(|(name, _)| counts(name)) {
            command.env_remove(name);
        }
        // Nobody's credentials, and a fixed time.
        command.env("HOME", self.dir.path()).env("SOURCE_DATE_EPOCH", "1700000000");
        // What is remembered is remembered here, in .cache/skep.
        command.env_remove("XDG_CACHE_HOME");
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_RUNTIME_DIR").env_remove("REGISTRY_AUTH_FILE");
        command
    }

    pub(crate) fn run(&self, line: &str) -> Came {
        Came::from(self.command(line).output().unwrap())
    }

    /// Lets registries that are not there be asked once only.
    pub(crate) fn tries_once(&self, hosts: &[&str]) {
        let tables = hosts.iter().map(|host| format!("[registry.'{host}']\nretry = {{ attempts = 1 }}\n"));
        fs::create_dir_all(self.path(".config/skep")).unwrap();
        fs::write(self.path(".config/skep/config.toml"), tables.collect::<String>()).unwrap();
    }

    /// Runs what must go well, and gives what it printed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let came = self.run(line);
        assert_eq!(came.exit, 0, "{line}: {}", came.err);
        came.out
    }

    pub(crate) fn serve(&self, line: &str) -> Served {
        let mut command = self.command(line);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let addr = first.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{first:?}")).to_owned();
        Served { child, addr }
    }
}

impl From<Output> for Came {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) struct Served {
    child: Child,
    pub(crate) addr: String,
}

impl Served {
    /// Asks it to stop, and gives how that went and what it had logged.
    pub(crate) fn stop(mut self) -> (i32, String) {
        terminate(&self.child);
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status.code().unwrap_or(-1), log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

pub(crate) fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Everything below a directory: kind, mode, time and content.
pub(crate) fn census(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let (mode, time) = (meta.permissions().mode() & 0o777, meta.modified().unwrap());
            if meta.is_symlink() {
                lines.push(format!("{name} -> {} {time:?}", fs::read_link(&path).unwrap().display()));
            } else if meta.is_dir() {
                lines.push(format!("{name}/ {mode:o} {time:?}"));
                walk(root, &path, lines);
            } else {
                lines.push(format!("{name} {mode:o} {time:?} {:?}", fs::read(&path).unwrap()));
            }
        }
    }
    let mut lines = Vec::new();
    walk(dir, dir, &mut lines);
    lines.sort();
    lines
}

/// The value of a key in one line of JSON.
pub(crate) fn field(json: &str, key: &str) -> String {
    let (_, rest) = json.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key} in {json}"));
    rest.trim_start_matches('"').chars().take_while(|c| !"\",}".contains(*c)).collect()
}
