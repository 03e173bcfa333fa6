//! Addresses that registries name: a client goes from nowhere to where it should not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::locations;

fuzz_target!(|input: (u8, u8, &str)| locations(input.0, input.1, input.2));
