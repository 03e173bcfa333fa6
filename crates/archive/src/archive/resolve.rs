//! Following symbolic links inside of an archive, by their names alone.

use std::borrow::Cow;

use super::Archive;
use crate::error::Error;
use crate::error::Result;
use crate::path;

/// Links on the way to one file, as on Linux.
const MAX_LINKS: usize = 40;

impl Archive {
    /// The path without symbolic links that a path leads to; the empty path is the root.
    ///
    /// Nothing need have that path.
    ///
    /// # Errors
    /// `InvalidPath`; `NotFound` when a link leads out of the archive or there are more than 40.
    pub fn resolve<'a>(&self, path: &'a str) -> Result<Cow<'a, str>> {
        let normal = path::parse(path)?;
        let index = self.index();
        if index.symlinks().len() == 0 || index.position(&normal).is_some() {
            return Ok(normal);
        }
        let not_found = |why: String| Error::NotFound { path: path.to_owned(), why };
        let mut resolved = String::new();
        let mut links = 0;
        // Names that are to be walked, the next one last.
        let mut names: Vec<String> = normal.split('/').rev().map(str::to_owned).collect();
        while let Some(name) = names.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    if resolved.is_empty() {
                        return Err(not_found(": a symbolic link leads out of the archive".to_owned()));
                    }
                    resolved.truncate(resolved.rfind('/').unwrap_or(0));
                    continue;
                }
                name => {
                    if !resolved.is_empty() {
                        resolved.push('/');
                    }
                    resolved.push_str(name);
                }
            }
            let Some(link) = index.find_symlink(&resolved) else { continue };
            links += 1;
            if links > MAX_LINKS {
                return Err(not_found(format!(": more than {MAX_LINKS} symbolic links on the way")));
            }
            if link.target.starts_with('/') {
                return Err(not_found(format!(": {} leads out of the archive, to {}", link.path, link.target)));
            }
            names.extend(link.target.split('/').rev().map(str::to_owned));
            resolved.truncate(resolved.rfind('/').unwrap_or(0));
        }
        Ok(resolved.into())
    }
}
