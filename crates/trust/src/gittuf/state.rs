//! A state of the policy: all metadata at one commit, who signed it, and the rules for a path.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::envelope::Envelope;
use super::fault::Fault;
use super::fault::Result;
use super::key::Evidence;
use super::key::Principal;
use super::metadata::PathRule;
use super::metadata::Principals;
use super::metadata::Role;
use super::metadata::Root;
use super::metadata::RuleFile;
use super::object::ObjectId;
use super::repository::Repository;
use crate::verifier::Verifier;

/// Where policies are.
pub(super) const POLICY: &str = "refs/gittuf/policy";

/// All metadata of a commit of the policy. Parsed; whether the right ones signed it is for [`verify`](Self::verify).
#[derive(Clone, Debug)]
pub(super) struct State {
    root_envelope: Envelope,
    pub(super) root: Root,
    targets: Option<(Envelope, RuleFile)>,
    delegated: BTreeMap<String, (Envelope, RuleFile)>,
}

/// A rule that matched a path, with those it trusts.
#[derive(Clone, Debug)]
pub(super) struct Matched<'a> {
    pub(super) rule: &'a PathRule,
    pub(super) principals: Vec<&'a Principal>,
}

/// Principals as one file sees them: its own, before those of the files that lead to it.
#[derive(Clone)]
struct Scope<'a>(Vec<&'a Principals>);

impl<'a> Scope<'a> {
    fn of(&self, role: &Role) -> Result<Vec<&'a Principal>> {
        let find = |id: &String| {
            let found = self.0.iter().find_map(|principals| principals.get(id));
            found.ok_or_else(|| Fault::unknown(format!("a rule trusts {id:?}, whom nobody knows")))
        };
        role.principals.iter().map(find).collect()
    }

    fn inside(&self, principals: &'a Principals) -> Self {
        Self([&[principals], &self.0[..]].concat())
    }
}

impl State {
    /// Reads the metadata of a commit.
    pub(super) fn load(repository: &Repository, commit: ObjectId) -> Result<Self> {
        Self::load_parts(repository, commit).map_err(|fault| fault.of(format!("policy {commit}")))
    }

    fn load_parts(repository: &Repository, commit: ObjectId) -> Result<Self> {
        let tree = repository.commit(commit, MAX_COMMIT)?.tree;
        let (mut root, mut targets, mut delegated) = (None, None, BTreeMap::new());
        let mut metadata = None;
        for (name, id) in repository.tree(tree)? {
            match name.as_str() {
                "metadata" => metadata = Some(id),
                "hooks" => {}
                other => return Err(Fault::unknown(format!("{other:?} in it is not supported"))),
            }
        }
        let files = repository.tree(metadata.ok_or_else(|| Fault::unknown("no metadata"))?)?;
        if files.len() > MAX_FILES {
            return Err(Fault::unknown(format!("{} files, at most {MAX_FILES}", files.len())));
        }
        for (name, id) in files {
            let named = |fault: Fault| fault.of(&name);
            let envelope = Envelope::parse(&repository.blob(id, MAX_METADATA)?).map_err(named)?;
            let rules = || RuleFile::parse(&envelope.payload).map_err(named);
            match name.strip_suffix(".json") {
                Some("root") => root = Some((Root::parse(&envelope.payload).map_err(named)?, envelope)),
                Some("targets") => targets = Some((rules()?, envelope)),
                Some(role) => {
                    delegated.insert(role.to_owned(), (rules()?, envelope));
                }
                None => return Err(Fault::unknown(format!("{name:?} in its metadata is not supported"))),
            }
        }
        let (root, root_envelope) = root.ok_or_else(|| Fault::unknown("no root"))?;
        let swap = |(rules, envelope)| (envelope, rules);
        let delegated = delegated.into_iter().map(|(name, pair)| (name, swap(pair))).collect();
        let state = Self { root_envelope, root, targets: targets.map(swap), delegated };
        state.names_are_unique()?;
        Ok(state)
    }

    /// A delegation finds its file by the name of its rule.
    fn names_are_unique(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        match self.rules().find(|rule| !names.insert(&rule.name)) {
            None => Ok(()),
            Some(rule) => Err(Fault::unknown(format!("two rules {:?}", rule.name))),
        }
    }

    fn files(&self) -> impl Iterator<Item = &RuleFile> {
        self.targets.iter().chain(self.delegated.values()).map(|(_, rules)| rules)
    }

    fn rules(&self) -> impl Iterator<Item = &PathRule> {
        self.files().flat_map(|file| &file.rules)
    }

    /// Whether any rule is about files.
    pub(super) fn has_file_rules(&self) -> bool {
        self.rules().flat_map(|rule| &rule.paths).any(|pattern| pattern.is_for_files())
    }

    /// Everybody the policy knows, each id once.
    pub(super) fn everybody(&self) -> Vec<&Principal> {
        let mut all = BTreeMap::new();
        for principals in [&self.root.principals].into_iter().chain(self.files().map(|file| &file.principals)) {
            all.extend(principals.iter());
        }
        all.into_values().collect()
    }

    /// Those of an application that says who approved.
    pub(super) fn application(&self, role: &Role) -> Result<Vec<&Principal>> {
        Scope(self.files().map(|file| &file.principals).chain([&self.root.principals]).collect()).of(role)
    }

