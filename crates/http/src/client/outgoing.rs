//! Outgoing bodies: streams that are watched on their way, and sent anew while nothing of them was.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use tokio::time::Instant;

/// A stream that is to be sent once, as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    body: Body,
    /// What is left of a part that is too long to be sent as one.
    part: Bytes,
    /// Bytes that the body has to give, if it is known.
    rest: Option<u64>,
    /// Which of the streams made of this is the one that counts.
    turn: u32,
    /// Whether anything was asked of the body.
    is_begun: bool,
    turn_of: Turn,
    /// When something last went on.
    at: Instant,
}

/// Whose turn it is to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The registry is to answer.
    Registry,
    /// The body is to give the next part.
    Source,
    /// The connection is to take the next part.
    Wire,
}

impl Outgoing {
    pub(crate) fn new(body: Body) -> Self {
        let rest = body.len();
        let state =
            State { body, part: Bytes::new(), rest, turn: 0, is_begun: false, turn_of: Turn::Wire, at: Instant::now() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Tells whether nothing of the body has gone yet.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lock().is_begun
    }

    /// The stream that is sent. One made before gives nothing more.
    pub(crate) fn stream(&self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let turn = {
            let mut state = self.lock();
            (state.turn, state.at) = (state.turn + 1, Instant::now());
            state.turn
        };
        let this = self.clone();
        stream::poll_fn(move |cx| this.lock().poll(turn, cx))
    }

    /// Waits until nothing has gone on for a time: `idle` while the connection takes nothing, `answer` while the
    /// registry has all and says nothing. While the body has nothing to give, nobody is to blame.
    pub(crate) async fn stalled(&self, idle: Duration, answer: Duration) -> Duration {
        loop {
            let (at, wait) = {
                let state = self.lock();
                match state.turn_of {
                    Turn::Registry => (state.at, answer),
                    Turn::Source => (Instant::now(), idle),
                    Turn::Wire => (state.at, idle),
                }
            };
            let left = wait.saturating_sub(at.elapsed());
            if left.is_zero() {
                return wait;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A body that panicked is not asked again: its stream is gone with the request.
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl State {
    fn poll(&mut self, turn: u32, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if turn != self.turn {
            return Poll::Ready(Some(Err(Error::new(Code::Unavailable, "the body is being sent anew"))));
        }
        self.is_begun = true;
        while self.part.is_empty() {
            self.turn_of = Turn::Source;
            let next = ready!(Pin::new(&mut self.body).poll_next_unpin(cx));
            self.at = Instant::now();
            match next.transpose()? {
                Some(part) => self.part = part,
                None => {
                    self.turn_of = Turn::Registry;
                    return Poll::Ready(None);
                }
            }
        }
        // A long part would take long on a slow line, and look like a stall.
        let part = self.part.split_to(self.part.len().min(MAX_PART));
        self.rest = self.rest.map(|rest| rest.saturating_sub(part.len() as u64));
        // With the last byte that was announced, nobody asks for more.
        self.turn_of = if self.rest == Some(0) { Turn::Registry } else { Turn::Wire };
        self.at = Instant::now();
        Poll::Ready(Some(Ok(part)))
    }
}

/// Bytes that are sent as one at most.
const MAX_PART: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    fn body(parts: &[usize]) -> Body {
        let parts: Vec<_> = parts.iter().map(|len| Ok(Bytes::from(vec![7; *len]))).collect();
        Body::new(None, stream::iter(parts))
    }

    async fn lens(stream: impl Stream<Item = Result<Bytes>>) -> Vec<usize> {
        stream.map_ok(|part| part.len()).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn only_the_last_stream_counts() {
        let outgoing = Outgoing::new(body(&[3, 0, 2]));
        let first = outgoing.stream();
        let second = outgoing.stream();
        assert!(outgoing.is_whole());
        assert_eq!(first.try_collect::<Vec<_>>().await.unwrap_err().code(), &Code::Unavailable);
        assert!(outgoing.is_whole());
        assert_eq!(lens(second).await, [3, 2]);
        assert!(!outgoing.is_whole());
    }

    #[tokio::test]
    async fn long_parts_are_cut() {
        assert_eq!(lens(Outgoing::new(body(&[MAX_PART + 1])).stream()).await, [MAX_PART, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_nothing_is_to_blame() {
        let (idle, answer) = (Duration::from_secs(60), Duration::from_secs(600));
        let stalled = |outgoing: Outgoing| async move {
            let begun = Instant::now();
            let waited = tokio::time::timeout(Duration::from_secs(3600), outgoing.stalled(idle, answer)).await;
            waited.is_ok().then(|| begun.elapsed().as_secs())
        };
        // Nobody takes it.
        assert_eq!(stalled(Outgoing::new(body(&[1]))).await, Some(60));
        // The registry has it all.
        for known in [true, false] {
            let outgoing = Outgoing::new(if known { body(&[1]).exactly(1) } else { body(&[1]) });
            let mut stream = Box::pin(outgoing.stream());
            assert!(stream.next().await.unwrap().is_ok());
            assert!(known || stream.next().await.is_none());
            assert_eq!(stalled(outgoing).await, Some(600));
        }
        // The body has nothing to give.
        let outgoing = Outgoing::new(Body::new(Some(1), stream::pending()));
        let mut stream = Box::pin(outgoing.stream());
        assert!(futures_util::FutureExt::now_or_never(stream.next()).is_none());
        assert_eq!(stalled(outgoing).await, None);
    }
}
