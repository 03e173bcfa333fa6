//! Limits: how many calls there are at once, and how many begin in a second.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::error::Result;
use crate::filter::Call;
use crate::filter::Filter;
use crate::filter::Filtered;
use crate::registry::Registry;

/// How much a registry is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOptions {
    /// Calls at once, a body that is still being read among them. 0 counts as 1; any number by default.
    pub concurrency: usize,
    /// Calls that begin within a second; as many may begin at once after a second of rest. Any number by default.
    pub per_second: Option<NonZeroU32>,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self { concurrency: Semaphore::MAX_PERMITS, per_second: None }
    }
}

/// A registry of which no more is asked than it is to bear; calls wait in the order in which they came.
///
/// A call counts until its body has ended or was dropped. An upload counts during each of its calls, not
/// between them. So whoever keeps a body open while calling again needs two places: copying within a registry
/// that allows one call at a time waits for itself. [`idle_timeout`](crate::idle_timeout) around the limit
/// bounds such a wait.
pub fn limited<R: Registry>(inner: R, options: LimitOptions) -> Filtered<R, impl Filter> {
    let places = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
    Filtered::new(inner, Limit { places: Arc::new(Semaphore::new(places)), pace: options.per_second.map(Pace::new) })
}

#[derive(Debug)]
struct Limit {
    places: Arc<Semaphore>,
    pace: Option<Pace>,
}

impl Filter for Limit {
    type Pass = OwnedSemaphorePermit;

    fn admit(&self, _call: Call<'_>) -> Result<()> {
        Ok(())
    }

    fn hides(&self) -> bool {
        false
    }

    async fn enter(&self, _call: Call<'_>) -> Result<OwnedSemaphorePermit> {
        let place = self.places.clone().acquire_owned().await.expect("nobody closes the semaphore");
        // With a place already, so that those who waited for one do not begin all at once.
        if let Some(pace) = &self.pace {
            pace.step().await;
        }
        Ok(place)
    }
}

/// A bucket that fills by one token each interval and holds a second's worth.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    /// One waits for the next token and the others for it, so that whoever gives up takes none along.
    turn: Semaphore,
    /// When the bucket will be full, if nobody takes from it.
    full: Mutex<Instant>,
}

impl Pace {
    fn new(per_second: NonZeroU32) -> Self {
        let interval = Duration::from_secs(1) / per_second.get();
        Self { interval, turn: Semaphore::new(1), full: Mutex::new(Instant::now()) }
    }

    async fn step(&self) {
        let _turn = self.turn.acquire().await.expect("nobody closes the semaphore");
        let now = Instant::now();
        let full = now.max(*self.full());
        let wait = full.saturating_duration_since(now + (Duration::from_secs(1) - self.interval));
        if !wait.is_zero() {
            sleep(wait).await;
        }
        *self.full() = full + self.interval;
    }

    fn full(&self) -> MutexGuard<'_, Instant> {
        self.full.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}
