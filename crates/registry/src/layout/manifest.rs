//! Manifests of a layout: those that `index.json` lists, and those inside of indexes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::Repo;
use crate::layout::cache::read_manifest;
use crate::layout::index::Index;
use crate::manifest::Manifest;
use crate::manifest::ManifestContent;
use crate::manifest::media_type;
use crate::name::ManifestRef;
use crate::name::Tag;
use crate::registry::PutManifest;

impl Repo {
    pub(super) fn index(&self) -> Result<Arc<Index>> {
        let index = self.cache.index(&self.dir)?;
        index.ok_or_else(|| Error::new(Code::NameUnknown, self.name.to_string()))
    }

    pub(super) fn get_manifest(&self, reference: &ManifestRef) -> Result<Manifest> {
        let Descriptor { media_type, digest, .. } = self.resolve(reference)?;
        read_manifest(&self.dir, &media_type, &digest)?.ok_or_else(|| self.manifest_unknown(reference))
    }

    pub(super) fn head_manifest(&self, reference: &ManifestRef) -> Result<Descriptor> {
        let Descriptor { media_type, digest, .. } = self.resolve(reference)?;
        // The file's size, not the entry's: it is what will be read.
        let size = self.dir.blob_size(&digest)?.ok_or_else(|| self.manifest_unknown(reference))?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    fn resolve(&self, reference: &ManifestRef) -> Result<Descriptor> {
        if let ManifestRef::Digest(digest) = reference {
            // Before the index is read: a collection that drops its entry holds the file until that is done.
            self.dir.want_blob(digest)?;
        }
        let index = self.index()?;
        let found = match reference {
            ManifestRef::Digest(digest) => self.find(&index, digest),
            ManifestRef::Tag(tag) => self.tagged(&index, tag)?.cloned(),
        };
        found.ok_or_else(|| self.manifest_unknown(reference))
    }

    fn tagged<'a>(&self, index: &'a Index, tag: &Tag) -> Result<Option<&'a Descriptor>> {
        index.tagged(tag).map_err(|error| error.context(self.dir.index_path().display()))
    }

    /// The entry of a manifest, in the layout's index or in one that it lists.
    pub(super) fn find(&self, index: &Index, digest: &Digest) -> Option<Descriptor> {
        let listed = index.listed(digest).cloned();
        listed.or_else(|| self.walk(index).find(|descriptor| descriptor.digest == *digest))
    }

    pub(super) fn put_manifest(&self, manifest: &Manifest, options: &PutManifest) -> Result<()> {
        let content = manifest.to_store()?;
        let digest = manifest.digest();
        let lock = self.dir.lock()?;
        let mut index = self.cache.index(&self.dir)?.map(Arc::unwrap_or_clone).unwrap_or_default();
        if options.if_absent
            && let Some(tag) = options.tags.iter().find(|tag| index.points_elsewhere(tag, digest))
        {
            let message = format!("tag {tag} in {} points to another manifest", self.name);
            return Err(Error::new(Code::PreconditionFailed, message));
        }
        if let Some(content) = &content
            && !self.options.allow_missing
        {
            // A manifest that came as a blob will be found by its digest through this one.
            let is_there = |digest: &Digest| self.dir.blob_size(digest).is_ok_and(|size| size.is_some());
            content.require(is_there, is_there)?;
        }
        self.dir.ensure_locked(&lock)?;
        // One that is there and damaged is mended.
        let is_whole = matches!(read_manifest(&self.dir, manifest.media_type(), digest), Ok(Some(_)));
        if !is_whole || !self.dir.want_blob(digest)?.is_some_and(|there| there.touched) {
            self.dir.write(&self.dir.blob_path(digest), manifest.bytes())?;
        }
        self.outdate(&index, &options.tags, Some(digest))?;
        let descriptor = Descriptor {
            artifact_type: content.and_then(|content| content.artifact_type),
            ..manifest.descriptor().clone()
        };
        if index.put(&descriptor, &options.tags) {
            self.dir.write(&self.dir.index_path(), &index.to_bytes())?;
        }
        Ok(())
    }

    pub(super) fn delete_manifest(&self, reference: &ManifestRef) -> Result<()> {
        if !self.dir.exists()? {
            return Err(Error::new(Code::NameUnknown, self.name.to_string()));
        }
        let _lock = self.dir.lock()?;
        let index = self.index()?;
        let mut left = Index::clone(&index);
        match reference {
            ManifestRef::Tag(tag) => {
                self.tagged(&index, tag)?.ok_or_else(|| self.manifest_unknown(reference))?;
                self.outdate(&index, std::slice::from_ref(tag), None)?;
                left.untag(tag);
                self.dir.write(&self.dir.index_path(), &left.to_bytes())
            }
            ManifestRef::Digest(digest) => {
                if !left.remove(digest) {
                    self.find(&index, digest).ok_or_else(|| self.manifest_unknown(reference))?;
                    let message = format!("{digest} in {} is a part of an index", self.name);
                    return Err(Error::new(Code::Denied, message));
                }
                self.dir.write(&self.dir.index_path(), &left.to_bytes())?;
                if !self.needs(&left, digest) {
                    self.dir.remove_blob(digest)?;
                }
                Ok(())
            }
        }
    }

    /// Gives what tags point to a last use, before they point elsewhere: somebody may just be reading it.
    fn outdate(&self, index: &Index, tags: &[Tag], next: Option<&Digest>) -> Result<()> {
        for tag in tags {
            if let Ok(Some(before)) = index.tagged(tag)
                && Some(&before.digest) != next
            {
                self.dir.want_blob(&before.digest)?;
            }
        }
        Ok(())
    }

    pub(super) fn tags(&self) -> Result<BTreeSet<Tag>> {
        Ok(self.index()?.tags())
    }

    /// The manifests whose subject is a digest, by their own digests.
    pub(super) fn referrers(&self, subject: &Digest) -> Result<BTreeMap<Digest, Descriptor>> {
        let index = self.index()?;
        let mut referrers = BTreeMap::new();
        for manifest in self.walk(&index) {
            let content = match self.cache.content(&self.dir, &manifest) {
                Ok(Some(content)) => content,
                Ok(None) => continue,
                // One bad file must not hide the others.
                Err(error) => {
                    tracing::debug!(repo = %self.name, digest = %manifest.digest, %error, "skipped a manifest");
                    continue;
                }
            };
            if content.subject.as_ref().is_some_and(|about| about.digest == *subject)
                && let Some(size) = self.dir.blob_size(&manifest.digest)?
            {
                let described = content.describe(&Descriptor { size, ..manifest });
                referrers.insert(described.digest.clone(), described);
            }
        }
        Ok(referrers)
    }

    /// Tells whether a manifest of the index names a digest, or may do so.
    fn needs(&self, index: &Index, digest: &Digest) -> bool {
        let mut walk = self.walk(index);
        let names = |manifest: &Descriptor| match self.cache.content(&self.dir, manifest) {
            Ok(content) => content.is_some_and(|content| named(&content).any(|named| named == digest)),
            // What is not there at all names nothing that anyone could miss.
            Err(error) => !error.is_not_found(),
        };
        walk.by_ref().any(|manifest| manifest.digest == *digest || names(&manifest)) || !walk.complete
    }

    fn walk(&self, index: &Index) -> Walk<'_> {
        self.walk_from(index.manifests().cloned())
    }

    pub(super) fn walk_from(&self, roots: impl Iterator<Item = Descriptor>) -> Walk<'_> {
        let queue = roots.map(|manifest| (manifest, 0)).collect();
        Walk { repo: self, queue, seen: HashSet::new(), complete: true }
    }

    fn manifest_unknown(&self, reference: &ManifestRef) -> Error {
        Error::new(Code::ManifestUnknown, format!("{reference} in {}", self.name))
    }
}

