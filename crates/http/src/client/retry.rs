//! Retrying: which failures pass, and how long to wait until they have.

use std::error::Error as StdError;
use std::fmt;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io;
use std::time::Duration;
use std::time::SystemTime;

use http::HeaderMap;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use skep_registry::Code;
use skep_registry::Error;
use tokio::time::Instant;

use crate::client::trouble::tls_error;
use crate::wire;

/// How long a client bears with a registry that fails.
///
/// Only what can be sent again is sent again: requests without a body, and with one that is in memory; streams
/// only while nothing of them was sent. A blob that breaks off is asked for from there, and each byte that
/// comes begins the count anew.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RetryOptions {
    /// How often a request is sent at most. 1 does not retry.
    pub attempts: u32,
    /// How long after the first failure the last attempt may begin. What the registry asks to wait is not counted.
    #[serde(deserialize_with = "seconds")]
    pub budget: Duration,
    /// The first pause; each further one is twice as long. A random part of it, up to half, is left out.
    #[serde(deserialize_with = "seconds")]
    pub base: Duration,
    /// The longest pause that the registry did not ask for.
    #[serde(deserialize_with = "seconds")]
    pub max_delay: Duration,
    /// How long a registry may ask to wait with `Retry-After`, for one request in all. What asks for more fails.
    #[serde(deserialize_with = "seconds")]
    pub max_wait: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts: 6,
            budget: Duration::from_secs(60),
            base: Duration::from_millis(250),
            max_delay: Duration::from_secs(15),
            max_wait: Duration::from_secs(300),
        }
    }
}

/// What a failure says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would fail as well.
    Fatal,
    /// Nobody is there. That is so for long, unless a server is being started again.
    Absent,
    /// A quota is used up: asking again would cost more of it.
    OutOfQuota,
    /// The registry asks for patience, and may say for how long.
    Throttled(Option<Duration>),
    /// It may succeed.
    Transient,
}

impl Verdict {
    /// The verdict over an answer.
    pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let wait = wire::text(headers, &header::RETRY_AFTER).and_then(|text| wait(text, now));
        match status.as_u16() {
            429 if is_used_up(headers) => Self::OutOfQuota,
            429 => Self::Throttled(wait),
            408 | 500 | 502..=504 => wait.map_or(Self::Transient, |wait| Self::Throttled(Some(wait))),
            _ => Self::Fatal,
        }
    }

    /// The verdict over a request that got no answer, or over a body that broke off.
    pub(crate) fn of_error(error: &Error) -> Self {
        let (mut told, mut cause) = (None, error.source());
        while let Some(one) = cause {
            told = told.or_else(|| one.downcast_ref::<Self>().copied()).or_else(|| Self::of_cause(one));
            cause = one.source();
        }
        match error.code() {
            Code::Unavailable => told.unwrap_or(Self::Transient),
            Code::TooManyRequests => told.unwrap_or(Self::Fatal),
            _ => Self::Fatal,
        }
    }

    /// What one cause alone says: none when it says nothing that others do not.
    fn of_cause(cause: &(dyn StdError + 'static)) -> Option<Self> {
        if tls_error(cause).is_some() {
            return Some(Self::Fatal);
        }
        let error = cause.downcast_ref::<io::Error>()?;
        // Names that do not exist, and those that nobody could look up, have only words (getaddrinfo).
        let words = error.to_string();
        match words.starts_with(LOOKUP_FAILED) {
            true if is_unknown_name(&words) => Some(Self::Fatal),
            true => Some(Self::Absent),
            false => (error.kind() == io::ErrorKind::ConnectionRefused).then_some(Self::Absent),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nobody is there"),
            Self::Fatal => f.write_str("no use in trying again"),
            Self::OutOfQuota => f.write_str("the quota is used up"),
            Self::Throttled(Some(wait)) => write!(f, "asked to wait {} s", wait.as_secs()),
            Self::Throttled(None) => f.write_str("asked to wait"),
            Self::Transient => f.write_str("may pass"),
        }
    }
}

/// A verdict is the source of an error where the answer that it was about is gone.
impl StdError for Verdict {}

/// Counts failures, and says how long to wait after each.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    options: RetryOptions,
    failures: u32,
    /// Those of them at which nobody was there.
    absences: u32,
    /// Not before this there was a failure, less the time that the registry asked for.
    since: Option<Instant>,
    waited: Duration,
    /// The first failure is followed by an attempt without a pause.
    eager: bool,
}

impl Patience {
    pub(crate) fn new(options: &RetryOptions) -> Self {
        let waited = Duration::ZERO;
        Self { options: options.clone(), failures: 0, absences: 0, since: None, waited, eager: false }
    }

