//! Ranges of parts, of chunks and of uploads: what is read prints as what reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::content_ranges;

fuzz_target!(|text: &str| content_ranges(text));
