//! Sources: the repository, reference and commit that verified provenance says something was built from.

use serde_json::Value;

use super::object::ObjectId;
use crate::verified::Attestation;

/// The types of provenance that are read.
pub(super) const PROVENANCE: [&str; 2] = ["https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"];

/// What something was built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// As [`normal`] writes it.
    pub(super) repository: String,
    /// `refs/heads/main`.
    pub(super) reference: Option<String>,
    pub(super) commit: ObjectId,
}

impl Source {
    /// Reads what provenance says; if it does not, why.
    pub(super) fn of(attestation: &Attestation) -> Result<Self, String> {
        let predicate = &attestation.predicate;
        let text = |pointer: &str| predicate.pointer(pointer).and_then(Value::as_str);
        let (repository, reference, commit) = match text("/invocation/configSource/uri") {
            Some(uri) => {
                let (repository, reference) = split(uri);
                (repository, reference, text("/invocation/configSource/digest/sha1"))
            }
            None => {
                let workflow = "/buildDefinition/externalParameters/workflow";
                let repository = text(&format!("{workflow}/repository")).ok_or("provenance without a repository")?;
                let repository = normal(repository);
                let commit = predicate.pointer("/buildDefinition/resolvedDependencies").and_then(Value::as_array);
                // Several dependencies may be of the repository; only one is what was built.
                let mut commits = commit.into_iter().flatten().filter_map(|dependency| {
                    let (of, _) = split(dependency.get("uri")?.as_str()?);
                    (of == repository).then(|| dependency.pointer("/digest/gitCommit")?.as_str()).flatten()
                });
                let commit = commits.next();
                if commits.any(|other| Some(other) != commit) {
                    return Err(format!("provenance with several commits of {repository}"));
                }
                (repository, text(&format!("{workflow}/ref")).map(str::to_owned), commit)
            }
        };
        let commit = commit.ok_or_else(|| format!("provenance without a commit of {repository}"))?;
        let commit = commit.parse().map_err(|fault: super::fault::Fault| format!("provenance: {}", fault.why()))?;
        Ok(Self { repository, reference, commit })
    }
}

/// The repository and the reference of `git+https://host/owner/name@refs/heads/main`.
fn split(uri: &str) -> (String, Option<String>) {
    match uri.rsplit_once("@refs/") {
        Some((repository, reference)) => (normal(repository), Some(format!("refs/{reference}"))),
        None => (normal(uri), None),
    }
}

/// The address of a repository without what may be written in two ways: the host is in lower case.
pub(super) fn normal(address: &str) -> String {
    let address = address.strip_prefix("git+").unwrap_or(address).trim_end_matches('/');
    let address = address.strip_suffix(".git").unwrap_or(address);
    match address.split_once("://") {
        None => address.to_owned(),
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{}://{}/{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_equal_that_name_the_same_repository() {
        let wanted = "https://github.com/Acme/site";
        for same in
            ["git+https://github.com/Acme/site", "https://GitHub.com/Acme/site.git", "HTTPS://github.com/Acme/site/"]
        {
            assert_eq!(normal(same), wanted, "{same}");
        }
        for other in
            ["https://github.com/Acme/site-evil", "http://github.com/Acme/site", "https://github.com/acme/site"]
        {
            assert_ne!(normal(other), wanted, "{other}");
        }
        let split = split("git+https://github.com/Acme/site@refs/heads/a@b");
        assert_eq!(split, (wanted.to_owned(), Some("refs/heads/a@b".to_owned())));
    }
}
