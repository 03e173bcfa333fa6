//! Identities of CI systems: the workflows of a repository, on branches and tags one wants.

use super::source;
use super::source::Refs;
use crate::error::Error;
use crate::error::Result;
use crate::identity::Claim;
use crate::identity::IdentityPattern;
use crate::pattern::Pattern;

/// Workflows of GitHub Actions, in a repository.
///
/// The workflow that signs and the repository it runs for are the same one. For a workflow that others reuse, name it
/// by [`with_builder`](Self::with_builder).
#[derive(Clone, Debug)]
pub struct GitHubActions {
    repository: String,
    refs: Refs,
    workflow: Option<String>,
    builder: Option<Pattern>,
    host: String,
}

impl GitHubActions {
    /// All workflows of a repository, on all branches and tags: `acme/site`; `*` in it is anything but `/`.
    pub fn of(repository: &str) -> Self {
        let host = "github.com".to_owned();
        Self { repository: repository.to_owned(), refs: Refs::default(), workflow: None, builder: None, host }
    }

    /// Only runs for some branches and tags.
    pub fn on(mut self, refs: Refs) -> Self {
        self.refs = refs;
        self
    }

    /// Only one workflow: the name of a file in `.github/workflows/`, or its path; `*` in it is anything but `/`.
    pub fn with_workflow(mut self, file: &str) -> Self {
        self.workflow = Some(file.to_owned());
        self
    }

    /// A workflow of another repository signs, which this one reuses: the URL of the workflow with its ref.
    pub fn with_builder(mut self, builder: Pattern) -> Self {
        self.builder = Some(builder);
        self
    }

    /// On a GitHub Enterprise Server, as the host is called. `github.com`, by default.
    pub fn at(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// Whom to accept: by issuer, identity, and the claims about repository and ref.
    ///
    /// # Errors
    /// `Pattern` when the repository is not `owner/name`, or something is too large.
    pub fn identity(&self) -> Result<IdentityPattern> {
        let Self { repository, host, .. } = self;
        host_name(host)?;
        let url = format!("https://{host}/{repository}");
        let wanted = source::repository(&url)?;
        if repository.split('/').count() != 2 || repository.ends_with('/') {
            return Err(malformed(repository, "wanted a repository, as owner/name"));
        }
        let issuer = match host.as_str() {
            "github.com" => GITHUB_ISSUER.to_owned(),
            _ => format!("https://{host}/_services/token"),
        };
        let refs = self.refs.regex();
        let file = self.workflow.as_deref().unwrap_or("*");
        let file = file.strip_prefix(".github/workflows/").unwrap_or(file);
        // A branch can be called anything: what stands before the first `@` is the workflow, what stands behind it the ref.
        let file = Pattern::glob_regex(file).replace("[^/]*", "[^/@]*");
        let identity = match &self.builder {
            Some(builder) => builder.clone(),
            None => Pattern::regex(&format!(r"{}/\.github/workflows/{file}@{refs}", Pattern::glob_regex(&url)))?,
        };
        let pattern = IdentityPattern::new(identity, Pattern::exact(issuer)).with_claim(Claim::Repository, wanted);
        Ok(match self.refs.is_any() {
            true => pattern,
            false => pattern.with_claim(Claim::Ref, self.refs.pattern()?),
        })
    }
}

/// Pipelines of GitLab, in a project.
#[derive(Clone, Debug)]
pub struct GitLab {
    project: String,
    refs: Refs,
    host: String,
}

impl GitLab {
    /// All pipelines of a project, on all branches and tags: `group/project`; `*` in it is anything but `/`.
    pub fn of(project: &str) -> Self {
        Self { project: project.to_owned(), refs: Refs::default(), host: "gitlab.com".to_owned() }
    }

    /// Only pipelines of some branches and tags.
    pub fn on(mut self, refs: Refs) -> Self {
        self.refs = refs;
        self
    }

    /// On a GitLab of one's own, as the host is called. `gitlab.com`, by default.
    pub fn at(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// Whom to accept: by issuer, identity, and the claims about project and ref.
    ///
    /// # Errors
    /// `Pattern` when the project is not `group/project`, or something is too large.
    pub fn identity(&self) -> Result<IdentityPattern> {
        let Self { project, host, .. } = self;
        host_name(host)?;
        if !project.contains('/') {
            return Err(malformed(project, "wanted a project, as group/project"));
        }
        let url = format!("https://{host}/{project}");
        let wanted = source::repository(&url)?;
        let identity = format!("{}//[^@]+@{}", Pattern::glob_regex(&url), self.refs.regex());
        let pattern = IdentityPattern::new(Pattern::regex(&identity)?, Pattern::exact(format!("https://{host}")));
        let pattern = pattern.with_claim(Claim::Repository, wanted);
        Ok(match self.refs.is_any() {
            true => pattern,
            false => pattern.with_claim(Claim::Ref, self.refs.pattern()?),
        })
    }
}

fn host_name(host: &str) -> Result<()> {
    let is_host =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_lowercase() || b"-.:0123456789".contains(&byte));
    if is_host { Ok(()) } else { Err(malformed(host, "wanted the name of a host, in lower case")) }
}

fn malformed(pattern: &str, why: &str) -> Error {
    Error::Pattern { pattern: pattern.to_owned(), why: why.to_owned() }
}

pub(super) const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Certificate;
    use crate::identity::Claims;

    #[test]
    fn pipelines_are_accepted_by_project_and_ref() {
        let accepts = |pipelines: &GitLab, identity: &str, project: &str, reference: &str| {
            let claims = Claims {
                repository: Some(format!("https://gitlab.com/{project}")),
                reference: Some(reference.to_owned()),
                ..Claims::default()
            };
            let issuer = "https://gitlab.com".to_owned();
            let identity = format!("https://gitlab.com/{identity}");
            pipelines.identity().unwrap().matches(&Certificate { identity, issuer, claims }).is_ok()
        };
        let main = GitLab::of("acme/site").on(Refs::default().or_branch("main"));
        let good = "acme/site//.gitlab-ci.yml@refs/heads/main";
        let (branch, tag) = ("refs/heads/main", "refs/tags/v1");
        assert!(accepts(&main, good, "acme/site", branch));
        assert!(accepts(&GitLab::of("acme/*"), good, "acme/site", branch));
        assert!(accepts(&main, "acme/site//ci/release.yml@refs/heads/main", "acme/site", branch));
        let others = [
            ("acme/site//.gitlab-ci.yml@refs/tags/v1", "acme/site", tag),
            ("acme/site//.gitlab-ci.yml@refs/heads/x@refs/heads/main", "acme/site", "refs/heads/x@refs/heads/main"),
            ("acme/site-evil//.gitlab-ci.yml@refs/heads/main", "acme/site-evil", branch),
            ("evil/acme/site//.gitlab-ci.yml@refs/heads/main", "evil/acme/site", branch),
            ("evil/site//.gitlab-ci.yml@refs/heads/main", "acme/site", branch),
            (good, "evil/site", branch),
        ];
        for (identity, project, reference) in others {
            assert!(!accepts(&main, identity, project, reference), "{identity}");
        }
        assert!(!accepts(&main.clone().at("gitlab.acme.example"), good, "acme/site", branch));
    }
}
