//! Collection of garbage: what no manifest of a layout needs goes, while others push, pull and delete.
//!
//! Two rules make that safe. A manifest is stored under the lock of its layout, after a look at what it
//! names; blobs are removed under that lock, after a look at the index as it is then. And whoever is told
//! that a blob is there has set its time under a shared lock of the file; its time is looked at, and the
//! file removed, under an exclusive one.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::future;
use futures_util::stream;
use futures_util::stream::BoxStream;

use crate::descriptor::Descriptor;
use crate::digest::Algorithm;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::layout::Layout;
use crate::layout::Repo;
use crate::layout::cache::read_at_most;
use crate::layout::dir::Dir;
use crate::layout::index::Index;
use crate::layout::manifest::Walk;
use crate::layout::manifest::named;
use crate::layout::stream::blocking;
use crate::layout::sweep::Abandoned;
use crate::manifest::MAX_MANIFEST;
use crate::manifest::ManifestContent;
use crate::manifest::is_read;
use crate::name::RepoName;
use crate::page::Page;

/// What a collection removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectOptions {
    /// How long nothing must have been done with something before it goes; an hour by default.
    ///
    /// It has to be longer than any push takes from its first blob, or the question whether that is there,
    /// to its manifest, and longer than any upload pauses. 0 is for when nobody pushes.
    pub grace: Duration,
    /// Remove manifests that no tag points to, unless they lie in an index or refer to one that stays.
    pub untagged: bool,
    /// Remove nothing, only tell what would be.
    pub dry_run: bool,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(60 * 60), untagged: false, dry_run: false }
    }
}

/// What a collection has removed in a repository, or would remove.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// The repository.
    pub repo: RepoName,
    /// Manifests that are not listed any more. Their bytes are among the blobs.
    pub manifests: Vec<Digest>,
    /// Blobs and their sizes, in the order of their digests.
    pub blobs: Vec<(Digest, u64)>,
    /// Uploads that nobody went on with, and temporary files of dead processes.
    pub uploads: u64,
    /// Bytes of blobs and uploads. What another repository has by mount takes its room until that lets it go.
    pub bytes: u64,
}

impl Collected {
    /// Tells whether nothing was to be removed.
    pub fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.blobs.is_empty() && self.uploads == 0
    }
}

impl Layout {
    /// Removes what is not needed any more, repository by repository, while others use the layouts.
    ///
    /// That is: blobs that no manifest names which is listed, or lies in one that is listed; with
    /// [`CollectOptions::untagged`] also manifests without a tag, unless they lie in an index or refer to a
    /// manifest that stays; and uploads that nobody went on with. Manifests of types that are not known keep
    /// alive whatever digest stands in them. Nothing goes that was stored, mounted, asked for by head or
    /// untagged within [`CollectOptions::grace`], so whoever pushes is never told of a blob that then goes:
    /// between that and the manifest that names it must be no more time than that.
    ///
    /// Any number of threads and processes may push, pull, delete and collect at the same time. Writers of
    /// manifests wait while a part of the garbage is removed, readers never. A kill at any point leaves
    /// everything whole, and garbage for the next time.
    ///
    /// The stream gives what was removed in each repository, in lexical order, those left out where there was
    /// nothing. It goes on after an error.
    ///
    /// # Errors
    /// `Unknown` or `DigestInvalid`, naming the repository and the file, when a manifest or an index entry
    /// cannot be read: what it names is not known then, and no blob of the repository is removed.
    ///
    /// # Cancel safety
    /// When the stream is dropped, the repository that it is at is done to its end, and then no other.
    pub fn collect_garbage(&self, options: CollectOptions) -> BoxStream<'static, Result<Collected>> {
        let layout = self.clone();
        let repos = async move {
            let listed = layout.clone();
            let repos = blocking(move || listed.repos(&Page::default(), Dir::is_begun).map(|all| all.items)).await;
            let collect = move |name: RepoName| {
                let layout = layout.clone();
                async move { layout.with_repo(&name, move |repo| repo.collect(options)).await }
            };
            repos.map(|repos| stream::iter(repos).then(collect))
        };
        let collected = stream::once(repos).try_flatten();
        collected.try_filter(|collected| future::ready(!collected.is_empty())).boxed()
    }
}

impl Repo {
    fn collect(&self, options: CollectOptions) -> Result<Collected> {
        let repo = self.name.clone();
        let collected = Collected { repo, manifests: Vec::new(), blobs: Vec::new(), uploads: 0, bytes: 0 };
        // A grace that began before all times is never over.
        let Some(before) = SystemTime::now().checked_sub(options.grace) else { return Ok(collected) };
        let collection = Collection { repo: self, options, before, spared: HashSet::new(), collected };
        collection.run().map_err(|error| error.context(format_args!("collect {}", self.name)))
    }
}

