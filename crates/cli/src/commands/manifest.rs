//! `skep manifest get|head|put` and `skep digest REF`.

use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use skep::Address;
use skep_registry::Descriptor;
use skep_registry::MAX_MANIFEST;
use skep_registry::Manifest;
use skep_registry::PutManifest;
use skep_registry::media_type;
use tokio::io::AsyncReadExt;

use super::Session;
use crate::args;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

#[derive(Serialize)]
struct Answer<'a> {
    schema: &'static str,
    r#ref: String,
    media_type: &'a str,
    digest: &'a str,
    size: u64,
}

pub(super) async fn digest(session: &Session, args: args::Digest) -> Outcome {
    let descriptor = described(session, &args.from).await?;
    if session.json {
        return answer("skep/digest/v1", &args.from, &descriptor);
    }
    output::text(&format!("{}\n", descriptor.digest))
}

pub(super) async fn manifest(session: &Session, args: args::Manifest) -> Outcome {
    match args {
        args::Manifest::Get { from } => {
            let manifest = session.client.manifest(&from).await?;
            output::bytes(manifest.bytes())
        }
        args::Manifest::Head { from } => {
            let descriptor = described(session, &from).await?;
            if session.json {
                return answer("skep/manifest/v1", &from, &descriptor);
            }
            output::text(&format!("{} {} {}\n", escape(&descriptor.media_type), descriptor.digest, descriptor.size))
        }
        args::Manifest::Put { to, file, media_type } => put(session, &to, &file, media_type).await,
    }
}

async fn described(session: &Session, from: &Address) -> Outcome<Descriptor> {
    let (registry, repo) = session.client.registry(&from.store)?;
    Ok(registry.head_manifest(&repo, &from.manifest()).await?)
}

fn answer(schema: &'static str, of: &Address, descriptor: &Descriptor) -> Outcome {
    let (media_type, digest, size) = (&*descriptor.media_type, descriptor.digest.as_str(), descriptor.size);
    output::json(&Answer { schema, r#ref: of.at(descriptor.digest.clone()).to_string(), media_type, digest, size })
}

async fn put(session: &Session, to: &Address, file: &Path, media_type: Option<String>) -> Outcome {
    let bytes = read(file, MAX_MANIFEST).await?;
    let media_type = media_type.or_else(|| stated_type(&bytes)).unwrap_or_else(|| media_type::IMAGE.to_owned());
    let manifest = match &to.digest {
        Some(digest) => Manifest::verified(media_type, digest, bytes)?,
        None => Manifest::new(media_type, bytes),
    };
    let (registry, repo) = session.client.registry(&to.store)?;
    let options = PutManifest { tags: to.tag.iter().cloned().collect(), ..Default::default() };
    registry.put_manifest(&repo, &manifest, options).await?;
    if session.json {
        return answer("skep/manifest/v1", to, manifest.descriptor());
    }
    output::text(&format!("{}\n", manifest.digest()))
}

fn stated_type(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    serde_json::from_slice::<Typed>(bytes).ok()?.media_type
}

/// Reads a file, or standard input for `-`, of a limited size.
pub(super) async fn read(file: &Path, limit: u64) -> Outcome<Bytes> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        tokio::io::stdin().take(limit + 1).read_to_end(&mut bytes).await
    } else {
        match tokio::fs::File::open(file).await {
            Ok(file) => file.take(limit + 1).read_to_end(&mut bytes).await,
            Err(error) => Err(error),
        }
    };
    read.map_err(|error| Failure::new(Exit::Disk, format!("cannot read {}: {error}", file.display())))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(Exit::Other, format!("{} has more than {limit} bytes", file.display())));
    }
    Ok(bytes.into())
}
