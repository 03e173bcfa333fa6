//! Addresses: what parses prints as what parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep::Address;

fuzz_target!(|text: &str| {
    if let Ok(address) = text.parse::<Address>() {
        let printed = address.to_string();
        assert_eq!(printed.parse::<Address>().expect("what was printed parses"), address);
    }
});
