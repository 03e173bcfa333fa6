//! Partial files: the part of a blob that came already, and the journal that says which.
//!
//! `NAME.skep-part` holds the bytes and is locked as long as a process works on it. `NAME.skep-journal` says
//! which of them are durable, and keeps the state of the hash over the first ones. The journal is always
//! older than the bytes it speaks of, so a crash costs what came since, and never makes wrong bytes right.

use std::fs::File;
use std::fs::TryLockError;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::digest::Hasher;
use crate::error::Error;
use crate::error::Result;
use crate::layout::dir::is_at;
use crate::layout::dir::options;
use crate::layout::dir::remove;
use crate::layout::dir::sync_dir;
use crate::layout::stream::OpenFile;
use crate::layout::stream::blocking;
use crate::layout::temp::keep;
use crate::transfer::fetch::Part;
use crate::transfer::journal;
use crate::transfer::ranges::Ranges;

/// A file that a blob is being written to, for as long as it lives locked against others.
pub(super) struct Partial {
    file: Arc<OpenFile>,
    target: PathBuf,
    journal: PathBuf,
    blob: Descriptor,
    /// What is in the file.
    pub(super) written: Ranges,
    /// The hash over the first bytes, all of which are in the file.
    pub(super) hasher: Hasher,
    /// Up to where the file system has set blocks aside.
    reserved: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    digest: Digest,
    size: u64,
    written: Vec<Range<u64>>,
    /// [`Hasher::export`] in base64.
    hash: String,
}

enum Opened {
    /// The target is there, with the right bytes.
    Complete,
    /// Another process, or another download of this one, is at it.
    Locked,
    Mine(Box<Partial>),
}

impl Partial {
    /// Opens the file beside a target, waiting for others who write to it; none if the target is there.
    pub(super) async fn open(target: &Path, blob: &Descriptor) -> Result<Option<Self>> {
        loop {
            let (target, blob) = (target.to_owned(), blob.clone());
            match blocking(move || Self::try_open(&target, blob)).await? {
                Opened::Complete => return Ok(None),
                Opened::Mine(partial) => return Ok(Some(*partial)),
                // Polled, because a thread that waits for a lock cannot be called off.
                Opened::Locked => tokio::time::sleep(LOCK_POLL).await,
            }
        }
    }

    fn try_open(target: &Path, blob: Descriptor) -> Result<Opened> {
        let failed = |path: &Path, error| Error::io(format_args!("open {}", path.display()), error);
        let target = std::path::absolute(target).map_err(|error| failed(target, error))?;
        let path = journal::with_suffix(&target, ".skep-part");
        let journal = journal::with_suffix(&target, ".skep-journal");
        let file = options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| failed(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Opened::Locked),
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format_args!("lock {}", path.display()), error));
            }
        }
        // Whoever had the lock may have come to an end meanwhile: then this file is the target.
        if !is_at(&file, &path) {
            return Ok(Opened::Locked);
        }
        let file = Arc::new(OpenFile { path, file });
        let hasher = Hasher::new(blob.digest.algorithm());
        let mut partial = Self { file, target, journal, blob, written: Ranges::default(), hasher, reserved: 0 };
        if partial.is_complete()? {
            partial.discard()?;
            return Ok(Opened::Complete);
        }
        partial.take_up()?;
        Ok(Opened::Mine(Box::new(partial)))
    }

    /// Tells whether the target has the bytes already.
    fn is_complete(&self) -> Result<bool> {
        let size = self.blob.size;
        if !self.target.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size) {
            return Ok(false);
        }
        let Ok(file) = options().read(true).open(&self.target) else { return Ok(false) };
        let file = OpenFile { path: self.target.clone(), file };
        let hasher = hash(&file, Hasher::new(self.blob.digest.algorithm()), size)?;
        Ok(hasher.finish() == self.blob.digest)
    }

    /// Goes on from the journal, or from nothing if it does not fit.
    fn take_up(&mut self) -> Result<()> {
        let record = journal::read::<Record>(&self.journal)?;
        let len = self.file.file.metadata().map_err(|error| self.file.write_failed(error))?.len();
        if let Some((written, hasher)) = record.and_then(|record| record.fitting(&self.blob, len)) {
            self.reserved = written.end();
            (self.written, self.hasher) = (written, hasher);
            return Ok(());
        }
        // Durably gone, before bytes come that it does not speak of.
        if remove(&self.journal)? {
            sync_dir(self.journal.parent().expect("an absolute path of a file has a directory"))?;
        }
        self.file.file.set_len(0).map_err(|error| self.file.write_failed(error))
    }

    /// Writes parts to their places. They count as written when the caller says so.
    pub(super) fn write(&mut self, parts: Vec<Part>) -> impl Future<Output = Result<Vec<Part>>> + use<> {
        let file = self.file.clone();
        let end = parts.iter().map(|part| part.range().end).max().unwrap_or(0);
        let reserve = (end > self.reserved).then(|| {
            let reserve = self.reserved..self.blob.size.min(end.saturating_add(RESERVE));
            self.reserved = reserve.end;
            reserve
        });
        blocking(move || {
            if let Some(range) = reserve {
                set_aside(&file.file, range);
            }
            for part in &parts {
                write_at(&file, &part.bytes, part.at)?;
            }
            Ok(parts)
        })
    }

    /// Reads back some of what was written behind the hashed bytes, up to `end`, and hashes it.
    pub(super) fn hash_back(&self, end: u64) -> impl Future<Output = Result<Hasher>> + use<> {
        let (file, hasher) = (self.file.clone(), self.hasher.clone());
        let end = end.min(hasher.len() + MAX_HASH_BACK);
        blocking(move || hash(&file, hasher, end))
    }

    /// Makes durable what is written, and then says so in the journal.
    pub(super) fn checkpoint(&self) -> impl Future<Output = Result<()>> + use<> {
        let (file, path) = (self.file.clone(), self.journal.clone());
        let record = Record {
            digest: self.blob.digest.clone(),
            size: self.blob.size,
            written: self.written.iter().cloned().collect(),
            hash: STANDARD.encode(self.hasher.export()),
        };
        blocking(move || {
            file.file.sync_data().map_err(|error| file.write_failed(error))?;
            journal::write(&path, &record)
        })
    }

    /// Puts the file, whose bytes are verified, in the place of the target.
    pub(super) async fn finish(self) -> Result<()> {
        blocking(move || {
            keep(&self.file, &self.target)?;
            remove(&self.journal).map(|_| ())
        })
        .await
    }

    /// Removes the file and its journal.
    pub(super) fn discard(&self) -> Result<()> {
        remove(&self.journal)?;
        remove(&self.file.path)?;
        Ok(())
    }
}

