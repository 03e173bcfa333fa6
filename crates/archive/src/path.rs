//! Paths of an archive: relative, `/` between names, no name empty, `.` or `..`.

use std::borrow::Cow;

use crate::error::Error;
use crate::error::Result;
use crate::limits::Limits;

/// Brings a path as people write it into the form that archives use.
///
/// Slashes at both ends and repeated ones vanish; what remains of nothing is `.`, the root. Names `.` and
/// `..` are kept, so that a later check refuses them: an archive has no place outside of itself.
///
/// ```
/// assert_eq!(skep_archive::normalize("/etc//nginx/"), "etc/nginx");
/// assert_eq!(skep_archive::normalize("///"), ".");
/// assert_eq!(skep_archive::normalize("a/../b"), "a/../b");
/// ```
pub fn normalize(path: &str) -> Cow<'_, str> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return ".".into();
    }
    if !path.contains("//") {
        return path.into();
    }
    path.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/").into()
}

/// Normalises a path and refuses it when it cannot be one of an archive; the root is the empty path.
pub(crate) fn parse(path: &str) -> Result<Cow<'_, str>> {
    let normal = normalize(path);
    if normal == "." {
        return Ok("".into());
    }
    match check(&normal, &Limits { path: u64::MAX, depth: u64::MAX, ..Limits::default() }) {
        Ok(()) => Ok(normal),
        Err(why) => Err(Error::InvalidPath { path: path.to_owned(), why }),
    }
}

/// Says what is wrong with a path of an index.
pub(crate) fn check(path: &str, limits: &Limits) -> Result<(), &'static str> {
    if path.len() as u64 > limits.path {
        return Err("it is longer than the limit");
    }
    let mut depth = 0;
    for name in path.as_bytes().split(|&byte| byte == b'/') {
        match name {
            b"" => return Err("a name is empty"),
            b"." | b".." => return Err("a name is `.` or `..`"),
            _ => depth += 1,
        }
    }
    if path.as_bytes().contains(&0) {
        return Err("it has a NUL byte");
    }
    if depth > limits.depth {
        return Err("it is deeper than the limit");
    }
    Ok(())
}

/// The directory that a path lies in, and its last name; the root is the empty path.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The part of a path below a directory, if it lies there; the root is the empty path.
pub(crate) fn below<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    if dir.is_empty() {
        return Some(path);
    }
    path.strip_prefix(dir)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        for (path, want) in [
            ("/etc/nginx", "etc/nginx"),
            ("etc/nginx/", "etc/nginx"),
            ("///", "."),
            ("", "."),
            (".", "."),
            ("etc///nginx//conf", "etc/nginx/conf"),
            ("a/../b", "a/../b"),
            ("//a//..//b//", "a/../b"),
        ] {
            assert_eq!(normalize(path), want, "{path}");
        }
    }

    #[test]
    fn paths_with_no_place_in_an_archive_are_refused() {
        let limits = Limits { path: 20, depth: 3, ..Limits::default() };
        for (path, want) in [
            ("a", None),
            ("a/b/c", None),
            ("a b/ü/..c", None),
            ("", Some("a name is empty")),
            ("/a", Some("a name is empty")),
            ("a/", Some("a name is empty")),
            ("a//b", Some("a name is empty")),
            ("./a", Some("a name is `.` or `..`")),
            ("a/../b", Some("a name is `.` or `..`")),
            ("a\0b", Some("it has a NUL byte")),
            ("a/b/c/d", Some("it is deeper than the limit")),
            ("aaaaaaaaaaaaaaaaaaaaa", Some("it is longer than the limit")),
        ] {
            assert_eq!(check(path, &limits).err(), want, "{path:?}");
        }
    }

    #[test]
    fn below_is_by_whole_names() {
        assert_eq!(below("a/b/c", "a/b"), Some("c"));
        assert_eq!(below("a/bc", "a/b"), None);
        assert_eq!(below("a/b", "a/b"), None);
        assert_eq!(below("a/b", ""), Some("a/b"));
    }
}
