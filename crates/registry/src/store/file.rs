//! The directory of a store: reading, writing and removing its files.

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;

use crate::digest::Digest;
use crate::store::MAX_VALUE;
use crate::store::entry::MAX_HEADER;
use crate::store::entry::header;
use crate::store::entry::value;
use crate::store::key::Key;
use crate::store::ledger::Ledger;
use crate::store::ledger::SHARDS;
use crate::store::ledger::make_dir;

/// The directory of a store.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    path: PathBuf,
}

/// What is in a file.
enum Found {
    Broken,
    Value(Bytes),
}

impl Dir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.entry_path(key.id()).symlink_metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// Reads a value. A file that is broken is removed and counts as missing.
    pub(super) fn get(&self, key: &Key) -> io::Result<Option<Bytes>> {
        let path = self.entry_path(key.id());
        match read(&path, key.id(), key.digest()) {
            Ok(Found::Value(value)) => Ok(Some(value)),
            Ok(Found::Broken) => {
                self.remove(key)?;
                Err(io::Error::new(ErrorKind::InvalidData, format!("{} is broken", path.display())))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a value in its place, whole, and makes room for it among `max` bytes.
    pub(super) fn put(&self, key: &Key, value: &[u8], max: u64) -> io::Result<()> {
        let Some(header) = header(key, value) else {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("the value is not {key:?}")));
        };
        let size = (header.len() + value.len()) as u64;
        if size > max || value.len() > MAX_VALUE {
            return Ok(());
        }
        let temp = self.temp()?;
        write(&temp, &header, value).and_then(|()| self.keep(key, &temp, size, max)).inspect_err(|_| {
            // What stays is swept later.
            let _ = fs::remove_file(&temp);
        })
    }

    fn keep(&self, key: &Key, temp: &Path, size: u64, max: u64) -> io::Result<()> {
        let (shard, path) = (shard_of(key.id()), self.entry_path(key.id()));
        let mut ledger = Ledger::lock(&self.path)?;
        ledger.make_room(max - size, (max / 16).min(SLACK))?;
        let old = path.symlink_metadata().map(|metadata| metadata.len()).ok();
        // Before the file is there: a process that dies in between has counted too much, not too little.
        ledger.add(shard, size, old);
        ledger.save()?;
        let moved = match fs::rename(temp, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_dir(&shard_path(&self.path, shard)).and_then(|()| fs::rename(temp, &path))
            }
            moved => moved,
        };
        if moved.is_err() {
            ledger.recount(shard)?;
            ledger.save()?;
        }
        moved
    }

    pub(super) fn remove(&self, key: &Key) -> io::Result<()> {
        if !self.has(key) {
            return Ok(());
        }
        let mut ledger = Ledger::lock(&self.path)?;
        let path = self.entry_path(key.id());
        let old = path.symlink_metadata().map(|metadata| metadata.len()).ok();
        remove(&path)?;
        ledger.subtract(shard_of(key.id()), old);
        ledger.save()
    }

    /// Removes what was not used for longest until so many bytes are left at most.
    pub(super) fn prune(&self, to: u64) -> io::Result<()> {
        self.sweep(SystemTime::now());
        let mut ledger = Ledger::lock(&self.path)?;
        let pruned = ledger.make_room(to, 0);
        ledger.save()?;
        pruned
    }

    /// Removes every file of the store.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.sweep(SystemTime::now());
        let mut ledger = Ledger::lock(&self.path)?;
        for shard in 0..SHARDS {
            for path in ledger.recount(shard)? {
                remove(&path)?;
            }
            ledger.recount(shard)?;
        }
        ledger.save()
    }

    /// Reads every file; tells how many are whole and how many were not, which are removed.
    pub(super) fn verify(&self) -> io::Result<(u64, u64)> {
        self.sweep(SystemTime::now());
        let (mut whole, mut broken) = (0, 0);
        for shard in 0..SHARDS {
            // The lock is not held while files are read.
            let paths = {
                let mut ledger = Ledger::lock(&self.path)?;
                ledger.recount(shard)?
            };
            for path in paths {
                match entry_id(shard, &path).map(|id| read(&path, &id, None)) {
                    Some(Ok(Found::Value(_))) => whole += 1,
                    Some(Err(error)) if error.kind() == ErrorKind::NotFound => {}
                    _ => {
                        remove(&path)?;
                        broken += 1;
                    }
                }
            }
            let mut ledger = Ledger::lock(&self.path)?;
            ledger.recount(shard)?;
            ledger.save()?;
        }
        Ok((whole, broken))
    }

    /// Removes what dead processes were writing. What cannot be removed harms nobody.
    pub(super) fn sweep(&self, now: SystemTime) {
        for entry in self.temp_path().read_dir().into_iter().flatten().flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > TEMP_LIFE)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn entry_path(&self, id: &Digest) -> PathBuf {
        shard_path(&self.path, shard_of(id)).join(&id.hex()[2..])
    }

    fn temp_path(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// A path that nobody else writes to, in a directory that is there.
    fn temp(&self) -> io::Result<PathBuf> {
        let dir = self.temp_path();
        if !dir.is_dir() {
            make_dir(&dir)?;
        }
        let random = || getrandom::u64().map_err(io::Error::other);
        Ok(dir.join(format!("{:016x}{:016x}", random()?, random()?)))
    }
}

