//! libFuzzer drives the target `resolver`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("resolver", bytes));
