//! Journals: small files that say how far a transfer came, for the process that goes on with it.
//!
//! One line with the version of the format and the digest of what follows, then JSON. A file that is not
//! whole, or of another version, says nothing: the transfer begins anew.

use std::fs;
use std::fs::File;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::error::Error;
use crate::error::Result;
use crate::layout::dir::options;

/// Puts a journal in place of the one before, so that there is always a whole one.
pub(super) fn write(path: &Path, record: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(record).expect("a journal's record has only strings and numbers");
    let text = format!("{VERSION} {}\n{json}", Digest::sha256(json.as_bytes()));
    let temp = with_suffix(path, ".tmp");
    let failed = |error| Error::io(format_args!("write {}", temp.display()), error);
    let mut file = options().write(true).create(true).truncate(true).open(&temp).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
    fs::rename(&temp, path).map_err(|error| Error::io(format_args!("write {}", path.display()), error))
}

/// Reads a journal; none if there is none, or one that says nothing.
///
/// # Errors
/// `Unknown` when the file is there and cannot be read.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let mut text = String::new();
    let read = options().read(true).open(path).and_then(|file: File| file.take(MAX_JOURNAL).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => return Ok(None),
        Err(error) => return Err(Error::io(format_args!("read {}", path.display()), error)),
    }
    let Some((head, json)) = text.split_once('\n') else { return Ok(None) };
    if head != format!("{VERSION} {}", Digest::sha256(json.as_bytes())) {
        return Ok(None);
    }
    Ok(serde_json::from_str(json).ok())
}

/// A path with something behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What the first line begins with.
const VERSION: &str = "skep-journal-1";

/// The largest journal, in bytes: some 20,000 ranges.
const MAX_JOURNAL: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert_eq!(read::<Vec<u64>>(&path).unwrap(), None);
        write(&path, &vec![1, 2, 3]).unwrap();
        write(&path, &vec![4, 5, 6]).unwrap();
        assert_eq!(read::<Vec<u64>>(&path).unwrap(), Some(vec![4, 5, 6]));
        assert_eq!(read::<String>(&path).unwrap(), None);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(read::<Vec<u64>>(&path).unwrap(), None, "cut at {at}");
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(read::<Vec<u64>>(&path).unwrap(), None, "damaged at {at}");
        }
    }
}
