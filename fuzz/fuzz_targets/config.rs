//! YAML, the lock and templates of any text: an answer, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osbuild::config::{lock, yaml};
use osbuild::template::{self, Context};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(tree) = yaml::parse(text, &"fuzz.yaml".into(), yaml::Limits::FILE) {
        let written = yaml::document(&tree, true);
        let _ = yaml::parse(&written, &"fuzz.yaml".into(), yaml::Limits::FILE);
    }
    if let Ok(read) = lock::parse(text, "osbuild.lock") {
        assert_eq!(lock::parse(&lock::emit(&read), "osbuild.lock"), Ok(read));
    }
    let _ = template::render(text, "fuzz", &Context::new());
});
