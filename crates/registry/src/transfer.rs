//! Transfers: large blobs down and up, and whole graphs of content from one registry to another.
//!
//! A transfer goes on where it broke: a request that breaks off is sent again for what is missing, and a
//! process that is started again takes up the journal of the one before. What only takes time, a link that
//! breaks or a registry that asks for patience, is an error only when several requests in a row bring
//! nothing. Memory is bounded by a number, whatever the size of the blob.
//!
//! ```
//! use std::sync::Arc;
//!
//! use skep_registry::Memory;
//! use skep_registry::RegistryExt;
//! use skep_registry::transfer::DownloadOptions;
//! use skep_registry::transfer::Place;
//! use skep_registry::transfer::download_to_file;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let place = Place::new(Arc::new(Memory::default()), "library/greetings".parse()?);
//! let blob = place.registry.write_blob(&place.repo, "hello".into()).await?;
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("greeting");
//! download_to_file(&place, &blob, &path, &DownloadOptions::default()).await?;
//! assert_eq!(std::fs::read(&path)?, b"hello");
//! # Ok(())
//! # }
//! ```

mod copy;
mod download;
mod fetch;
mod journal;
mod partial;
mod ranges;
mod retry;
mod upload;

use std::sync::Arc;

use crate::name::RepoName;
use crate::registry::Registry;

pub use copy::BlobCopy;
pub use copy::Copied;
pub use copy::CopyOptions;
pub use copy::Platforms;
pub use copy::copy;
pub use copy::copy_blob;
pub use download::DownloadOptions;
pub use download::Downloaded;
pub use download::download;
pub use download::download_to_file;
pub use upload::UploadSettings;
pub use upload::Uploaded;
pub use upload::file_source;
pub use upload::upload;

/// A repository of a registry: where a transfer comes from or goes to.
#[derive(Clone, Debug)]
pub struct Place {
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// The repository.
    pub repo: RepoName,
}

impl Place {
    /// A repository of a registry.
    pub fn new(registry: Arc<dyn Registry>, repo: RepoName) -> Self {
        Self { registry, repo }
    }

    /// Tells whether both are surely in the same registry: the same value, not only the same address.
    fn shares_registry(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
    }
}

/// Called with the number of bytes of each part that passes.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;
