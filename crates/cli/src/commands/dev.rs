//! `skep dev sigstore`: a Sigstore for tests, until it is told to stop.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use skep_trust::testing;
use skep_trust::testing::Who;

use crate::args::Dev;
use crate::args::Global;
use crate::args::Sigstore;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output;
use crate::output::escape;

/// How long a token is there before it is made anew; it is valid for ten minutes.
const FRESH: Duration = Duration::from_secs(240);

#[derive(Serialize)]
struct Answer<'a> {
    schema: &'static str,
    url: &'a str,
    trusted_root: String,
    signing_config: String,
    token: String,
}

pub(crate) async fn dev(global: &Global, part: Dev, mut interrupt: Interrupt) -> Outcome {
    let Dev::Sigstore(args) = part;
    if !args.addr.ip().is_loopback() {
        let message = format!("{} can be reached from elsewhere, and this Sigstore believes everybody", args.addr);
        return Err(Failure::new(Exit::Usage, message).hint("it is for tests on this machine: --addr 127.0.0.1:0"));
    }
    let who = who(&args.identity)?;
    let sigstore = testing::Sigstore::start_at(args.addr).await?;
    fs::create_dir_all(&args.out)?;
    let [root, config, token] = ["trusted_root.json", "signing_config.json", "token"].map(|name| args.out.join(name));
    write(&root, &sigstore.trusted_root())?;
    write(&config, &sigstore.signing_config())?;
    write(&args.out.join("root.json"), sigstore.updates_root())?;
    write(&token, &sigstore.token(&who)?)?;
    say(global, &args, sigstore.url())?;
    let renewing = async {
        loop {
            tokio::time::sleep(FRESH).await;
            write(&token, &sigstore.token(&who)?)?;
        }
    };
    tokio::select! {
        outcome = renewing => outcome,
        () = interrupt.came() => Ok(()),
    }
}

/// Everything is there from here on, so this is the moment to say so.
fn say(global: &Global, args: &Sigstore, url: &str) -> Outcome {
    let path = |name| args.out.join(name).display().to_string();
    let answer = Answer {
        schema: "skep/dev-sigstore/v1",
        url,
        trusted_root: path("trusted_root.json"),
        signing_config: path("signing_config.json"),
        token: path("token"),
    };
    if global.json {
        return output::json(&answer);
    }
    output::text(&format!("{url}\n"))?;
    if !global.quiet {
        eprintln!("FOR TESTS ONLY: this Sigstore certifies whoever asks, and forgets its logs. Trust it nowhere else.");
        eprintln!(
            "sign as {} with --signing-config {} --identity-token {}, verify with --trusted-root {}",
            escape(&args.identity),
            escape(&answer.signing_config),
            escape(&answer.token),
            escape(&answer.trusted_root)
        );
    }
    Ok(())
}

/// An e-mail address, or `OWNER/REPO/FILE@REF`.
fn who(text: &str) -> Outcome<Who> {
    let workflow = text.split_once("@refs/").and_then(|(path, reference)| {
        let (owner, rest) = path.split_once('/')?;
        let (repo, file) = rest.split_once('/')?;
        let file = file.strip_prefix(".github/workflows/").unwrap_or(file);
        let parts = [owner, repo, file, reference];
        let is_whole = parts.iter().all(|part| !part.is_empty());
        is_whole.then(|| Who::workflow(&format!("{owner}/{repo}"), file, &format!("refs/{reference}")))
    });
    let is_person = text.split_once('@').is_some_and(|(name, host)| !name.contains('/') && !host.contains('/'));
    match workflow {
        Some(workflow) => Ok(workflow),
        None if is_person => Ok(Who::person(text)),
        None => Err(Failure::new(Exit::Usage, format!("{text} is neither an e-mail address nor a workflow"))
            .hint("as acme/site/release.yml@refs/tags/v1")),
    }
}

/// Writes a file at once: whoever reads it meanwhile has the old one or the new one.
fn write(path: &Path, text: &str) -> Outcome {
    let failed = |error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display()));
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
