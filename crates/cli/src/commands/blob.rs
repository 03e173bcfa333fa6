//! `skep blob get|head|put|mount|rm`.

use std::path::Path;

use bytes::Bytes;
use bytes::BytesMut;
use serde::Serialize;
use skep::Address;
use skep_registry::Body;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Hasher;
use skep_registry::Mount;
use skep_registry::OCTET_STREAM;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::UploadOptions;
use skep_registry::transfer;
use skep_registry::transfer::DownloadOptions;
use skep_registry::transfer::Place;
use skep_registry::transfer::UploadSettings;
use skep_registry::transfer::file_source;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;

use super::Session;
use super::cat;
use crate::args::Blob;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;

/// Bytes that are read of a file, and sent, at once.
const PART: usize = 4 << 20;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    digest: String,
    size: Option<u64>,
}

pub(super) async fn blob(session: &Session, args: Blob) -> Outcome {
    match args {
        Blob::Get { from, output } => get(session, &from, output.as_deref()).await,
        Blob::Head { from } => {
            let (registry, repo) = session.client.registry(&from.store)?;
            let descriptor = registry.head_blob(&repo, digest_of(&from)?).await?;
            answer(session, &from, &descriptor.digest, Some(descriptor.size))
        }
        Blob::Put { to, file } => put(session, &to, &file).await,
        Blob::Mount { to, from } => {
            let (registry, repo) = session.client.registry(&to.store)?;
            let digest = digest_of(&to)?;
            match registry.mount_blob(&repo, digest, Some(&from)).await? {
                Mount::Mounted => answer(session, &to, digest, None),
                Mount::Upload(upload) => {
                    upload.cancel().await?;
                    Err(Failure::new(Exit::Unsupported, format!("{digest} was not mounted from {from}"))
                        .hint("it is not there, or this registry does not mount; upload it with `skep blob put`"))
                }
            }
        }
        Blob::Rm { from } => {
            let (registry, repo) = session.client.registry(&from.store)?;
            let digest = digest_of(&from)?;
            registry.delete_blob(&repo, digest).await?;
            answer(session, &from, digest, None)
        }
    }
}

fn digest_of(address: &Address) -> Outcome<&Digest> {
    let missing = || Failure::new(Exit::Usage, format!("{address} names no digest")).hint("a blob is REPO@DIGEST");
    address.digest.as_ref().ok_or_else(missing)
}

fn answer(session: &Session, of: &Address, digest: &Digest, size: Option<u64>) -> Outcome {
    let answer =
        Answer { schema: "skep/blob/v1", r#ref: of.at(digest.clone()).to_string(), digest: digest.to_string(), size };
    if session.json {
        return output::json(&answer);
    }
    match size {
        Some(size) => output::text(&format!("{digest} {size}\n")),
        None => output::text(&format!("{digest}\n")),
    }
}

async fn get(session: &Session, from: &Address, output: Option<&Path>) -> Outcome {
    let (registry, repo) = session.client.registry(&from.store)?;
    let digest = digest_of(from)?;
    let Some(path) = output else {
        let blob = registry.get_blob(&repo, digest, None).await?;
        return cat::print_body(blob.body).await.map(|_| ());
    };
    let blob = registry.head_blob(&repo, digest).await?;
    let received = Some(session.progress.watch("download", blob.size));
    let options = DownloadOptions { received, ..Default::default() };
    transfer::download_to_file(&Place::new(registry, repo), &blob, path, &options).await?;
    answer(session, from, &blob.digest, Some(blob.size))
}

async fn put(session: &Session, to: &Address, file: &Path) -> Outcome {
    super::bare(to)?;
    let (registry, repo) = session.client.registry(&to.store)?;
    let broken = |error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", file.display()));
    let descriptor = if file.as_os_str() == "-" {
        stream(&*registry, &repo, tokio::io::stdin()).await?
    } else {
        let mut open = tokio::fs::File::open(file).await.map_err(broken)?;
        if open.metadata().await.map_err(broken)?.is_file() {
            let blob = described(&mut open).await.map_err(broken)?;
            let mut journal = file.as_os_str().to_owned();
            journal.push(".skep-journal");
            let sent = Some(session.progress.watch("upload", blob.size));
            let settings = UploadSettings { journal: Some(journal.into()), sent, ..Default::default() };
            transfer::upload(&Place::new(registry, repo), &blob, file_source(file), &settings).await?;
            blob
        } else {
            stream(&*registry, &repo, open).await?
        }
    };
    answer(session, to, &descriptor.digest, Some(descriptor.size))
}

async fn described(file: &mut tokio::fs::File) -> std::io::Result<Descriptor> {
    let mut hasher = Hasher::new(Default::default());
    loop {
        let part = read_part(file).await?;
        if part.is_empty() {
            let size = hasher.len();
            return Ok(Descriptor::new(OCTET_STREAM, hasher.finish(), size));
        }
        hasher.update(&part);
    }
}

/// Sends what is read in parts, and says at the end what it was.
async fn stream(registry: &dyn Registry, repo: &RepoName, mut from: impl AsyncRead + Unpin) -> Outcome<Descriptor> {
    let mut upload = registry.upload_blob(repo, UploadOptions::default()).await?;
    let mut hasher = Hasher::new(Default::default());
    loop {
        let part = read_part(&mut from).await?;
        if part.is_empty() {
            return Ok(upload.commit(&hasher.finish()).await?);
        }
        hasher.update(&part);
        upload.append(Body::from(part)).await?;
    }
}

async fn read_part(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Bytes> {
    let mut part = BytesMut::with_capacity(PART);
    while part.len() < PART && from.read_buf(&mut part).await? > 0 {}
    Ok(part.freeze())
}
