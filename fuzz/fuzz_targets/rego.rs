//! Policies in Rego and what they decide by: each ends in time, and none allows what it denies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_trust::fuzzing::rego;

fuzz_target!(|bytes: &[u8]| rego(bytes));
