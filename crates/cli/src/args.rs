//! The command line: what can be said to `skep`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use clap::builder::FalseyValueParser;
use clap_complete::Shell;
use skep::Address;
use skep::Compression;
use skep_registry::Platform;
use skep_registry::Tag;

/// Any directory in any OCI registry, read back one file at a time.
///
/// A REF is `host[:port]/repo[:tag][@digest]`, or `oci:PATH[:tag]` for an OCI layout in a directory.
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

#[derive(Debug, Args)]
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
    /// reached; `skep config` prints what holds. (It is not called --config, because `skep serve --config` is
    /// another file: what to serve.)
    #[arg(long, global = true, env = "SKEP_CONFIG", value_name = "FILE")]
    pub(crate) client_config: Option<PathBuf>,
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
    /// Copy files out of an archive.
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
    /// Run a registry, over a directory or in memory.
    Serve(Serve),
    /// Remove what is not needed any more from a directory of OCI layouts, also while it is served.
    Gc(Gc),
    /// Print the version.
    Version,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl Command {
    /// What the command reads first: if that is not there, something near may be.
    pub(crate) fn reads(&self) -> Option<Address> {
        Some(match self {
            Self::Cat(args) => args.from.clone(),
            Self::Copy(args) => args.from.clone(),
            Self::Cp(args) => args.sources.first()?.rsplit_once(":/")?.0.parse().ok()?,
            Self::Digest(args) => args.from.clone(),
            Self::Inspect(args) => args.from.clone(),
            Self::Ls(args) => args.from.clone(),
            Self::Manifest(Manifest::Get { from } | Manifest::Head { from }) => from.clone(),
            Self::Pull(args) => args.from.clone(),
            Self::Referrers(args) => args.from.clone(),
            Self::Rm(args) => args.refs.first()?.clone(),
            Self::Tag(args) => args.from.clone(),
            Self::Tree(args) => args.from.clone(),
            _ => return None,
        })
    }

    /// Tells whether the command has nothing to do with registries, so that the configuration may be wrong.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Completions { .. } | Self::Config { part: Some(ConfigPart::Path) } | Self::Version)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Where to: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`; the tag is `latest` if there is none.
    #[arg(value_name = "REF")]
    pub(crate) to: Address,
    /// A further tag; may be given more than once.
    #[arg(short, long = "tag", value_name = "TAG", env = "SKEP_TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<Tag>,
    /// An annotation of the manifest; may be given more than once.
    #[arg(short, long = "annotation", value_name = "KEY=VALUE", value_parser = annotation)]
    pub(crate) annotations: Vec<(String, String)>,
    /// How to compress: `none`, `zstd` or `zstd:LEVEL` (1 to 22).
    #[arg(short, long, env = "SKEP_COMPRESSION", default_value = "zstd", value_parser = compression)]
    pub(crate) compression: Compression,
    /// Write plain version 1: no chunks, symlinks or directories, just files.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_EXTENSIONS")]
    pub(crate) no_extensions: bool,
    /// How many threads compress; as many as there are processors if 0.
    #[arg(short, long, env = "SKEP_JOBS", default_value_t = 0)]
    pub(crate) jobs: usize,
    /// Fail when a tag points to something else already, instead of moving it.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_CLOBBER")]
    pub(crate) no_clobber: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// The directory to fill; made if it is not there.
    pub(crate) dir: PathBuf,
    /// How many threads decompress and write; as many as there are processors if 0.
    #[arg(short, long, env = "SKEP_JOBS", default_value_t = 0)]
    pub(crate) jobs: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// Files in it.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// A directory or file in it.
    #[arg(default_value = "/", hide_default_value = true)]
    pub(crate) path: String,
    /// Show mode, size, stored size and time.
    #[arg(short, long)]
    pub(crate) long: bool,
    /// List everything below, too.
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// A directory in it.
    #[arg(default_value = "/", hide_default_value = true)]
    pub(crate) path: String,
    /// How many levels to go down.
    #[arg(short = 'L', long, env = "SKEP_LEVEL")]
    pub(crate) level: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// What: `REF:/path`, a file or a directory in an archive.
    #[arg(required = true, value_name = "REF:/PATH")]
    pub(crate) sources: Vec<String>,
    /// Where to: a file, a directory, or `-` for standard output.
    pub(crate) dest: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
}

