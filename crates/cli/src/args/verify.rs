//! What can be said to `skep verify`.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use skep::Address;
use skep_trust::Claim;
use skep_trust::Pattern;

use crate::args::trust::predicate_type;
use crate::args::value::switch;

#[derive(Debug, Args)]
#[command(after_help = "\
A PATTERN is the whole text, `glob:…` where `*` is anything but `/` and `**` anything, or `regex:…`, anchored.

Examples:
  skep verify --key cosign.pub registry.example.com/team/site:v1
  skep verify --github acme/site --git-tag 'v*' registry.example.com/team/site:v1
  skep verify --identity dev@acme.example --issuer https://accounts.google.com registry.example.com/team/site:v1

Nothing is asked of anybody but the registry.")]
pub(crate) struct Verify {
    /// What: `host[:port]/repo[:tag][@digest]` or `oci:PATH[:tag]`.
    #[arg(value_name = "REF")]
    pub(crate) from: Address,
    /// Want an attestation of this type instead of a signature: a URI, or a short name as of `skep attest`.
    #[arg(long = "type", value_name = "TYPE", env = "SKEP_PREDICATE_TYPE", value_parser = predicate_type)]
    pub(crate) predicate_type: Option<String>,
    #[command(flatten)]
    pub(crate) who: Who,
    #[command(flatten)]
    pub(crate) trust: Trust,
}

/// Whose signatures are accepted; any of several is enough.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who may have signed")]
pub(crate) struct Who {
    /// The holder of this key, in PEM; may be given more than once.
    #[arg(long = "key", value_name = "FILE", env = "SKEP_KEY", value_delimiter = '\n')]
    pub(crate) keys: Vec<PathBuf>,
    /// An e-mail address, or the URI of a workflow; may be given more than once. Wants --issuer.
    #[arg(
        long = "identity",
        value_name = "PATTERN",
        env = "SKEP_IDENTITY",
        value_delimiter = '\n',
        value_parser = pattern
    )]
    pub(crate) identities: Vec<Pattern>,
    /// The identity provider that vouches for it; may be given more than once. Wants --identity.
    #[arg(long = "issuer", value_name = "PATTERN", env = "SKEP_ISSUER", value_delimiter = '\n', value_parser = pattern)]
    pub(crate) issuers: Vec<Pattern>,
    /// A workflow of this repository on GitHub, which is not one that it reuses of another.
    #[arg(long, value_name = "OWNER/REPO", env = "SKEP_GITHUB")]
    pub(crate) github: Option<String>,
    /// A pipeline of this project on gitlab.com.
    #[arg(long, value_name = "GROUP/PROJECT", env = "SKEP_GITLAB")]
    pub(crate) gitlab: Option<String>,
    /// That ran for this branch: `main`, `release/*`.
    #[arg(long, value_name = "GLOB", env = "SKEP_BRANCH")]
    pub(crate) branch: Option<String>,
    /// That ran for this tag of the sources: `v*`. With --branch, either is fine.
    #[arg(long, value_name = "GLOB", env = "SKEP_GIT_TAG")]
    pub(crate) git_tag: Option<String>,
    /// That is this file in `.github/workflows`: `release.yml`.
    #[arg(long, value_name = "FILE", env = "SKEP_WORKFLOW")]
    pub(crate) workflow: Option<String>,
    /// What the certificate also has to say of the run: builder, commit, owner, ref, repository, runner, trigger or
    /// workflow. May be given more than once; all have to hold.
    #[arg(
        long = "claim",
        value_name = "NAME=PATTERN",
        env = "SKEP_CLAIM",
        value_delimiter = '\n',
        value_parser = claim
    )]
    pub(crate) claims: Vec<(Claim, Pattern)>,
}

/// Whose certificates, logs and timestamps are believed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who is believed")]
pub(crate) struct Trust {
    /// A file in the format of `trusted_root.json`; `sigstore`, the public one; or `github`, GitHub's for private
    /// repositories. May be given more than once; `sigstore` if identities are accepted and nothing is said.
    #[arg(long = "trusted-root", value_name = "ROOT", env = "SKEP_TRUSTED_ROOT", value_delimiter = '\n')]
    pub(crate) roots: Vec<String>,
    /// What a signature has to bring to be believed by a root of a file.
    #[arg(
        long,
        value_name = "KIND",
        env = "SKEP_EVIDENCE",
        value_enum,
        value_delimiter = ',',
        default_values_t = [Evidence::Log, Evidence::CertificateLog]
    )]
    pub(crate) evidence: Vec<Evidence>,
    /// What a key signed has to stand in a log of a root, too.
    #[arg(long, value_parser = switch(), env = "SKEP_REQUIRE_LOG")]
    pub(crate) require_log: bool,
}

/// What a certificate has to be accompanied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Evidence {
    /// The certificate stands in a certificate log.
    CertificateLog,
    /// The signature stands in a transparency log.
    Log,
    /// A timestamp authority vouches for the time.
    Timestamp,
}

/// What a text has to be: all of it, `glob:…` or `regex:…`.
fn pattern(text: &str) -> Result<Pattern, String> {
    let pattern = match text.split_once(':') {
        Some(("glob", glob)) => Pattern::glob(glob),
        Some(("regex", regex)) => Pattern::regex(regex),
        // It would match nobody, and nobody would know why.
        _ if text.contains('*') => return Err(format!("write glob:{text} if * stands for anything")),
        _ => Ok(Pattern::exact(text)),
    };
    if ["", "glob:", "regex:"].contains(&text) {
        return Err("it is empty".to_owned());
    }
    pattern.map_err(|error| error.to_string())
}

/// A claim of a certificate, and what it has to be.
fn claim(text: &str) -> Result<(Claim, Pattern), String> {
    let Some((name, wanted)) = text.split_once('=') else {
        return Err("wanted NAME=PATTERN".to_owned());
    };
    let Some((_, claim)) = CLAIMS.iter().find(|(known, _)| *known == name) else {
        let names: Vec<_> = CLAIMS.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no claim {name:?}; there are {}", names.join(", ")));
    };
    Ok((*claim, pattern(wanted)?))
}

const CLAIMS: [(&str, Claim); 8] = [
    ("builder", Claim::Builder),
    ("commit", Claim::Commit),
    ("owner", Claim::Owner),
    ("ref", Claim::Ref),
    ("repository", Claim::Repository),
    ("runner", Claim::Runner),
    ("trigger", Claim::Trigger),
    ("workflow", Claim::Workflow),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_say_what_they_are() {
        for (text, matches, want) in [
            ("dev@acme.example", "dev@acme.example", true),
            ("https://id.example/a", "https://id.example/a", true),
            ("glob:https://github.com/acme/*", "https://github.com/acme/site", true),
            ("glob:https://github.com/acme/*", "https://github.com/acme/site/x", false),
            ("regex:v[0-9]+", "v12", true),
            ("regex:v[0-9]+", "v12-evil", false),
        ] {
            assert_eq!(pattern(text).unwrap().matches(matches), want, "{text} {matches}");
        }
        for (text, why) in
            [("", "empty"), ("glob:", "empty"), ("regex:", "empty"), ("regex:(", "regex"), ("a*", "glob:a*")]
        {
            let said = pattern(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn claims_have_names() {
        let (claim, wanted) = claim("ref=glob:refs/tags/*").unwrap();
        assert!(claim == Claim::Ref && wanted.matches("refs/tags/v1"));
        for (text, why) in [("ref", "NAME=PATTERN"), ("sha=x", "builder, commit"), ("ref=", "empty")] {
            let said = super::claim(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
