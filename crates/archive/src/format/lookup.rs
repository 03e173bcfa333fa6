//! Where paths are: a table of hashes over a large list, made when searching it has cost as much.

use std::hash::BuildHasher;
use std::hash::RandomState;

/// Positions by the hashes of their paths: open addressing, half full at most.
///
/// Searching a list of a million paths looks at twenty of them, none of which is near the last: that is a wait for memory each
/// time. This looks at one: what a slot has to spare beside the position is more of the hash, which tells almost every other
/// path. The hashes have a key of their own: whoever writes an index cannot make them collide.
#[derive(Debug)]
pub(super) struct Lookup {
    hasher: RandomState,
    /// 0, or a position and one more in the low bits, and the mark of its path above.
    slots: Box<[u32]>,
    /// How many bits a position and one more takes.
    low: u32,
}

impl Lookup {
    /// Takes all paths in their order; there are less than 2^31.
    pub(super) fn new<'a>(paths: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let size = (paths.len().max(1) * 2).next_power_of_two();
        let low = usize::BITS - paths.len().leading_zeros();
        let mut lookup = Self { hasher: RandomState::new(), slots: vec![0; size].into_boxed_slice(), low };
        for (at, path) in (1..).zip(paths) {
            let (mark, mut probe) = lookup.probe(path);
            let free = probe.find(|&slot| lookup.slots[slot] == 0);
            lookup.slots[free.expect("half of the slots stay free")] = mark | at;
        }
        lookup
    }

    /// The position of a path, which `at` tells of a position.
    pub(super) fn find<'a>(&self, path: &[u8], at: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
        let (mark, probe) = self.probe(path);
        probe
            .map(|slot| self.slots[slot])
            .take_while(|slot| *slot > 0)
            .filter(|slot| slot >> self.low == mark >> self.low)
            .map(|slot| (slot ^ mark) as usize - 1)
            .find(|&position| at(position) == path)
    }

    /// The mark of a path, and the slots where it may be, the likely one first.
    fn probe(&self, path: &[u8]) -> (u32, impl Iterator<Item = usize> + use<>) {
        let hash = self.hasher.hash_one(path);
        let (first, mask) = (hash as usize, self.slots.len() - 1);
        (((hash >> 32) as u32) << self.low, (0..=mask).map(move |step| first.wrapping_add(step) & mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_and_no_other() {
        for len in [0, 1, 2, 3, 1000] {
            let paths: Vec<String> = (0..len).map(|at| format!("a/{at}")).collect();
            let lookup = Lookup::new(paths.iter().map(|path| path.as_bytes()));
            let find = |path: &str| lookup.find(path.as_bytes(), |at| paths[at].as_bytes());
            for (at, path) in paths.iter().enumerate() {
                assert_eq!(find(path), Some(at));
                assert_eq!(find(&format!("{path}x")), None);
            }
            assert_eq!(find(""), None);
        }
    }
}
