//! Amending: adding paths to an archive that a tag has.

use std::io;
use std::io::Read;

use bytes::Buf;
use bytes::Bytes;
use futures_util::StreamExt;
use skep_archive::Addition;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Built;
use skep_archive::CREATED;
use skep_archive::Error;
use skep_archive::Index;
use skep_archive::Progress;
use skep_archive::Result;
use skep_registry::Body;
use skep_registry::Code;
use tokio::runtime::Handle;

use super::Client;
use super::PullOptions;
use super::PushOptions;
use super::Pushed;
use super::spooled;
use crate::address::Address;
use crate::pack::on_thread;
use crate::pack::source_date_epoch;
use crate::progress::OnProgress;
use crate::progress::Phase;
use crate::progress::Step;
use crate::pulled::Pulled;

impl Client {
    /// Opens an archive as the registry has it now, past all caches; none if there is no such tag.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub async fn pull_if_there(&self, from: &Address) -> Result<Option<Pulled>> {
        match self.pull_with(from, PullOptions { skip_caches: true, ..Default::default() }).await {
            Ok(pulled) => Ok(Some(pulled)),
            // Anything else that is not there, an index for instance, means an archive that is broken.
            Err(Error::Registry(error)) if matches!(error.code(), Code::ManifestUnknown | Code::NameUnknown) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds paths to an archive, or replaces them, and moves its tag to the archive that comes of it.
    ///
    /// `before` is what the tag had when it [was read](Self::pull_if_there); none makes a new archive. What is packed and what
    /// is kept tells [`amend`](skep_archive::amend()); all that is kept is read from the registry once. The
    /// annotations of the old manifest stay, but for the time at which it was made, and those of the options come on top.
    ///
    /// The tag moves only if it still points to `before`, or is still not there: what others put under it meanwhile is not
    /// lost. A registry that decides that a tag is new does so at once with the write; that it has not moved is asked
    /// right before the write, because there is no call for both, so a push of somebody else in that moment is not noticed.
    ///
    /// # Errors
    /// As [`amend`](skep_archive::amend()) and [`push`](Self::push); `PreconditionFailed` of the registry when the tag has moved.
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn amend(
        &self,
        before: Option<&Pulled>,
        additions: Vec<Addition<'static>>,
        to: &Address,
        mut options: PushOptions,
        progress: OnProgress,
    ) -> Result<(Built, Pushed)> {
        self.remote(&to.store)?.0.writable(to)?;
        let archive = before.map(|before| (**before).clone());
        let built = build(archive, additions, spooled(&options.build, to), progress.clone()).await?;
        match before {
            Some(before) => {
                let mut annotations = before.manifest().annotations.clone();
                annotations.remove(CREATED);
                annotations.append(&mut options.annotations);
                options.annotations = annotations;
                options.expected = Some(before.digest().clone());
            }
            None => options.if_absent = true,
        }
        let pushed = self.push_built(&built, to, options, progress).await?;
        Ok((built, pushed))
    }
}

async fn build(
    archive: Option<Archive>,
    additions: Vec<Addition<'static>>,
    mut options: BuildOptions,
    progress: OnProgress,
) -> Result<Built> {
    options.epoch = options.epoch.or_else(source_date_epoch);
    let handle = Handle::current();
    on_thread(options.cancel.clone(), move || {
        let progress = |at: Progress| progress(Step { phase: Phase::Pack, done: at.bytes, total: at.bytes_total });
        match archive {
            Some(archive) => {
                let data = Download { archive: archive.clone(), handle, body: None, part: Bytes::new() };
                skep_archive::amend(archive.index(), data, additions, &options, &progress)
            }
            None => skep_archive::amend(&Index::empty(), io::empty(), additions, &options, &progress),
        }
    })
    .await
}

/// The data of an archive, asked for when the first byte is read, on a thread for work that blocks.
struct Download {
    archive: Archive,
    handle: Handle,
    body: Option<Body>,
    part: Bytes,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            let body = match &mut self.body {
                Some(body) => body,
                None => {
                    let source = self.archive.source();
                    self.body.insert(self.handle.block_on(source.read(0..source.size()))?)
                }
            };
            match self.handle.block_on(body.next()) {
                Some(part) => self.part = part.map_err(Error::from)?,
                None => return Ok(0),
            }
        }
        let len = self.part.len().min(buffer.len());
        self.part.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}
