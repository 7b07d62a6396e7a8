//! An app's file: written and read, cut short, changed.

use super::{example, parse};
use crate::app::package::*;
use proptest::prelude::*;

#[test]
fn a_file_is_as_long_as_its_manifest_says() {
    let manifest = parse(&example()).expect("the example is valid");
    assert_eq!(file_bytes(&manifest), 4096 * (17 + 7 + 1 + 1));
    let head = head(b"{}").expect("it fits");
    assert_eq!(envelope(&head), Ok(&b"{}"[..]));
}

const HEAD_BYTES: usize = IMAGE_OFFSET as usize;

#[test]
fn what_is_cut_short_or_changed_is_refused() {
    let whole = head(b"{}").expect("it fits");
    assert_eq!(whole.len(), HEAD_BYTES);
    for length in [0, 1, 15, HEADER_BYTES, HEAD_BYTES - 1] {
        assert_eq!(envelope(&whole[..length]), Err(PackageError::Short(length)));
    }
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        envelope(&bytes).map(<[u8]>::to_vec)
    };
    assert_eq!(changed(0, b'o'), Err(PackageError::Magic));
    assert_eq!(changed(7, b'1'), Err(PackageError::Magic));
    assert_eq!(changed(8, 2), Err(PackageError::Version(2)));
    assert_eq!(changed(12, 0), Err(PackageError::Envelope(0)));
    assert_eq!(changed(15, 1), Err(PackageError::Envelope(0x0100_0002)));
    // Beside the length, after it in the header, right after the envelope, at the end.
    for at in [16, HEADER_BYTES - 1, HEADER_BYTES + 2, HEAD_BYTES - 1] {
        assert_eq!(changed(at, 1), Err(PackageError::Padding), "{at}");
    }
    assert_eq!(changed(HEADER_BYTES, b'['), Ok(b"[}".to_vec()));
}

#[test]
fn an_envelope_fills_its_place_at_most() {
    let full = vec![b'x'; ENVELOPE_BYTES];
    assert_eq!(envelope(&head(&full).expect("it fits")), Ok(&full[..]));
    let more = vec![b'x'; ENVELOPE_BYTES + 1];
    assert_eq!(head(&more), Err(PackageError::Envelope(ENVELOPE_BYTES as u64 + 1)));
    assert_eq!(head(b""), Err(PackageError::Envelope(0)));
    // The longest manifest that is read fits with base64, type, key and signature around it.
    let longest = crate::dsse::unsigned(crate::app::PAYLOAD_TYPE, &vec![b' '; crate::app::LIMIT_BYTES]);
    assert!(longest.len() + 1024 < ENVELOPE_BYTES, "{}", longest.len());
}

#[test]
fn a_file_of_another_size_is_refused() {
    let manifest = parse(&example()).expect("the example is valid");
    let wanted = file_bytes(&manifest);
    assert_eq!(check_size(&manifest, wanted), Ok(()));
    assert_eq!(image_bytes(&manifest), wanted - IMAGE_OFFSET);
    for found in [0, wanted - 1, wanted + 1, wanted + 4096] {
        assert_eq!(check_size(&manifest, found), Err(PackageError::Size { wanted, found }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_packed_is_unpacked(bytes in prop::collection::vec(any::<u8>(), 1..3000), rest in 0..5000_usize) {
        let mut file = head(&bytes).expect("it fits");
        file.resize(HEAD_BYTES + rest, 7);
        prop_assert_eq!(envelope(&file), Ok(&bytes[..]));
    }

    #[test]
    fn a_head_has_one_spelling(bytes in prop::collection::vec(any::<u8>(), 1..50), at in 0..HEAD_BYTES, bit in 0..8_u8) {
        let mut file = head(&bytes).expect("it fits");
        file[at] ^= 1 << bit;
        if let Ok(read) = envelope(&file) {
            prop_assert_eq!(head(read).expect("it fits"), file);
        }
    }
}
