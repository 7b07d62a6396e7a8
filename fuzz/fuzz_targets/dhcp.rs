//! libFuzzer drives the target `dhcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| osbuild_fuzz::run("dhcp", bytes));
