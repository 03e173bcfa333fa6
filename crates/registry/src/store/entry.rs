//! Files of a store: what is in one, and how it is known to be whole.
//!
//! ```text
//! 0   4   "skc1"
//! 4   1   1 if the hash is SHA-256, 2 if it is SHA-512
//! 5   3   zero
//! 8   32  the key's id, which is also the name of the file
//! 40  n   hash of the value: 32 or 64 bytes
//!         the value
//! ```

use bytes::Bytes;

use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::store::key::Key;

/// What stands before a value in its file; none if the value is not the content that its key names.
pub(super) fn header(key: &Key, value: &[u8]) -> Option<Vec<u8>> {
    let algorithm = key.digest().map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, value);
    if key.digest().is_some_and(|wanted| *wanted != digest) {
        return None;
    }
    let mut header = Vec::with_capacity(MAX_HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&[kind(algorithm), 0, 0, 0]);
    header.extend_from_slice(&key.id().hash());
    header.extend_from_slice(&digest.hash());
    Some(header)
}

/// The value in the bytes of a file; none if they are not what was written under this id and digest.
pub(super) fn value(file: Bytes, id: &Digest, content: Option<&Digest>) -> Option<Bytes> {
    let (magic, rest) = file.split_first_chunk::<4>()?;
    let (&[kind_of_hash, 0, 0, 0], rest) = rest.split_first_chunk::<4>()? else { return None };
    let (id_of_file, rest) = rest.split_first_chunk::<32>()?;
    let algorithm = Algorithm::ALL.into_iter().find(|algorithm| kind(*algorithm) == kind_of_hash)?;
    let (hash, _) = rest.split_at_checked(algorithm.hex_len() / 2)?;
    if magic != MAGIC || id_of_file[..] != id.hash() {
        return None;
    }
    let value = file.slice(40 + hash.len()..);
    let digest = Digest::of(algorithm, &value);
    (digest.hash() == hash && content.is_none_or(|wanted| *wanted == digest)).then_some(value)
}

fn kind(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

const MAGIC: &[u8; 4] = b"skc1";

/// The longest header, in bytes.
pub(super) const MAX_HEADER: usize = 40 + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_noticed() {
        for algorithm in Algorithm::ALL {
            let key = Key::content("a", &Digest::of(algorithm, b"hello"));
            let mut file = header(&key, b"hello").unwrap();
            file.extend_from_slice(b"hello");
            let read = |file: &[u8]| value(Bytes::copy_from_slice(file), key.id(), key.digest());
            assert_eq!(read(&file).unwrap(), "hello");
            for at in 0..file.len() {
                let mut broken = file.clone();
                broken[at] ^= 1;
                assert_eq!(read(&broken), None, "{algorithm} {at}");
                assert_eq!(read(&file[..at]), None, "{algorithm} {at}");
            }
            assert_eq!(header(&key, b"hellO"), None);
        }
    }

    #[test]
    fn a_file_under_another_name_is_not_taken() {
        let (one, two) = (Key::note("a", &["one"]), Key::note("a", &["two"]));
        let mut file = header(&one, b"hello").unwrap();
        file.extend_from_slice(b"hello");
        assert_eq!(value(file.into(), two.id(), None), None);
    }
}
