//! Manifests over HTTP: by tag and by digest, bounded, never changed.

use http::HeaderMap;
use http::HeaderName;
use http::Response;
use http::StatusCode;
use http::header;
use skep_registry::Body;
use skep_registry::Code;
use skep_registry::Descriptor;
use skep_registry::Error;
use skep_registry::MAX_MANIFEST;
use skep_registry::Manifest;
use skep_registry::ManifestRef;
use skep_registry::PutManifest;
use skep_registry::RepoName;
use skep_registry::Result;
use skep_registry::Tag;
use skep_registry::media_type;

use crate::endpoint::Endpoint;
use crate::server::Call;
use crate::server::refuse;
use crate::server::reply::ResponseBody;
use crate::server::reply::client_has;
use crate::server::reply::empty;
use crate::server::reply::etag;
use crate::server::reply::not_modified;
use crate::server::reply::reply;
use crate::wire;

pub(super) async fn get(call: &Call<'_>, repo: &RepoName, reference: &ManifestRef) -> Result<Response<ResponseBody>> {
    if call.headers.contains_key(header::IF_NONE_MATCH) {
        let descriptor = call.registry.head_manifest(repo, reference).await?;
        if client_has(call.headers, &descriptor.digest) {
            return not_modified(&descriptor.digest);
        }
    }
    let manifest = call.registry.get_manifest(repo, reference).await?;
    if !accepts(call.headers, manifest.media_type()) {
        return Ok(not_acceptable(manifest.descriptor()));
    }
    reply(StatusCode::OK, described(manifest.descriptor()), Body::from(manifest.bytes().clone()))
}

pub(super) async fn head(call: &Call<'_>, repo: &RepoName, reference: &ManifestRef) -> Result<Response<ResponseBody>> {
    let descriptor = call.registry.head_manifest(repo, reference).await?;
    if client_has(call.headers, &descriptor.digest) {
        return not_modified(&descriptor.digest);
    }
    if !accepts(call.headers, &descriptor.media_type) {
        return Ok(not_acceptable(&descriptor));
    }
    let length = [(header::CONTENT_LENGTH, descriptor.size.to_string())];
    let headers = described(&descriptor).into_iter().chain(length);
    reply(StatusCode::OK, headers, Body::new(None, futures_util::stream::empty()))
}

pub(super) async fn put(
    call: &Call<'_>,
    repo: &RepoName,
    reference: &ManifestRef,
    body: Body,
) -> Result<Response<ResponseBody>> {
    let mut tags = call.query.all("tag").map(str::parse).collect::<Result<Vec<Tag>>>()?;
    let bytes = match body.bytes(call.options.max_manifest.min(MAX_MANIFEST)).await {
        Err(error) if *error.code() == Code::SizeInvalid => {
            return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE.as_u16(), &error));
        }
        bytes => bytes?,
    };
    let media_type = media_type_of(wire::text(call.headers, &header::CONTENT_TYPE), &bytes)?;
    let manifest = match reference {
        ManifestRef::Digest(digest) => Manifest::verified(media_type, digest, bytes)?,
        ManifestRef::Tag(tag) => {
            tags.insert(0, tag.clone());
            Manifest::new(media_type, bytes)
        }
    };
    let content = manifest.to_store()?;
    let if_absent = wire::text(call.headers, &header::IF_NONE_MATCH) == Some("*");
    call.registry.put_manifest(repo, &manifest, PutManifest { tags: tags.clone(), if_absent }).await?;
    let digest = manifest.digest();
    let mut headers = vec![
        (header::LOCATION, Endpoint::Manifest(repo.clone(), digest.clone().into()).to_string()),
        (wire::CONTENT_DIGEST, digest.to_string()),
    ];
    headers.extend(tags.iter().map(|tag| (wire::TAG, tag.to_string())));
    let subject = content.and_then(|content| content.subject);
    headers.extend(subject.map(|subject| (wire::SUBJECT, subject.digest.to_string())));
    reply(StatusCode::CREATED, headers, Body::empty())
}

pub(super) async fn delete(
    call: &Call<'_>,
    repo: &RepoName,
    reference: &ManifestRef,
) -> Result<Response<ResponseBody>> {
    call.registry.delete_manifest(repo, reference).await?;
    empty(StatusCode::ACCEPTED, [])
}

fn described(descriptor: &Descriptor) -> [(HeaderName, String); 3] {
    [
        (header::CONTENT_TYPE, descriptor.media_type.clone()),
        (header::ETAG, etag(&descriptor.digest)),
        (wire::CONTENT_DIGEST, descriptor.digest.to_string()),
    ]
}

