//! The plan of an extraction: what goes where, and in which order its data is read.

use std::collections::HashMap;
use std::ops::Range;

use super::ExtractOptions;
use crate::archive::Archive;
use crate::error::Error;
use crate::error::Result;
use crate::format::Entry;
use crate::format::Node;
use crate::format::Symlink;
use crate::path;
use crate::pattern::Patterns;

/// What is extracted.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Sorted by path, the destination first: parents come before what lies in them.
    pub(super) directories: Vec<PlannedDirectory>,
    /// In the order of their data; those that share it stand together.
    pub(super) files: Vec<PlannedFile>,
    pub(super) symlinks: Vec<PlannedLink>,
    /// Names that are kept as they are, and the directories that they are in.
    pub(super) kept: Vec<(u32, String)>,
    /// Bytes of content.
    pub(super) size: u64,
}

impl Plan {
    /// Everything but the destination.
    pub(super) fn items(&self) -> impl Iterator<Item = Item> + use<> {
        let directories = (1..self.directories.len() as u32).map(Item::Directory);
        let files = (0..self.files.len() as u32).map(Item::File);
        let kept = (0..self.kept.len() as u32).map(Item::Kept);
        directories.chain(files).chain(kept).chain((0..self.symlinks.len() as u32).map(Item::Link))
    }
}

/// Something of a plan, by its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Directory(u32),
    File(u32),
    Kept(u32),
    Link(u32),
}

/// A directory that must be there.
#[derive(Debug)]
pub(super) struct PlannedDirectory {
    /// Below the destination.
    pub(super) path: String,
    /// The position of the directory that it lies in.
    pub(super) parent: u32,
    /// What it is to be like in the end, if it was chosen and is recorded.
    pub(super) metadata: Option<Metadata>,
    /// Its path in the staging directory, if it was not there.
    pub(super) staged: Option<String>,
}

/// A file to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedFile {
    /// Its position in the index.
    pub(super) entry: u32,
    /// The directory that it goes into.
    pub(super) directory: u32,
}

/// A symbolic link to make.
#[derive(Clone, Debug)]
pub(super) struct PlannedLink {
    pub(super) directory: u32,
    pub(super) name: String,
    pub(super) target: String,
    pub(super) metadata: Metadata,
}

/// What the disk keeps besides content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime_ns: i64,
}

impl From<&Entry<'_>> for Metadata {
    fn from(entry: &Entry<'_>) -> Self {
        Self { mode: entry.mode & 0o777, uid: entry.uid, gid: entry.gid, mtime_ns: entry.mtime_ns }
    }
}

impl From<&Symlink<'_>> for Metadata {
    fn from(link: &Symlink<'_>) -> Self {
        Self { mode: 0o777, uid: link.uid, gid: link.gid, mtime_ns: link.mtime_ns }
    }
}

/// Chooses what to extract and finds its places.
pub(super) fn plan(archive: &Archive, options: &ExtractOptions) -> Result<Plan> {
    let chosen = choose(archive, options)?;
    let index = archive.index();
    let strip = path::parse(&options.strip)?.into_owned();
    if options.name.is_some() && (chosen.files.len() + chosen.symlinks.len() != 1 || !chosen.directories.is_empty()) {
        let why = "a new name is for one file, and another number is selected";
        return Err(Error::InvalidPath { path: options.name.clone().unwrap_or_default(), why });
    }
    if let Some(name) = &options.name
        && (name.contains('/') || path::check(name, archive.limits()).is_err())
    {
        return Err(Error::InvalidPath { path: name.clone(), why: "it is no name" });
    }
    let below = |path: &str| match path::below(path, &strip) {
        Some(path) => Ok(path.to_owned()),
        None => Err(Error::InvalidPath { path: path.to_owned(), why: "it does not lie in the directory to strip" }),
    };
    let mut places = Places::default();
    places.directory("");
    let mut plan = Plan::default();
    for at in chosen.files {
        let entry = index.entry(at);
        let target = below(entry.path)?;
        let directory = places.directory(path::split(&target).0);
        plan.size = plan.size.saturating_add(entry.original_size);
        plan.files.push(PlannedFile { entry: at as u32, directory });
    }
    let total = archive.limits().total.min(options.total);
    if plan.size > total {
        return Err(Error::limit("what is to be extracted, in bytes,", total, plan.size));
    }
    for link in chosen.symlinks {
        let target = below(link.path)?;
        let (directory, name) = path::split(&target);
        plan.symlinks.push(PlannedLink {
            directory: places.directory(directory),
            name: options.name.clone().unwrap_or_else(|| name.to_owned()),
            target: link.target.to_owned(),
            metadata: Metadata::from(&link),
        });
    }
    for (path, metadata) in chosen.directories {
        // The destination itself is the caller's.
        if path != strip {
            let at = places.directory(&below(&path)?);
            places.found[at as usize].metadata = metadata;
        }
    }
    for (path, metadata) in chosen.on_the_way {
        if let Some(at) = path::below(&path, &strip).and_then(|path| places.by_path.get(path)) {
            places.found[*at as usize].metadata = metadata;
        }
    }
    let order = places.sort();
    plan.files.iter_mut().for_each(|file| file.directory = order[file.directory as usize]);
    plan.symlinks.iter_mut().for_each(|link| link.directory = order[link.directory as usize]);
    plan.directories = places.found;
    plan.files.sort_by_cached_key(|file| {
        let entry = index.entry(file.entry as usize);
        (entry.data_offset, entry.data_size, *entry.hash)
    });
    Ok(plan)
}

