//! Manifests of archives: written so that equal archives give equal bytes, and read strictly.

use jiff::Timestamp;
use skep_registry::Annotations;
use skep_registry::Descriptor;
use skep_registry::Manifest;
use skep_registry::ManifestContent;
use skep_registry::media_type;

use crate::error::Error;
use crate::error::Result;
use crate::format::ARTIFACT_TYPE;
use crate::format::DATA_TYPE;
use crate::format::INDEX_TYPE;

/// The annotation that says when an archive was made.
pub const CREATED: &str = "org.opencontainers.image.created";

/// What the manifest of an archive says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveManifest {
    /// The manifest itself.
    pub descriptor: Descriptor,
    /// The index blob.
    pub index: Descriptor,
    /// The data blob.
    pub data: Descriptor,
    /// Annotations.
    pub annotations: Annotations,
    /// When the archive was made, if the annotation says so in RFC 3339.
    pub created: Option<Timestamp>,
}

impl ArchiveManifest {
    /// Reads the manifest of an archive. The two layers may be in either order.
    ///
    /// # Errors
    /// `InvalidManifest`, `MissingIndex` and `MissingData` when it is anything else.
    pub fn parse(manifest: &Manifest) -> Result<Self> {
        let invalid = |why: String| Err(Error::InvalidManifest { why });
        if manifest.media_type() != media_type::IMAGE {
            return invalid(format!("expected {}, got {}", media_type::IMAGE, manifest.media_type()));
        }
        let content = manifest.content().map_err(|error| Error::InvalidManifest { why: error.message().to_owned() })?;
        if content.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            let came = content.artifact_type.as_deref().unwrap_or("none");
            return invalid(format!("expected artifact type {ARTIFACT_TYPE}, got {came}"));
        }
        let config = content.config.as_ref().map(|config| config.media_type.as_str()).unwrap_or_default();
        if config != media_type::EMPTY {
            return invalid(format!("expected a config of {}, got {config}", media_type::EMPTY));
        }
        let layers = content.layers.unwrap_or_default();
        let mut index = layers.iter().filter(|layer| layer.media_type == INDEX_TYPE);
        let mut data = layers.iter().filter(|layer| layer.media_type == DATA_TYPE);
        let parsed = Self {
            descriptor: manifest.descriptor().clone(),
            index: index.next().ok_or(Error::MissingIndex)?.clone(),
            data: data.next().ok_or(Error::MissingData)?.clone(),
            created: content.annotations.get(CREATED).and_then(|created| created.parse().ok()),
            annotations: content.annotations,
        };
        if layers.len() != 2 {
            return invalid(format!("expected an index layer and a data layer, got {} layers", layers.len()));
        }
        Ok(parsed)
    }

    /// Writes the manifest of an archive.
    pub(crate) fn write(index: &Descriptor, data: &Descriptor, annotations: Annotations) -> Manifest {
        let content = ManifestContent {
            schema_version: 2,
            media_type: Some(media_type::IMAGE.to_owned()),
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            config: Some(empty_config()),
            layers: Some(vec![index.clone(), data.clone()]),
            annotations,
            ..ManifestContent::default()
        };
        Manifest::new(media_type::IMAGE, content.to_bytes())
    }
}

/// The bytes of the config.
pub(crate) const EMPTY_CONFIG: &[u8] = b"{}";

/// The config of all archives.
pub(crate) fn empty_config() -> Descriptor {
    Descriptor::of(media_type::EMPTY, EMPTY_CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(kind: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":1}}"#, "0".repeat(64))
    }

    fn parse(artifact_type: &str, config: &str, layers: &[&str]) -> Result<ArchiveManifest> {
        let layers = layers.iter().map(|kind| layer(kind)).collect::<Vec<_>>().join(",");
        let bytes = format!(
            r#"{{"schemaVersion":2,"artifactType":"{artifact_type}","config":{},"layers":[{layers}],"annotations":{{"{CREATED}":"2026-01-02T03:04:05Z"}}}}"#,
            layer(config)
        );
        ArchiveManifest::parse(&Manifest::new(media_type::IMAGE, bytes))
    }

    #[test]
    fn either_order_of_layers_is_an_archive_and_nothing_else() {
        let good = parse(ARTIFACT_TYPE, media_type::EMPTY, &[DATA_TYPE, INDEX_TYPE]).unwrap();
        assert_eq!(good.index.media_type, INDEX_TYPE);
        assert_eq!(good.data.media_type, DATA_TYPE);
        assert_eq!(good.created.unwrap().to_string(), "2026-01-02T03:04:05Z");
        let bad =
            |artifact_type, config, layers: &[&str]| parse(artifact_type, config, layers).unwrap_err().to_string();
        assert!(bad("a/b", media_type::EMPTY, &[INDEX_TYPE, DATA_TYPE]).contains("artifact type"));
        assert!(bad(ARTIFACT_TYPE, "a/b", &[INDEX_TYPE, DATA_TYPE]).contains("config"));
        assert!(bad(ARTIFACT_TYPE, media_type::EMPTY, &[INDEX_TYPE, DATA_TYPE, "a/b"]).contains("3 layers"));
        assert!(bad(ARTIFACT_TYPE, media_type::EMPTY, &[INDEX_TYPE]).contains("no data"));
        assert!(bad(ARTIFACT_TYPE, media_type::EMPTY, &[]).contains("no index"));
    }
}
