//! `skep cat REF PATH...`.

use std::io;

use futures_util::StreamExt;
use skep_registry::Body;
use tokio::io::AsyncWriteExt;

use super::Session;
use crate::args::Cat;
use crate::exit::Failures;
use crate::exit::Outcome;

pub(super) async fn cat(session: &Session, args: Cat) -> Outcome {
    let archive = session.client.pull(&args.from).await?;
    let mut failures = Failures::of(args.paths.len(), session.json);
    for path in &args.paths {
        if failures.note(print(&archive, path).await) == Some(false) {
            break;
        }
    }
    failures.outcome()
}

/// Prints a file; false when nobody reads any more.
pub(super) async fn print(archive: &skep::Archive, path: &str) -> Outcome<bool> {
    print_body(archive.stream(path).await?).await
}

/// Prints bytes as they come; false when nobody reads any more.
pub(super) async fn print_body(mut body: Body) -> Outcome<bool> {
    let mut out = tokio::io::stdout();
    while let Some(part) = body.next().await.transpose()? {
        if !written(out.write_all(&part).await)? {
            return Ok(false);
        }
    }
    written(out.flush().await)
}

fn written(result: io::Result<()>) -> Outcome<bool> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}
