//! `skep tag REF TAG...`.

use serde::Serialize;

use super::Session;
use crate::args::TagArgs;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    r#ref: String,
    digest: String,
    tags: Vec<String>,
}

pub(super) async fn tag(session: &Session, args: TagArgs) -> Outcome {
    if args.from.tag.is_none() && args.from.digest.is_none() {
        let message = format!("{} names neither a tag nor a digest", args.from);
        return Err(Failure::new(Exit::Usage, message).hint("say which archive is meant: REF:TAG or REF@DIGEST"));
    }
    let digest = session.client.tag(&args.from, &args.tags, args.no_clobber).await?;
    let answer = Answer {
        schema: "skep/tag/v1",
        r#ref: args.from.at(digest.clone()).to_string(),
        digest: digest.to_string(),
        tags: args.tags.iter().map(ToString::to_string).collect(),
    };
    session.answer(&answer, || format!("tagged {} as {}", answer.r#ref, answer.tags.join(", ")))
}
