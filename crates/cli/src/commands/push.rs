//! `skep push DIR REF`.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;

use serde::Serialize;
use skep::Address;
use skep::BuildOptions;
use skep::Changes;
use skep::Error;
use skep::Origin;
use skep::Patterns;
use skep::PushOptions;
use skep::Pushed;
use skep::Skip;
use skep::Summary;

use super::Session;
use super::sign::Signed;
use super::sign::Target;
use super::signer::Prepared;
use crate::args::Push;
use crate::args::SignFormat;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output::count;
use crate::output::escape;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    digest: String,
    tags: Vec<String>,
    dry_run: bool,
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
    stored: u64,
    index_size: u64,
    sent_blobs: u64,
    sent_bytes: u64,
    excluded: u64,
    not_carried: Vec<NotCarried>,
    #[serde(flatten)]
    attached: Attached,
}

/// What was signed after a push.
#[derive(Default, Serialize)]
struct Attached {
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Signed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<Signed>,
}

/// What is to be signed after a push.
struct Wanted {
    sign: Option<SignFormat>,
    provenance: bool,
}

#[derive(Serialize)]
pub(super) struct NotCarried {
    what: &'static str,
    count: u64,
    examples: Vec<String>,
}

pub(super) async fn push(session: &Session, args: Push) -> Outcome {
    let build = build_options(&args)?;
    let origin = origin(&args)?;
    let wanted = Wanted { sign: args.sign.then_some(args.format), provenance: args.attest_provenance };
    let signing = match (args.sign || args.attest_provenance) && !args.dry_run {
        true => Some(Prepared::new(session, &args.signer).await?),
        false => None,
    };
    let options = PushOptions {
        tags: args.tags.clone(),
        annotations: args.annotations.into_iter().collect(),
        if_absent: args.no_clobber,
        ..Default::default()
    };
    let pushed = if args.dry_run {
        let built = skep::pack(origin, build, session.on_progress()).await?;
        Pushed {
            manifest: options.manifest_of(&built, &args.to)?.descriptor().clone(),
            summary: built.summary().clone(),
            index_size: built.index_descriptor().size,
            sent_blobs: 0,
            sent_bytes: 0,
        }
    } else {
        let options = PushOptions { build, ..options };
        session.client.push(origin, &args.to, options, session.on_progress()).await?
    };
    let (summary, digest) = (&pushed.summary, pushed.manifest.digest);
    let at = args.to.at(digest.clone());
    let attached = match signing {
        Some(by) => {
            let attached = attach(session, &at, by, wanted).await;
            attached.map_err(|failure| failure.after(format!("pushed {at}, and did not sign it")))?
        }
        None => Attached::default(),
    };
    let mut tags = vec![args.to.tag_or_latest()];
    tags.extend(args.tags);
    let answer = Answer {
        schema: "skep/push/v1",
        r#ref: at.to_string(),
        digest: digest.to_string(),
        tags: tags.iter().map(ToString::to_string).collect(),
        dry_run: args.dry_run,
        files: summary.files,
        directories: summary.directories,
        symlinks: summary.symlinks,
        size: summary.original_size,
        stored: summary.stored_size,
        index_size: pushed.index_size,
        sent_blobs: pushed.sent_blobs,
        sent_bytes: pushed.sent_bytes,
        excluded: summary.excluded,
        not_carried: not_carried(summary),
        attached,
    };
    if !session.json {
        say_what_is_not_there(session, &answer.not_carried, answer.excluded);
    }
    session.answer(&answer, || {
        let files = count(answer.files, "file");
        let (original, stored) = (size(answer.size), size(answer.stored));
        let (what, sent) = match (args.dry_run, answer.sent_blobs) {
            (true, _) => ("would push", "nothing".to_owned()),
            (false, 0) => ("unchanged", size(answer.sent_bytes)),
            (false, _) => ("pushed", size(answer.sent_bytes)),
        };
        let signed = answer.attached.signature.iter().chain(&answer.attached.provenance);
        let signed: String = signed.map(|signed| format!("\n{}", signed.words())).collect();
        format!("{what} {}\n{files}, {original} stored in {stored}, {sent} sent{signed}", answer.r#ref)
    })
}

/// Signs what was just pushed: by its digest, wherever its tags point by now.
async fn attach(session: &Session, at: &Address, by: Prepared, wanted: Wanted) -> Outcome<Attached> {
    let (target, by) = (Target::of(session, at).await?, by.ready().await?);
    let mut attached = Attached::default();
    if let Some(format) = wanted.sign {
        attached.signature = Some(target.sign(&by, format).await?);
    }
    if wanted.provenance {
        attached.provenance = Some(target.attest_provenance(&by).await?);
    }
    Ok(attached)
}

fn build_options(Push { what, how, .. }: &Push) -> Outcome<BuildOptions> {
    let patterns = Patterns::new(what.include.iter().map(String::as_str), what.exclude.iter().map(String::as_str));
    let patterns = patterns.map_err(|error| Failure::from(error).exits(Exit::Usage))?;
    let skip = if how.compress_all { Skip::nothing() } else { Skip { below: how.store_below, ..Skip::default() } };
    Ok(BuildOptions {
        compression: how.compression,
        skip,
        extensions: !how.no_extensions,
        patterns,
        ignore_files: !what.no_ignore_files,
        reproducible: how.reproducible,
        changes: if what.strict { Changes::Strict } else { Changes::Size },
        workers: how.jobs,
        ..Default::default()
    })
}

fn origin(args: &Push) -> Outcome<Origin> {
    let from = &args.from;
    if args.archive {
        return Ok(Origin::Archive(from.clone()));
    }
    if from == Path::new("-") {
        if std::io::stdin().is_terminal() {
            let failure = Failure::new(Exit::Usage, "wanted a tar archive from standard input, got a terminal");
            return Err(failure.hint("tar -c DIR | skep push - REF"));
        }
        return Ok(Origin::Tar(Box::new(std::io::stdin())));
    }
    if args.tar {
        let failed = |source| Error::Io { what: "open", path: from.clone(), source };
        return Ok(Origin::Tar(Box::new(File::open(from).map_err(failed)?)));
    }
    if from.is_file() {
        let failure = Failure::new(Exit::Usage, format!("{} is a file, not a directory", from.display()));
        return Err(failure.hint("a tar archive is pushed with --tar"));
    }
    Ok(Origin::Directory(from.clone()))
}

pub(super) fn say_what_is_not_there(session: &Session, not_carried: &[NotCarried], excluded: u64) {
    for lost in not_carried {
        let examples: Vec<_> = lost.examples.iter().map(|path| escape(path)).collect();
        let more = if lost.count > examples.len() as u64 { ", …" } else { "" };
        let what = count(lost.count, lost.what);
        session.progress.say(&format!("not carried: {what} ({}{more})", examples.join(", ")));
    }
    if excluded > 0 {
        session.progress.say(&format!("left out as it was said: {}", count(excluded, "path")));
    }
}

pub(super) fn not_carried(summary: &Summary) -> Vec<NotCarried> {
    let omitted = summary.omitted.iter();
    omitted
        .map(|(reason, omitted)| NotCarried {
            what: reason.as_str(),
            count: omitted.count,
            examples: omitted.examples.clone(),
        })
        .collect()
}
