//! libFuzzer drives the target `update`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("update", bytes));
