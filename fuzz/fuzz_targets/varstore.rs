//! libFuzzer drives the target `varstore`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("varstore", bytes));
