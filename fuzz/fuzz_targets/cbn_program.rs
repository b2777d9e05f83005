//! The target `cbn_program` of `testkit::fuzz::targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| penstock_fuzz::run("cbn_program", bytes));
