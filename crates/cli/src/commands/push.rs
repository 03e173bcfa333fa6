//! `skep push DIR REF`.

use serde::Serialize;
use skep::BuildOptions;
use skep::PushOptions;
use skep::Pushed;

use super::Session;
use crate::args::Push;
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
    files: u64,
    directories: u64,
    symlinks: u64,
    size: u64,
    stored: u64,
    index_size: u64,
    sent_blobs: u64,
    sent_bytes: u64,
    not_carried: Vec<NotCarried>,
}

#[derive(Serialize)]
struct NotCarried {
    what: &'static str,
    count: u64,
    examples: Vec<String>,
}

pub(super) async fn push(session: &Session, args: Push) -> Outcome {
    let (compression, workers, extensions) = (args.compression, args.jobs, !args.no_extensions);
    let build = BuildOptions { compression, workers, extensions, ..Default::default() };
    let mut tags = vec![args.to.tag_or_latest()];
    tags.extend(args.tags);
    let options = PushOptions {
        build,
        tags: tags[1..].to_vec(),
        annotations: args.annotations.into_iter().collect(),
        if_absent: args.no_clobber,
    };
    let pushed = session.client.push(&args.dir, &args.to, options, session.on_progress()).await?;
    let not_carried = not_carried(&pushed);
    if !session.json {
        for lost in &not_carried {
            let examples: Vec<_> = lost.examples.iter().map(|path| escape(path)).collect();
            let more = if lost.count > examples.len() as u64 { ", …" } else { "" };
            session.progress.say(&format!(
                "not carried: {} ({}{more})",
                count(lost.count, lost.what),
                examples.join(", ")
            ));
        }
    }
    let to = args.to.at(pushed.manifest.digest.clone());
    let answer = Answer {
        schema: "skep/push/v1",
        r#ref: to.to_string(),
        digest: pushed.manifest.digest.to_string(),
        tags: tags.iter().map(ToString::to_string).collect(),
        files: pushed.summary.files,
        directories: pushed.summary.directories,
        symlinks: pushed.summary.symlinks,
        size: pushed.summary.original_size,
        stored: pushed.summary.stored_size,
        index_size: pushed.index_size,
        sent_blobs: pushed.sent_blobs,
        sent_bytes: pushed.sent_bytes,
        not_carried,
    };
    session.answer(&answer, || {
        let what = if pushed.sent_blobs == 0 { "unchanged" } else { "pushed" };
        let files = count(answer.files, "file");
        let sent = size(answer.sent_bytes);
        let (original, stored) = (size(answer.size), size(answer.stored));
        format!("{what} {}\n{files}, {original} stored in {stored}, {sent} sent", answer.r#ref)
    })
}

fn not_carried(pushed: &Pushed) -> Vec<NotCarried> {
    let omitted = pushed.summary.omitted.iter();
    omitted
        .map(|(reason, omitted)| NotCarried {
            what: reason.as_str(),
            count: omitted.count,
            examples: omitted.examples.clone(),
        })
        .collect()
}
