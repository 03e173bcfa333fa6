//! `index.json`: which manifests a layout lists, under which tags. What is foreign in it stays as it is.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;

use serde::Serialize;
use serde::de::Error as _;
use serde_json::value::RawValue;
use serde_json::value::to_raw_value;

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::manifest::media_type;
use crate::name::Tag;
use crate::reference::Reference;

/// The annotation of an entry that names it (image-spec, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The content of an `index.json`. Entries that are not changed are written as they were read, to the byte.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// All fields but `manifests`.
    fields: BTreeMap<String, Box<RawValue>>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    raw: Box<RawValue>,
    /// None for an entry that we cannot read, of an unknown hash function for instance.
    descriptor: Option<Descriptor>,
    tag: Option<Tag>,
    /// The name is the tag, not a full reference that ends in it.
    bare: bool,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// When it is not JSON, or has no list of manifests. An entry that is malformed is no error.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes)?;
        let manifests =
            fields.remove("manifests").ok_or_else(|| serde_json::Error::custom("missing field `manifests`"))?;
        // Go writes an empty list as `null`.
        let manifests: Option<Vec<Box<RawValue>>> = serde_json::from_str(manifests.get())?;
        let entries = manifests.unwrap_or_default().into_iter().map(Entry::parse).collect();
        Ok(Self { fields, entries })
    }

    /// The bytes of the file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let manifests: Vec<_> = self.entries.iter().map(|entry| &entry.raw).collect();
        let manifests = raw(&manifests);
        let mut fields: BTreeMap<_, _> = self.fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
        fields.insert("manifests", &manifests);
        serde_json::to_vec(&fields).expect("raw values with string keys serialize")
    }

    /// The manifests that are listed, some more than once.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &Descriptor> {
        self.entries.iter().filter_map(|entry| entry.descriptor.as_ref())
    }

    /// The manifests that no entry names, each once.
    pub(super) fn unnamed(&self) -> Vec<&Descriptor> {
        let named = self.entries.iter().filter(|entry| entry.is_named()).filter_map(Entry::digest);
        let mut seen: HashSet<&Digest> = named.collect();
        self.manifests().filter(|manifest| seen.insert(&manifest.digest)).collect()
    }

    /// The place of the first entry that we cannot read.
    pub(super) fn unreadable(&self) -> Option<usize> {
        self.entries.iter().position(|entry| entry.descriptor.is_none())
    }

    /// The first entry of a digest.
    pub(super) fn listed(&self, digest: &Digest) -> Option<&Descriptor> {
        self.manifests().find(|descriptor| descriptor.digest == *digest)
    }

    /// The manifest that a tag points to: of the entries with the bare tag, or else with a full reference.
    ///
    /// # Errors
    /// `Unknown` when they point to several.
    pub(super) fn tagged(&self, tag: &Tag) -> Result<Option<&Descriptor>> {
        for bare in [true, false] {
            let named = |entry: &&Entry| entry.bare == bare && entry.tag.as_ref() == Some(tag);
            let mut entries = self.entries.iter().filter(named).filter_map(|entry| entry.descriptor.as_ref());
            let Some(first) = entries.next() else { continue };
            if let Some(other) = entries.find(|other| other.digest != first.digest) {
                let name = |descriptor: &Descriptor| descriptor.annotations.get(REF_NAME).cloned().unwrap_or_default();
                let (one, two) = (name(first), name(other));
                let message =
                    format!("tag {tag} is ambiguous: {one:?} is {}, {two:?} is {}", first.digest, other.digest);
                return Err(Error::new(Code::Unknown, message));
            }
            return Ok(Some(first));
        }
        Ok(None)
    }

    /// Tells whether a tag points to another manifest than this one.
    pub(super) fn points_elsewhere(&self, tag: &Tag, digest: &Digest) -> bool {
        self.entries.iter().any(|entry| entry.tag.as_ref() == Some(tag) && entry.digest() != Some(digest))
    }

    /// All tags, in lexical order.
    pub(super) fn tags(&self) -> BTreeSet<Tag> {
        self.entries.iter().filter_map(|entry| entry.tag.clone()).collect()
    }

    /// Lists a manifest under its tags, or untagged if it is not listed yet; tells whether that is a change.
    pub(super) fn put(&mut self, manifest: &Descriptor, tags: &[Tag]) -> bool {
        let digest = &manifest.digest;
        let mut changed = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.digest() == Some(digest)) {
            if entry.descriptor.as_ref().is_some_and(|descriptor| descriptor.media_type != manifest.media_type) {
                entry.set("mediaType", Some(raw(&manifest.media_type)));
                changed = true;
            }
        }
        for tag in tags {
            // References that other tools wrote in full stay where they are: the bare tag wins over them.
            let names = |entry: &Entry| entry.bare && entry.tag.as_ref() == Some(tag);
            let moves = |entry: &Entry| names(entry) && entry.digest() != Some(digest);
            while let Some(at) = self.entries.iter().position(moves) {
                self.unname(at);
                changed = true;
            }
            if self.entries.iter().any(names) {
                continue;
            }
            changed = true;
            match self.entries.iter_mut().find(|entry| entry.digest() == Some(digest) && !entry.is_named()) {
                Some(entry) => entry.rename(Some(tag)),
                None => self.push(manifest, Some(tag)),
            }
        }
        if tags.is_empty() && self.listed(digest).is_none() {
            self.push(manifest, None);
            changed = true;
        }
        changed
    }

    /// Takes a tag away, from full references too, and leaves the manifest listed.
    pub(super) fn untag(&mut self, tag: &Tag) {
        while let Some(at) = self.entries.iter().position(|entry| entry.tag.as_ref() == Some(tag)) {
            self.unname(at);
        }
    }

    /// Removes all entries of a manifest; tells whether there was one.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.digest() != Some(digest));
        self.entries.len() < before
    }

    /// Removes an entry, or only its name if nothing else lists the manifest.
    fn unname(&mut self, at: usize) {
        let digest = self.entries[at].digest();
        let others = self.entries.iter().enumerate().filter(|(other, _)| *other != at);
        if others.into_iter().any(|(_, other)| other.digest() == digest) {
            self.entries.remove(at);
        } else {
            self.entries[at].rename(None);
        }
    }

    fn push(&mut self, manifest: &Descriptor, tag: Option<&Tag>) {
        let mut descriptor = manifest.clone();
        descriptor.annotations.extend(tag.map(|tag| (REF_NAME.to_owned(), tag.to_string())));
        self.entries.push(Entry {
            raw: raw(&descriptor),
            bare: tag.is_some(),
            tag: tag.cloned(),
            descriptor: Some(descriptor),
        });
    }
}

