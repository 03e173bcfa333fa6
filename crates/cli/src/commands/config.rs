//! `skep config` and its parts.

mod change;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use skep::Address;
use skep_http::Pem;
use skep_http::Settings;

use super::Session;
use crate::args::ConfigPart;
use crate::config::Rule;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    path: Option<String>,
    exists: bool,
    plain_http: bool,
    proxies: Proxies,
    cache: Cache,
    policies: Vec<Policy>,
    defaults: BTreeMap<String, Vec<String>>,
    aliases: BTreeMap<String, String>,
    registries: BTreeMap<String, Shown>,
}

#[derive(Serialize)]
struct Cache {
    enabled: bool,
    dir: Option<String>,
    max_bytes: u64,
    tag_seconds: u64,
    offline: bool,
    #[serde(skip)]
    is_usual: bool,
}

/// A policy: in which file it is, and what it applies to, which is everything if nothing is said.
#[derive(Serialize)]
struct Policy {
    file: String,
    references: Vec<String>,
}

/// Which policies apply to what.
#[derive(Serialize)]
struct Applying {
    schema: &'static str,
    r#ref: String,
    canonical: String,
    policies: Vec<Policy>,
}

#[derive(Serialize)]
struct Place {
    schema: &'static str,
    path: Option<String>,
    exists: bool,
}

/// Proxies without the passwords that they may be named with.
#[derive(Serialize)]
struct Proxies {
    http: Option<String>,
    https: Option<String>,
    none: String,
}

/// Settings without secrets.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    plain_http: bool,
    skip_verify: bool,
    ca: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<String>,
    /// Their names.
    headers: Vec<String>,
    mirrors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_attempts: Option<u32>,
}

pub(super) fn config(session: &Session, part: Option<ConfigPart>) -> Outcome {
    let config = &session.config;
    match part {
        None => {}
        Some(ConfigPart::Path) => return path(session),
        Some(ConfigPart::Get { key }) => return change::get(session, &key),
        Some(ConfigPart::Set { key, value }) => return change::set(session, &key, &value),
        Some(ConfigPart::Unset { key }) => return change::unset(session, &key),
        Some(ConfigPart::Policies { of }) => return policies(session, &of),
        Some(ConfigPart::Edit) => return change::open(session),
    }
    let path = config.path.as_ref().map(|path| path.display().to_string());
    let proxies = skep_http::Proxies::from_env();
    let without_user = |url: &String| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.clone(),
    };
    let (http, https) = (proxies.http.as_ref().map(without_user), proxies.https.as_ref().map(without_user));
    let answer = Answer {
        schema: "skep/config/v1",
        path,
        exists: config.is_there,
        plain_http: config.plain_http,
        proxies: Proxies { http, https, none: proxies.none },
        cache: Cache {
            enabled: config.cache.is_enabled,
            dir: config.cache.dir.as_ref().map(|dir| dir.display().to_string()),
            max_bytes: config.cache.max_bytes,
            tag_seconds: config.cache.tag_lifetime.as_secs(),
            offline: config.cache.offline,
            is_usual: config.cache.dir == crate::config::usual_cache(),
        },
        policies: config.policies.rules.iter().map(policy).collect(),
        defaults: config.defaults.clone(),
        aliases: config.aliases.iter().map(|(name, to)| (name.to_owned(), to.to_string())).collect(),
        registries: config.registries.iter().map(|(host, settings)| (host.clone(), shown(settings))).collect(),
    };
    if session.json { output::json(&answer) } else { output::text(&words(&answer)) }
}

fn path(session: &Session) -> Outcome {
    if session.json {
        let path = session.config.path.as_ref().map(|path| path.display().to_string());
        return output::json(&Place { schema: "skep/config-path/v1", path, exists: session.config.is_there });
    }
    output::text(&format!("{}\n", file(session)?.display()))
}

fn policy(rule: &Rule) -> Policy {
    Policy { file: rule.file.display().to_string(), references: rule.references.clone() }
}

