//! Extracting: a tree as it was, below a directory and nowhere else.
//!
//! The data is read once, in its order (`ahead`), and cut into work (`feed`) for threads that decode, verify and
//! write (`write`). Files are made in a staging directory and appear in their place when they are whole (`place`);
//! directories that were not there appear with all that is in them (`directories`).

mod ahead;
mod budget;
mod clean;
mod directories;
mod existing;
mod feed;
mod job;
mod options;
mod place;
mod plan;
pub(crate) mod staging;
mod turn;
mod write;

use std::panic;
use std::panic::AssertUnwindSafe;
use std::path::Path;
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
use crate::progress::Progress;

use budget::Budget;
use place::Placed;
use plan::Item;
use plan::Plan;
use plan::PlannedDirectory;
use staging::Staging;

pub(crate) use staging::is_staging;

pub use options::ExtractOptions;
pub use options::Extracted;
pub use options::Overwrite;

impl Archive {
    /// Writes files, symbolic links and directories below a directory, which is made if it is missing.
    ///
    /// Nothing outside of it is touched, and no symbolic link in it is followed, whatever it holds and however
    /// it changes meanwhile. Each file appears when it is whole and has the hash that the index states, and what a
    /// process left that was killed is removed by the next one. Directories that are there are kept;
    /// [`ExtractOptions`] tell what becomes of everything else.
    ///
    /// `progress` is called from several threads, about once for each MiB or chunk.
    ///
    /// # Errors
    /// `Conflict` when a directory is where a file must go, or something else where a directory must go, or as
    /// [`Overwrite`] and `clean` say; `Collision` when two names of the archive are one on this disk; `NotFound` and
    /// `InvalidPath` for what is selected; `Limit`; `Cancelled`; `Io`; as [`read`](Self::read) for the data. Files
    /// that appeared before are kept.
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
        let preparing = spawn_blocking(move || Shared::prepare(archive, &dest, owned, Box::new(progress)));
        let shared = Arc::new(preparing.await.expect("preparing does not panic")?);
        let _stop = StopOnDrop(shared.stopped.clone());
        let written = write_files(&shared).await;
        // What is left in staging is removed with the last use of what is shared, and that blocks.
        let finishing = spawn_blocking(move || {
            written?;
            directories::finish(&shared)?;
            if shared.options.clean {
                clean::clean(&shared)?;
            }
            directories::restore_all(&shared)?;
            Ok(shared.extracted())
        });
        finishing.await.expect("finishing does not panic")
    }
}

