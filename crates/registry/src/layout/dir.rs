//! The directory of a layout: its files and its lock.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::index::Index;
use crate::layout::stream::OpenFile;

/// The file that makes a directory a layout (image-spec, "oci-layout file").
pub(super) const OCI_LAYOUT: &str = "oci-layout";

/// A directory that is a layout, or becomes one with the first write.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    path: PathBuf,
}

/// The right to change `index.json` and to remove blobs, among all processes. Ends when dropped.
pub(super) struct Lock {
    _file: File,
}

impl Dir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn layout_path(&self) -> PathBuf {
        self.path.join(OCI_LAYOUT)
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.path.join("index.json")
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// Where unfinished files are.
    pub(super) fn uploads_path(&self) -> PathBuf {
        self.own_path().join("uploads")
    }

    /// Tells whether there is a layout, or what is ours of one that never came to be.
    pub(super) fn is_begun(&self) -> Result<bool> {
        Ok(self.exists()? || self.own_path().is_dir())
    }

    /// What is ours. A dot begins no part of a repository's name.
    fn own_path(&self) -> PathBuf {
        self.path.join(".skep")
    }

    /// Tells whether there is a layout.
    pub(super) fn exists(&self) -> Result<bool> {
        let path = self.layout_path();
        // ENOTDIR: a part of the path is a file, a manifest of another repository for instance.
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(Error::io(format_args!("open {}", path.display()), error)),
        }
    }

    /// The size of a blob, if it is there.
    ///
    /// # Errors
    /// `Unknown` when something else than a regular file is in its place: a link may lead anywhere, and
    /// opening a pipe may never end.
    pub(super) fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(Error::new(Code::Unknown, format!("{} is not a regular file", path.display()))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io(format_args!("open {}", path.display()), error)),
        }
    }

    /// A blob and its size, if it is there.
    pub(super) fn open_blob(&self, digest: &Digest) -> Result<Option<(OpenFile, u64)>> {
        if self.blob_size(digest)?.is_none() {
            return Ok(None);
        }
        let path = self.blob_path(digest);
        let opened = options().read(true).open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((size, file)) => Ok(Some((OpenFile { path, file }, size))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format_args!("open {}", path.display()), error)),
        }
    }

    /// A blob that somebody is about to rely on, if it is there.
    pub(super) fn want_blob(&self, digest: &Digest) -> Result<Option<Wanted>> {
        let Some((blob, size)) = self.open_blob(digest)? else { return Ok(None) };
        // A collection looks at the time and removes under the exclusive lock. So either it sees this time, or
        // the file is seen to be gone here.
        let touched = blob.file.lock_shared().and_then(|()| blob.file.set_modified(SystemTime::now()));
        if touched.is_ok() && !is_at(&blob.file, &blob.path) {
            return Ok(None);
        }
        Ok(Some(Wanted { blob, size, touched: touched.is_ok() }))
    }

    /// Takes a blob whose last use is before some time, to be removed; none while anybody wants it.
    pub(super) fn condemn_blob(&self, digest: &Digest, before: SystemTime) -> Result<Option<Condemned>> {
        let Some((blob, size)) = self.open_blob(digest)? else { return Ok(None) };
        match blob.file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            locked => locked.map_err(|error| Error::io(format_args!("lock {}", blob.path.display()), error.into()))?,
        }
        Ok((is_older(&blob.file, before) && is_at(&blob.file, &blob.path)).then_some(Condemned { blob, size }))
    }

    /// Tells whether the last use of a blob that is there is before some time.
    pub(super) fn blob_is_older(&self, digest: &Digest, before: SystemTime) -> bool {
        let modified = self.blob_path(digest).symlink_metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| modified < before)
    }

    /// The blobs by one hash function, in no order. What is not named like one is none.
    pub(super) fn blobs(&self, algorithm: Algorithm) -> Result<Vec<Digest>> {
        let path = self.path.join("blobs").join(algorithm.as_str());
        let failed = |error| Error::io(format_args!("list {}", path.display()), error);
        let entries = match path.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut blobs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let digest = entry.file_name().to_str().and_then(|hex| format!("{algorithm}:{hex}").parse().ok());
            if entry.file_type().map_err(failed)?.is_file() {
                blobs.extend(digest);
            }
        }
        Ok(blobs)
    }

    /// Makes a blob of another layout appear in this one; tells whether it was there.
    pub(super) fn link_blob(&self, source: &Self, digest: &Digest) -> Result<bool> {
        let Some(wanted) = source.want_blob(digest)? else { return Ok(false) };
        self.ensure()?;
        if self.want_blob(digest)?.is_some_and(|there| there.touched) {
            return Ok(true);
        }
        let target = self.blob_path(digest);
        let parent = target.parent().expect("a blob's path has directories");
        make_dirs(parent)?;
        let blob = &wanted.blob;
        if wanted.touched && fs::hard_link(&blob.path, &target).is_ok() {
            sync_dir(parent)?;
            return Ok(true);
        }
        // Another file system, one without links, or a file that is not ours.
        let temp = self.temp()?;
        let copied = io::copy(&mut &blob.file, &mut &temp.file().file);
        copied.map_err(|error| temp.file().write_failed(error))?;
        temp.keep(&target)?;
        Ok(true)
    }

    /// Removes a blob; tells whether it was there.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<bool> {
        let path = self.blob_path(digest);
        if !remove(&path)? {
            return Ok(false);
        }
        sync_dir(path.parent().expect("a blob's path has directories"))?;
        Ok(true)
    }

    /// Takes the lock; waits while another has it. The directory is made, but not a layout in it.
    pub(super) fn lock(&self) -> Result<Lock> {
        make_dirs(&self.own_path())?;
        let path = self.own_path().join("lock");
        // Any number of processes may get here first.
        let file = options().write(true).create(true).truncate(false).open(&path);
        let locked = file.and_then(|file| file.lock().map(|()| Lock { _file: file }));
        locked.map_err(|error| Error::io(format_args!("lock {}", path.display()), error))
    }

    /// Makes a layout here, unless there is one.
    pub(super) fn ensure(&self) -> Result<()> {
        if self.exists()? {
            return Ok(());
        }
        self.ensure_locked(&self.lock()?)
    }

    /// As [`Dir::ensure`], for those who have the lock.
    pub(super) fn ensure_locked(&self, _lock: &Lock) -> Result<()> {
        if self.exists()? {
            return Ok(());
        }
        make_dirs(&self.path.join("blobs"))?;
        let index = self.index_path();
        let found = fs::exists(&index).map_err(|error| Error::io(format_args!("open {}", index.display()), error))?;
        if !found {
            self.write(&index, &Index::default().to_bytes())?;
        }
        // Last, because it is what makes the directory a layout.
        self.write(&self.layout_path(), br#"{"imageLayoutVersion":"1.0.0"}"#)
    }
}

