//! `Memory` keeps every promise of the trait.
#![cfg(feature = "conformance")]

use skep_registry::Memory;

skep_registry::conformance_tests!((Memory::default(), ()));