impl Record {
    /// What the journal says, if it can be true of a file of `len` bytes for this blob.
    fn fitting(self, blob: &Descriptor, len: u64) -> Option<(Ranges, Hasher)> {
        let hasher = Hasher::import(&STANDARD.decode(&self.hash).ok()?).ok()?;
        let written = Ranges::from_ordered(self.written)?;
        let fits = self.digest == blob.digest
            && self.size == blob.size
            && written.end() <= blob.size.min(len)
            && hasher.algorithm() == blob.digest.algorithm()
            && hasher.len() <= written.reach(0);
        fits.then_some((written, hasher))
    }
}

/// Hashes the bytes of a file that follow those that are hashed, up to `end`.
fn hash(file: &OpenFile, mut hasher: Hasher, end: u64) -> Result<Hasher> {
    let mut buffer = vec![0; READ_BACK.min(end.saturating_sub(hasher.len())) as usize];
    while hasher.len() < end {
        let len = buffer.len().min((end - hasher.len()) as usize);
        let read = read_at(&file.file, &mut buffer[..len], hasher.len());
        read.map_err(|error| Error::io(format_args!("read {}", file.path.display()), error))?;
        hasher.update(&buffer[..len]);
    }
    Ok(hasher)
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::io::Read;
    use std::io::Seek;

    let _alone = SEEKING.lock();
    file.seek(std::io::SeekFrom::Start(at))?;
    file.read_exact(buffer)
}

#[cfg(unix)]
fn write_at(file: &OpenFile, pieces: &[Bytes], mut at: u64) -> Result<()> {
    for piece in pieces {
        let written = std::os::unix::fs::FileExt::write_all_at(&file.file, piece, at);
        written.map_err(|error| file.write_failed(error))?;
        at += piece.len() as u64;
    }
    Ok(())
}

#[cfg(not(unix))]
fn write_at(file: &OpenFile, pieces: &[Bytes], at: u64) -> Result<()> {
    use std::io::Seek;
    use std::io::Write;

    let _alone = SEEKING.lock();
    let mut out = &file.file;
    let sought = out.seek(std::io::SeekFrom::Start(at)).map(|_| ());
    let written = pieces.iter().fold(sought, |done, piece| done.and_then(|()| out.write_all(piece)));
    written.map_err(|error| file.write_failed(error))
}

/// Held while a file stands where its next bytes go.
#[cfg(not(unix))]
static SEEKING: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Sets blocks aside, which makes writing them twice as fast. Where that cannot be, writing says why.
fn set_aside(file: &File, range: Range<u64>) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, range.start, range.end - range.start);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, range);
}

/// How often a file that another has is looked at.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Bytes that are set aside ahead of the writing: not all, for nobody knows whether they come.
const RESERVE: u64 = 64 << 20;
/// Bytes that are read at once to be hashed.
const READ_BACK: u64 = 256 << 10;
/// Bytes that are read and hashed in one task.
const MAX_HASH_BACK: u64 = 8 << 20;
