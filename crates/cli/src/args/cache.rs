//! What can be said about what is remembered of registries.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::Subcommand;

use crate::args::value::bytes;
use crate::args::value::duration;
use crate::args::value::switch;

#[derive(Debug, Args)]
#[command(next_help_heading = "Cache options")]
pub(crate) struct CacheFlags {
    /// Remember nothing of registries, and look at nothing that is remembered.
    #[arg(long, global = true, value_parser = switch(), env = "SKEP_NO_CACHE")]
    pub(crate) no_cache: bool,

    /// Where to remember, in place of ~/.cache/skep.
    #[arg(long, global = true, env = "SKEP_CACHE_DIR", value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// How long to believe where a tag points, `90s` or `1h`; a minute if nothing is said. `pull` and `cp` ask each time
    /// unless this is given, what writes to a registry always does.
    #[arg(long, global = true, env = "SKEP_TAG_LIFETIME", value_name = "TIME", value_parser = duration)]
    pub(crate) tag_lifetime: Option<Duration>,

    /// Ask no registry for anything: answer with what is remembered, however old, or fail.
    // Either, given on the line, switches a default of the other off.
    #[arg(
        long,
        global = true,
        value_parser = switch(),
        env = "SKEP_OFFLINE",
        default_value_if("refresh", "true", "false")
    )]
    pub(crate) offline: bool,

    /// Ask where tags point, however short ago that was.
    #[arg(
        long,
        global = true,
        value_parser = switch(),
        env = "SKEP_REFRESH",
        conflicts_with = "offline",
        default_value_if("offline", "true", "false")
    )]
    pub(crate) refresh: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Tell how much is remembered, and where.
    Status,
    /// Forget everything.
    Clear,
    /// Forget what was not used for longest.
    Prune {
        /// Until so much is left: `100MiB`, `2GiB`. What the configuration allows if nothing is said.
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        to: Option<u64>,
    },
    /// Read everything, and forget what is broken.
    Verify,
    /// Print where it is, or would be.
    Dir,
}
