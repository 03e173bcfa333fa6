//! What can be said to `skep push`.

use std::path::PathBuf;

use clap::Args;
use skep::Address;
use skep::Compression;
use skep_registry::Tag;

use crate::args::trust::SignFormat;
use crate::args::trust::Signer;
use crate::args::value::annotation;
use crate::args::value::bytes;
use crate::args::value::compression;
use crate::args::value::switch;

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The directory; or a tar archive, which `-` takes from standard input.
    #[arg(value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// Where to: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`; the tag is `latest` if there is none.
    #[arg(value_name = "REF")]
    pub(crate) to: Address,
    /// A further tag; may be given more than once.
    #[arg(short, long = "tag", value_name = "TAG", env = "SKEP_TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<Tag>,
    /// An annotation of the manifest; may be given more than once.
    #[arg(short, long = "annotation", value_name = "KEY=VALUE", value_parser = annotation)]
    pub(crate) annotations: Vec<(String, String)>,
    /// Fail when a tag points to something else already, instead of moving it.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_CLOBBER")]
    pub(crate) no_clobber: bool,
    /// Build the archive and tell what would be pushed, without speaking to anybody.
    #[arg(short = 'n', long, value_parser = switch(), env = "SKEP_DRY_RUN")]
    pub(crate) dry_run: bool,

    /// DIR is a tar archive, plain or compressed by gzip or zstd.
    #[arg(long, value_parser = switch(), env = "SKEP_TAR")]
    pub(crate) tar: bool,
    /// DIR is an archive that was made before: `index.blob` and `data.blob`, which are checked and sent as they are.
    #[arg(long, value_parser = switch(), env = "SKEP_ARCHIVE", conflicts_with = "tar")]
    pub(crate) archive: bool,
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) how: How,

    /// Sign what was pushed, and attach the signature to it.
    #[arg(long, value_parser = switch(), env = "SKEP_SIGN", help_heading = "Who signs")]
    pub(crate) sign: bool,
    /// State how it was built, as SLSA provenance version 1 from what the CI system that this runs on tells, sign that and
    /// attach it.
    #[arg(long, value_parser = switch(), env = "SKEP_ATTEST_PROVENANCE", help_heading = "Who signs")]
    pub(crate) attest_provenance: bool,
    /// How the signature is written.
    #[arg(long, env = "SKEP_SIGN_FORMAT", value_enum, default_value_t = SignFormat::Statement, help_heading = "Who signs")]
    pub(crate) format: SignFormat,
    #[command(flatten)]
    pub(crate) signer: Signer,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is packed")]
pub(crate) struct What {
    /// Pack only what matches a pattern, as in `.gitignore`: `*.md`, `/src/`; may be given more than once.
    #[arg(short, long, value_name = "PATTERN", env = "SKEP_INCLUDE", value_delimiter = '\n')]
    pub(crate) include: Vec<String>,
    /// Leave out what matches a pattern; may be given more than once, in the variable one on each line.
    #[arg(short = 'x', long, value_name = "PATTERN", env = "SKEP_EXCLUDE", value_delimiter = '\n')]
    pub(crate) exclude: Vec<String>,
    /// Pack also what files of the name `.skepignore` in the tree say to leave out.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_IGNORE_FILES")]
    pub(crate) no_ignore_files: bool,
    /// Fail when a file is not the same, with the same times, before and after it is read; else its size must be.
    #[arg(long, value_parser = switch(), env = "SKEP_STRICT")]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How it is packed")]
pub(crate) struct How {
    /// How to compress: `none`, `zstd` or `zstd:LEVEL` (1 to 22).
    #[arg(short, long, env = "SKEP_COMPRESSION", default_value = "zstd", value_parser = compression)]
    pub(crate) compression: Compression,
    /// Store files of fewer bytes as they are: 512, 64K, 1M.
    #[arg(long, value_name = "SIZE", env = "SKEP_STORE_BELOW", default_value = "512", value_parser = bytes)]
    pub(crate) store_below: u64,
    /// Try to compress each file, also small ones and those whose names say that they are compressed already.
    #[arg(long, value_parser = switch(), env = "SKEP_COMPRESS_ALL", conflicts_with = "store_below")]
    pub(crate) compress_all: bool,
    /// Keep out what tells of this machine: owners, permissions but `x`, and times behind SOURCE_DATE_EPOCH, or 1970.
    #[arg(long, value_parser = switch(), env = "SKEP_REPRODUCIBLE")]
    pub(crate) reproducible: bool,
    /// Write plain version 1: no chunks, symlinks or directories, just files.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_EXTENSIONS")]
    pub(crate) no_extensions: bool,
    /// How many threads compress; as many as there are processors if 0.
    #[arg(short, long, env = "SKEP_JOBS", default_value_t = 0)]
    pub(crate) jobs: usize,
}
