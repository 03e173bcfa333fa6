//! How a command ends: the one table of exit codes, and what is said with them.

use std::error::Error as StdError;
use std::process::ExitCode;

use serde::Serialize;
use skep::Error;
use skep_http::Trouble;
use skep_registry::Code;
use skep_trust::Decision;

use crate::output;
use crate::output::escape;

macro_rules! exits {
    ($($(#[$doc:meta])* $variant:ident $number:literal $name:literal;)*) => {
        /// Why a command ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Exit { $($(#[$doc])* $variant = $number,)* }

        impl Exit {
            /// The name in JSON.
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

exits! {
    /// Something that no other code describes.
    Other 1 "other";
    /// The command line is wrong.
    Usage 2 "usage";
    /// The registry does not know the caller, or does not let it.
    Auth 3 "auth";
    /// What was asked for is not there.
    NotFound 4 "not_found";
    /// Signatures, or what a policy wants, do not hold.
    Policy 5 "policy";
    /// It is there already, or has moved meanwhile.
    Conflict 6 "conflict";
    /// The registry was not reached, or broke off. Another try may help.
    Network 7 "network";
    /// The registry asks for patience.
    RateLimited 8 "rate_limited";
    /// The registry cannot do this.
    Unsupported 9 "unsupported";
    /// Bytes are not what they should be.
    Integrity 10 "integrity";
    /// Some of several items failed.
    Partial 11 "partial";
    /// The disk of this machine failed, or is full.
    Disk 12 "local_disk";
    /// The user stopped it.
    Interrupted 130 "interrupted";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that failed: why, and what can be done about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What went wrong, the outermost words first.
    chain: Vec<String>,
    hint: Option<String>,
    decision: Option<Box<Decision>>,
}

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    code: &'static str,
    exit: u8,
    message: &'a str,
    causes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'a Decision>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, chain: vec![message.into()], hint: None, decision: None }
    }

    /// Ends a command that said all there is to say with a code.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self { exit, chain: Vec::new(), hint: None, decision: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says before it what was done already.
    pub(crate) fn after(mut self, done: impl Into<String>) -> Self {
        self.chain.insert(0, done.into());
        self
    }

    pub(crate) fn exits(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    fn of(exit: Exit, error: &(dyn StdError + 'static)) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            let words = error.to_string();
            // Some errors print their cause themselves; it is said once.
            if !chain.iter().any(|said| said.contains(&words)) {
                chain.push(words);
            }
            source = error.source();
        }
        Self { exit, chain, hint: None, decision: None }
    }

    /// Says it on standard error: for people, or as one JSON object.
    pub(crate) fn say(&self, json: bool) {
        let Some((message, causes)) = self.chain.split_first() else { return };
        if json {
            let (code, exit) = (self.exit.name(), self.exit as u8);
            let (hint, decision) = (self.hint.as_deref(), self.decision.as_deref());
            let report = Report { schema: "skep/error/v1", code, exit, message, causes, hint, decision };
            eprintln!("{}", output::to_json(&report));
            return;
        }
        eprintln!("error: {}", escape(message));
        match &self.decision {
            // It says what its summary among the causes says, and all else.
            Some(decision) => decision.to_string().lines().for_each(|line| eprintln!("  {}", escape(line))),
            None => causes.iter().for_each(|cause| eprintln!("  caused by: {}", escape(cause))),
        }
        if let Some(hint) = &self.hint {
            eprintln!("\nhint: {}", escape(hint));
        }
    }
}

/// The failures of some of several items. Each is said when it happens; together they have one exit code.
#[derive(Debug)]
pub(crate) struct Failures {
    json: bool,
    items: usize,
    failed: Vec<Failure>,
}

impl Failures {
    pub(crate) fn of(items: usize, json: bool) -> Self {
        Self { json, items, failed: Vec::new() }
    }

    /// Notes how one item went.
    pub(crate) fn note<T>(&mut self, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(failure) => {
                if self.items > 1 {
                    failure.say(self.json);
                }
                self.failed.push(failure);
                None
            }
        }
    }

    /// How all went: well, or as the only item did, or partly.
    pub(crate) fn outcome(mut self) -> Outcome {
        let failed = self.failed.len();
        match self.failed.first() {
            None => Ok(()),
            Some(_) if self.items == 1 => Err(self.failed.remove(0)),
            Some(first) if failed == self.items => Err(Failure::new(first.exit, format!("all {failed} failed"))),
            Some(_) => Err(Failure::new(Exit::Partial, format!("{failed} of {} failed", self.items))),
        }
    }
}

impl From<skep_registry::Error> for Failure {
    fn from(error: skep_registry::Error) -> Self {
        let exit = of_code(&error);
        let mut failure = Self::of(exit, &error);
        failure.hint = hint_for(&error, exit).map(str::to_owned);
        failure
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Registry(error) => of_code(error),
            Error::InvalidPattern { .. } | Error::InvalidRange { .. } => Exit::Usage,
            Error::NotFound { .. } => Exit::NotFound,
            Error::Decompression { .. } | Error::HashMismatch { .. } | Error::SizeMismatch { .. } => Exit::Integrity,
            Error::InvalidIndex { .. } | Error::InvalidManifest { .. } => Exit::Integrity,
            Error::InvalidTar { .. } | Error::MissingData | Error::MissingIndex => Exit::Integrity,
            Error::Changed { .. } | Error::Conflict { .. } => Exit::Conflict,
            Error::Io { .. } => Exit::Disk,
            Error::PolicyViolation { .. } => Exit::Policy,
            Error::Cancelled => Exit::Interrupted,
            _ => Exit::Other,
        };
        let mut failure = Self::of(exit, &error);
        failure.hint = match &error {
            Error::Registry(error) => hint_for(error, exit),
            Error::InvalidManifest { .. } => {
                Some("this is in the registry, but it is no archive that skep or blob wrote")
            }
            Error::IsDirectory { .. } => Some("`skep ls` lists it, `skep cp` copies it"),
            Error::PolicyViolation { .. } => Some(
                "`skep config policies REF` tells which policies apply, `skep referrers REF` what is attached to it",
            ),
            _ => None,
        }
        .map(str::to_owned);
        if let Error::PolicyViolation { source, .. } = error
            && let Ok(source) = source.downcast::<skep_trust::Error>()
            && let skep_trust::Error::Denied(decision) = *source
        {
            failure.decision = Some(decision);
        }
        failure
    }
}

impl From<skep_trust::Error> for Failure {
    fn from(error: skep_trust::Error) -> Self {
        use skep_trust::Error;

        let exit = match error {
            Error::Registry(error) => return error.into(),
            Error::Denied(_) | Error::Rejected(_) => Exit::Policy,
            Error::Key { .. } | Error::Password { .. } | Error::Pattern { .. } => Exit::Usage,
            Error::Policy { .. } | Error::Provenance { .. } | Error::Trust { .. } => Exit::Usage,
            Error::Service { service: "identity provider" | "identity token", .. } => Exit::Auth,
            Error::Service { .. } => Exit::Network,
            Error::Subject { .. } => Exit::Integrity,
            _ => Exit::Other,
        };
        Self::of(exit, &error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::of(Exit::Disk, &error)
    }
}

fn of_code(error: &skep_registry::Error) -> Exit {
    let from_disk = || error.source().is_some_and(|source| source.is::<std::io::Error>());
    let from_content = || error.source().is_some_and(|source| source.is::<serde_json::Error>());
    match error.code() {
        Code::Denied | Code::Unauthorized => Exit::Auth,
        Code::PreconditionFailed => Exit::Conflict,
        Code::TooManyRequests => Exit::RateLimited,
        Code::Unavailable => Exit::Network,
        Code::Unsupported => Exit::Unsupported,
        Code::DigestInvalid | Code::SizeInvalid => Exit::Integrity,
        Code::Unknown if from_disk() => Exit::Disk,
        Code::Unknown if from_content() => Exit::Integrity,
        _ if error.is_not_found() => Exit::NotFound,
        _ if error.status() >= 500 => Exit::Network,
        _ => Exit::Other,
    }
}

fn hint_for(error: &skep_registry::Error, exit: Exit) -> Option<&'static str> {
    if let Some(trouble) = Trouble::of(error) {
        return Some(trouble.advice());
    }
    match (error.code(), exit) {
        (Code::Unavailable, _) if error.message().contains("offline: ") => {
            Some("leave out --offline to ask the registry")
        }
        (Code::Unauthorized, _) => {
            Some("`skep auth status` tells which credentials there are, `skep login HOST` keeps new ones")
        }
        (Code::Denied, _) => Some("the credentials were understood but do not allow this; check the repository name"),
        (Code::NameUnknown, _) => {
            Some("check the repository for typing errors; `skep repos HOST` may list those there are")
        }
        (Code::ManifestUnknown, _) => Some("check the repository and the tag for typing errors"),
        (_, Exit::Network) => {
            Some("check the host name and the network; another try may help. `skep doctor HOST` tells more")
        }
        (_, Exit::RateLimited) => Some("wait, or log in for a larger quota"),
        (_, Exit::Conflict) => Some("choose another tag, or leave out --no-clobber to move it"),
        _ => None,
    }
}
