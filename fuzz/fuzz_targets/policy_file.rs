//! Policy files: what is taken allows nothing that nobody signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_trust::fuzzing::policy_file;

fuzz_target!(|bytes: &[u8]| policy_file(bytes));
