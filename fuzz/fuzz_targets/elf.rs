//! Any file of a package: what it needs to run is read or refused, in bounded memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osbuild::tree::check::elf;

fuzz_target!(|bytes: &[u8]| {
    let _ = elf::needs(bytes);
});
