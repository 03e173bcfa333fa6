//! What the feeder gives to the writers.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::turn::Turn;
use crate::decode::Unit;

/// Something a writer does, with the stored bytes for it.
pub(super) enum Job {
    /// Small files: their positions in the plan.
    Files(Range<usize>, Pieces),
    /// A small unit of a large file.
    Unit(Turn, Unit, Pieces),
    /// A large unit, whose stored bytes come one after the other.
    Stream(Turn, Unit, mpsc::Receiver<Bytes>),
}

/// A file that was made, and the name under which it waits if that is not its own.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) waits_as: Option<String>,
}

/// A part of the data, in the pieces in which it came.
#[derive(Clone)]
pub(super) struct Pieces {
    /// Where in the data it begins.
    pub(super) start: u64,
    pub(super) parts: Vec<Bytes>,
}

impl Pieces {
    /// The bytes of a range of the data; joined in a buffer if they came in several pieces.
    pub(super) fn get<'a>(&'a self, range: &Range<u64>, joined: &'a mut Vec<u8>) -> &'a [u8] {
        let mut at = self.start;
        joined.clear();
        for part in &self.parts {
            let end = at + part.len() as u64;
            let within = |position: u64| (position.clamp(at, end) - at) as usize;
            let piece = &part[within(range.start)..within(range.end)];
            if range.start >= at && range.end <= end {
                return piece;
            }
            joined.extend_from_slice(piece);
            at = end;
        }
        joined
    }
}
