//! The target `kept_parsers` of `testkit::fuzz::targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| penstock_fuzz::run("kept_parsers", bytes));
