//! What can be said to the commands that look through an archive: `find`, `du`, `diff`.

use clap::ArgAction;
use clap::Args;
use clap::ValueEnum;
use skep::Address;

use crate::args::read::Order;
use crate::args::value::Glob;
use crate::args::value::SizeTest;
use crate::args::value::moment;

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// Which archive: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` or `@alias`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// Where to begin; what has this path is listed only if it is no directory.
    #[arg(value_name = "PATH", default_value = "/", hide_default_value = true)]
    pub(crate) start: String,
    /// The last name of the path matches: `*.txt`; one of several if given more than once.
    #[arg(long, value_name = "GLOB")]
    pub(crate) name: Vec<Glob>,
    /// The whole path matches: `*` stays in a directory, `**` does not; one of several if given more than once.
    #[arg(long = "path", value_name = "GLOB")]
    pub(crate) whole: Vec<Glob>,
    /// Only of these kinds.
    #[arg(long = "type", value_name = "KIND", env = "SKEP_KIND", value_enum, value_delimiter = ',')]
    pub(crate) kinds: Vec<Kind>,
    /// Files of a size: `+10M` is more than that, `-1k` less, `0` just that. k, M, G and T are powers of 1024.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) size: Vec<SizeTest>,
    /// Changed after a time: `2026-01-31`, `2026-01-31T12:00:00Z`, or so long ago: `36h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) newer_than: Option<jiff::Timestamp>,
    /// Changed before a time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) older_than: Option<jiff::Timestamp>,
    /// Files without content, and directories with nothing in them.
    #[arg(long)]
    pub(crate) empty: bool,
    /// Go down so many levels at most.
    #[arg(long, value_name = "N")]
    pub(crate) max_depth: Option<usize>,
    /// List only what is so many levels down at least; what is in the directory is at 1.
    #[arg(long, value_name = "N")]
    pub(crate) min_depth: Option<usize>,
    /// End each path with a NUL byte, and print it as it is, for `xargs -0`; whatever else says how to print it.
    #[arg(short = '0', long)]
    pub(crate) print0: bool,
    /// Show mode, size, stored size and time.
    #[arg(short, long)]
    pub(crate) long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Directories.
    #[value(name = "d", alias = "directory")]
    Directory,
    /// Regular files.
    #[value(name = "f", alias = "file")]
    File,
    /// Symbolic links.
    #[value(name = "l", alias = "symlink")]
    Symlink,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Du {
    /// Which archive: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` or `@alias`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// A directory or file in it.
    #[arg(default_value = "/", hide_default_value = true)]
    pub(crate) path: String,
    /// Say sizes in KiB, MiB, GiB.
    #[arg(short = 'h', long)]
    pub(crate) human_readable: bool,
    /// Tell of directories so many levels down, and count what is below in them.
    #[arg(short = 'd', long, value_name = "N")]
    pub(crate) max_depth: Option<usize>,
    /// Tell only the sum, as `--max-depth 0` does.
    #[arg(short, long)]
    pub(crate) summarize: bool,
    /// Tell of files, too.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Count stored bytes, as they take space in the registry, in place of content.
    #[arg(long)]
    pub(crate) stored: bool,
    /// Count content as often as it appears. Without this, content that several files share counts once, where it
    /// comes first in the order of paths.
    #[arg(long)]
    pub(crate) apparent: bool,
    #[command(flatten)]
    pub(crate) order: Order,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// What it was: an archive, or a directory here: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]`, `@alias` or
    /// `./DIR`.
    #[arg(value_name = "REF|DIR")]
    pub(crate) before: String,
    /// What it is now.
    #[arg(value_name = "REF|DIR")]
    pub(crate) after: String,
    /// Tell only how many files and bytes are different.
    #[arg(long, group = "form")]
    pub(crate) stat: bool,
    /// Tell only paths.
    #[arg(long, group = "form")]
    pub(crate) name_only: bool,
    /// Tell a letter and the path: A added, D removed, M changed, R renamed.
    #[arg(long, group = "form")]
    pub(crate) name_status: bool,
    /// With `--name-only` or `--name-status`: end each path with a NUL byte, and print it as it is.
    #[arg(short = '0', long)]
    pub(crate) print0: bool,
    /// End with exit code 1 if anything is different.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// What does not count: modes, times or owners; `none` if all of it does.
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',', default_value = "time,owner")]
    pub(crate) ignore: Vec<Ignore>,
    /// Tell of a file with another name as one that is gone and one that is new.
    #[arg(long)]
    pub(crate) no_renames: bool,
    /// How many threads hash a directory; as many as there are processors if 0.
    #[arg(short, long, default_value_t = 0)]
    pub(crate) jobs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ignore {
    /// Permissions.
    Mode,
    /// Nothing.
    None,
    /// Owners and groups.
    Owner,
    /// Times of modification.
    Time,
}
