//! Envelopes and payloads of the older format: what is made of them is a bundle like others, or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_trust::fuzzing::dsse;

fuzz_target!(|bytes: &[u8]| dsse(bytes));
