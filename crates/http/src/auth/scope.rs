//! Scopes: what a token is good for.

use std::collections::BTreeSet;
use std::fmt;

use skep_registry::RepoName;

/// What a request needs, or a token was asked for: `repository:library/alpine:pull,push`.
///
/// Printed as it was written, because some token servers compare the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope(String);

impl Scope {
    /// A scope as a registry wrote it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// To read a repository.
    pub(crate) fn pull(repo: &RepoName) -> Self {
        Self(format!("repository:{repo}:pull"))
    }

    /// To read and write a repository.
    pub(crate) fn push(repo: &RepoName) -> Self {
        Self(format!("repository:{repo}:pull,push"))
    }

    /// To write a repository with blobs of another one.
    pub(crate) fn mount(repo: &RepoName, from: &RepoName) -> Self {
        Self(format!("repository:{repo}:pull,push repository:{from}:pull"))
    }

    /// To delete from a repository.
    pub(crate) fn delete(repo: &RepoName) -> Self {
        Self(format!("repository:{repo}:delete"))
    }

    /// To list repositories.
    pub(crate) fn catalog() -> Self {
        Self("registry:catalog:*".to_owned())
    }

    /// The parts, each of which is a parameter of its own at a token server.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// Tells whether this allows all that another one does.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.actions().is_subset(&self.actions())
    }

    /// Every single action as resource and action. What is not of three parts is one action of its own.
    ///
    /// A resource may hold colons, in a host with a port for instance; its type and the actions may not.
    fn actions(&self) -> BTreeSet<(&str, &str)> {
        let split = |part| match str::rsplit_once(part, ':') {
            Some((resource, actions)) if resource.contains(':') => (resource, actions),
            _ => (part, ""),
        };
        self.parts()
            .map(split)
            .flat_map(|(resource, actions)| actions.split(',').map(move |one| (resource, one)))
            .collect()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_its_scope() {
        let (one, two) = ("x/y".parse().unwrap(), "z/w".parse().unwrap());
        for (scope, want) in [
            (Scope::pull(&one), "repository:x/y:pull"),
            (Scope::push(&one), "repository:x/y:pull,push"),
            (Scope::mount(&two, &one), "repository:z/w:pull,push repository:x/y:pull"),
            (Scope::delete(&one), "repository:x/y:delete"),
            (Scope::catalog(), "registry:catalog:*"),
        ] {
            assert_eq!(scope.to_string(), want);
        }
    }

    #[test]
    fn more_covers_less() {
        let all = "otherScope registry:catalog:* repository:bar/baz:push,pull repository:foo:delete";
        for (scope, other, want) in [
            (all, "repository:bar/baz:pull", true),
            (all, "repository:bar/baz:pull,push registry:catalog:*", true),
            (all, "otherScope", true),
            (all, "", true),
            (all, "repository:bar/baz:delete", false),
            (all, "repository:bar:pull", false),
            (all, "repository:foo:pull", false),
            (all, "anotherScope", false),
            ("repository:h:5000/foo:pull,push", "repository:h:5000/foo:pull", true),
            ("", "", true),
            ("", "repository:foo:pull", false),
        ] {
            assert_eq!(Scope::new(scope).covers(&Scope::new(other)), want, "{scope} | {other}");
        }
    }
}
