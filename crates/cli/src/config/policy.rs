//! What has to hold of what is read: the tables `policy` of the file, and what the command line adds.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use skep_trust::Pattern;
use skep_trust::Policies;
use skep_trust::Policy;
use skep_trust::PolicyFile;
use toml::Spanned;

use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::pointed;

/// A table of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    references: Spanned<Vec<Spanned<String>>>,
    file: Spanned<PathBuf>,
}

/// Policies, each with the file that says it and what it applies to.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyConfig {
    pub(crate) rules: Vec<Rule>,
}

/// A policy and what it applies to.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// As they are written; none is everything.
    pub(crate) references: Vec<String>,
    pub(crate) file: PathBuf,
    patterns: Vec<Pattern>,
    policy: Policy,
}

impl PolicyConfig {
    /// What the file of the configuration says. Its policies are in files beside it, and read at once: one that is not as
    /// it should be is a mistake, and nothing works until it is mended.
    pub(super) fn parse(path: &Path, text: &str, tables: Vec<Table>) -> Outcome<Self> {
        let mut rules = Vec::new();
        for Table { references, file } in tables {
            let wrong = |span, why: String| pointed::at(path, text, Some(span), &why);
            if references.get_ref().is_empty() {
                return Err(wrong(references.span(), "a policy for nothing; all there is is \"**\"".to_owned()));
            }
            let (mut written, mut patterns) = (Vec::new(), Vec::new());
            for reference in references.into_inner() {
                patterns.push(pattern(reference.get_ref()).map_err(|why| wrong(reference.span(), why))?);
                written.push(reference.into_inner());
            }
            let beside = path.parent().unwrap_or(Path::new("")).join(file.get_ref());
            let policy = read(&beside).map_err(|why| wrong(file.span(), why))?;
            rules.push(Rule { references: written, file: beside, patterns, policy });
        }
        Ok(Self { rules })
    }

    /// The same, and policies for everything from the command line and the environment.
    pub(super) fn with_flags(mut self, given: &[PathBuf]) -> Outcome<Self> {
        let mut files = given.to_vec();
        // A flag that stands before and behind the name of the command is taken from behind it, and one in place of the
        // variable. Here nothing takes the place of anything.
        for file in said(std::env::args_os()).into_iter().chain(std::env::var_os("SKEP_POLICY")).map(PathBuf::from) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        for file in files {
            let policy = read(&file).map_err(|why| Failure::new(Exit::Usage, why))?;
            self.rules.push(Rule { references: Vec::new(), file, patterns: Vec::new(), policy });
        }
        Ok(self)
    }

    pub(super) fn policies(&self) -> Policies {
        self.rules.iter().fold(Policies::default(), |policies, rule| rule.add_to(policies))
    }
}

impl Rule {
    /// Tells whether the policy applies to a canonical name.
    pub(crate) fn applies_to(&self, canonical: &str) -> bool {
        self.add_to(Policies::default()).of(canonical).is_some()
    }

    fn add_to(&self, policies: Policies) -> Policies {
        if self.references.is_empty() {
            return policies.for_all(self.policy.clone());
        }
        self.patterns.iter().fold(policies, |policies, it| policies.for_references(it.clone(), self.policy.clone()))
    }
}

fn read(file: &Path) -> Result<Policy, String> {
    PolicyFile::read(file).and_then(|said| said.policy()).map_err(|error| error.to_string())
}

/// All that the flag says on a line.
fn said(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.skip(1).take_while(|word| word != "--");
    let mut said = Vec::new();
    while let Some(word) = words.next() {
        if word == "--policy" {
            said.extend(words.next());
        } else if let Some(file) = word.to_str().and_then(|word| word.strip_prefix("--policy=")) {
            said.push(file.into());
        }
    }
    said
}

/// What a policy applies to: `registry.example.com/team/**`. What could never match is a mistake, not a policy for nothing.
fn pattern(text: &str) -> Result<Pattern, String> {
    let of_layout = text.strip_prefix("oci:");
    let is_wild = |text: &str| text.contains(['*', '?']);
    match (of_layout, text.split_once('/')) {
        (Some(path), _) if !path.starts_with(['/', '*']) => {
            return Err(format!(
                "{text:?} can match nothing: a layout is known by its path from the root, oci:/srv/store"
            ));
        }
        (Some(_), _) => {}
        (None, None) if !text.contains("**") => {
            return Err(format!("{text:?} names no repository; all of a registry is \"registry.example.com/**\""));
        }
        (None, Some((host, _))) if !is_wild(host) => {
            if host != "localhost" && !skep_registry::is_host(host) {
                return Err(format!(
                    "{text:?} does not begin with the host of a registry, as registry.example.com:5000 is"
                ));
            }
            let canonical = skep::canonical_host(host).map_err(|error| error.to_string())?;
            if canonical != host {
                return Err(format!(
                    "{text:?} can match nothing: {host} is known as {canonical}, whichever is asked for"
                ));
            }
        }
        (None, Some((host, _))) if host.chars().any(|letter| letter.is_ascii_uppercase()) => {
            return Err(format!("{text:?} can match nothing: hosts are known in small letters"));
        }
        (None, _) => {}
    }
    Pattern::glob(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_could_never_match_are_mistakes() {
        for text in
            ["**", "a.b/**", "a.b:5000/c/*", "a.b/c:v*", "*.b/c", "**:v1", "localhost/x", "oci:/srv/**", "oci:**"]
        {
            assert!(pattern(text).is_ok(), "{text}");
        }
        for (text, why) in [
            ("a.b", "names no repository"),
            ("", "names no repository"),
            ("name/x", "does not begin with the host"),
            ("https://a.b/c", "does not begin with the host"),
            ("A.b/c", "is known as a.b"),
            ("a.b:443/c", "is known as a.b"),
            ("index.docker.io/acme/**", "is known as docker.io"),
            ("*.B/c", "small letters"),
            ("oci:store/**", "from the root"),
        ] {
            let said = pattern(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn all_that_the_line_says_is_found() {
        let said = |line: &str| said(line.split(' ').map(OsString::from));
        assert_eq!(said("skep --policy a ls --policy=b a.b/c --policy c -- --policy d"), ["a", "b", "c"]);
        assert_eq!(said("skep ls a.b/c"), [""; 0]);
        assert_eq!(said("skep ls --policy"), [""; 0]);
    }
}
