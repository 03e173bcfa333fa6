//! Fixtures: what is in a registry, described by names, for tests.
//!
//! ```
//! use serde_json::json;
//! use skep_registry::Memory;
//! use skep_registry::fixture::Content;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> skep_registry::Result<()> {
//! let content = Content::from_json(json!({
//!     "library/app": {
//!         "blobs": { "config": "{}", "base": "text", "large": 5_000_000 },
//!         "manifests": {
//!             "amd64": { "config": "config", "layers": ["base", "large"] },
//!             "arm64": { "config": "config", "layers": [{ "name": "base", "mediaType": "text/plain" }] },
//!             "all": { "manifests": ["amd64", "arm64"] },
//!             "signature": { "artifactType": "text/signature", "config": "config", "subject": "all" },
//!         },
//!         "tags": { "v1": "all", "latest": "all" },
//!     },
//! }))?
//! .build()?;
//! let registry = Memory::default();
//! content.push(&registry).await?;
//! assert_eq!(content.differences(&registry).await, [""; 0]);
//! let signature = content.manifest("library/app", "signature");
//! assert_eq!(signature.content()?.subject.as_ref(), Some(content.manifest("library/app", "all").descriptor()));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::Value;

use crate::body::Body;
use crate::descriptor::Annotations;
use crate::descriptor::Descriptor;
use crate::descriptor::OCTET_STREAM;
use crate::descriptor::Platform;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::ext::RegistryExt;
use crate::manifest::Manifest;
use crate::manifest::ManifestContent;
use crate::manifest::media_type;
use crate::name::RepoName;
use crate::name::Tag;
use crate::registry::PutManifest;
use crate::registry::Registry;

/// What is in a registry: data, in which content is named instead of addressed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Content {
    /// The repositories.
    pub repos: BTreeMap<RepoName, RepoContent>,
}

/// What is in a repository. Names are those of things in the same repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepoContent {
    /// Blobs by name.
    pub blobs: BTreeMap<String, BlobContent>,
    /// Manifests by name.
    pub manifests: BTreeMap<String, Described>,
    /// The manifests that tags point to.
    pub tags: BTreeMap<Tag, String>,
}

/// The bytes of a blob. In JSON a text or a number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum BlobContent {
    /// So many bytes that do not repeat, and are others for each name.
    Noise(u64),
    /// These.
    Text(String),
}

/// A manifest: an index if it has `manifests`, else an image. In JSON as the image specification has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Described {
    /// The media type, if it is another than OCI's.
    pub media_type: Option<String>,
    /// The type of the artifact.
    pub artifact_type: Option<String>,
    /// A blob.
    pub config: Option<Named>,
    /// Blobs. An image has them even when there are none.
    pub layers: Vec<Named>,
    /// Manifests.
    pub manifests: Option<Vec<Named>>,
    /// A manifest.
    pub subject: Option<Named>,
    /// Annotations.
    pub annotations: Annotations,
}

/// The name of a blob or manifest, and what its descriptor says besides. In JSON an object, or just the name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Naming")]
pub struct Named {
    /// The name.
    pub name: String,
    /// The media type; of blobs `application/octet-stream` unless this says otherwise.
    pub media_type: Option<String>,
    /// Where else the content may be had.
    pub urls: Vec<String>,
    /// What the content runs on.
    pub platform: Option<Platform>,
    /// Annotations of the descriptor.
    pub annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Naming {
    Name(String),
    #[serde(rename_all = "camelCase")]
    Object {
        name: String,
        media_type: Option<String>,
        #[serde(default)]
        urls: Vec<String>,
        platform: Option<Platform>,
        #[serde(default)]
        annotations: Annotations,
    },
}

impl From<Naming> for Named {
    fn from(naming: Naming) -> Self {
        match naming {
            Naming::Name(name) => Self { name, ..Self::default() },
            Naming::Object { name, media_type, urls, platform, annotations } => {
                Self { name, media_type, urls, platform, annotations }
            }
        }
    }
}

impl Content {
    /// Reads a description.
    ///
    /// # Errors
    /// `Unsupported` when it is not one.
    pub fn from_json(json: Value) -> Result<Self> {
        serde_json::from_value(json).map_err(|error| Error::new(Code::Unsupported, "no content").with_source(error))
    }

