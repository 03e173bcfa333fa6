//! The command line: what can be said to `skep`.

mod access;
mod cache;
mod config;
mod pull;
mod push;
mod read;
mod registry;
mod search;
mod serve;
mod trust;
mod value;
mod verify;

use std::path::PathBuf;

use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use clap_complete::Shell;
use skep::Address;

pub(crate) use crate::args::access::Auth;
pub(crate) use crate::args::access::Doctor;
pub(crate) use crate::args::access::Login;
pub(crate) use crate::args::access::Logout;
pub(crate) use crate::args::cache::Cache;
pub(crate) use crate::args::cache::CacheFlags;
pub(crate) use crate::args::config::Alias;
pub(crate) use crate::args::config::ConfigPart;
pub(crate) use crate::args::config::Man;
pub(crate) use crate::args::pull::Cp;
pub(crate) use crate::args::pull::Overwrite;
pub(crate) use crate::args::pull::Pull;
pub(crate) use crate::args::push::Push;
pub(crate) use crate::args::read::Cat;
pub(crate) use crate::args::read::Inspect;
pub(crate) use crate::args::read::Ls;
pub(crate) use crate::args::read::Order;
pub(crate) use crate::args::read::Sort;
pub(crate) use crate::args::read::Stat;
pub(crate) use crate::args::read::Tree;
pub(crate) use crate::args::registry::Blob;
pub(crate) use crate::args::registry::Copy;
pub(crate) use crate::args::registry::Digest;
pub(crate) use crate::args::registry::Manifest;
pub(crate) use crate::args::registry::Referrers;
pub(crate) use crate::args::registry::Repos;
pub(crate) use crate::args::registry::Rm;
pub(crate) use crate::args::registry::TagArgs;
pub(crate) use crate::args::registry::Tags;
pub(crate) use crate::args::search::Diff;
pub(crate) use crate::args::search::Du;
pub(crate) use crate::args::search::Find;
pub(crate) use crate::args::search::Ignore;
pub(crate) use crate::args::search::Kind;
pub(crate) use crate::args::serve::Gc;
pub(crate) use crate::args::serve::Serve;
pub(crate) use crate::args::trust::Attest;
pub(crate) use crate::args::trust::Dev;
pub(crate) use crate::args::trust::GenerateKeyPair;
pub(crate) use crate::args::trust::NewestRoot;
pub(crate) use crate::args::trust::Sign;
pub(crate) use crate::args::trust::SignFormat;
pub(crate) use crate::args::trust::Signer;
pub(crate) use crate::args::trust::Sigstore;
pub(crate) use crate::args::value::Part;
pub(crate) use crate::args::value::bytes;
pub(crate) use crate::args::value::duration;
use crate::args::value::switch;
pub(crate) use crate::args::verify::Evidence;
pub(crate) use crate::args::verify::Trust;
pub(crate) use crate::args::verify::Verify;
pub(crate) use crate::args::verify::Who;

/// Any directory in any OCI registry, read back one file at a time.
///
/// A REF is `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` for an OCI layout in a directory, or `@name` for an
/// alias (`skep alias set`). What flags say can also be said by variables and in the configuration, table `default`.
/// Data goes to standard output, words to standard error.
#[derive(Debug, Parser)]
#[command(name = "skep", version, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Examples:
  skep push ./site registry.example.com/team/site:v1    a directory goes out
  skep ls -l registry.example.com/team/site:v1          what is in it
  skep cat registry.example.com/team/site:v1 index.html one file comes back
  skep push ./site oci:./store:v1                       the same without any registry
  skep login registry.example.com -u me                 once, if the registry wants to know
  skep doctor registry.example.com/team/site            if something does not work

