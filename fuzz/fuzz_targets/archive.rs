//! Any bytes as an archive: it is unpacked within limits or refused, and what is unpacked is a valid tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osbuild::io::store::Store;
use osbuild::tools::archive::{unpack_within, Limits};

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let blob = store.put_bytes(bytes).expect("kept");
    let limits = Limits { total_bytes: 1 << 20, file_bytes: 1 << 20, entries: 1000, ..Limits::default() };
    if let Ok(tree) = unpack_within(&store, &blob, 0, None, &limits) {
        store.walk(&tree).expect("every path of a tree is valid");
    }
});
