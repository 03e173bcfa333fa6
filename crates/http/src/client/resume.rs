//! Resuming: content that breaks off on its way is asked for from there.

use std::fmt::Display;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::header;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;

use crate::client::answer::Answer;
use crate::client::retry::Patience;
use crate::client::retry::RetryOptions;
use crate::client::retry::Verdict;
use crate::wire;

/// Content that does not change, and can be asked for again from any byte.
#[async_trait]
pub(super) trait Lasting: Display + Send + Sync + 'static {
    /// How long to bear with failures.
    fn retry(&self) -> &RetryOptions;

    /// Asks for a range, with what is left of the patience of the caller.
    ///
    /// The answer may have all of the content instead, if that can happen with content of this kind.
    async fn ask(&self, range: &Range<u64>, patience: &mut Patience) -> Result<Answer>;
}

/// The bytes of a range that an answer has, and that further answers have if it breaks off.
///
/// What they come from does not change, so the rest may come from anywhere and at any time: with another token, by
/// another redirect. It is not verified here; the digest of the whole is, over all answers.
pub(super) fn resumed(content: impl Lasting, range: Range<u64>, answer: Answer) -> Body {
    let patience = Patience::new(content.retry()).eager();
    let transfer = Transfer { content, rest: range.clone(), body: answer.into_body(), patience };
    let parts =
        stream::try_unfold(
            transfer,
            |mut transfer| async move { Ok(transfer.next().await?.map(|part| (part, transfer))) },
        );
    Body::new(Some(range.end - range.start), parts)
}

struct Transfer<C> {
    content: C,
    /// The bytes that are to come.
    rest: Range<u64>,
    body: Body,
    patience: Patience,
}

impl<C: Lasting> Transfer<C> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let error = match self.body.next().await {
                Some(Ok(part)) => {
                    if !part.is_empty() {
                        self.patience.progress();
                    }
                    // More than was announced is for whoever counts.
                    self.rest.start += part.len() as u64;
                    return Ok(Some(part));
                }
                // All bytes have come; how the answer ended is of no interest.
                _ if self.rest.start >= self.rest.end => return Ok(None),
                Some(Err(error)) => error,
                None => {
                    let message = format!("{} broke off before {:?}", self.content, self.rest);
                    Error::new(Code::Unavailable, message)
                }
            };
            let Some(pause) = self.patience.pause(Verdict::of_error(&error)) else {
                return Err(error.exhausted());
            };
            tracing::debug!(%error, rest = ?self.rest, ?pause, "broke off, asking for the rest");
            tokio::time::sleep(pause).await;
            self.body = self.rest_of().await?;
        }
    }

    /// Asks for the bytes that are to come. What fails at that counts as what broke off does.
    async fn rest_of(&mut self) -> Result<Body> {
        let rest = self.rest.clone();
        let answer = self.content.ask(&rest, &mut self.patience).await?;
        let content_range = answer.text(&header::CONTENT_RANGE);
        match (answer.status(), content_range.and_then(wire::parse_content_range)) {
            (206, Some((came, _))) if came.start == rest.start && came.end <= rest.end => Ok(answer.into_body()),
            (206, _) => Err(wrong_range(&self.content, rest.into(), content_range)),
            // The whole again: ranges are not for this registry.
            _ => Ok(answer.into_body().slice(rest)),
        }
    }
}

/// The error of an answer that has another range than was asked for.
pub(super) fn wrong_range(content: &impl Display, asked: ByteRange, came: Option<&str>) -> Error {
    let came = came.unwrap_or("no Content-Range");
    Error::new(Code::RangeInvalid, format!("{content}: asked for {asked}, got {came:?}"))
}
