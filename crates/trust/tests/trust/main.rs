//! What is signed holds for whom it should, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod common;
mod conformance;
mod cosign;
mod fixtures;
mod holes;
mod keyless;
mod keys;
mod mutants;
#[cfg(feature = "rego")]
mod rego;
mod wire;
