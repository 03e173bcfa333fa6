//! Patterns: which paths of a tree are wanted, said as in `.gitignore`.

use std::fmt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::Gitignore;
use ignore::gitignore::GitignoreBuilder;

use crate::error::Error;
use crate::error::Result;

/// Which paths of a tree are wanted.
///
/// Each pattern is a line as in `.gitignore`: `*.log` anywhere, `/build` at the top only, `docs/**/*.md`, `tmp/`
/// for directories, `!keep.log` to take back an earlier one; the last line that matches counts. A directory that
/// matches stands for all that is in it. What is excluded is never wanted; and if anything is included, only that is.
///
/// ```
/// use skep_archive::Patterns;
///
/// let patterns = Patterns::new(["*.md", "src/"], ["target/", "*.tmp"])?;
/// assert!(patterns.admit("docs/guide.md", false));
/// assert!(patterns.admit("src/deep/main.rs", false));
/// assert!(!patterns.admit("src/deep/main.tmp", false));
/// assert!(!patterns.admit("target/notes.md", false));
/// assert!(!patterns.admit("Makefile", false));
/// # Ok::<_, skep_archive::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Patterns {
    include: Option<Gitignore>,
    exclude: Option<Gitignore>,
    said: (Vec<String>, Vec<String>),
}

impl Patterns {
    /// Takes patterns of what is wanted, or none for everything, and of what is not.
    ///
    /// # Errors
    /// `InvalidPattern`.
    pub fn new<I: Into<String>, E: Into<String>>(
        include: impl IntoIterator<Item = I>,
        exclude: impl IntoIterator<Item = E>,
    ) -> Result<Self> {
        let include: Vec<String> = include.into_iter().map(Into::into).collect();
        let exclude: Vec<String> = exclude.into_iter().map(Into::into).collect();
        Ok(Self { include: compile(&include)?, exclude: compile(&exclude)?, said: (include, exclude) })
    }

    /// Tells whether everything is wanted.
    pub fn is_empty(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// Tells whether a path is wanted. Paths are those of archives: relative, `/` between names.
    ///
    /// Of a directory it tells whether it is wanted itself; something in it may be even if it is not.
    pub fn admit(&self, path: &str, is_dir: bool) -> bool {
        !self.exclude(path, is_dir) && self.include.as_ref().is_none_or(|include| matches(include, path, is_dir))
    }

    /// Tells whether a path is excluded, and with a directory all that is in it.
    pub fn exclude(&self, path: &str, is_dir: bool) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| matches(exclude, path, is_dir))
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (include, exclude) = &self.said;
        f.debug_struct("Patterns").field("include", include).field("exclude", exclude).finish()
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.said == other.said
    }
}

impl Eq for Patterns {}

/// What a file in a directory says is ignored below it.
#[derive(Debug)]
pub(crate) struct IgnoreFile(Gitignore);

impl IgnoreFile {
    /// Takes the lines of a file; errors name it.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("");
        // Some editors put a mark at the beginning; git does not mind it either.
        for line in text.trim_start_matches('\u{feff}').lines() {
            let failed = |error: ignore::Error| Error::InvalidPattern {
                pattern: line.to_owned(),
                why: format!("{error}, in {}", path.display()),
            };
            builder.add_line(None, line).map_err(failed)?;
        }
        let failed = |error: ignore::Error| Error::InvalidPattern {
            pattern: path.display().to_string(),
            why: error.to_string(),
        };
        Ok(Self(builder.build().map_err(failed)?))
    }

    /// Tells whether a path, relative to the directory, is ignored; nothing if no line is about it.
    pub(crate) fn says(&self, path: &str, is_dir: bool) -> Option<bool> {
        match self.0.matched(Path::new(path), is_dir) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        }
    }
}

fn compile(patterns: &[String]) -> Result<Option<Gitignore>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        let failed = |error: ignore::Error| Error::InvalidPattern { pattern: pattern.clone(), why: error.to_string() };
        builder.add_line(None, pattern).map_err(failed)?;
    }
    let failed = |error: ignore::Error| Error::InvalidPattern { pattern: patterns.join(", "), why: error.to_string() };
    Ok(Some(builder.build().map_err(failed)?))
}

/// Tells whether the path, or the nearest of the directories that it lies in about which anything is said, matches.
fn matches(patterns: &Gitignore, path: &str, is_dir: bool) -> bool {
    // A directory that is out stays out with all that is in it, as git has it.
    let ancestors = path.match_indices('/').map(|(at, _)| (&path[..at], true));
    ancestors
        .chain([(path, is_dir)])
        .any(|(path, is_dir)| matches!(patterns.matched(Path::new(path), is_dir), Match::Ignore(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_git() {
        let cases: &[(&[&str], &str, bool, bool)] = &[
            (&["*.log"], "a/b.log", false, true),
            (&["/b.log"], "a/b.log", false, false),
            (&["/b.log"], "b.log", false, true),
            (&["tmp/"], "tmp", false, false),
            (&["tmp/"], "tmp", true, true),
            (&["tmp/"], "a/tmp/x", false, true),
            (&["a/**/z"], "a/b/c/z", false, true),
            (&["*.log", "!keep.log"], "keep.log", false, false),
            (&["!keep.log", "*.log"], "keep.log", false, true),
            // What is in a directory that is out cannot be taken back.
            (&["tmp/", "!tmp/keep"], "tmp/keep", false, true),
            (&["tmp/*", "!tmp/keep"], "tmp/keep", false, false),
            (&["# comment", ""], "# comment", false, false),
            (&["\\#file"], "#file", false, true),
            (&["a[bc]d"], "abd", false, true),
            (&["a?c"], "a/c", false, false),
        ];
        for (exclude, path, is_dir, want) in cases {
            let patterns = Patterns::new([""; 0], exclude.iter().copied()).unwrap();
            assert_eq!(patterns.exclude(path, *is_dir), *want, "{exclude:?} {path}");
            assert_eq!(patterns.admit(path, *is_dir), !want, "{exclude:?} {path}");
        }
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = Patterns::new(["a{b"], [""; 0]).unwrap_err();
        assert!(error.to_string().contains("a{b"), "{error}");
    }
}
