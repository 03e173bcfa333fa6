//! Names, digests and references: what parses prints as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_registry::Digest;
use skep_registry::Hasher;
use skep_registry::ManifestRef;
use skep_registry::Reference;
use skep_registry::RepoName;
use skep_registry::Tag;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(hasher) = Hasher::import(bytes) {
        assert_eq!(hasher.export(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = text.parse::<RepoName>() {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains("..") && text.len() <= 255);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(Digest::from_hash(digest.algorithm(), &digest.hash()).expect("a hash of its length"), digest);
    }
    if let Ok(reference) = text.parse::<ManifestRef>() {
        assert_eq!(reference.to_string(), text);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
    if let Ok(reference) = Reference::parse_relative(text) {
        assert_eq!(reference.to_string().parse::<Reference>().expect("it is complete now"), reference);
    }
});