/// A collection that is going on.
struct Collection<'a> {
    repo: &'a Repo,
    options: CollectOptions,
    /// What was used last before this is old.
    before: SystemTime,
    /// Untagged manifests that somebody wants, and that therefore stay.
    spared: HashSet<Digest>,
    collected: Collected,
}

/// What stays, and what of the index does not.
struct Marked {
    reachable: HashSet<Digest>,
    dropped: Vec<Digest>,
}

impl Collection<'_> {
    fn run(mut self) -> Result<Collected> {
        let swept = Abandoned::before(self.before).sweep(&self.repo.dir, self.options.dry_run);
        self.collected.uploads = swept.uploads;
        self.collected.bytes = swept.bytes;
        if self.repo.dir.exists()? {
            if !self.options.dry_run {
                self.drop_manifests()?;
            }
            self.remove_blobs()?;
        }
        Ok(self.collected)
    }

    /// Takes manifests without a tag out of the index; then their files are blobs that nobody names.
    fn drop_manifests(&mut self) -> Result<()> {
        while self.options.untagged {
            let _lock = self.repo.dir.lock()?;
            let index = self.repo.index()?;
            let dropped = self.mark(&index)?.dropped;
            if dropped.is_empty() {
                break;
            }
            // Held until the index is written, so that nobody is told meanwhile that they are there.
            let mut held = Vec::new();
            let batch = &dropped[..dropped.len().min(HELD)];
            for digest in batch {
                match self.repo.dir.condemn_blob(digest, self.before)? {
                    Some(condemned) => held.push((digest, condemned)),
                    None => _ = self.spared.insert(digest.clone()),
                }
            }
            // What refers to a manifest that was spared has to stay with it: everything is looked at again.
            if held.len() < batch.len() {
                continue;
            }
            let mut left = Index::clone(&index);
            for (digest, _) in &held {
                left.remove(digest);
                self.collected.manifests.push((*digest).clone());
            }
            self.repo.dir.write(&self.repo.dir.index_path(), &left.to_bytes())?;
        }
        Ok(())
    }

    fn remove_blobs(&mut self) -> Result<()> {
        let mut index = self.repo.index()?;
        let Marked { mut reachable, dropped } = self.mark(&index)?;
        // In earnest, none is left that could be dropped, or it became old this moment.
        if self.options.dry_run {
            self.collected.manifests = dropped;
        } else if !dropped.is_empty() {
            reachable = self.mark_all(&index)?;
        }
        for batch in self.unreachable(&reachable)?.chunks(BATCH) {
            // Writers of manifests get their turn between the batches.
            let _lock = if self.options.dry_run { None } else { Some(self.repo.dir.lock()?) };
            let now = self.repo.index()?;
            if !self.options.dry_run && !Arc::ptr_eq(&now, &index) {
                reachable = self.mark_all(&now)?;
                index = now;
            }
            for digest in batch.iter().filter(|digest| !reachable.contains(digest)) {
                let Some(condemned) = self.repo.dir.condemn_blob(digest, self.before)? else { continue };
                let size = condemned.size;
                if !self.options.dry_run {
                    condemned.remove()?;
                }
                self.collected.blobs.push((digest.clone(), size));
                self.collected.bytes += size;
            }
        }
        Ok(())
    }

    /// The old blobs that are not reachable, in the order of their digests.
    fn unreachable(&self, reachable: &HashSet<Digest>) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            found.extend(self.repo.dir.blobs(algorithm)?);
        }
        found.retain(|digest| !reachable.contains(digest) && self.repo.dir.blob_is_older(digest, self.before));
        found.sort_unstable();
        Ok(found)
    }

    /// What stays when no manifest is dropped.
    fn mark_all(&self, index: &Index) -> Result<HashSet<Digest>> {
        self.mark_but(index, &[]).map(|marked| marked.reachable)
    }

    fn mark(&self, index: &Index) -> Result<Marked> {
        if !self.options.untagged {
            return self.mark_but(index, &[]);
        }
        let mut droppable = index.unnamed();
        droppable.retain(|manifest| {
            !self.spared.contains(&manifest.digest) && self.repo.dir.blob_is_older(&manifest.digest, self.before)
        });
        self.mark_but(index, &droppable)
    }

    /// What stays when some manifests are dropped, if nothing that stays needs them or is their subject.
    fn mark_but(&self, index: &Index, droppable: &[&Descriptor]) -> Result<Marked> {
        if let Some(at) = index.unreadable() {
            let message = format!("{}: cannot read manifests[{at}]", self.repo.dir.index_path().display());
            return Err(Error::new(Code::Unknown, message));
        }
        let digests: HashSet<_> = droppable.iter().map(|manifest| &manifest.digest).collect();
        let roots = index.manifests().filter(|manifest| !digests.contains(&manifest.digest));
        let walk = self.repo.walk_from(roots.cloned());
        let mut mark = Mark { repo: self.repo, walk, reachable: HashSet::new(), waiting: HashMap::new() };
        for manifest in droppable {
            if let Some(subject) = mark.content(manifest)?.and_then(|content| content.subject.clone()) {
                mark.waiting.entry(subject.digest).or_default().push((*manifest).clone());
            }
        }
        let reachable = mark.run()?;
        let dropped = digests.into_iter().filter(|digest| !reachable.contains(digest)).cloned();
        let mut dropped: Vec<_> = dropped.collect();
        dropped.sort_unstable();
        Ok(Marked { reachable, dropped })
    }
}

