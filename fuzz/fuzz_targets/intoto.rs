//! Statements: what is about a subject names its digest, and what is written reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_trust::fuzzing::intoto;

fuzz_target!(|bytes: &[u8]| intoto(bytes));
