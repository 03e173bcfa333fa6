//! OCI image layouts on disk, one directory or a tree of them, as a registry.
//!
//! A layout is what the image specification says, and nothing else: `oci-layout`, `index.json` and
//! `blobs/<algorithm>/<hex>`. What is ours, a lock and unfinished uploads, is in `.skep` beside them.
//! Layouts that other tools made are read, and changed so that those tools go on understanding them.

mod blob;
mod cache;
mod collect;
pub(crate) mod dir;
mod index;
mod manifest;
pub(crate) mod stream;
mod sweep;
pub(crate) mod temp;
mod tree;
mod upload;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::body::Body;
use crate::body::ByteRange;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::cache::Cache;
pub use crate::layout::collect::CollectOptions;
pub use crate::layout::collect::Collected;
use crate::layout::dir::Dir;
use crate::layout::dir::OCI_LAYOUT;
use crate::layout::stream::blocking;
use crate::layout::upload::LayoutUpload;
use crate::manifest::Manifest;
use crate::name::ManifestRef;
use crate::name::RepoName;
use crate::name::Tag;
use crate::page::Listing;
use crate::page::Page;
use crate::registry::Blob;
use crate::registry::Mount;
use crate::registry::PutManifest;
use crate::registry::ReferrerQuery;
use crate::registry::Registry;
use crate::registry::Upload;
use crate::registry::UploadOptions;

/// How a [`Layout`] behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayoutOptions {
    /// Store manifests that name blobs or manifests which are not there.
    pub allow_missing: bool,
}

/// OCI image layouts as a registry: the files that `oci:` of other tools means.
///
/// Any number of processes may use the same directory at once. Nothing is acknowledged before it is
/// durable, and a process that is killed leaves nothing visible that is not whole.
///
/// A tag is an entry of `index.json` whose `org.opencontainers.image.ref.name` is the tag. Where another
/// tool wrote a full reference there, `example.com/repo:tag`, it counts as its tag unless an entry has the
/// bare one; when several disagree, asking for the tag is an error that names them. Manifests inside of
/// indexes are found by digest without being listed.
///
/// A manifest of a layout is also one of its blobs. Deleting it as a blob is `Denied`, and so is deleting
/// a manifest that is there only as a part of an index; one that is both listed and a part of an index
/// loses its entries and its tags, and stays as that part.
///
/// Blobs are regular files; a symbolic link in place of one is an error.
///
/// A repository comes to be with the first write to it and then stays, even empty. Calls want a Tokio
/// runtime, whose blocking threads do the work on files.
#[derive(Clone, Debug)]
pub struct Layout {
    shape: Shape,
    options: LayoutOptions,
    cache: Arc<Cache>,
}

#[derive(Clone, Debug)]
enum Shape {
    Single(PathBuf, RepoName),
    Tree(PathBuf),
}

/// One layout, and the repository that it is.
#[derive(Clone, Debug)]
struct Repo {
    name: RepoName,
    dir: Dir,
    options: LayoutOptions,
    cache: Arc<Cache>,
}

impl Layout {
    /// A directory of layouts: each repository is one, at the path that is its name.
    ///
    /// A part of a name that a layout has a use for itself, `blobs`, `index.json` or `oci-layout`, is
    /// written with a `_` before it, which no name can begin with. The directory need not exist yet.
    /// Directories behind symbolic links are not listed.
    ///
    /// # Errors
    /// `Unsupported` when `root` is itself a layout; `Unknown` when it is not a directory.
    pub fn tree(root: impl Into<PathBuf>, options: LayoutOptions) -> Result<Self> {
        let root = directory(root.into())?;
        if Dir::new(root.clone()).exists()? {
            let message = format!("{} holds {OCI_LAYOUT}: it is one layout, not a tree of them", root.display());
            return Err(Error::new(Code::Unsupported, message));
        }
        Ok(Self { shape: Shape::Tree(root), options, cache: Arc::default() })
    }

    /// One layout, seen as a registry with one repository. The directory need not exist yet.
    ///
    /// Other repositories are `NameUnknown`, to writes too.
    ///
    /// # Errors
    /// `Unknown` when `dir` is not a directory.
    pub fn single(dir: impl Into<PathBuf>, repo: RepoName, options: LayoutOptions) -> Result<Self> {
        let shape = Shape::Single(directory(dir.into())?, repo);
        Ok(Self { shape, options, cache: Arc::default() })
    }

    fn repo(&self, name: &RepoName) -> Result<Repo> {
        let path = match &self.shape {
            Shape::Single(path, only) if only == name => path.clone(),
            Shape::Single(path, only) => {
                let message = format!("{name}, {} is the layout of {only}", path.display());
                return Err(Error::new(Code::NameUnknown, message));
            }
            Shape::Tree(root) => tree::path(root, name),
        };
        Ok(Repo { name: name.clone(), dir: Dir::new(path), options: self.options, cache: self.cache.clone() })
    }

