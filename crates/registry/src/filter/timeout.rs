//! A timeout for registries that stall: not for how long a call takes, but for how long nothing moves.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use crate::body::Body;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::filter::Call;
use crate::filter::Filter;
use crate::filter::Filtered;
use crate::filter::Op;
use crate::registry::Registry;

/// A registry that answers `Unavailable` when nothing has moved for some time.
///
/// That is the time until a call answers, from the last part of the body that it takes in, if it takes one,
/// and the time that each part of a body on its way out is waited for. How long it all takes is not bounded,
/// and the time that whoever reads a body takes between two parts does not count.
pub fn idle_timeout<R: Registry>(inner: R, idle: Duration) -> Filtered<R, impl Filter> {
    Filtered::new(inner, IdleTimeout(idle))
}

#[derive(Debug)]
struct IdleTimeout(Duration);

struct Moves {
    op: Op,
    last: Arc<Mutex<Instant>>,
}

impl IdleTimeout {
    fn error(&self, op: Op) -> Error {
        Error::new(Code::Unavailable, format!("{}: nothing has moved for {:?}", op.as_str(), self.0))
    }
}

impl Filter for IdleTimeout {
    type Pass = Moves;

    fn admit(&self, _call: Call<'_>) -> Result<()> {
        Ok(())
    }

    fn hides(&self) -> bool {
        false
    }

    async fn enter(&self, call: Call<'_>) -> Result<Moves> {
        Ok(Moves { op: call.op, last: Arc::new(Mutex::new(Instant::now())) })
    }

    fn receive(&self, moves: &mut Moves, body: Body) -> Body {
        let last = moves.last.clone();
        body.inspect(move |_| *last.lock().unwrap_or_else(|poison| poison.into_inner()) = Instant::now())
    }

    async fn around<T: Send>(&self, moves: &mut Moves, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let mut call = pin!(call);
        loop {
            let last = moves.last();
            match timeout_at(last + self.0, &mut call).await {
                Ok(answer) => return answer,
                Err(_) if moves.last() > last => {}
                Err(_) => return Err(self.error(moves.op)),
            }
        }
    }

    fn send(&self, moves: Moves, body: Body) -> Body {
        let (idle, error) = (self.0, self.error(moves.op));
        let len = body.len();
        let parts = stream::unfold(Some((body, error)), move |state| async move {
            let (mut body, error) = state?;
            match timeout(idle, body.next()).await {
                Ok(part) => part.map(|part| (part, Some((body, error)))),
                Err(_) => Some((Err(error), None)),
            }
        });
        Body::new(len, parts)
    }
}

impl Moves {
    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}
