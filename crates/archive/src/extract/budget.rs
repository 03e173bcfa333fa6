//! The budget: how the memory of an extraction is divided.

use crate::decode::SMALL;

/// Stored bytes of small files that one writer gets at once.
const BATCH: u64 = 1 << 20;

/// Bytes of a request that are read ahead while those before it are still worked on.
const AHEAD: u64 = 1 << 20;

/// Bytes of most units, since larger files are in chunks: a writer that has no room for one is not worth having.
const UNIT: u64 = 1 << 20;

/// What is in memory for each writer: stored bytes in its hands and in the queue, content, and room to join pieces.
const BUFFERS: u64 = 4;

/// How much of everything there is at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Threads that decode and write.
    pub(super) workers: usize,
    /// What is larger, stored or decoded, is decoded in steps.
    pub(super) small: u64,
    /// Stored bytes of small files that one writer gets at once.
    pub(super) batch: u64,
    /// Requests at the same time.
    pub(super) in_flight: usize,
    /// Bytes that each request may have read before its turn.
    pub(super) ahead: u64,
}

impl Budget {
    /// Divides memory: a quarter is for requests, the rest for threads.
    ///
    /// Nothing ever waits for memory, so there is no number of bytes with which an extraction does not end.
    pub(super) fn new(memory: u64, workers: usize, in_flight: usize) -> Self {
        let in_flight = in_flight.max(1);
        let ahead = (memory / 4 / in_flight as u64).min(AHEAD);
        let writing = memory - memory / 4;
        let most = usize::try_from(writing / (BUFFERS * UNIT)).unwrap_or(usize::MAX);
        let workers = workers.clamp(1, most.max(1));
        let small = (writing / (BUFFERS * workers as u64)).min(SMALL);
        Self { workers, small, batch: small.min(BATCH), in_flight, ahead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_divided_and_never_exceeded() {
        for memory in [0, 1, 4096, 1 << 20, 5 << 20, 64 << 20, 1 << 40, u64::MAX] {
            for workers in [0, 1, 2, 16, 1000] {
                for in_flight in [0, 1, 4, 100] {
                    let budget = Budget::new(memory, workers, in_flight);
                    assert!(budget.workers >= 1 && budget.workers <= workers.max(1));
                    let writing = BUFFERS * budget.workers as u64 * budget.small;
                    let reading = budget.in_flight as u64 * budget.ahead;
                    assert!(writing + reading <= memory, "{memory} {workers} {in_flight}: {budget:?}");
                }
            }
        }
        let usual = Budget { workers: 2, small: SMALL, batch: BATCH, in_flight: 4, ahead: AHEAD };
        assert_eq!(Budget::new(64 << 20, 2, 4), usual);
        assert_eq!(Budget::new(64 << 20, 64, 4).workers, 12);
    }
}