    fn repos(&self, page: &Page, wanted: impl Fn(&Dir) -> Result<bool>) -> Result<Listing<RepoName>> {
        let found = match &self.shape {
            Shape::Single(path, only) => wanted(&Dir::new(path.clone()))?.then(|| only.clone()).into_iter().collect(),
            Shape::Tree(root) => {
                // One more tells whether there are more.
                let limit = page.limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
                tree::repos(root, page.after.clone(), wanted).take(limit).collect::<Result<Vec<_>>>()?
            }
        };
        Ok(Listing::cut(found, page, RepoName::clone))
    }

    /// Does work on a repository's files, on a thread that may block.
    async fn with_repo<T: Send + 'static>(
        &self,
        name: &RepoName,
        work: impl FnOnce(&Repo) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let repo = self.repo(name)?;
        blocking(move || work(&repo)).await
    }
}

/// Absolute, so that it stays where it is when the process goes elsewhere.
fn directory(path: PathBuf) -> Result<PathBuf> {
    let failed = |error| Error::io(format_args!("open {}", path.display()), error);
    match path.metadata() {
        Ok(metadata) if !metadata.is_dir() => return Err(failed(std::io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::path::absolute(Path::new(&path)).map_err(failed)
}

#[async_trait]
impl Registry for Layout {
    async fn get_blob(&self, repo: &RepoName, digest: &Digest, range: Option<ByteRange>) -> Result<Blob> {
        self.repo(repo)?.get_blob(digest, range).await
    }

    async fn head_blob(&self, repo: &RepoName, digest: &Digest) -> Result<Descriptor> {
        let digest = digest.clone();
        self.with_repo(repo, move |repo| repo.head_blob(&digest)).await
    }

    async fn locate_blob(&self, _repo: &RepoName, _digest: &Digest) -> Result<Option<Url>> {
        Ok(None)
    }

    async fn get_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Manifest> {
        let reference = reference.clone();
        self.with_repo(repo, move |repo| repo.get_manifest(&reference)).await
    }

    async fn head_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<Descriptor> {
        let reference = reference.clone();
        self.with_repo(repo, move |repo| repo.head_manifest(&reference)).await
    }

    async fn put_blob(&self, repo: &RepoName, descriptor: &Descriptor, body: Body) -> Result<()> {
        self.repo(repo)?.put_blob(descriptor, body).await
    }

    async fn upload_blob(&self, repo: &RepoName, options: UploadOptions) -> Result<Box<dyn Upload>> {
        let upload = match options.resume {
            Some(id) => {
                self.with_repo(repo, move |repo| LayoutUpload::resume(&repo.dir, id, options.algorithm)).await?
            }
            None => {
                self.with_repo(repo, move |repo| {
                    repo.cache.sweep(&repo.dir);
                    LayoutUpload::begin(&repo.dir, options.algorithm)
                })
                .await?
            }
        };
        Ok(Box::new(upload))
    }

    async fn mount_blob(&self, repo: &RepoName, digest: &Digest, from: Option<&RepoName>) -> Result<Mount> {
        let (layout, digest, from) = (self.clone(), digest.clone(), from.cloned());
        self.with_repo(repo, move |repo| {
            let sources = match from {
                Some(from) => vec![from],
                None => layout.repos(&Page::default(), Dir::exists)?.items,
            };
            for source in sources {
                if repo.dir.link_blob(&layout.repo(&source)?.dir, &digest)? {
                    return Ok(Mount::Mounted);
                }
            }
            Err(Error::new(Code::BlobUnknown, format!("{digest}, to be mounted to {}", repo.name)))
        })
        .await
    }

    async fn put_manifest(&self, repo: &RepoName, manifest: &Manifest, options: PutManifest) -> Result<()> {
        let manifest = manifest.clone();
        self.with_repo(repo, move |repo| repo.put_manifest(&manifest, &options)).await
    }

    async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<()> {
        let digest = digest.clone();
        self.with_repo(repo, move |repo| repo.delete_blob(&digest)).await
    }

    async fn delete_manifest(&self, repo: &RepoName, reference: &ManifestRef) -> Result<()> {
        let reference = reference.clone();
        self.with_repo(repo, move |repo| repo.delete_manifest(&reference)).await
    }

    async fn list_tags(&self, repo: &RepoName, page: &Page) -> Result<Listing<Tag>> {
        let tags = self.with_repo(repo, Repo::tags).await?;
        Ok(Listing::cut(tags, page, Tag::clone))
    }

    async fn list_referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        query: &ReferrerQuery,
    ) -> Result<Listing<Descriptor>> {
        let subject = subject.clone();
        let referrers = match self.with_repo(repo, move |repo| repo.referrers(&subject)).await {
            Err(error) if error.is_not_found() => BTreeMap::new(),
            referrers => referrers?,
        };
        let wanted =
            |referrer: &Descriptor| query.artifact_type.is_none() || referrer.artifact_type == query.artifact_type;
        Ok(Listing::cut(referrers.into_values().filter(wanted), &query.page, |referrer| referrer.digest.to_string()))
    }

    async fn list_repos(&self, page: &Page) -> Result<Listing<RepoName>> {
        let layout = self.clone();
        let page = page.clone();
        blocking(move || layout.repos(&page, Dir::exists)).await
    }
}
