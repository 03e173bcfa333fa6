//! Frames: whatever is stored and claimed, what is read is the content, or there is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_archive::fuzzing::frames;

fuzz_target!(|bytes: &[u8]| frames(bytes));
