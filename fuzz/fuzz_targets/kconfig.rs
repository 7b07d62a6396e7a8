//! libFuzzer drives the target `kconfig`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("kconfig", bytes));