#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// The tags to set, in the same repository.
    #[arg(required = true, value_name = "TAG")]
    pub(crate) tags: Vec<Tag>,
    /// Fail when a tag points to something else already, instead of moving it.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_CLOBBER")]
    pub(crate) no_clobber: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Digest {
    /// Which manifest: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
}

#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// Which repository: `host[:port]/repo` or `oci:PATH`, without tag and digest.
    #[arg(value_name = "REPO")]
    pub(crate) repo: Address,
}

#[derive(Debug, Args)]
pub(crate) struct Repos {
    /// Which registry: `host[:port]`, or that with `http://` before it.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// What: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "SRC")]
    pub(crate) from: Address,
    /// Where to: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`; without a tag it gets that of the source.
    #[arg(value_name = "DST")]
    pub(crate) to: Address,
    /// A further tag; may be given more than once.
    #[arg(short, long = "tag", value_name = "TAG", env = "SKEP_TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<Tag>,
    /// Copy what refers to it, too: signatures, attestations, and what refers to those.
    #[arg(short, long, value_parser = switch(), env = "SKEP_REFERRERS")]
    pub(crate) referrers: bool,
    /// Of an index, copy only the manifest for this platform, in its place.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", env = "SKEP_PLATFORM", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Look into manifests that are there already, instead of trusting that what they name is there, too.
    #[arg(long, value_parser = switch(), env = "SKEP_DEEP")]
    pub(crate) deep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Referrers {
    /// Which manifest: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// Only those of this artifact type.
    #[arg(long = "type", value_name = "TYPE", env = "SKEP_TYPE")]
    pub(crate) artifact_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// `host[:port]/repo:tag` removes the tag, `host[:port]/repo@sha256:…` the manifest with all its tags; `oci:PATH…` too.
    #[arg(required = true, value_name = "REF")]
    pub(crate) refs: Vec<Address>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Print a manifest, byte for byte.
    Get {
        /// Which: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
        #[arg(value_name = "REF")]
        from: Address,
    },
    /// Print type, digest and size of a manifest.
    Head {
        /// Which: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
        #[arg(value_name = "REF")]
        from: Address,
    },
    /// Store a manifest.
    Put {
        /// Where to: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`; without a tag it is stored by its digest only.
        #[arg(value_name = "REF")]
        to: Address,
        /// The file, or `-` for standard input.
        file: PathBuf,
        /// Its type; what its `mediaType` says, if this is not given.
        #[arg(long, value_name = "TYPE", env = "SKEP_MEDIA_TYPE")]
        media_type: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Blob {
    /// Print a blob, or save it by several requests at once.
    Get {
        /// Which: `host[:port]/repo@sha256:…` or `oci:PATH@sha256:…`.
        #[arg(value_name = "REPO@DIGEST")]
        from: Address,
        /// The file to save it in; run again after a break, this goes on where it stood.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print digest and size of a blob.
    Head {
        /// Which: `host[:port]/repo@sha256:…` or `oci:PATH@sha256:…`.
        #[arg(value_name = "REPO@DIGEST")]
        from: Address,
    },
    /// Store a blob, unless it is there; of a file, run again after a break, this goes on where it stood.
    Put {
        /// Where to: `host[:port]/repo` or `oci:PATH`, without tag and digest.
        #[arg(value_name = "REPO")]
        to: Address,
        /// The file, or `-` for standard input.
        file: PathBuf,
    },
    /// Make a blob of another repository of the same registry appear in a repository.
    Mount {
        /// Which, and where it shall appear: `host[:port]/repo@sha256:…`.
        #[arg(value_name = "REPO@DIGEST")]
        to: Address,
        /// The repository of the same registry that has it: `team/site`.
        #[arg(value_name = "FROM")]
        from: skep_registry::RepoName,
    },
    /// Remove a blob.
    Rm {
        /// Which: `host[:port]/repo@sha256:…` or `oci:PATH@sha256:…`.
        #[arg(value_name = "REPO@DIGEST")]
        from: Address,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Which registry: `host[:port]`, or that with `http://` before it.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// The user; without one, what is read is an identity token.
    #[arg(short, long, env = "SKEP_USERNAME")]
    pub(crate) username: Option<String>,
    /// Read the password or token from standard input, instead of asking for it.
    #[arg(long, value_parser = switch(), env = "SKEP_PASSWORD_STDIN")]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// Which registry: `host[:port]`.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Tell for each registry that docker's and podman's files and helpers know where its credentials are, and whose.
    Status {
        /// Only this one: `host[:port]`, or a part of it, `host/team`.
        #[arg(value_name = "HOST")]
        host: Option<String>,
        /// Ask the registries whether they take them now.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Which registry, and which repository to read: `host[:port]` or `host[:port]/repo`, also with `http://`.
    #[arg(value_name = "HOST[/REPO]")]
    pub(crate) target: String,
    /// Also write small content to this repository of the registry, and to one beneath it, under names that begin
    /// with `skep-doctor-`. It is removed again, also after an interruption, as far as the registry deletes at all.
    #[arg(long, value_name = "REPO")]
    pub(crate) write: Option<skep_registry::RepoName>,
    /// How many MiB to send at most to find the largest chunk; 7 more are for all else.
    #[arg(long, value_name = "MIB", default_value_t = 32, requires = "write")]
    pub(crate) max_mib: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigPart {
    /// Print only where the file is, or would be.
    Path,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The directory to keep repositories in, each an OCI layout; made if it is not there.
    #[arg(default_value = "skep-data", env = "SKEP_DIR")]
    pub(crate) dir: PathBuf,
    /// Keep everything in memory; it is gone when the server stops.
    #[arg(long, conflicts_with = "dir", value_parser = switch(), env = "SKEP_MEMORY")]
    pub(crate) memory: bool,
    /// Make the registry of what a TOML file says: any stack of memory, layouts, clients, filters and routes.
    #[arg(long, conflicts_with_all = ["dir", "memory", "allow_missing"], env = "SKEP_SERVE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen at, 127.0.0.1:5000 if nothing else is said; port 0 picks a free one.
    #[arg(long, env = "SKEP_ADDR")]
    pub(crate) addr: Option<SocketAddr>,
    /// Listen at an address that others can reach. There are no accounts: they can read, write and delete.
    #[arg(long, value_parser = switch(), env = "SKEP_OPEN")]
    pub(crate) open: bool,
    /// Take manifests that name content which is not there (sparse images).
    #[arg(long, value_parser = switch(), env = "SKEP_ALLOW_MISSING")]
    pub(crate) allow_missing: bool,
    /// Send blobs as they are, without a look at their digests: clients verify them, and a proxy saves half of its work.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_VERIFY")]
    pub(crate) no_verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// The directory: that of `skep serve`, or one OCI layout.
    pub(crate) dir: PathBuf,
    /// Remove nothing, only tell what would be.
    #[arg(short = 'n', long, value_parser = switch(), env = "SKEP_DRY_RUN")]
    pub(crate) dry_run: bool,
    /// Leave what was used within this time: longer than any push takes, `1h 30m` for instance.
    #[arg(long, value_name = "TIME", env = "SKEP_GRACE", default_value = "1h", value_parser = duration)]
    pub(crate) grace: Duration,
    /// Remove manifests without a tag, too, unless they lie in an index or refer to one that stays.
    #[arg(long, value_parser = switch(), env = "SKEP_UNTAGGED")]
    pub(crate) untagged: bool,
}

/// A switch is on when its variable is set to anything but nothing, `0`, `false`, `no` or `off`.
fn switch() -> FalseyValueParser {
    FalseyValueParser::new()
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("wanted KEY=VALUE".to_owned()),
    }
}

fn platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os, architecture, variant, ..Default::default() })
        }
        _ => Err("wanted OS/ARCH or OS/ARCH/VARIANT: linux/arm64".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    duration.ok_or_else(|| "wanted a time with its units: 90s, 1h 30m, 0s".to_owned())
}

fn compression(text: &str) -> Result<Compression, String> {
    let wanted = || "wanted none, zstd or zstd:LEVEL with a level from 1 to 22".to_owned();
    match text.split_once(':') {
        None if text == "none" => Ok(Compression::None),
        None if text == "zstd" => Ok(Compression::default()),
        Some(("zstd", level)) => match level.parse() {
            Ok(level @ 1..=22) => Ok(Compression::Zstd { level }),
            _ => Err(wanted()),
        },
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_parse() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("1h", 3600), ("1h 30m", 5400), ("48h", 48 * 3600)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "1", "-1h", "1 month", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn compressions_parse() {
        assert_eq!(compression("none").unwrap(), Compression::None);
        assert_eq!(compression("zstd:19").unwrap(), Compression::Zstd { level: 19 });
        for text in ["", "gzip", "zstd:", "zstd:0", "zstd:23", "none:1", "ZSTD"] {
            assert!(compression(text).is_err(), "{text}");
        }
    }
}
