//! `skep copy SRC DST`.

use serde::Serialize;
use skep_registry::transfer::CopyOptions;
use skep_registry::transfer::Platforms;
use skep_registry::transfer::UploadSettings;

use super::Session;
use crate::args::Copy;
use crate::exit::Outcome;
use crate::output::count;
use crate::output::size;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    from: String,
    r#ref: String,
    digest: String,
    tags: Vec<String>,
    manifests: u64,
    blobs: u64,
    bytes: u64,
}

pub(super) async fn copy(session: &Session, args: Copy) -> Outcome {
    // A digest of the source without a tag is copied without one.
    let source_tag = || args.from.digest.is_none().then(|| args.from.tag_or_latest());
    let tags: Vec<_> = args.to.tag.clone().or_else(source_tag).into_iter().chain(args.tags).collect();
    let options = CopyOptions {
        tags: tags.clone(),
        platforms: args.platform.map_or(Platforms::All, Platforms::One),
        referrers: args.referrers,
        deep: args.deep,
        upload: UploadSettings { sent: Some(session.progress.watch("copy", 0)), ..Default::default() },
        ..Default::default()
    };
    let copied = session.client.copy(&args.from, &args.to, options).await?;
    let answer = Answer {
        schema: "skep/copy/v1",
        from: args.from.to_string(),
        r#ref: args.to.at(copied.manifest.digest.clone()).to_string(),
        digest: copied.manifest.digest.to_string(),
        tags: tags.iter().map(ToString::to_string).collect(),
        manifests: copied.manifests,
        blobs: copied.blobs,
        bytes: copied.bytes,
    };
    session.answer(&answer, || {
        let what = if copied.manifests == 0 { "unchanged" } else { "copied" };
        let (manifests, blobs) = (count(answer.manifests, "manifest"), count(answer.blobs, "blob"));
        format!("{what} {}\n{manifests}, {blobs}, {} sent", answer.r#ref, size(answer.bytes))
    })
}