/// The search for what stays.
struct Mark<'a> {
    repo: &'a Repo,
    walk: Walk<'a>,
    reachable: HashSet<Digest>,
    /// Manifests that stay if their subject does.
    waiting: HashMap<Digest, Vec<Descriptor>>,
}

impl Mark<'_> {
    fn run(mut self) -> Result<HashSet<Digest>> {
        while let Some(manifest) = self.walk.next() {
            self.reach(&manifest.digest);
            match self.content(&manifest)? {
                Some(content) => named(&content).for_each(|digest| _ = self.reach(digest)),
                None => self.scan(manifest.digest)?,
            }
        }
        if !self.walk.complete {
            return Err(Error::new(Code::Unknown, "there are too many manifests, or they lie too deep in each other"));
        }
        Ok(self.reachable)
    }

    /// Tells whether that is new.
    fn reach(&mut self, digest: &Digest) -> bool {
        if !self.reachable.insert(digest.clone()) {
            return false;
        }
        self.walk.extend(self.waiting.remove(digest).unwrap_or_default());
        true
    }

    /// What a manifest says; none if it is opaque or not there.
    fn content(&self, manifest: &Descriptor) -> Result<Option<Arc<ManifestContent>>> {
        if !is_read(&manifest.media_type) {
            return Ok(None);
        }
        match self.repo.cache.content(&self.repo.dir, manifest) {
            Ok(None) => {
                let path = self.repo.dir.blob_path(&manifest.digest);
                let message = format!("{} is not what {:?} is", path.display(), manifest.media_type);
                Err(Error::new(Code::Unknown, message))
            }
            Err(error) if error.is_not_found() => Ok(None),
            content => content,
        }
    }

    /// Takes every digest in an opaque manifest for one that it needs, and those in manifests so found.
    fn scan(&mut self, manifest: Digest) -> Result<()> {
        let mut open = vec![manifest];
        while let Some(digest) = open.pop() {
            let Some((file, size)) = self.repo.dir.open_blob(&digest)? else { continue };
            if size > MAX_MANIFEST {
                continue;
            }
            let bytes = read_at_most(&file.file, MAX_MANIFEST, &file.path)?;
            if bytes.trim_ascii_start().starts_with(b"{") {
                open.extend(digests_in(&bytes).filter(|digest| self.reach(digest)));
            }
        }
        Ok(())
    }
}

fn digests_in(text: &[u8]) -> impl Iterator<Item = Digest> {
    let colons = text.iter().enumerate().filter(|(_, byte)| **byte == b':');
    colons.flat_map(move |(at, _)| {
        Algorithm::ALL.into_iter().filter_map(move |algorithm| {
            let start = at.checked_sub(algorithm.as_str().len())?;
            let word = text.get(start..=at + algorithm.hex_len())?;
            std::str::from_utf8(word).ok()?.parse().ok()
        })
    })
}

/// Files that are removed while nobody else may write a manifest.
const BATCH: usize = 512;

/// Manifests that are dropped at once; that many files are open.
const HELD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let (short, long) = (Digest::sha256(b"one"), Digest::of(Algorithm::Sha512, b"two"));
        let text = format!(r#"{{"a:b":"{short}","sha256:xyz":["{long}","{short}ff",":"],"tail":"sha256:00"#);
        let found: Vec<_> = digests_in(text.as_bytes()).collect();
        assert_eq!(found, [short.clone(), long, short]);
    }
}
