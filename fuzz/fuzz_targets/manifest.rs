//! Manifests: whatever is read as one can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_archive::ArchiveManifest;
use skep_registry::Manifest;
use skep_registry::media_type;

fuzz_target!(|bytes: &[u8]| {
    for kind in [media_type::IMAGE, media_type::INDEX, media_type::DOCKER_IMAGE, media_type::DOCKER_INDEX] {
        let manifest = Manifest::new(kind, bytes.to_vec());
        let _ = ArchiveManifest::parse(&manifest);
        let Ok(content) = manifest.content() else { continue };
        let _ = content.require(|_| true, |_| true);
        let again = Manifest::new(kind, content.to_bytes());
        assert_eq!(again.content().expect("what was written is a manifest"), content);
    }
});
