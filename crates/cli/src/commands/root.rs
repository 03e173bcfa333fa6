//! `skep trusted-root`: what to believe certificates, logs and timestamps by, as it is published now.

use skep_trust::Evidence;
use skep_trust::Updates;

use super::Session;
use super::signer::text;
use crate::args::NewestRoot;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::output;
use crate::output::escape;

pub(super) async fn trusted_root(session: &Session, args: NewestRoot) -> Outcome {
    let cache = &session.config.cache;
    // Without it nobody notices when something older comes; there is no older one to know of then.
    let none = tempfile::tempdir()?;
    let dir = match cache.dir.as_ref().filter(|_| cache.is_enabled) {
        Some(dir) => dir.join("trust"),
        None => none.path().to_owned(),
    };
    let updates = match (&args.tuf_url, &args.tuf_root) {
        (Some(url), Some(root)) => Updates::new(url, text(root).await?, dir),
        (mirror, _) => {
            let updates = if args.whose == "github" { Updates::github(dir) } else { Updates::sigstore(dir) };
            mirror.iter().fold(updates, |updates, url| updates.from_mirror(url))
        }
    };
    let updates = if cache.offline { updates.offline() } else { updates };
    let updated = updates.trusted_root(Evidence::default()).await.map_err(|error| {
        Failure::from(error).exits(Exit::Policy).hint("the root that is built in is used without --trusted-root")
    })?;
    if let Some(why) = &updated.away {
        session.progress.say(&format!("as it was the last time: {}", escape(why)));
    }
    output::text(&format!("{}\n", updated.value.to_json()))
}
