//! Feeds: what is packed next, from a tree on the disk or from a stream.

use std::borrow::Cow;
use std::fs::File;
use std::io::Cursor;
use std::io::Read;
use std::io::Seek;
use std::ops::Range;
use std::sync::Arc;

use super::BuildOptions;
use super::catalog::Catalog;
use super::catalog::Item;
use super::catalog::What;
use super::pack::CHUNKED;
use super::pack::Large;
use super::pack::task_size;
use super::tree::Node;
use crate::error::Error;
use crate::error::Result;

/// Files of a batch. Together they have at most as many bytes as one that is not in chunks.
const BATCH: usize = 256;

/// What workers pack next.
pub(super) trait Feed<'a>: Send {
    /// Bytes of content that the next task has at most, as far as that is known.
    fn weight(&self) -> u64;

    /// The next task; none at the end. `spare` gives a buffer to use.
    fn next(&mut self, spare: &dyn Fn() -> Vec<u8>) -> Result<Option<Task<'a>>>;
}

/// Something to pack.
pub(super) enum Task<'a> {
    /// The chunks in a range of a large file, with their content unless that is on the disk.
    Chunks { file: Arc<Large>, range: Range<u64>, content: Option<Vec<u8>> },
    /// Small files, with their contents one behind the other unless those are on the disk.
    Files { nodes: Cow<'a, [Node]>, content: Option<Vec<u8>> },
}

impl Task<'_> {
    /// Bytes of content.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Chunks { range, .. } => range.end - range.start,
            Self::Files { nodes, .. } => nodes.iter().map(|node| node.size).sum(),
        }
    }
}

/// Files on the disk, in order.
pub(super) struct Listed<'a> {
    files: &'a [Node],
    /// Where in the first file the chunks that come next begin, if it is large and has begun.
    large: Option<(Arc<Large>, u64)>,
}

impl<'a> Listed<'a> {
    pub(super) fn new(files: &'a [Node]) -> Self {
        Self { files, large: None }
    }
}

impl<'a> Feed<'a> for Listed<'a> {
    fn weight(&self) -> u64 {
        self.files.first().map_or(0, |first| task_size(first.size))
    }

    fn next(&mut self, _: &dyn Fn() -> Vec<u8>) -> Result<Option<Task<'a>>> {
        let Some(first) = self.files.first() else { return Ok(None) };
        if first.size > CHUNKED {
            let (file, start) = self.large.take().unwrap_or_else(|| (Arc::new(Large::on_disk(first)), 0));
            let range = file.range(start);
            if range.end < first.size {
                self.large = Some((file.clone(), range.end));
            } else {
                self.files = &self.files[1..];
            }
            return Ok(Some(Task::Chunks { file, range, content: None }));
        }
        let (mut end, mut weight) = (0, 0);
        while end < self.files.len().min(BATCH) && weight + self.files[end].size <= CHUNKED {
            weight += self.files[end].size;
            end += 1;
        }
        let (nodes, rest) = self.files.split_at(end);
        self.files = rest;
        Ok(Some(Task::Files { nodes: nodes.into(), content: None }))
    }
}

/// Things that come one after the other, each with its content behind it.
pub(super) trait Stream: Send {
    /// Whether something takes the place of what came before under the same path; otherwise that is an error.
    const REPLACES: bool;

    /// The next thing; none at the end. What was not read of the content of the last is gone.
    fn next(&mut self) -> Result<Option<Item>>;

    /// The content of the file that came last.
    fn content(&mut self) -> &mut dyn Read;
}

/// Files of a stream, read as they come.
pub(super) struct Streamed<'o, S> {
    stream: S,
    options: &'o BuildOptions,
    catalog: Catalog<'o>,
    /// A file that has come and did not fit any more.
    pending: Option<(Node, Content)>,
    /// A large file, where its content is, and where the chunks that come next begin.
    large: Option<(Arc<Large>, Content, u64)>,
    has_ended: bool,
}

/// Where the content of a file of a stream is.
enum Content {
    /// It has been read.
    Here(Cursor<Vec<u8>>),
    /// Its size was not told, so it was copied here to find out.
    Spooled(File),
    Streamed,
}

impl<'o, S: Stream> Streamed<'o, S> {
    pub(super) fn new(stream: S, options: &'o BuildOptions) -> Self {
        let catalog = Catalog::new(options, S::REPLACES);
        Self { stream, options, catalog, pending: None, large: None, has_ended: false }
    }

