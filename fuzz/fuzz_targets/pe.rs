//! libFuzzer drives the target `pe`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("pe", bytes));
