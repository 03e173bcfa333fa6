//! The commands, each a function from arguments to an answer.

mod alias;
mod auth;
mod blob;
mod cache;
mod cat;
mod config;
mod copy;
mod cp;
pub(crate) mod dev;
mod diff;
pub(crate) mod doctor;
mod du;
mod find;
mod gc;
mod insert;
mod inspect;
mod item;
mod key;
mod login;
mod ls;
mod man;
mod manifest;
mod names;
mod nearest;
mod pull;
mod push;
mod referrers;
mod rm;
mod root;
mod sign;
mod signer;
mod stat;
mod tag;
mod tree;
mod verify;

use std::sync::Arc;

use serde::Serialize;
use skep::Address;
use skep::Client;
use skep::OnProgress;
use skep::PullOptions;

use crate::args::Command;
use crate::args::Global;
use crate::complete;
use crate::config::Config;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::progress::Progress;

/// What every command has: the way to registries, and how to answer.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) json: bool,
    pub(crate) progress: Arc<Progress>,
}

impl Session {
    pub(crate) fn new(global: &Global, config: Config) -> Self {
        let progress = Arc::new(Progress::new(global));
        Self { client: Client::new(config.client()), config, json: global.json, progress }
    }

    /// How to open what is to be kept: as the registry has it now, unless the command line says how long tags hold.
    pub(crate) fn lasting(&self) -> PullOptions {
        PullOptions { fresh: !self.config.cache.is_lifetime_said, ..Default::default() }
    }

    /// Shows what the library reports.
    pub(crate) fn on_progress(&self) -> OnProgress {
        let progress = self.progress.clone();
        Arc::new(move |step| progress.report(step.phase.as_str(), step.done, step.total))
    }

    /// Answers in JSON, or says the words.
    pub(crate) fn answer(&self, answer: &impl Serialize, words: impl FnOnce() -> String) -> Outcome {
        if self.json {
            self.progress.clear();
            return output::json(answer);
        }
        self.progress.say(&words());
        Ok(())
    }
}

pub(crate) async fn run(session: &Session, command: Command) -> Outcome {
    let read = command.reads();
    match (dispatch(session, command).await, read) {
        (Err(failure), Some(address)) if failure.exit == Exit::NotFound => {
            Err(nearest::hinted(session, failure, &address).await)
        }
        (outcome, _) => outcome,
    }
}

async fn dispatch(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Push(args) => push::push(session, args).await,
        Command::Pull(args) => pull::pull(session, args).await,
        Command::Cat(args) => cat::cat(session, args).await,
        Command::Ls(args) => ls::ls(session, args).await,
        Command::Tree(args) => tree::tree(session, args).await,
        Command::Find(args) => find::find(session, args).await,
        Command::Du(args) => du::du(session, args).await,
        Command::Stat(args) => stat::stat(session, args).await,
        Command::Diff(args) => diff::diff(session, args).await,
        Command::Cp(args) => cp::cp(session, args).await,
        Command::Inspect(args) => inspect::inspect(session, args).await,
        Command::Tag(args) => tag::tag(session, args).await,
        Command::Digest(args) => manifest::digest(session, args).await,
        Command::Tags(args) => names::tags(session, args).await,
        Command::Repos(args) => names::repos(session, args).await,
        Command::Copy(args) => copy::copy(session, args).await,
        Command::Referrers(args) => referrers::referrers(session, args).await,
        Command::Sign(args) => sign::sign(session, args).await,
        Command::Attest(args) => sign::attest(session, args).await,
        Command::Verify(args) => verify::verify(session, args).await,
        Command::TrustedRoot(args) => root::trusted_root(session, args).await,
        Command::GenerateKeyPair(args) => key::generate_key_pair(session, args).await,
        Command::Rm(args) => rm::rm(session, args).await,
        Command::Cache(args) => cache::cache(session, args).await,
        Command::Gc(args) => gc::gc(session, args).await,
        Command::Manifest(args) => manifest::manifest(session, args).await,
        Command::Blob(args) => blob::blob(session, args).await,
        Command::Login(args) => login::login(session, args).await,
        Command::Logout(args) => login::logout(session, args).await,
        Command::Auth(args) => auth::auth(session, args).await,
        Command::Config { part } => config::config(session, part),
        Command::Alias(part) => alias::alias(session, part),
        Command::Man(args) => man::man(session, args),
        Command::Version => version(session),
        Command::Completions { shell } => complete::register(shell),
        Command::Dev(_) | Command::Doctor(_) | Command::Serve(_) => unreachable!("main gives them their own way"),
    }
}

/// Refuses an address with a tag or a digest where a repository is meant.
fn bare(address: &Address) -> Outcome {
    if address.tag.is_none() && address.digest.is_none() {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("{address} is more than a repository")).hint("leave out tag and digest"))
}

#[derive(Serialize)]
struct Version {
    schema: &'static str,
    version: &'static str,
}

fn version(session: &Session) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    if session.json {
        return output::json(&Version { schema: "skep/version/v1", version });
    }
    output::text(&format!("skep {version}\n"))
}