    /// What came, without the contents.
    pub(super) fn into_catalog(self) -> Catalog<'o> {
        self.catalog
    }

    /// The next file whose content is wanted.
    fn next_file(&mut self) -> Result<Option<(Node, Content)>> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        while !self.has_ended {
            self.options.cancel.check()?;
            let Some(item) = self.stream.next()? else {
                self.has_ended = true;
                break;
            };
            let has_size = !matches!(item.what, What::File(None));
            let Some(mut node) = self.catalog.add(item)? else { continue };
            let content = if has_size { Content::Streamed } else { self.measure(&mut node)? };
            let limit = self.options.limits.file;
            if node.size > limit {
                return Err(Error::limit(format!("{}, in bytes,", node.path), limit, node.size));
            }
            return Ok(Some((node, content)));
        }
        Ok(None)
    }

    /// Reads a content of unknown size: into memory if it is small, else into a file.
    fn measure(&mut self, node: &mut Node) -> Result<Content> {
        let mut start = Vec::new();
        let content = self.stream.content();
        content.take(CHUNKED + 1).read_to_end(&mut start).map_err(|source| failed(&node.path, source))?;
        node.size = start.len() as u64;
        let measured = if node.size <= CHUNKED {
            Content::Here(Cursor::new(start))
        } else {
            let limit = self.options.limits.file.saturating_add(1);
            let mut content = start.chain(content).take(limit);
            let mut file = super::temporary(self.options)?;
            node.size = 0;
            loop {
                self.options.cancel.check()?;
                let copied = std::io::copy(&mut (&mut content).take(CHUNKED), &mut file)
                    .map_err(|source| failed(&node.path, source))?;
                if copied == 0 {
                    break;
                }
                node.size += copied;
            }
            file.rewind().map_err(|source| failed(&node.path, source))?;
            Content::Spooled(file)
        };
        self.catalog.set_size(&node.path, node.size);
        Ok(measured)
    }

    /// Adds bytes of a content, which come next, to a buffer; behind the last ones there must be no more.
    fn read(&mut self, node: &Node, content: &mut Content, range: Range<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        let reader: &mut dyn Read = match content {
            Content::Here(bytes) => bytes,
            Content::Spooled(file) => file,
            Content::Streamed => self.stream.content(),
        };
        let wanted = range.end - range.start;
        let beyond = u64::from(range.end == node.size);
        let came =
            reader.take(wanted + beyond).read_to_end(buffer).map_err(|source| failed(&node.path, source))? as u64;
        if came == wanted {
            return Ok(());
        }
        Err(Error::SizeMismatch { path: node.path.to_string(), want: node.size, came: range.start + came })
    }

    fn next_chunks(&mut self, spare: Vec<u8>) -> Result<Task<'static>> {
        let (file, mut content, start) = self.large.take().expect("a large file has begun");
        let (range, mut chunks) = (file.range(start), spare);
        chunks.clear();
        self.read(&file.node, &mut content, range.clone(), &mut chunks)?;
        if start == 0 {
            file.sample(&chunks);
        }
        if range.end < file.node.size {
            self.large = Some((file.clone(), content, range.end));
        }
        Ok(Task::Chunks { file, range, content: Some(chunks) })
    }
}

impl<'a, S: Stream> Feed<'a> for Streamed<'_, S> {
    fn weight(&self) -> u64 {
        match (&self.large, &self.pending) {
            (Some((file, ..)), _) => task_size(file.node.size),
            (None, Some((node, _))) => task_size(node.size),
            (None, None) => CHUNKED,
        }
    }

    fn next(&mut self, spare: &dyn Fn() -> Vec<u8>) -> Result<Option<Task<'a>>> {
        if self.large.is_some() {
            return self.next_chunks(spare()).map(Some);
        }
        let (mut nodes, mut contents) = (Vec::new(), spare());
        contents.clear();
        while nodes.len() < BATCH {
            let Some((node, mut content)) = self.next_file()? else { break };
            let size = node.size;
            if contents.len() as u64 + size > CHUNKED && !nodes.is_empty() {
                self.pending = Some((node, content));
                break;
            }
            if size > CHUNKED {
                self.large = Some((Arc::new(Large::given(node)?), content, 0));
                return self.next_chunks(contents).map(Some);
            }
            self.read(&node, &mut content, 0..size, &mut contents)?;
            nodes.push(node);
        }
        Ok((!nodes.is_empty()).then(|| Task::Files { nodes: nodes.into(), content: Some(contents) }))
    }
}

/// Finds words for a content that could not be read, unless whoever read it has found some.
pub(super) fn failed(path: &str, source: std::io::Error) -> Error {
    match source.downcast() {
        Ok(error) => error,
        Err(source) => Error::Io { what: "read", path: path.into(), source },
    }
}
