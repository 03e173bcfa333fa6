//! What was begun in a layout and never finished: temporary files of dead processes, and idle uploads.

use std::fs::TryLockError;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use crate::error::Error;
use crate::error::Result;
use crate::layout::dir::Dir;
use crate::layout::dir::is_at;
use crate::layout::dir::is_older;
use crate::layout::dir::options;
use crate::layout::dir::remove;
use crate::layout::temp::TEMP;
use crate::layout::upload::STATE;

/// Unfinished files that were last written to before some time.
pub(super) struct Abandoned {
    temps_before: Option<SystemTime>,
    sessions_before: Option<SystemTime>,
}

/// What came of a sweep.
#[derive(Default)]
pub(super) struct Swept {
    /// Uploads and temporary files.
    pub(super) uploads: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

impl Abandoned {
    /// With the patience that each process has with what it finds.
    pub(super) fn usually(now: SystemTime) -> Self {
        Self { temps_before: now.checked_sub(TEMP_LIFE), sessions_before: now.checked_sub(SESSION_LIFE) }
    }

    pub(super) fn before(time: SystemTime) -> Self {
        Self { temps_before: Some(time), sessions_before: Some(time) }
    }

    /// Removes them, or only counts them.
    ///
    /// What cannot be removed is left: it harms nobody, and another process may just be at it.
    pub(super) fn sweep(&self, dir: &Dir, dry_run: bool) -> Swept {
        let mut swept = Swept::default();
        for entry in dir.uploads_path().read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            match self.sweep_file(&path, dry_run) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    swept.uploads += 1;
                    swept.bytes += bytes;
                }
                Err(error) => tracing::debug!(path = %path.display(), %error, "left an old upload"),
            }
        }
        swept
    }

    fn sweep_file(&self, path: &Path, dry_run: bool) -> Result<Option<u64>> {
        let name = path.to_string_lossy();
        let session = name.strip_suffix(STATE).map(PathBuf::from);
        if session.is_some_and(|session| session.exists()) {
            // It goes with its session.
            return Ok(None);
        }
        let before = if name.ends_with(TEMP) { self.temps_before } else { self.sessions_before };
        let Some(before) = before else { return Ok(None) };
        let failed = |error| Error::io(format_args!("open {}", path.display()), error);
        let file = options().read(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            locked => locked.map_err(|error| failed(error.into()))?,
        }
        // Only now: whoever had the lock may have written to it or moved it.
        let state = PathBuf::from(format!("{name}{STATE}"));
        let has_young_state = || options().read(true).open(&state).is_ok_and(|state| !is_older(&state, before));
        if !is_older(&file, before) || !is_at(&file, path) || has_young_state() {
            return Ok(None);
        }
        let bytes = file.metadata().map_err(failed)?.len();
        if !dry_run {
            remove(path)?;
            remove(&state)?;
        }
        Ok(Some(bytes))
    }
}

/// After this time without a write a temporary file is removed, if its process is dead.
const TEMP_LIFE: Duration = Duration::from_secs(60 * 60);

/// After this time without a write an upload session is over.
const SESSION_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
