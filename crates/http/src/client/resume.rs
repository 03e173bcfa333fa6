//! Resuming: a blob that breaks off on its way is asked for from there.

use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::header;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::RepoName;
use skep_registry::Result;

use crate::client::Client;
use crate::client::answer::Answer;
use crate::client::blob;
use crate::client::retry::Patience;
use crate::client::retry::Verdict;
use crate::wire;

/// The bytes of a blob that an answer has, and that further answers have if it breaks off.
///
/// What a digest names does not change, so the rest may come from anywhere and at any time: with another token,
/// by another redirect. It is not verified here; the digest of the whole is, over all answers.
pub(super) fn resumed(client: &Client, repo: &RepoName, digest: &Digest, range: Range<u64>, answer: Answer) -> Body {
    let transfer = Transfer {
        client: client.clone(),
        repo: repo.clone(),
        digest: digest.clone(),
        rest: range.clone(),
        body: answer.into_body(),
        patience: Patience::new(&client.inner.retry).eager(),
    };
    let parts =
        stream::try_unfold(
            transfer,
            |mut transfer| async move { Ok(transfer.next().await?.map(|part| (part, transfer))) },
        );
    Body::new(Some(range.end - range.start), parts)
}

struct Transfer {
    client: Client,
    repo: RepoName,
    digest: Digest,
    /// The bytes that are to come.
    rest: Range<u64>,
    body: Body,
    patience: Patience,
}

impl Transfer {
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
                    let message = format!("{} broke off before {:?}", self.digest, self.rest);
                    Error::new(Code::Unavailable, message)
                }
            };
            let Some(pause) = self.patience.pause(Verdict::of_error(&error)) else {
                return Err(error.exhausted());
            };
            tracing::debug!(%error, rest = ?self.rest, ?pause, "blob broke off, asking for the rest");
            tokio::time::sleep(pause).await;
            self.body = self.rest_of().await?;
        }
    }

    /// Asks for the bytes that are to come. What fails at that counts as what broke off does.
    async fn rest_of(&mut self) -> Result<Body> {
        let (rest, span) = (self.rest.clone(), ByteRange::from(self.rest.clone()));
        // Whoever asks for no range at the first byte gets all, which `slice` cuts.
        let range = (rest.start > 0).then_some(span);
        let answer = blob::request_within(&self.client, &self.repo, &self.digest, range, &mut self.patience).await?;
        let content_range = answer.text(&header::CONTENT_RANGE);
        match (answer.status(), content_range.and_then(wire::parse_content_range)) {
            (206, Some((came, _))) if came.start == rest.start && came.end <= rest.end => Ok(answer.into_body()),
            (206, _) => Err(blob::wrong_range(&self.digest, span, content_range)),
            // The whole blob again: ranges are not for this registry.
            _ => Ok(answer.into_body().slice(rest)),
        }
    }
}
