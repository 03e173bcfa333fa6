//! Paths of requests: what is read prints as what reads the same, and leads nowhere else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::paths;

fuzz_target!(|text: &str| paths(text));
