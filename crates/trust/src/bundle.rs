//! Bundles: bytes of strangers, counted before they are parsed.

use serde::Deserialize;
use serde::de::IgnoredAny;
use sigstore_types::Bundle;
use sigstore_types::Checkpoint;
use sigstore_types::KindVersion;
use sigstore_types::TransparencyLogEntry;

use crate::limits::Limits;
use crate::report::Rejection;
use crate::report::Stage;

/// Parses a bundle of version 0.1 to 0.3 that keeps to the limits.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Bundle, Rejection> {
    fits("bytes of the bundle", bytes.len() as u64, limits.bundle)?;
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
    let shape: Shape = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let material = &shape.verification_material;
    let count = |what, length: usize, limit: usize| fits(what, length as u64, limit as u64);
    count("log entries", material.tlog_entries.len(), limits.log_entries)?;
    for entry in &material.tlog_entries {
        let hashes = entry.inclusion_proof.as_ref().map_or(0, |proof| proof.hashes.len());
        count("hashes of a proof", hashes, limits.log_hashes)?;
    }
    let timestamps = material.timestamp_verification_data.as_ref().map_or(0, |data| data.rfc3161_timestamps.len());
    count("timestamps", timestamps, limits.timestamps)?;
    let chain = material.x509_certificate_chain.as_ref().map_or(0, |chain| chain.certificates.len());
    count("certificates", chain, limits.certificates)?;
    // Only its absence is of interest: the parser would take it for version 0.1, which asks for less.
    let _: &str = &shape.media_type;
    let bundle = Bundle::from_json(text).map_err(|error| malformed(&error))?;
    bundle.verification_material.tlog_entries.iter().try_for_each(vouched)?;
    Ok(bundle)
}

/// What the checks of the log leave out, and what is told of an entry depends on.
fn vouched(entry: &TransparencyLogEntry) -> Result<(), Rejection> {
    // They look at the proof if there is one and at the promise if there is one, and pass what has neither, as long as
    // another entry of the bundle has.
    let Some(proof) = &entry.inclusion_proof else {
        let none = || Rejection::new(Stage::Log, "a log entry with neither proof nor promise");
        return entry.inclusion_promise.as_ref().map(|_| ()).ok_or_else(none);
    };
    // They take the size of the tree from the proof, which nobody signs, and it decides which number an entry has.
    // Logs of version 2 have it from the checkpoint, which is signed.
    match proof.checkpoint.checkpoint().map(Checkpoint::tree_size) {
        Some(size) if size != proof.tree_size && entry.kind_version != KindVersion::HashedRekordV002 => {
            let why = format!("a proof for a tree of {} entries, and a checkpoint of {size}", proof.tree_size);
            Err(Rejection::new(Stage::Log, why))
        }
        _ => Ok(()),
    }
}

/// Whether something is within its limit.
pub(crate) fn fits(what: &str, came: u64, limit: u64) -> Result<(), Rejection> {
    if came > limit {
        return Err(Rejection::new(Stage::Limit, format!("too many {what}: at most {limit}, got {came}")));
    }
    Ok(())
}

fn malformed(error: &dyn std::fmt::Display) -> Rejection {
    Rejection::new(Stage::Parse, format!("malformed bundle: {error}"))
}

/// The parts of a bundle that are counted; what is in them takes no memory.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: String,
    verification_material: MaterialShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MaterialShape {
    #[serde(default)]
    tlog_entries: Vec<EntryShape>,
    timestamp_verification_data: Option<TimestampShape>,
    #[serde(rename = "x509CertificateChain")]
    x509_certificate_chain: Option<ChainShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryShape {
    inclusion_proof: Option<ProofShape>,
}

#[derive(Deserialize)]
struct ProofShape {
    #[serde(default)]
    hashes: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TimestampShape {
    #[serde(default)]
    rfc3161_timestamps: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct ChainShape {
    #[serde(default)]
    certificates: Vec<IgnoredAny>,
}
