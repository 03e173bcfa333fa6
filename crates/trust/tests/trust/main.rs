//! What is signed holds for whom it should, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

mod common;
mod conformance;
mod cosign;
mod files;
mod fixtures;
#[cfg(feature = "gittuf")]
mod gittuf;
#[cfg(feature = "gittuf")]
mod gittuf_peer;
#[cfg(feature = "gittuf")]
mod gittuf_place;
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
#[cfg(feature = "gittuf")]
mod source;
#[cfg(feature = "tuf")]
mod tuf;
mod wire;
