//! Any bytes as the flash of a virtual board's firmware: what is read can be written and read again, equal.

use osbuild::tools::board::varstore::{format, Guid, Variable, VariableStore};

pub fn run(bytes: &[u8]) {
    let Ok(store) = VariableStore::read(bytes.to_vec()) else { return };
    let _ = (store.boot_order(), store.boot_next(), store.boot_entries());
    if let Ok(written) = store.write() {
        let again = VariableStore::read(written).expect("what is written can be read");
        assert_eq!(again.variables(), store.variables());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut store = VariableStore::read(empty()).expect("an empty store");
    for (name, data) in [
        ("BootOrder", vec![1, 0, 2, 0]),
        ("Boot0001", b"\x01\0\0\0\x04\0a\0\0\0\x7f\xff\x04\0".to_vec()),
        ("X", vec![7; 40]),
    ] {
        let vendor = boot_vendor();
        store.set(Variable { vendor, name: name.into(), attributes: 7, time: [0; 16], data });
    }
    vec![empty(), store.write().expect("there is room")]
}

/// `EFI_GLOBAL_VARIABLE`.
fn boot_vendor() -> Guid {
    Guid([0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c])
}

fn empty() -> Vec<u8> {
    use format::*;
    let (start, area) = (0x48 + STORE_HEADER_SIZE, 1024);
    let mut image = vec![ERASED; start + area + 64];
    image[..0x48].fill(0);
    let length = (image.len() as u64).to_le_bytes();
    let size = ((area + STORE_HEADER_SIZE) as u32).to_le_bytes();
    for (at, bytes) in [
        (VOLUME_GUID, &FIRMWARE_VOLUME.0[..]),
        (VOLUME_LENGTH, &length),
        (VOLUME_SIGNATURE, b"_FVH"),
        (VOLUME_HEADER_LENGTH, &[0x48, 0]),
        (0x48, &AUTHENTICATED_STORE.0),
        (0x48 + STORE_SIZE, &size),
        (0x48 + STORE_FORMAT, &[STORE_FORMATTED]),
        (0x48 + STORE_STATE, &[STORE_HEALTHY]),
    ] {
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    image
}
