//! Writing files: decoded, verified, with their metadata, and only then in their place.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::UTIME_OMIT;
use rustix::fs::Uid;
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::ExtractOptions;
use super::Shared;
use super::job::Job;
use super::job::Made;
use super::job::Pieces;
use super::place::place;
use super::plan::Item;
use super::plan::Metadata;
use super::turn::Target;
use super::turn::Turn;
use crate::beneath::Walker;
use crate::decode::Decoder;
use crate::decode::Unit;
use crate::decode::units;
use crate::decode::verify;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;
use crate::pages::write_all;

/// One thread's tools, used for one job after the other.
pub(super) struct Writer {
    shared: Arc<Shared>,
    dest: Walker,
    staging: Walker,
    decoder: Decoder,
    content: Vec<u8>,
    joined: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            dest: Walker::new(shared.dest.clone()),
            staging: Walker::new(shared.staging.root().clone()),
            decoder: Decoder::new(shared.archive.limits()),
            shared,
            content: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// Does one job after the other until there are no more.
    pub(super) fn run(mut self, jobs: &Mutex<mpsc::Receiver<Job>>) -> Result<()> {
        loop {
            // One writer waits for the job, the others for the lock.
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            self.shared.check()?;
            match job {
                None => return Ok(()),
                Some(Job::Files(files, pieces)) => {
                    for file in files {
                        self.shared.check()?;
                        self.write_file(file, &pieces)?;
                    }
                    self.shared.report();
                }
                Some(Job::Unit(turn, unit, pieces)) => self.write_unit(turn, &unit, &pieces)?,
                Some(Job::Stream(turn, unit, pieces)) => self.write_stream(turn, unit, pieces)?,
            }
        }
    }

    fn write_file(&mut self, file: usize, pieces: &Pieces) -> Result<()> {
        let shared = self.shared.clone();
        let entry = shared.entry(file);
        let unit = units(&entry).next().expect("a file without chunks is one unit");
        let stored = pieces.get(&unit.data(), &mut self.joined);
        let content = self.decoder.decode(entry.path, &unit, stored, &mut self.content)?;
        let (dest, staging) = (&mut self.dest, &mut self.staging);
        let made = make(&shared, staging, file)?;
        write_all(made.fd.as_fd(), content, None).map_err(|errno| shared.failed("write", file)(errno))?;
        shared.add_bytes(unit.size);
        settle(&shared, dest, &made, file, &entry)
    }

    fn write_unit(&mut self, turn: Turn, unit: &Unit, pieces: &Pieces) -> Result<()> {
        let shared = self.shared.clone();
        let file = turn.target.files.start;
        let entry = shared.entry(file);
        let stored = pieces.get(&unit.data(), &mut self.joined);
        let content = self.decoder.decode_unverified(entry.path, unit, stored, &mut self.content)?;
        let made = open_target(&shared, &mut self.staging, &turn.target)?;
        write_part(&turn.target, &made, content, unit.start).map_err(|errno| shared.failed("write", file)(errno))?;
        // Behind the writing, so that what is hashed in order is all that is done in order.
        turn.hash(content)?;
        shared.add_bytes(unit.size);
        self.end_unit(turn, &made)
    }

    fn write_stream(&mut self, turn: Turn, unit: Unit, mut pieces: mpsc::Receiver<Bytes>) -> Result<()> {
        let shared = self.shared.clone();
        let file = turn.target.files.start;
        let entry = shared.entry(file);
        let made = open_target(&shared, &mut self.staging, &turn.target)?;
        self.decoder.begin_unverified(unit);
        let (mut input, mut at) = (Bytes::new(), unit.start);
        while let Some(wanted) = self.decoder.wants() {
            shared.check()?;
            if input.is_empty() && wanted > 0 {
                // The feeder failed, and says why, or the work was stopped.
                input = pieces.blocking_recv().ok_or(Error::Cancelled)?;
            }
            let content = self.decoder.step(entry.path, &mut input)?;
            write_part(&turn.target, &made, &content, at).map_err(|errno| shared.failed("write", file)(errno))?;
            turn.hash(&content)?;
            at += content.len() as u64;
            shared.add_bytes(content.len() as u64);
        }
        self.end_unit(turn, &made)
    }

