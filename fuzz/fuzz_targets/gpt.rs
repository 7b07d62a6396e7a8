//! libFuzzer drives the target `gpt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("gpt", bytes));