Exit codes: 0 ok, 1 other, 2 usage, 3 auth, 4 not found, 5 verification or policy, 6 conflict, 7 network, \
8 rate limited, 9 registry cannot, 10 integrity, 11 partial, 12 local disk, 130 interrupted";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Answer with one JSON object on standard output, and say errors as one on standard error.
    #[arg(long, global = true, value_parser = switch(), env = "SKEP_JSON")]
    pub(crate) json: bool,

    /// Say nothing but errors.
    #[arg(short, long, global = true, value_parser = switch(), env = "SKEP_QUIET")]
    pub(crate) quiet: bool,

    /// Tell what happens, request by request if given twice.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// How to show progress.
    #[arg(long, global = true, env = "SKEP_PROGRESS", value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,

    /// Speak to registries without TLS where their host has no https:// before it. Those at localhost and 127.0.0.1 are
    /// spoken to so anyway.
    #[arg(long, global = true, value_parser = switch(), env = "SKEP_PLAIN_HTTP")]
    pub(crate) plain_http: bool,

    /// The configuration of this command, in place of ~/.config/skep/config.toml. It says how single registries are
    /// reached and what is remembered of them, has aliases, and defaults of flags; `skep config` prints what holds. (It
    /// is not called --config, because `skep serve --config` is another file: what to serve.)
    #[arg(long, global = true, env = "SKEP_CONFIG", value_name = "FILE")]
    pub(crate) client_config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) cache: CacheFlags,

    /// What has to hold of everything that is read, as of what is copied and tagged: a policy in YAML. Given more than once,
    /// all have to hold, and so do those of SKEP_POLICY and of the configuration.
    #[arg(long, global = true, env = "SKEP_POLICY", value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// Bars on a terminal, lines elsewhere.
    Auto,
    /// Bars.
    Bars,
    /// Lines.
    Lines,
    /// Nothing.
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put a directory into a registry.
    Push(Push),
    /// Get a directory out of a registry.
    Pull(Pull),
    /// Print files of an archive.
    Cat(Cat),
    /// List a directory of an archive.
    Ls(Ls),
    /// Show the files of an archive as a tree.
    Tree(Tree),
    /// Find files in an archive by name, kind, size and time.
    Find(Find),
    /// Tell how much there is in the directories of an archive.
    Du(Du),
    /// Tell all that an archive says of files in it.
    Stat(Stat),
    /// Tell what is different between two archives, or an archive and a directory, without fetching contents.
    Diff(Diff),
    /// Copy files out of an archive, or into one.
    Cp(Cp),
    /// Tell what an archive is: digest, sizes, annotations.
    Inspect(Inspect),
    /// Give an archive more tags.
    Tag(TagArgs),
    /// Print the digest that a reference stands for now.
    Digest(Digest),
    /// List the tags of a repository.
    Tags(Tags),
    /// List the repositories of a registry.
    Repos(Repos),
    /// Copy an archive, an image or anything else between registries and layouts.
    Copy(Copy),
    /// Sign an archive, an image or anything else, and attach the signature to it.
    Sign(Sign),
    /// State something about an archive, an image or anything else, sign that and attach it.
    Attest(Attest),
    /// Tell who signed an archive, an image or anything else, and whether that is who should have; exit code 5 if not.
    Verify(Verify),
    /// Print the newest trusted root of a Sigstore, for `skep verify --trusted-root`, here or where nobody can be asked.
    TrustedRoot(NewestRoot),
    /// Make a pair of keys to sign and verify with, as cosign does.
    GenerateKeyPair(GenerateKeyPair),
    /// List what refers to a manifest: signatures, attestations, and what refers to those.
    Referrers(Referrers),
    /// Remove tags, or manifests with all their tags.
    Rm(Rm),
    /// Work with manifests as they are.
    #[command(subcommand)]
    Manifest(Manifest),
    /// Work with blobs as they are.
    #[command(subcommand)]
    Blob(Blob),
    /// Keep credentials for a registry where docker keeps them, once the registry takes them.
    Login(Login),
    /// Forget the credentials for a registry.
    Logout(Logout),
    /// Tell which credentials there are, and whether registries take them. No secrets are printed.
    #[command(subcommand)]
    Auth(Auth),
    /// Find out what a registry can do, and what skep does about the rest.
    ///
    /// Nothing is guessed from its name: everything is asked for, and each line tells what was done, what came, what
    /// skep does where that is not as it should be, and what you can do. The exit code is 0 if skep can work with it.
    Doctor(Doctor),
    /// Tell which configuration file is in use, and what holds for registries. No secrets are printed.
    Config {
        #[command(subcommand)]
        part: Option<ConfigPart>,
    },
    /// Give addresses short names, which stand for them in every command.
    #[command(subcommand)]
    Alias(Alias),
    /// Look at what is remembered of registries, and forget it.
    #[command(subcommand)]
    Cache(Cache),
    /// Run a registry, over a directory or in memory.
    Serve(Serve),
    /// Run what tests need.
    #[command(subcommand)]
    Dev(Dev),
    /// Remove what is not needed any more from a directory of OCI layouts, also while it is served.
    Gc(Gc),
    /// Print the version.
    Version,
    /// Print pages of the manual, or write all of them.
    Man(Man),
    /// Print what makes a shell complete commands, flags, tags, aliases, and paths in archives.
    ///
    /// bash: `source <(skep completions bash)` in ~/.bashrc; zsh: the same in ~/.zshrc; fish:
    /// `skep completions fish > ~/.config/fish/completions/skep.fish`.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl Command {
    /// What the command reads first: if that is not there, something near may be.
    pub(crate) fn reads(&self) -> Option<Address> {
        Some(match self {
            Self::Attest(args) => args.from.clone(),
            Self::Cat(args) => args.from.clone(),
            Self::Copy(args) => args.from.clone(),
            Self::Cp(args) => args.sources.first()?.rsplit_once(":/")?.0.parse().ok()?,
            Self::Digest(args) => args.from.clone(),
            Self::Du(args) => args.from.clone(),
            Self::Find(args) => args.from.clone(),
            Self::Inspect(args) => args.from.clone(),
            Self::Ls(args) => args.from.clone(),
            Self::Manifest(Manifest::Get { from } | Manifest::Head { from }) => from.clone(),
            Self::Pull(args) => args.from.clone(),
            Self::Referrers(args) => args.from.clone(),
            Self::Rm(args) => args.refs.first()?.clone(),
            Self::Sign(args) => args.from.clone(),
            Self::Stat(args) => args.from.clone(),
            Self::Tag(args) => args.from.clone(),
            Self::Tree(args) => args.from.clone(),
            Self::Verify(args) => args.from.clone(),
            _ => return None,
        })
    }

    /// Tells whether the command has nothing to do with registries, so that the configuration may be wrong.
    pub(crate) fn is_local(&self) -> bool {
        let of_the_file = |part: &ConfigPart| matches!(part, ConfigPart::Path | ConfigPart::Edit);
        match self {
            Self::Completions { .. } | Self::Dev(_) | Self::GenerateKeyPair(_) | Self::Man(_) | Self::Version => true,
            Self::Config { part } => part.as_ref().is_some_and(of_the_file),
            _ => false,
        }
    }
}
