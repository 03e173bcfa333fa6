//! What can be said to the commands of a registry of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::args::value::duration;
use crate::args::value::switch;

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