pub(super) fn named(content: &ManifestContent) -> impl Iterator<Item = &Digest> {
    let blobs = content.config.iter().chain(content.layers.iter().flatten());
    blobs.chain(content.manifests.iter().flatten()).map(|descriptor| &descriptor.digest)
}

/// All manifests of a layout, each once: first those that are listed, then those inside of indexes.
pub(super) struct Walk<'a> {
    repo: &'a Repo,
    /// With how many indexes there are above each.
    queue: VecDeque<(Descriptor, usize)>,
    seen: HashSet<Digest>,
    /// No bound was met, and every index could be read.
    pub(super) complete: bool,
}

impl Iterator for Walk<'_> {
    type Item = Descriptor;

    fn next(&mut self) -> Option<Descriptor> {
        loop {
            let (manifest, depth) = self.queue.pop_front()?;
            if self.seen.contains(&manifest.digest) {
                continue;
            }
            if self.seen.len() == MAX_MANIFESTS {
                self.complete = false;
                return None;
            }
            self.seen.insert(manifest.digest.clone());
            if matches!(manifest.media_type.as_str(), media_type::INDEX | media_type::DOCKER_INDEX) {
                self.enter(&manifest, depth);
            }
            return Some(manifest);
        }
    }
}

impl Walk<'_> {
    /// Goes on with more manifests, once those are done that are known.
    pub(super) fn extend(&mut self, roots: Vec<Descriptor>) {
        self.queue.extend(roots.into_iter().map(|manifest| (manifest, 0)));
    }

    fn enter(&mut self, manifest: &Descriptor, depth: usize) {
        if depth == MAX_DEPTH {
            self.complete = false;
            return;
        }
        match self.repo.cache.content(&self.repo.dir, manifest) {
            Ok(content) => {
                let children = content.iter().flat_map(|content| content.manifests.iter().flatten());
                self.queue.extend(children.map(|child| (child.clone(), depth + 1)));
            }
            Err(error) => self.complete &= error.is_not_found(),
        }
    }
}

/// How many manifests of a layout are looked at.
const MAX_MANIFESTS: usize = 1 << 17;

/// How many indexes may lie in one another.
const MAX_DEPTH: usize = 16;
