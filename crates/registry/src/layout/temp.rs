//! Files that are being written: nobody sees them before they are whole, and what a dead process leaves is swept.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::dir::Dir;
use crate::layout::dir::make_dirs;
use crate::layout::dir::options;
use crate::layout::dir::sync_dir;
use crate::layout::stream::OpenFile;

impl Dir {
    /// Puts a file in place, whole and durable.
    pub(super) fn write(&self, target: &Path, bytes: &[u8]) -> Result<()> {
        let temp = self.temp()?;
        (&temp.file.file).write_all(bytes).map_err(|error| temp.file.write_failed(error))?;
        temp.keep(target)
    }

    /// A file to be written and then kept.
    pub(super) fn temp(&self) -> Result<Temp> {
        let uploads = self.uploads_path();
        make_dirs(&uploads)?;
        let path = uploads.join(random_id()? + TEMP);
        let failed = |error| Error::io(format_args!("create {}", path.display()), error);
        let file = options().write(true).create_new(true).open(&path).map_err(failed)?;
        Temp::new(path, file)
    }

    /// A file without a name, to be kept as it is. None where it has one, for then it is somebody's, where it is on another
    /// file system, and where files cannot be given names.
    pub(super) fn take(&self, file: &File, size: u64) -> Result<Option<Temp>> {
        let uploads = self.uploads_path();
        make_dirs(&uploads)?;
        let path = uploads.join(random_id()? + TEMP);
        if !name(file, &path) {
            return Ok(None);
        }
        let failed = |error| Error::io(format_args!("open {}", path.display()), error);
        let file = options().read(true).write(true).open(&path).map_err(failed)?;
        let temp = Temp::new(path, file)?;
        let came = temp.file.file.metadata().map_err(|error| temp.file.write_failed(error))?.len();
        if came != size {
            return Err(Error::new(Code::SizeInvalid, format!("expected {size} bytes, got {came}")));
        }
        // Those that files in this directory get.
        let permissions = self.temp()?.file.file.metadata().map(|metadata| metadata.permissions());
        let given = permissions.and_then(|permissions| temp.file.file.set_permissions(permissions));
        given.map_err(|error| temp.file.write_failed(error))?;
        Ok(Some(temp))
    }
}

/// A file that is being written, and vanishes unless it is kept.
pub(super) struct Temp {
    file: Arc<OpenFile>,
    kept: bool,
}

impl Temp {
    fn new(path: PathBuf, file: File) -> Result<Self> {
        let temp = Self { file: Arc::new(OpenFile { path, file }), kept: false };
        // Held as long as the file is open, so that nobody takes it for one of a dead process.
        let locked = temp.file.file.lock();
        locked.map_err(|error| Error::io(format_args!("lock {}", temp.file.path.display()), error))?;
        Ok(temp)
    }

    pub(super) fn file(&self) -> &Arc<OpenFile> {
        &self.file
    }

    /// Makes the file durable and then visible.
    pub(super) fn keep(mut self, target: &Path) -> Result<()> {
        keep(&self.file, target)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is swept later.
            let _ = fs::remove_file(&self.file.path);
        }
    }
}

/// Gives an open file that has no name one; tells whether that can be done.
#[cfg(target_os = "linux")]
fn name(file: &File, path: &Path) -> bool {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::AtFlags;
    use rustix::fs::CWD;

    // By its handle alone only the superuser may (linkat(2), AT_EMPTY_PATH).
    let handle = format!("/proc/self/fd/{}", file.as_raw_fd());
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
        // Its time says since when a blob is wanted, and to those who sweep before it is locked that it is young.
        && file.set_modified(SystemTime::now()).is_ok()
        && rustix::fs::linkat(CWD, handle, CWD, path, AtFlags::SYMLINK_FOLLOW).is_ok()
}

/// Elsewhere a file without a name stays without.
#[cfg(not(target_os = "linux"))]
fn name(_file: &File, _path: &Path) -> bool {
    false
}

/// Makes a file durable, moves it to its place and makes that durable.
pub(crate) fn keep(file: &OpenFile, target: &Path) -> Result<()> {
    let parent = target.parent().expect("a file is in a directory");
    make_dirs(parent)?;
    file.file.sync_all().map_err(|error| file.write_failed(error))?;
    let moved = fs::rename(&file.path, target);
    moved.map_err(|error| Error::io(format_args!("move {} to {}", file.path.display(), target.display()), error))?;
    sync_dir(parent)
}

/// A name that nobody else has.
pub(super) fn random_id() -> Result<String> {
    let random = || getrandom::u64().map_err(|error| Error::new(Code::Unknown, "no random numbers").with_source(error));
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}

/// How the names of files end that belong to one write of one process.
pub(super) const TEMP: &str = ".tmp";
