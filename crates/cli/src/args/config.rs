//! What can be said to the commands about this command itself: `config`, `alias`, `man`, `completions`.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigPart {
    /// Print only where the file is, or would be.
    Path,
    /// Print what the file says of one thing.
    Get {
        /// Which: `default.jobs`, `alias.site`, `registry."registry.example.com".plain-http`.
        key: String,
    },
    /// Say one thing in the file, and leave the rest of it as it is.
    Set {
        /// Which: `default.jobs`, `alias.site`, `registry."registry.example.com".plain-http`.
        key: String,
        /// The value, as in the file: `4`, `true`, `["a", "b"]`; what is nothing of that is text.
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Take one thing out of the file, and leave the rest of it as it is.
    Unset {
        /// Which: `default.jobs`, `alias.site`, `registry."registry.example.com"`.
        key: String,
    },
    /// Print the files of the policies that have to hold of what an address names.
    Policies {
        /// Of what.
        #[arg(value_name = "REF")]
        of: skep::Address,
    },
    /// Open the file in the editor that VISUAL or EDITOR names, and look at it afterwards.
    Edit,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alias {
    /// Give an address a short name: `@NAME` stands for it then in all commands, and `@NAME:TAG`, `@NAME@DIGEST`,
    /// `@NAME/more` and `@NAME:/PATH` for what is beside and in it.
    Set {
        /// The name: letters, digits, `-`, `_` and `.`.
        name: String,
        /// The address: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`; the path is taken from here.
        #[arg(value_name = "REF")]
        address: skep::Address,
    },
    /// List all aliases.
    List,
    /// Forget aliases.
    Rm {
        /// Their names, without the `@`.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Which command: `push`, `manifest get`; skep itself if none is named.
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands into this directory; made if it is not there.
    #[arg(long, conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}
