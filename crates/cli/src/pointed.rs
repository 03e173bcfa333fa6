//! Mistakes in TOML files, pointed at by line and column.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;

/// Reads a file, and gives its text with what it says.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Outcome<(String, T)> {
    let text = text(path)?;
    let said = parse(path, &text)?;
    Ok((text, said))
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", path.display())))
}

/// Understands the text of a file.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Outcome<T> {
    toml::from_str(text).map_err(|error| at(path, text, error.span(), &unquoted(error.message())))
}

/// A failure with the place that it is about.
pub(crate) fn at(path: &Path, text: &str, span: Option<Range<usize>>, why: &str) -> Failure {
    let Some(before) = span.and_then(|span| text.get(..span.start)) else {
        return Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    };
    let (line, begin) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |at| at + 1));
    let column = text[begin..before.len()].chars().count() + 1;
    // The line itself is not shown: there are headers and keys in such files, and logs that others read.
    Failure::new(Exit::Usage, format!("{}:{line}:{column}: {why}", path.display()))
}

/// What is wrong without the value that is: `invalid type: string "…", expected a map`.
fn unquoted(why: &str) -> String {
    match (why.find("string \""), why.rfind("\", expected ")) {
        (Some(from), Some(to)) if from < to => format!("{}string{}", &why[..from], &why[to + 1..]),
        _ => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_repeated() {
        for (why, want) in [
            ("invalid type: string \"hunter2\", expected a map", "invalid type: string, expected a map"),
            ("invalid value: string \"a\", expected \"b\", expected c", "invalid value: string, expected c"),
            ("unknown field `a`, expected one of `b`, `c`", "unknown field `a`, expected one of `b`, `c`"),
            ("missing field `serve`", "missing field `serve`"),
        ] {
            assert_eq!(unquoted(why), want);
        }
    }
}
