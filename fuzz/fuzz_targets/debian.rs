//! libFuzzer drives the target `debian`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("debian", bytes));
