//! Retries: what is tried again, how often and after how long.

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
    /// The error itself when no attempt is left.
    pub(super) fn after(&mut self, error: Error) -> Result<Duration> {
        self.failed += 1;
        if self.failed >= self.attempts {
            return Err(error);
        }
        let (first, most) = match error.code() {
            Code::TooManyRequests => (FIRST_WAIT * 4, MOST_WAIT * 4),
            _ if self.failed == 1 => return Ok(Duration::ZERO),
            _ => (FIRST_WAIT, MOST_WAIT),
        };
        let wait = (first * 2u32.saturating_pow(self.failed - 1).min(1 << 10)).min(most);
        // Between half and all of it, so that those who failed together do not come again together.
        let jitter = getrandom::u32().unwrap_or(u32::MAX / 2);
        Ok(wait / 2 + (wait / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX)))
    }
}

/// Tells whether the same request may well succeed a moment later.
pub(super) fn is_transient(error: &Error) -> bool {
    matches!(error.code(), Code::TooManyRequests | Code::Unavailable)
}

/// Does a call until it succeeds, fails for good, or has failed `attempts` times.
pub(super) async fn retry<T, F: Future<Output = Result<T>>>(attempts: u32, mut call: impl FnMut() -> F) -> Result<T> {
    let mut patience = Patience::new(attempts);
    loop {
        match call().await {
            Err(error) if is_transient(&error) => tokio::time::sleep(patience.after(error)?).await,
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
            assert_eq!(patience.after(code.clone().into()).unwrap_err().code(), &code);
        }
    }
}
