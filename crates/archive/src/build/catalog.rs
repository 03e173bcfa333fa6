//! The catalog of a stream: what came, by its path, and whether it fits together.

use std::collections::BTreeMap;

use super::BuildOptions;
use super::Omitted;
use super::Reason;
use super::assemble::Packed;
use super::tree::Node;
use super::tree::Tree;
use crate::error::Error;
use crate::error::Result;
use crate::path;

/// Something that came in a stream.
pub(super) struct Item {
    pub(super) path: String,
    pub(super) what: What,
    /// Permissions, with the special bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime_ns: i64,
}

/// What it is.
pub(super) enum What {
    Directory,
    /// Its size in bytes, if it is known before it is read.
    File(Option<u64>),
    /// Another name of the file that came under this path.
    HardLink(String),
    /// Something that archives do not carry.
    Omitted(Reason),
    /// The target.
    Symlink(String),
}

/// What came so far, by path.
pub(super) struct Catalog<'o> {
    options: &'o BuildOptions,
    replaces: bool,
    places: BTreeMap<Box<str>, Place>,
    omitted: BTreeMap<Reason, Omitted>,
    excluded: u64,
    /// Files whose content was packed.
    packed: u32,
    /// How many things of each kind there are.
    counts: [u64; 3],
    hard_links: u64,
    hard_linked: u64,
    /// The directory that was last found to be none that is something else.
    checked: String,
}

#[derive(Clone)]
struct Place {
    size: u64,
    mtime_ns: i64,
    mode: u32,
    uid: u32,
    gid: u32,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Directory,
    /// The position of its content among those that were packed.
    File(u32),
    Symlink(Box<str>),
}

impl Kind {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File(_) => "a file",
            Self::Symlink(_) => "a symbolic link",
        }
    }

    fn number(&self) -> usize {
        match self {
            Self::Directory => 0,
            Self::File(_) => 1,
            Self::Symlink(_) => 2,
        }
    }
}

impl<'o> Catalog<'o> {
    pub(super) fn new(options: &'o BuildOptions, replaces: bool) -> Self {
        Self {
            options,
            replaces,
            places: BTreeMap::new(),
            omitted: BTreeMap::new(),
            excluded: 0,
            packed: 0,
            counts: [0; 3],
            hard_links: 0,
            hard_linked: 0,
            checked: String::new(),
        }
    }

    /// Notes what came; gives it back if it is a file whose content has to be packed next.
    pub(super) fn add(&mut self, item: Item) -> Result<Option<Node>> {
        let Item { path, what, mode, uid, gid, mtime_ns } = item;
        let is_dir = matches!(what, What::Directory);
        let patterns = &self.options.patterns;
        if if is_dir { patterns.exclude(&path, true) } else { !patterns.admit(&path, false) } {
            self.excluded += 1;
            return Ok(None);
        }
        path::check(&path, &self.options.limits).map_err(|why| Error::InvalidPath { path: path.clone(), why })?;
        let extensions = self.options.extensions;
        let (kind, size) = match what {
            What::Omitted(reason) => return Ok(self.omit(reason, &path)),
            What::Directory if !extensions => return Ok(self.omit(Reason::Directory, &path)),
            What::Symlink(_) if !extensions => return Ok(self.omit(Reason::Symlink, &path)),
            What::HardLink(target) => return self.add_hard_link(path, &target).map(|()| None),
            What::Directory => (Kind::Directory, 0),
            What::File(size) => (Kind::File(self.packed), size.unwrap_or(0)),
            What::Symlink(target) => {
                let limit = self.options.limits.path;
                if target.is_empty() || target.contains('\0') || target.len() as u64 > limit {
                    let why = "its target is empty, has a NUL byte, or is longer than the limit".to_owned();
                    return Err(Error::InvalidEntry { path, why });
                }
                (Kind::Symlink(target.into()), 0)
            }
        };
        let is_file = matches!(kind, Kind::File(_));
        if mode & 0o7000 != 0 && !matches!(kind, Kind::Symlink(_)) {
            self.omit(Reason::SpecialBits, &path);
        }
        let mut node = Node { path: path.into(), size, mtime_ns, mode: mode & 0o777, uid, gid, version: None };
        self.options.tidy(&mut node, is_dir);
        let Node { mode, uid, gid, mtime_ns, .. } = node;
        self.insert(node.path.clone(), Place { size, mtime_ns, mode, uid, gid, kind })?;
        if !is_file {
            return Ok(None);
        }
        // Contents that something else took the place of count, too: each takes memory.
        let limit = self.options.limits.entries.min(u64::from(u32::MAX));
        self.packed = self
            .packed
            .checked_add(1)
            .filter(|&packed| u64::from(packed) <= limit)
            .ok_or(Error::TooManyFiles { limit })?;
        Ok(Some(node))
    }

