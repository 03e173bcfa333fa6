//! What can be said to the commands that extract: `pull` and `cp`.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use skep::Address;
use skep::Compression;
use skep::ExtractOptions;
use skep::Patterns;

use crate::args::value::bytes;
use crate::args::value::compression;
use crate::args::value::preserve;
use crate::args::value::switch;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// The directory to fill; made if it is not there.
    pub(crate) dir: PathBuf,
    /// Remove from DIR what was not extracted, so that it has nothing else.
    ///
    /// Nothing is removed before everything is there. It is refused for the root, the home and the current directory.
    #[arg(long, value_parser = switch(), env = "SKEP_CLEAN")]
    pub(crate) clean: bool,
    /// Only what lies in this directory of the archive, which becomes DIR.
    #[arg(long, value_name = "PATH", env = "SKEP_STRIP")]
    pub(crate) strip: Option<String>,
    #[command(flatten)]
    pub(crate) extract: Extract,
}

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// What: `REF:/path`, a file or a directory in an archive, or a pattern: `REF:/docs/*.md`, `REF:/**/*.css`. Or, where
    /// DEST is in an archive, files and directories here, and `-` for standard input.
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Where to: a file, a directory, or `-` for standard output; or `REF:/path`, in an archive.
    ///
    /// Into an archive: a new one is pushed under the same tag, with all that the old one has but what is replaced. The tag
    /// moves only if nobody has moved it meanwhile; if it is not there yet, the archive has what is copied and nothing else.
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,
    #[command(flatten)]
    pub(crate) extract: Extract,
    #[command(flatten)]
    pub(crate) insert: Insert,
}

/// How to copy into an archive.
#[derive(Debug, Args)]
#[command(next_help_heading = "Into an archive")]
pub(crate) struct Insert {
    /// Copy also what files of the name `.skepignore` in the directories say to leave out.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_IGNORE_FILES")]
    pub(crate) no_ignore_files: bool,
    /// How to compress what is new: `none`, `zstd` or `zstd:LEVEL` (1 to 22). What is there stays as it is.
    #[arg(short, long, env = "SKEP_COMPRESSION", default_value = "zstd", value_parser = compression)]
    pub(crate) compression: Compression,
    /// Keep out of what is new what tells of this machine, as `skep push --reproducible` does.
    #[arg(long, value_parser = switch(), env = "SKEP_REPRODUCIBLE")]
    pub(crate) reproducible: bool,
}

/// How to extract.
#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// Only paths that match a pattern as in .gitignore: `*.md`, `/docs/`, `!draft.md`; may be given more than once.
    #[arg(long, value_name = "PATTERN", env = "SKEP_INCLUDE", value_delimiter = ',')]
    pub(crate) include: Vec<String>,
    /// Not the paths that match a pattern as in .gitignore; may be given more than once.
    #[arg(long, value_name = "PATTERN", env = "SKEP_EXCLUDE", value_delimiter = ',')]
    pub(crate) exclude: Vec<String>,
    /// What becomes of files and links that are there.
    #[arg(long, env = "SKEP_OVERWRITE", value_enum, default_value_t = Overwrite::Replace)]
    pub(crate) overwrite: Overwrite,
    /// What to restore: `none`, or some of `mode`, `times` and `owner`, with commas between.
    #[arg(long, value_name = "LIST", env = "SKEP_PRESERVE", default_value = "mode,times", value_parser = preserve)]
    pub(crate) preserve: Preserve,
    /// How many threads decompress and write; as many as there are processors if 0.
    #[arg(short, long, env = "SKEP_JOBS", default_value_t = 0)]
    pub(crate) jobs: usize,
    /// How many requests are under way at once, where what is wanted does not lie together.
    #[arg(long, value_name = "N", env = "SKEP_REQUESTS", default_value_t = 8)]
    pub(crate) requests: usize,
    /// How many bytes may be written, for archives of strangers: 500MiB, 2GiB. As many as there are if not given.
    #[arg(long, value_name = "SIZE", env = "SKEP_MAX_TOTAL", value_parser = bytes)]
    pub(crate) max_total: Option<u64>,
    /// How many bytes may wait in memory.
    #[arg(long, value_name = "SIZE", env = "SKEP_EXTRACT_MEMORY", default_value = "64MiB", value_parser = bytes)]
    pub(crate) memory: u64,
}

/// What becomes of files and links that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overwrite {
    /// Nothing is written if any is there.
    Fail,
    /// They are replaced.
    Replace,
    /// They are kept.
    Skip,
}

/// What to restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preserve {
    pub(crate) mode: bool,
    pub(crate) times: bool,
    pub(crate) owner: bool,
}

impl Extract {
    /// The options that these are.
    pub(crate) fn options(&self) -> Outcome<ExtractOptions> {
        let usage = |error| Failure::from(error).exits(Exit::Usage);
        let overwrite = match self.overwrite {
            Overwrite::Fail => skep::Overwrite::Fail,
            Overwrite::Replace => skep::Overwrite::Replace,
            Overwrite::Skip => skep::Overwrite::Skip,
        };
        Ok(ExtractOptions {
            patterns: Patterns::new(self.include.iter(), self.exclude.iter()).map_err(usage)?,
            overwrite,
            modes: self.preserve.mode,
            times: self.preserve.times,
            owners: self.preserve.owner,
            workers: self.jobs,
            in_flight: self.requests,
            total: self.max_total.unwrap_or(u64::MAX),
            memory: self.memory,
            ..Default::default()
        })
    }
}
