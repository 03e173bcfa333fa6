//! Answers of token servers: tokens end within a day and are never printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::tokens;

fuzz_target!(|bytes: &[u8]| tokens(bytes));
