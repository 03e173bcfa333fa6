//! A log as a Merkle tree (RFC 6962), in memory.

use sha2::Digest;
use sha2::Sha256;

type Hash = [u8; 32];

/// The hashes of the entries, in their order.
#[derive(Debug, Default)]
pub(super) struct Tree(Vec<Hash>);

/// That an entry stands in a tree.
pub(super) struct Proof {
    pub(super) index: usize,
    pub(super) size: usize,
    pub(super) root: Hash,
    pub(super) hashes: Vec<Hash>,
}

impl Tree {
    /// Adds an entry, and proves that it is in.
    pub(super) fn add(&mut self, entry: &[u8]) -> Proof {
        self.0.push(Sha256::new().chain_update([0]).chain_update(entry).finalize().into());
        let index = self.0.len() - 1;
        Proof { index, size: self.0.len(), root: root(&self.0), hashes: path(&self.0, index) }
    }
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            Sha256::new().chain_update([1]).chain_update(root(left)).chain_update(root(right)).finalize().into()
        }
    }
}

/// RFC 6962, section 2.1.1.
fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut hashes, other) = match index.checked_sub(left.len()) {
        None => (path(left, index), right),
        Some(index) => (path(right, index), left),
    };
    hashes.push(root(other));
    hashes
}

/// The largest power of two below a size of at least 2.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_that_of_rfc_6962() {
        assert_eq!([2, 3, 4, 5, 8, 9].map(split), [1, 2, 2, 4, 4, 8]);
        let mut tree = Tree::default();
        // The test vectors of the certificate transparency reference implementation.
        let entries: [&[u8]; 3] = [&[], &[0], &[0x10]];
        let roots =
            entries.map(|entry| tree.add(entry).root.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        assert_eq!(
            roots,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            ]
        );
    }
}
