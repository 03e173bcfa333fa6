//! Manifests: raw bytes with their digest, and the one shape that all kinds of them parse into.

use bytes::Bytes;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;

use crate::descriptor::Annotations;
use crate::descriptor::Descriptor;
use crate::descriptor::null_is_default;
use crate::descriptor::only_from_object;
use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;

/// The largest manifest, in bytes (spec: "a limit of at least 4 MiB").
pub const MAX_MANIFEST: u64 = 4 << 20;

/// The longest media type, artifact type or annotation key, in bytes (RFC 6838, 4.2: two names of 127).
const MAX_TYPE: usize = 255;

/// Media types of manifests.
pub mod media_type {
    /// An image or artifact.
    pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    /// A list of manifests.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image, as docker writes it.
    pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A list of manifests, as docker writes it.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The config of artifacts that have none.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
}

/// A manifest: bytes that are never changed, and what they are.
///
/// A value of this type has the digest that it says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    descriptor: Descriptor,
    bytes: Bytes,
}

impl Manifest {
    /// Takes bytes of a type, addressed by SHA-256.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }

    /// Takes bytes of a type, addressed by the hash function of the caller's choice.
    pub fn with_algorithm(media_type: impl Into<String>, algorithm: Algorithm, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = Digest::of(algorithm, &bytes);
        Self { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes }
    }

    /// Takes bytes that were promised under a digest.
    ///
    /// # Errors
    /// `DigestInvalid` when the bytes have another one.
    pub fn verified(media_type: impl Into<String>, digest: &Digest, bytes: impl Into<Bytes>) -> Result<Self> {
        let manifest = Self::with_algorithm(media_type, digest.algorithm(), bytes);
        if manifest.digest() != digest {
            let message = format!("expected {digest}, got {}", manifest.digest());
            return Err(Error::new(Code::DigestInvalid, message));
        }
        Ok(manifest)
    }

    /// Type, digest and size.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// The type of the bytes.
    pub fn media_type(&self) -> &str {
        &self.descriptor.media_type
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Parses and checks the bytes.
    ///
    /// # Errors
    /// `ManifestInvalid`, saying what is wrong and where.
    pub fn content(&self) -> Result<ManifestContent> {
        ManifestContent::parse(self.media_type(), &self.bytes)
    }

    /// What a registry has to know of a manifest that it stores: its parsed content, for the types of
    /// [`media_type`]. Manifests of other types are opaque: they are stored, and nothing is read in them.
    ///
    /// # Errors
    /// `SizeInvalid` when it is larger than [`MAX_MANIFEST`]; `ManifestInvalid`.
    pub fn to_store(&self) -> Result<Option<ManifestContent>> {
        if self.descriptor.size > MAX_MANIFEST {
            let message = format!("a manifest of {} bytes, at most {MAX_MANIFEST} are allowed", self.descriptor.size);
            return Err(Error::new(Code::SizeInvalid, message));
        }
        match self.media_type() {
            known if is_read(known) => self.content().map(Some),
            "" => Err(Error::new(Code::ManifestInvalid, "a manifest has a media type")),
            _ => Ok(None),
        }
    }
}

/// Tells whether manifests of a type are read, or opaque.
pub(crate) fn is_read(media_type: &str) -> bool {
    matches!(media_type, media_type::IMAGE | media_type::INDEX | media_type::DOCKER_IMAGE | media_type::DOCKER_INDEX)
}

/// What is in a manifest of any kind: image, artifact or index.
///
/// Serialized with the fields in the order of the image specification, compact, so that equal content
/// gives equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct ManifestContent {
    /// 2, always.
    pub schema_version: u64,
    /// The type of this manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    /// The content of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Descriptor>>,
    /// The manifests of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<Descriptor>>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Annotations::is_empty", deserialize_with = "null_is_default")]
    pub annotations: Annotations,
}

only_from_object!(ManifestContent);

