//! gittuf: the commit that something was built from was put where it stands by those who may.
//!
//! gittuf keeps a log of where every reference of a Git repository stands, signed by who moved it, and a policy of who
//! may. Both are in the repository; whoever hosts it cannot change them unseen. This reads them, by `git`.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::error::Result;
use crate::identity::IdentityPattern;
use crate::policy;
use crate::policy::Facts;
use crate::policy::Provenance;
use crate::policy::Refusal;
use crate::policy::Rule;
use crate::root::TrustedRoot;
use crate::verified::Verified;
use crate::verifier::Verifier;

mod approval;
mod envelope;
mod fault;
mod git;
mod key;
mod log;
mod metadata;
mod mirror;
mod object;
mod path;
mod pgp;
mod repository;
mod source;
mod state;
mod verify;

use fault::Fault;
use key::Principal;
use mirror::Mirror;
use repository::Repository;
use source::Source;
use verify::Case;
use verify::Demands;

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;

pub use key::GittufKey;

/// A rule: what was signed was built from a commit that stands in a repository by the repository's own policy.
///
/// Provenance that was verified says which repository, which reference and which commit. The repository has to be this
/// one; the last entry for the reference in its log has to be allowed by the policy that was in force then; the reference
/// has to stand where that entry puts it; and the commit has to be there, or lead there.
///
/// Everything that is missing, not understood, not supported or cannot be reached denies, but for what one of the
/// options with `allow` in their names lets pass. Nobody is trusted until a key of the root is pinned.
///
/// `git` has to be installed. It is run without questions to anybody, each command for two minutes at most.
///
/// ```no_run
/// use std::sync::Arc;
/// use skep_trust::{Gittuf, GittufKey, Policy, Verifier};
///
/// # fn main() -> skep_trust::Result<()> {
/// # let verifier = Arc::new(Verifier::default());
/// let source = Gittuf::mirrored("https://github.com/acme/site", "/var/cache/skep/gittuf")?
///     .with_root_key(GittufKey::ssh("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti")?);
/// let policy = Policy::rule(verifier, source);
/// # let _ = policy;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Gittuf {
    repository: String,
    place: Place,
    reference: Option<String>,
    demands: Arc<Demands>,
    roots: Vec<TrustedRoot>,
    sigstore: Option<Arc<Verifier>>,
    allows_missing_gittuf: bool,
    allows_missing_provenance: bool,
    allows_stale: Duration,
    refreshes_after: Duration,
}

/// Where the objects are.
#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    Mirror(Mirror),
}

impl Gittuf {
    /// A repository by its address, which is in a directory here; somebody else keeps it up to date.
    ///
    /// Whoever can write there can take entries from the end of the log.
    ///
    /// # Errors
    /// `Policy` when the address is not that of a repository, as provenance has it: `https://github.com/acme/site`.
    pub fn in_directory(repository: &str, directory: impl Into<PathBuf>) -> Result<Self> {
        Self::new(repository, Place::Directory(directory.into()))
    }

    /// A repository by its address, of which a copy is kept in a directory of such copies.
    ///
    /// It is fetched when a minute went by since the last time ([`refresh_after`](Self::refresh_after)). The log of a
    /// copy only grows: when it was rewritten, fetching fails. `https`, `ssh` and `file` are supported, with the
    /// credentials and proxies that `git` is configured with.
    ///
    /// # Errors
    /// `Policy` when the address is none that is safe to fetch from.
    pub fn mirrored(repository: &str, cache: impl AsRef<Path>) -> Result<Self> {
        Self::mirrored_from(repository, repository, cache)
    }

    /// As [`mirrored`](Self::mirrored), fetched from another address than the one that provenance says: over `ssh`, say.
    ///
    /// # Errors
    /// As `mirrored`.
    pub fn mirrored_from(repository: &str, url: &str, cache: impl AsRef<Path>) -> Result<Self> {
        let mirror = Mirror::new(url, cache.as_ref()).map_err(|why| Error::policy("gittuf", why))?;
        Self::new(repository, Place::Mirror(mirror))
    }

    fn new(repository: &str, place: Place) -> Result<Self> {
        let named = policy::Source::parse(repository).filter(|source| source.reference.is_none());
        let wrong = || Error::policy("gittuf", format!("repository {repository:?}: wanted https://host/owner/name"));
        Ok(Self {
            repository: named.ok_or_else(wrong)?.repository,
            place,
            reference: None,
            demands: Arc::default(),
            roots: Vec::new(),
            sigstore: None,
            allows_missing_gittuf: false,
            allows_missing_provenance: false,
            allows_stale: Duration::ZERO,
            refreshes_after: Duration::from_secs(60),
        })
    }

    /// Pins a key: it has to have signed the first root of the policy. Of several, each has to.
    ///
    /// Who may sign the next is said by the one before.
    pub fn with_root_key(self, key: GittufKey) -> Self {
        self.demanding(|demands| demands.pinned.push(Principal::of_key(key)))
    }

    /// Believes a Sigstore, for identities among the keys that sign metadata and approvals.
    ///
    /// # Errors
    /// `Trust` when the root cannot be used.
    pub fn trust_root(mut self, root: &TrustedRoot) -> Result<Self> {
        self.roots.push(root.clone());
        let verifier = Verifier::default().accept(IdentityPattern::anyone());
        let verifier = self.roots.iter().try_fold(verifier, Verifier::trust_root)?;
        self.sigstore = Some(Arc::new(verifier));
        Ok(self)
    }

    /// Verifies this reference, whatever provenance says: `refs/heads/main`.
    pub fn with_reference(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self
    }

