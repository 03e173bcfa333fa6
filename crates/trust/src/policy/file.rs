//! Policy files: policies as people write them, in YAML.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use serde_saphyr::Spanned;

use super::Policy;
use crate::error::Error;
use crate::error::Result;
use crate::report::tame;

mod build;
mod schema;

use schema::Block;

/// A policy as it stands in a file.
///
/// The keys of meigma/blob are understood, and more; `docs/policy.md` has them all. What is not understood is refused:
/// unknown keys, keys that stand twice, values of another type, parts that ask for nothing, and rules about what
/// somebody signed that do not say who.
///
/// ```
/// use std::path::Path;
/// use skep_trust::PolicyFile;
///
/// # fn main() -> skep_trust::Result<()> {
/// let text = "
/// signature:
///   github-actions: {repository: acme/site, branch: main}
/// provenance:
///   slsa: {repository: acme/site, branch: main}
/// ";
/// let policy = PolicyFile::parse(text, Path::new("."))?.policy()?;
/// # let _ = policy;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PolicyFile {
    name: String,
    base: PathBuf,
    block: Spanned<Block>,
}

impl PolicyFile {
    /// Reads a file, 256 KiB at most. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// `Policy` when it cannot be read, with the line where it is malformed.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = read(path).map_err(|why| Error::policy(&name, why))?;
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::parse_named(name, &text, base)
    }

    /// Reads a policy that stands elsewhere. Paths in it are relative to a directory.
    ///
    /// # Errors
    /// `Policy`, with the line where it is malformed.
    pub fn parse(text: &str, directory: &Path) -> Result<Self> {
        if text.len() as u64 > MAX_FILE {
            return Err(Error::policy("policy", format!("larger than {MAX_FILE} bytes")));
        }
        Self::parse_named("policy".to_owned(), text, directory.to_owned())
    }

    /// Makes the policy. Reads the files that it names: keys, trusted roots, rules.
    ///
    /// # Errors
    /// `Policy` when the file makes no sense or a file it names cannot be read, with the line of the part that is wrong.
    pub fn policy(&self) -> Result<Policy> {
        build::policy(&self.name, &self.base, &self.block)
    }

    fn parse_named(name: String, text: &str, base: PathBuf) -> Result<Self> {
        // An anchor names a value to use it again; a file of this size has no need of many.
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_aliases: 64,
                max_anchors: 64,
                max_depth: MAX_DEPTH,
                flow_nesting_limit: MAX_DEPTH,
                max_documents: 1,
                max_nodes: 10_000,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: 10_000,
                max_replay_stack_depth: 8,
                max_alias_expansions_per_anchor: 64,
            },
            duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
            merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
            no_schema: true,
            reject_unsupported_tags: true,
            strict_booleans: true,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options(text, options) {
            Ok(block) => Ok(Self { name, base, block }),
            Err(error) => {
                let line = error.location().map_or(1, |location| location.line());
                let why = error.to_string();
                // The place is said once, in front.
                let why = why.split_once(" at line ").map_or(why.as_str(), |(why, _)| why);
                Err(Error::policy(format!("{name}:{line}"), tame(why)))
            }
        }
    }
}

/// The text of a file that is not larger than it may be.
fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.len() as u64 > MAX_FILE {
        true => Err(format!("larger than {MAX_FILE} bytes")),
        false => Ok(text),
    }
}

const MAX_FILE: u64 = 256 << 10;
const MAX_DEPTH: usize = 32;
