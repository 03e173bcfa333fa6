//! Provenance: what GitHub's own action would write, and what other systems tell; where nothing is told, nothing is made.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::json;
use skep_trust::Error;
use skep_trust::Predicate;
use skep_trust::SLSA_PROVENANCE;
use skep_trust::attest;
use skep_trust::slsa_provenance;
use skep_trust::testing::Sigstore;
use skep_trust::testing::Who;

use crate::common::*;

const GITHUB: [(&str, &str); 13] = [
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_SERVER_URL", "https://github.com"),
    ("GITHUB_REPOSITORY", "acme/site"),
    ("GITHUB_REPOSITORY_ID", "495574555"),
    ("GITHUB_REPOSITORY_OWNER_ID", "71096353"),
    ("GITHUB_REF", "refs/heads/main"),
    ("GITHUB_SHA", "f0b49a04e5a62250e0f60fb128004a73110fe311"),
    ("GITHUB_WORKFLOW_REF", "acme/site/.github/workflows/release.yml@refs/heads/main"),
    ("GITHUB_EVENT_NAME", "push"),
    ("GITHUB_RUN_ID", "5904696764"),
    ("GITHUB_RUN_ATTEMPT", "1"),
    ("RUNNER_ENVIRONMENT", "github-hosted"),
    ("GITHUB_JOB", "release"),
];

const GITLAB: [(&str, &str); 15] = [
    ("GITLAB_CI", "true"),
    ("CI_PROJECT_URL", "https://gitlab.com/acme/site"),
    ("CI_COMMIT_REF_NAME", "main"),
    ("CI_COMMIT_SHA", "f0b49a04e5a62250e0f60fb128004a73110fe311"),
    ("CI_JOB_ID", "10340684631"),
    ("CI_JOB_NAME", "release"),
    ("CI_JOB_URL", "https://gitlab.com/acme/site/-/jobs/10340684631"),
    ("CI_JOB_STARTED_AT", "2026-11-21T12:00:00Z"),
    ("CI_PIPELINE_ID", "1"),
    ("CI_PIPELINE_SOURCE", "push"),
    ("CI_RUNNER_ID", "12270837"),
    ("CI_RUNNER_DESCRIPTION", "4-blue.saas-linux-small-amd64"),
    ("CI_RUNNER_EXECUTABLE_ARCH", "linux/amd64"),
    ("CI_RUNNER_REVISION", "4d7093e1"),
    ("CI_RUNNER_VERSION", "18.0.2"),
];

fn made(variables: &[(&str, &str)], changes: &[(&str, &str)], claims: Option<&Value>) -> skep_trust::Result<Value> {
    let all: HashMap<&str, &str> = variables.iter().chain(changes).copied().collect();
    slsa_provenance(|name| all.get(name).map(|value| (*value).to_owned()), claims)
}

#[test]
fn a_run_on_github_is_told_as_its_own_action_tells_it() {
    let expected = json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {
                "workflow": {
                    "ref": "refs/heads/main",
                    "repository": "https://github.com/acme/site",
                    "path": ".github/workflows/release.yml",
                },
            },
            "internalParameters": {
                "github": {
                    "event_name": "push",
                    "repository_id": "495574555",
                    "repository_owner_id": "71096353",
                    "runner_environment": "github-hosted",
                },
            },
            "resolvedDependencies": [{
                "uri": "git+https://github.com/acme/site@refs/heads/main",
                "digest": {"gitCommit": "f0b49a04e5a62250e0f60fb128004a73110fe311"},
            }],
        },
        "runDetails": {
            "builder": {"id": "https://github.com/acme/site/.github/workflows/release.yml@refs/heads/main"},
            "metadata": {"invocationId": "https://github.com/acme/site/actions/runs/5904696764/attempts/1"},
        },
    });
    assert_eq!(made(&GITHUB, &[], None).unwrap(), expected);
    // A tag may have an `@` too, as tools for several packages in a repository make them.
    let reference = "acme/site/.github/workflows/release.yml@refs/tags/pkg@1.0";
    let provenance = made(&GITHUB, &[("GITHUB_WORKFLOW_REF", reference)], None).unwrap();
    let workflow = &provenance["buildDefinition"]["externalParameters"]["workflow"];
    assert_eq!(workflow["ref"], "refs/tags/pkg@1.0");
    assert_eq!(workflow["path"], ".github/workflows/release.yml");
}

#[test]
fn what_the_token_says_goes_before_the_environment() {
    let claims = json!({
        "repository": "acme/other",
        "workflow_ref": "acme/other/.github/workflows/top.yml@refs/heads/main",
        "job_workflow_ref": "acme/builder/.github/workflows/build.yml@refs/tags/v1",
        "sha": "c0ffee",
    });
    let provenance = made(&GITHUB, &[], Some(&claims)).unwrap();
    assert_eq!(
        provenance["runDetails"]["builder"]["id"],
        "https://github.com/acme/builder/.github/workflows/build.yml@refs/tags/v1"
    );
    let definition = &provenance["buildDefinition"];
    assert_eq!(definition["externalParameters"]["workflow"]["repository"], "https://github.com/acme/other");
    assert_eq!(definition["externalParameters"]["workflow"]["path"], ".github/workflows/top.yml");
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], "c0ffee");
    assert_eq!(definition["internalParameters"]["github"]["event_name"], "push");
}