fn read(path: &Path, id: &Digest, content: Option<&Digest>) -> io::Result<Found> {
    let file = match options().read(true).open(path) {
        // ELOOP: a symbolic link is none of ours.
        Err(error) if error.kind() != ErrorKind::NotFound && path.is_symlink() => return Ok(Found::Broken),
        file => file?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > (MAX_HEADER + MAX_VALUE) as u64 {
        return Ok(Found::Broken);
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    (&file).take((MAX_HEADER + MAX_VALUE) as u64).read_to_end(&mut bytes)?;
    let Some(value) = value(bytes.into(), id, content) else { return Ok(Found::Broken) };
    let now = SystemTime::now();
    let used = metadata.modified().unwrap_or(now);
    if now.duration_since(used).map_or(true, |age| age > USED_AGAIN) {
        // Where it cannot be noted, in a directory of somebody else's, it counts as unused.
        let _ = file.set_modified(now);
    }
    Ok(Found::Value(value))
}

fn write(path: &Path, header: &[u8], value: &[u8]) -> io::Result<()> {
    let mut options = options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut slices = [IoSlice::new(header), IoSlice::new(value)];
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // What has no bytes left would be taken for the end of the disk.
        while rest.first().is_some_and(|slice| slice.is_empty()) {
            rest = &mut rest[1..];
        }
    }
    // The file system's own stamps may be 4 ms apart.
    file.set_modified(SystemTime::now())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens files that are not behind a symbolic link, and does not wait for a pipe.
pub(super) fn options() -> OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }
    options
}

pub(super) fn shard_path(dir: &Path, shard: usize) -> PathBuf {
    dir.join(format!("{shard:02x}"))
}

fn shard_of(id: &Digest) -> usize {
    usize::from(id.hash()[0])
}

/// Tells whether a name in a shard is that of a value.
pub(super) fn is_entry(name: &OsStr) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == 62 && name.as_encoded_bytes().iter().all(is_digit)
}

fn entry_id(shard: usize, path: &Path) -> Option<Digest> {
    format!("sha256:{shard:02x}{}", path.file_name()?.to_str()?).parse().ok()
}

/// Bytes that are removed beyond what is needed, so that not every write has to.
const SLACK: u64 = 64 << 20;

/// A file that was written or used so shortly ago is not marked as used again.
const USED_AGAIN: Duration = Duration::from_secs(60);

/// After this time a file that is being written is taken for one of a dead process.
const TEMP_LIFE: Duration = Duration::from_secs(60 * 60);
