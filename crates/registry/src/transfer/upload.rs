//! Uploads: one blob, in chunks as large as the registry takes, gone on with where it broke.

use std::fmt;
use std::io::Seek;
use std::io::SeekFrom;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream;
use serde::Deserialize;
use serde::Serialize;

use crate::body::Body;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::dir::options;
use crate::layout::dir::remove;
use crate::layout::stream::OpenFile;
use crate::layout::stream::blocking;
use crate::layout::stream::file_body;
use crate::registry::Upload;
use crate::registry::UploadOptions;
use crate::transfer::Place;
use crate::transfer::Progress;
use crate::transfer::journal;
use crate::transfer::retry::Patience;
use crate::transfer::retry::find;
use crate::transfer::retry::retry;

/// How to upload a blob.
#[derive(Clone)]
pub struct UploadSettings {
    /// Bytes of the largest blob that is sent in one go; larger ones are sent in chunks.
    pub single: u64,
    /// Bytes of the largest chunk. How large they are, up to that, is found out: the first is of 4 MiB, they
    /// double as long as the registry takes them, and halve when it refuses one or the link breaks.
    pub max_chunk: u64,
    /// Requests that bring nothing, one after the other, before the upload is given up.
    pub attempts: u32,
    /// A file that says where the upload stands, for another process to go on with it. It is removed at the end;
    /// where it cannot be written, the upload goes on without.
    pub journal: Option<PathBuf>,
    /// Called with the number of bytes of each part that is sent.
    pub sent: Option<Progress>,
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self { single: 8 << 20, max_chunk: 64 << 20, attempts: 6, journal: None, sent: None }
    }
}

impl fmt::Debug for UploadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadSettings")
            .field("single", &self.single)
            .field("max_chunk", &self.max_chunk)
            .field("attempts", &self.attempts)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

/// What came of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// Bytes that were sent, those that had to be sent again counted again.
    pub sent: u64,
    /// The blob was there already, so nothing was sent.
    pub existed: bool,
}

/// Stores a blob, whose bytes a source gives as often as they are asked for.
///
/// `source` makes a body of a range of the blob, of exactly that length; [`file_source`] is one. A blob that
/// is there is not sent. One of more than [`UploadSettings::single`] bytes is sent in chunks; after a break
/// the session is taken up where the registry says that it stands. A registry that loses sessions, forgets
/// what it acknowledged or makes another blob of the chunks gets the blob in one go.
///
/// # Errors
/// Those of [`Registry::put_blob`](crate::Registry::put_blob) and of [`Upload`] that last; `DigestInvalid`
/// when the source has other bytes; those that the source yields.
///
/// # Cancel safety
/// When the future is dropped, a session that a journal names can be gone on with.
pub async fn upload(
    to: &Place,
    blob: &Descriptor,
    source: impl Fn(Range<u64>) -> Body + Send + Sync,
    settings: &UploadSettings,
) -> Result<Uploaded> {
    let sender = Sender::new(to, blob, &source, settings);
    if sender.is_there().await? {
        sender.forget().await?;
        return Ok(Uploaded { sent: 0, existed: true });
    }
    sender.send(None).await
}

/// A source of the bytes of a file.
pub fn file_source(path: impl Into<PathBuf>) -> impl Fn(Range<u64>) -> Body + Send + Sync + 'static {
    let path = path.into();
    move |range| {
        let (path, len) = (path.clone(), range.end - range.start);
        let opened = async move {
            let first = blocking(move || {
                let failed = |error| Error::io(format_args!("read {}", path.display()), error);
                let mut file = options().read(true).open(&path).map_err(failed)?;
                file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
                let file = OpenFile { path: path.clone(), file };
                let first = file.read_part(len)?;
                Ok((file, first))
            });
            let (file, first) = first.await?;
            let left = len - first.len() as u64;
            Ok::<_, Error>(file_body(file, first, left))
        };
        Body::new(Some(len), stream::once(opened).try_flatten()).exactly(len)
    }
}

/// Gives a body of a range of a blob, any number of times.
pub(super) type Source<'a> = &'a (dyn Fn(Range<u64>) -> Body + Send + Sync);

/// One blob on its way to a registry.
pub(super) struct Sender<'a> {
    to: &'a Place,
    blob: &'a Descriptor,
    source: Source<'a>,
    settings: &'a UploadSettings,
    sent: Arc<AtomicU64>,
    /// The source yielded an error: then the registry is not to blame.
    source_failed: Arc<AtomicBool>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    repo: String,
    digest: Digest,
    size: u64,
    /// [`Upload::id`].
    id: String,
}

