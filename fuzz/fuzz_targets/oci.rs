//! The target `oci` of `testkit::fuzz::targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| penstock_fuzz::run("oci", bytes));