    fn add_hard_link(&mut self, path: String, target: &str) -> Result<()> {
        let place = match self.places.get(target) {
            Some(place) if !matches!(place.kind, Kind::Directory) => place.clone(),
            _ => {
                let why = format!("it is a hard link to {target}, which did not come before it or was left out");
                return Err(Error::InvalidEntry { path, why });
            }
        };
        self.omit(Reason::HardLink, &path);
        if let Kind::File(_) = place.kind {
            self.hard_links += 1;
            self.hard_linked += place.size;
        }
        self.insert(path.into(), place)
    }

    fn insert(&mut self, path: Box<str>, place: Place) -> Result<()> {
        self.check_parents(&path)?;
        if !matches!(place.kind, Kind::Directory) {
            let below = format!("{path}/");
            if let Some((other, _)) = self.places.range(Box::from(below.as_str())..).next()
                && other.starts_with(&below)
            {
                let why = format!("it is {}, and {other} lies in it", place.kind.as_str());
                return Err(Error::InvalidEntry { path: path.into(), why });
            }
        }
        let (limit, kind) = (self.options.limits.entries, place.kind.number());
        self.counts[kind] += 1;
        if let Some(old) = self.places.get(&path) {
            if !self.replaces {
                let why = format!("it came twice, as {} and as {}", old.kind.as_str(), place.kind.as_str());
                return Err(Error::InvalidEntry { path: path.into(), why });
            }
            self.counts[old.kind.number()] -= 1;
        }
        if self.counts[kind] > limit {
            return Err(Error::TooManyFiles { limit });
        }
        self.places.insert(path, place);
        Ok(())
    }

    /// What a path lies in must not be something else than a directory.
    fn check_parents(&mut self, path: &str) -> Result<()> {
        let (dir, _) = path::split(path);
        if dir == self.checked {
            return Ok(());
        }
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match self.places.get(parent) {
                Some(Place { kind: Kind::Directory, .. }) | None => {}
                Some(place) => {
                    let why = format!("it lies in {parent}, which is {}", place.kind.as_str());
                    return Err(Error::InvalidEntry { path: path.to_owned(), why });
                }
            }
        }
        // It stays so: something lies in the directory from now on.
        dir.clone_into(&mut self.checked);
        Ok(())
    }

    /// Sets the size of a file that has just come and whose size was not known.
    pub(super) fn set_size(&mut self, path: &str, size: u64) {
        if let Some(place) = self.places.get_mut(path) {
            place.size = size;
        }
    }

    fn omit(&mut self, reason: Reason, path: &str) -> Option<Node> {
        self.omitted.entry(reason).or_default().add(path);
        None
    }

    /// The tree that came, with what is stored of its files in their order.
    pub(super) fn finish(self, packed: Packed) -> (Tree, Packed) {
        let mut tree = Tree { omitted: self.omitted, excluded: self.excluded, ..Tree::default() };
        let mut stored = Vec::with_capacity(packed.stored.len());
        for (path, place) in self.places {
            let Place { size, mtime_ns, mode, uid, gid, kind } = place;
            let node = Node { path, size, mtime_ns, mode, uid, gid, version: None };
            match kind {
                Kind::Directory => tree.directories.push(node),
                Kind::Symlink(target) => tree.symlinks.push((node, target)),
                Kind::File(at) => {
                    stored.push(packed.stored[at as usize].clone());
                    tree.files.push(node);
                }
            }
        }
        tree.prune(&self.options.patterns);
        let duplicates = packed.duplicates + self.hard_links;
        let duplicate_size = packed.duplicate_size + self.hard_linked;
        (tree, Packed { stored, duplicates, duplicate_size, ..packed })
    }
}
