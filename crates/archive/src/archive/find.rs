//! Finding: by patterns, by walking, and what paths lead to.

use globset::GlobBuilder;

use super::Archive;
use crate::error::Error;
use crate::error::Result;
use crate::format::Node;
use crate::path;

impl Archive {
    /// What a path leads to, following symbolic links: a file or a directory, never a link.
    ///
    /// [`node`](Self::node) does not follow the last one.
    ///
    /// # Errors
    /// `NotFound`, `InvalidPath`.
    pub fn stat(&self, path: &str) -> Result<Node<'_>> {
        self.index().node(&self.resolve(path)?).ok_or_else(|| Error::not_found(path))
    }

    /// Brings the paths of regular files into the form of [`normalize`](crate::normalize), if all are such.
    ///
    /// # Errors
    /// For the first path that leads to no regular file, named as it was given: `NotFound`, `IsDirectory`,
    /// `InvalidPath`.
    pub fn validate<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Result<Vec<String>> {
        let check = |path: P| {
            let path = path.as_ref();
            self.entry(path).map(|_| path::normalize(path).into_owned())
        };
        paths.into_iter().map(check).collect()
    }

    /// All that lies below a directory: files, symbolic links, and directories whether recorded or not.
    ///
    /// It comes in the order of paths, compared as bytes, each with its path in the archive; links are not followed.
    /// Takes no memory that grows with the archive.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `InvalidPath`.
    pub fn walk<'a>(&'a self, path: &str) -> Result<impl Iterator<Item = (&'a str, Node<'a>)> + use<'a>> {
        let resolved = self.resolve(path)?;
        match self.index().node(&resolved) {
            Some(Node::Directory(_)) => Ok(self.index().walk(&resolved)),
            Some(_) => Err(Error::NotDirectory { path: path.to_owned() }),
            None => Err(Error::not_found(path)),
        }
    }

    /// The files, directories and symbolic links whose whole path matches a pattern, in the order of paths.
    ///
    /// `*` and `?` stand for anything but `/`, `**` for any number of names, `[ab]` and `[!a-z]` for one character,
    /// `{a,b}` for one of several texts; `\` takes the meaning from the next character. Links are not followed.
    ///
    /// # Errors
    /// `InvalidPattern`.
    pub fn glob<'a>(&'a self, pattern: &str) -> Result<impl Iterator<Item = (&'a str, Node<'a>)> + use<'a>> {
        let normal = path::normalize(pattern);
        let failed = |error: globset::Error| Error::InvalidPattern {
            pattern: pattern.to_owned(),
            why: error.kind().to_string(),
        };
        let glob = GlobBuilder::new(&normal).literal_separator(true).backslash_escape(true).build().map_err(failed)?;
        let matcher = glob.compile_matcher();
        Ok(self.index().walk(fixed(&normal)).filter(move |(path, _)| matcher.is_match(path)))
    }
}

/// The directory that all matches of a pattern lie below.
fn fixed(pattern: &str) -> &str {
    let plain = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    path::split(&pattern[..plain]).0
}