    /// Makes the bytes, and with them the digests.
    ///
    /// # Errors
    /// `Unsupported`, naming where, when a name is that of nothing or manifests name each other in a circle.
    pub fn build(&self) -> Result<Built> {
        let build = |(name, described): (&RepoName, &RepoContent)| {
            let built = Builder::of(described).build().map_err(|error| error.context(name))?;
            Ok((name.clone(), built))
        };
        Ok(Built { repos: self.repos.iter().map(build).collect::<Result<_>>()? })
    }
}

/// Content with its bytes and digests.
#[derive(Clone, Debug)]
pub struct Built {
    repos: BTreeMap<RepoName, BuiltRepo>,
}

#[derive(Clone, Debug)]
struct BuiltRepo {
    blobs: BTreeMap<String, (Descriptor, Bytes)>,
    manifests: BTreeMap<String, Manifest>,
    /// The names of manifests, each behind all that it names.
    order: Vec<String>,
    tags: BTreeMap<Tag, String>,
}

impl Built {
    /// The descriptor of a blob.
    ///
    /// # Panics
    /// When nothing has these names.
    pub fn blob(&self, repo: &str, name: &str) -> &Descriptor {
        let found = self.repo(repo).and_then(|repo| repo.blobs.get(name));
        found.map(|(blob, _)| blob).unwrap_or_else(|| panic!("there is no blob {name:?} in {repo:?}"))
    }

    /// A manifest.
    ///
    /// # Panics
    /// When nothing has these names.
    pub fn manifest(&self, repo: &str, name: &str) -> &Manifest {
        let found = self.repo(repo).and_then(|repo| repo.manifests.get(name));
        found.unwrap_or_else(|| panic!("there is no manifest {name:?} in {repo:?}"))
    }

    /// The descriptors of all blobs of a repository, by name.
    pub fn blobs(&self, repo: &str) -> BTreeMap<&str, &Descriptor> {
        let blobs = self.repo(repo).into_iter().flat_map(|repo| &repo.blobs);
        blobs.map(|(name, (blob, _))| (name.as_str(), blob)).collect()
    }

    /// The descriptors of all manifests of a repository, by name.
    pub fn manifests(&self, repo: &str) -> BTreeMap<&str, &Descriptor> {
        let manifests = self.repo(repo).into_iter().flat_map(|repo| &repo.manifests);
        manifests.map(|(name, manifest)| (name.as_str(), manifest.descriptor())).collect()
    }

    /// Stores everything, each thing after what it names.
    ///
    /// # Errors
    /// The first error of the registry.
    pub async fn push(&self, registry: &dyn Registry) -> Result<()> {
        for (name, repo) in &self.repos {
            for (blob, bytes) in repo.blobs.values() {
                registry.put_blob(name, blob, Body::from(bytes.clone())).await?;
            }
            for manifest in &repo.order {
                let tags = repo.tags.iter().filter(|(_, named)| *named == manifest);
                let options = PutManifest { tags: tags.map(|(tag, _)| tag.clone()).collect(), if_absent: false };
                registry.put_manifest(name, &repo.manifests[manifest], options).await?;
            }
        }
        Ok(())
    }

    /// Tells what is different in a registry, one sentence each; nothing, if it has just this content.
    ///
    /// Blobs and manifests that are there without a tag or a subject cannot be found out about. A registry
    /// that does not list its repositories may have others.
    pub async fn differences(&self, registry: &dyn Registry) -> Vec<String> {
        let mut found = Vec::new();
        match registry.repos().try_collect::<Vec<_>>().await {
            Ok(repos) => compare(&mut found, "repositories", self.repos.keys().collect(), repos.iter().collect()),
            Err(error) if error.code() == &Code::Unsupported => {}
            Err(error) => found.push(format!("repositories: {error}")),
        }
        for (name, repo) in &self.repos {
            repo.compare(registry, name, &mut found).await;
        }
        found
    }

