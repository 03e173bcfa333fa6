//! Interruptions: Ctrl-C, and SIGTERM as service managers send it.

use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::exit::Outcome;

/// Notices interruptions from the moment it is made, also those that come before somebody waits.
///
/// So it is made before anything is begun, or said, that an interruption must not just cut off.
pub(crate) struct Interrupt {
    int: Signal,
    term: Signal,
}

impl Interrupt {
    pub(crate) fn listen() -> Outcome<Self> {
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn came(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}