/// How sending in chunks ended.
enum Chunked {
    Stored,
    /// The registry cannot do it.
    Broken(Error),
}

impl<'a> Sender<'a> {
    pub(super) fn new(to: &'a Place, blob: &'a Descriptor, source: Source<'a>, settings: &'a UploadSettings) -> Self {
        Self { to, blob, source, settings, sent: Arc::default(), source_failed: Arc::default() }
    }

    /// Tells whether the registry has the blob, of the right size.
    pub(super) async fn is_there(&self) -> Result<bool> {
        let head = || self.to.registry.head_blob(&self.to.repo, &self.blob.digest);
        let found = find(self.settings.attempts, head).await?;
        Ok(found.is_some_and(|found| found.size == self.blob.size))
    }

    /// Sends a blob that is not there, in a session if the registry began one.
    pub(super) async fn send(&self, session: Option<Box<dyn Upload>>) -> Result<Uploaded> {
        let is_small = self.blob.size <= self.settings.single;
        if !is_small || session.is_some() {
            self.send_chunks_or_all(session).await?;
        } else if let Err(error) = self.send_all().await {
            // It may be too large for one request, and not for several.
            if !is_refusal(&error) || self.blob.size <= MIN_CHUNK || self.source_failed.load(Ordering::Relaxed) {
                return Err(error);
            }
            if let Chunked::Broken(_) = self.send_chunks(None).await? {
                return Err(error);
            }
        }
        self.forget().await?;
        Ok(Uploaded { sent: self.sent.load(Ordering::Relaxed), existed: false })
    }

    async fn send_chunks_or_all(&self, session: Option<Box<dyn Upload>>) -> Result<()> {
        match self.send_chunks(session).await? {
            Chunked::Stored => Ok(()),
            Chunked::Broken(error) => {
                tracing::debug!(%error, digest = %self.blob.digest, "chunks are broken, sending the blob in one go");
                self.send_all().await
            }
        }
    }

