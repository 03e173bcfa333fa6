//! Manifests from and to a registry, with their tags, and what a registry may leave out.

use std::sync::atomic::Ordering;

use http::Method;
use http::header;
use skep_registry::Algorithm;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Error;
use skep_registry::MAX_MANIFEST;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;
use skep_registry::PutManifest;
use skep_registry::Registry;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::media_type;

use crate::auth::Scope;
use crate::client::Client;
use crate::client::answer::Answer;
use crate::client::referrers;
use crate::client::schema1;
use crate::client::send::Request;
use crate::endpoint::Endpoint;
use crate::wire;

pub(super) async fn get(client: &Client, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
    get_with_etag(client, repo, reference).await.map(|(manifest, _)| manifest)
}

/// Reads a manifest, with the tag that the registry gives its present state for conditions on it (RFC 9110, 8.8.3).
pub(super) async fn get_with_etag(
    client: &Client,
    repo: &RepoName,
    reference: &ManifestRef,
) -> Result<(Manifest, Option<String>)> {
    let answer = request(client, Method::GET, repo, reference).await?;
    let answer = answer.expect(&[200], Code::ManifestUnknown).await?;
    let content_type = answer.text(&header::CONTENT_TYPE).map(wire::essence).unwrap_or_default().to_owned();
    let stated = answer.digest();
    // A weak one is no condition to write on.
    let etag = answer.text(&header::ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned);
    let bytes = answer.bytes(MAX_MANIFEST).await?;
    let (content_type, bytes) = match content_type.as_str() {
        schema1::SIGNED => (schema1::UNSIGNED.to_owned(), schema1::unsigned(&bytes)?),
        _ => (content_type, bytes),
    };
    let media_type = media_type_of(&content_type, &bytes)?;
    let manifest = match (reference, &stated) {
        (ManifestRef::Digest(digest), _) | (_, Some(digest)) => Manifest::verified(media_type, digest, bytes)?,
        // ECR states no digest on GET by tag, so it is computed.
        (ManifestRef::Tag(_), None) => Manifest::new(media_type, bytes),
    };
    Ok((manifest, etag))
}

pub(super) async fn head(client: &Client, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
    let answer = request(client, Method::HEAD, repo, reference).await?;
    if answer.status() != 405 {
        let answer = answer.expect(&[200], Code::ManifestUnknown).await?;
        let content_type = answer.text(&header::CONTENT_TYPE).map(wire::essence).filter(|text| !text.is_empty());
        // The size of a signed manifest is not that of the one within.
        let content_type = content_type.filter(|content_type| *content_type != schema1::SIGNED);
        let digest = match reference {
            ManifestRef::Digest(digest) => Some(digest.clone()),
            ManifestRef::Tag(_) => answer.digest(),
        };
        if let (Some(content_type), Some(digest), Some(size)) = (content_type, digest, answer.length()) {
            return Ok(Descriptor::new(content_type, digest, size));
        }
    }
    // What HEAD leaves out is known from the manifest itself.
    get(client, repo, reference).await.map(|manifest| manifest.descriptor().clone())
}

pub(super) async fn put(client: &Client, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
    let PutManifest { mut tags, if_absent } = options;
    if manifest.descriptor().size > MAX_MANIFEST {
        let message = format!("a manifest of {} bytes, at most {MAX_MANIFEST} are allowed", manifest.descriptor().size);
        return Err(Error::new(Code::SizeInvalid, message));
    }
    if if_absent {
        // Many registries do not look at conditions, so the client looks first. Those that do decide it at once
        // with the write, and see no tag that is right already: it would be a conflict to them.
        let mut open = Vec::new();
        for tag in tags {
            match client.head_manifest(repo, &tag.clone().into()).await {
                Ok(found) if found.digest == *manifest.digest() => {}
                Ok(found) => {
                    let message = format!("tag {tag} in {repo} points to {}", found.digest);
                    return Err(Error::new(Code::PreconditionFailed, message));
                }
                Err(error) if error.is_not_found() => open.push(tag),
                Err(error) => return Err(error),
            }
        }
        tags = open;
    }
    let condition = if if_absent { Condition::Absent } else { Condition::None };
    let is_canonical = manifest.digest().algorithm() == Algorithm::Sha256;
    let mut knows_subject = false;
    match &tags[..] {
        [tag] if is_canonical => {
            let answer = put_one(client, repo, &tag.clone().into(), &[], manifest, condition).await?;
            knows_subject |= names_subject(&answer);
        }
        _ => {
            let digest = ManifestRef::Digest(manifest.digest().clone());
            let of_all = if tags.is_empty() { Condition::None } else { condition };
            let put = put_one(client, repo, &digest, &tags, manifest, of_all).await;
            let set = match put {
                Ok(answer) => {
                    knows_subject |= names_subject(&answer);
                    tags_of(&answer)
                }
                // Too many tags for the length of a URL or of headers: one by one.
                Err(error) if matches!(error.status(), 414 | 431) && !tags.is_empty() => Vec::new(),
                Err(error) => return Err(error),
            };
            for tag in tags.iter().filter(|tag| !set.contains(tag)) {
                let answer = put_one(client, repo, &tag.clone().into(), &[], manifest, condition).await;
                let answer = answer.map_err(|error| error.context(format_args!("tag {tag}")))?;
                knows_subject |= names_subject(&answer);
            }
        }
    }
    if knows_subject {
        client.inner.knows_referrers.store(true, Ordering::Relaxed);
        return Ok(());
    }
    match subject_of(manifest) {
        Some((subject, content)) => {
            referrers::add(client, repo, &subject.digest, content.describe(manifest.descriptor())).await
        }
        None => Ok(()),
    }
}

