//! Referrers: from the registry's list, or from the tag that stands in for it where there is no list.

use std::sync::atomic::Ordering;

use http::header;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Digest;
use skep_registry::Error;
use skep_registry::Listing;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ReferrerQuery;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::media_type;

use crate::auth::Scope;
use crate::client::Client;
use crate::client::list::next_url;
use crate::client::manifest;
use crate::client::manifest::Condition;
use crate::client::send::Request;
use crate::endpoint::Endpoint;
use crate::wire;

/// Lists referrers in the order of their digests.
///
/// Registries give them in any order and most in one piece, so all are gathered before a page is cut.
pub(super) async fn list(
    client: &Client,
    repo: &RepoName,
    subject: &Digest,
    query: &ReferrerQuery,
) -> Result<Listing<Descriptor>> {
    if query.page.limit == Some(0) {
        return Ok(Listing::complete(Vec::new()));
    }
    let artifact_type = query.artifact_type.as_deref();
    let mut all = match from_list(client, repo, subject, artifact_type).await? {
        Some(all) => all,
        None => from_tag(client, repo, subject).await?.and_then(|(content, _)| content.manifests).unwrap_or_default(),
    };
    all.retain(|descriptor| artifact_type.is_none() || descriptor.artifact_type.as_deref() == artifact_type);
    all.sort_by(|one, other| one.digest.as_str().cmp(other.digest.as_str()));
    all.dedup_by(|one, other| one.digest == other.digest);
    Ok(Listing::cut(all, &query.page, |descriptor| descriptor.digest.to_string()))
}

/// Enters a manifest into the list that stands in for one of the registry (spec, "Pushing Manifests with Subject").
pub(super) async fn add(client: &Client, repo: &RepoName, subject: &Digest, referrer: Descriptor) -> Result<()> {
    let enter = |manifests: &mut Vec<Descriptor>| {
        let is_new = manifests.iter().all(|one| one.digest != referrer.digest);
        manifests.extend(is_new.then(|| referrer.clone()));
        is_new
    };
    change(client, repo, subject, enter).await
}

/// Strikes a manifest from the list that stands in for one of the registry (spec, "Deleting Manifests").
pub(super) async fn remove(client: &Client, repo: &RepoName, subject: &Digest, referrer: &Digest) -> Result<()> {
    if from_list(client, repo, subject, None).await?.is_some() {
        return Ok(());
    }
    let strike = |manifests: &mut Vec<Descriptor>| {
        let before = manifests.len();
        manifests.retain(|one| one.digest != *referrer);
        manifests.len() < before
    };
    change(client, repo, subject, strike).await
}

/// Changes the list that stands in for one of the registry; `edit` tells whether there is something to change.
///
/// Clients read it, change it and write it back, and can undo what others write in between. Callers of one client
/// take turns. Of several clients, the registry tells, if it knows conditions.
///
/// spec, "Pushing Manifests with Subject": the client SHOULD use a conditional push where ETags are supported.
async fn change(
    client: &Client,
    repo: &RepoName,
    subject: &Digest,
    edit: impl Fn(&mut Vec<Descriptor>) -> bool,
) -> Result<()> {
    let _turn = client.inner.referrers.lock().await;
    let (mut tries, mut gone) = (0, Vec::new());
    loop {
        tries += 1;
        let found = from_tag(client, repo, subject).await?;
        let condition = match &found {
            None => Condition::Absent,
            Some((_, Some(etag))) => Condition::Same(etag),
            Some((_, None)) => Condition::None,
        };
        let mut content = found.as_ref().map(|(content, _)| content.clone()).unwrap_or_else(|| ManifestContent {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            ..Default::default()
        });
        if !edit(content.manifests.get_or_insert_default()) {
            return Ok(());
        }
        content.manifests.get_or_insert_default().retain(|one| !gone.contains(&one.digest));
        let tag = tag_of(subject);
        let index = Manifest::new(media_type::INDEX, content.to_bytes());
        match manifest::put_one(client, repo, &tag.clone().into(), &[], &index, condition).await {
            Err(error) if *error.code() == Code::PreconditionFailed && tries < MAX_TRIES => {
                tracing::debug!(%tag, "list of referrers changed meanwhile");
            }
            // What was deleted by others is in the list still, and some registries take no index of what is not there.
            Err(error) if *error.code() == Code::ManifestBlobUnknown && tries < MAX_TRIES => {
                let before = gone.len();
                gone.extend(missing(client, repo, &content).await?);
                if gone.len() == before {
                    return Err(error.context(format_args!("tag {tag}, for referrers")));
                }
            }
            stored => return stored.map(drop).map_err(|error| error.context(format_args!("tag {tag}, for referrers"))),
        }
    }
}

