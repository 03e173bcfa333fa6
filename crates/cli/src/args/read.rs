//! What can be said to the commands that look into an archive.

use clap::Args;
use skep::Address;

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
pub(crate) struct Inspect {
    /// Which archive: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
}
