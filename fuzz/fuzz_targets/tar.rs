//! Tar archives: any bytes are an archive that can be opened, or an error.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use skep_archive::Archive;
use skep_archive::BuildOptions;
use skep_archive::Limits;

fuzz_target!(|bytes: &[u8]| {
    // What is compressed may be large when it is unpacked.
    let limits = Limits { file: 1 << 20, entries: 1000, ..Limits::default() };
    let options = BuildOptions { limits: limits.clone(), workers: 1, ..BuildOptions::default() };
    let Ok(built) = skep_archive::build_tar(bytes, &options, &|_| {}) else { return };
    let archive = Archive::new(built.index().clone(), Arc::new(built.source()), limits).expect("what was built opens");
    assert_eq!(archive.entries().len() as u64, built.summary().files);
});