/// The manifests of a list that the registry does not have.
async fn missing(client: &Client, repo: &RepoName, content: &ManifestContent) -> Result<Vec<Digest>> {
    let mut missing = Vec::new();
    for one in content.manifests.iter().flatten() {
        match manifest::head(client, repo, &one.digest.clone().into()).await {
            Err(error) if error.is_not_found() => missing.push(one.digest.clone()),
            found => drop(found?),
        }
    }
    Ok(missing)
}

/// The registry's own list; none when it has no such lists.
async fn from_list(
    client: &Client,
    repo: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Option<Vec<Descriptor>>> {
    let mut url = client.url(&Endpoint::Referrers(repo.clone(), subject.clone()));
    if let Some(artifact_type) = artifact_type {
        url.query_pairs_mut().append_pair(wire::ARTIFACT_TYPE, artifact_type);
    }
    let mut all = Vec::new();
    let (mut bytes, mut next) = (0, Some(url));
    while let Some(url) = next {
        let answer = client.send(Request::get(url.clone(), Scope::pull(repo)).whole(MAX_BYTES)).await?;
        // Not every registry says 404 of a path that it does not know.
        if matches!(answer.status(), 404 | 405 | 501) && all.is_empty() {
            return Ok(None);
        }
        let answer = answer.expect(&[200], Code::NameUnknown).await?;
        let is_json = answer.text(&header::CONTENT_TYPE).map(wire::essence).is_some_and(|text| text.ends_with("json"));
        next = next_url(&answer)?.filter(|next| *next != url);
        let body = answer.bytes(MAX_BYTES).await?;
        bytes += body.len() as u64;
        if bytes > MAX_BYTES {
            let message = format!("the referrers of {subject} are more than {MAX_BYTES} bytes");
            return Err(Error::new(Code::SizeInvalid, message));
        }
        let list: wire::ReferrerList = match serde_json::from_slice(&body) {
            Ok(list) => list,
            // A page for people under every path, say: no list of referrers. One that is damaged must not look as if
            // there were none: they may be signatures.
            Err(_) if all.is_empty() && !is_json => return Ok(None),
            Err(error) => {
                return Err(Error::new(Code::ManifestInvalid, "the list of referrers").with_source(error));
            }
        };
        all.extend(list.manifests.unwrap_or_default());
    }
    client.inner.knows_referrers.store(true, Ordering::Relaxed);
    Ok(Some(all))
}

/// The list that stands in for the registry's (spec, "Referrers Tag Schema"), and its state for conditions; none if
/// there is none.
async fn from_tag(
    client: &Client,
    repo: &RepoName,
    subject: &Digest,
) -> Result<Option<(ManifestContent, Option<String>)>> {
    let tag = tag_of(subject);
    let (manifest, etag) = match manifest::get_with_etag(client, repo, &tag.clone().into()).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    if manifest.media_type() != media_type::INDEX {
        let message = format!("tag {tag}, for referrers, is of type {:?}", manifest.media_type());
        return Err(Error::new(Code::ManifestInvalid, message));
    }
    let content = manifest.content().map_err(|error| error.context(format_args!("tag {tag}, for referrers")))?;
    Ok(Some((content, etag)))
}

/// The tag that stands in for the list of referrers of a digest.
fn tag_of(subject: &Digest) -> Tag {
    let hex = &subject.hex()[..subject.hex().len().min(64)];
    format!("{}-{hex}", subject.algorithm()).parse().expect("letters, digits and a dash are a tag")
}

/// Bytes of lists that are read for one call; each is a manifest, and may be as large as one.
const MAX_BYTES: u64 = 64 << 20;

/// How often a list is read and written, when others write it at the same time.
const MAX_TRIES: u32 = 8;

#[cfg(test)]
mod tests {
    use skep_registry::Algorithm;

    use super::*;

    #[test]
    fn the_tag_in_place_of_a_list_is_cut_to_its_length() {
        let long = Digest::of(Algorithm::Sha512, b"");
        for (digest, want) in [
            (Digest::sha256(b""), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned()),
            (long.clone(), format!("sha512-{}", &long.hex()[..64])),
        ] {
            assert_eq!(tag_of(&digest).as_str(), want);
        }
    }
}
