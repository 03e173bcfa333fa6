//! Turns: a large file is decoded by several writers at the same time, and hashed in order.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use sha2::Digest as _;
use sha2::Sha256;

use super::job::Made;
use crate::error::Error;
use crate::error::Result;
use crate::format::HASH;

/// A file that is written in units, by several writers at the same time.
pub(super) struct Target {
    /// Positions in the plan: the file, and others with the same content.
    pub(super) files: Range<usize>,
    /// The open file and its name in staging, once the first writer came.
    pub(super) open: Mutex<Option<Made>>,
    /// Held while something is written. The kernel lets one write to a file at a time as well, and has the others spin.
    pub(super) writing: Mutex<()>,
    hashing: Mutex<Hashing>,
    moved_on: Condvar,
}

struct Hashing {
    hasher: Sha256,
    /// The unit whose content comes next.
    next: u64,
    /// A unit was lost: those behind it need not wait.
    is_broken: bool,
}

impl Target {
    pub(super) fn new(files: Range<usize>) -> Arc<Self> {
        let hashing = Hashing { hasher: Sha256::new(), next: 0, is_broken: false };
        let (open, writing, hashing) = (Mutex::default(), Mutex::default(), Mutex::new(hashing));
        Arc::new(Self { files, open, writing, hashing, moved_on: Condvar::new() })
    }

    fn hashing(&self) -> MutexGuard<'_, Hashing> {
        self.hashing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of one unit to be hashed when those before it were.
///
/// Writers wait for each other here, and not for ever: they take turns from a queue in the order of the units, so a
/// turn that somebody waits for was taken before his own, or lost. Of the turns that are held the first waits for
/// none, and a turn that is lost, with its writer or on the way to one, breaks the file when it is dropped.
pub(super) struct Turn {
    pub(super) target: Arc<Target>,
    number: u64,
    is_last: bool,
    is_over: bool,
}

impl Turn {
    /// The turn of a unit, by its number.
    pub(super) fn new(target: Arc<Target>, number: u64, is_last: bool) -> Self {
        Self { target, number, is_last, is_over: false }
    }

    /// Hashes content of the unit, once those before it are over. Blocks.
    ///
    /// # Errors
    /// `Cancelled` when one of them was lost; its writer says why.
    pub(super) fn hash(&self, content: &[u8]) -> Result<()> {
        self.wait()?.hasher.update(content);
        Ok(())
    }

    /// Ends the unit, and gives the hash of the file if it was the last.
    ///
    /// # Errors
    /// As [`hash`](Self::hash).
    pub(super) fn end(mut self) -> Result<Option<[u8; HASH]>> {
        let mut hashing = self.wait()?;
        hashing.next += 1;
        let hash = self.is_last.then(|| std::mem::take(&mut hashing.hasher).finalize().into());
        drop(hashing);
        self.target.moved_on.notify_all();
        self.is_over = true;
        Ok(hash)
    }

    fn wait(&self) -> Result<MutexGuard<'_, Hashing>> {
        let is_early = |hashing: &mut Hashing| hashing.next != self.number && !hashing.is_broken;
        let waited = self.target.moved_on.wait_while(self.target.hashing(), is_early);
        let hashing = waited.unwrap_or_else(PoisonError::into_inner);
        if hashing.is_broken { Err(Error::Cancelled) } else { Ok(hashing) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            self.target.hashing().is_broken = true;
            self.target.moved_on.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn content_is_hashed_in_order_whoever_comes_first() {
        let target = Target::new(0..1);
        let turns: Vec<_> = (0..20).map(|number| Turn::new(target.clone(), number, number == 19)).collect();
        let hash = thread::scope(|scope| {
            let hash_one = |turn: Turn| {
                turn.hash(&[turn.number as u8; 100]).unwrap();
                turn.hash(b"!").unwrap();
                turn.end().unwrap()
            };
            let threads: Vec<_> = turns.into_iter().rev().map(|turn| scope.spawn(move || hash_one(turn))).collect();
            let hashes: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
            assert_eq!(hashes.len(), 1, "only the last turn has the hash");
            hashes[0]
        });
        let content: Vec<u8> = (0..20).flat_map(|number| [vec![number; 100], b"!".to_vec()].concat()).collect();
        assert_eq!(hash, <[u8; HASH]>::from(Sha256::digest(&content)));
    }

    #[test]
    fn nobody_waits_for_a_turn_that_was_lost() {
        let target = Target::new(0..1);
        let [first, second, third] = [0, 1, 2].map(|number| Turn::new(target.clone(), number, number == 2));
        thread::scope(|scope| {
            let waiting = [scope.spawn(|| second.hash(b"x")), scope.spawn(|| third.hash(b"x"))];
            first.hash(b"x").unwrap();
            drop(first);
            for thread in waiting {
                assert!(matches!(thread.join().unwrap(), Err(Error::Cancelled)));
            }
        });
    }
}