fn policies(session: &Session, of: &Address) -> Outcome {
    let canonical = of.canonical()?;
    let applying = session.config.policies.rules.iter().filter(|rule| rule.applies_to(&canonical));
    let policies: Vec<_> = applying.map(policy).collect();
    if session.json {
        let (schema, of) = ("skep/config-policies/v1", of.to_string());
        return output::json(&Applying { schema, r#ref: of, canonical, policies });
    }
    if policies.is_empty() {
        session.progress.say(&format!("no policy applies to {}", escape(&canonical)));
    }
    output::text(&policies.iter().map(|policy| format!("{}\n", escape(&policy.file))).collect::<String>())
}

/// The file, be it there or not.
pub(super) fn file(session: &Session) -> Outcome<&Path> {
    session.config.path.as_deref().ok_or_else(|| {
        let message = "neither SKEP_CONFIG, XDG_CONFIG_HOME nor HOME says where the configuration is";
        Failure::new(Exit::NotFound, message)
    })
}

fn shown(settings: &Settings) -> Shown {
    let pem = |pem: &Pem| match pem {
        Pem::File(path) => path.display().to_string(),
        _ => "(in the file)".to_owned(),
    };
    let without_user = |host: &String| host.rsplit_once('@').map_or(host.as_str(), |(_, host)| host).to_owned();
    Shown {
        plain_http: settings.plain_http,
        skip_verify: settings.skip_verify,
        ca: settings.ca.iter().map(pem).collect(),
        client_certificate: settings.client_certificate.as_ref().map(pem),
        client_key: settings.client_key.as_ref().map(pem),
        headers: settings.headers.keys().cloned().collect(),
        mirrors: settings.mirrors.iter().map(without_user).collect(),
        retry_attempts: settings.retry.as_ref().map(|retry| retry.attempts),
    }
}

/// What holds, one thing a line; what is as it would be without a word is left out.
fn words(answer: &Answer) -> String {
    let mut text = String::new();
    let mut line = |indent: &str, name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{indent}{name}: {}", escape(value));
    };
    match &answer.path {
        Some(path) if answer.exists => line("", "file", path),
        Some(path) => line("", "no file", path),
        None => line("", "no file", "nothing says where it would be"),
    }
    if answer.plain_http {
        line("", "plain-http", "for every registry");
    }
    for (flag, values) in &answer.defaults {
        line("", flag, &values.join(", "));
    }
    for (name, address) in &answer.aliases {
        line("", &format!("@{name}"), address);
    }
    for (name, proxy) in [("http proxy", &answer.proxies.http), ("https proxy", &answer.proxies.https)] {
        if let Some(proxy) = proxy {
            line("", name, proxy);
        }
    }
    if !answer.proxies.none.is_empty() {
        line("", "no proxy for", &answer.proxies.none);
    }
    match &answer.cache.dir {
        Some(_) if answer.cache.enabled && answer.cache.is_usual => {}
        Some(dir) if answer.cache.enabled => line("", "cache", dir),
        _ => line("", "cache", "none"),
    }
    for policy in &answer.policies {
        line("", "policy", &policy.file);
        let everything = || "everything".to_owned();
        line(
            "  ",
            "for",
            &policy.references.iter().cloned().reduce(|a, b| format!("{a}, {b}")).unwrap_or_else(everything),
        );
    }
    if answer.cache.offline {
        line("", "offline", "no registry is asked");
    }
    for (host, shown) in &answer.registries {
        line("", "registry", host);
        for (name, is_set) in [("plain-http", shown.plain_http), ("skip-verify", shown.skip_verify)] {
            if is_set {
                line("  ", name, "true");
            }
        }
        for (name, values) in [("ca", &shown.ca), ("headers", &shown.headers), ("mirrors", &shown.mirrors)] {
            if !values.is_empty() {
                line("  ", name, &values.join(", "));
            }
        }
        for (name, value) in [("client-certificate", &shown.client_certificate), ("client-key", &shown.client_key)] {
            if let Some(value) = value {
                line("  ", name, value);
            }
        }
        if let Some(attempts) = shown.retry_attempts {
            line("  ", "retry attempts", &attempts.to_string());
        }
    }
    text
}
