//! Watching: traces and metrics of calls. Names and numbers, never content, addresses or messages.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;
use tracing::Instrument;
use tracing::Span;

use crate::body::Body;
use crate::error::Code;
use crate::error::Result;
use crate::filter::Call;
use crate::filter::Filter;
use crate::filter::Filtered;
use crate::filter::Op;
use crate::name::RepoName;
use crate::registry::Registry;

/// Takes the measure of calls.
pub trait Meter: Debug + Send + Sync + 'static {
    /// Hears of a call that is over, its body too. Must not block.
    fn record(&self, call: Call<'_>, usage: &Usage);
}

/// What one call took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of content that moved: in for calls that write, out for those that read.
    pub bytes: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// From the beginning of the call to its answer, or to the last byte of the body that it answered with.
    pub duration: Duration,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was answered, and its body read to the end.
    Done,
    /// The caller gave up: the call or its body was dropped before the end.
    Dropped,
    /// It failed, or its body broke off.
    Failed(Code),
}

impl Outcome {
    /// `done`, `dropped`, or the code as it stands in an error body; for logs and metrics.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Done => "done",
            Self::Dropped => "dropped",
            Self::Failed(code) => code.as_str(),
        }
    }
}

/// A registry whose calls are measured.
///
/// Calls that a filter before this one refuses are not seen, those that one behind it refuses are.
pub fn metered<R: Registry>(inner: R, meter: Arc<dyn Meter>) -> Filtered<R, impl Filter> {
    Filtered::new(inner, Watch { meter, span: |_| Span::none() })
}

/// A registry whose calls are traced, at the level of debugging.
///
/// Each call is a span `call` with `op` and `repo`, in which everything below happens. At its end, that of its
/// body included, it has an event with `outcome`, `bytes` and `duration`, and with `status` when it failed.
pub fn traced<R: Registry>(inner: R) -> Filtered<R, impl Filter> {
    let span: fn(Call<'_>) -> Span =
        |call| tracing::debug_span!("call", op = call.op.as_str(), repo = call.repo.map(RepoName::as_str));
    Filtered::new(inner, Watch { meter: Arc::new(Tracer), span })
}

#[derive(Debug)]
struct Tracer;

impl Meter for Tracer {
    fn record(&self, _call: Call<'_>, usage: &Usage) {
        let status = match &usage.outcome {
            Outcome::Done | Outcome::Dropped => None,
            Outcome::Failed(code) => Some(code.status()),
        };
        tracing::debug!(outcome = usage.outcome.as_str(), status, bytes = usage.bytes, duration = ?usage.duration);
    }
}

#[derive(Debug)]
struct Watch {
    meter: Arc<dyn Meter>,
    span: fn(Call<'_>) -> Span,
}

impl Filter for Watch {
    type Pass = Account;

    fn admit(&self, _call: Call<'_>) -> Result<()> {
        Ok(())
    }

    fn hides(&self) -> bool {
        false
    }

    async fn enter(&self, call: Call<'_>) -> Result<Account> {
        Ok(Account {
            meter: self.meter.clone(),
            span: (self.span)(call),
            op: call.op,
            repo: call.repo.cloned(),
            began: Instant::now(),
            bytes: Arc::default(),
            to_come: None,
            outcome: Outcome::Dropped,
        })
    }

    fn receive(&self, account: &mut Account, body: Body) -> Body {
        let bytes = account.bytes.clone();
        body.inspect(move |len| {
            bytes.fetch_add(len as u64, Ordering::Relaxed);
        })
    }

    async fn around<T: Send>(&self, account: &mut Account, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let answer = call.instrument(account.span.clone()).await;
        account.outcome = match &answer {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Failed(error.code().clone()),
        };
        answer
    }

    fn carry(&self, account: &mut Account, bytes: u64) {
        account.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn send(&self, mut account: Account, body: Body) -> Body {
        let len = body.len();
        account.outcome = Outcome::Dropped;
        account.to_come = len;
        let mut state = Some((body, account));
        let parts = stream::poll_fn(move |context| {
            let Some((body, account)) = &mut state else { return Poll::Ready(None) };
            let part = ready!(account.span.in_scope(|| body.poll_next_unpin(context)));
            match &part {
                Some(Ok(part)) => {
                    account.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(part.clone())));
                }
                Some(Err(error)) => account.outcome = Outcome::Failed(error.code().clone()),
                None => account.outcome = Outcome::Done,
            }
            state = None;
            Poll::Ready(part)
        });
        Body::new(len, parts)
    }
}

/// What is known of a call so far; reported when it is dropped.
struct Account {
    meter: Arc<dyn Meter>,
    span: Span,
    op: Op,
    repo: Option<RepoName>,
    began: Instant,
    bytes: Arc<AtomicU64>,
    /// How many bytes a body on its way out has, when that is known.
    to_come: Option<u64>,
    outcome: Outcome,
}

impl Drop for Account {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        // Whoever knows the length stops asking at the last byte, and never sees the end.
        let outcome = match &self.outcome {
            Outcome::Dropped if self.to_come == Some(bytes) => Outcome::Done,
            outcome => outcome.clone(),
        };
        let usage = Usage { bytes, outcome, duration: self.began.elapsed() };
        self.span.in_scope(|| self.meter.record(Call { op: self.op, repo: self.repo.as_ref() }, &usage));
    }
}
