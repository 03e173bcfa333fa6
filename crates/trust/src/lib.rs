//! Signatures and attestations on anything in an OCI registry: sign, attest, find, verify.
//!
//! A [`Subject`] is a manifest whose bytes are in hand. A [`Signer`] signs it, and [`sign`] and [`attest`] attach what
//! came of it as a referrer. A [`Verifier`] trusts roots, identities and keys; it finds what is attached to a subject
//! and gives a [`Report`] of what holds, each as a [`Verified`], and of what does not and why. Nothing else makes a
//! [`Verified`], so whoever decides by one decides by what was signed, by whom it should, about these bytes.
//!
//! ```
//! use serde_json::json;
//! use skep_registry::{Memory, Manifest, PutManifest, Registry, media_type};
//! use skep_trust::{KeySigner, PrivateKey, SignOptions, Subject, Verifier, sign};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> skep_trust::Result<()> {
//! let (registry, repo) = (Memory::default(), "acme/site".parse()?);
//! let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": []});
//! let manifest = Manifest::new(media_type::INDEX, index.to_string());
//! registry.put_manifest(&repo, &manifest, PutManifest::default()).await?;
//!
//! let key = PrivateKey::generate()?;
//! let verifier = Verifier::default().trust_key(key.public_key().clone());
//! let subject = Subject::from(&manifest);
//! sign(&registry, &repo, &subject, &KeySigner::new(key), &SignOptions::default()).await?;
//!
//! let report = verifier.inspect(&registry, &repo, &subject).await?;
//! println!("signed by {}", report.require_signature()?.signer());
//! # Ok(())
//! # }
//! ```

mod bundle;
mod check;
mod cosign;
mod error;
mod find;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "gittuf")]
mod gittuf;
mod identity;
mod key;
#[cfg(feature = "keyless")]
mod keyless;
mod limits;
mod pattern;
mod policy;
mod report;
mod root;
mod sign;
mod statement;
mod subject;
#[cfg(feature = "testing")]
pub mod testing;
mod verified;
mod verifier;
#[cfg(feature = "keyless")]
mod witness;

pub use error::Error;
pub use error::Result;
pub use find::Candidate;
pub use find::Found;
pub use find::find;
#[cfg(feature = "gittuf")]
pub use gittuf::Gittuf;
#[cfg(feature = "gittuf")]
pub use gittuf::GittufKey;
pub use identity::Certificate;
pub use identity::Claim;
pub use identity::Claims;
pub use identity::IdentityPattern;
pub use key::KeyKind;
pub use key::KeyPair;
pub use key::PrivateKey;
pub use key::PublicKey;
pub use key::generate_key_pair;
#[cfg(feature = "keyless")]
pub use keyless::IdentityToken;
#[cfg(feature = "keyless")]
pub use keyless::KeylessSigner;
#[cfg(feature = "keyless")]
pub use keyless::Services;
pub use limits::Limits;
pub use pattern::Pattern;
pub use policy::Attested;
pub use policy::Decision;
pub use policy::Facts;
pub use policy::Field;
pub use policy::GitHubActions;
pub use policy::GitLab;
pub use policy::Mismatch;
pub use policy::Outcome;
pub use policy::Policies;
pub use policy::Policy;
pub use policy::PolicyFile;
pub use policy::Provenance;
pub use policy::Refs;
pub use policy::Refusal;
pub use policy::Rule;
pub use policy::Signature;
pub use policy::Slsa;
pub use policy::Support;
pub use policy::Verdict;
pub use report::Rejection;
pub use report::Report;
pub use report::Stage;
pub use root::Evidence;
pub use root::TrustedRoot;
pub use sign::Attached;
pub use sign::BUNDLE;
pub use sign::KeySigner;
pub use sign::Predicate;
pub use sign::SignFormat;
pub use sign::SignOptions;
pub use sign::Signer;
pub use sign::attach;
pub use sign::attest;
pub use sign::sign;
pub use statement::SIGNATURE_PREDICATE;
pub use subject::Subject;
pub use verified::Attestation;
pub use verified::Check;
pub use verified::Kind;
pub use verified::LogEntry;
pub use verified::SignatureForm;
pub use verified::SignedBy;
pub use verified::SignedTime;
pub use verified::StatementSubject;
pub use verified::TimeSource;
pub use verified::Verified;
pub use verifier::Verifier;
#[cfg(feature = "keyless")]
pub use witness::Witnesses;
