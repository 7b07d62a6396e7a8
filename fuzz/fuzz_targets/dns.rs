//! libFuzzer drives the target `dns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("dns", bytes));
