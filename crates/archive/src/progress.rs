//! Progress of long work, and the way to stop it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use crate::error::Error;
use crate::error::Result;

/// How far work has come. Totals are 0 as long as they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that are done.
    pub files: u64,
    /// Files in all.
    pub files_total: u64,
    /// Bytes of content that are done.
    pub bytes: u64,
    /// Bytes of content in all.
    pub bytes_total: u64,
}

/// A word to stop, which clones share.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Word>);

#[derive(Debug, Default)]
struct Word {
    is_given: AtomicBool,
    given: Notify,
}

impl Cancel {
    /// Asks the work to stop. It does at the next file or chunk.
    pub fn cancel(&self) {
        self.0.is_given.store(true, Ordering::Release);
        self.0.given.notify_waiters();
    }

    /// Tells whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_given.load(Ordering::Acquire)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Waits until somebody asks to stop.
    pub(crate) async fn cancelled(&self) {
        let mut given = std::pin::pin!(self.0.given.notified());
        // Waits from here on, so that a word between this and the next line is heard.
        given.as_mut().enable();
        if !self.is_cancelled() {
            given.await;
        }
    }
}