    async fn send_all(&self) -> Result<()> {
        let mut patience = Patience::new(self.settings.attempts);
        loop {
            let body = self.body(0..self.blob.size);
            let before = self.sent.load(Ordering::Relaxed);
            match self.to.registry.put_blob(&self.to.repo, self.blob, body).await {
                Err(error) if !error.is_transient() => return Err(error),
                Err(error) => {
                    // The answer may have been lost, not the blob.
                    if *error.code() != Code::TooManyRequests && self.is_there().await? {
                        return Ok(());
                    }
                    tokio::time::sleep(patience.after(error)?).await;
                }
                Ok(()) => {
                    // A registry that took the file did not read the body.
                    if self.sent.load(Ordering::Relaxed) == before {
                        self.count(self.blob.size);
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn send_chunks(&self, session: Option<Box<dyn Upload>>) -> Result<Chunked> {
        let mut session = match session {
            Some(session) => session,
            None => self.begin().await?,
        };
        // What would be sent in one go is one chunk, too: a session that came of a mount is good for that.
        let first = if self.blob.size <= self.settings.single { self.blob.size } else { FIRST_CHUNK };
        let mut chunk = Chunk::new(first, self.settings.max_chunk);
        let mut patience = Patience::new(self.settings.attempts);
        while session.offset() < self.blob.size {
            let at = session.offset();
            let end = self.blob.size.min(at.saturating_add(chunk.len(session.min_chunk())));
            let appended = session.append(self.body(at..end)).await;
            if appended.is_ok() && session.offset() == end {
                patience.progress();
                chunk.was_taken(end - at);
                self.note(session.id()).await;
                continue;
            }
            let error = appended.err().unwrap_or_else(|| self.strange_offset(at..end, session.offset()));
            let source_failed = self.source_failed.load(Ordering::Relaxed);
            let is_refused = is_refusal(&error) && !source_failed;
            if !is_refused && !error.is_transient() && !is_lost(&error) {
                let knows_no_chunks = is_unknown_way(&error) && !source_failed;
                let error = self.give_up(session, error).await;
                return if knows_no_chunks { Ok(Chunked::Broken(error)) } else { Err(error) };
            }
            // Only the registry knows what it has now.
            let id = session.id().to_owned();
            drop(session);
            session = match self.resume(&id).await? {
                Some(session) => session,
                None => return Ok(Chunked::Broken(error)),
            };
            let now = session.offset();
            if now < at || now > end {
                let error = self.strange_offset(at..end, now);
                return Ok(Chunked::Broken(self.give_up(session, error).await));
            }
            if now > at {
                patience.progress();
                self.note(session.id()).await;
            } else if is_refused {
                if !chunk.was_refused(end - at, session.min_chunk()) {
                    return Ok(Chunked::Broken(self.give_up(session, error).await));
                }
                continue;
            } else {
                chunk.was_lost(end - at);
            }
            tokio::time::sleep(patience.after(error)?).await;
        }
        self.commit(session).await
    }

    async fn commit(&self, mut session: Box<dyn Upload>) -> Result<Chunked> {
        let mut patience = Patience::new(self.settings.attempts);
        loop {
            let id = session.id().to_owned();
            let size = session.offset();
            if size > self.blob.size {
                let error = self.strange_offset(self.blob.size..self.blob.size, size);
                return Ok(Chunked::Broken(self.give_up(session, error).await));
            }
            let committed = session.commit(&self.blob.digest).await;
            // Registries are known that keep only the last chunk and say that all is well (wasmCloud#3405), and
            // an answer that is lost says nothing at all.
            if self.is_there().await? {
                return Ok(Chunked::Stored);
            }
            let Err(error) = committed else {
                let message = format!("{} is not there after it was stored", self.blob.digest);
                return Ok(Chunked::Broken(Error::new(Code::BlobUnknown, message)));
            };
            match error.code() {
                Code::DigestInvalid | Code::SizeInvalid => {
                    self.check_source().await?;
                    return Ok(Chunked::Broken(error));
                }
                Code::BlobUploadInvalid | Code::BlobUploadUnknown | Code::RangeInvalid => {
                    return Ok(Chunked::Broken(error));
                }
                _ if !error.is_transient() => return Err(error),
                _ => tokio::time::sleep(patience.after(error)?).await,
            }
            if self.is_there().await? {
                return Ok(Chunked::Stored);
            }
            session = match self.resume(&id).await? {
                Some(session) if session.offset() == self.blob.size => session,
                _ => return Ok(Chunked::Broken(Error::new(Code::BlobUploadUnknown, format!("{id:?}")))),
            };
        }
    }

    /// The session of the journal, or a new one.
    async fn begin(&self) -> Result<Box<dyn Upload>> {
        if let Some(id) = self.recall().await?
            && let Some(session) = self.resume(&id).await?
        {
            if session.offset() <= self.blob.size {
                return Ok(session);
            }
            self.cancel(session).await;
        }
        let begin = || {
            let options = UploadOptions { resume: None, algorithm: self.blob.digest.algorithm() };
            self.to.registry.upload_blob(&self.to.repo, options)
        };
        let session = retry(self.settings.attempts, begin).await?;
        self.note(session.id()).await;
        Ok(session)
    }

    /// Takes a session up; none if the registry does not have it, or cannot say where it stands.
    async fn resume(&self, id: &str) -> Result<Option<Box<dyn Upload>>> {
        let resume = || {
            let options = UploadOptions { resume: Some(id.to_owned()), algorithm: self.blob.digest.algorithm() };
            self.to.registry.upload_blob(&self.to.repo, options)
        };
        match find(self.settings.attempts, resume).await {
            Err(error) if *error.code() == Code::Unsupported => Ok(None),
            found => found,
        }
    }

    /// A body of a range, watched.
    fn body(&self, range: Range<u64>) -> Body {
        let (sent, progress) = (self.sent.clone(), self.settings.sent.clone());
        let failed = self.source_failed.clone();
        failed.store(false, Ordering::Relaxed);
        let len = range.end - range.start;
        let body = (self.source)(range);
        let file = body.file().cloned();
        let bytes = StreamExt::inspect(body.exactly(len), move |part| match part {
            Ok(part) => count(&sent, progress.as_ref(), part.len() as u64),
            Err(_) => failed.store(true, Ordering::Relaxed),
        });
        let body = Body::new(Some(len), bytes);
        match file {
            Some(file) => body.with_file(file),
            None => body,
        }
    }

    fn count(&self, len: u64) {
        count(&self.sent, self.settings.sent.as_ref(), len);
    }

    /// Reads the source once to see whether it has the right bytes.
    async fn check_source(&self) -> Result<()> {
        let bytes = (self.source)(0..self.blob.size).verify(&self.blob.digest, Some(self.blob.size));
        bytes.try_for_each(|_| std::future::ready(Ok(()))).await
    }

    fn strange_offset(&self, sent: Range<u64>, now: u64) -> Error {
        let message = format!("{}: bytes {sent:?} were sent, the registry stands at {now}", self.blob.digest);
        Error::new(Code::RangeInvalid, message)
    }

    /// Frees what a session holds, unless it is to be gone on with later.
    async fn give_up(&self, session: Box<dyn Upload>, error: Error) -> Error {
        if self.settings.journal.is_none() {
            self.cancel(session).await;
        }
        error
    }

    pub(super) async fn cancel(&self, session: Box<dyn Upload>) {
        if let Err(error) = session.cancel().await {
            tracing::debug!(%error, "upload not cancelled");
        }
    }

    async fn recall(&self) -> Result<Option<String>> {
        let Some(path) = self.settings.journal.clone() else { return Ok(None) };
        let record: Option<Record> = blocking(move || journal::read(&path)).await?;
        let is_ours = |record: &Record| {
            record.repo == self.to.repo.as_str() && record.digest == self.blob.digest && record.size == self.blob.size
        };
        Ok(record.filter(is_ours).map(|record| record.id))
    }

    /// Writes the journal; one that cannot be written costs another process its start, not this one its upload.
    async fn note(&self, id: &str) {
        let Some(path) = self.settings.journal.clone() else { return };
        let record = Record {
            repo: self.to.repo.to_string(),
            digest: self.blob.digest.clone(),
            size: self.blob.size,
            id: id.to_owned(),
        };
        if let Err(error) = blocking(move || journal::write(&path, &record)).await {
            tracing::warn!(%error, "no journal of an upload");
        }
    }

    async fn forget(&self) -> Result<()> {
        let Some(path) = self.settings.journal.clone() else { return Ok(()) };
        blocking(move || remove(&path).map(|_| ())).await
    }
}

fn count(sent: &AtomicU64, progress: Option<&Progress>, len: u64) {
    sent.fetch_add(len, Ordering::Relaxed);
    if let Some(progress) = progress {
        progress(len);
    }
}

/// How large chunks are.
struct Chunk {
    len: u64,
    /// What the registry surely does not refuse, or the most that is allowed.
    most: u64,
    /// Chunks that must be taken before they grow.
    calm: u32,
    /// How many it will be after the next loss.
    caution: u32,
}

impl Chunk {
    fn new(first: u64, most: u64) -> Self {
        let most = most.max(MIN_CHUNK);
        Self { len: first.clamp(MIN_CHUNK, most), most, calm: 0, caution: 1 }
    }

    fn len(&self, min: u64) -> u64 {
        self.len.max(min)
    }

    fn was_taken(&mut self, len: u64) {
        // Not the last one, which may be of any length.
        if len >= self.len && self.calm == 0 {
            self.len = (self.len * 2).min(self.most);
        }
        self.calm = self.calm.saturating_sub(1);
    }

    /// Makes chunks smaller for good; tells whether they can be.
    fn was_refused(&mut self, len: u64, min: u64) -> bool {
        if len <= MIN_CHUNK.max(min) {
            return false;
        }
        self.most = (len / 2).max(MIN_CHUNK).max(min);
        self.len = self.len.min(self.most);
        true
    }

    /// Makes chunks smaller for a while. Some servers close the connection on a request that they find too
    /// large, which looks like a loss: so the while is twice as long each time.
    fn was_lost(&mut self, len: u64) {
        self.len = (len / 2).clamp(MIN_CHUNK, self.most);
        self.calm = self.caution;
        self.caution = self.caution.saturating_mul(2);
    }
}

/// Tells whether the registry does not take a request of this size, or at this place.
///
/// Registries answer 413, and 416 to chunks above their limit, with codes of their own
/// (oras-project/rust-oci-client#35).
fn is_refusal(error: &Error) -> bool {
    matches!(error.code(), Code::BlobUploadInvalid | Code::RangeInvalid | Code::SizeInvalid)
        || matches!(error.status(), 413 | 416)
}

/// Tells whether the registry takes no chunks at all, whatever it calls that, and whoever sends them.
///
/// Google's registries take blobs in one piece only (dotnet/sdk-container-builds#287).
fn is_unknown_way(error: &Error) -> bool {
    matches!(error.status(), 400 | 404..=428 | 431..=499 | 501)
}

fn is_lost(error: &Error) -> bool {
    matches!(error.code(), Code::BlobUploadUnknown)
}

/// The first chunk, in bytes: what every registry is known to take.
const FIRST_CHUNK: u64 = 4 << 20;
/// The smallest chunk that is tried, in bytes, unless the registry wants larger ones.
const MIN_CHUNK: u64 = 64 << 10;
