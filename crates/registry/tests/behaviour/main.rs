//! Registries in memory and on the disk, what wraps them, and transfers between them.
//!
//! One program for all: each more would be linked with everything once more.

#[cfg(feature = "conformance")]
#[path = "../double/mod.rs"]
mod double;
#[path = "../support/mod.rs"]
mod support;

mod cache;
mod filter;
mod filter_conformance;
mod filter_time;
mod immutable;
mod layout;
mod layout_faults;
mod layout_files;
mod memory;
mod route;
mod route_conformance;
mod store;
mod transfer_copy;
mod transfer_download;
mod transfer_upload;
mod unify;
