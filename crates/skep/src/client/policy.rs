//! Policies: an address becomes a manifest here and nowhere else, and is not used before they allow it.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future;
use skep_archive::Error;
use skep_archive::Result;
use skep_registry::Code;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::transfer;
use skep_registry::transfer::Copied;
use skep_registry::transfer::CopyOptions;
use skep_registry::transfer::Place;
use skep_trust::Decision;
use skep_trust::Policy;
use skep_trust::Subject;

use super::Client;
use crate::address::Address;
use crate::remote::Remote;

/// A manifest that is wanted.
pub(super) struct Wanted<'a> {
    /// By which name.
    pub(super) from: &'a Address,
    pub(super) repo: &'a RepoName,
    /// Who is asked for it.
    pub(super) registry: &'a Arc<dyn Registry>,
    /// Who is asked for what is attached to it.
    pub(super) attached: &'a Arc<dyn Registry>,
}

impl<'a> Wanted<'a> {
    /// A manifest that something is done with.
    pub(super) fn acting(from: &'a Address, (remote, repo): &'a (Remote, RepoName)) -> Self {
        Self { from, repo, registry: &remote.acting, attached: &remote.deciding }
    }
}

impl Client {
    /// The policy that applies to what an address names; `None` if there is none.
    ///
    /// # Errors
    /// `NameInvalid` of the registry when the host cannot be one.
    pub fn policy(&self, of: &Address) -> Result<Option<Policy>> {
        let policies = &self.options.policies;
        Ok(if policies.is_empty() { None } else { policies.of(&of.canonical()?) })
    }

    /// Tells what the policies say of what an address names, and uses nothing of it; `None` if none applies.
    ///
    /// Where a tag points is asked for.
    ///
    /// # Errors
    /// `Registry` when the manifest, or the list of what is attached to it, cannot be had.
    pub async fn decide(&self, about: &Address) -> Result<Option<Decision>> {
        match self.policy(about)? {
            Some(policy) => self.verify(about, &policy).await.map(Some),
            None => Ok(None),
        }
    }

    /// Tells what a policy says of what an address names, and uses nothing of it. Those of the client are not asked.
    ///
    /// Where a tag points is asked for.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub async fn verify(&self, about: &Address, policy: &Policy) -> Result<Decision> {
        let place = self.remote(&about.store)?;
        let wanted = Wanted::acting(about, &place);
        decide(policy, &wanted, &get(&wanted).await?).await
    }

    /// Reads the manifest that an address names, of whatever kind, if the policies allow it to be used.
    ///
    /// Where a tag points is asked for. What the manifest names by digest, as an index does its images, is as good as
    /// the manifest.
    ///
    /// # Errors
    /// `ManifestUnknown` of the registry; `PolicyViolation`.
    pub async fn manifest(&self, from: &Address) -> Result<Manifest> {
        let place = self.remote(&from.store)?;
        self.manifest_while(Wanted::acting(from, &place), |manifest| future::ready(Ok(manifest))).await
    }

    /// Copies a manifest with all that it names to another place, if the policies for the source allow it.
    ///
    /// The tag of `to` is one of those that are set. What is decided about is what is copied, wherever a tag points by
    /// then: an index with its manifests, or the one for a platform, as signed by who signed the index. Nothing is
    /// written before. What is attached (`CopyOptions::referrers`) comes along as it is.
    ///
    /// # Errors
    /// As [`transfer::copy`](skep_registry::transfer::copy()); `PolicyViolation`.
    ///
    /// # Cancel safety
    /// As that.
    pub async fn copy(&self, from: &Address, to: &Address, mut options: CopyOptions) -> Result<Copied> {
        let (source, target) = (self.remote(&from.store)?, self.remote(&to.store)?);
        target.0.writable(to)?;
        options.tags.extend(to.tag.clone().filter(|tag| !options.tags.contains(tag)));
        let reference = match self.policy(from)? {
            Some(_) => ManifestRef::Digest(self.manifest(from).await?.digest().clone()),
            None => from.manifest(),
        };
        let place = |(remote, repo): (Remote, RepoName)| Place::new(remote.acting, repo);
        Ok(transfer::copy(&place(source), &reference, &place(target), &options).await?)
    }

    /// Reads a manifest, and makes something of it while it is decided whether it may be used.
    ///
    /// Making must only read: nobody is given what comes of it unless the policies allow it, but it is under way before.
    /// They are held against the very bytes that are given.
    pub(super) async fn manifest_while<T, F>(&self, wanted: Wanted<'_>, make: impl FnOnce(Manifest) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let policy = self.policy(wanted.from)?;
        let manifest = get(&wanted).await?;
        let Some(policy) = policy else { return make(manifest).await };
        let deciding = async {
            let decision = decide(&policy, &wanted, &manifest).await?;
            decision.require().map_err(|error| violation(wanted.from, error))
        };
        // A denial ends what is being made; that it cannot be made is said when it would have been allowed.
        let making = make(manifest.clone()).map(Ok);
        let (made, ()) = future::try_join(making, deciding.boxed()).await?;
        made
    }
}

/// The manifest; errors name it as its user wrote it.
async fn get(wanted: &Wanted<'_>) -> Result<Manifest> {
    let Wanted { from, repo, registry, .. } = wanted;
    let manifest = registry.get_manifest(repo, &from.manifest()).await.map_err(|error| error.context(from))?;
    match &from.digest {
        Some(digest) if digest != manifest.digest() => {
            let message = format!("{from}: expected {digest}, got {}", manifest.digest());
            Err(skep_registry::Error::new(Code::DigestInvalid, message).into())
        }
        _ => Ok(manifest),
    }
}

async fn decide(policy: &Policy, wanted: &Wanted<'_>, manifest: &Manifest) -> Result<Decision> {
    let Wanted { from, repo, attached, .. } = wanted;
    let (subject, reference) = (Subject::from(manifest), from.canonical()?);
    let decided = policy.decide(&***attached, repo, &subject, &reference).await;
    decided.map_err(|error| match error {
        skep_trust::Error::Registry(error) => error.context(format_args!("{from}: what is attached to it")).into(),
        error => violation(from, error),
    })
}

fn violation(from: &Address, error: skep_trust::Error) -> Error {
    Error::PolicyViolation { what: from.to_string(), source: Box::new(error) }
}
