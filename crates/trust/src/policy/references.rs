//! References: which policies apply to what is asked for.

use super::Policy;
use crate::pattern::Pattern;

/// Policies, and what they apply to.
///
/// Everything that applies has to hold. A reference that nothing applies to has no policy, and what that means decides
/// who asks.
#[derive(Clone, Debug, Default)]
pub struct Policies(Vec<(Pattern, Policy)>);

impl Policies {
    /// Adds a policy for every reference.
    pub fn for_all(self, policy: Policy) -> Self {
        self.for_references(Pattern::any(), policy)
    }

    /// Adds a policy for the references that match.
    ///
    /// A reference is written with its host: `registry.example/acme/site:v1`, `registry.example/acme/site@sha256:…`. A
    /// pattern applies to a reference if it matches that, or that without tag and digest. So
    /// `registry.example/acme/*` applies to everything in these repositories, by whatever tag or digest it is asked for.
    pub fn for_references(mut self, pattern: Pattern, policy: Policy) -> Self {
        self.0.push((pattern, policy));
        self
    }

    /// Whether nothing applies to anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The policy of a reference: all that apply, if any does.
    pub fn of(&self, reference: &str) -> Option<Policy> {
        let repository = repository(reference);
        let applies = |pattern: &Pattern| pattern.matches(reference) || pattern.matches(repository);
        let mut policies = self.0.iter().filter(|(pattern, _)| applies(pattern)).map(|(_, policy)| policy.clone());
        let first = policies.next()?;
        let rest: Vec<_> = policies.collect();
        if rest.is_empty() {
            return Some(first);
        }
        Some(Policy::all_of([first].into_iter().chain(rest)))
    }
}

/// The part of a reference in front of tag and digest.
fn repository(reference: &str) -> &str {
    let tagged = reference.split_once('@').map_or(reference, |(tagged, _)| tagged);
    match tagged.rsplit_once(':') {
        // What stands in front of a slash is a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => tagged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_what_stands_before_tag_and_digest() {
        let cases = [
            ("registry.example/acme/site", "registry.example/acme/site"),
            ("registry.example/acme/site:v1", "registry.example/acme/site"),
            ("registry.example:5000/acme/site", "registry.example:5000/acme/site"),
            ("registry.example:5000/acme/site:v1", "registry.example:5000/acme/site"),
            ("registry.example:5000/acme/site:v1@sha256:00", "registry.example:5000/acme/site"),
            ("registry.example/acme/site@sha256:00", "registry.example/acme/site"),
        ];
        for (reference, wanted) in cases {
            assert_eq!(repository(reference), wanted);
        }
    }
}
