//! Ranges of blobs: what is read prints as what reads the same, and is never beyond the content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::ranges;

fuzz_target!(|input: (&str, u64)| ranges(input.0, input.1));
