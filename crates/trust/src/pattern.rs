//! Patterns for one text: exact, glob, regular expression; all match the whole text.

use std::fmt;

use regex::Regex;
use serde::Serialize;
use serde::Serializer;

use crate::error::Error;
use crate::error::Result;

/// What a text has to be.
///
/// Never a part of it: `https://github.com/acme/` does not match `https://github.com/acme/site`, in no form.
#[derive(Clone, Debug)]
pub struct Pattern(Form);

#[derive(Clone, Debug)]
enum Form {
    Any,
    Exact(String),
    Glob(String, Regex),
    OneOf(Vec<Pattern>),
    Regex(String, Regex),
}

impl Pattern {
    /// Matches every text.
    pub fn any() -> Self {
        Self(Form::Any)
    }

    /// Matches this text only.
    pub fn exact(text: impl Into<String>) -> Self {
        Self(Form::Exact(text.into()))
    }

    /// Matches by glob: `*` is anything but `/`, `**` is anything, `?` is one character but `/`.
    ///
    /// # Errors
    /// `Pattern` when it is too large.
    pub fn glob(glob: &str) -> Result<Self> {
        Ok(Self(Form::Glob(glob.to_owned(), compile(glob, &Self::glob_regex(glob))?)))
    }

    /// Matches by glob if there is a `*` in the text, else this text only.
    ///
    /// # Errors
    /// `Pattern` when it is too large.
    pub fn exact_or_glob(text: &str) -> Result<Self> {
        if text.contains('*') { Self::glob(text) } else { Ok(Self::exact(text)) }
    }

    /// Matches what one of several does.
    pub fn one_of(patterns: Vec<Self>) -> Self {
        Self(Form::OneOf(patterns))
    }

    /// The regular expression of a glob.
    pub(crate) fn glob_regex(glob: &str) -> String {
        let mut regex = String::with_capacity(glob.len() + 16);
        let mut rest = glob;
        while let Some(next) = rest.chars().next() {
            let (piece, length) = match next {
                '*' if rest.starts_with("**") => (".*".to_owned(), 2),
                '*' => ("[^/]*".to_owned(), 1),
                '?' => ("[^/]".to_owned(), 1),
                other => (regex::escape(&rest[..other.len_utf8()]), other.len_utf8()),
            };
            regex.push_str(&piece);
            rest = &rest[length..];
        }
        regex
    }

    /// Matches by regular expression, which is anchored at both ends.
    ///
    /// # Errors
    /// `Pattern` when it is malformed or too large.
    pub fn regex(regex: &str) -> Result<Self> {
        // By itself first: `a)|(?:b` is no expression, but would become one inside of the anchors.
        Regex::new(regex).map_err(|error| malformed(regex, error))?;
        Ok(Self(Form::Regex(regex.to_owned(), compile(regex, regex)?)))
    }

    /// Whether a text is what the pattern wants.
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Form::Any => true,
            Form::Exact(exact) => exact == text,
            Form::OneOf(patterns) => patterns.iter().any(|pattern| pattern.matches(text)),
            Form::Glob(_, regex) | Form::Regex(_, regex) => regex.is_match(text),
        }
    }

    /// Whether every text matches.
    pub fn is_any(&self) -> bool {
        matches!(self.0, Form::Any)
    }
}

fn compile(pattern: &str, regex: &str) -> Result<Regex> {
    // `s`: a glob's `**` is anything, also a line break.
    Regex::new(&format!(r"\A(?s:{regex})\z")).map_err(|error| malformed(pattern, error))
}

fn malformed(pattern: &str, error: regex::Error) -> Error {
    Error::Pattern { pattern: pattern.to_owned(), why: error.to_string() }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Any => f.write_str("anything"),
            Form::Exact(text) => f.write_str(text),
            Form::OneOf(patterns) => {
                let patterns: Vec<_> = patterns.iter().map(Self::to_string).collect();
                f.write_str(&patterns.join(" or "))
            }
            Form::Glob(glob, _) => write!(f, "glob {glob}"),
            Form::Regex(regex, _) => write!(f, "regex {regex}"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let cases = [
            (Pattern::exact("https://github.com/acme/site"), "https://github.com/acme/site", true),
            (Pattern::exact("https://github.com/acme/site"), "https://github.com/acme/site-evil", false),
            (Pattern::glob("https://github.com/acme/*").unwrap(), "https://github.com/acme/site", true),
            (Pattern::glob("https://github.com/acme/*").unwrap(), "https://github.com/acme/site/x", false),
            (Pattern::glob("https://github.com/acme/**").unwrap(), "https://github.com/acme/site/x", true),
            (Pattern::glob("https://github.com/acme/**").unwrap(), "https://github.com/acme/a\nb", true),
            (Pattern::glob("https://github.com/**").unwrap(), "https://githubXcom/acme", false),
            (Pattern::glob("v?").unwrap(), "v1", true),
            (Pattern::glob("v?").unwrap(), "v/", false),
            (Pattern::glob("[a]|b").unwrap(), "b", false),
            (Pattern::regex("a|b").unwrap(), "b", true),
            (Pattern::regex("a|b").unwrap(), "ab", false),
            (Pattern::regex("acme/.*").unwrap(), "evil/acme/site", false),
            (Pattern::regex("^main$").unwrap(), "main", true),
            (Pattern::regex("^main$").unwrap(), "main\n", false),
            (Pattern::regex("(?m)^main$").unwrap(), "evil\nmain", false),
            (Pattern::any(), "", true),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(pattern.matches(text), matches, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn malformed_expressions_are_refused() {
        for regex in ["a)|(?:b", "(", "[z-a]", "a{1000000}{1000000}", "(?x) a # "] {
            let Err(Error::Pattern { pattern, .. }) = Pattern::regex(regex) else {
                panic!("{regex} was taken");
            };
            assert_eq!(pattern, regex);
        }
    }
}
