//! The client of archives, over registries in this process.
//!
//! One program for all: each more would be linked with everything once more.

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod client;
mod peer_faults;
mod policy;
mod url;
