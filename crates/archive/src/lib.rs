//! Directories as two blobs, read back one file at a time: an index, and data by range.
//!
//! [`build`] makes an archive of a directory, [`build_tar`] and [`build_entries`] of other things; [`push`] sends
//! what a registry lacks of it. [`Archive`] opens one with a single request, looks up, lists, walks and matches by path, and reads a file, a part of it, or many with one
//! request each. [`Archive::file`] reads and seeks, `ArchiveStore` (feature `object-store`) lets query engines read.
//! Content is verified by the index, the index by the manifest. [`Archive::extract`] brings a tree back
//! as it was, and writes nowhere but below the directory it is given.
//!
//! ```
//! use std::sync::Arc;
//!
//! use skep_archive::{Archive, ArchiveManifest, BuildOptions, Limits, PushOptions, build, push};
//! use skep_registry::Memory;
//! use skep_registry::transfer::Place;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! std::fs::write(dir.join("greeting.txt"), "hello")?;
//! let built = build(dir, &BuildOptions::default(), &|_| {})?;
//! let place = Place::new(Arc::new(Memory::default()), "team/greetings".parse()?);
//! let options = PushOptions { tags: vec!["v1".parse()?], ..Default::default() };
//! let pushed = push(&place, &built, &options).await?;
//!
//! let manifest = ArchiveManifest::parse(&pushed.manifest)?;
//! let archive = Archive::open(place.registry, &place.repo, &manifest, Limits::default()).await?;
//! assert_eq!(archive.read("greeting.txt").await?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! The format is the one of meigma/blob, version 1; what is added (chunks, symbolic links, directories) is
//! skipped by readers that do not know it. `docs/format.md` has every byte.

mod archive;
mod beneath;
mod build;
mod cache;
mod decode;
mod diff;
mod error;
mod extract;
mod flat;
mod format;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod manifest;
#[cfg(feature = "object-store")]
mod object_store;
mod pages;
mod path;
mod pattern;
mod progress;
mod push;
mod read;
mod source;

pub use archive::Archive;
pub use archive::Stats;
pub use build::Addition;
pub use build::BuildEntry;
pub use build::BuildOptions;
pub use build::Built;
pub use build::Changes;
pub use build::Compression;
pub use build::EntryKind;
pub use build::Omitted;
pub use build::Reason;
pub use build::Skip;
pub use build::Summary;
pub use build::Unchanged;
pub use build::amend;
pub use build::build;
pub use build::build_entries;
pub use build::build_tar;
pub use build::scan;
pub use build::unchanged;
pub use cache::BlockOptions;
pub use cache::CachedSource;
pub use cache::ContentCache;
pub use diff::Aspects;
pub use diff::Change;
pub use diff::ChangeKind;
pub use diff::DiffOptions;
pub use diff::diff;
pub use error::Error;
pub use error::ErrorKind;
pub use error::Result;
pub use extract::ExtractOptions;
pub use extract::Extracted;
pub use extract::Overwrite;
pub use format::ARTIFACT_TYPE;
pub use format::Chunks;
pub use format::Codec;
pub use format::DATA_TYPE;
pub use format::Directory;
pub use format::Entry;
pub use format::INDEX_TYPE;
pub use format::Index;
pub use format::Node;
pub use format::Symlink;
pub use format::write_index;
pub use limits::Limits;
pub use manifest::ArchiveManifest;
pub use manifest::CREATED;
#[cfg(feature = "object-store")]
pub use object_store::ArchiveStore;
pub use path::normalize;
pub use pattern::Patterns;
pub use progress::Cancel;
pub use progress::Progress;
pub use push::PushOptions;
pub use push::Pushed;
pub use push::manifest_of;
pub use push::push;
pub use push::push_again;
pub use read::File;
pub use read::ReadOptions;
pub use source::BlobSource;
pub use source::FileSource;
pub use source::Source;