    /// Does not wait after the first failure: for what breaks off on its way, again and again.
    pub(crate) fn eager(mut self) -> Self {
        self.eager = true;
        self
    }

    /// Counts anew, because something came.
    pub(crate) fn progress(&mut self) {
        (self.failures, self.absences, self.since) = (0, 0, None);
    }

    /// The longest wait that a registry may still ask for.
    pub(crate) fn left(&self) -> Duration {
        self.options.max_wait.saturating_sub(self.waited)
    }

    /// Counts a failure. Says how long to wait for the next attempt; none when there is to be none.
    pub(crate) fn pause(&mut self, verdict: Verdict) -> Option<Duration> {
        self.failures += 1;
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if self.failures >= self.options.attempts {
            return None;
        }
        let pause = match verdict {
            Verdict::Fatal | Verdict::OutOfQuota => return None,
            Verdict::Throttled(Some(wait)) => {
                if wait > self.left() {
                    return None;
                }
                self.waited += wait;
                self.since = Some(since + wait);
                // Everybody was told the same moment.
                return Some(wait + self.jitter(self.options.base));
            }
            Verdict::Absent => {
                // Counts twice: who mistyped a name or a port wants to know, and a server starts within a moment.
                self.absences += 1;
                if self.absences.saturating_mul(2) >= self.options.attempts {
                    return None;
                }
                self.doubled()
            }
            Verdict::Transient if self.eager && self.failures == 1 => Duration::ZERO,
            Verdict::Throttled(None) | Verdict::Transient => self.doubled(),
        };
        // `since` may lie ahead, when what was waited for took less long than was asked.
        (now.saturating_duration_since(since) + pause <= self.options.budget).then_some(pause)
    }

    /// The pause after so many failures, less a part by chance.
    fn doubled(&self) -> Duration {
        let doubled = self.options.base.saturating_mul(1 << (self.failures - 1).min(20));
        let delay = doubled.min(self.options.max_delay);
        delay - self.jitter(delay / 2)
    }

    /// A random part of a time.
    fn jitter(&self, most: Duration) -> Duration {
        // Not a secret: each hasher is made with keys of its own.
        most.mul_f64(f64::from(RandomState::new().hash_one(self.failures) as u32) / f64::from(u32::MAX))
    }
}

/// Tells from the words of the system's resolver whether it knows that there is no such host.
pub(crate) fn is_unknown_name(words: &str) -> bool {
    words.starts_with(LOOKUP_FAILED) && !words.contains("Temporary")
}

/// How errors of getaddrinfo begin.
const LOOKUP_FAILED: &str = "failed to lookup address information";

/// The wait that a `Retry-After` header asks for: seconds or a date (RFC 9110, 10.2.3).
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let date = || httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default());
    wire::number(text).map(Duration::from_secs).or_else(date)
}

/// Tells whether a quota has nothing left, as Docker Hub says it: `RateLimit-Remaining: 0;w=21600`.
fn is_used_up(headers: &HeaderMap) -> bool {
    let remaining = headers.get("ratelimit-remaining").and_then(|value| value.to_str().ok());
    remaining.is_some_and(|text| text.split(';').next().unwrap_or_default().trim() == "0")
}

fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn options() -> RetryOptions {
        RetryOptions::default()
    }

    #[test]
    fn answers_are_told_apart() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 08:00:00 GMT").unwrap();
        let throttled = |seconds| Verdict::Throttled(Some(Duration::from_secs(seconds)));
        for (status, head, want) in [
            (408, &[][..], Verdict::Transient),
            (500, &[], Verdict::Transient),
            (502, &[], Verdict::Transient),
            (503, &[], Verdict::Transient),
            (504, &[], Verdict::Transient),
            (503, &[("retry-after", "7")], throttled(7)),
            (429, &[], Verdict::Throttled(None)),
            (429, &[("retry-after", "soon")], Verdict::Throttled(None)),
            (429, &[("retry-after", "-1")], Verdict::Throttled(None)),
            (429, &[("retry-after", "0")], throttled(0)),
            (429, &[("retry-after", "Sat, 21 Nov 2026 08:00:30 GMT")], throttled(30)),
            (429, &[("retry-after", "Sat, 21 Nov 2026 07:00:00 GMT")], throttled(0)),
            (429, &[("retry-after", "Saturday, 21-Nov-26 08:00:05 GMT")], throttled(5)),
            (429, &[("ratelimit-remaining", "0;w=21600")], Verdict::OutOfQuota),
            (429, &[("ratelimit-remaining", "0"), ("retry-after", "5")], Verdict::OutOfQuota),
            (429, &[("ratelimit-remaining", "12;w=21600")], Verdict::Throttled(None)),
            (200, &[("ratelimit-remaining", "0")], Verdict::Fatal),
            (200, &[("retry-after", "7")], Verdict::Fatal),
            (400, &[], Verdict::Fatal),
            (401, &[], Verdict::Fatal),
            (404, &[], Verdict::Fatal),
            (416, &[], Verdict::Fatal),
            (501, &[], Verdict::Fatal),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Verdict::of_answer(status, &headers(head), now), want, "{status} {head:?}");
        }
    }

    #[test]
    fn errors_are_told_apart() {
        let io = |text: &'static str| io::Error::other(text);
        let unavailable = |source: io::Error| Error::new(Code::Unavailable, "x").with_source(source);
        let throttled = Verdict::Throttled(Some(Duration::from_secs(3)));
        for (error, want) in [
            (unavailable(io::ErrorKind::ConnectionReset.into()), Verdict::Transient),
            (unavailable(io("failed to lookup address information: Name or service not known")), Verdict::Fatal),
            (
                unavailable(io("failed to lookup address information: Temporary failure in name resolution")),
                Verdict::Absent,
            ),
            (unavailable(io::ErrorKind::ConnectionRefused.into()), Verdict::Absent),
            (unavailable(io::Error::other(rustls::Error::DecryptError)), Verdict::Fatal),
            (unavailable(io::Error::other(io::Error::other(rustls::Error::DecryptError))), Verdict::Fatal),
            (Error::new(Code::TooManyRequests, "x").with_source(throttled), throttled),
            (Error::new(Code::TooManyRequests, "x"), Verdict::Fatal),
            (Error::new(Code::Unauthorized, "x"), Verdict::Fatal),
            (Error::new(Code::DigestInvalid, "x"), Verdict::Fatal),
        ] {
            assert_eq!(Verdict::of_error(&error), want, "{error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_within_bounds() {
        let mut patience = Patience::new(&options());
        let mut pauses = Vec::new();
        while let Some(pause) = patience.pause(Verdict::Transient) {
            pauses.push(pause.as_millis());
            tokio::time::sleep(pause).await;
        }
        assert_eq!(pauses.len(), 5);
        for (pause, most) in pauses.iter().zip([250, 500, 1000, 2000, 4000]) {
            assert!((most / 2..=most).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn nobody_is_waited_for_half_as_often() {
        for (attempts, want) in [(1, 1), (2, 1), (3, 2), (6, 3), (u32::MAX, 5)] {
            let mut patience = Patience::new(&RetryOptions { attempts, ..options() });
            let pauses = std::iter::from_fn(|| patience.pause(Verdict::Absent)).take(4);
            let (count, sum) = pauses.fold((1, Duration::ZERO), |(count, sum), pause| (count + 1, sum + pause));
            assert_eq!(count, want, "{attempts}");
            assert!(attempts > 6 || sum < Duration::from_secs(1), "{sum:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_it_and_progress_begins_it() {
        let mut patience = Patience::new(&RetryOptions { attempts: u32::MAX, ..options() }).eager();
        let begun = Instant::now();
        assert_eq!(patience.pause(Verdict::Transient), Some(Duration::ZERO));
        while let Some(pause) = patience.pause(Verdict::Transient) {
            tokio::time::sleep(pause).await;
        }
        assert!((45..=60).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        patience.progress();
        assert_eq!(patience.pause(Verdict::Transient), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_registry_asks_for_is_waited_and_not_counted() {
        let ask = |seconds| Verdict::Throttled(Some(Duration::from_secs(seconds)));
        let mut patience = Patience::new(&options());
        for _ in 0..3 {
            let pause = patience.pause(ask(90)).unwrap();
            assert!((90.0..=90.25).contains(&pause.as_secs_f64()), "{pause:?}");
            tokio::time::sleep(pause).await;
        }
        // 30 s are left of what it may ask for, and all of the time for failures.
        assert_eq!(patience.clone().pause(ask(31)), None);
        assert!(patience.clone().pause(ask(30)).is_some());
        assert!(patience.pause(Verdict::Transient).is_some());
        for fatal in [Verdict::Fatal, Verdict::OutOfQuota, ask(301), ask(u64::MAX)] {
            assert_eq!(Patience::new(&options()).pause(fatal), None, "{fatal}");
        }
        let once = RetryOptions { attempts: 1, ..options() };
        assert_eq!(Patience::new(&once).pause(Verdict::Transient), None);
    }

    #[test]
    fn options_are_read_in_seconds() {
        let read = |text| serde_json::from_str::<RetryOptions>(text);
        let want = RetryOptions { attempts: 2, base: Duration::from_millis(100), ..options() };
        assert_eq!(read(r#"{"attempts":2,"base":0.1}"#).unwrap(), want);
        for wrong in [r#"{"budget":-1}"#, r#"{"tries":3}"#, r#"{"attempts":"6"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
