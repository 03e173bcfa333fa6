//! Progress: how far the client is, phase by phase.

use std::sync::Arc;

/// What the client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Reading, hashing and compressing files.
    Pack,
    /// Sending blobs.
    Upload,
    /// Fetching, checking and writing files.
    Extract,
}

impl Phase {
    /// The name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Upload => "upload",
            Self::Extract => "extract",
        }
    }
}

/// How far a phase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The phase.
    pub phase: Phase,
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all, 0 as long as that is not known.
    pub total: u64,
}

/// Called as the work goes on, from any thread and often; it should be quick.
pub type OnProgress = Arc<dyn Fn(Step) + Send + Sync>;
