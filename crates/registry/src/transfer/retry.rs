//! Retries: what is tried again, how often and after how long.
//!
//! Registries over HTTP try again themselves and say so ([`Error::is_exhausted`]); what is left for here is what
//! they cannot see: streams that were sent in part, and registries that do not try again.

use std::future::Future;
use std::time::Duration;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;

/// Attempts that may fail in a row.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    attempts: u32,
    failed: u32,
}

impl Patience {
    pub(super) fn new(attempts: u32) -> Self {
        Self { attempts, failed: 0 }
    }

    /// Something came of an attempt: the next failure counts as the first.
    pub(super) fn progress(&mut self) {
        self.failed = 0;
    }

    /// How long to wait before the next attempt; the first one after progress comes at once.
    ///
    /// # Errors
    /// The error itself when no attempt is left, or when there is to be none.
    pub(super) fn after(&mut self, error: Error) -> Result<Duration> {
        self.failed += 1;
        if self.failed >= self.attempts {
            return Err(error.exhausted());
        }
        let jitter = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
        if let Some(wait) = error.retry_after() {
            // Everybody was told the same moment.
            return if wait > MOST_ASKED { Err(error.exhausted()) } else { Ok(wait + FIRST_WAIT.mul_f64(jitter)) };
        }
        let (first, most) = match error.code() {
            Code::TooManyRequests => (FIRST_WAIT * 4, MOST_WAIT * 4),
            _ if self.failed == 1 => return Ok(Duration::ZERO),
            _ => (FIRST_WAIT, MOST_WAIT),
        };
        let wait = (first * 2u32.saturating_pow(self.failed - 1).min(1 << 10)).min(most);
        // Between half and all of it, so that those who failed together do not come again together.
        Ok(wait / 2 + (wait / 2).mul_f64(jitter))
    }
}

/// Does a call until it succeeds, fails for good, or has failed `attempts` times.
pub(super) async fn retry<T, F: Future<Output = Result<T>>>(attempts: u32, mut call: impl FnMut() -> F) -> Result<T> {
    let mut patience = Patience::new(attempts);
    loop {
        match call().await {
            Err(error) if error.is_transient() => tokio::time::sleep(patience.after(error)?).await,
            answer => return answer,
        }
    }
}

/// As [`retry`]; none for what is not there.
pub(super) async fn find<T, F: Future<Output = Result<T>>>(
    attempts: u32,
    call: impl FnMut() -> F,
) -> Result<Option<T>> {
    match retry(attempts, call).await {
        Err(error) if error.is_not_found() => Ok(None),
        answer => answer.map(Some),
    }
}

/// What to wait before the second attempt; it doubles with each one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait. Both are four times as long for a registry that asks for patience.
const MOST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait that a registry may ask for.
const MOST_ASKED: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_attempts_end() {
        let mut patience = Patience::new(12);
        for code in [Code::Unavailable, Code::TooManyRequests] {
            patience.progress();
            let waits: Vec<_> = (0..11).map(|_| patience.after(code.clone().into()).unwrap()).collect();
            assert!(waits.iter().all(|wait| *wait <= MOST_WAIT * 4), "{waits:?}");
            assert!(waits[10] >= MOST_WAIT / 2, "{waits:?}");
            assert_eq!(waits[0].is_zero(), code == Code::Unavailable);
            let error = patience.after(code.clone().into()).unwrap_err();
            assert!(error.code() == &code && error.is_exhausted());
        }
    }

    #[test]
    fn what_the_registry_asks_for_is_waited_unless_it_is_too_long() {
        let ask = |seconds| Error::from(Code::Unavailable).with_retry_after(Duration::from_secs(seconds));
        let wait = Patience::new(6).after(ask(7)).unwrap();
        assert!((7.0..=7.25).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(Patience::new(6).after(ask(301)).unwrap_err().is_exhausted());
    }
}
