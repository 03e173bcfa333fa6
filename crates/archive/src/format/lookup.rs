//! Where paths are: a table of hashes over a large list, made when searching it has cost as much.

use std::hash::BuildHasher;
use std::hash::RandomState;

/// Positions by the hashes of their paths: open addressing, half full at most.
///
/// Searching a list of a million paths looks at twenty of them, none of which is near the last: that is a wait for memory each
/// time. This looks at one. The hashes have a key of their own: whoever writes an index cannot make them collide.
#[derive(Debug)]
pub(super) struct Lookup {
    hasher: RandomState,
    /// A position and one more, or 0.
    slots: Box<[u32]>,
}

impl Lookup {
    /// Takes all paths in their order; there are less than 2^31.
    pub(super) fn new<'a>(paths: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let size = (paths.len().max(1) * 2).next_power_of_two();
        let mut lookup = Self { hasher: RandomState::new(), slots: vec![0; size].into_boxed_slice() };
        for (at, path) in (1..).zip(paths) {
            let free = lookup.probe(path).find(|&slot| lookup.slots[slot] == 0);
            lookup.slots[free.expect("half of the slots stay free")] = at;
        }
        lookup
    }

    /// The position of a path, which `at` tells of a position.
    pub(super) fn find<'a>(&self, path: &[u8], at: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
        let positions = self.probe(path).map(|slot| self.slots[slot]).take_while(|position| *position > 0);
        positions.map(|position| position as usize - 1).find(|&position| at(position) == path)
    }

    /// The slots where a path may be, the likely one first.
    fn probe(&self, path: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let (first, mask) = (self.hasher.hash_one(path) as usize, self.slots.len() - 1);
        (0..=mask).map(move |step| first.wrapping_add(step) & mask)
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
