//! libFuzzer drives the target `repository`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("repository", bytes));
