//! libFuzzer drives the target `config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("config", bytes));