/// The media type of a manifest that is being pushed: what the header says, else what the manifest says.
///
/// spec, "Pushing Manifests": both must agree when both are there.
fn media_type_of(header: Option<&str>, bytes: &[u8]) -> Result<String> {
    let invalid = |why: String| Error::new(Code::ManifestInvalid, why);
    let stated = wire::stated_media_type(bytes).map_err(|error| invalid(error.to_string()))?;
    let header = header.map(wire::essence).filter(|text| !text.is_empty());
    let media_type = match (header, stated.as_deref()) {
        (Some(header), Some(stated)) if header != stated => {
            return Err(invalid(format!("mediaType is {stated:?}, the manifest came as {header:?}")));
        }
        (Some(header), _) => header,
        (None, Some(stated)) => stated,
        (None, None) => media_type::IMAGE,
    };
    // It will be sent to browsers too, under this type, from where people have their registry's web pages.
    let harmless =
        media_type.starts_with("application/") && (media_type.ends_with("json") || media_type.ends_with("jws"));
    if !harmless {
        return Err(invalid(format!("{media_type:?} is not the type of a manifest")));
    }
    Ok(media_type.to_owned())
}

/// Tells whether a client can do something with a manifest of a type.
///
/// What is stored cannot be converted, and many clients name only some of the types that they understand,
/// so whoever asks for any manifest gets the one that is there.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut named_any = false;
    let mut understood = false;
    for value in headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for range in value.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            named_any = true;
            let name = wire::essence(range);
            let refused = range.split(';').skip(1).any(|param| {
                let weight = param.trim().strip_prefix("q=").or_else(|| param.trim().strip_prefix("Q="));
                weight.and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
            });
            if refused && name.eq_ignore_ascii_case(media_type) {
                return false;
            }
            understood |= !refused && (name.eq_ignore_ascii_case(media_type) || may_be_manifest(name));
        }
    }
    understood || !named_any
}

fn may_be_manifest(name: &str) -> bool {
    matches!(name, "*/*" | "application/*" | "application/json")
        || (name.starts_with("application/vnd.") && (name.contains(".manifest.") || name.contains(".index.")))
}

fn not_acceptable(descriptor: &Descriptor) -> Response<ResponseBody> {
    let message =
        format!("{} is of type {:?}, which the client does not accept", descriptor.digest, descriptor.media_type);
    refuse(StatusCode::NOT_ACCEPTABLE.as_u16(), &Error::new(Code::Unsupported, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_a_manifest_gets_it() {
        for (accept, want) in [
            (&[][..], true),
            (&["*/*"], true),
            (&["application/*"], true),
            (&[media_type::IMAGE], true),
            (&["text/html", "application/vnd.oci.image.manifest.v1+json; q=0.5"], true),
            (&["text/html, application/vnd.oci.image.manifest.v1+json"], true),
            (&[media_type::DOCKER_IMAGE], true),
            (&["application/json"], true),
            (&["text/html"], false),
            (&["*/*, application/vnd.oci.image.manifest.v1+json;q=0"], false),
            (&["application/vnd.oci.image.manifest.v1+json; q=0.0"], false),
            (&["*/*;q=0"], false),
        ] {
            let headers = accept.iter().map(|value| (header::ACCEPT, value.parse().unwrap())).collect();
            assert_eq!(accepts(&headers, media_type::IMAGE), want, "{accept:?}");
        }
    }

    #[test]
    fn types_come_from_the_header_or_the_manifest() {
        for (header, body, want) in [
            (Some("application/a+json"), "{}", Some("application/a+json")),
            (
                Some("application/a+json; charset=utf-8"),
                r#"{"mediaType":"application/a+json"}"#,
                Some("application/a+json"),
            ),
            (None, r#"{"mediaType":"application/a+json"}"#, Some("application/a+json")),
            (None, "{}", Some(media_type::IMAGE)),
            (Some(media_type::IMAGE), r#"{"mediaType":"application/a+json"}"#, None),
            (Some("text/html"), "{}", None),
            (Some("application/x-www-form-urlencoded"), "{}", None),
            (Some(media_type::IMAGE), "", None),
            (Some(media_type::IMAGE), "[]", None),
        ] {
            assert_eq!(media_type_of(header, body.as_bytes()).ok().as_deref(), want, "{header:?} {body}");
        }
    }
}
