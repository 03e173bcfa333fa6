//! Challenges of registries: what is read prints as what reads the same, and leads to no doubtful token server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::fuzzing::challenges;

fuzz_target!(|bytes: &[u8]| {
    challenges(bytes);
    // One that has somewhere to lead to.
    challenges(&[&b"Bearer scope=\"repository:a:pull\",realm=\"https:"[..], bytes].concat());
});
