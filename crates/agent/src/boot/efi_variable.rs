//! EFI variables as the kernel's efivarfs shows them: four bytes of attributes, then the value.
//!
//! Invariant: a value comes back whole, or not at all.

use osbuild_format::gpt::Guid;

/// No variable that we read is longer.
pub const LIMIT_BYTES: usize = 1024;

/// Variables of the Boot Loader Interface, written by systemd-stub.
pub const LOADER_DEVICE: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
pub const LOADER_STARTED: &str = "LoaderTimeExecUSec-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
pub const LOADER_INITIALISED: &str = "LoaderTimeInitUSec-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// UEFI 2.10 section 3.3.
pub const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

fn value(file: &[u8]) -> Option<&[u8]> {
    file.get(4..)
}

/// A variable of one byte that is a switch.
pub fn switch(file: &[u8]) -> Option<bool> {
    match value(file)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

/// UTF-16 text up to the first NUL.
pub fn text(file: &[u8]) -> Option<String> {
    let value = value(file).filter(|v| v.len() % 2 == 0 && v.len() <= LIMIT_BYTES)?;
    let units = value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take_while(|u| *u != 0);
    char::decode_utf16(units).collect::<Result<String, _>>().ok()
}

/// A GUID in its text form.
pub fn guid(file: &[u8]) -> Option<Guid> {
    text(file)?.parse().ok()
}

/// A decimal number of microseconds.
pub fn microseconds(file: &[u8]) -> Option<u64> {
    text(file)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> Vec<u8> {
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        bytes
    }

    #[test]
    fn a_guid_is_read_with_or_without_its_final_nul() {
        let wanted = "01234567-89ab-cdef-0123-456789abcdef".parse().ok();
        assert!(wanted.is_some());
        assert_eq!(guid(&file("01234567-89AB-CDEF-0123-456789ABCDEF\0")), wanted);
        assert_eq!(guid(&file("01234567-89AB-CDEF-0123-456789ABCDEF")), wanted);
        for bad in ["", "01234567-89AB-CDEF-0123-456789ABCDE", "01234567x89AB-CDEF-0123-456789ABCDEF", "é"] {
            assert_eq!(guid(&file(bad)), None, "{bad}");
        }
    }

    #[test]
    fn switches_and_times() {
        assert_eq!(switch(&[6, 0, 0, 0, 1]), Some(true));
        assert_eq!(switch(&[6, 0, 0, 0, 2]), None);
        assert_eq!(switch(&[6, 0, 0, 0]), None);
        assert_eq!(microseconds(&file("1234\0")), Some(1234));
        assert_eq!(microseconds(&file("-1\0")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (guid(&bytes), switch(&bytes), microseconds(&bytes));
        }
    }
}
