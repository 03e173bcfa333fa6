//! Verification of a reference: its entries in the log, against the policy that was in force at each.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::Timestamp;

use super::approval::ATTESTATIONS;
use super::approval::Approvals;
use super::approval::Change;
use super::fault::Fault;
use super::fault::Result;
use super::key::Evidence;
use super::key::Principal;
use super::log::Content;
use super::log::Entry;
use super::log::Log;
use super::object::ObjectId;
use super::object::Signed;
use super::repository::MAX_COMMIT;
use super::repository::Repository;
use super::state::POLICY;
use super::state::State;
use crate::verifier::Verifier;

/// What is asked of a repository.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    /// Who signed the first root, all of them.
    pub(super) pinned: Vec<Principal>,
    /// Whether whoever signed the first root is believed.
    pub(super) trusts_first_root: bool,
    /// Whether a reference that no rule protects is good.
    pub(super) allows_unprotected: bool,
    /// Whether all entries of the reference are verified, and not the last one only.
    pub(super) is_whole: bool,
    /// Whether metadata beyond its time is refused.
    pub(super) refuses_expired: bool,
}

/// A repository with its log, and the states of the policy so far as they were asked for.
pub(super) struct Case<'a> {
    repository: &'a Repository,
    log: Log,
    demands: &'a Demands,
    sigstore: Option<&'a Verifier>,
    /// By the place of their entry; each may follow the one before.
    states: Vec<(usize, Rc<State>)>,
    /// The places of those that were verified in themselves.
    verified: RefCell<BTreeSet<usize>>,
}

/// Where a reference stands, by those who may put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand(ObjectId);

impl<'a> Case<'a> {
    /// Reads log and policies; `None` when the repository has no log.
    pub(super) fn open(
        repository: &'a Repository,
        demands: &'a Demands,
        sigstore: Option<&'a Verifier>,
    ) -> Result<Option<Self>> {
        let Some(log) = Log::read(repository)? else { return Ok(None) };
        let verified = RefCell::default();
        let mut case = Self { repository, log, demands, sigstore, states: Vec::new(), verified };
        case.states = case.policies()?;
        Ok(Some(case))
    }

    /// All states of the policy in order; the first is signed by those that are pinned, each by those of the one before.
    fn policies(&self) -> Result<Vec<(usize, Rc<State>)>> {
        let mut states: Vec<(usize, Rc<State>)> = Vec::new();
        for place in self.log.of(POLICY, usize::MAX) {
            if states.len() == MAX_POLICIES {
                return Err(Fault::unknown(format!("more than {MAX_POLICIES} states of the policy")));
            }
            let entry = self.log.entry(place);
            let state = State::load(self.repository, self.moved(entry, POLICY)?)?;
            let followed = match states.last() {
                None => self.check_first(&state),
                Some((_, before)) => before.may_become(&state, self.sigstore),
            };
            followed.map_err(|fault| fault.of(format!("policy of log entry {}", entry.id)))?;
            states.push((place, Rc::new(state)));
        }
        Ok(states)
    }

    fn check_first(&self, state: &State) -> Result<()> {
        let pinned: Vec<_> = self.demands.pinned.iter().collect();
        if state.is_rooted_in(&pinned, self.sigstore) || (pinned.is_empty() && self.demands.trusts_first_root) {
            return Ok(());
        }
        let wanted: Vec<_> = pinned.iter().map(|principal| principal.id.as_str()).collect();
        Err(Fault::denied(format!("wanted the first root to be signed by all of {wanted:?}, which it is not")))
    }

    /// The state that was in force at a place, with all its signatures checked.
    fn state_at(&self, place: usize) -> Result<Rc<State>> {
        let found = self.states.iter().rev().find(|(at, _)| *at < place);
        let (at, state) = found.ok_or_else(|| Fault::denied("no policy was in force"))?;
        if !self.verified.borrow().contains(at) {
            let named = |fault: Fault| fault.of(format!("policy of log entry {}", self.log.entry(*at).id));
            state.verify(self.sigstore).map_err(named)?;
            if self.demands.refuses_expired {
                self.check_expiries(state).map_err(named)?;
            }
            self.verified.borrow_mut().insert(*at);
        }
        Ok(Rc::clone(state))
    }

    fn check_expiries(&self, state: &State) -> Result<()> {
        let now = Timestamp::now();
        let is_over = |text: &&str| text.parse::<Timestamp>().map_or(true, |until| until < now);
        match state.expiries().find(is_over) {
            None => Ok(()),
            Some(until) => Err(Fault::denied(format!("expired: {until:?}"))),
        }
    }

