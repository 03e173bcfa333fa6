//! What can be said to the commands about registries and the way to them.

use clap::Args;
use clap::Subcommand;

use crate::args::value::switch;

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
