//! Sessions with a server: what was acknowledged is there, what was refused or deleted is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::session;

fuzz_target!(|bytes: &[u8]| session(bytes));
