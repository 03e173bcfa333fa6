//! Limits: how much of what strangers wrote is read.

/// Bounds on what is read and parsed, because whoever can write to a repository can attach anything to anything.
///
/// All are checked before the bytes are parsed. The defaults hold every bundle that the known tools write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one bundle, or of one payload of the older format. 8 MiB.
    pub bundle: u64,
    /// Bytes of all bundles of one search. 64 MiB.
    pub total: u64,
    /// Referrers whose description is looked at. 1024.
    pub listed: usize,
    /// Referrers that are read, of those that may hold a signature. 64.
    pub referrers: usize,
    /// Layers of one referrer that are read. 16.
    pub layers: usize,
    /// Certificates in one bundle. 16.
    pub certificates: usize,
    /// Entries of transparency logs in one bundle. 32.
    pub log_entries: usize,
    /// Hashes in one proof of inclusion. 64, enough for a log of 2^64 entries.
    pub log_hashes: usize,
    /// Timestamps in one bundle. 32.
    pub timestamps: usize,
    /// Subjects of one statement. 1024.
    pub subjects: usize,
    /// Digests of one subject. 32.
    pub digests: usize,
}

impl Limits {
    /// The larger of each two bounds.
    pub(crate) fn widest(self, other: Self) -> Self {
        Self {
            bundle: self.bundle.max(other.bundle),
            total: self.total.max(other.total),
            listed: self.listed.max(other.listed),
            referrers: self.referrers.max(other.referrers),
            layers: self.layers.max(other.layers),
            certificates: self.certificates.max(other.certificates),
            log_entries: self.log_entries.max(other.log_entries),
            log_hashes: self.log_hashes.max(other.log_hashes),
            timestamps: self.timestamps.max(other.timestamps),
            subjects: self.subjects.max(other.subjects),
            digests: self.digests.max(other.digests),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bundle: 8 << 20,
            total: 64 << 20,
            listed: 1024,
            referrers: 64,
            layers: 16,
            certificates: 16,
            log_entries: 32,
            log_hashes: 64,
            timestamps: 32,
            subjects: 1024,
            digests: 32,
        }
    }
}
