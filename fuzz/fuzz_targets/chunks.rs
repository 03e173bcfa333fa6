//! Tables of chunks: what adds up is read in any part, the rest is refused or has its hash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_archive::fuzzing::chunks;

fuzz_target!(|bytes: &[u8]| chunks(bytes));
