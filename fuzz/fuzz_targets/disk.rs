//! libFuzzer drives the target `disk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("disk", bytes));
