//! libFuzzer drives the target `device`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("device", bytes));
