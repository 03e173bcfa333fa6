//! What the tests of transfers share: a registry with faults, which counts what passes, and content.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use skep_registry::Blob;
use skep_registry::Body;
use skep_registry::ByteRange;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Listing;
use skep_registry::Memory;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::ReferrerQuery;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Upload;
use skep_registry::UploadOptions;
use skep_registry::transfer::Place;
use tokio::sync::watch;

pub(crate) const MIB: u64 = 1 << 20;

/// Bytes of which no 4 KiB are the same as others.
pub(crate) fn noise(len: u64) -> Bytes {
    let mut random = Random::new(len);
    let page: Vec<u8> = (0..512).flat_map(|_| random.next().to_le_bytes()).collect();
    let mut bytes = Vec::with_capacity(len as usize + page.len());
    for at in 0..len.div_ceil(4096) {
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&page[8..]);
    }
    bytes.truncate(len as usize);
    bytes.into()
}

pub(crate) fn describe(bytes: &Bytes) -> Descriptor {
    Descriptor::of(OCTET_STREAM, bytes)
}

/// A source of uploads that has its bytes in memory.
pub(crate) fn source(bytes: &Bytes) -> impl Fn(Range<u64>) -> Body + Send + Sync + use<> {
    let bytes = bytes.clone();
    move |range| {
        let part = bytes.slice(range.start as usize..range.end as usize);
        let pieces: Vec<_> = part.chunks(PIECE).map(|piece| Ok(part.slice_ref(piece))).collect();
        Body::new(Some(part.len() as u64), stream::iter(pieces))
    }
}

/// A place in a registry in memory with faults, and a blob in it.
pub(crate) async fn with_blob(len: u64, faults: Faults) -> (Arc<Faulty>, Place, Bytes, Descriptor) {
    let bytes = noise(len);
    let memory = Memory::default();
    memory.write_blob(&repo("a/b"), bytes.clone()).await.unwrap();
    let faulty = Faulty::new(memory, faults);
    let blob = describe(&bytes);
    (faulty.clone(), Place::new(faulty, repo("a/b")), bytes, blob)
}

pub(crate) fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Bodies break off after so many bytes, by chance.
    pub(crate) cut: Option<Range<u64>>,
    /// Bytes that were on their way when a body broke off.
    pub(crate) lost: u64,
    /// Answers to requests for a range have the whole blob.
    pub(crate) ignore_ranges: bool,
    /// Requests for a range are answered by this.
    pub(crate) refuse_ranges: Option<Code>,
    /// Every so manieth request is answered by 429.
    pub(crate) throttle: Option<usize>,
    /// No request is answered.
    pub(crate) down: bool,
    /// The first byte of a blob is another one.
    pub(crate) corrupt: bool,
    /// The first bytes of a blob come slowly: a piece in this time.
    pub(crate) slow_start: Duration,
    /// Larger chunks are refused.
    pub(crate) max_chunk: Option<u64>,
    /// What uploads say about it.
    pub(crate) min_chunk: u64,
    /// A chunk that breaks off is forgotten.
    pub(crate) keep_nothing: bool,
    /// Sessions cannot be taken up.
    pub(crate) forget_sessions: bool,
    /// Sessions that are taken up have half of what they had.
    pub(crate) go_backwards: bool,
    pub(crate) commit: Commit,
    /// Each manifest is listed as a referrer of itself.
    pub(crate) list_as_referrer: bool,
    /// No mounts: with or without a session in their place.
    pub(crate) mount: Mounting,
}

/// What comes of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Commit {
    #[default]
    Right,
    /// All is well, says the registry, and has no blob.
    Hollow,
    /// The registry finds another digest.
    Invalid,
    /// The blob is stored, the answer is lost.
    Lost,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mounting {
    #[default]
    Works,
    Unsupported,
    Upload,
}

/// A registry with faults.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Memory,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    faults: Faults,
    random: Mutex<Random>,
    requests: Mutex<Vec<&'static str>>,
    moved: watch::Sender<u64>,
    cuts: AtomicU64,
    alive: AtomicU64,
    peak: AtomicU64,
    largest_chunk: AtomicU64,
}