impl Default for Index {
    fn default() -> Self {
        let fields = [("schemaVersion", raw(&2)), ("mediaType", raw(&media_type::INDEX))];
        Self { fields: fields.map(|(key, value)| (key.to_owned(), value)).into(), entries: Vec::new() }
    }
}

impl Entry {
    fn parse(raw: Box<RawValue>) -> Self {
        // An array of a descriptor's fields would do for serde, but is none.
        let object = raw.get().starts_with('{').then(|| raw.get());
        let descriptor: Option<Descriptor> = object.and_then(|object| serde_json::from_str(object).ok());
        let name = descriptor.as_ref().and_then(|descriptor| descriptor.annotations.get(REF_NAME));
        let bare = name.and_then(|name| name.parse::<Tag>().ok());
        let full = || name.and_then(|name| Reference::parse_relative(name).ok()?.tag);
        Self { bare: bare.is_some(), tag: bare.clone().or_else(full), raw, descriptor }
    }

    fn digest(&self) -> Option<&Digest> {
        self.descriptor.as_ref().map(|descriptor| &descriptor.digest)
    }

    fn is_named(&self) -> bool {
        self.descriptor.as_ref().is_some_and(|descriptor| descriptor.annotations.contains_key(REF_NAME))
    }

    fn rename(&mut self, name: Option<&Tag>) {
        let mut annotations = self.descriptor.as_ref().map(|found| found.annotations.clone()).unwrap_or_default();
        match name {
            Some(name) => annotations.insert(REF_NAME.to_owned(), name.to_string()),
            None => annotations.remove(REF_NAME),
        };
        self.set("annotations", (!annotations.is_empty()).then(|| raw(&annotations)));
    }

    /// Sets or removes a field; the others stay as they are, to the byte.
    fn set(&mut self, field: &str, value: Option<Box<RawValue>>) {
        let fields = serde_json::from_str(self.raw.get());
        let mut fields: BTreeMap<String, Box<RawValue>> = fields.expect("an entry with a descriptor is an object");
        match value {
            Some(value) => fields.insert(field.to_owned(), value),
            None => fields.remove(field),
        };
        *self = Self::parse(raw(&fields));
    }
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("values with string keys serialize")
}
