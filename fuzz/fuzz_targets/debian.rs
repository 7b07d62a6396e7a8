//! Any text as a package index, a release, a relation and a signed message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osbuild::tools::debian::{index::Index, relation, release, resolve, signature, version};

fuzz_target!(|bytes: &[u8]| {
    let _ = signature::verify(bytes, &[]);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = (relation::parse(text), release::parse(text, "bookworm"));
    if let Some((left, right)) = text.split_once('\n') {
        assert_eq!(version::compare(left, right), version::compare(right, left).reverse());
    }
    let mut index = Index::default();
    if index.add("bookworm", text).is_ok() {
        let names: Vec<String> = index.names().map(str::to_owned).collect();
        let _ = resolve::resolve(&index, &names, &[]);
    }
});
