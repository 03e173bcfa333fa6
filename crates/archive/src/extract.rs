//! Extracting: a tree as it was, below a directory and nowhere else.
//!
//! The data is read once, in its order, and cut into work (`feed`) for threads that decode, verify and write
//! (`write`). Files are made in a staging directory and appear in their place when they are whole; directories
//! that were not there appear with all that is in them (`directories`).

mod directories;
mod feed;
mod job;
mod plan;
mod staging;
mod write;

use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use futures_util::future;
use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::archive::Archive;
use crate::beneath::Root;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;
use crate::path;
use crate::progress::Cancel;
use crate::progress::Progress;
use crate::read::GAP;

/// How to extract.
#[derive(Clone, Debug)]
pub struct ExtractOptions {
    /// Paths of files, symbolic links and directories, these with all that is in them; everything if empty.
    ///
    /// Symbolic links are not followed: what they are, not what they lead to, is extracted.
    pub select: Vec<String>,
    /// A directory of the archive that becomes the destination: it is cut off all paths.
    pub strip: String,
    /// Another name for the one file or symbolic link that is selected.
    pub name: Option<String>,
    /// Restore owners and groups, which takes privileges. Off by default.
    pub owners: bool,
    /// Threads that decode and write; 0 is one for each processor.
    ///
    /// Each has a few MiB in memory, and what the windows of a foreign compressor take.
    pub workers: usize,
    /// Bytes of other files that are read and dropped rather than asking once more.
    pub gap: u64,
    /// The word to stop.
    pub cancel: Cancel,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self {
            select: Vec::new(),
            strip: String::new(),
            name: None,
            owners: false,
            workers: 0,
            gap: GAP,
            cancel: Cancel::default(),
        }
    }
}

/// What was extracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// Regular files.
    pub files: u64,
    /// Directories that are selected or that something selected lies in; the destination does not count.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of content.
    pub bytes: u64,
}

