//! Any directory in any OCI registry, read back one file at a time.
//!
//! [`Client`] is the paved road: it pushes directories to registries and OCI layouts, opens archives there,
//! and reads, lists and extracts them; [`open_url`] opens those that lie on any web server, and [`blocking`] has the
//! same for programs that are not asynchronous. What it is made of stands alone in the packages `skep-registry`,
//! `skep-http` and `skep-archive`.
//!
//! ```no_run
//! use skep::{Address, Client};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::default();
//! let site: Address = "registry.example.com/team/site:v1".parse()?;
//! let archive = client.pull(&site).await?;
//! let page = archive.read("index.html").await?;
//! # Ok(())
//! # }
//! ```

mod address;
pub mod blocking;
mod caches;
mod canonical;
mod client;
mod pack;
mod progress;
mod pulled;
mod remote;
mod url;

pub use crate::url::UrlOptions;
pub use crate::url::UrlSource;
pub use crate::url::open_url;
pub use address::Address;
pub use address::DEFAULT_TAG;
pub use address::Scheme;
pub use address::Store;
pub use caches::Caches;
pub use canonical::canonical_host;
pub use client::Client;
pub use client::ClientOptions;
pub use client::PullOptions;
pub use client::PushOptions;
pub use client::Pushed;
pub use pack::Origin;
pub use pack::pack;
pub use progress::OnProgress;
pub use progress::Phase;
pub use progress::Step;
pub use pulled::Inspected;
pub use pulled::Pulled;
pub use skep_archive::Addition;
pub use skep_archive::Archive;
pub use skep_archive::ArchiveManifest;
pub use skep_archive::BuildEntry;
pub use skep_archive::BuildOptions;
pub use skep_archive::Built;
pub use skep_archive::Change;
pub use skep_archive::ChangeKind;
pub use skep_archive::Changes;
pub use skep_archive::Codec;
pub use skep_archive::Compression;
pub use skep_archive::ContentCache;
pub use skep_archive::DiffOptions;
pub use skep_archive::Entry;
pub use skep_archive::EntryKind;
pub use skep_archive::Error;
pub use skep_archive::ErrorKind;
pub use skep_archive::ExtractOptions;
pub use skep_archive::Extracted;
pub use skep_archive::Index;
pub use skep_archive::Limits;
pub use skep_archive::Node;
pub use skep_archive::Overwrite;
pub use skep_archive::Patterns;
pub use skep_archive::Result;
pub use skep_archive::Skip;
pub use skep_archive::Summary;
pub use skep_archive::diff;
pub use skep_archive::normalize;
pub use skep_archive::scan;
pub use skep_trust::Decision;
pub use skep_trust::Policies;
pub use skep_trust::Policy;
