//! What can be said to the commands that work with anything in a registry.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use skep::Address;
use skep_registry::Platform;
use skep_registry::Tag;

use crate::args::value::platform;
use crate::args::value::switch;

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
