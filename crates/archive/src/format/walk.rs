//! Walking: all that lies below a directory, in the order of paths, in no more memory than a path takes.

use std::ops::Range;

use super::Index;
use super::Node;

impl Index {
    /// All that lies below a directory, be it recorded or not, in the order of paths, compared as bytes.
    ///
    /// So a directory comes before what lies in it, though `a-b` comes between `a` and `a/x`. The empty path is the
    /// root, which is not in it itself.
    pub fn walk<'a>(&'a self, dir: &str) -> impl Iterator<Item = (&'a str, Node<'a>)> + use<'a> {
        let below = [&self.directories, &self.symlinks, &self.entries].map(|list| list.below(&self.bytes, dir));
        Walk { index: self, below, last: "", base: dir.len() }
    }
}

struct Walk<'a> {
    index: &'a Index,
    /// What is left of the directories, of the links, of the files.
    below: [Range<usize>; 3],
    /// What came last.
    last: &'a str,
    /// Bytes of the path of the directory.
    base: usize,
}

impl<'a> Walk<'a> {
    /// The next path that is recorded, and in which list.
    fn head(&self) -> Option<(&'a str, usize)> {
        let lists = [&self.index.directories, &self.index.symlinks, &self.index.entries];
        let heads = lists.iter().zip(&self.below).enumerate().filter(|(_, (_, range))| !range.is_empty());
        let paths = heads.map(|(which, (list, range))| (list.path(&self.index.bytes, range.start), which));
        let (path, which) = paths.min()?;
        Some((str::from_utf8(path).expect("every path was read when it was parsed"), which))
    }

    /// The next directory that is recorded nowhere and comes before a path.
    ///
    /// It is the start of that path, or it would not come before it; and behind what came last, or it would have come.
    fn implied(&self, path: &'a str) -> Option<&'a str> {
        let known = path.bytes().zip(self.last.bytes()).take_while(|(one, other)| one == other).count();
        let ends = path.bytes().enumerate().skip(known.max(self.base) + 1).filter(|(_, byte)| *byte <= b'/');
        let mut starts = ends.map(|(end, byte)| (&path[..end], byte));
        // `a-b` comes before all that lies in `a`, so that there is an `a` has to be looked up.
        starts.find(|(start, byte)| *byte == b'/' || self.index.is_directory(start)).map(|(start, _)| start)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a str, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, which) = self.head()?;
        if let Some(directory) = self.implied(path) {
            self.last = directory;
            return Some((directory, Node::Directory(None)));
        }
        let at = self.below[which].start;
        self.below[which].start += 1;
        self.last = path;
        let node = match which {
            0 => Node::Directory(self.index.directories_at(at..at + 1).next()),
            1 => self.index.symlinks_at(at..at + 1).next().map(Node::Symlink)?,
            _ => Node::File(self.index.entry(at)),
        };
        Some((path, node))
    }
}
