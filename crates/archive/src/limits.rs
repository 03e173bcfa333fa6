//! Limits: how large an archive may be before it is refused.

/// How large an archive may be before it is refused; one table for building, opening and reading.
///
/// The defaults let through whatever the defaults of [`build`](crate::build) let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the index.
    pub index: u64,
    /// Files, and as many symbolic links, and as many directories.
    pub entries: u64,
    /// Bytes of a path, and of the target of a symbolic link.
    pub path: u64,
    /// Names in a path.
    pub depth: u64,
    /// Bytes of the content of one file.
    pub file: u64,
    /// Bytes of content that one extraction may write.
    pub total: u64,
    /// Bytes that a compressed file may make its decoder look back; a power of two.
    pub window: u64,
    /// Bytes that reading one file whole into memory may take.
    pub memory: u64,
}

impl Limits {
    /// The largest power of two that is not above [`window`](Self::window), as zstd wants it: 10 to 31.
    pub(crate) fn window_log(&self) -> u32 {
        self.window.max(1).ilog2().clamp(10, 31)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            index: 256 << 20,
            entries: 2_000_000,
            path: 4096,
            depth: 255,
            file: u64::MAX,
            total: u64::MAX,
            window: 128 << 20,
            memory: 1 << 30,
        }
    }
}
