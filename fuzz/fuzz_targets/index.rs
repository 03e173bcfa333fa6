//! Indexes of archives: whatever is accepted can be listed and looked up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_archive::Index;
use skep_archive::Limits;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = Index::parse(bytes.to_vec().into(), &Limits::default()) else { return };
    for entry in index.entries() {
        assert_eq!(index.find(entry.path), Some(entry));
        assert!(entry.data().end <= index.data_size());
        if let Some(chunks) = entry.chunks {
            assert_eq!(chunks.iter().count(), chunks.len());
        }
    }
    for link in index.symlinks() {
        assert_eq!(index.find_symlink(link.path), Some(link));
    }
    let _ = index.children("");
});
