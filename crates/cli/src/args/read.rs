//! What can be said to the commands that look at an archive: `cat`, `ls`, `tree`, `stat`, `inspect`.

use clap::ArgAction;
use clap::Args;
use clap::ValueEnum;
use skep::Address;

use crate::args::value::Part;

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Which archive: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` or `@alias`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// Files in it, or patterns: `*` and `?` stand for anything in a name, `**` for any directories, `[a-z]` and
    /// `{a,b}` for one of several. What is called like a pattern is no pattern.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// Only a part of each file, in bytes: `0-99` (the first hundred), `100-` (all from there), `-50` (the last fifty),
    /// `100:50` (fifty from there). Only what holds that part is fetched.
    #[arg(long, value_name = "PART", allow_hyphen_values = true)]
    pub(crate) range: Option<Part>,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Ls {
    /// Which archive: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` or `@alias`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// A directory or file in it.
    #[arg(default_value = "/", hide_default_value = true)]
    pub(crate) path: String,
    /// Show mode, size, stored size and time.
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Say sizes in KiB, MiB, GiB.
    #[arg(short = 'h', long)]
    pub(crate) human_readable: bool,
    /// List everything below, too.
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// List the directory itself, nothing that is in it.
    #[arg(short, long)]
    pub(crate) directory: bool,
    /// Show the digest of each file's content.
    #[arg(long)]
    pub(crate) digest: bool,
    #[command(flatten)]
    pub(crate) order: Order,
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// In which order things are listed.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The order: sizes and times begin with the largest and newest.
    #[arg(long, value_name = "BY", value_enum, default_value_t = Sort::Name)]
    pub(crate) sort: Sort,
    /// The other way round.
    #[arg(short, long)]
    pub(crate) reverse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// By name.
    Name,
    /// By bytes of content.
    Size,
    /// By stored bytes.
    Stored,
    /// By time of modification.
    Time,
}

#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// Which archive: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` or `@alias`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// A directory in it.
    #[arg(default_value = "/", hide_default_value = true)]
    pub(crate) path: String,
    /// How many levels to go down.
    #[arg(short = 'L', long)]
    pub(crate) level: Option<usize>,
    /// Show the size of each file.
    #[arg(short, long)]
    pub(crate) sizes: bool,
    /// Show sizes, and of each directory that of all files below it.
    #[arg(long)]
    pub(crate) du: bool,
    /// Show directories before files and links.
    #[arg(long, alias = "dirsfirst")]
    pub(crate) dirs_first: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// Which archive: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` or `@alias`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// Files, directories or links in it.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Which archive: `host[:port]/repo[:tag][@digest]`, `oci:PATH[:tag]` or `@alias`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
}
