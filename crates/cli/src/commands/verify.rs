//! `skep verify REF`.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use skep_trust::Decision;
use skep_trust::GitHubActions;
use skep_trust::GitLab;
use skep_trust::IdentityPattern;
use skep_trust::Outcome as Verdict;
use skep_trust::Policy;
use skep_trust::PublicKey;
use skep_trust::Refs;
use skep_trust::TrustedRoot;
use skep_trust::Verifier;

use super::Session;
use super::signer::text;
use crate::args::Evidence;
use crate::args::Trust;
use crate::args::Verify;
use crate::args::Who;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

#[derive(Serialize)]
struct Answer<'a> {
    schema: &'static str,
    r#ref: String,
    digest: &'a str,
    allowed: bool,
    outcome: &'a Verdict,
}

pub(super) async fn verify(session: &Session, args: Verify) -> Outcome {
    let policy = policy(session, &args).await?;
    let decision = session.client.verify(&args.from, &policy).await?;
    say(session, &args, &decision)?;
    Ok(decision.require()?)
}

/// Says everything, whether it holds or not: people and machines want to know why.
fn say(session: &Session, args: &Verify, decision: &Decision) -> Outcome {
    if session.json {
        let digest = &decision.subject().digest;
        return output::json(&Answer {
            schema: "skep/verify/v1",
            r#ref: args.from.at(digest.clone()).to_string(),
            digest: digest.as_str(),
            allowed: decision.is_allowed(),
            outcome: decision.outcome(),
        });
    }
    let text: String = decision.to_string().lines().map(|line| format!("{}\n", escape(line))).collect();
    output::text(&text)
}

/// What the command line asks for, and what the configuration does of this address.
async fn policy(session: &Session, args: &Verify) -> Outcome<Policy> {
    let mut parts = Vec::new();
    if let Some(verifier) = verifier(&args.who, &args.trust).await? {
        let verifier = Arc::new(verifier);
        parts.push(match &args.predicate_type {
            Some(kind) => Policy::attested(verifier, kind),
            None => Policy::signed(verifier),
        });
    }
    parts.extend(session.client.policy(&args.from)?);
    if parts.is_empty() {
        let failure = Failure::new(
            Exit::Usage,
            "nobody is accepted: wanted --key, --identity with --issuer, --github, --gitlab or --policy",
        );
        return Err(failure.hint("skep referrers REF lists what is attached; who signed it is for you to say"));
    }
    Ok(match <[Policy; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => Policy::all_of(parts),
    })
}

/// Whom the command line accepts; none if it accepts nobody.
async fn verifier(who: &Who, trust: &Trust) -> Outcome<Option<Verifier>> {
    let identities = identities(who)?;
    if identities.is_empty() && who.keys.is_empty() {
        return Ok(None);
    }
    let mut verifier = Verifier::default().require_key_log(trust.require_log);
    for path in &who.keys {
        verifier = verifier.trust_key(public_key(path).await?);
    }
    for root in roots(trust, !identities.is_empty())? {
        verifier = verifier.trust_root(&root)?;
    }
    Ok(Some(identities.into_iter().fold(verifier, Verifier::accept)))
}

fn identities(who: &Who) -> Outcome<Vec<IdentityPattern>> {
    let missing = match (who.identities.is_empty(), who.issuers.is_empty()) {
        (false, true) => Some("--issuer"),
        (true, false) => Some("--identity"),
        _ => None,
    };
    if let Some(missing) = missing {
        let message = format!("an identity is one by whoever vouches for it: wanted {missing}, too");
        return Err(Failure::new(Exit::Usage, message).hint(format!("{missing} 'glob:**' accepts all of them")));
    }
    let pairs = who.identities.iter().flat_map(|identity| who.issuers.iter().map(move |issuer| (identity, issuer)));
    let mut identities: Vec<_> =
        pairs.map(|(identity, issuer)| IdentityPattern::new(identity.clone(), issuer.clone())).collect();
    identities.extend(of_ci(who)?);
    if identities.is_empty() && !who.claims.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "--claim is about an identity: wanted --identity with --issuer, --github or --gitlab, too",
        ));
    }
    let with_claims = |identity: IdentityPattern| {
        who.claims.iter().fold(identity, |identity, (claim, pattern)| identity.with_claim(*claim, pattern.clone()))
    };
    Ok(identities.into_iter().map(with_claims).collect())
}

/// Workflows and pipelines.
fn of_ci(who: &Who) -> Outcome<Vec<IdentityPattern>> {
    let refs = who.branch.iter().fold(Refs::default(), |refs, branch| refs.or_branch(branch));
    let refs = who.git_tag.iter().fold(refs, |refs, tag| refs.or_tag(tag));
    let mut identities = Vec::new();
    if let Some(repository) = &who.github {
        let workflows = GitHubActions::of(repository).on(refs.clone());
        let workflows = who.workflow.iter().fold(workflows, |workflows, file| workflows.with_workflow(file));
        identities.push(workflows.identity()?);
    }
    if let Some(project) = &who.gitlab {
        identities.push(GitLab::of(project).on(refs.clone()).identity()?);
    }
    // What narrows something down that is not there would be taken for more than it is.
    let lost = [
        ("--workflow", who.workflow.is_some() && who.github.is_none(), "--github"),
        ("--branch and --git-tag", !refs.is_any() && identities.is_empty(), "--github or --gitlab"),
    ];
    match lost.iter().find(|(_, is_lost, _)| *is_lost) {
        Some((flag, _, wanted)) => {
            Err(Failure::new(Exit::Usage, format!("{flag} tell more of a run: wanted {wanted}, too")))
        }
        None => Ok(identities),
    }
}

fn roots(trust: &Trust, has_identities: bool) -> Outcome<Vec<TrustedRoot>> {
    let evidence = |kind| trust.evidence.contains(&kind);
    let evidence = skep_trust::Evidence {
        log: evidence(Evidence::Log),
        certificate_log: evidence(Evidence::CertificateLog),
        timestamp: evidence(Evidence::Timestamp),
    };
    if trust.roots.is_empty() && (has_identities || trust.require_log) {
        return Ok(vec![TrustedRoot::sigstore()?]);
    }
    let root = |name: &String| match name.as_str() {
        "github" => TrustedRoot::github(),
        "sigstore" => TrustedRoot::sigstore(),
        path => TrustedRoot::from_file(Path::new(path), evidence),
    };
    Ok(trust.roots.iter().map(root).collect::<Result<_, _>>()?)
}

async fn public_key(path: &Path) -> Outcome<PublicKey> {
    let failed = |error| Failure::new(Exit::Usage, format!("{}: {error}", path.display()));
    PublicKey::from_pem(&text(path).await?).map_err(failed)
}
