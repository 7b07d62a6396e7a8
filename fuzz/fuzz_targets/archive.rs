//! libFuzzer drives the target `archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("archive", bytes));
