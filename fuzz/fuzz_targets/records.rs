//! libFuzzer drives the target `records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("records", bytes));