    /// Verifies where a reference stands, and that it stands there.
    pub(super) fn verify(&self, reference: &str) -> Result<Stand> {
        if ![HEADS, TAGS].iter().any(|prefix| reference.starts_with(prefix)) {
            return Err(Fault::denied(format!("{reference:?}: wanted a branch or a tag, {HEADS}… or {TAGS}…")));
        }
        let places: Vec<_> = self.log.of(reference, usize::MAX).collect();
        let last = *places.last().ok_or_else(|| Fault::denied(format!("{reference}: the log has no entry for it")))?;
        if self.log.is_skipped(last) {
            let why = format!("{reference}: its last log entry {} was taken back", self.log.entry(last).id);
            return Err(Fault::denied(why));
        }
        let target = self.moved(self.log.entry(last), reference)?;
        match self.demands.is_whole {
            true => self.verify_all(reference, &places)?,
            false => self.verify_entry(reference, last)?,
        }
        match self.repository.reference(reference)? {
            Some(stands) if stands == target => Ok(Stand(target)),
            // A tag may be in the log by the commit that it is of.
            Some(stands) if reference.starts_with(TAGS) && self.repository.peel(stands)? == target => Ok(Stand(target)),
            stands => {
                let stands = stands.map_or_else(|| "nowhere".to_owned(), |id| format!("at {id}"));
                Err(Fault::denied(format!("{reference} stands {stands}, the log has it at {target}")))
            }
        }
    }

    /// Checks that a commit stands somewhere, or leads there.
    pub(super) fn check_leads(&self, commit: ObjectId, Stand(target): Stand) -> Result<()> {
        match self.repository.is_ancestor(commit, self.repository.peel(target)?)? {
            true => Ok(()),
            false => Err(Fault::denied(format!("built from {commit}, which does not lead to {target}"))),
        }
    }

    /// Verifies all entries. One that does not hold has to be taken back, and with it all that came after it, until one
    /// that holds brings back the files of the last one before it that does.
    fn verify_all(&self, reference: &str, places: &[usize]) -> Result<()> {
        let mut broken: Option<(Fault, ObjectId)> = None;
        let mut good: Option<ObjectId> = None;
        for place in places.iter().copied() {
            let entry = self.log.entry(place);
            let is_skipped = self.log.is_skipped(place);
            let held = self.verify_entry(reference, place);
            let target = self.moved(entry, reference)?;
            broken = match (broken, held) {
                (None, Ok(())) if is_skipped => None,
                (None, Ok(())) => {
                    good = Some(target);
                    None
                }
                (None, Err(fault)) if !is_skipped => return Err(fault),
                (None, Err(fault)) => match good {
                    Some(good) => Some((fault, self.files(good)?)),
                    None => return Err(fault),
                },
                (Some(broken), _) if is_skipped => Some(broken),
                (Some((_, files)), Ok(())) if self.files(target)? == files => {
                    good = Some(target);
                    None
                }
                (Some((fault, _)), held) => return Err(held.err().unwrap_or(fault)),
            };
        }
        match broken {
            None => Ok(()),
            Some((fault, _)) => Err(fault),
        }
    }

    fn files(&self, target: ObjectId) -> Result<ObjectId> {
        Ok(self.repository.commit(self.repository.peel(target)?, MAX_COMMIT)?.tree)
    }

    /// Where an entry moves a reference, by somebody's decision.
    fn moved(&self, entry: &Entry, reference: &str) -> Result<ObjectId> {
        match &entry.content {
            Content::Reference { reference: of, target } if of == reference => Ok(*target),
            _ => Err(Fault::unknown(format!(
                "log entry {}: {reference} was taken over from another repository, which is not supported",
                entry.id,
            ))),
        }
    }

    fn verify_entry(&self, reference: &str, place: usize) -> Result<()> {
        let entry = self.log.entry(place);
        let named = |fault: Fault| fault.of(format!("{reference}, log entry {}", entry.id));
        self.verify_move(reference, place, self.moved(entry, reference)?).map_err(named)
    }

    fn verify_move(&self, reference: &str, place: usize, target: ObjectId) -> Result<()> {
        let state = self.state_at(place)?;
        let before = self.log.of(reference, place).next_back().and_then(|at| self.log.entry(at).target(reference));
        let is_tag = reference.starts_with(TAGS);
        let to = match is_tag {
            true => self.repository.peel(target)?,
            false => self.repository.commit(target, MAX_COMMIT)?.tree,
        };
        let change = Change { reference, from: before.unwrap_or_default(), to };
        let approvals = match self.log.of(ATTESTATIONS, place).next_back() {
            None => Approvals::default(),
            Some(at) => {
                let commit = self.moved(self.log.entry(at), ATTESTATIONS)?;
                Approvals::load(self.repository, commit, &state, change, self.sigstore)?
            }
        };
        let judge = Judge { state: &state, approvals: &approvals, sigstore: self.sigstore };
        let signed = self.repository.commit(self.log.entry(place).id, MAX_COMMIT)?.signed;
        let path = format!("git:{reference}");
        let is_protected = judge.allows(&path, &signed)?;
        if !is_protected && !self.demands.allows_unprotected {
            return Err(Fault::denied("no rule protects it"));
        }
        judge.check_thresholds(&path, &signed)?;
        self.check_nothing_lost(&state, reference, place, target)?;
        if is_tag && is_protected {
            self.check_tag(&judge, &path, target)?;
        }
        if !is_tag && state.has_file_rules() {
            self.check_files(&judge, before.filter(|before| !before.is_zero()), target)?;
        }
        Ok(())
    }

