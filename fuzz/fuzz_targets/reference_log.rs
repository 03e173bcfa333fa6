//! Logs and policies of gittuf: what is understood says what stands there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_trust::fuzzing::reference_log;

fuzz_target!(|bytes: &[u8]| reference_log(bytes));
