//! Probing: what a registry can do, found out by asking it.

mod litter;
mod reach;
mod read;
mod write;

use std::fmt;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use skep_registry::Error;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;

use crate::client::Client;
use crate::client::ClientOptions;
use crate::client::trouble::Trouble;
use crate::probe::litter::Litter;

/// Finds out what a registry can do. Nothing is guessed from its name.
///
/// What is written, if anything is, carries a random name, and [`Probe::clean_up`] removes it.
#[derive(Debug)]
pub struct Probe {
    client: Client,
    has_proxy: bool,
    /// Part of everything that is written, so that nobody else's content is touched.
    nonce: String,
    litter: Mutex<Vec<Litter>>,
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The repository to read. Without one, that which is written; without either, only the registry itself.
    pub repo: Option<RepoName>,
    /// A repository to write small content to.
    pub write: Option<RepoName>,
    /// Bytes that are sent at most to find the largest chunk; about 6 MiB come on top for the smallest one.
    pub max_bytes: u64,
    /// Who the client is, in words.
    pub whom: String,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self { repo: None, write: None, max_bytes: 32 << 20, whom: "nobody".to_owned() }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it was, in one word that stays: `ranges`.
    pub check: &'static str,
    /// How good it is.
    pub grade: Grade,
    /// What was done.
    pub did: String,
    /// What came of it.
    pub came: String,
    /// What this client does about it, where it has to do something.
    pub instead: Option<&'static str>,
    /// What people can do about it.
    pub advice: Option<&'static str>,
    /// How long it took.
    pub took: Duration,
}

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// As the specification has it.
    Good,
    /// Otherwise, and the client does without.
    Copes,
    /// It is not to be had, nor is what is made of it.
    Lacks,
    /// Without it nothing works.
    Broken,
    /// It was not looked at.
    Skipped,
}

impl Grade {
    /// The grade in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Copes => "copes",
            Self::Lacks => "lacks",
            Self::Broken => "broken",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which it was.
    pub findings: Vec<Finding>,
    /// Why the registry is of no use, if it is not.
    pub blocker: Option<Error>,
}

impl Report {
    /// The finding of one check, if it was made.
    pub fn finding(&self, check: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.check == check)
    }
}

/// Is told of each finding.
type Told<'a> = &'a (dyn Fn(&Finding) + Send + Sync);

impl Probe {
    /// Makes a probe for a registry, as [`Client::new`] makes a client. Each request is tried twice at most.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn new(host: &str, mut options: ClientOptions) -> Result<Self> {
        options.retry.attempts = options.retry.attempts.min(2);
        options.retry.max_wait = options.retry.max_wait.min(Duration::from_secs(30));
        for settings in options.registries.values_mut() {
            // What holds for transfers is too patient for questions.
            settings.retry = None;
        }
        let proxies = options.proxies.clone();
        let client = Client::new(host, options)?;
        let base = client.base_url();
        let is_near = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let proxy = if base.scheme() == "https" { &proxies.https } else { &proxies.http };
        let has_proxy = proxy.is_some() && !is_near;
        let nonce = format!("{:016x}", RandomState::new().hash_one(Instant::now()));
        Ok(Self { client, has_proxy, nonce, litter: Mutex::default() })
    }

    /// Looks at everything that the options want, and tells of each finding when it is there.
    ///
    /// # Cancel safety
    /// What was written stays when the future is dropped; [`Probe::clean_up`] removes it.
    pub async fn run(&self, options: &ProbeOptions, told: &(dyn Fn(&Finding) + Send + Sync)) -> Report {
        let mut log = Log { findings: Vec::new(), told };
        let blocker = self.look(options, &mut log).await.err();
        if options.write.is_some() {
            log.note(self.clean_up().await);
        }
        Report { findings: log.findings, blocker }
    }

    async fn look(&self, options: &ProbeOptions, log: &mut Log<'_>) -> Result<()> {
        reach::look(self, &options.whom, log).await?;
        read::catalog(self, log).await;
        let mut written = None;
        if let Some(repo) = &options.write {
            written = Some((repo.clone(), write::look(self, repo, options.max_bytes, log).await?));
        }
        let place = match (&options.repo, &written) {
            (Some(repo), Some((other, written))) if repo == other => Some((repo, Some(written))),
            (Some(repo), _) => Some((repo, None)),
            (None, Some((repo, written))) => Some((repo, Some(written))),
            (None, None) => None,
        };
        let outcome = match place {
            Some((repo, written)) => read::look(self, repo, written.map(|written| &written.tag), log).await,
            None => Ok(()),
        };
        if let Some((repo, written)) = &written {
            write::delete(self, repo, written, log).await;
        }
        outcome
    }

    /// Removes what was written and is there still, as far as the registry lets it be removed, and says what is left.
    ///
    /// # Cancel safety
    /// May be called again, after it was dropped too.
    pub async fn clean_up(&self) -> Finding {
        litter::clean_up(self).await
    }
}

/// What a probe has written for itself.
#[derive(Debug)]
struct Written {
    /// A tag of the manifest that other things are about.
    tag: Tag,
    /// A further tag, to be deleted.
    spare: Tag,
    /// A manifest, to be deleted.
    manifest: skep_registry::Digest,
    /// A blob that nothing names, to be deleted.
    blob: skep_registry::Digest,
}

/// Findings so far.
struct Log<'a> {
    findings: Vec<Finding>,
    told: Told<'a>,
}

impl Log<'_> {
    fn note(&mut self, finding: Finding) {
        (self.told)(&finding);
        self.findings.push(finding);
    }
}

/// A finding whose end is not known yet.
struct Question {
    check: &'static str,
    did: String,
    begun: Instant,
}

impl Question {
    fn new(check: &'static str, did: impl Into<String>) -> Self {
        Self { check, did: did.into(), begun: Instant::now() }
    }

    fn good(self, came: impl Into<String>) -> Finding {
        self.finding(Grade::Good, came.into(), None, None)
    }

    /// Not as it should be, and what the client does.
    fn copes(self, came: impl Into<String>, instead: &'static str) -> Finding {
        self.finding(Grade::Copes, came.into(), Some(instead), None)
    }

    /// Not to be had, and what people can do.
    fn lacks(self, came: impl Into<String>, advice: &'static str) -> Finding {
        self.finding(Grade::Lacks, came.into(), None, Some(advice))
    }

    fn skipped(self, why: impl Into<String>) -> Finding {
        self.finding(Grade::Skipped, why.into(), None, None)
    }

    fn broken(self, error: &Error) -> Finding {
        self.finding(Grade::Broken, words(error), None, Trouble::of(error).map(Trouble::advice))
    }

    fn finding(
        self,
        grade: Grade,
        came: String,
        instead: Option<&'static str>,
        advice: Option<&'static str>,
    ) -> Finding {
        Finding { check: self.check, grade, did: self.did, came, instead, advice, took: self.begun.elapsed() }
    }
}

/// An error with its causes on one line; what says the same twice is said once.
fn words(error: &Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(std::error::Error::source(error), |cause| (*cause).source());
    for cause in causes {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    text
}