    /// Checks rules against moves that leave commits behind.
    fn check_nothing_lost(&self, state: &State, reference: &str, place: usize, target: ObjectId) -> Result<()> {
        let path = format!("git:{reference}");
        let rules = state.root.global.iter().filter(|rule| rule.threshold.is_none());
        let Some(rule) = rules.into_iter().find(|rule| rule.paths.iter().any(|pattern| pattern.matches(&path))) else {
            return Ok(());
        };
        let before = self.log.of(reference, place).rev().find(|at| !self.log.is_skipped(*at));
        let Some(before) = before.and_then(|at| self.log.entry(at).target(reference)) else { return Ok(()) };
        match self.repository.is_ancestor(self.repository.peel(before)?, self.repository.peel(target)?)? {
            true => Ok(()),
            false => Err(Fault::denied(format!("{}: {target} does not contain {before}", rule.name))),
        }
    }

    /// Checks that one of those who may move a tag signed the tag itself.
    fn check_tag(&self, judge: &Judge<'_>, path: &str, target: ObjectId) -> Result<()> {
        let signed = match self.repository.tag(target)? {
            Some(tag) => tag.signed,
            None => self.repository.commit(target, MAX_COMMIT)?.signed,
        };
        let evidence = Evidence { object: Some(&signed), ..Evidence::default() };
        let rules = judge.state.rules_for(path)?;
        match rules.iter().any(|matched| !evidence.signers(&matched.principals).is_empty()) {
            true => Ok(()),
            false => Err(Fault::denied(format!("nobody who may move the tag signed {target}"))),
        }
    }

    /// Checks the rules about files, for every commit that is new.
    fn check_files(&self, judge: &Judge<'_>, before: Option<ObjectId>, target: ObjectId) -> Result<()> {
        let commits = self.repository.commits_between(before, target)?;
        if commits.len() > MAX_COMMITS {
            let why = format!("rules about files, and {} new commits; at most {MAX_COMMITS}", commits.len());
            return Err(Fault::unknown(why));
        }
        for id in commits {
            let signed = self.repository.commit(id, MAX_COMMIT)?.signed;
            // Signatures take most of the time; a commit changes many files under few rules.
            let mut known = BTreeSet::new();
            for path in self.repository.changed_paths(id)? {
                let path = format!("file:{path}");
                let named = |fault: Fault| fault.of(format!("commit {id}, {path}"));
                let rules: Vec<_> = judge.state.rules_for(&path)?.iter().map(|matched| &matched.rule.name).collect();
                if known.insert(rules) {
                    judge.allows(&path, &signed).map_err(named)?;
                }
                judge.check_thresholds(&path, &signed).map_err(named)?;
            }
        }
        Ok(())
    }
}

/// Decides by rules who may change a path.
struct Judge<'a> {
    state: &'a State,
    approvals: &'a Approvals,
    sigstore: Option<&'a Verifier>,
}

impl Judge<'_> {
    fn signers<'p>(&self, signed: &Signed, principals: &[&'p Principal]) -> BTreeSet<&'p str> {
        let envelope = self.approvals.authorization.as_ref();
        Evidence { object: Some(signed), envelope, sigstore: self.sigstore }.signers(principals)
    }

    /// Whether a rule protects the path; checks that one of these rules is met.
    fn allows(&self, path: &str, signed: &Signed) -> Result<bool> {
        let rules = self.state.rules_for(path)?;
        let mut missed = Vec::new();
        for matched in &rules {
            let mut agreed = self.signers(signed, &matched.principals);
            let reviewers = matched.principals.iter().filter(|principal| self.approvals.is_reviewer(principal));
            agreed.extend(reviewers.map(|principal| principal.id.as_str()));
            let role = &matched.rule.role;
            if agreed.len() >= role.threshold {
                return Ok(true);
            }
            let (name, wanted) = (&matched.rule.name, &role.principals);
            missed.push(format!("{name}: wanted {} of {wanted:?}, got {agreed:?}", role.threshold));
        }
        match rules.is_empty() {
            true => Ok(false),
            false => Err(Fault::denied(missed.join("; "))),
        }
    }

    /// Checks the numbers that the root asks for, of anybody.
    fn check_thresholds(&self, path: &str, signed: &Signed) -> Result<()> {
        for rule in &self.state.root.global {
            let Some(threshold) = rule.threshold.filter(|_| rule.paths.iter().any(|pattern| pattern.matches(path)))
            else {
                continue;
            };
            let agreed = self.signers(signed, &self.state.everybody());
            if agreed.len() < threshold {
                return Err(Fault::denied(format!("{}: wanted {threshold} to agree, got {agreed:?}", rule.name)));
            }
        }
        Ok(())
    }
}

const HEADS: &str = "refs/heads/";
const MAX_COMMITS: usize = 20_000;
const MAX_POLICIES: usize = 10_000;
const TAGS: &str = "refs/tags/";
