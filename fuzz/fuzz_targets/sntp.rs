//! libFuzzer drives the target `sntp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("sntp", bytes));
