//! libFuzzer drives the target `app`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("app", bytes));
