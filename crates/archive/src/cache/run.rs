//! Runs: units that come with one request, decoded one after the other.

use std::ops::Range;

use bytes::Bytes;
use bytes::BytesMut;
use futures_util::StreamExt;
use skep_registry::Body;

use crate::archive::Archive;
use crate::decode::Decoder;
use crate::decode::Unit;
use crate::error::Error;
use crate::error::Result;

/// A request under way, and where in the data it is.
pub(super) struct Run {
    body: Body,
    decoder: Decoder,
    /// Stored bytes that came and were not taken yet.
    input: Bytes,
    /// The stored bytes that are still to be taken.
    left: Range<u64>,
}

impl Run {
    pub(super) async fn open(archive: &Archive, data: Range<u64>) -> Result<Self> {
        let body = archive.source().read(data.clone()).await?;
        Ok(Self { body, decoder: Decoder::new(archive.limits()), input: Bytes::new(), left: data })
    }

    /// Tells whether a unit is still to come.
    pub(super) fn reaches(&self, unit: &Unit) -> bool {
        self.left.start <= unit.offset && unit.data().end <= self.left.end
    }

    /// Reads and verifies a unit that is still to come; what lies before it is dropped.
    pub(super) async fn unit(&mut self, path: &str, unit: &Unit) -> Result<Bytes> {
        while self.left.start < unit.offset {
            self.fill(path, unit).await?;
            let skipped = self.input.len().min((unit.offset - self.left.start) as usize);
            let _ = self.input.split_to(skipped);
            self.left.start += skipped as u64;
        }
        // Units that are kept are small, and their size is checked as they come.
        let mut content = BytesMut::with_capacity(unit.size as usize);
        self.decoder.begin(*unit);
        while let Some(wanted) = self.decoder.wants() {
            if wanted > 0 {
                self.fill(path, unit).await?;
            }
            let before = self.input.len();
            let piece = self.decoder.step(path, &mut self.input)?;
            self.left.start += (before - self.input.len()) as u64;
            content.extend_from_slice(&piece);
        }
        Ok(content.freeze())
    }

    /// Makes sure that there is input.
    async fn fill(&mut self, path: &str, unit: &Unit) -> Result<()> {
        while self.input.is_empty() {
            let Some(part) = self.body.next().await.transpose()? else {
                let came = self.left.start.saturating_sub(unit.offset);
                return Err(Error::SizeMismatch { path: path.to_owned(), want: unit.stored, came });
            };
            self.input = part;
        }
        Ok(())
    }
}
