//! Sources: repositories and refs, as builders, certificates and people write them.

use std::fmt;

use crate::error::Error;
use crate::error::Result;
use crate::pattern::Pattern;

/// Where something was built from: `git+https://github.com/acme/site@refs/heads/main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// `https://github.com/acme/site`: the host in lower case, without `git+`, `.git` and a slash at the end.
    pub(crate) repository: String,
    /// What stands behind the `@`.
    pub(crate) reference: Option<String>,
}

impl Source {
    /// Reads a source; none for what is not the URL of a repository, or could be read in two ways.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let url = text.strip_prefix("git+").unwrap_or(text);
        let (scheme, rest) = url.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("https") || rest.contains(['?', '#', '\\', '%']) {
            return None;
        }
        let (host, path) = rest.split_once('/')?;
        // `https://github.com@evil.example/acme/site` is a repository of evil.example.
        let is_host = !host.is_empty() && !host.contains('@');
        let (path, reference) = match path.split_once('@') {
            Some((path, reference)) => (path, Some(reference.to_owned())),
            None => (path, None),
        };
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let is_path = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let repository = format!("https://{}/{path}", host.to_ascii_lowercase());
        (is_host && is_path && reference.as_deref() != Some("")).then_some(Self { repository, reference })
    }
}

/// A repository one wants: `acme/site`, which is one on GitHub, or a URL; `*` in it is anything but `/`.
///
/// # Errors
/// `Pattern` when it is neither, or names a ref.
pub(super) fn repository(text: &str) -> Result<Pattern> {
    let malformed = |why: &str| Error::Pattern { pattern: text.to_owned(), why: why.to_owned() };
    let url = match text.split_once('/') {
        _ if text.contains("://") => text.to_owned(),
        Some((owner, name)) if !owner.is_empty() && !name.is_empty() && !name.contains('/') => {
            format!("https://github.com/{text}")
        }
        _ => return Err(malformed("wanted a repository, as owner/name or as URL")),
    };
    let source = Source::parse(&url).ok_or_else(|| malformed("wanted a repository, as https://host/owner/name"))?;
    if source.reference.is_some() || source.repository["https://".len()..].starts_with('*') {
        return Err(malformed("wanted a repository on one host, without a ref"));
    }
    Pattern::exact_or_glob(&source.repository)
}

/// Branches and tags one wants. None of them is every ref.
#[derive(Clone, Debug, Default)]
pub struct Refs(Vec<String>);

impl Refs {
    /// Wants one of the branches: `main`, `release/*`; `*` is anything but `/`, `**` is anything.
    pub fn or_branch(self, glob: &str) -> Self {
        self.or_ref(format!("refs/heads/{glob}"))
    }

    /// Wants one of the tags: `v*`.
    pub fn or_tag(self, glob: &str) -> Self {
        self.or_ref(format!("refs/tags/{glob}"))
    }

    /// Wants one of the refs, in full: `refs/heads/main`, `refs/pull/*/merge`.
    pub fn or_ref(mut self, glob: impl Into<String>) -> Self {
        self.0.push(glob.into());
        self
    }

    /// Whether every ref is fine.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Matches the refs that are wanted.
    ///
    /// # Errors
    /// `Pattern` when they are too large.
    pub fn pattern(&self) -> Result<Pattern> {
        match &self.0[..] {
            [] => Ok(Pattern::any()),
            [one] => Pattern::exact_or_glob(one),
            several => {
                let patterns = several.iter().map(|one| Pattern::exact_or_glob(one)).collect::<Result<_>>()?;
                Ok(Pattern::one_of(patterns))
            }
        }
    }

    /// As regular expression, for a part of another one.
    pub(super) fn regex(&self) -> String {
        match &self.0[..] {
            [] => "refs/.+".to_owned(),
            some => format!("(?:{})", some.iter().map(|one| Pattern::glob_regex(one)).collect::<Vec<_>>().join("|")),
        }
    }
}

impl fmt::Display for Refs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_repository_and_ref() {
        let site = "https://github.com/acme/site";
        let cases = [
            ("https://github.com/acme/site", Some((site, None))),
            ("git+https://github.com/acme/site@refs/heads/main", Some((site, Some("refs/heads/main")))),
            ("git+HTTPS://GitHub.COM/acme/site.git@refs/tags/v1", Some((site, Some("refs/tags/v1")))),
            ("https://github.com/acme/site/", Some((site, None))),
            ("https://github.com/acme/site.git/", Some((site, None))),
            ("https://github.com/acme/site@a@b", Some((site, Some("a@b")))),
            ("https://gitlab.com/a/b/c", Some(("https://gitlab.com/a/b/c", None))),
            ("https://github.com/Acme/site", Some(("https://github.com/Acme/site", None))),
            ("https://github.com@evil.example/acme/site", None),
            ("https://github.com/acme/site?x", None),
            ("https://github.com/acme/%73ite", None),
            ("https://github.com/acme/../acme/site", None),
            ("https://github.com//acme/site", None),
            ("https://github.com/acme/site@", None),
            ("https:///acme/site", None),
            ("https://github.com/", None),
            ("http://github.com/acme/site", None),
            ("ssh://git@github.com/acme/site", None),
            ("git@github.com:acme/site", None),
            ("pkg:docker/alpine", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            let source = Source::parse(text);
            let came = source.as_ref().map(|source| (source.repository.as_str(), source.reference.as_deref()));
            assert_eq!(came, wanted, "{text}");
        }
    }

    #[test]
    fn repositories_are_wanted_whole() {
        let cases = [
            ("acme/site", "https://github.com/acme/site", true),
            ("acme/site", "https://github.com/acme/site-evil", false),
            ("acme/*", "https://github.com/acme/site", true),
            ("acme/*", "https://github.com/acme-evil/site", false),
            ("https://GitLab.com/acme/site.git", "https://gitlab.com/acme/site", true),
            ("https://gitlab.com/acme/site", "https://gitlab.com/acme/site/sub", false),
        ];
        for (wanted, came, matches) in cases {
            assert_eq!(repository(wanted).unwrap().matches(came), matches, "{wanted} {came}");
        }
        for wrong in
            ["", "site", "a/b/c", "https://github.com/acme/site@refs/heads/main", "https://*/acme/site", "acme/"]
        {
            assert!(repository(wrong).is_err(), "{wrong}");
        }
    }
}