impl Archive {
    /// Writes files, symbolic links and directories below a directory, which is made if it is missing.
    ///
    /// Nothing outside of it is touched, and no symbolic link in it is followed, whatever it holds and however
    /// it changes meanwhile. Each file appears when it is whole and verified. Files and symbolic links that are
    /// there are replaced, directories are kept, with what else is in them. Permissions and times are
    /// restored.
    ///
    /// `progress` is called from several threads, about once for each MiB.
    ///
    /// # Errors
    /// `Conflict` when a directory is where a file must go, or something else where a directory must go;
    /// `NotFound` and `InvalidPath` for what is selected; `Limit`; `Cancelled`; `Io`; as [`read`](Self::read)
    /// for the data. Files that appeared before are kept.
    ///
    /// # Cancel safety
    /// When the future is dropped, the writers stop at the next file or chunk, and remove what is not whole.
    pub async fn extract(
        &self,
        dest: &Path,
        options: &ExtractOptions,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Extracted> {
        let (archive, dest, owned) = (self.clone(), dest.to_owned(), options.clone());
        let preparing = spawn_blocking(move || Shared::prepare(archive, &dest, &owned, Box::new(progress)));
        let shared = Arc::new(preparing.await.expect("preparing does not panic")?);
        let _stop = StopOnDrop(shared.stopped.clone());
        let written = write_files(&shared, options).await;
        // What is left in staging is removed with the last use of what is shared, and that blocks.
        let finishing = spawn_blocking(move || {
            written?;
            directories::finish(&shared)?;
            Ok(Extracted {
                files: shared.plan.files.len() as u64,
                directories: shared.plan.directories.len() as u64 - 1,
                symlinks: shared.plan.symlinks.len() as u64,
                bytes: shared.plan.size,
            })
        });
        finishing.await.expect("finishing does not panic")
    }
}

/// Reads the data and writes all files.
async fn write_files(shared: &Arc<Shared>, options: &ExtractOptions) -> Result<()> {
    let workers = match options.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let (sender, receiver) = mpsc::channel(workers);
    let receiver = Arc::new(Mutex::new(receiver));
    let (done, mut writers) = mpsc::unbounded_channel();
    // Threads of their own: those of the runtime may be needed to read the data.
    for _ in 0..workers {
        let (shared, receiver, done) = (shared.clone(), receiver.clone(), done.clone());
        std::thread::spawn(move || {
            let written = panic::catch_unwind(AssertUnwindSafe(|| write::Writer::new(shared).run(&receiver)));
            // Nobody listens when the extraction was dropped.
            let _ = done.send(written);
        });
    }
    // Jobs that nobody takes any more must fail to be sent, and the last writer must be seen to end.
    drop((receiver, done));
    let (archive, plan) = (shared.archive.clone(), shared.plan.clone());
    let mut feed = Some(Box::pin(feed::Feed { archive, plan, gap: options.gap, jobs: sender }.run()));
    let mut outcome = Ok(());
    let mut is_cancelled = false;
    loop {
        let feeding = async {
            match &mut feed {
                Some(feed) => feed.await,
                None => future::pending().await,
            }
        };
        let ended = tokio::select! {
            fed = feeding => {
                feed = None;
                fed
            }
            () = options.cancel.cancelled(), if !is_cancelled => {
                is_cancelled = true;
                Err(Error::Cancelled)
            }
            written = writers.recv() => match written {
                Some(Ok(written)) => written,
                Some(Err(panic)) => panic::resume_unwind(panic),
                None => return outcome,
            },
        };
        // What a writer says counts more than that it was gone when it was fed.
        if let (Ok(()) | Err(Error::Cancelled), Err(error)) = (&outcome, ended) {
            outcome = Err(error);
            // Those that wait for a job or a piece must not wait for ever.
            shared.stop();
            feed = None;
        }
    }
}

/// What all threads of an extraction share.
struct Shared {
    archive: Archive,
    plan: Arc<plan::Plan>,
    dest: Root,
    staging: staging::Staging,
    /// The directory that is cut off, with its slash.
    strip: usize,
    name: Option<String>,
    owners: bool,
    cancel: Cancel,
    stopped: Arc<AtomicBool>,
    files: AtomicU64,
    bytes: AtomicU64,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
}

impl Shared {
    fn prepare(
        archive: Archive,
        dest: &Path,
        options: &ExtractOptions,
        progress: Box<dyn Fn(Progress) + Send + Sync>,
    ) -> Result<Self> {
        let mut plan = plan::plan(&archive, options)?;
        options.cancel.check()?;
        let failed = |source| Error::Io { what: "make", path: dest.to_owned(), source };
        std::fs::create_dir_all(dest).map_err(failed)?;
        let dest = Root::open(dest)?;
        let staging = staging::Staging::new(&dest)?;
        directories::make(&mut plan, &dest, &staging)?;
        let strip = path::parse(&options.strip)?;
        Ok(Self {
            archive,
            plan: Arc::new(plan),
            dest,
            staging,
            strip: if strip.is_empty() { 0 } else { strip.len() + 1 },
            name: options.name.clone(),
            owners: options.owners,
            cancel: options.cancel.clone(),
            stopped: Arc::default(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            progress,
        })
    }

    fn entry(&self, file: usize) -> Entry<'_> {
        self.archive.index().entry(self.plan.files[file].entry as usize)
    }

    fn directory_of(&self, file: usize) -> &plan::PlannedDirectory {
        &self.plan.directories[self.plan.files[file].directory as usize]
    }

    /// The name that a file gets.
    fn name_of<'a>(&'a self, entry: &Entry<'a>) -> &'a str {
        self.name.as_deref().unwrap_or_else(|| write::name(entry.path))
    }

    /// The path that a file gets, below the destination.
    fn target_of(&self, file: usize) -> String {
        let entry = self.entry(file);
        let directory = path::split(&entry.path[self.strip..]).0;
        if directory.is_empty() {
            self.name_of(&entry).to_owned()
        } else {
            format!("{directory}/{}", self.name_of(&entry))
        }
    }

    fn failed(&self, what: &'static str, file: usize) -> impl FnOnce(Errno) -> Error {
        Error::io(what, self.dest.path(&self.target_of(file)))
    }

    fn failed_io(&self, what: &'static str, file: usize, source: std::io::Error) -> Error {
        let path: PathBuf = self.dest.path(&self.target_of(file));
        Error::Io { what, path, source }
    }

    fn file_done(&self, entry: &Entry<'_>) {
        self.files.fetch_add(1, Ordering::Relaxed);
        if entry.chunks.is_none() {
            self.add_bytes(entry.original_size);
        }
    }

    fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn report(&self) {
        (self.progress)(Progress {
            files: self.files.load(Ordering::Relaxed),
            files_total: self.plan.files.len() as u64,
            bytes: self.bytes.load(Ordering::Relaxed).min(self.plan.size),
            bytes_total: self.plan.size,
        });
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.stopped.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { self.cancel.check() }
    }
}

/// Stops the writers when the future that waits for them is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
