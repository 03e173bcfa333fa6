//! Provenance: a rule that asks for one repository takes no other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_trust::fuzzing::slsa;

fuzz_target!(|bytes: &[u8]| slsa(bytes));