    /// Whether all entries of the reference have to hold, from the first on. By default the last has to.
    pub fn verify_whole_log(self, whole: bool) -> Self {
        self.demanding(|demands| demands.is_whole = whole)
    }

    /// Whether metadata beyond its time is refused. Not, by default: gittuf writes the time and does not look at it.
    pub fn refuse_expired(self, refuse: bool) -> Self {
        self.demanding(|demands| demands.refuses_expired = refuse)
    }

    /// Whether whoever signed the first root is believed when no key is pinned. Not, by default.
    ///
    /// Then whoever hosts the repository decides who that is.
    pub fn trust_first_root(self, trust: bool) -> Self {
        self.demanding(|demands| demands.trusts_first_root = trust)
    }

    /// Whether a reference is good that no rule protects. Not, by default: anybody may have moved it.
    pub fn allow_unprotected(self, allow: bool) -> Self {
        self.demanding(|demands| demands.allows_unprotected = allow)
    }

    /// Whether a repository is good that has no log. Not, by default. One that cannot be reached never is.
    pub fn allow_missing_gittuf(mut self, allow: bool) -> Self {
        self.allows_missing_gittuf = allow;
        self
    }

    /// Whether it is enough that the reference is good, where nothing says what was built. Not, by default.
    ///
    /// Needs [`with_reference`](Self::with_reference). Provenance that is there has to fit in any case.
    pub fn allow_missing_provenance(mut self, allow: bool) -> Self {
        self.allows_missing_provenance = allow;
        self
    }

    /// How old a copy may be that cannot be fetched again. 0 by default: then it cannot be used.
    pub fn allow_stale(mut self, age: Duration) -> Self {
        self.allows_stale = age;
        self
    }

    /// How old a copy may be before it is fetched again. 60 s by default.
    pub fn refresh_after(mut self, age: Duration) -> Self {
        self.refreshes_after = age;
        self
    }

    fn demanding(mut self, change: impl FnOnce(&mut Demands)) -> Self {
        change(Arc::make_mut(&mut self.demands));
        self
    }

    /// What of the provenance fits; nothing when none is needed.
    fn decide<'a>(&self, facts: &Facts<'a>) -> Result<Option<&'a Verified>, Vec<Fault>> {
        let all: Vec<_> = Provenance::TYPES.iter().flat_map(|kind| facts.report.attestations(kind)).collect();
        if all.is_empty() && !self.allows_missing_provenance {
            return Err(vec![Fault::denied(format!(
                "wanted provenance of type {}, got none that holds",
                Provenance::TYPES[0]
            ))]);
        }
        let mut faults = Vec::new();
        let mut sources = Vec::new();
        for verified in &all {
            match verified.attestation().map(Source::of) {
                Some(Ok(source)) if source.repository == self.repository => sources.push((*verified, source)),
                Some(Ok(source)) => {
                    let why = format!("built from {}, wanted {}", source.repository, self.repository);
                    faults.push(Fault::denied(why));
                }
                Some(Err(fault)) => faults.push(fault),
                None => {}
            }
        }
        if sources.is_empty() && !all.is_empty() {
            return Err(faults);
        }
        let one = |fault: Fault| vec![fault];
        let _lock = self.refresh().map_err(one)?;
        let directory = match &self.place {
            Place::Directory(directory) => directory.as_path(),
            Place::Mirror(mirror) => mirror.directory(),
        };
        let repository = Repository::open(directory).map_err(one)?;
        let Some(case) = Case::open(&repository, &self.demands, self.sigstore.as_deref()).map_err(one)? else {
            return match self.allows_missing_gittuf {
                true => Ok(sources.first().map(|(verified, _)| *verified)),
                false => Err(vec![Fault::denied(format!("{} has no log of gittuf", self.repository))]),
            };
        };
        let mut known = BTreeMap::new();
        let mut stands = |reference: Option<&str>| -> fault::Result<verify::Stand> {
            let reference = self.reference.as_deref().or(reference);
            let reference = reference.ok_or_else(|| Fault::denied("nothing says which reference was built"))?;
            let verified = known.entry(reference.to_owned()).or_insert_with(|| case.verify(reference));
            verified.clone()
        };
        if all.is_empty() {
            return stands(None).map(|_| None).map_err(one);
        }
        for (verified, source) in sources {
            let fits = stands(source.reference.as_deref()).and_then(|stand| case.check_leads(source.commit, stand));
            match fits {
                Ok(()) => return Ok(Some(verified)),
                Err(fault) => faults.push(fault),
            }
        }
        Err(faults)
    }

    /// Fetches what is to be fetched. What is given keeps others from changing the copy.
    fn refresh(&self) -> fault::Result<Option<std::fs::File>> {
        let Place::Mirror(mirror) = &self.place else { return Ok(None) };
        let lock = mirror.lock()?;
        let age = mirror.age();
        if age.is_none_or(|age| age > self.refreshes_after) {
            match mirror.fetch() {
                Err(fault) if age.is_none_or(|age| age > self.allows_stale) => return Err(fault),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(Some(lock))
    }
}

impl Rule for Gittuf {
    fn name(&self) -> String {
        format!("gittuf of {}", self.repository)
    }

    fn check<'a>(&self, facts: &Facts<'a>) -> Result<Vec<&'a Verified>, Refusal> {
        self.decide(facts).map(|verified| verified.into_iter().collect()).map_err(|faults| {
            let reasons: Vec<_> = faults.iter().map(Fault::why).collect();
            match faults.iter().all(Fault::is_sure) {
                true => Refusal::new(reasons),
                false => Refusal::unknown(reasons),
            }
        })
    }
}