/// Directories by their paths.
#[derive(Default)]
struct Places {
    found: Vec<PlannedDirectory>,
    by_path: HashMap<String, u32>,
    last: (String, u32),
}

impl Places {
    fn directory(&mut self, path: &str) -> u32 {
        if !self.found.is_empty() && self.last.0 == path {
            return self.last.1;
        }
        let at = match self.by_path.get(path) {
            Some(at) => *at,
            None => {
                if !path.is_empty() {
                    self.directory(path::split(path).0);
                }
                let at = self.found.len() as u32;
                self.found.push(PlannedDirectory { path: path.to_owned(), parent: 0, metadata: None, staged: None });
                self.by_path.insert(path.to_owned(), at);
                at
            }
        };
        self.last = (path.to_owned(), at);
        at
    }

    /// Sorts the directories by path, and tells for each where it is now.
    fn sort(&mut self) -> Vec<u32> {
        self.found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let mut order = vec![0; self.found.len()];
        for (now, directory) in self.found.iter().enumerate() {
            order[self.by_path[&directory.path] as usize] = now as u32;
        }
        for directory in &mut self.found {
            directory.parent = order[self.by_path[path::split(&directory.path).0] as usize];
        }
        order
    }
}

/// What was chosen.
#[derive(Default)]
struct Chosen<'a> {
    /// Positions in the index.
    files: Vec<usize>,
    symlinks: Vec<Symlink<'a>>,
    directories: Vec<(String, Option<Metadata>)>,
    /// Directories that count only if something that was chosen lies in them.
    on_the_way: Vec<(String, Option<Metadata>)>,
}

fn choose<'a>(archive: &'a Archive, options: &ExtractOptions) -> Result<Chosen<'a>> {
    let mut chosen = Chosen::default();
    if options.select.is_empty() {
        chosen.add_below(archive, "");
        chosen.filter(archive, &options.patterns);
        return Ok(chosen);
    }
    for selected in &options.select {
        let path = path::parse(selected)?;
        match archive.index().node(&path) {
            Some(Node::File(_)) => chosen.files.extend(archive.index().position(&path)),
            Some(Node::Symlink(link)) => chosen.symlinks.push(link),
            Some(Node::Directory(directory)) => {
                if !path.is_empty() {
                    chosen.directories.push((path.to_string(), directory.map(metadata)));
                }
                chosen.add_below(archive, &path);
            }
            None => return Err(Error::not_found(selected)),
        }
    }
    chosen.files.sort_unstable();
    chosen.files.dedup();
    chosen.symlinks.sort_unstable_by_key(|link| link.path);
    chosen.symlinks.dedup_by_key(|link| link.path);
    chosen.filter(archive, &options.patterns);
    Ok(chosen)
}

impl<'a> Chosen<'a> {
    fn add_below(&mut self, archive: &'a Archive, dir: &str) {
        let index = archive.index();
        let files: Range<usize> = index.below(dir);
        self.files.extend(files);
        self.symlinks.extend(index.symlinks_below(dir));
        let directories = index.directories_below(dir);
        self.directories.extend(directories.map(|dir| (dir.path.to_owned(), Some(metadata(dir)))));
    }

    /// Keeps what patterns admit.
    fn filter(&mut self, archive: &Archive, patterns: &Patterns) {
        if patterns.is_empty() {
            return;
        }
        self.files.retain(|at| patterns.admit(archive.index().entry(*at).path, false));
        self.symlinks.retain(|link| patterns.admit(link.path, false));
        let directories = std::mem::take(&mut self.directories);
        (self.directories, self.on_the_way) = directories.into_iter().partition(|(dir, _)| patterns.admit(dir, true));
    }
}

fn metadata(directory: crate::format::Directory<'_>) -> Metadata {
    Metadata { mode: directory.mode & 0o777, uid: directory.uid, gid: directory.gid, mtime_ns: directory.mtime_ns }
}
