//! Mirrors: copies of repositories elsewhere, which are kept and never go back.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use skep_registry::Digest;

use super::fault::Fault;
use super::fault::Result;
use super::git;
use super::log::LOG;

/// A copy of a repository, without files, in a directory of copies.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    url: String,
    directory: PathBuf,
}

impl Mirror {
    /// Where the copy of a repository is, or will be.
    ///
    /// Says why when the address could make `git` do anything but fetch.
    pub(super) fn new(url: &str, cache: &Path) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
        // A host that begins with a dash would be an option of what connects to it.
        if !SCHEMES.contains(&scheme) || rest.is_empty() || rest.starts_with('-') || !is_plain {
            return Err(format!("repository {url:?}: wanted an address that begins with one of {SCHEMES:?} and ://"));
        }
        // It would stand in error texts, and in the list of processes.
        if scheme == "https" && rest.split('/').next().is_some_and(|host| host.contains('@')) {
            return Err(
                "the address of a repository with a password in it; wanted a credential helper of git".to_owned()
            );
        }
        let directory = cache.join(Digest::sha256(url.as_bytes()).hex());
        Ok(Self { url: url.to_owned(), directory })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes the copy for oneself, until the file is closed: nobody else fetches into it meanwhile.
    pub(super) fn lock(&self) -> Result<File> {
        let failed = |error: std::io::Error| Fault::unknown(format!("{}: {error}", self.directory.display()));
        let parent = self.directory.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        let file = File::create(self.directory.with_extension("lock")).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// How long ago the copy was fetched; `None` when it never was, or that is not known.
    pub(super) fn age(&self) -> Option<Duration> {
        let fetched = fs::metadata(self.directory.join(FETCHED)).and_then(|file| file.modified()).ok()?;
        SystemTime::now().duration_since(fetched).ok()
    }

    /// Fetches what is new. The log may only grow.
    pub(super) fn fetch(&self) -> Result<()> {
        let failed = |error: std::io::Error| Fault::unknown(format!("{}: {error}", self.directory.display()));
        if !self.directory.join("objects").is_dir() {
            git::run(
                git::quiet().args(["init", "--quiet", "--bare", "--object-format=sha1", "--"]).arg(&self.directory),
                MAX_WORDS,
            )?
            .text()?;
        }
        let mut command = git::quiet();
        command.arg("--git-dir").arg(&self.directory);
        for setting in [
            "fetch.fsckObjects=true",
            "fetch.writeCommitGraph=false",
            "gc.auto=0",
            "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=30",
            "maintenance.auto=false",
        ] {
            command.args(["-c", setting]);
        }
        command.env("GIT_ALLOW_PROTOCOL", SCHEMES.join(":"));
        command.args(["fetch", "--atomic", "--no-tags", "--no-write-fetch-head", "--", &self.url]);
        // Patterns, because it is no error when they match nothing. Without the plus, nothing moves but forward.
        command.arg(format!("{LOG}*:{LOG}*"));
        for references in ["refs/gittuf/policy*", "refs/gittuf/attestations*", "refs/heads/*", "refs/tags/*"] {
            command.arg(format!("+{references}:{references}"));
        }
        git::run(&mut command, MAX_WORDS)?.text().map_err(|fault| fault.of(&self.url))?;
        File::create(self.directory.join(FETCHED)).map(drop).map_err(failed)
    }
}

const SCHEMES: [&str; 3] = ["file", "https", "ssh"];
const FETCHED: &str = "skep-fetched";
const MAX_WORDS: u64 = 64 << 10;