/// Reads the data and writes all files.
async fn write_files(shared: &Arc<Shared>) -> Result<()> {
    let workers = shared.budget.workers;
    let (sender, receiver) = mpsc::channel(workers);
    let receiver = Arc::new(Mutex::new(receiver));
    let (done, mut writers) = mpsc::unbounded_channel();
    // Threads of their own: those of the runtime may be needed to read the data.
    let threads: Vec<_> = (0..workers)
        .map(|_| {
            let (shared, receiver, done) = (shared.clone(), receiver.clone(), done.clone());
            std::thread::spawn(move || {
                let written = panic::catch_unwind(AssertUnwindSafe(|| write::Writer::new(shared).run(&receiver)));
                // Nobody listens when the extraction was dropped.
                let _ = done.send(written);
            })
        })
        .collect();
    // A runtime that is shut down waits for this, and so for what they have to remove.
    let ended = spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
    // Jobs that nobody takes any more must fail to be sent, and the last writer must be seen to end.
    drop((receiver, done));
    let mut feed = Some(Box::pin(feed::Feed { shared: shared.clone(), jobs: sender }.run()));
    let mut outcome = Ok(());
    let mut is_cancelled = false;
    loop {
        let feeding = async {
            match &mut feed {
                Some(feed) => feed.await,
                None => future::pending().await,
            }
        };
        let done = tokio::select! {
            fed = feeding => {
                feed = None;
                fed
            }
            () = shared.options.cancel.cancelled(), if !is_cancelled => {
                is_cancelled = true;
                Err(Error::Cancelled)
            }
            written = writers.recv() => match written {
                Some(Ok(written)) => written,
                Some(Err(panic)) => panic::resume_unwind(panic),
                None => {
                    ended.await.expect("waiting does not panic");
                    return outcome;
                }
            },
        };
        // What a writer says counts more than that it was gone when it was fed.
        if let (Ok(()) | Err(Error::Cancelled), Err(error)) = (&outcome, done) {
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
    options: ExtractOptions,
    budget: Budget,
    plan: Plan,
    dest: Root,
    staging: Staging,
    placed: Placed,
    stopped: Arc<AtomicBool>,
    files: AtomicU64,
    symlinks: AtomicU64,
    bytes: AtomicU64,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
}

impl Shared {
    fn prepare(
        archive: Archive,
        dest: &Path,
        options: ExtractOptions,
        progress: Box<dyn Fn(Progress) + Send + Sync>,
    ) -> Result<Self> {
        let plan = plan::plan(&archive, &options)?;
        options.cancel.check()?;
        if options.clean {
            existing::refuse_precious(dest)?;
        }
        let failed = |source| Error::Io { what: "make", path: dest.to_owned(), source };
        std::fs::create_dir_all(dest).map_err(failed)?;
        let dest = Root::open(dest)?;
        let staging = Staging::new(&dest)?;
        let workers = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let budget = Budget::new(options.memory, workers, options.in_flight);
        let mut shared = Self {
            archive,
            options,
            budget,
            plan,
            dest,
            staging,
            placed: Placed::default(),
            stopped: Arc::default(),
            files: AtomicU64::new(0),
            symlinks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            progress,
        };
        directories::make(&mut shared)?;
        existing::look(&mut shared)?;
        Ok(shared)
    }

    fn extracted(&self) -> Extracted {
        Extracted {
            files: self.files.load(Ordering::Relaxed),
            directories: self.plan.directories.len() as u64 - 1,
            symlinks: self.symlinks.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            skipped: self.placed.skipped.load(Ordering::Relaxed),
            removed: self.placed.removed.load(Ordering::Relaxed),
        }
    }

    fn entry(&self, file: usize) -> Entry<'_> {
        self.archive.index().entry(self.plan.files[file].entry as usize)
    }

    /// The name that a file gets.
    fn name_of<'a>(&'a self, entry: &Entry<'a>) -> &'a str {
        self.options.name.as_deref().unwrap_or_else(|| path::split(entry.path).1)
    }

    /// The position of the directory that something goes into.
    fn directory_at(&self, item: Item) -> u32 {
        match item {
            Item::Directory(at) => self.plan.directories[at as usize].parent,
            Item::File(at) => self.plan.files[at as usize].directory,
            Item::Kept(at) => self.plan.kept[at as usize].0,
            Item::Link(at) => self.plan.symlinks[at as usize].directory,
        }
    }

    /// The directory that something goes into, and its name there.
    fn place_of(&self, item: Item) -> (&PlannedDirectory, &str) {
        let name = match item {
            Item::Directory(at) => path::split(&self.plan.directories[at as usize].path).1,
            Item::File(at) => self.name_of(&self.entry(at as usize)),
            Item::Kept(at) => &self.plan.kept[at as usize].1,
            Item::Link(at) => &self.plan.symlinks[at as usize].name,
        };
        (&self.plan.directories[self.directory_at(item) as usize], name)
    }

    /// The path of something below the destination.
    fn path_of(&self, item: Item) -> String {
        let (directory, name) = self.place_of(item);
        if directory.path.is_empty() { name.to_owned() } else { format!("{}/{name}", directory.path) }
    }

    fn failed(&self, what: &'static str, file: usize) -> impl FnOnce(Errno) -> Error {
        Error::io(what, self.dest.path(&self.path_of(Item::File(file as u32))))
    }

    fn failed_io(&self, what: &'static str, file: usize, source: std::io::Error) -> Error {
        Error::Io { what, path: self.dest.path(&self.path_of(Item::File(file as u32))), source }
    }

    /// Finds words for something that could not be made in staging, where only this extraction is.
    fn not_made(&self, errno: Errno, item: Item) -> Error {
        let other = if errno == Errno::EXIST { self.like(item) } else { None };
        match other {
            Some(other) => self.collision(item, other),
            None => Error::io("make", self.dest.path(&self.path_of(item)))(errno),
        }
    }

    /// Something with nearly the same name in the same directory.
    fn like(&self, item: Item) -> Option<Item> {
        let (directory, name) = (self.directory_at(item), self.place_of(item).1.to_lowercase());
        let is_like = |other: &Item| {
            *other != item && self.directory_at(*other) == directory && self.place_of(*other).1.to_lowercase() == name
        };
        self.plan.items().find(is_like)
    }

    fn collision(&self, item: Item, other: Item) -> Error {
        let path = |item| self.dest.path(&self.path_of(item));
        Error::Collision { path: path(item), other: path(other) }
    }

    fn file_done(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    fn link_done(&self) {
        self.symlinks.fetch_add(1, Ordering::Relaxed);
    }

    fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back bytes of a file that was not needed in the end.
    fn take_bytes(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn report(&self) {
        (self.progress)(Progress {
            files: self.files.load(Ordering::Relaxed),
            files_total: self.plan.files.len() as u64,
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_total: self.plan.size,
        });
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.stopped.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { self.options.cancel.check() }
    }
}

/// Stops the writers when the future that waits for them is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
