//! Writing files: decoded, verified, with their metadata, and only then in their place.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

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

use super::Shared;
use super::job::Job;
use super::job::Made;
use super::job::Pieces;
use super::job::Target;
use super::plan::Metadata;
use crate::beneath::Root;
use crate::beneath::Walker;
use crate::decode::Decoder;
use crate::decode::Unit;
use crate::decode::units;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;
use crate::path;

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
                Some(Job::Unit(target, unit, pieces)) => self.write_unit(&target, &unit, &pieces)?,
                Some(Job::Stream(target, unit, pieces)) => self.write_stream(&target, unit, pieces)?,
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
        settle(&shared, dest, &made, file, &entry)
    }

    fn write_unit(&mut self, target: &Target, unit: &Unit, pieces: &Pieces) -> Result<()> {
        let shared = self.shared.clone();
        let file = target.files.start;
        let entry = shared.entry(file);
        let stored = pieces.get(&unit.data(), &mut self.joined);
        let content = self.decoder.decode(entry.path, unit, stored, &mut self.content)?;
        let made = open_target(&shared, &mut self.staging, target)?;
        write_all(made.fd.as_fd(), content, Some(unit.start)).map_err(|errno| shared.failed("write", file)(errno))?;
        shared.add_bytes(unit.size);
        self.finish_unit(target, &made)
    }

    fn write_stream(&mut self, target: &Target, unit: Unit, mut pieces: mpsc::Receiver<Bytes>) -> Result<()> {
        let shared = self.shared.clone();
        let file = target.files.start;
        let entry = shared.entry(file);
        let made = open_target(&shared, &mut self.staging, target)?;
        self.decoder.begin(unit);
        let (mut input, mut at) = (Bytes::new(), unit.start);
        while let Some(wanted) = self.decoder.wants() {
            shared.check()?;
            if input.is_empty() && wanted > 0 {
                // The feeder failed, and says why, or the work was stopped.
                input = pieces.blocking_recv().ok_or(Error::Cancelled)?;
            }
            let content = self.decoder.step(entry.path, &mut input)?;
            write_all(made.fd.as_fd(), &content, Some(at)).map_err(|errno| shared.failed("write", file)(errno))?;
            at += content.len() as u64;
            shared.add_bytes(content.len() as u64);
        }
        self.finish_unit(target, &made)
    }

    /// Puts the file in its place if this was its last unit, and makes others of the same content.
    fn finish_unit(&mut self, target: &Target, made: &Made) -> Result<()> {
        if target.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            self.shared.report();
            return Ok(());
        }
        let shared = self.shared.clone();
        let first = target.files.start;
        for file in target.files.clone().skip(1) {
            shared.check()?;
            let copy = make(&shared, &mut self.staging, file)?;
            copy_content(made, &copy).map_err(|source| shared.failed_io("copy to", file, source))?;
            settle(&shared, &mut self.dest, &copy, file, &shared.entry(file))?;
        }
        settle(&shared, &mut self.dest, made, first, &shared.entry(first))?;
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
    let directory = shared.directory_of(file);
    let entry = shared.entry(file);
    // To be read as well, should other files have the same content.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(entry.mode & 0o777);
    let (made, waits_as) = match &directory.staged {
        Some(staged) => {
            let name = shared.name_of(&entry);
            (rustix::fs::openat(staging.enter(staged)?, name, flags, mode), None)
        }
        None => {
            let name = shared.staging.fresh_name();
            (rustix::fs::openat(staging.root(), &name, flags, mode), Some(name))
        }
    };
    Ok(Made { fd: Arc::new(made.map_err(|errno| shared.failed("make", file)(errno))?), waits_as })
}

/// Gives a file its metadata, and its place if it waits for that.
fn settle(shared: &Shared, dest: &mut Walker, made: &Made, file: usize, entry: &Entry<'_>) -> Result<()> {
    let metadata = Metadata::from(entry);
    // Making it gave it all permissions but those of the mask.
    let is_given = metadata.mode & shared.staging.mask() == 0 && !shared.owners;
    restore(made.fd.as_fd(), &metadata, !is_given, shared.owners)
        .map_err(|errno| shared.failed("restore", file)(errno))?;
    if let Some(waits_as) = &made.waits_as {
        let directory = shared.directory_of(file);
        let parent = dest.enter(&directory.path)?;
        rustix::fs::renameat(shared.staging.root(), waits_as, parent, shared.name_of(entry))
            .map_err(|errno| in_the_way(errno, &shared.dest, &shared.target_of(file)))?;
    }
    shared.file_done(entry);
    Ok(())
}

/// Gives something that is open owner, permissions and time.
pub(super) fn restore(fd: BorrowedFd<'_>, metadata: &Metadata, mode: bool, owners: bool) -> Result<(), Errno> {
    if owners {
        let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
        rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    }
    if mode {
        rustix::fs::fchmod(fd, Mode::from_raw_mode(metadata.mode))?;
    }
    rustix::fs::futimens(fd, &times(metadata.mtime_ns))
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

/// Finds words for something that could not be put in its place.
pub(super) fn in_the_way(errno: Errno, dest: &Root, path: &str) -> Error {
    match errno {
        Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => {
            Error::Conflict { path: dest.path(path), why: "a directory is in the way" }
        }
        Errno::NOTDIR => Error::Conflict { path: dest.path(path), why: "a file or symbolic link is in the way" },
        errno => Error::io("put in place", dest.path(path))(errno),
    }
}

fn write_all(fd: BorrowedFd<'_>, mut content: &[u8], mut at: Option<u64>) -> Result<(), Errno> {
    while !content.is_empty() {
        let written = rustix::io::retry_on_intr(|| match at {
            Some(at) => rustix::io::pwrite(fd, content, at),
            None => rustix::io::write(fd, content),
        })?;
        if written == 0 {
            return Err(Errno::IO);
        }
        content = &content[written..];
        at = at.map(|at| at + written as u64);
    }
    Ok(())
}

fn copy_content(from: &Made, to: &Made) -> std::io::Result<()> {
    let from = File::from(from.fd.try_clone()?);
    let to = File::from(to.fd.try_clone()?);
    std::io::Seek::seek(&mut &from, std::io::SeekFrom::Start(0))?;
    std::io::copy(&mut &from, &mut &to).map(drop)
}

/// The name of a path.
pub(super) fn name(path: &str) -> &str {
    path::split(path).1
}
