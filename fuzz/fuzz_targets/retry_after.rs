//! Requests for patience: a client waits as long as it is asked to and no longer than it bears.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::waits;

fuzz_target!(|bytes: &[u8]| waits(bytes));