#[test]
fn a_job_on_gitlab_is_told_as_its_runner_tells_it() {
    let expected = json!({
        "buildDefinition": {
            "buildType": "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/v18.0.2/PROVENANCE.md",
            "externalParameters": {"source": "https://gitlab.com/acme/site", "entryPoint": "release"},
            "internalParameters": {
                "name": "4-blue.saas-linux-small-amd64",
                "architecture": "linux/amd64",
                "job": "10340684631",
                "pipeline": "1",
                "trigger": "push",
            },
            "resolvedDependencies": [{
                "uri": "git+https://gitlab.com/acme/site@refs/heads/main",
                "digest": {"gitCommit": "f0b49a04e5a62250e0f60fb128004a73110fe311"},
            }],
        },
        "runDetails": {
            "builder": {
                "id": "https://gitlab.com/acme/site/-/runners/12270837",
                "version": {"gitlab-runner": "4d7093e1"},
            },
            "metadata": {
                "invocationId": "https://gitlab.com/acme/site/-/jobs/10340684631",
                "startedOn": "2026-11-21T12:00:00Z",
            },
        },
    });
    assert_eq!(made(&GITLAB, &[], None).unwrap(), expected);
    for (variable, value, reference) in [
        ("CI_COMMIT_TAG", "v1", "refs/tags/v1"),
        ("CI_MERGE_REQUEST_REF_PATH", "refs/merge-requests/1/head", "refs/merge-requests/1/head"),
    ] {
        let provenance = made(&GITLAB, &[(variable, value)], None).unwrap();
        let uri = format!("git+https://gitlab.com/acme/site@{reference}");
        assert_eq!(provenance["buildDefinition"]["resolvedDependencies"][0]["uri"], uri);
    }
}

#[test]
fn where_nothing_is_told_nothing_is_made() {
    let Err(Error::Provenance { why }) = made(&[("CIRCLECI", "true")], &[], None) else { panic!("it was made") };
    assert!(why.contains("GitHub Actions") && why.contains("GitLab CI"), "{why}");
    let optional = ["GITHUB_JOB", "CI_JOB_STARTED_AT", "CI_RUNNER_DESCRIPTION", "CI_RUNNER_VERSION"];
    for (name, _) in GITHUB.iter().chain(&GITLAB).filter(|(name, _)| !optional.contains(name)) {
        let variables = if GITHUB.iter().any(|(other, _)| other == name) { &GITHUB[..] } else { &GITLAB };
        // Unset, and set to nothing.
        let error = made(variables, &[(name, "")], None).unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
    let cases = [
        (&GITHUB[..], "GITHUB_WORKFLOW_REF", "acme/site-evil/.github/workflows/release.yml@refs/heads/main"),
        (&GITHUB[..], "GITHUB_WORKFLOW_REF", "acme/site/.github/workflows/release.yml"),
        (&GITLAB[..], "CI_JOB_STARTED_AT", "yesterday"),
    ];
    for (variables, name, value) in cases {
        let error = made(variables, &[(name, value)], None).unwrap_err().to_string();
        assert!(error.ends_with(value) || error.contains(name), "{error}");
    }
}

#[tokio::test]
async fn provenance_of_a_run_is_attested_and_agrees_with_its_certificate() {
    let sigstore = Sigstore::start().await.unwrap();
    let who = Who::workflow("acme/site", "release.yml", "refs/tags/v1");
    let token = token(&sigstore, &who);
    let provenance = made(&GITHUB, &[], Some(token.claims())).unwrap();
    let (registry, subject) = site().await;
    let signer = skep_trust::KeylessSigner::new(sigstore.services(), token);
    let predicate = Predicate { kind: SLSA_PROVENANCE, content: &provenance, created: None };
    attest(&registry, &repo(), &subject, predicate, &signer).await.unwrap();
    let verifier = skep_trust::Verifier::default()
        .trust_root(&root(&sigstore))
        .unwrap()
        .accept(skep_trust::IdentityPattern::anyone());
    let report = verifier.inspect(&registry, &repo(), &subject).await.unwrap();
    let verified = report.require_attestation(SLSA_PROVENANCE).unwrap();
    let claims = &verified.signer().certificate().unwrap().claims;
    let predicate = &verified.attestation().unwrap().predicate;
    assert_eq!(predicate["runDetails"]["builder"]["id"], *claims.builder.as_ref().unwrap());
    let workflow = &predicate["buildDefinition"]["externalParameters"]["workflow"];
    assert_eq!(workflow["repository"], *claims.repository.as_ref().unwrap());
    assert_eq!(workflow["ref"], *claims.reference.as_ref().unwrap());
}
