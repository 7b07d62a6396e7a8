//! libFuzzer drives the target `elf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("elf", bytes));