/// A blob that no collection removes before its grace is over, counted from now.
pub(super) struct Wanted {
    pub(super) blob: OpenFile,
    pub(super) size: u64,
    /// Its time could be set. It cannot where the file belongs to somebody else, or nothing can be written.
    pub(super) touched: bool,
}

/// A blob that goes. As long as this is held, nobody is told that it is there.
pub(super) struct Condemned {
    blob: OpenFile,
    pub(super) size: u64,
}

impl Condemned {
    pub(super) fn remove(self) -> Result<()> {
        remove(&self.blob.path).map(|_| ())
    }
}

/// Tells whether a file was written, or wanted, last before some time.
pub(super) fn is_older(file: &File, before: SystemTime) -> bool {
    file.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified < before)
}

/// Removes a file; tells whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(Error::io(format_args!("remove {}", path.display()), error)),
    }
}

/// Makes a directory and those above it, durably.
pub(super) fn make_dirs(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    make_dirs(parent)?;
    match fs::create_dir(path) {
        // Another process may have made it a moment ago, and not yet made it durable.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(|error| Error::io(format_args!("create {}", path.display()), error))?,
    }
    sync_dir(parent)
}

/// Tells whether a path still leads to an open file.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let there = path.symlink_metadata().ok().map(identity);
    there.is_some() && there == file.metadata().ok().map(identity)
}

/// Tells whether a path still leads to an open file: elsewhere one that is open cannot be renamed.
#[cfg(not(unix))]
pub(crate) fn is_at(_file: &File, path: &Path) -> bool {
    path.is_file()
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    // Elsewhere a directory cannot be opened, and renaming is as durable as it gets.
    if cfg!(not(unix)) {
        return Ok(());
    }
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Error::io(format_args!("sync {}", path.display()), error))
}

/// Opens files that are not behind a symbolic link.
pub(crate) fn options() -> OpenOptions {
    let mut options = File::options();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options
}
