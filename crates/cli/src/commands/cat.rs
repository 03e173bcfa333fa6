//! `skep cat REF PATH...`.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use skep::Archive;
use skep_registry::Body;
use tokio::io::AsyncWriteExt;

use super::Session;
use crate::args::Cat;
use crate::args::Part;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Failures;
use crate::exit::Outcome;

pub(super) async fn cat(session: &Session, args: Cat) -> Outcome {
    let archive = session.client.pull(&args.from).await?;
    let mut wanted = Vec::new();
    for path in &args.paths {
        match matching(&archive, path) {
            Ok(paths) => wanted.extend(paths.into_iter().map(Ok)),
            Err(failure) => wanted.push(Err(failure)),
        }
    }
    let mut failures = Failures::of(wanted.len(), session.json);
    let paths: Vec<String> = wanted.into_iter().filter_map(|wanted| failures.note(wanted)).collect();
    let mut rest = &paths[..];
    while let Some(first) = rest.first() {
        let batch = if args.range.is_none() { batch(&archive, rest) } else { 0 };
        if batch > 1
            && let Ok(contents) = together(&archive, &rest[..batch]).await
        {
            for path in &rest[..batch] {
                if !print_bytes(&contents[path]).await? {
                    return failures.outcome();
                }
            }
            rest = &rest[batch..];
            continue;
        }
        // Alone, it is said of the right one what is wrong.
        let printed = match args.range {
            None => print(&archive, first).await,
            Some(part) => print_part(&archive, first, part).await,
        };
        if failures.note(printed) == Some(false) {
            break;
        }
        rest = &rest[1..];
    }
    failures.outcome()
}

/// The path itself if it is there, else the files that it is a pattern of, in the order of paths.
fn matching(archive: &Archive, path: &str) -> Outcome<Vec<String>> {
    if !path.contains(['*', '?', '[', '{']) || archive.exists(path) {
        return Ok(vec![path.to_owned()]);
    }
    let matches = archive.glob(path).map_err(|error| Failure::from(error).exits(Exit::Usage))?;
    let files = matches.filter(|(path, _)| archive.is_file(path));
    let found: Vec<_> = files.map(|(path, _)| path.to_owned()).collect();
    if found.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("{path}: no file matches"))
            .hint("`*` stands for names in one directory, `**` for any directories"));
    }
    Ok(found)
}

/// How many of the next files are read together: those that fit into memory.
fn batch(archive: &Archive, paths: &[String]) -> usize {
    let mut bytes = 0;
    let fits = |path: &&String| {
        archive.entry(path).is_ok_and(|entry| {
            bytes += entry.original_size;
            bytes <= READ_TOGETHER
        })
    };
    paths.iter().take_while(fits).count()
}

/// Reads files in the order in which they are stored, with few requests.
async fn together(archive: &Archive, paths: &[String]) -> Outcome<HashMap<String, Bytes>> {
    let mut distinct = paths.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    Ok(archive.read_many(distinct)?.try_collect().await?)
}

/// Prints a file; false when nobody reads any more.
pub(super) async fn print(archive: &Archive, path: &str) -> Outcome<bool> {
    print_body(archive.stream(path).await?).await
}

async fn print_part(archive: &Archive, path: &str, part: Part) -> Outcome<bool> {
    let range = part.of(archive.entry(path)?.original_size);
    print_body(archive.read_range(path, range).await?).await
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

async fn print_bytes(bytes: &[u8]) -> Outcome<bool> {
    let mut out = tokio::io::stdout();
    Ok(written(out.write_all(bytes).await)? && written(out.flush().await)?)
}

fn written(result: io::Result<()>) -> Outcome<bool> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// Bytes of content that are read before the first of them is printed.
const READ_TOGETHER: u64 = 16 << 20;
