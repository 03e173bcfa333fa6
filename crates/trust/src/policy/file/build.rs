//! Policies of what stands in a file.

use std::path::Path;
use std::sync::Arc;

use serde_saphyr::Spanned;

use super::read;
use super::schema::Attestation;
use super::schema::Block;
use super::schema::Claims;
use super::schema::Key;
use super::schema::Keyless;
use super::schema::Many;
use super::schema::Rego;
use super::schema::Root;
use super::schema::Signers;
use super::schema::Slsa;
use crate::error::Error;
use crate::error::Result;
use crate::identity::Claim;
use crate::identity::IdentityPattern;
use crate::key::PublicKey;
use crate::pattern::Pattern;
use crate::policy;
use crate::policy::GitHubActions;
use crate::policy::GitLab;
use crate::policy::Policy;
use crate::policy::Refs;
use crate::root::Evidence;
use crate::root::TrustedRoot;
use crate::verifier::Verifier;

#[cfg(feature = "gittuf")]
mod gittuf;

/// Makes the policy of a file.
pub(super) fn policy(name: &str, base: &Path, block: &Spanned<Block>) -> Result<Policy> {
    Builder { name, base }.block(block, &Scope::default())
}

struct Builder<'a> {
    name: &'a str,
    base: &'a Path,
}

/// What a part of the file has from the parts around it.
#[derive(Clone, Default)]
struct Scope {
    /// Whose signatures count where nothing else is said.
    signers: Option<Arc<Verifier>>,
    /// Whose certificates count where nothing else is said.
    roots: Vec<Root>,
}

