//! libFuzzer drives the target `payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("payload", bytes));
