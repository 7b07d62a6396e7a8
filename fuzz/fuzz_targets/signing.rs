//! libFuzzer drives the target `signing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("signing", bytes));
