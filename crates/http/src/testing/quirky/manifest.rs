//! Manifests: which are refused, and what is said of them.

use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::BodyDataStream;
use http_body_util::BodyExt;
use http_body_util::Limited;
use skep_registry::Body;
use skep_registry::MAX_MANIFEST;
use skep_registry::ManifestContent;
use skep_registry::ManifestRef;

use crate::server::ResponseBody;
use crate::testing::DigestHeader;
use crate::testing::Profile;
use crate::testing::Referrers;
use crate::testing::quirky::asked::Asked;
use crate::testing::quirky::asked::RequestBody;
use crate::testing::quirky::said::refuse;
use crate::testing::quirky::said::say;
use crate::wire;

/// Refuses manifests of anything but images; else gives the body back.
///
/// # Errors
/// The refusal.
pub(super) async fn only_images(asked: &Asked, body: RequestBody) -> Result<RequestBody, Response<ResponseBody>> {
    let invalid = |message: &str| Err(refuse(400, "MANIFEST_INVALID", message));
    let Ok(bytes) = Limited::new(body, MAX_MANIFEST as usize).collect().await else {
        return invalid("manifest too large");
    };
    let bytes = bytes.to_bytes();
    let content_type = asked.text(&header::CONTENT_TYPE).map(wire::essence).unwrap_or_default();
    if content_type == "application/vnd.oci.artifact.manifest.v1+json" {
        return Err(say(415, "text/html", "<h1>Unsupported Media Type</h1>".to_owned()));
    }
    let config = serde_json::from_slice::<ManifestContent>(&bytes).ok().and_then(|content| content.config);
    if config.is_some_and(|config| !IMAGE_CONFIGS.contains(&config.media_type.as_str())) {
        return invalid("manifest invalid: config media type not allowed");
    }
    Ok(RequestBody::from(bytes))
}

/// Says of a manifest what this registry says of it.
pub(super) fn answer(
    profile: &Profile,
    asked: &Asked,
    reference: &ManifestRef,
    mut answer: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let is_get_by_tag = asked.method == Method::GET && matches!(reference, ManifestRef::Tag(_));
    if profile.digest_header == DigestHeader::Nowhere
        || (profile.digest_header == DigestHeader::NotOnGetByTag && is_get_by_tag)
    {
        answer.headers_mut().remove(wire::CONTENT_DIGEST);
    }
    if profile.referrers != Referrers::Listed {
        answer.headers_mut().remove(wire::SUBJECT);
    }
    if profile.omits_length && asked.is_read() && answer.status() == StatusCode::OK {
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        answer = Response::from_parts(parts, ResponseBody::from(Body::new(None, BodyDataStream::new(body))));
    }
    answer
}

const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
