//! The ledger of a store: how much is in each shard, kept in one small file that all processes lock.
//!
//! It makes room without counting files: 256 pairs of numbers, and behind them a checksum. A process that
//! dies can leave a number too large, never too small; making room counts again what it looks at.

use std::cmp::Reverse;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::store::file::is_entry;
use crate::store::file::options;
use crate::store::file::shard_path;

/// The ledger and the lock on it, which ends when it is dropped.
pub(super) struct Ledger {
    dir: PathBuf,
    file: File,
    shards: Shards,
}

type Shards = [Tally; SHARDS];

/// What is in a shard, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

/// A file that might be removed.
struct Candidate {
    used: SystemTime,
    bytes: u64,
    shard: usize,
    path: PathBuf,
}

impl Ledger {
    /// Takes the lock; waits while another has it. Makes the directory when it is not there.
    pub(super) fn lock(dir: &Path) -> io::Result<Self> {
        let path = dir.join(LEDGER);
        let opened = || options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = match opened() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_dir(dir)?;
                opened()?
            }
            file => file?,
        };
        file.lock()?;
        let mut ledger = Self { dir: dir.to_owned(), shards: Shards::from([Tally::default(); SHARDS]), file };
        let mut bytes = Vec::with_capacity(LEN + 1);
        (&ledger.file).take(LEN as u64 + 1).read_to_end(&mut bytes)?;
        match decode(&bytes) {
            Some(shards) => ledger.shards = shards,
            // New, or broken: the only time that everything is counted.
            None => (0..SHARDS).try_for_each(|shard| ledger.recount(shard).map(|_| ()))?,
        }
        Ok(ledger)
    }

    /// What is in the store, as far as can be told without the lock, in a directory that may be read-only.
    pub(super) fn peek(dir: &Path) -> Tally {
        let bytes = fs::read(dir.join(LEDGER)).unwrap_or_default();
        decode(&bytes).map(|shards| sum(&shards)).unwrap_or_default()
    }

    pub(super) fn total(&self) -> Tally {
        sum(&self.shards)
    }

    /// Notes that a file is there, in place of an old one of a size.
    pub(super) fn add(&mut self, shard: usize, bytes: u64, old: Option<u64>) {
        self.subtract(shard, old);
        self.shards[shard].bytes += bytes;
        self.shards[shard].entries += 1;
    }

    /// Notes that a file of a size is gone.
    pub(super) fn subtract(&mut self, shard: usize, old: Option<u64>) {
        if let Some(old) = old {
            let tally = &mut self.shards[shard];
            tally.bytes = tally.bytes.saturating_sub(old);
            tally.entries = tally.entries.saturating_sub(1);
        }
    }

    /// Counts what is in a shard.
    pub(super) fn recount(&mut self, shard: usize) -> io::Result<Vec<PathBuf>> {
        self.candidates(shard).map(|found| found.into_iter().map(|candidate| candidate.path).collect())
    }

    /// Writes the numbers down.
    pub(super) fn save(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&encode(&self.shards))
    }

    /// Removes what was not used for longest until `max` bytes are left at most, and then `slack` more.
    ///
    /// Keys are hashes, so every shard is a sample of all files. Some are looked at, in no order; of the files
    /// that were seen the oldest go, one for eight, until there is room. When all were seen, as soon happens
    /// in a store of few files, the oldest of all go.
    pub(super) fn make_room(&mut self, max: u64, slack: u64) -> io::Result<()> {
        if self.total().bytes <= max {
            return Ok(());
        }
        let wanted = max.saturating_sub(slack);
        let (mut shards, mut candidates) = (Vec::new(), Vec::new());
        while self.total().bytes > wanted {
            if shards.is_empty() && candidates.is_empty() {
                shards = self.shuffled();
                if shards.is_empty() {
                    break;
                }
            }
            let mut looked = 0;
            while looked < SAMPLE
                && let Some(shard) = shards.pop()
            {
                let found = self.candidates(shard)?;
                looked += found.len();
                candidates.extend(found);
            }
            candidates.sort_by_key(|candidate: &Candidate| Reverse(candidate.used));
            let quota = if shards.is_empty() { candidates.len() } else { looked.div_ceil(8) };
            for _ in 0..quota {
                if self.total().bytes <= wanted {
                    break;
                }
                let Some(oldest) = candidates.pop() else { break };
                match fs::remove_file(&oldest.path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => self.subtract(oldest.shard, Some(oldest.bytes)),
                }
            }
            // The young ones would only be carried along.
            candidates.drain(..candidates.len().saturating_sub(CANDIDATES));
        }
        Ok(())
    }

    /// The shards that have files, beginning anywhere.
    fn shuffled(&self) -> Vec<usize> {
        // Any order will do that is another one each time; without random numbers it is by the clock.
        let seed = getrandom::u64().unwrap_or_else(|_| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.map_or(0, |now| u64::from(now.subsec_nanos()))
        });
        // An odd step visits each of 256 shards once.
        let (start, step) = (seed as usize % SHARDS, (seed >> 32) as usize | 1);
        let shards = (0..SHARDS).map(|at| (start + at.wrapping_mul(step)) % SHARDS);
        shards.filter(|shard| self.shards[*shard].entries > 0 || self.shards[*shard].bytes > 0).collect()
    }

    /// The files of a shard, which are counted.
    fn candidates(&mut self, shard: usize) -> io::Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        let entries = match shard_path(&self.dir, shard).read_dir() {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            // Another process removes files that are broken without asking.
            if is_entry(&entry.file_name())
                && let Ok(metadata) = entry.metadata()
            {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                candidates.push(Candidate { used, bytes: metadata.len(), shard, path: entry.path() });
            }
        }
        let bytes = candidates.iter().map(|candidate| candidate.bytes).sum();
        self.shards[shard] = Tally { bytes, entries: candidates.len() as u64 };
        Ok(candidates)
    }
}

