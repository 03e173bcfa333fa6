//! Scopes: what a token is good for.

use std::collections::BTreeSet;
use std::fmt;

use skep_registry::RepoName;

/// What a request needs, or a token was asked for: `repository:library/alpine:pull,push`.
///
/// A set of single actions on resources. Printed as it was written, because some token servers compare the text;
/// equal when the sets are.
#[derive(Clone, Debug)]
pub struct Scope {
    text: String,
    is_unlimited: bool,
}

/// One action on one resource, both empty where a scope is not of three parts.
type Action<'a> = (&'a str, &'a str, &'a str);

impl Scope {
    /// A scope as a registry wrote it: parts separated by spaces, each `type:resource:action,action` or opaque.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_unlimited: false }
    }

    /// Every action on every resource. It cannot be written.
    pub fn unlimited() -> Self {
        Self { text: "*".to_owned(), is_unlimited: true }
    }

    /// To read a repository.
    pub fn pull(repo: &RepoName) -> Self {
        Self::new(format!("repository:{repo}:pull"))
    }

    /// To read and write a repository.
    pub fn push(repo: &RepoName) -> Self {
        Self::new(format!("repository:{repo}:pull,push"))
    }

    /// To write a repository with blobs of another one.
    pub fn mount(repo: &RepoName, from: &RepoName) -> Self {
        Self::new(format!("repository:{repo}:pull,push repository:{from}:pull"))
    }

    /// To delete from a repository.
    pub fn delete(repo: &RepoName) -> Self {
        Self::new(format!("repository:{repo}:delete"))
    }

    /// To list repositories.
    pub fn catalog() -> Self {
        Self::new("registry:catalog:*")
    }

    /// How many single actions this allows; none when they are without number.
    pub fn len(&self) -> Option<usize> {
        (!self.is_unlimited).then(|| self.actions().len())
    }

    /// Tells whether this allows nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Tells whether this allows all that another one does.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_unlimited || !other.is_unlimited && other.actions().is_subset(&self.actions())
    }

    /// What this or another one allows; as this is written, if the other adds nothing.
    pub fn union(&self, other: &Self) -> Self {
        if self.covers(other) {
            return self.clone();
        }
        if other.is_unlimited {
            return Self::unlimited();
        }
        Self::new(format!("{} {}", self.text, other.text)).canonical()
    }

    /// The same scope, in order and with the actions on one resource together.
    pub fn canonical(&self) -> Self {
        if self.is_unlimited {
            return self.clone();
        }
        let mut text = String::new();
        let mut last = None;
        for (kind, resource, action) in self.actions() {
            match last.replace((kind, resource)) {
                Some(before) if before == (kind, resource) && !action.is_empty() => text.push(','),
                before => {
                    text.push_str(if before.is_some() { " " } else { "" });
                    text.push_str(kind);
                    if !action.is_empty() {
                        text.push_str(&format!(":{resource}:"));
                    }
                }
            }
            text.push_str(action);
        }
        Self::new(text)
    }

    /// The parts, each of which is a parameter of its own at a token server.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.text.split_ascii_whitespace()
    }

    /// The first repository that this is about.
    pub(crate) fn repository(&self) -> Option<&str> {
        self.parts().find_map(|part| part.strip_prefix("repository:")?.rsplit_once(':')).map(|(name, _)| name)
    }

    /// Every single action.
    ///
    /// A resource may hold colons, in a host with a port for instance; its type and the actions may not.
    fn actions(&self) -> BTreeSet<Action<'_>> {
        let mut all = BTreeSet::new();
        for part in self.parts() {
            let three = part.split_once(':').and_then(|(kind, rest)| Some((kind, rest.rsplit_once(':')?)));
            match three {
                Some((kind, (resource, actions))) => {
                    all.extend(actions.split(',').map(|action| (kind, resource, action)));
                }
                None => {
                    all.insert((part, "", ""));
                }
            }
        }
        all
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.is_unlimited == other.is_unlimited && self.actions() == other.actions()
    }
}

impl Eq for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
        assert_eq!(Scope::mount(&two, &one).repository(), Some("z/w"));
        assert_eq!(Scope::catalog().repository(), None);
    }

    #[test]
    fn more_covers_less() {
        let all = "otherScope registry:catalog:* repository:bar/baz:push,pull repository:foo:delete";
        for (scope, other, want) in [
            (all, "repository:bar/baz:pull", true),
            (all, "otherScope registry:catalog:* repository:bar/baz:pull", true),
            (all, "repository:bar/baz:pull,push registry:catalog:*", true),
            (all, "otherScope", true),
            (all, "", true),
            ("repository:bar/baz:push", "repository:bar/baz:pull", false),
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
        assert!(Scope::unlimited().covers(&Scope::new(all)) && Scope::unlimited().covers(&Scope::unlimited()));
        assert!(!Scope::new("foo").covers(&Scope::unlimited()));
    }

    #[test]
    fn canonical_scopes_are_in_order_and_together() {
        for (text, want) in [
            ("repository:foo/bar/baz:push,pull", "repository:foo/bar/baz:pull,push"),
            (
                "repository:a:push,pull registry:catalog:* repository:other:pull",
                "registry:catalog:* repository:a:pull,push repository:other:pull",
            ),
            ("otherScope", "otherScope"),
            ("x repository:a:pull x repository:a:push repository:a:pull", "repository:a:pull,push x"),
            ("", ""),
        ] {
            let scope = Scope::new(text);
            assert_eq!((scope.canonical().to_string().as_str(), scope.to_string().as_str()), (want, text));
            assert_eq!(scope.canonical(), scope);
        }
        assert_eq!(Scope::unlimited().canonical().to_string(), "*");
    }

    #[test]
    fn unions_have_both() {
        let (one, other) = (
            "anotherScope:bad otherScope repository:arble:pull repository:foo:pull,push",
            "otherScope registry:catalog:* repository:foo:delete repository:bar/baz:pull yetAnotherScope",
        );
        let union = Scope::new(one).union(&Scope::new(other));
        let want = "anotherScope:bad otherScope registry:catalog:* repository:arble:pull repository:bar/baz:pull \
                    repository:foo:delete,pull,push yetAnotherScope";
        assert_eq!((union.to_string().as_str(), union.len()), (want, Some(9)));
        let kept = "repository:bar/baz:something,pull arble";
        assert_eq!(Scope::new(kept).union(&Scope::new("arble")).to_string(), kept);
        assert_eq!(Scope::new(kept).union(&Scope::unlimited()), Scope::unlimited());
        assert_eq!(Scope::unlimited().union(&Scope::new(kept)), Scope::unlimited());
    }

    #[test]
    fn scopes_are_counted_by_single_actions() {
        for (text, want) in
            [("repository:foo:pull,push repository:bar:pull,delete other registry:catalog:*", 6), ("", 0), ("x x", 1)]
        {
            assert_eq!((Scope::new(text).len(), Scope::new(text).is_empty()), (Some(want), want == 0));
        }
        assert_eq!((Scope::unlimited().len(), Scope::unlimited().is_empty()), (None, false));
    }
}
