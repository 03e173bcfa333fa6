//! What is signed holds for whom it should, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod common;
mod conformance;
mod cosign;
mod files;
mod fixtures;
mod holes;
mod keyless;
mod keys;
mod login;
mod mutants;
mod policy;
mod policy_holes;
mod provenance;
#[cfg(feature = "rego")]
mod rego;
mod services;
mod slsa;
#[cfg(feature = "tuf")]
mod tuf;
mod wire;
