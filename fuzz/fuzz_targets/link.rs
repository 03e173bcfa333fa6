//! Links to the next page of a list, and warnings: none leads to another registry or steers a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::links;

fuzz_target!(|bytes: &[u8]| links(bytes));
