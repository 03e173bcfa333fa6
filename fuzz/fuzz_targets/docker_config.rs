//! Docker's configuration: malformed ones are errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_http::DockerConfig;

fuzz_target!(|text: &str| {
    let _ = DockerConfig::from_json(text);
});
