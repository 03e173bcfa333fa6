//! Uploads into a layout: sessions that survive the process and may go on in another.
//!
//! A session is a file of its bytes and, beside it, the state of their hash. The state says how many bytes
//! are acknowledged: it is written when they are durable, so what lies behind them counts for nothing.

use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io::ErrorKind;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::body::Body;
use crate::descriptor::Descriptor;
use crate::descriptor::OCTET_STREAM;
use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::digest::Hasher;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::blob::expect;
use crate::layout::dir::Dir;
use crate::layout::dir::is_at;
use crate::layout::dir::make_dirs;
use crate::layout::dir::options;
use crate::layout::dir::remove;
use crate::layout::dir::sync_dir;
use crate::layout::stream::OpenFile;
use crate::layout::stream::Spooled;
use crate::layout::stream::blocking;
use crate::layout::stream::spool;
use crate::layout::temp::keep;
use crate::layout::temp::random_id;
use crate::registry::Upload;

/// A handle on a session. There may be several, in several processes.
#[derive(Debug)]
pub(super) struct LayoutUpload {
    session: Session,
    offset: u64,
}

#[derive(Clone, Debug)]
struct Session {
    dir: Dir,
    id: String,
    /// Of the first hash; later the state says it.
    algorithm: Algorithm,
}

impl LayoutUpload {
    pub(super) fn begin(dir: &Dir, algorithm: Algorithm) -> Result<Self> {
        let session = Session { dir: dir.clone(), id: random_id()?, algorithm };
        let uploads = dir.uploads_path();
        make_dirs(&uploads)?;
        let path = session.path();
        let created = options().write(true).create_new(true).open(&path);
        created.map_err(|error| Error::io(format_args!("create {}", path.display()), error))?;
        sync_dir(&uploads)?;
        Ok(Self { session, offset: 0 })
    }

    pub(super) fn resume(dir: &Dir, id: String, algorithm: Algorithm) -> Result<Self> {
        let session = Session { dir: dir.clone(), id, algorithm };
        // The id becomes a file name.
        let is_id = session.id.len() == 32 && session.id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id || !session.path().symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(session.unknown());
        }
        // An append whose connection broke may be at its last write, and then the session will stand behind it.
        if let Ok(file) = options().read(true).write(true).open(session.path()) {
            let _ = session.lock(&file, MOMENT);
        }
        let offset = session.hasher()?.len();
        Ok(Self { session, offset })
    }
}

#[async_trait]
impl Upload for LayoutUpload {
    fn id(&self) -> &str {
        &self.session.id
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn min_chunk(&self) -> u64 {
        0
    }

    async fn append(&mut self, mut body: Body) -> Result<()> {
        let session = self.session.clone();
        let (file, mut hasher) = blocking(move || session.open()).await?;
        if hasher.len() != self.offset {
            let (id, at) = (&self.session.id, hasher.len());
            let message = format!("upload {id} stands at {at} bytes, not at {}", self.offset);
            return Err(Error::new(Code::RangeInvalid, message));
        }
        loop {
            let (after, spooled) = spool(&file, hasher, &mut body, CHECKPOINT).await?;
            hasher = after;
            if hasher.len() > self.offset {
                let (session, file) = (self.session.clone(), file.clone());
                hasher = blocking(move || session.acknowledge(&file, &hasher).map(|()| hasher)).await?;
                self.offset = hasher.len();
            }
            match spooled {
                // What came before is kept: links break, and who comes back asks where the upload stands.
                Spooled::Broke(error) => return Err(error),
                Spooled::Ended => return Ok(()),
                Spooled::Paused => {}
            }
        }
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<Descriptor> {
        let digest = digest.clone();
        blocking(move || self.session.commit(digest)).await
    }

    async fn cancel(self: Box<Self>) -> Result<()> {
        blocking(move || {
            let _open = self.session.open()?;
            self.session.remove()
        })
        .await
    }
}

impl Session {
    fn path(&self) -> PathBuf {
        self.dir.uploads_path().join(&self.id)
    }

    fn state_path(&self) -> PathBuf {
        self.dir.uploads_path().join(format!("{}{STATE}", self.id))
    }

    /// The hash of all bytes that are acknowledged.
    fn hasher(&self) -> Result<Hasher> {
        let path = self.state_path();
        match fs::read(&path) {
            Ok(state) => Hasher::import(&state).map_err(|error| error.context(path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Hasher::new(self.algorithm)),
            Err(error) => Err(Error::io(format_args!("read {}", path.display()), error)),
        }
    }

    /// Opens the session at the end of its bytes. Nobody else writes to it as long as the file is open.
    fn open(&self) -> Result<(Arc<OpenFile>, Hasher)> {
        let path = self.path();
        let failed = |error| Error::io(format_args!("open {}", path.display()), error);
        let mut file = match options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.unknown()),
            opened => opened.map_err(failed)?,
        };
        self.lock(&file, PATIENCE)?;
        // Whoever had the lock may have committed: then these are the bytes of a blob.
        if !is_at(&file, &path) {
            return Err(self.unknown());
        }
        let hasher = self.hasher()?;
        let len = file.metadata().map_err(failed)?.len();
        if len < hasher.len() {
            let message = format!("{}: expected {} bytes or more, got {len}", path.display(), hasher.len());
            return Err(Error::new(Code::Unknown, message));
        }
        // Cuts off what an append left that did not come to its end.
        file.set_len(hasher.len()).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        Ok((Arc::new(OpenFile { path, file }), hasher))
    }

    fn lock(&self, file: &File, patience: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                // An append that was dropped is at its last write; one that is not will be at it for long.
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(Code::Unavailable, format!("upload {} is being written to", self.id)));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io(format_args!("lock {}", self.path().display()), error));
                }
            }
        }
    }

    fn acknowledge(&self, file: &OpenFile, hasher: &Hasher) -> Result<()> {
        file.file.sync_data().map_err(|error| file.write_failed(error))?;
        self.dir.write(&self.state_path(), &hasher.export())
    }

    fn commit(&self, digest: Digest) -> Result<Descriptor> {
        let (file, hasher) = self.open()?;
        let size = hasher.len();
        let got = if hasher.algorithm() == digest.algorithm() {
            hasher.finish()
        } else {
            // By another function than the one that was announced.
            file.hash(digest.algorithm(), size)?
        };
        if let Err(error) = expect(&digest, &got) {
            self.remove()?;
            return Err(error);
        }
        self.dir.ensure()?;
        // The last append may be long ago, and a collection goes by the time.
        let touched = file.file.set_modified(SystemTime::now());
        touched.map_err(|error| file.write_failed(error))?;
        keep(&file, &self.dir.blob_path(&digest))?;
        remove(&self.state_path())?;
        Ok(Descriptor::new(OCTET_STREAM, digest, size))
    }

    fn remove(&self) -> Result<()> {
        remove(&self.path())?;
        remove(&self.state_path())?;
        Ok(())
    }

    fn unknown(&self) -> Error {
        Error::new(Code::BlobUploadUnknown, format!("{:?}", self.id))
    }
}

/// How the name of the file ends that has the state of a session.
pub(super) const STATE: &str = ".state";

/// Bytes after which an append acknowledges what it has, so that a long one need not start over.
const CHECKPOINT: u64 = 64 << 20;

/// How long to wait for another handle on the same session.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for an append to end before saying where it began.
const MOMENT: Duration = Duration::from_secs(1);
/// How often a lock that another has is tried.
const LOCK_POLL: Duration = Duration::from_millis(5);