impl Faulty {
    pub(crate) fn new(inner: Memory, faults: Faults) -> Arc<Self> {
        let shared = Shared {
            faults,
            random: Mutex::new(Random::new(7)),
            requests: Mutex::default(),
            moved: watch::Sender::new(0),
            cuts: AtomicU64::new(0),
            alive: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            largest_chunk: AtomicU64::new(0),
        };
        Arc::new(Self { inner, shared: Arc::new(shared) })
    }

    /// The registry below.
    pub(crate) fn inner(&self) -> &Memory {
        &self.inner
    }

    /// The calls that came since this was asked last.
    pub(crate) fn requests(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// How many calls of a name came since the calls were asked for.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|request| **request == name).count()
    }

    /// Bytes of bodies that passed, in either direction.
    pub(crate) fn moved(&self) -> u64 {
        *self.shared.moved.borrow()
    }

    /// Waits until so many bytes have passed.
    pub(crate) async fn until_moved(&self, bytes: u64) {
        self.shared.moved.subscribe().wait_for(|moved| *moved >= bytes).await.unwrap();
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    /// The most bytes of downloaded bodies that were in memory at once.
    pub(crate) fn peak(&self) -> u64 {
        self.shared.peak.load(Ordering::Relaxed)
    }

    pub(crate) fn largest_chunk(&self) -> u64 {
        self.shared.largest_chunk.load(Ordering::Relaxed)
    }

    async fn came(&self, name: &'static str) -> Result<()> {
        let shared = &self.shared;
        let mut requests = shared.requests.lock().unwrap();
        requests.push(name);
        if shared.faults.down {
            return Err(Error::new(Code::Unavailable, "down"));
        }
        match shared.faults.throttle {
            Some(every) if requests.len().is_multiple_of(every) => Err(Error::new(Code::TooManyRequests, "later")),
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// After how many bytes the next body breaks off.
    fn cut(&self) -> u64 {
        let Some(cut) = &self.faults.cut else { return u64::MAX };
        cut.start + self.random.lock().unwrap().next() % (cut.end - cut.start)
    }

    fn move_on(&self, len: u64) {
        self.moved.send_modify(|moved| *moved += len);
    }

    fn broke(&self) -> Error {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        self.move_on(self.faults.lost);
        Error::new(Code::Unavailable, "the line was cut")
    }
}

/// Bytes that are counted as long as they are in memory.
struct Tracked {
    bytes: Bytes,
    shared: Arc<Shared>,
}

impl Tracked {
    fn bytes(bytes: Bytes, shared: &Arc<Shared>) -> Bytes {
        let len = bytes.len() as u64;
        let alive = shared.alive.fetch_add(len, Ordering::Relaxed) + len;
        shared.peak.fetch_max(alive, Ordering::Relaxed);
        Bytes::from_owner(Self { bytes, shared: shared.clone() })
    }
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.shared.alive.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

#[async_trait]
impl Registry for Faulty {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        self.came("get_blob").await?;
        let faults = &self.shared.faults;
        if range.is_some()
            && let Some(code) = &faults.refuse_ranges
        {
            return Err(code.clone().into());
        }
        let blob = self.inner.get_blob(repo, digest, range.filter(|_| !faults.ignore_ranges)).await?;
        let start = blob.range.start;
        let mut bytes = blob.body.bytes(u64::MAX).await?;
        if faults.corrupt && start == 0 {
            bytes = Bytes::from_iter(bytes.iter().enumerate().map(|(at, byte)| if at == 0 { !byte } else { *byte }));
        }
        let len = bytes.len() as u64;
        let state = (bytes, self.shared.cut(), self.shared.clone());
        let pieces = stream::try_unfold(state, move |(mut bytes, cut, shared)| async move {
            if bytes.is_empty() {
                return Ok(None);
            }
            if cut == 0 {
                return Err(shared.broke());
            }
            if start == 0 {
                tokio::time::sleep(shared.faults.slow_start).await;
            }
            let piece = bytes.split_to(bytes.len().min(PIECE).min(cut as usize));
            let cut = cut - piece.len() as u64;
            shared.move_on(piece.len() as u64);
            Ok(Some((Tracked::bytes(piece, &shared), (bytes, cut, shared))))
        });
        Ok(Blob { descriptor: blob.descriptor, range: blob.range, body: Body::new(Some(len), pieces) })
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        self.came("put_blob").await?;
        let shared = self.shared.clone();
        let body = body.inspect(move |len| shared.move_on(len as u64));
        self.inner.put_blob(repo, descriptor, body).await
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        self.came("upload_blob").await?;
        let resumes = options.resume.is_some();
        if resumes && self.shared.faults.forget_sessions {
            return Err(Error::new(Code::BlobUploadUnknown, "forgotten"));
        }
        let mut upload = self.upload(self.inner.upload_blob(repo, options).await?);
        if resumes && self.shared.faults.go_backwards {
            upload.missing = upload.inner.offset().div_ceil(2);
        }
        Ok(Box::new(upload))
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        self.came("mount_blob").await?;
        match self.shared.faults.mount {
            Mounting::Works => self.inner.mount_blob(repo, digest, from).await,
            Mounting::Unsupported => Err(Code::Unsupported.into()),
            Mounting::Upload => {
                let upload = self.inner.upload_blob(repo, UploadOptions::default()).await?;
                Ok(Mount::Upload(Box::new(self.upload(upload))))
            }
        }
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        self.came("list_referrers").await?;
        if self.shared.faults.list_as_referrer {
            let reference = subject.clone().into();
            return Ok(Listing::complete(vec![self.inner.head_manifest(repo, &reference).await?]));
        }
        self.inner.list_referrers(repo, subject, query).await
    }

    skep_registry::forward_registry!(self => self.inner, after came; head_blob, locate_blob, get_manifest,
        head_manifest, put_manifest, delete_blob, delete_manifest, list_tags, list_repos);
}

impl Faulty {
    fn upload(&self, inner: Box<dyn Upload>) -> FaultyUpload {
        FaultyUpload { inner, missing: 0, shared: self.shared.clone() }
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn Upload>,
    missing: u64,
    shared: Arc<Shared>,
}

#[async_trait]
impl Upload for FaultyUpload {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn offset(&self) -> u64 {
        self.inner.offset() - self.missing
    }

    fn min_chunk(&self) -> u64 {
        self.shared.faults.min_chunk
    }

    async fn append(&mut self, mut body: Body) -> Result<()> {
        self.shared.requests.lock().unwrap().push("append");
        let faults = &self.shared.faults;
        let len = body.len().unwrap();
        if faults.max_chunk.is_some_and(|max| len > max) {
            return Err(Error::new(Code::SizeInvalid, format!("{len} bytes are too many")));
        }
        self.shared.largest_chunk.fetch_max(len, Ordering::Relaxed);
        let cut = self.shared.cut();
        let mut came = Vec::new();
        while let Some(piece) = body.next().await.transpose()? {
            self.shared.move_on(piece.len() as u64);
            came.extend_from_slice(&piece);
            if came.len() as u64 >= cut {
                let error = self.shared.broke();
                if !faults.keep_nothing {
                    self.inner.append(Bytes::from(came).into()).await?;
                }
                return Err(error);
            }
            tokio::task::yield_now().await;
        }
        self.inner.append(Bytes::from(came).into()).await
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor> {
        self.shared.requests.lock().unwrap().push("commit");
        let size = self.offset();
        match self.shared.faults.commit {
            Commit::Right => self.inner.commit(digest).await,
            Commit::Hollow => Ok(Descriptor::new(OCTET_STREAM, digest.clone(), size)),
            Commit::Invalid => Err(Error::new(Code::DigestInvalid, "other bytes")),
            Commit::Lost => {
                self.inner.commit(digest).await?;
                Err(Error::new(Code::Unavailable, "the answer was lost"))
            }
        }
    }

    async fn cancel(self: Box<Self>) -> Result<()> {
        self.shared.requests.lock().unwrap().push("cancel");
        self.inner.cancel().await
    }
}

/// Numbers without an order.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// xorshift64*.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Bytes that a body yields at once.
const PIECE: usize = 64 << 10;
