//! Blobs of a layout: reading and storing them.

use std::io::Seek;
use std::io::SeekFrom;

use crate::body::Body;
use crate::body::ByteRange;
use crate::descriptor::Descriptor;
use crate::descriptor::OCTET_STREAM;
use crate::digest::Digest;
use crate::digest::Hasher;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::Repo;
use crate::layout::stream::Spooled;
use crate::layout::stream::blocking;
use crate::layout::stream::file_body;
use crate::layout::stream::spool;
use crate::layout::temp::Temp;
use crate::registry::Blob;

impl Repo {
    pub(super) async fn get_blob(self, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        let wanted = digest.clone();
        let is_part = range.is_some();
        // The first part comes along: for a small blob, or a small range, that is all of it.
        let (file, size, range, first) = blocking(move || {
            let (mut file, size) = self.dir.open_blob(&wanted)?.ok_or_else(|| self.blob_unknown(&wanted))?;
            let range = range.map_or(Ok(0..size), |range| range.of(size))?;
            let sought = file.file.seek(SeekFrom::Start(range.start));
            sought.map_err(|error| Error::io(format_args!("read {}", file.path.display()), error))?;
            let first = file.read_part(range.end - range.start)?;
            Ok((file, size, range, first))
        })
        .await?;
        let len = range.end - range.start;
        let body = file_body(file, first.clone(), len - first.len() as u64);
        let body = if is_part { body.exactly(len) } else { body.verify(digest, Some(size)) };
        Ok(Blob { descriptor: Descriptor::new(OCTET_STREAM, digest.clone(), size), range, body })
    }

    pub(super) async fn put_blob(self, descriptor: &Descriptor, body: Body) -> Result<()> {
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        let (repo, file) = (self.clone(), body.file().cloned());
        let temp = blocking(move || {
            if repo.dir.want_blob(&digest)?.is_some_and(|there| there.size == size && there.touched) {
                return Ok(None);
            }
            repo.cache.sweep(&repo.dir);
            if let Some(file) = file
                && let Some(taken) = repo.dir.take(&file, size)?
            {
                expect(&digest, &taken.file().hash(digest.algorithm(), size)?)?;
                return repo.keep_blob(taken, &digest).map(|()| None);
            }
            repo.dir.temp().map(Some)
        });
        let Some(temp) = temp.await? else { return Ok(()) };
        let digest = descriptor.digest.clone();
        let mut body = body.exactly(size);
        let hasher = Hasher::new(digest.algorithm());
        let (hasher, spooled) = spool(temp.file(), hasher, &mut body, u64::MAX).await?;
        if let Spooled::Broke(error) = spooled {
            return Err(error);
        }
        blocking(move || {
            expect(&digest, &hasher.finish())?;
            self.keep_blob(temp, &digest)
        })
        .await
    }

    fn keep_blob(&self, temp: Temp, digest: &Digest) -> Result<()> {
        self.dir.ensure()?;
        temp.keep(&self.dir.blob_path(digest))
    }

    pub(super) fn head_blob(&self, digest: &Digest) -> Result<Descriptor> {
        let there = self.dir.want_blob(digest)?.ok_or_else(|| self.blob_unknown(digest))?;
        Ok(Descriptor::new(OCTET_STREAM, digest.clone(), there.size))
    }

    /// Removes a blob, unless it is one of the manifests.
    pub(super) fn delete_blob(&self, digest: &Digest) -> Result<()> {
        if !self.dir.exists()? {
            return Err(self.blob_unknown(digest));
        }
        // Under the lock no manifest can come to name the blob between a check and this.
        let _lock = self.dir.lock()?;
        let index = self.index()?;
        if self.find(&index, digest).is_some() {
            return Err(Error::new(Code::Denied, format!("{digest} in {} is a manifest, not a blob", self.name)));
        }
        if self.dir.remove_blob(digest)? { Ok(()) } else { Err(self.blob_unknown(digest)) }
    }

    fn blob_unknown(&self, digest: &Digest) -> Error {
        Error::new(Code::BlobUnknown, format!("{digest} in {}", self.name))
    }
}

/// Holds bytes that were hashed to the digest they were promised under.
pub(super) fn expect(promised: &Digest, got: &Digest) -> Result<()> {
    if promised == got {
        return Ok(());
    }
    Err(Error::new(Code::DigestInvalid, format!("expected {promised}, got {got}")))
}
