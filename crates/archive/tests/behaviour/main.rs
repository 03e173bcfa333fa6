//! The archive: building, reading and extracting, through its public interface.
//!
//! One program for all: each more would be linked with everything once more.

#[path = "../support/mod.rs"]
mod support;

mod amend;
mod build;
mod build_faults;
mod build_stream;
mod build_tar;
mod cache;
mod corruption;
mod diff;
mod extract;
mod extract_bombs;
mod extract_corpus;
mod fixtures;
mod hostile;
#[cfg(feature = "object-store")]
mod object_store;
mod peer_faults;
mod read_file;
mod read_find;
mod read_hash;
mod read_many;
mod read_save;
mod registry;
mod roundtrip;
