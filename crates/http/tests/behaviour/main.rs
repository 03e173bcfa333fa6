//! Client and server, over loopback.
//!
//! One program for all: each more would be linked with everything once more.

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod client;
mod client_push;
mod conformance;
mod origin;
mod probe;
mod quirks;
mod quirky;
mod reach;
mod redirect;
mod retry;
mod server;
mod server_push;
mod server_wire;
