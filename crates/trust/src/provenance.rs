//! Provenance: what a CI system tells of the run that builds, as SLSA has it (version 1).

use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::error::Error;
use crate::error::Result;

/// The predicate type of SLSA provenance, version 1.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// Makes SLSA provenance of the run this is part of; [`attest`](crate::attest) it with the type [`SLSA_PROVENANCE`].
///
/// Known are GitHub Actions, where it is field by field what `actions/attest-build-provenance` writes, and GitLab CI,
/// where it is what the runner writes, with the commit as one. `variable` looks up the environment. `claims` are those
/// of the identity token of the run, if there is one: they go before the environment, and only they know of a workflow
/// that others reuse. Who signs it is believed for what it says; policies hold it against the signer's certificate.
///
/// ```
/// use skep_trust::slsa_provenance;
///
/// match slsa_provenance(|name| std::env::var(name).ok(), None) {
///     Ok(provenance) => println!("built by {}", provenance["runDetails"]["builder"]["id"]),
///     Err(error) => println!("{error}"),
/// }
/// ```
///
/// # Errors
/// `Provenance` where no CI runs that is known, and when a variable is missing that it always sets.
pub fn slsa_provenance(variable: impl Fn(&str) -> Option<String>, claims: Option<&Value>) -> Result<Value> {
    let run = Run { variable: &variable, claims };
    if run.is_set("GITHUB_ACTIONS") {
        github(&run)
    } else if run.is_set("GITLAB_CI") {
        gitlab(&run)
    } else {
        let why = "wanted a run of GitHub Actions (GITHUB_ACTIONS=true) or GitLab CI (GITLAB_CI=true), found neither; \
                   elsewhere, write the predicate and attest it";
        Err(Error::Provenance { why: why.to_owned() })
    }
}

/// What is told of a run.
struct Run<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    claims: Option<&'a Value>,
}

impl Run<'_> {
    fn is_set(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value == "true")
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn needed(&self, name: &str) -> Result<String> {
        self.variable(name).ok_or_else(|| Error::Provenance { why: format!("the variable {name} is not set") })
    }

    /// What the token says, which nobody in the run can change, or else the environment.
    fn told(&self, claim: &str, name: &str) -> Result<String> {
        let claim = self.claims.and_then(|claims| claims.get(claim)?.as_str());
        claim.map_or_else(|| self.needed(name), |claim| Ok(claim.to_owned()))
    }
}

/// The build type `workflow/v1`: <https://actions.github.io/buildtypes/workflow/v1>.
fn github(run: &Run<'_>) -> Result<Value> {
    let server = run.needed("GITHUB_SERVER_URL")?;
    let repository = run.told("repository", "GITHUB_REPOSITORY")?;
    let reference = run.told("ref", "GITHUB_REF")?;
    let workflow = run.told("workflow_ref", "GITHUB_WORKFLOW_REF")?;
    // `acme/site/.github/workflows/release.yml@refs/tags/v1`; a tag may have an `@` too.
    let parts = workflow.strip_prefix(&format!("{repository}/")).and_then(|workflow| workflow.split_once('@'));
    let Some((path, workflow_ref)) = parts else {
        let why = format!("wanted a workflow of {repository}, as REPOSITORY/PATH@REF, got {workflow}");
        return Err(Error::Provenance { why });
    };
    // The workflow that runs, which may be one that others reuse; without a token, the one at the top.
    let builder = match run.claims.and_then(|claims| claims.get("job_workflow_ref")?.as_str()) {
        Some(workflow) => workflow.to_owned(),
        None => workflow.clone(),
    };
    let url = format!("{server}/{repository}");
    Ok(json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {
                "workflow": {"ref": workflow_ref, "repository": url, "path": path},
            },
            "internalParameters": {
                "github": {
                    "event_name": run.told("event_name", "GITHUB_EVENT_NAME")?,
                    "repository_id": run.told("repository_id", "GITHUB_REPOSITORY_ID")?,
                    "repository_owner_id": run.told("repository_owner_id", "GITHUB_REPOSITORY_OWNER_ID")?,
                    "runner_environment": run.told("runner_environment", "RUNNER_ENVIRONMENT")?,
                },
            },
            "resolvedDependencies": [
                {"uri": format!("git+{url}@{reference}"), "digest": {"gitCommit": run.told("sha", "GITHUB_SHA")?}},
            ],
        },
        "runDetails": {
            "builder": {"id": format!("{server}/{builder}")},
            "metadata": {
                "invocationId": format!(
                    "{url}/actions/runs/{}/attempts/{}",
                    run.told("run_id", "GITHUB_RUN_ID")?,
                    run.told("run_attempt", "GITHUB_RUN_ATTEMPT")?,
                ),
            },
        },
    }))
}

/// The build type of GitLab's runner: <https://gitlab.com/gitlab-org/gitlab-runner/-/blob/main/PROVENANCE.md>.
///
/// The runner writes the commit as a SHA-256 digest, which it is not, and the repository without its ref.
fn gitlab(run: &Run<'_>) -> Result<Value> {
    let url = run.needed("CI_PROJECT_URL")?;
    let reference = match (run.variable("CI_COMMIT_TAG"), run.variable("CI_MERGE_REQUEST_REF_PATH")) {
        (Some(tag), _) => format!("refs/tags/{tag}"),
        (None, Some(reference)) => reference,
        (None, None) => format!("refs/heads/{}", run.needed("CI_COMMIT_REF_NAME")?),
    };
    let revision = run.needed("CI_RUNNER_REVISION")?;
    let version = run.variable("CI_RUNNER_VERSION").map(|version| format!("v{version}"));
    let mut metadata = Map::from_iter([("invocationId".to_owned(), json!(run.needed("CI_JOB_URL")?))]);
    if let Some(started) = run.variable("CI_JOB_STARTED_AT") {
        let started: Timestamp = started.parse().map_err(|_| Error::Provenance {
            why: format!("wanted a time in CI_JOB_STARTED_AT, as 2026-01-31T12:00:00Z, got {started:?}"),
        })?;
        metadata.insert("startedOn".to_owned(), json!(started.to_string()));
    }
    Ok(json!({
        "buildDefinition": {
            "buildType": format!(
                "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/{}/PROVENANCE.md",
                version.as_deref().unwrap_or(&revision),
            ),
            "externalParameters": {
                "source": url,
                "entryPoint": run.needed("CI_JOB_NAME")?,
            },
            "internalParameters": {
                "name": run.variable("CI_RUNNER_DESCRIPTION").unwrap_or_default(),
                "architecture": run.needed("CI_RUNNER_EXECUTABLE_ARCH")?,
                "job": run.needed("CI_JOB_ID")?,
                "pipeline": run.needed("CI_PIPELINE_ID")?,
                "trigger": run.needed("CI_PIPELINE_SOURCE")?,
            },
            "resolvedDependencies": [
                {"uri": format!("git+{url}@{reference}"), "digest": {"gitCommit": run.needed("CI_COMMIT_SHA")?}},
            ],
        },
        "runDetails": {
            "builder": {
                "id": format!("{url}/-/runners/{}", run.needed("CI_RUNNER_ID")?),
                "version": {"gitlab-runner": revision},
            },
            "metadata": metadata,
        },
    }))
}
