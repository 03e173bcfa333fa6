//! One file of an archive, with the traits of the standard library.

use std::fmt;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::sync::Arc;

use bytes::Buf;
use bytes::Bytes;
use futures_util::StreamExt;
use skep_archive::Archive;
use skep_archive::ErrorKind as Kind;
use skep_registry::Body;

use super::Engine;

/// A file of an archive, read from anywhere.
///
/// Reading on is one request, however small the parts are; reading elsewhere after a [`seek`](Seek::seek) is a new
/// one, for the rest of the file from there. Of a file without chunks the whole is read either way, since only the
/// whole can be verified.
///
/// What is not verified is an error of the kind `InvalidData`, with that of this package as its source; of a file
/// without chunks it comes at the end, so bytes count only when the end was reached.
pub struct File {
    archive: Archive,
    engine: Arc<Engine>,
    path: String,
    size: u64,
    position: u64,
    /// What comes from the position on, behind the rest.
    body: Option<Body>,
    rest: Bytes,
}

impl File {
    pub(super) fn new(archive: Archive, engine: Arc<Engine>, path: String, size: u64) -> Self {
        Self { archive, engine, path, size, position: 0, body: None, rest: Bytes::new() }
    }

    /// Bytes of content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gets the next bytes; none at the end, when all that came was verified.
    fn fill(&mut self) -> io::Result<()> {
        while self.rest.is_empty() {
            let body = match self.body.take() {
                Some(body) => body,
                None if self.position >= self.size => return Ok(()),
                None => {
                    let (archive, path, part) = (self.archive.clone(), self.path.clone(), self.position..self.size);
                    let opened = self.engine.wait(async move { archive.read_range(&path, part).await });
                    opened.map_err(|error| io::Error::new(kind(error.kind()), error))?
                }
            };
            let (part, body) = self.engine.wait(async move {
                let mut body = body;
                (body.next().await, body)
            });
            match part.transpose().map_err(|error| io::Error::new(kind(Kind::of(&error)), error))? {
                Some(part) => {
                    self.rest = part;
                    self.body = Some(body);
                }
                None if self.position < self.size => return Err(ErrorKind::UnexpectedEof.into()),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.fill()?;
        let len = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..len]);
        self.position += len as u64;
        Ok(len)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before = || io::Error::new(ErrorKind::InvalidInput, format!("{}: a position before its start", self.path));
        let position = position.ok_or_else(before)?;
        match position.checked_sub(self.position) {
            // What has come already need not come again.
            Some(ahead) if ahead <= self.rest.len() as u64 => self.rest.advance(ahead as usize),
            _ => {
                self.rest = Bytes::new();
                self.body = None;
            }
        }
        self.position = position;
        Ok(position)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("File");
        debug.field("path", &self.path).field("size", &self.size).field("position", &self.position);
        debug.finish_non_exhaustive()
    }
}

fn kind(kind: Kind) -> ErrorKind {
    match kind {
        Kind::Decompression | Kind::HashMismatch | Kind::SizeMismatch => ErrorKind::InvalidData,
        Kind::Denied => ErrorKind::PermissionDenied,
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}