impl Builder<'_> {
    fn block(&self, block: &Spanned<Block>, scope: &Scope) -> Result<Policy> {
        let mut scope = scope.clone();
        let Block { all_of, any_of, at_least, attestation, gittuf, not, provenance, rego, signature, trusted_root } =
            &block.value;
        if !trusted_root.0.is_empty() {
            scope.roots = trusted_root.0.clone();
        }
        let mut parts = Vec::new();
        if let Some(signers) = signature {
            let verifier = self.verifier(signers, &scope)?;
            parts.push(Policy::signed(Arc::clone(&verifier)));
            scope.signers = Some(verifier);
        }
        if let Some(attestation) = attestation {
            parts.push(self.attestation(attestation, &scope)?);
        }
        if let Some(provenance) = provenance {
            parts.push(self.slsa(&provenance.value.slsa, &scope)?);
        }
        if let Some(rego) = rego {
            parts.push(self.rego(rego, &scope)?);
        }
        if let Some(gittuf) = gittuf {
            parts.push(self.gittuf(gittuf, &scope)?);
        }
        if let Some(list) = all_of {
            parts.push(Policy::all_of(self.blocks(list, block, &scope)?));
        }
        if let Some(list) = any_of {
            parts.push(Policy::any_of(self.blocks(list, block, &scope)?));
        }
        if let Some(at_least) = at_least {
            let list = self.blocks(&at_least.value.of, at_least, &scope)?;
            let (count, parts_of) = (at_least.value.count, list.len());
            if count == 0 || count > parts_of {
                let why = format!("at-least: wanted a count from 1 to {parts_of}, the number of parts, got {count}");
                return Err(self.wrong(at_least, why));
            }
            parts.push(Policy::at_least(count, list));
        }
        if let Some(part) = not {
            parts.push(Policy::not(self.block(part, &scope)?));
        }
        match parts.len() {
            0 => Err(self.wrong(block, "nothing is asked for; an empty policy would allow everything")),
            1 => Ok(parts.remove(0)),
            _ => Ok(Policy::all_of(parts)),
        }
    }

    fn blocks<T>(&self, list: &[Spanned<Block>], place: &Spanned<T>, scope: &Scope) -> Result<Vec<Policy>> {
        if list.is_empty() {
            return Err(self.wrong(place, "a list of parts is empty"));
        }
        list.iter().map(|block| self.block(block, scope)).collect()
    }

    fn attestation(&self, attestation: &Spanned<Attestation>, scope: &Scope) -> Result<Policy> {
        let Attestation { kind, by } = &attestation.value;
        if kind.is_empty() {
            return Err(self.wrong(attestation, "type: wanted the type of a predicate, got nothing"));
        }
        Ok(Policy::attested(self.signers(attestation, by.as_ref(), scope)?, kind.as_str()))
    }

    fn slsa(&self, slsa: &Spanned<Slsa>, scope: &Scope) -> Result<Policy> {
        let Slsa { builder, repository, workflow, branch, tag, reference, by } = &slsa.value;
        if builder.is_none() && repository.is_none() {
            return Err(self.wrong(slsa, "wanted a repository or a builder, got neither"));
        }
        let refs = refs(branch, tag, reference);
        let rule = || -> Result<policy::Slsa> {
            let mut rule = policy::Slsa::default().with_refs(&refs)?;
            if let Some(builder) = builder {
                rule = rule.with_builder(Pattern::exact_or_glob(builder)?);
            }
            if let Some(repository) = repository {
                rule = rule.with_repository(repository)?;
            }
            match workflow {
                Some(workflow) => rule.with_workflow(workflow),
                None => Ok(rule),
            }
        };
        let rule = rule().map_err(|error| self.wrong(slsa, error))?;
        let verifier = match (by, &scope.signers) {
            (None, None) => self.builders(slsa, &refs, scope)?,
            _ => self.signers(slsa, by.as_ref(), scope)?,
        };
        Ok(Policy::rule(verifier, rule))
    }

    /// Who can have built something on GitHub, when nobody else is named: the workflows of the repository, or the
    /// builder.
    fn builders(&self, slsa: &Spanned<Slsa>, refs: &Refs, scope: &Scope) -> Result<Arc<Verifier>> {
        let Slsa { builder, repository, .. } = &slsa.value;
        let wrong = |error: Error| self.wrong(slsa, error);
        let builder = builder.as_deref().filter(|builder| !builder.starts_with(policy::GITHUB_RUNNER));
        let builder = builder.map(Pattern::exact_or_glob).transpose().map_err(wrong)?;
        let is_on_github = |builder: &Pattern| builder.to_string().trim_start_matches("glob ").starts_with(GITHUB);
        let name = repository.as_deref().map(|url| url.strip_prefix(GITHUB).unwrap_or(url));
        let identity = match (name, builder) {
            (Some(name), builder) if !name.contains("://") => {
                let workflows = GitHubActions::of(name.trim_end_matches('/').trim_end_matches(".git")).on(refs.clone());
                match builder {
                    Some(builder) => workflows.with_builder(builder).identity(),
                    None => workflows.identity(),
                }
            }
            (None, Some(builder)) if is_on_github(&builder) => {
                Ok(IdentityPattern::new(builder, Pattern::exact(policy::GITHUB_ISSUER)))
            }
            _ => return Err(self.nobody(slsa)),
        };
        let mut verifier = Verifier::default().accept(identity.map_err(wrong)?);
        for root in self.roots(slsa, &scope.roots)? {
            verifier = verifier.trust_root(&root)?;
        }
        Ok(Arc::new(verifier))
    }

    fn rego(&self, rego: &Spanned<Rego>, scope: &Scope) -> Result<Policy> {
        let Rego { file, by } = &rego.value;
        let verifier = self.signers(rego, by.as_ref(), scope)?;
        let file = self.base.join(file);
        #[cfg(feature = "rego")]
        return Ok(Policy::rule(
            verifier,
            crate::rego::Rego::from_file(file).map_err(|error| self.wrong(rego, error))?,
        ));
        #[cfg(not(feature = "rego"))]
        {
            drop(verifier);
            Err(self.wrong(rego, format!("{}: this skep is built without Rego", file.display())))
        }
    }

    #[cfg(not(feature = "gittuf"))]
    fn gittuf(&self, gittuf: &Spanned<super::schema::Gittuf>, _: &Scope) -> Result<Policy> {
        Err(self.wrong(gittuf, "this skep is built without gittuf"))
    }

    /// The signers that a part names, else those of the signature it stands beside or below.
    fn signers<T>(&self, place: &Spanned<T>, by: Option<&Spanned<Signers>>, scope: &Scope) -> Result<Arc<Verifier>> {
        match (by, &scope.signers) {
            (Some(signers), _) => self.verifier(signers, scope),
            (None, Some(signers)) => Ok(Arc::clone(signers)),
            (None, None) => Err(self.nobody(place)),
        }
    }

    fn verifier(&self, place: &Spanned<Signers>, scope: &Scope) -> Result<Arc<Verifier>> {
        let Signers { anyone, github_actions, gitlab, key, keyless, require_log, trusted_root } = &place.value;
        let wrong = |error: Error| self.wrong(place, error);
        let mut identities = Vec::new();
        for one in &keyless.0 {
            identities.push(self.keyless(place, one)?);
        }
        for one in &github_actions.0 {
            let mut workflows = GitHubActions::of(&one.repository).on(refs(&one.branch, &one.tag, &one.reference));
            if let Some(workflow) = &one.workflow {
                workflows = workflows.with_workflow(workflow);
            }
            if let Some(builder) = &one.builder {
                workflows = workflows.with_builder(Pattern::exact_or_glob(builder).map_err(wrong)?);
            }
            if let Some(host) = &one.host {
                workflows = workflows.at(host);
            }
            let identity = workflows.identity().map_err(wrong)?;
            let claims = [(Claim::Trigger, &one.trigger), (Claim::Runner, &one.runner)];
            identities.push(with_claims(identity, claims).map_err(wrong)?);
        }
        for one in &gitlab.0 {
            let pipelines = GitLab::of(&one.project).on(refs(&one.branch, &one.tag, &one.reference));
            let pipelines = if let Some(host) = &one.host { pipelines.at(host) } else { pipelines };
            identities.push(pipelines.identity().map_err(wrong)?);
        }
        match (anyone, identities.is_empty() && key.0.is_empty()) {
            (true, true) => identities.push(IdentityPattern::anyone()),
            (true, false) => return Err(self.wrong(place, "wanted anyone or certain signers, got both")),
            (false, true) => return Err(self.nobody(place)),
            (false, false) => {}
        }
        let mut verifier = Verifier::default().require_key_log(*require_log);
        let named = if trusted_root.0.is_empty() { &scope.roots } else { &trusted_root.0 };
        // Keys need no root; one that is named is there to check what their signatures bring.
        if !identities.is_empty() || *require_log || !named.is_empty() {
            for root in self.roots(place, named)? {
                verifier = verifier.trust_root(&root)?;
            }
        }
        for one in &key.0 {
            verifier = verifier.trust_key(self.key(place, one)?);
        }
        Ok(Arc::new(identities.into_iter().fold(verifier, Verifier::accept)))
    }

    fn keyless<T>(&self, place: &Spanned<T>, keyless: &Keyless) -> Result<IdentityPattern> {
        let Keyless { issuer, issuer_regex, identity, identity_regex, claims } = keyless;
        let pattern = |what: &str, plain: &Option<String>, regex: &Option<String>| match (plain, regex) {
            (Some(plain), None) if !plain.is_empty() => {
                Pattern::exact_or_glob(plain).map_err(|error| self.wrong(place, error))
            }
            (None, Some(regex)) if !regex.is_empty() => Pattern::regex(regex).map_err(|error| self.wrong(place, error)),
            (Some(_), Some(_)) => Err(self.wrong(place, format!("wanted {what} or {what}-regex, got both"))),
            _ => Err(self.wrong(place, format!("keyless: wanted {what}, got nothing"))),
        };
        let identity = pattern("identity", identity, identity_regex)?;
        let accepted = IdentityPattern::new(identity, pattern("issuer", issuer, issuer_regex)?);
        let Some(claims) = claims else { return Ok(accepted) };
        let Claims { builder, commit, owner, reference, repository, runner, trigger, workflow } = claims;
        let claims = [
            (Claim::Builder, builder),
            (Claim::Commit, commit),
            (Claim::Owner, owner),
            (Claim::Ref, reference),
            (Claim::Repository, repository),
            (Claim::Runner, runner),
            (Claim::Trigger, trigger),
            (Claim::Workflow, workflow),
        ];
        if claims.iter().all(|(_, wanted)| wanted.0.is_empty()) {
            return Err(self.wrong(place, "claims: wanted at least one, got none"));
        }
        with_claims(accepted, claims).map_err(|error| self.wrong(place, error))
    }

    fn key<T>(&self, place: &Spanned<T>, key: &Key) -> Result<PublicKey> {
        let (name, pem) = match key {
            Key { path: Some(path), pem: None, url: None } => {
                let path = self.base.join(path);
                let name = path.display().to_string();
                let pem = read(&path).map_err(|why| self.wrong(place, format!("{name}: {why}")))?;
                (name, pem)
            }
            Key { path: None, pem: Some(pem), url: None } => ("pem".to_owned(), pem.clone()),
            Key { url: Some(url), .. } => {
                let why = format!("key {url}: keys are not fetched; save it to a file and name it by path");
                return Err(self.wrong(place, why));
            }
            _ => return Err(self.wrong(place, "key: wanted either path or pem")),
        };
        PublicKey::from_pem(&pem).map_err(|error| self.wrong(place, format!("{name}: {error}")))
    }

    fn roots<T>(&self, place: &Spanned<T>, roots: &[Root]) -> Result<Vec<TrustedRoot>> {
        let from_file = |file: &str, evidence| TrustedRoot::from_file(&self.base.join(file), evidence);
        let root = |root: &Root| match root {
            Root::Named(name) if name == "sigstore" => TrustedRoot::sigstore(),
            Root::Named(name) if name == "github" => TrustedRoot::github(),
            Root::Named(file) => from_file(file, Evidence::default()),
            Root::File(it) => {
                let evidence = Evidence { log: it.log, certificate_log: it.certificate_log, timestamp: it.timestamp };
                from_file(&it.file, evidence)
            }
        };
        if roots.is_empty() {
            return Ok(vec![TrustedRoot::sigstore()?]);
        }
        roots.iter().map(|one| root(one).map_err(|error| self.wrong(place, error))).collect()
    }

    fn nobody<T>(&self, place: &Spanned<T>) -> Error {
        let why = "whose signatures count is not said: name signers by keyless, key, github-actions or gitlab, here (by: …) \
                   or in a signature beside it, or say anyone: true";
        self.wrong(place, why)
    }

    fn wrong<T>(&self, place: &Spanned<T>, why: impl std::fmt::Display) -> Error {
        Error::policy(format!("{}:{}", self.name, place.referenced.line()), why)
    }
}

fn refs(branch: &Many<String>, tag: &Many<String>, reference: &Many<String>) -> Refs {
    let refs = branch.0.iter().fold(Refs::default(), |refs, glob| refs.or_branch(glob));
    let refs = tag.0.iter().fold(refs, |refs, glob| refs.or_tag(glob));
    reference.0.iter().fold(refs, Refs::or_ref)
}

fn with_claims<'a>(
    identity: IdentityPattern,
    claims: impl IntoIterator<Item = (Claim, &'a Many<String>)>,
) -> Result<IdentityPattern> {
    claims.into_iter().filter(|(_, wanted)| !wanted.0.is_empty()).try_fold(identity, |identity, (claim, wanted)| {
        let patterns = wanted.0.iter().map(|one| Pattern::exact_or_glob(one)).collect::<Result<_>>()?;
        Ok(identity.with_claim(claim, Pattern::one_of(patterns)))
    })
}

const GITHUB: &str = "https://github.com/";
