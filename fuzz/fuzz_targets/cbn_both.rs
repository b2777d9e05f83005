//! The target `cbn_both` of `testkit::fuzz::targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| penstock_fuzz::run("cbn_both", bytes));
