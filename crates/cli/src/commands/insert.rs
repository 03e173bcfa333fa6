//! `skep cp SOURCE... REF:/PATH`: files and directories into an archive.

use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;
use skep::Addition;
use skep::BuildEntry;
use skep::BuildOptions;
use skep::EntryKind;
use skep::Error;
use skep::Node;
use skep::Pulled;
use skep::PushOptions;

use super::Session;
use super::cp::Source;
use super::cp::split;
use super::push::NotCarried;
use super::push::not_carried;
use super::push::say_what_is_not_there;
use crate::args::Cp;
use crate::args::Overwrite;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output::count;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    sources: Vec<String>,
    dest: String,
    r#ref: String,
    digest: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
    stored: u64,
    sent_blobs: u64,
    sent_bytes: u64,
    excluded: u64,
    not_carried: Vec<NotCarried>,
}

/// Where to, if that is in an archive; none if the sources are.
pub(super) fn dest(session: &Session, args: &Cp) -> Outcome<Option<String>> {
    let Some(dest) = args.dest.to_str().filter(|dest| is_remote(dest)) else { return Ok(None) };
    if let Some(source) = args.sources.iter().find(|source| is_remote(source)) {
        let message = format!("{source} and {dest} are both in archives");
        return Err(
            Failure::new(Exit::Usage, message).hint("`skep copy` copies archives; what is here begins with `./`")
        );
    }
    let usage = |message| Failure::new(Exit::Usage, message);
    Ok(Some(session.config.aliases.expand(dest).map_err(usage)?.into_owned()))
}

/// Tells whether text means something in an archive, and not a path on this machine.
fn is_remote(text: &str) -> bool {
    // No address begins like that, so whatever is here can be said.
    !text.starts_with(['.', '/']) && split(text).is_some()
}

pub(super) async fn insert(session: &Session, args: Cp, dest: &str) -> Outcome {
    let target = Source::parse(dest)?;
    if target.address.digest.is_some() && target.address.tag.is_none() {
        let message = format!("{} is a digest, which never has anything else", target.address);
        return Err(Failure::new(Exit::Usage, message).hint("a new archive needs a tag to be found by: REF:TAG:/PATH"));
    }
    if args.extract.overwrite != Overwrite::Replace {
        let message = "what is in an archive can only be replaced, --overwrite is for what is on this machine";
        return Err(Failure::new(Exit::Usage, message));
    }
    let options = BuildOptions {
        compression: args.insert.compression,
        patterns: args.extract.options()?.patterns,
        ignore_files: !args.insert.no_ignore_files,
        reproducible: args.insert.reproducible,
        workers: args.extract.jobs,
        ..Default::default()
    };
    let before = session.client.pull_if_there(&target.address).await?;
    let additions = additions(&args.sources, &target.path, dest, before.as_ref())?;
    let (to, push) = (&target.address, PushOptions { build: options, ..Default::default() });
    let amending = session.client.amend(before.as_ref(), additions, to, push, session.on_progress());
    let (built, pushed) = amending.await.map_err(failure)?;
    let summary = built.summary();
    let answer = Answer {
        schema: "skep/cp-into/v1",
        sources: args.sources,
        dest: dest.to_owned(),
        r#ref: to.at(pushed.manifest.digest.clone()).to_string(),
        digest: pushed.manifest.digest.to_string(),
        files: summary.files,
        directories: summary.directories,
        symlinks: summary.symlinks,
        size: summary.original_size,
        stored: summary.stored_size,
        sent_blobs: pushed.sent_blobs,
        sent_bytes: pushed.sent_bytes,
        excluded: summary.excluded,
        not_carried: not_carried(summary),
    };
    if !session.json {
        say_what_is_not_there(session, &answer.not_carried, answer.excluded);
    }
    session.answer(&answer, || {
        let (files, original, stored) = (count(answer.files, "file"), size(answer.size), size(answer.stored));
        let what = if answer.sent_blobs == 0 { "unchanged" } else { "pushed" };
        format!("{what} {}\nnow {files}, {original} stored in {stored}, {} sent", answer.r#ref, size(answer.sent_bytes))
    })
}

/// A tag that has moved is tried again, and needs no other name.
fn failure(error: Error) -> Failure {
    let is_of_registry = matches!(error, Error::Registry(_));
    let failure = Failure::from(error);
    if is_of_registry && failure.exit == Exit::Conflict {
        return failure.hint("somebody else has pushed meanwhile, and that is kept; run it again to add to it");
    }
    failure
}

/// What goes where: as cp(1) does, into a directory that is there, else under the name given.
fn additions(sources: &[String], path: &str, dest: &str, before: Option<&Pulled>) -> Outcome<Vec<Addition<'static>>> {
    let there = before.and_then(|before| before.index().node(path));
    let into = path.is_empty() || dest.ends_with('/') || matches!(there, Some(Node::Directory(_)));
    if sources.len() > 1 && !into {
        let message = format!("/{path} is not a directory of the archive, and there are several sources");
        return Err(Failure::new(Exit::Usage, message).hint("end it with a slash to have it made"));
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let addition = |source: &String| {
        if source == "-" {
            if into {
                let message = "standard input has no name, and so needs that of a file";
                return Err(Failure::new(Exit::Usage, message).hint("REF:/PATH/NAME"));
            }
            return Ok(Addition::Entry(standard_input(path, there)));
        }
        let from = PathBuf::from(source);
        // As cp(1) has it: `DIR/.` is what is in it.
        let name = Path::new(source).file_name().and_then(|name| name.to_str());
        let name = name.filter(|_| !source.ends_with("/.") && source != ".");
        let path = match name {
            Some(name) if into => below(name),
            _ => path.to_owned(),
        };
        if path.is_empty() && !from.is_dir() {
            let failure = Failure::new(Exit::Usage, format!("{source} is no directory, and has no name"));
            return Err(failure);
        }
        Ok(Addition::Disk { from, path })
    };
    sources.iter().map(addition).collect()
}

/// A file of what comes from standard input; as cp(1) does, it keeps mode and owner of the one that it replaces.
fn standard_input(path: &str, there: Option<Node<'_>>) -> BuildEntry<'static> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let said = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse::<i64>().ok());
    let mtime_ns = match said {
        Some(seconds) => seconds.saturating_mul(1_000_000_000),
        None => i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
    };
    let (mode, uid, gid) = match there {
        Some(Node::File(entry)) => (entry.mode, entry.uid, entry.gid),
        _ => (0o644, 0, 0),
    };
    let kind = EntryKind::File { content: Box::new(std::io::stdin()), size: None };
    BuildEntry { path: path.to_owned(), kind, mode, uid, gid, mtime_ns }
}