/// What must hold for a manifest to be stored (RFC 9110, 13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition<'a> {
    /// There is none under the name.
    Absent,
    /// Nothing.
    None,
    /// What is under the name is in this state still.
    Same(&'a str),
}

/// Stores a manifest under one name, and tags along with its digest.
pub(crate) async fn put_one(
    client: &Client,
    repo: &RepoName,
    reference: &ManifestRef,
    tags: &[Tag],
    manifest: &Manifest,
    condition: Condition<'_>,
) -> Result<Answer> {
    let mut url = client.url(&Endpoint::Manifest(repo.clone(), reference.clone()));
    if !tags.is_empty() {
        url.query_pairs_mut().extend_pairs(tags.iter().map(|tag| ("tag", tag.as_str())));
    }
    let mut request = Request::new(Method::PUT, url, Scope::push(repo))
        .header(header::CONTENT_TYPE, manifest.media_type())?
        .bytes(manifest.bytes().clone());
    request = match condition {
        Condition::Absent => request.header(header::IF_NONE_MATCH, "*")?,
        Condition::None => request,
        Condition::Same(etag) => request.header(header::IF_MATCH, etag)?,
    };
    let answer = client.send(request).await?;
    // The tag is not new any more, if the answer to the request that set it was lost.
    let is_done = condition == Condition::Absent && answer.is_repeated() && answer.status() == 412;
    if is_done && client.head_manifest(repo, reference).await?.digest == *manifest.digest() {
        return Ok(answer);
    }
    let answer = answer.expect(&[201, 200, 202, 204], Code::NameUnknown).await?;
    match answer.digest() {
        Some(stored) if stored.algorithm() == manifest.digest().algorithm() && stored != *manifest.digest() => {
            let message = format!("expected {}, the registry stored {stored}", manifest.digest());
            Err(Error::new(Code::DigestInvalid, message))
        }
        _ => Ok(answer),
    }
}

pub(super) async fn delete(client: &Client, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
    // Once it is deleted, nobody knows what it was about.
    let subject = match reference {
        ManifestRef::Digest(_) if !client.inner.knows_referrers.load(Ordering::Relaxed) => {
            let manifest = get(client, repo, reference).await.ok();
            manifest.as_ref().and_then(subject_of).map(|(subject, _)| subject.digest)
        }
        _ => None,
    };
    let url = client.url(&Endpoint::Manifest(repo.clone(), reference.clone()));
    let request = Request::new(Method::DELETE, url, Scope::delete(repo));
    client.send(request).await?.expect_deleted(Code::ManifestUnknown).await?;
    if let (Some(subject), ManifestRef::Digest(digest)) = (subject, reference)
        && let Err(error) = referrers::remove(client, repo, &subject, digest).await
    {
        // It is deleted; that a list still names it is no reason to say otherwise.
        tracing::warn!(%error, "list of referrers not updated");
    }
    Ok(())
}

pub(crate) async fn request(
    client: &Client,
    method: Method,
    repo: &RepoName,
    reference: &ManifestRef,
) -> Result<Answer> {
    let url = client.url(&Endpoint::Manifest(repo.clone(), reference.clone()));
    let request = Request::new(method, url, Scope::pull(repo)).header(header::ACCEPT, ACCEPT)?;
    client.send(request.whole(MAX_MANIFEST)).await
}

/// The type of a manifest: what the registry says, unless it says nothing of use and the manifest does.
///
/// spec, "Pulling manifests": clients SHOULD reject a manifest whose field says otherwise.
fn media_type_of(content_type: &str, bytes: &[u8]) -> Result<String> {
    let stated = wire::stated_media_type(bytes).ok().flatten();
    match stated {
        Some(stated) if stated == content_type => Ok(stated),
        Some(stated) if KNOWN.contains(&content_type) => Err(Error::new(
            Code::ManifestInvalid,
            format!("mediaType is {stated:?}, the manifest came as {content_type:?}"),
        )),
        Some(stated) if !content_type.starts_with("application/vnd.") => Ok(stated),
        _ if content_type.is_empty() => Ok(media_type::IMAGE.to_owned()),
        _ => Ok(content_type.to_owned()),
    }
}

/// The tags that a registry says it has set.
pub(crate) fn tags_of(answer: &Answer) -> Vec<Tag> {
    let values = answer.headers().get_all(wire::TAG).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|tag| tag.trim().parse().ok()).collect()
}

pub(crate) fn names_subject(answer: &Answer) -> bool {
    answer.headers().contains_key(wire::SUBJECT)
}

/// What a manifest is about, with its content.
fn subject_of(manifest: &Manifest) -> Option<(Descriptor, ManifestContent)> {
    let content = manifest.content().ok()?;
    content.subject.clone().map(|subject| (subject, content))
}

const KNOWN: [&str; 4] = [media_type::IMAGE, media_type::INDEX, media_type::DOCKER_IMAGE, media_type::DOCKER_INDEX];

/// Every type of manifest that there is, and then any: what cannot be understood is kept as it is.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.artifact.manifest.v1+json, application/vnd.docker.distribution.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.9, */*;q=0.5";
