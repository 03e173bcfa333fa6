//! `skep login HOST` and `skep logout HOST`.

use std::io::IsTerminal;
use std::io::Read;
use std::sync::Arc;

use serde::Serialize;
use skep::ClientOptions;
use skep_http::Client;
use skep_http::Credential;
use skep_http::DockerLogin;
use skep_http::Kept;

use super::Session;
use crate::args::Login;
use crate::args::Logout;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output::escape;

#[derive(Serialize)]
struct Answer<'a> {
    schema: &'static str,
    host: &'a str,
    kept: Option<String>,
}

pub(super) async fn login(session: &Session, args: Login) -> Outcome {
    let secret = secret(&args)?;
    let credential = match args.username {
        Some(user) => Credential::Basic { user, password: secret },
        None => Credential::Identity(secret),
    };
    // Only what the registry takes is kept.
    let options = ClientOptions { credentials: Some(Arc::new(credential.clone())), ..session.config.client() };
    Client::new(&args.host, options.http()?)?.ping().await?;
    let host = bare(&args.host);
    let kept = match DockerLogin::locate()?.login(host, &credential).await? {
        Kept::File(path) => format!("the file {}, where whoever can read it finds the secret", path.display()),
        Kept::Helper(name) => format!("the helper docker-credential-{name}"),
    };
    let answer = Answer { schema: "skep/login/v1", host, kept: Some(kept.clone()) };
    session.answer(&answer, || format!("logged in to {}; kept in {}", escape(host), escape(&kept)))
}

pub(super) async fn logout(session: &Session, args: Logout) -> Outcome {
    let host = bare(&args.host);
    if !DockerLogin::locate()?.logout(host).await? {
        return Err(Failure::new(Exit::NotFound, format!("no credentials are kept for {host}")));
    }
    let answer = Answer { schema: "skep/logout/v1", host, kept: None };
    session.answer(&answer, || format!("logged out of {}", escape(host)))
}

/// The host as credentials know it.
pub(super) fn bare(host: &str) -> &str {
    host.split_once("://").map_or(host, |(_, host)| host).trim_end_matches('/')
}

fn secret(args: &Login) -> Outcome<String> {
    let failed = |error| Failure::new(Exit::Other, format!("cannot read the secret: {error}"));
    let secret = if args.password_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else if std::io::stdin().is_terminal() {
        let what = if args.username.is_some() { "password: " } else { "token: " };
        rpassword::prompt_password(what).map_err(failed)?
    } else {
        return Err(Failure::new(Exit::Usage, "there is no terminal to ask for the password at")
            .hint("say --password-stdin and write it to standard input"));
    };
    if secret.is_empty() {
        return Err(Failure::new(Exit::Usage, "the password is empty"));
    }
    Ok(secret)
}