    /// Verifies the file if this was its last unit, puts it in its place, and makes others of the same content.
    fn end_unit(&mut self, turn: Turn, made: &Made) -> Result<()> {
        let shared = self.shared.clone();
        let target = turn.target.clone();
        // All units before the last one are written: they were hashed after that.
        let Some(hash) = turn.end()? else {
            shared.report();
            return Ok(());
        };
        let first = target.files.start;
        let entry = shared.entry(first);
        verify(entry.path, entry.hash, hash)?;
        for file in target.files.clone().skip(1) {
            shared.check()?;
            let copy = make(&shared, &mut self.staging, file)?;
            copy_content(made, &copy).map_err(|source| shared.failed_io("copy to", file, source))?;
            shared.add_bytes(entry.original_size);
            settle(&shared, &mut self.dest, &copy, file, &shared.entry(file))?;
        }
        settle(&shared, &mut self.dest, made, first, &entry)?;
        target.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.report();
        Ok(())
    }
}

/// The file of a target, made by the first writer that comes.
fn open_target(shared: &Shared, staging: &mut Walker, target: &Target) -> Result<Made> {
    let mut open = target.open.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = &*open {
        return Ok(made.clone());
    }
    let made = make(shared, staging, target.files.start)?;
    *open = Some(made.clone());
    Ok(made)
}

/// Makes a file: in a directory that is still in staging under its own name, otherwise in staging itself.
fn make(shared: &Shared, staging: &mut Walker, file: usize) -> Result<Made> {
    let (directory, name) = shared.place_of(Item::File(file as u32));
    let entry = shared.entry(file);
    // To be read as well, should other files have the same content.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(if shared.options.modes { entry.mode & 0o777 } else { 0o666 });
    let (made, waits_as) = match &directory.staged {
        Some(staged) => (rustix::fs::openat(staging.enter(staged)?, name, flags, mode), None),
        None => {
            let name = shared.staging.fresh_name();
            (rustix::fs::openat(staging.root(), &name, flags, mode), Some(name))
        }
    };
    let made = made.map_err(|errno| shared.not_made(errno, Item::File(file as u32)))?;
    Ok(Made { fd: Arc::new(made), waits_as })
}

/// Gives a file its metadata, and its place if it waits for that.
fn settle(shared: &Shared, dest: &mut Walker, made: &Made, file: usize, entry: &Entry<'_>) -> Result<()> {
    let metadata = Metadata::from(entry);
    // Making it gave it all permissions but those of the mask.
    let is_given = metadata.mode & shared.staging.mask() == 0 && !shared.options.owners;
    restore(made.fd.as_fd(), &metadata, !is_given, &shared.options)
        .map_err(|errno| shared.failed("restore", file)(errno))?;
    match &made.waits_as {
        Some(waits_as) if !place(shared, waits_as, Item::File(file as u32), dest)? => {
            shared.take_bytes(entry.original_size);
        }
        _ => shared.file_done(),
    }
    Ok(())
}

/// Gives something that is open owner, permissions and time, as far as they are wanted.
///
/// `mode` is false when the permissions are right already.
pub(super) fn restore(
    fd: BorrowedFd<'_>,
    metadata: &Metadata,
    mode: bool,
    options: &ExtractOptions,
) -> Result<(), Errno> {
    if options.owners {
        let (uid, gid) = owner(metadata);
        rustix::fs::fchown(fd, uid, gid)?;
    }
    if mode && options.modes {
        rustix::fs::fchmod(fd, Mode::from_raw_mode(metadata.mode))?;
    }
    if options.times {
        rustix::fs::futimens(fd, &times(metadata.mtime_ns))?;
    }
    Ok(())
}

/// Who a file is to belong to; the largest numbers are nobody's, and change nothing.
pub(super) fn owner(metadata: &Metadata) -> (Option<Uid>, Option<Gid>) {
    let is_somebody = |id: &u32| *id != u32::MAX;
    let (uid, gid) = (Some(metadata.uid).filter(is_somebody), Some(metadata.gid).filter(is_somebody));
    (uid.map(Uid::from_raw), gid.map(Gid::from_raw))
}

/// A time of modification, and the time of access as it is.
pub(super) fn times(mtime_ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    }
}

/// Writes a part of a file that others write as well.
fn write_part(target: &Target, made: &Made, content: &[u8], at: u64) -> Result<(), Errno> {
    let _alone = target.writing.lock().unwrap_or_else(PoisonError::into_inner);
    write_all(made.fd.as_fd(), content, Some(at))
}

fn copy_content(from: &Made, to: &Made) -> std::io::Result<()> {
    let from = File::from(from.fd.try_clone()?);
    let to = File::from(to.fd.try_clone()?);
    std::io::Seek::seek(&mut &from, std::io::SeekFrom::Start(0))?;
    std::io::copy(&mut &from, &mut &to).map(drop)
}
