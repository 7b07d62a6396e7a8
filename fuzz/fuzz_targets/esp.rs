//! libFuzzer drives the target `esp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("esp", bytes));