    /// Checks that those who should have signed all metadata.
    pub(super) fn verify(&self, sigstore: Option<&Verifier>) -> Result<()> {
        let root = Scope(vec![&self.root.principals]);
        reached("root", &self.root.root, &root, &self.root_envelope, sigstore)?;
        let Some((envelope, targets)) = &self.targets else {
            return match self.delegated.keys().next() {
                None => Ok(()),
                Some(name) => Err(Fault::unknown(format!("rules {name:?}, which nothing leads to"))),
            };
        };
        let role = self.root.targets.as_ref().ok_or_else(|| Fault::denied("nobody may sign targets"))?;
        reached("targets", role, &root, envelope, sigstore)?;
        let mut left: BTreeSet<_> = self.delegated.keys().collect();
        let mut queue = vec![(targets, Scope(vec![&targets.principals]))];
        while let Some((file, scope)) = queue.pop() {
            for rule in &file.rules {
                scope.of(&rule.role)?;
                let Some((envelope, delegated)) = self.delegated.get(&rule.name) else { continue };
                reached(&rule.name, &rule.role, &scope, envelope, sigstore)?;
                // Names of rules are unique, so nothing is reached twice.
                if left.remove(&rule.name) {
                    queue.push((delegated, scope.inside(&delegated.principals)));
                }
            }
        }
        match left.first() {
            None => Ok(()),
            Some(name) => Err(Fault::unknown(format!("rules {name:?}, which nothing leads to"))),
        }
    }

    /// Checks that given principals signed the root, all of them.
    pub(super) fn is_rooted_in(&self, pinned: &[&Principal], sigstore: Option<&Verifier>) -> bool {
        let evidence = Evidence { envelope: Some(&self.root_envelope), sigstore, ..Evidence::default() };
        !pinned.is_empty() && evidence.signers(pinned).len() == pinned.len()
    }

    /// Checks that a state may come after this one: those of this one's root signed it, and nothing became older.
    pub(super) fn may_become(&self, next: &Self, sigstore: Option<&Verifier>) -> Result<()> {
        let scope = Scope(vec![&self.root.principals]);
        reached("root", &self.root.root, &scope, &next.root_envelope, sigstore)?;
        let no_older = |what: &str, before: u64, after: u64| match before <= after {
            true => Ok(()),
            false => Err(Fault::denied(format!("rolled back: version {after} of {what} after {before}"))),
        };
        no_older("root", self.root.version, next.root.version)?;
        let gone = |what: &str| Fault::denied(format!("rolled back: {what} is gone"));
        if let Some((_, before)) = &self.targets {
            let (_, after) = next.targets.as_ref().ok_or_else(|| gone("targets"))?;
            no_older("targets", before.version, after.version)?;
        }
        for (name, (_, before)) in &self.delegated {
            let (_, after) = next.delegated.get(name).ok_or_else(|| gone(name))?;
            no_older(name, before.version, after.version)?;
        }
        Ok(())
    }

    /// The times until which all metadata wants to be used.
    pub(super) fn expiries(&self) -> impl Iterator<Item = &str> {
        let files = self.files().map(|file| &file.expires);
        [&self.root.expires].into_iter().chain(files).filter_map(Option::as_deref)
    }

    /// The rules that protect a path, the deepest delegations of each first. None when it is not protected.
    pub(super) fn rules_for(&self, path: &str) -> Result<Vec<Matched<'_>>> {
        let (_, targets) = self.targets.as_ref().ok_or_else(|| Fault::denied("the policy has no rules"))?;
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        let mut queue = vec![(targets, Scope(vec![&targets.principals]))];
        while let Some((file, scope)) = queue.pop() {
            let mut inside = Vec::new();
            for rule in file.rules.iter().filter(|rule| rule.paths.iter().any(|pattern| pattern.matches(path))) {
                found.push(Matched { rule, principals: scope.of(&rule.role)? });
                if let Some((_, delegated)) = self.delegated.get(&rule.name).filter(|_| seen.insert(&rule.name)) {
                    inside.push((delegated, scope.inside(&delegated.principals)));
                }
                if rule.is_last {
                    break;
                }
            }
            queue.extend(inside.into_iter().rev());
        }
        Ok(found)
    }
}

/// Checks that enough of a role signed an envelope.
fn reached(name: &str, role: &Role, scope: &Scope<'_>, envelope: &Envelope, sigstore: Option<&Verifier>) -> Result<()> {
    let evidence = Evidence { envelope: Some(envelope), sigstore, ..Evidence::default() };
    let signers = evidence.signers(&scope.of(role)?);
    if signers.len() >= role.threshold {
        return Ok(());
    }
    let wanted: Vec<_> = role.principals.iter().map(String::as_str).collect();
    let said: Vec<_> = envelope.signatures.iter().map(|signature| signature.key.as_str()).collect();
    Err(Fault::denied(format!(
        "{name}: wanted {} of {wanted:?} to sign, {} did; there are signatures that say to be of {said:?}",
        role.threshold,
        signers.len(),
    )))
}

const MAX_COMMIT: u64 = 64 << 10;
const MAX_FILES: usize = 256;
const MAX_METADATA: u64 = 1 << 20;
