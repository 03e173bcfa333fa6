//! One body for several takers, at the pace of the slowest.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future;
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::body::Body;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;

/// Hands a body to several takers at once, to each from the byte on that it says; gives what they answer.
///
/// A taker that ends without having read all holds up nobody. Of the body one part is with each taker and
/// one waits for it; the parts are shared, not copied.
///
/// # Errors
/// That of the body, when it breaks off. Then each taker has got it too.
pub(super) fn tee<'a, T, F>(body: Body, takers: impl Iterator<Item = (u64, F)>) -> BoxFuture<'a, Result<Vec<Result<T>>>>
where
    T: Send + 'a,
    F: FnOnce(Body) -> BoxFuture<'a, Result<T>>,
{
    let (lanes, taken): (Vec<_>, Vec<_>) = takers
        .map(|(skip, take)| {
            let (sender, receiver) = mpsc::channel(1);
            let len = body.len().map(|len| len.saturating_sub(skip));
            (Lane { skip, sender }, take(Body::new(len, parts(receiver))))
        })
        .unzip();
    let all = future::join(pump(body, lanes), future::join_all(taken));
    all.map(|(pumped, answers)| pumped.map(|()| answers)).boxed()
}

/// The way to one taker.
struct Lane {
    /// Bytes that the taker has already.
    skip: u64,
    sender: mpsc::Sender<Result<Option<Bytes>>>,
}

impl Lane {
    /// Hands a part over; tells whether the taker wants more.
    async fn hand(&mut self, part: &Bytes) -> bool {
        let skip = self.skip.min(part.len() as u64);
        self.skip -= skip;
        let rest = part.slice(skip as usize..);
        if rest.is_empty() {
            return !self.sender.is_closed();
        }
        self.sender.send(Ok(Some(rest))).await.is_ok()
    }
}

async fn pump(mut body: Body, mut lanes: Vec<Lane>) -> Result<()> {
    loop {
        match body.next().await.transpose() {
            Ok(Some(part)) => {
                let handed = future::join_all(lanes.iter_mut().map(|lane| lane.hand(&part))).await;
                let mut handed = handed.into_iter();
                lanes.retain(|_| handed.next().unwrap_or(false));
                if lanes.is_empty() {
                    return Ok(());
                }
            }
            Ok(None) => {
                // A taker that does not wait for the end has all it needs.
                future::join_all(lanes.iter().map(|lane| lane.sender.send(Ok(None)))).await;
                return Ok(());
            }
            Err(error) => {
                future::join_all(lanes.iter().map(|lane| lane.sender.send(Err(error.again())))).await;
                return Err(error);
            }
        }
    }
}

/// What comes over a lane. Its end is said: a lane that just ends was given up, and so is what it carried.
fn parts(receiver: mpsc::Receiver<Result<Option<Bytes>>>) -> impl stream::Stream<Item = Result<Bytes>> + Send {
    stream::try_unfold(receiver, |mut receiver| async {
        match receiver.recv().await {
            Some(part) => part.map(|part| part.map(|part| (part, receiver))),
            None => Err(Error::new(Code::Unavailable, "the write was given up")),
        }
    })
}
