//! Packing: what becomes an archive, on a thread for work that blocks.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::Cancel;
use skep_archive::Progress;
use skep_archive::Result;

use crate::progress::OnProgress;
use crate::progress::Phase;
use crate::progress::Step;

/// What becomes an archive.
#[non_exhaustive]
pub enum Origin {
    /// An archive in a directory, as `index.blob` and `data.blob`: of this or any other writer of the format.
    Archive(PathBuf),
    /// A directory.
    Directory(PathBuf),
    /// A tar archive, plain or compressed by gzip or zstd.
    Tar(Box<dyn Read + Send>),
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Origin {
    /// A directory.
    fn from(dir: &P) -> Self {
        Self::Directory(dir.as_ref().to_owned())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(dir) => f.debug_tuple("Archive").field(dir).finish(),
            Self::Directory(dir) => f.debug_tuple("Directory").field(dir).finish(),
            Self::Tar(_) => f.write_str("Tar"),
        }
    }
}

/// Builds an archive, or takes one that is there, without sending it anywhere.
///
/// The time that the environment sets as `SOURCE_DATE_EPOCH` counts where the options have none. Of the options only
/// the limits count for an archive that is there.
///
/// # Errors
/// As [`build`](skep_archive::build), [`build_tar`](skep_archive::build_tar) and [`Built::from_files`].
///
/// # Cancel safety
/// Dropping the future stops the work, as soon as a read that blocks has come back.
pub async fn pack(origin: Origin, mut options: BuildOptions, progress: OnProgress) -> Result<Built> {
    options.epoch = options.epoch.or_else(source_date_epoch);
    on_thread(options.cancel.clone(), move || {
        let progress = |at: Progress| progress(Step { phase: Phase::Pack, done: at.bytes, total: at.bytes_total });
        match origin {
            Origin::Archive(dir) => Built::from_files(&dir.join("index.blob"), &dir.join("data.blob"), &options.limits),
            Origin::Directory(dir) => skep_archive::build(&dir, &options, &progress),
            Origin::Tar(input) => skep_archive::build_tar(input, &options, &progress),
        }
    })
    .await
}

/// Does work on a thread for blocking work; it is told to stop when nobody waits any more.
pub(crate) async fn on_thread<T: Send + 'static>(cancel: Cancel, work: impl FnOnce() -> T + Send + 'static) -> T {
    struct CancelOnDrop(Option<Cancel>);
    impl Drop for CancelOnDrop {
        fn drop(&mut self) {
            if let Some(cancel) = &self.0 {
                cancel.cancel();
            }
        }
    }
    let mut guard = CancelOnDrop(Some(cancel));
    let done = tokio::task::spawn_blocking(work).await;
    // The word may be used for what comes next.
    guard.0 = None;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The time that reproducible builds ask for, in seconds since the epoch.
pub(crate) fn source_date_epoch() -> Option<i64> {
    std::env::var("SOURCE_DATE_EPOCH").ok()?.parse().ok()
}
