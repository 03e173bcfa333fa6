//! References: which policies apply to what is asked for.

use std::sync::Arc;

use crate::pattern::Pattern;
use crate::policy::Policy;

/// Policies, and what each applies to. All that apply have to hold.
///
/// A reference that nothing applies to has no policy, and what that means decides who asks.
///
/// ```
/// use std::sync::Arc;
/// use skep_trust::{Pattern, Policies, Policy, PrivateKey, Verifier};
///
/// # fn main() -> skep_trust::Result<()> {
/// let release = Arc::new(Verifier::default().trust_key(PrivateKey::generate()?.public_key().clone()));
/// let pattern = Pattern::glob("registry.example.com/acme/**")?;
/// let policies = Policies::default().for_references(pattern, Policy::signed(release));
/// assert!(policies.of("registry.example.com/acme/web/site:v1").is_some());
/// assert!(policies.of("registry.example.com/others/site:v1").is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Policies(Vec<(Pattern, Policy)>);

impl Policies {
    /// Applies a policy to everything.
    pub fn for_all(self, policy: Policy) -> Self {
        self.for_references(Pattern::any(), policy)
    }

    /// Applies a policy to the references that a pattern matches.
    ///
    /// References are `host/repo`, with `:tag` or `@digest`. A pattern that matches the reference without these applies to
    /// all tags and digests. A glob or an exact one with a tag applies to that tag, and to all digests of its repository:
    /// nobody gets around it by asking for what the tag points to.
    pub fn for_references(mut self, pattern: Pattern, policy: Policy) -> Self {
        self.0.push((pattern, policy));
        self
    }

    /// The policy for a reference: all of those that apply, each once; `None` if there are none.
    pub fn of(&self, reference: &str) -> Option<Policy> {
        let mut applying: Vec<Policy> = Vec::new();
        for (pattern, policy) in &self.0 {
            if applies(pattern, reference) && !applying.iter().any(|known| Arc::ptr_eq(&known.0, &policy.0)) {
                applying.push(policy.clone());
            }
        }
        match applying.len() {
            0 | 1 => applying.pop(),
            _ => Some(Policy::all_of(applying)),
        }
    }

    /// Whether no policy applies to anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn applies(pattern: &Pattern, reference: &str) -> bool {
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    let repository = split_tag(named).0;
    // A tag that the pattern's tag matches stands for all that it may point to.
    let tagged = || Some(format!("{repository}:{}", sample(split_tag(pattern.text()?).1?)));
    pattern.matches(reference)
        || pattern.matches(named)
        || pattern.matches(repository)
        || digest.is_some() && tagged().is_some_and(|tagged| pattern.matches(&tagged))
}

/// What stands before the tag, and the tag.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        _ => (text, None),
    }
}

/// A text that a glob matches.
fn sample(glob: &str) -> String {
    glob.replace('*', "").replace('?', "x")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verifier::Verifier;

    fn policy() -> Policy {
        Policy::signed(Arc::new(Verifier::default()))
    }

    #[test]
    fn patterns_apply_to_references() {
        for (glob, reference, want) in [
            ("a.b/acme/**", "a.b/acme/site:v1", true),
            ("a.b/acme/**", "a.b/acme/x/site:v1", true),
            ("a.b/acme/**", "a.b/acme-evil/site:v1", false),
            ("a.b/acme/*", "a.b/acme/site:v1", true),
            ("a.b/acme/*", "a.b/acme/x/site:v1", false),
            ("a.b/acme/site", "a.b/acme/site:v1", true),
            ("a.b/acme/site", "a.b/acme/site@sha256:00", true),
            ("a.b/acme/site", "a.b/acme/site-evil:v1", false),
            ("a.b/acme/site:v*", "a.b/acme/site:v1", true),
            ("a.b/acme/site:v*", "a.b/acme/site:edge", false),
            ("a.b/acme/site:v*", "a.b/acme/site@sha256:00", true),
            ("a.b/acme/site:v?.?", "a.b/acme/site@sha256:00", true),
            ("a.b/acme/*:v*", "a.b/acme/x/site@sha256:00", false),
            ("a.b:5000/**", "a.b:5000/site@sha256:00", true),
            ("a.b:5000/site", "a.b:5000/site:v1", true),
            ("a.b:5000/site", "a.b/site:v1", false),
            ("**", "a.b/site", true),
            ("**:release", "a.b/site:release", true),
            ("**:release", "a.b/site:edge", false),
            ("oci:/srv/**", "oci:/srv/store:v1", true),
            ("oci:/srv/store", "oci:/srv/store:v1", true),
        ] {
            let policies = Policies::default().for_references(Pattern::glob(glob).unwrap(), policy());
            assert_eq!(policies.of(reference).is_some(), want, "{glob} {reference}");
        }
    }

    #[test]
    fn all_that_apply_are_one_policy_with_each_once() {
        let (one, two) = (policy(), policy());
        let glob = |text| Pattern::glob(text).unwrap();
        let policies = Policies::default().for_references(glob("a/**"), one.clone());
        assert!(Arc::ptr_eq(&policies.of("a/b:c").unwrap().0, &one.0));
        let policies = policies.for_references(glob("**"), one).for_references(glob("a/b"), two).for_all(policy());
        assert_eq!(format!("{:?}", policies.of("a/b:c").unwrap()).matches("Rule(").count(), 3);
        assert_eq!(format!("{:?}", policies.of("b:c").unwrap()).matches("Rule(").count(), 2);
        assert!(Policies::default().is_empty() && Policies::default().of("a/b").is_none() && !policies.is_empty());
    }
}
