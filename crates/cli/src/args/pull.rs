//! What can be said to the commands that extract: `pull` and `cp`.

use std::path::PathBuf;

use clap::Args;
use skep::Address;

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
pub(crate) struct Cp {
    /// What: `REF:/path`, a file or a directory in an archive.
    #[arg(required = true, value_name = "REF:/PATH")]
    pub(crate) sources: Vec<String>,
    /// Where to: a file, a directory, or `-` for standard output.
    pub(crate) dest: PathBuf,
}
