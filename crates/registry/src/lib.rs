//! One trait for OCI registries, the types it speaks in, and the registries in memory and on disk.
//!
//! A [`Registry`] is anything that keeps repositories of blobs, manifests and tags. [`Memory`] is the
//! reference implementation, [`Layout`] keeps OCI image layouts on disk, and the client and the server
//! of the `skep-http` package speak to one and offer one over HTTP. Registries are made of registries by
//! filters ([`read_only`], [`select`], [`guarded`], [`limited`], [`idle_timeout`], [`traced`], [`metered`]),
//! by [`Immutable`], and by routes ([`prefixed`], [`Routes`]).
//!
//! ```
//! use skep_registry::{Memory, RegistryExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> skep_registry::Result<()> {
//! let registry = Memory::default();
//! let repo = "library/greetings".parse()?;
//! let blob = registry.write_blob(&repo, "hello".into()).await?;
//! assert_eq!(registry.read_blob(&repo, &blob.digest, 1 << 20).await?, "hello");
//! # Ok(())
//! # }
//! ```

mod body;
mod cache;
#[cfg(feature = "conformance")]
pub mod conformance;
mod descriptor;
mod digest;
mod error;
mod ext;
mod filter;
#[cfg(feature = "conformance")]
pub mod fixture;
#[doc(hidden)]
pub mod forward;
mod immutable;
mod layout;
mod list;
mod manifest;
mod memory;
mod name;
mod page;
mod reference;
mod registry;
mod route;
mod store;
pub mod transfer;
mod unify;

pub use body::Body;
pub use body::ByteRange;
pub use cache::Cached;
pub use cache::CachedOptions;
pub use descriptor::Annotations;
pub use descriptor::Descriptor;
pub use descriptor::OCTET_STREAM;
pub use descriptor::Platform;
pub use digest::Algorithm;
pub use digest::Digest;
pub use digest::Hasher;
pub use digest::Verifier;
pub use error::Code;
pub use error::Error;
pub use error::ErrorBody;
pub use error::ErrorItem;
pub use error::Result;
pub use ext::RegistryExt;
pub use filter::Access;
pub use filter::Call;
pub use filter::Filter;
pub use filter::Filtered;
pub use filter::LimitOptions;
pub use filter::Meter;
pub use filter::Op;
pub use filter::Outcome;
pub use filter::Usage;
pub use filter::guarded;
pub use filter::idle_timeout;
pub use filter::limited;
pub use filter::metered;
pub use filter::read_only;
pub use filter::select;
pub use filter::traced;
pub use immutable::Immutable;
pub use layout::CollectOptions;
pub use layout::Collected;
pub use layout::Layout;
pub use layout::LayoutOptions;
pub use manifest::MAX_MANIFEST;
pub use manifest::Manifest;
pub use manifest::ManifestContent;
pub use manifest::media_type;
pub use memory::Memory;
pub use memory::MemoryOptions;
pub use name::MAX_REPO_NAME;
pub use name::MAX_TAG;
pub use name::ManifestRef;
pub use name::RepoName;
pub use name::Tag;
pub use page::Listing;
pub use page::Page;
pub use reference::Reference;
pub use reference::is_host;
pub use registry::Blob;
pub use registry::Mount;
pub use registry::PutManifest;
pub use registry::ReferrerQuery;
pub use registry::Registry;
pub use registry::Upload;
pub use registry::UploadOptions;
pub use route::Names;
pub use route::Route;
pub use route::Routed;
pub use route::Router;
pub use route::Routes;
pub use route::prefixed;
pub use store::CacheStore;
pub use store::Key;
pub use store::MAX_VALUE;
pub use store::MemoryStore;
pub use store::Store;
pub use store::StoreCheck;
pub use store::StoreOptions;
pub use store::StoreStats;
pub use unify::Quorum;
pub use unify::ReadPolicy;
pub use unify::RepairOptions;
pub use unify::Repaired;
pub use unify::Unified;
pub use unify::UnifyOptions;
pub use unify::WritePolicy;
