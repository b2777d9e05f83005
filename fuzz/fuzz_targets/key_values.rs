//! The target `key_values` of `testkit::fuzz::targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| penstock_fuzz::run("key_values", bytes));
