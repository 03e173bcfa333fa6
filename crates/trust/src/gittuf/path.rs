//! Patterns for what a rule protects: `git:refs/heads/*`, `file:src/**`, as fnmatch(3) without flags has them.

use std::fmt::Write;

use regex::Regex;
use regex::RegexBuilder;

use super::fault::Fault;
use super::fault::Result;

/// A pattern over references and files; `*` is any text, also with `/` in it.
#[derive(Clone, Debug)]
pub(super) struct PathPattern {
    text: String,
    regex: Regex,
}

impl PathPattern {
    /// Parses a pattern. One that could be read in two ways is refused, because it might protect less than it says.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Fault::unknown(format!("pattern {text:?}: {why}"));
        let mut regex = String::from("^");
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            match next {
                '*' => regex.push_str(".*"),
                '?' => regex.push('.'),
                '[' => set(&mut rest, &mut regex).ok_or_else(|| wrong("a set that is empty or does not end"))?,
                '\\' => literal(rest.next().ok_or_else(|| wrong("ends with a backslash"))?, &mut regex),
                other => literal(other, &mut regex),
            }
        }
        regex.push('$');
        let built = RegexBuilder::new(&regex).dot_matches_new_line(true).size_limit(MAX_REGEX).build();
        let regex = built.map_err(|_| wrong("too large"))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }

    /// Whether it is about files.
    pub(super) fn is_for_files(&self) -> bool {
        self.text.starts_with("file")
    }
}

/// A set, from behind its bracket.
fn set(rest: &mut std::str::Chars<'_>, regex: &mut String) -> Option<()> {
    regex.push('[');
    let negation = rest.as_str().starts_with(['!', '^']);
    if negation {
        rest.next();
        regex.push('^');
    }
    let mut members = 0;
    loop {
        let first = match rest.next()? {
            ']' if members == 0 => return None,
            ']' => break,
            '\\' => rest.next()?,
            other => other,
        };
        literal(first, regex);
        let mut ahead = rest.as_str().chars();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|end| end != ']') {
            rest.next();
            let last = match rest.next()? {
                '\\' => rest.next()?,
                other => other,
            };
            if last < first {
                return None;
            }
            regex.push('-');
            literal(last, regex);
        }
        members += 1;
    }
    regex.push(']');
    Some(())
}

fn literal(character: char, regex: &mut String) {
    // No character means anything as a number, in a set or outside.
    write!(regex, "\\x{{{:x}}}", u32::from(character)).expect("a text takes everything");
}

const MAX_REGEX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_fnmatch_does() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("git:refs/heads/main", &["git:refs/heads/main"], &["git:refs/heads/main2", "agit:refs/heads/main"]),
            ("git:refs/heads/*", &["git:refs/heads/", "git:refs/heads/a/b"], &["git:refs/tags/v1"]),
            ("git:refs/tags/v?.[0-9]", &["git:refs/tags/v1.2"], &["git:refs/tags/v1.a", "git:refs/tags/v12"]),
            ("file:[!a]", &["file:b"], &["file:a", "file:"]),
            ("file:[^a-c\\]]", &["file:d"], &["file:b", "file:]"]),
            ("file:a\\*", &["file:a*"], &["file:ab"]),
            ("file:a.(b)+", &["file:a.(b)+"], &["file:ax(b)+", "file:a.bb"]),
            ("file:[a-]", &["file:a", "file:-"], &["file:b"]),
            ("*", &["", "git:x\ny"], &[]),
        ];
        for (pattern, yes, no) in table {
            let parsed = PathPattern::parse(pattern).unwrap();
            yes.iter().for_each(|text| assert!(parsed.matches(text), "{pattern} {text}"));
            no.iter().for_each(|text| assert!(!parsed.matches(text), "{pattern} {text}"));
        }
    }

    #[test]
    fn a_pattern_that_does_not_end_is_refused() {
        for wrong in ["git:[a", "git:[]", "git:[]a]", "git:[!]", "git:a\\", "git:[z-a]", "git:[a\\"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
