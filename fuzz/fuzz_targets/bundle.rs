//! Bundles of strangers: none holds for what nobody signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_trust::fuzzing::bundle;

fuzz_target!(|bytes: &[u8]| bundle(bytes));
