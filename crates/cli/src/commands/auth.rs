//! `skep auth status [HOST]`.

use std::sync::Arc;

use serde::Serialize;
use skep::ClientOptions;
use skep_http::Credentials;
use skep_http::DockerConfig;
use skep_http::Found;
use skep_http::Probe;
use skep_http::ProbeOptions;

use super::Session;
use super::login::bare;
use crate::args::Auth;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Failures;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    registries: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// A host, or a part of a registry: `host/team`.
    name: String,
    /// Who the caller is there; none if nothing is kept.
    whom: Option<String>,
    source: Option<String>,
    key: Option<String>,
    helper: Option<String>,
    /// These three in words.
    #[serde(skip)]
    place: Option<String>,
    /// What the registry said, if it was asked.
    answer: Option<String>,
    accepted: Option<bool>,
}

pub(super) async fn auth(session: &Session, args: Auth) -> Outcome {
    let Auth::Status { host, check } = args;
    let config = DockerConfig::load()?;
    let names = match &host {
        Some(host) => vec![bare(host).to_owned()],
        None => config.names().await,
    };
    let none = |message: String| Failure::new(Exit::NotFound, message).hint("`skep login HOST` keeps some");
    if names.is_empty() {
        return Err(none("no credentials are kept, neither in files nor in helpers".to_owned()));
    }
    let mut failures = Failures::of(names.len(), session.json);
    let mut rows = Vec::new();
    for name in names {
        let (host_of, repo) = name.split_once('/').map_or((name.as_str(), None), |(host, repo)| (host, Some(repo)));
        let Some(found) = failures.note(config.find(host_of, repo).await.map_err(Failure::from)) else { continue };
        let mut row = Row::new(&name, found.as_ref());
        match found {
            Some(found) if check => {
                let asked = host.as_deref().filter(|_| repo.is_none()).unwrap_or(host_of);
                let (accepted, answer) = ask(session, asked, &found).await?;
                (row.accepted, row.answer) = (Some(accepted.is_ok()), Some(answer));
                show(session, &row)?;
                failures.note(accepted);
            }
            None if host.is_some() => {
                failures.note::<()>(Err(none(format!("no credentials are kept for {name}"))));
            }
            _ => show(session, &row)?,
        }
        rows.push(row);
    }
    if session.json {
        output::json(&Answer { schema: "skep/auth-status/v1", registries: rows })?;
    }
    failures.outcome()
}

/// Where a credential is, in words.
pub(super) fn place(found: &Found) -> String {
    match &found.helper {
        Some(helper) => format!("in docker-credential-{helper}, which {} names", found.source),
        None => format!("in {}, under {:?}", found.source, found.key),
    }
}

/// Asks the registry whether it takes a credential; gives what it said, too.
async fn ask(session: &Session, host: &str, found: &Found) -> Outcome<(Outcome, String)> {
    let credentials: Option<Arc<dyn Credentials>> = Some(Arc::new(found.credential.clone()));
    let options = ClientOptions { credentials, ..session.config.client() };
    let report = Probe::new(host, options.http()?)?.run(&ProbeOptions::default(), &|_| {}).await;
    let said = |finding: &skep_http::Finding| finding.came.clone();
    let answer = report.finding("auth").or(report.findings.last()).map(said).unwrap_or_default();
    Ok((report.blocker.map_or(Ok(()), |error| Err(error.into())), answer))
}

fn show(session: &Session, row: &Row) -> Outcome {
    if session.json {
        return Ok(());
    }
    let mut text = format!("{}\n", escape(&row.name));
    match (&row.whom, &row.place) {
        (Some(whom), Some(place)) => text += &format!("  {}, {}\n", escape(whom), escape(place)),
        _ => text += "  nobody: it is named, and nothing is kept\n",
    }
    if let (Some(answer), Some(accepted)) = (&row.answer, row.accepted) {
        text += &format!("  {}: {}\n", if accepted { "accepted" } else { "refused" }, escape(answer));
    }
    output::text(&text)
}

impl Row {
    fn new(name: &str, found: Option<&Found>) -> Self {
        let found = found.cloned();
        Self {
            name: name.to_owned(),
            whom: found.as_ref().map(|found| found.credential.to_string()),
            place: found.as_ref().map(place),
            helper: found.as_ref().and_then(|found| found.helper.clone()),
            source: found.as_ref().map(|found| found.source.clone()),
            key: found.map(|found| found.key),
            answer: None,
            accepted: None,
        }
    }
}