/// Makes a directory and those above it, for nobody else to read.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn sum(shards: &Shards) -> Tally {
    let add = |sum: Tally, shard: &Tally| Tally {
        bytes: sum.bytes.saturating_add(shard.bytes),
        entries: sum.entries.saturating_add(shard.entries),
    };
    shards.iter().fold(Tally::default(), add)
}

fn encode(shards: &Shards) -> Vec<u8> {
    let numbers = shards.iter().flat_map(|shard| [shard.bytes, shard.entries]);
    let mut bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
    bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Shards> {
    let (numbers, sum) = bytes.split_last_chunk::<8>()?;
    if bytes.len() != LEN || checksum(numbers) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut shards = [Tally::default(); SHARDS];
    for (shard, pair) in shards.iter_mut().zip(numbers.chunks_exact(16)) {
        let (bytes, entries) = pair.split_first_chunk::<8>()?;
        *shard = Tally { bytes: u64::from_le_bytes(*bytes), entries: u64::from_le_bytes(entries.try_into().ok()?) };
    }
    Some(shards)
}

/// FNV-1a: against a torn write, not against malice. Who can write here can do worse.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// One for each first byte of a key's id.
pub(super) const SHARDS: usize = 256;

/// The length of the file.
const LEN: usize = SHARDS * 16 + 8;

/// Files that are looked at at a time, at least, to find old ones.
const SAMPLE: usize = 64;

/// Files that were seen and are kept in mind, so that memory is bounded.
const CANDIDATES: usize = 8192;

/// Its name.
const LEDGER: &str = "ledger";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_ledger_is_noticed() {
        let mut shards = [Tally::default(); SHARDS];
        shards[7] = Tally { bytes: 1 << 40, entries: 3 };
        let bytes = encode(&shards);
        assert_eq!(decode(&bytes), Some(shards));
        assert_eq!(decode(&bytes[..LEN - 1]), None);
        assert_eq!(decode(&[]), None);
        let mut torn = bytes.clone();
        torn[7 * 16] ^= 1;
        assert_eq!(decode(&torn), None);
        assert_eq!(decode(&vec![0; LEN]), None);
    }
}
