//! libFuzzer drives the target `kernel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("kernel", bytes));