    fn repo(&self, name: &str) -> Option<&BuiltRepo> {
        self.repos.get(&name.parse::<RepoName>().ok()?)
    }
}

impl BuiltRepo {
    async fn compare(&self, registry: &dyn Registry, repo: &RepoName, found: &mut Vec<String>) {
        for (name, (blob, bytes)) in &self.blobs {
            match registry.read_blob(repo, &blob.digest, blob.size).await {
                Ok(read) if read == bytes => {}
                Ok(_) => found.push(format!("blob {name} of {repo} has other bytes")),
                Err(error) => found.push(format!("blob {name} of {repo}: {error}")),
            }
        }
        for (name, manifest) in &self.manifests {
            match registry.get_manifest(repo, &manifest.digest().clone().into()).await {
                Ok(read) if read == *manifest => {}
                Ok(_) => found.push(format!("manifest {name} of {repo} is another one")),
                Err(error) => found.push(format!("manifest {name} of {repo}: {error}")),
            }
            let about = |other: &&Manifest| {
                let subject = other.content().ok().and_then(|content| content.subject);
                subject.is_some_and(|subject| subject.digest == *manifest.digest())
            };
            let want: BTreeSet<&Digest> = self.manifests.values().filter(about).map(Manifest::digest).collect();
            let listed = registry.referrers(repo, manifest.digest(), None).try_collect::<Vec<_>>().await;
            match listed {
                Ok(listed) => {
                    let listed = listed.iter().map(|listed| &listed.digest).collect();
                    compare(found, &format!("referrers of {name} of {repo}"), want, listed);
                }
                Err(error) => found.push(format!("referrers of {name} of {repo}: {error}")),
            }
        }
        match registry.tags(repo).try_collect::<Vec<_>>().await {
            Ok(tags) => compare(found, &format!("tags of {repo}"), self.tags.keys().collect(), tags.iter().collect()),
            Err(error) => found.push(format!("tags of {repo}: {error}")),
        }
        for (tag, name) in &self.tags {
            match registry.head_manifest(repo, &tag.clone().into()).await {
                Ok(head) if head.digest == *self.manifests[name].digest() => {}
                Ok(head) => found.push(format!("tag {tag} of {repo} points to {}, not to {name}", head.digest)),
                Err(error) => found.push(format!("tag {tag} of {repo}: {error}")),
            }
        }
    }
}

fn compare<T: Ord + ToString>(found: &mut Vec<String>, what: &str, want: BTreeSet<&T>, got: BTreeSet<&T>) {
    found.extend(want.difference(&got).map(|missing| format!("{what}: {} is missing", missing.to_string())));
    found.extend(got.difference(&want).map(|extra| format!("{what}: {} is not expected", extra.to_string())));
}

/// A repository that is being built.
struct Builder<'a> {
    described: &'a RepoContent,
    built: BuiltRepo,
    /// The manifests that are being built, each for the one before.
    open: Vec<&'a str>,
}

impl<'a> Builder<'a> {
    fn of(described: &'a RepoContent) -> Self {
        let blob = |(name, content): (&String, &BlobContent)| {
            let bytes = match content {
                BlobContent::Noise(len) => noise(*len, name),
                BlobContent::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            };
            (name.clone(), (Descriptor::of(OCTET_STREAM, &bytes), bytes))
        };
        let blobs = described.blobs.iter().map(blob).collect();
        let built = BuiltRepo { blobs, manifests: BTreeMap::new(), order: Vec::new(), tags: described.tags.clone() };
        Self { described, built, open: Vec::new() }
    }

    fn build(mut self) -> Result<BuiltRepo> {
        for name in self.described.manifests.keys() {
            self.manifest(name)?;
        }
        for (tag, name) in &self.described.tags {
            if !self.built.manifests.contains_key(name) {
                return Err(unknown(&format!("tag {tag}"), "manifest", name, self.built.manifests.keys()));
            }
        }
        Ok(self.built)
    }

    fn manifest(&mut self, name: &'a str) -> Result<Descriptor> {
        if let Some(built) = self.built.manifests.get(name) {
            return Ok(built.descriptor().clone());
        }
        if let Some(at) = self.open.iter().position(|open| *open == name) {
            let circle = [&self.open[at..], &[name]].concat().join(" → ");
            return Err(Error::new(Code::Unsupported, format!("manifests name each other in a circle: {circle}")));
        }
        let Some((name, described)) = self.described.manifests.get_key_value(name) else {
            let user = self.open.last().map_or_else(String::new, |user| format!("manifest {user}"));
            return Err(unknown(&user, "manifest", name, self.described.manifests.keys()));
        };
        self.open.push(name);
        let manifests = match &described.manifests {
            Some(named) => {
                let child = |named: &'a Named| Ok(described_as(self.manifest(&named.name)?, named));
                Some(named.iter().map(child).collect::<Result<_>>()?)
            }
            None => None,
        };
        let subject = match &described.subject {
            Some(named) => Some(described_as(self.manifest(&named.name)?, named)),
            None => None,
        };
        let config = described.config.as_ref().map(|named| self.blob(name, named)).transpose()?;
        let layers: Vec<_> = described.layers.iter().map(|named| self.blob(name, named)).collect::<Result<_>>()?;
        let content = ManifestContent {
            schema_version: 2,
            media_type: described.media_type.clone(),
            artifact_type: described.artifact_type.clone(),
            config,
            layers: (described.manifests.is_none() || !layers.is_empty()).then_some(layers),
            manifests,
            subject,
            annotations: described.annotations.clone(),
        };
        let usual = if described.manifests.is_some() { media_type::INDEX } else { media_type::IMAGE };
        let media_type = described.media_type.as_deref().unwrap_or(usual);
        let manifest = Manifest::new(media_type, content.to_bytes());
        let descriptor = manifest.descriptor().clone();
        self.built.manifests.insert(name.clone(), manifest);
        self.built.order.push(name.clone());
        self.open.pop();
        Ok(descriptor)
    }

