//! Guards: filters that only say what may happen.

use std::fmt;

use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::filter::Access;
use crate::filter::Call;
use crate::filter::Filter;
use crate::filter::Filtered;
use crate::name::RepoName;
use crate::registry::Registry;

/// A registry that can be read and listed, and answers everything else with `Unsupported`.
pub fn read_only<R: Registry>(inner: R) -> Filtered<R, impl Filter> {
    let check = |call: Call<'_>| match call.access() {
        Access::List | Access::Read => Ok(()),
        Access::Delete | Access::Write => Err(Error::new(Code::Unsupported, format!("{call}, which is read-only"))),
    };
    Filtered::new(inner, Guard { check, hides: false })
}

/// A registry of those repositories for which a function answers true.
///
/// The others do not exist: they are not listed, `NameUnknown` to whoever reads, lists or deletes, and
/// `Denied` to whoever writes.
pub fn select<R: Registry>(
    inner: R,
    allow: impl Fn(&RepoName) -> bool + Send + Sync + 'static,
) -> Filtered<R, impl Filter> {
    guarded(inner, move |call| match (call.repo, call.access()) {
        (Some(repo), _) if allow(repo) => Ok(()),
        (Some(repo), Access::Delete | Access::List | Access::Read) => {
            Err(Error::new(Code::NameUnknown, repo.to_string()))
        }
        (Some(_), Access::Write) => Err(Error::new(Code::Denied, call.to_string())),
        (None, _) => Ok(()),
    })
}

/// A registry that lets through the calls for which a function answers `Ok`, and answers others with its error.
///
/// The list of repositories is asked about as a whole, with a call of no repository, and then has those that
/// may be read. Errors that do not refuse, `Unavailable` for instance, are the answer to the whole list.
pub fn guarded<R: Registry>(
    inner: R,
    check: impl Fn(Call<'_>) -> Result<()> + Send + Sync + 'static,
) -> Filtered<R, impl Filter> {
    Filtered::new(inner, Guard { check, hides: true })
}

struct Guard<C> {
    check: C,
    hides: bool,
}

impl<C: Fn(Call<'_>) -> Result<()> + Send + Sync + 'static> Filter for Guard<C> {
    type Pass = ();

    fn admit(&self, call: Call<'_>) -> Result<()> {
        (self.check)(call)
    }

    fn hides(&self) -> bool {
        self.hides
    }

    async fn enter(&self, _call: Call<'_>) -> Result<()> {
        Ok(())
    }
}

impl<C> fmt::Debug for Guard<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("hides", &self.hides).finish_non_exhaustive()
    }
}