impl ManifestContent {
    /// Parses bytes that came as a media type, and checks that they are what the type says.
    ///
    /// # Errors
    /// `ManifestInvalid`, saying what is wrong and where.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self> {
        let invalid = |why: String| Error::new(Code::ManifestInvalid, why);
        let content: Self = serde_json::from_slice(bytes).map_err(|error| invalid(format!("{media_type}: {error}")))?;
        if content.schema_version != 2 {
            return Err(invalid(format!("schemaVersion is {}, only 2 is supported", content.schema_version)));
        }
        if let Some(stated) = &content.media_type
            && stated != media_type
        {
            return Err(invalid(format!("mediaType is {stated:?}, the manifest came as {media_type:?}")));
        }
        // A document that can be read as either kind is read differently by different tools (CVE-2021-41190).
        let is_image = content.config.is_some() || content.layers.is_some();
        match media_type {
            media_type::INDEX | media_type::DOCKER_INDEX if is_image => {
                return Err(invalid("an index has neither config nor layers".to_owned()));
            }
            media_type::INDEX | media_type::DOCKER_INDEX if content.manifests.is_none() => {
                return Err(invalid("an index has manifests".to_owned()));
            }
            media_type::IMAGE | media_type::DOCKER_IMAGE if content.manifests.is_some() => {
                return Err(invalid("an image manifest has no manifests".to_owned()));
            }
            media_type::IMAGE | media_type::DOCKER_IMAGE if content.config.is_none() => {
                return Err(invalid("an image manifest has a config".to_owned()));
            }
            _ => {}
        }
        content.check_lengths()?;
        Ok(content)
    }

    fn check_lengths(&self) -> Result<()> {
        let too_long =
            |field: String| Error::new(Code::ManifestInvalid, format!("{field} is longer than {MAX_TYPE} bytes"));
        let check = |place: &str, types: [&str; 2], annotations: &Annotations| {
            if types.iter().any(|text| text.len() > MAX_TYPE) {
                return Err(too_long(format!("a media type of {place}")));
            }
            if annotations.keys().any(|key| key.len() > MAX_TYPE) {
                return Err(too_long(format!("an annotation key of {place}")));
            }
            Ok(())
        };
        let artifact_type = self.artifact_type.as_deref().unwrap_or_default();
        check("the manifest", [self.media_type.as_deref().unwrap_or_default(), artifact_type], &self.annotations)?;
        self.descriptors().try_for_each(|(place, descriptor)| {
            let artifact_type = descriptor.artifact_type.as_deref().unwrap_or_default();
            check(&place, [&descriptor.media_type, artifact_type], &descriptor.annotations)
        })
    }

    fn descriptors(&self) -> impl Iterator<Item = (String, &Descriptor)> {
        let layers = self.layers.iter().flatten().enumerate().map(|(at, layer)| (format!("layers[{at}]"), layer));
        let manifests =
            self.manifests.iter().flatten().enumerate().map(|(at, manifest)| (format!("manifests[{at}]"), manifest));
        let config = self.config.iter().map(|config| ("config".to_owned(), config));
        let subject = self.subject.iter().map(|subject| ("subject".to_owned(), subject));
        config.chain(layers).chain(manifests).chain(subject)
    }

    /// The blobs that must be there before this manifest, with their place in it.
    ///
    /// Content that has `urls` of its own may live elsewhere.
    pub fn blobs(&self) -> impl Iterator<Item = (String, &Descriptor)> {
        self.descriptors().filter(|(place, descriptor)| {
            (place == "config" || place.starts_with("layers")) && descriptor.urls.is_empty()
        })
    }

    /// The manifests of an index, with their place in it. The subject is not among them: it may be missing.
    pub fn children(&self) -> impl Iterator<Item = (String, &Descriptor)> {
        self.descriptors().filter(|(place, _)| place.starts_with("manifests"))
    }

    /// Checks that all is there that must be there before this manifest.
    ///
    /// # Errors
    /// `ManifestBlobUnknown`, naming the place and the digest of what is missing.
    pub fn require(
        &self,
        mut has_blob: impl FnMut(&Digest) -> bool,
        mut has_manifest: impl FnMut(&Digest) -> bool,
    ) -> Result<()> {
        let missing_blob = self.blobs().find(|(_, blob)| !has_blob(&blob.digest));
        let missing = missing_blob.or_else(|| self.children().find(|(_, child)| !has_manifest(&child.digest)));
        match missing {
            Some((place, descriptor)) => {
                Err(Error::new(Code::ManifestBlobUnknown, format!("{place} {}", descriptor.digest)))
            }
            None => Ok(()),
        }
    }

    /// The artifact type that a list of referrers shows: for images without one it is the config's type.
    ///
    /// spec, "Listing Referrers".
    pub fn effective_artifact_type(&self) -> Option<&str> {
        let stated = self.artifact_type.as_deref().filter(|text| !text.is_empty());
        stated.or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
    }

    /// The bytes of this content, compact.
    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings, numbers and maps with string keys serialize").into()
    }

    /// How a list of referrers describes a manifest with this content.
    pub fn describe(&self, manifest: &Descriptor) -> Descriptor {
        Descriptor {
            artifact_type: self.effective_artifact_type().map(str::to_owned),
            annotations: self.annotations.clone(),
            ..Descriptor::new(manifest.media_type.clone(), manifest.digest.clone(), manifest.size)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(media_type: &str, content: serde_json::Value) -> Result<ManifestContent> {
        ManifestContent::parse(media_type, content.to_string().as_bytes())
    }

    #[test]
    fn malformed_manifests_are_refused_with_the_reason() {
        let blob = serde_json::to_value(Descriptor::of("a/b", b"")).unwrap();
        let mut negative = blob.clone();
        negative["size"] = json!(-1);
        let mut bad = blob.clone();
        bad["digest"] = json!("sha256:bad");
        let mut long = blob.clone();
        long["mediaType"] = json!(format!("a/{}", "b".repeat(254)));
        for (media_type, content, why) in [
            (media_type::IMAGE, json!([]), "expected an object"),
            (media_type::IMAGE, json!([2, null, null, blob, [blob]]), "expected an object"),
            (
                media_type::IMAGE,
                json!({"schemaVersion": 2, "config": ["a/b", blob["digest"], 0]}),
                "expected an object",
            ),
            (media_type::IMAGE, json!({}), "missing field `schemaVersion`"),
            (media_type::IMAGE, json!({"schemaVersion": 1}), "only 2 is supported"),
            (media_type::IMAGE, json!({"schemaVersion": 2}), "has a config"),
            (media_type::IMAGE, json!({"schemaVersion": 2, "config": blob, "manifests": []}), "no manifests"),
            (media_type::IMAGE, json!({"schemaVersion": 2, "config": blob, "mediaType": "x/y"}), "mediaType is"),
            (media_type::IMAGE, json!({"schemaVersion": 2, "config": blob, "layers": [bad]}), "has 3 digits"),
            (media_type::IMAGE, json!({"schemaVersion": 2, "config": negative}), "invalid value: integer `-1`"),
            (media_type::IMAGE, json!({"schemaVersion": 2, "config": blob, "layers": [blob, long]}), "layers[1]"),
            (media_type::INDEX, json!({"schemaVersion": 2}), "has manifests"),
            (
                media_type::INDEX,
                json!({"schemaVersion": 2, "manifests": [], "layers": []}),
                "neither config nor layers",
            ),
        ] {
            let error = parse(media_type, content.clone()).unwrap_err();
            assert_eq!(error.code(), &Code::ManifestInvalid);
            assert!(error.to_string().contains(why), "{content}: {error}");
        }
    }

    #[test]
    fn what_must_be_there_is_named_by_its_place() {
        let blob = Descriptor::of("a/b", b"x");
        let foreign = Descriptor { urls: vec!["https://a.b".to_owned()], ..blob.clone() };
        let content = ManifestContent {
            schema_version: 2,
            config: Some(blob.clone()),
            layers: Some(vec![foreign, blob.clone()]),
            subject: Some(blob.clone()),
            ..Default::default()
        };
        let places: Vec<_> = content.blobs().map(|(place, _)| place).collect();
        assert_eq!(places, ["config", "layers[1]"]);
        assert_eq!(content.children().count(), 0);
        assert_eq!(content.effective_artifact_type(), Some("a/b"));
    }

    #[test]
    fn bytes_under_a_foreign_digest_are_refused() {
        let digest = Digest::sha256(b"{}");
        assert!(Manifest::verified(media_type::IMAGE, &digest, &b"{}"[..]).is_ok());
        let error = Manifest::verified(media_type::IMAGE, &digest, &b"{ }"[..]).unwrap_err();
        assert_eq!(error.code(), &Code::DigestInvalid);
    }
}
