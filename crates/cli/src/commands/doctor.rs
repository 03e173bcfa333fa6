//! `skep doctor HOST[/REPO]`.

use std::fmt::Write as _;

use serde::Serialize;
use skep_http::DockerConfig;
use skep_http::Finding;
use skep_http::Grade;
use skep_http::Probe;
use skep_http::ProbeOptions;
use skep_http::Report;
use skep_registry::RepoName;

use super::Session;
use super::auth::place;
use super::login::bare;
use crate::args::Doctor;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output;
use crate::output::escape;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    host: String,
    works: bool,
    findings: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    check: &'static str,
    grade: &'static str,
    did: String,
    came: String,
    instead: Option<&'static str>,
    advice: Option<&'static str>,
    milliseconds: u64,
}

/// Looks, and removes what it wrote also when it is interrupted.
pub(crate) async fn doctor(session: &Session, args: Doctor, mut interrupt: Interrupt) -> Outcome {
    let (host, repo) = target(&args.target)?;
    let name = repo.as_ref().or(args.write.as_ref()).map(RepoName::as_str);
    let found = DockerConfig::load()?.find(bare(host), name).await?;
    let whom = found.map_or("nobody".to_owned(), |found| format!("{}, {}", found.credential, place(&found)));
    let probe = Probe::new(host, session.config.client().http()?)?;
    let options = ProbeOptions { repo, write: args.write, max_bytes: u64::from(args.max_mib) << 20, whom };
    let told = |finding: &Finding| {
        // Who closed our output is told by the last line.
        let _ = if session.json { Ok(()) } else { output::text(&lines(finding)) };
    };
    let report = tokio::select! {
        report = probe.run(&options, &told) => report,
        () = interrupt.came() => {
            if options.write.is_some() {
                session.progress.say("interrupted; removing what was written, unless you interrupt again");
                tokio::select! {
                    finding = probe.clean_up() => told(&finding),
                    () = interrupt.came() => {}
                }
            }
            return Err(Failure::new(Exit::Interrupted, "interrupted"));
        }
    };
    conclude(session, host, report)
}

/// Host, with its scheme if it has one, and repository.
fn target(text: &str) -> Outcome<(&str, Option<RepoName>)> {
    let begin = text.find("://").map_or(0, |at| at + 3);
    match text[begin..].split_once('/') {
        None | Some((_, "")) => Ok((text.trim_end_matches('/'), None)),
        Some((host, repo)) => {
            let repo = repo.parse().map_err(|error: skep_registry::Error| {
                Failure::from(error).exits(Exit::Usage).hint("wanted HOST or HOST/REPO, without a tag")
            })?;
            Ok((&text[..begin + host.len()], Some(repo)))
        }
    }
}

/// What a finding says, for people.
fn lines(finding: &Finding) -> String {
    let Finding { check, grade, did, came, instead, advice, took } = finding;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{grade:7} {check:15} {}: {} ({} ms)", escape(did), escape(came), took.as_millis());
    for (who, what) in [("skep", instead), ("you", advice)] {
        if let Some(what) = what {
            let _ = writeln!(text, "{:23} {who}: {what}", "");
        }
    }
    text
}

fn conclude(session: &Session, host: &str, report: Report) -> Outcome {
    let Report { findings, blocker } = report;
    let count = |grade: Grade| findings.iter().filter(|finding| finding.grade == grade).count();
    if session.json {
        let line = |finding: &Finding| Line {
            check: finding.check,
            grade: finding.grade.as_str(),
            did: finding.did.clone(),
            came: finding.came.clone(),
            instead: finding.instead,
            advice: finding.advice,
            milliseconds: finding.took.as_millis().try_into().unwrap_or(u64::MAX),
        };
        let findings = findings.iter().map(line).collect();
        output::json(&Answer { schema: "skep/doctor/v1", host: host.to_owned(), works: blocker.is_none(), findings })?;
    }
    if let Some(error) = blocker {
        return Err(error.into());
    }
    let (good, copes, lacks) = (count(Grade::Good), count(Grade::Copes), count(Grade::Lacks));
    session
        .progress
        .say(&format!("{} works with skep: {good} good, {copes} coped with, {lacks} not to be had", escape(host)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_hosts_with_or_without_a_repository() {
        for (text, host, repo) in [
            ("a.b", "a.b", None),
            ("a.b:1/", "a.b:1", None),
            ("http://a.b:1/c/d", "http://a.b:1", Some("c/d")),
            ("localhost/c", "localhost", Some("c")),
        ] {
            let got = target(text).unwrap();
            assert_eq!((got.0, got.1.as_ref().map(RepoName::as_str)), (host, repo), "{text}");
        }
        for text in ["a.b/c:v1", "a.b/C", "http://a.b/c//d"] {
            assert_eq!(target(text).map(|_| ()).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
