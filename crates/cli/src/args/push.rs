//! What can be said to `skep push`.

use std::path::PathBuf;

use clap::Args;
use skep::Address;
use skep::Compression;
use skep_registry::Tag;

use crate::args::value::annotation;
use crate::args::value::compression;
use crate::args::value::switch;

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Where to: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`; the tag is `latest` if there is none.
    #[arg(value_name = "REF")]
    pub(crate) to: Address,
    /// A further tag; may be given more than once.
    #[arg(short, long = "tag", value_name = "TAG", env = "SKEP_TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<Tag>,
    /// An annotation of the manifest; may be given more than once.
    #[arg(short, long = "annotation", value_name = "KEY=VALUE", value_parser = annotation)]
    pub(crate) annotations: Vec<(String, String)>,
    /// How to compress: `none`, `zstd` or `zstd:LEVEL` (1 to 22).
    #[arg(short, long, env = "SKEP_COMPRESSION", default_value = "zstd", value_parser = compression)]
    pub(crate) compression: Compression,
    /// Write plain version 1: no chunks, symlinks or directories, just files.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_EXTENSIONS")]
    pub(crate) no_extensions: bool,
    /// How many threads compress; as many as there are processors if 0.
    #[arg(short, long, env = "SKEP_JOBS", default_value_t = 0)]
    pub(crate) jobs: usize,
    /// Fail when a tag points to something else already, instead of moving it.
    #[arg(long, value_parser = switch(), env = "SKEP_NO_CLOBBER")]
    pub(crate) no_clobber: bool,
}