    fn blob(&self, user: &str, named: &Named) -> Result<Descriptor> {
        match self.built.blobs.get(&named.name) {
            Some((blob, _)) => Ok(described_as(blob.clone(), named)),
            None => Err(unknown(&format!("manifest {user}"), "blob", &named.name, self.built.blobs.keys())),
        }
    }
}

fn described_as(found: Descriptor, named: &Named) -> Descriptor {
    Descriptor {
        media_type: named.media_type.clone().unwrap_or(found.media_type),
        urls: named.urls.clone(),
        platform: named.platform.clone(),
        annotations: named.annotations.clone(),
        ..Descriptor::new("", found.digest, found.size)
    }
}

fn unknown<'n>(user: &str, kind: &str, name: &str, known: impl Iterator<Item = &'n String>) -> Error {
    let known: Vec<_> = known.map(String::as_str).collect();
    let message = format!("{user} names the {kind} {name:?}, which is not described; there are: {}", known.join(", "));
    Error::new(Code::Unsupported, message)
}

fn noise(len: u64, name: &str) -> Bytes {
    let seed = Digest::sha256(name.as_bytes()).hash();
    let mut state = u64::from_le_bytes(seed[..8].try_into().expect("a hash has more than 8 bytes")) | 1;
    let next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(len.div_ceil(8) as usize).flatten().collect();
    bytes.truncate(len as usize);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::memory::Memory;

    #[test]
    fn mistakes_are_named() {
        let of = |repo: Value| Content::from_json(json!({ "a": repo })).and_then(|content| content.build());
        for (repo, why) in [
            (json!({ "manifests": { "x": { "config": "c" } } }), "manifest x names the blob \"c\""),
            (
                json!({ "blobs": { "c": "" }, "manifests": { "x": { "config": "c", "layers": ["l"] } } }),
                "the blob \"l\", which is not described; there are: c",
            ),
            (json!({ "manifests": { "x": { "manifests": ["y"] } } }), "manifest x names the manifest \"y\""),
            (json!({ "tags": { "v1": "x" } }), "tag v1 names the manifest \"x\""),
            (
                json!({ "manifests": {
                    "x": { "manifests": ["y"] }, "y": { "manifests": ["z"] }, "z": { "manifests": [], "subject": "y" },
                } }),
                "y → z → y",
            ),
            (json!({ "manifest": {} }), "unknown field `manifest`"),
            (json!({ "tags": { "no tag": "x" } }), "no content"),
        ] {
            let error = of(repo.clone()).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert_eq!(error.code(), &Code::Unsupported);
            assert!(format!("{error}: {cause}").contains(why), "{repo}: {error}: {cause}");
        }
    }

    #[tokio::test]
    async fn differences_are_told() {
        let content = |tag: &str, layer: &str| {
            let manifests = json!({
                "image": { "config": "config", "layers": ["layer"] },
                "note": { "config": "config", "subject": "image" },
            });
            let blobs = json!({ "config": "{}", "layer": layer });
            let repo = json!({ "blobs": blobs, "manifests": manifests, "tags": { tag: "image" } });
            Content::from_json(json!({ "a/b": repo })).unwrap().build().unwrap()
        };
        let registry = Memory::default();
        let one = content("v1", "one");
        one.push(&registry).await.unwrap();
        assert_eq!(one.differences(&registry).await, [""; 0]);
        let other: RepoName = "other".parse().unwrap();
        registry.write_blob(&other, "x".into()).await.unwrap();
        let two = content("v2", "two");
        let missing = two.differences(&registry).await.join("\n");
        for why in [
            "repositories: other is not",
            "blob layer of a/b: ",
            "manifest image of a/b: ",
            "v1 is not",
            "v2 is missing",
        ] {
            assert!(missing.contains(why), "{why}: {missing}");
        }
        two.push(&registry).await.unwrap();
        assert_eq!(
            two.differences(&registry).await,
            ["repositories: other is not expected", "tags of a/b: v1 is not expected"]
        );
    }
}
