//! What a payload and a target say of themselves: every rule, and any bytes at all.
#![allow(clippy::expect_used)]

use osbuild_format::device::update::LIMIT_EPOCH;
use osbuild_format::payload::{Header, HeaderError, Image, ImageName, Release, Segment, LIMIT_OUTPUT_BYTES};
use osbuild_format::target::{TargetCustom, TargetCustomError};
use proptest::prelude::*;

fn image(blocks: u64, digit: char) -> Image {
    Image { size_bytes: blocks * 4096, sha256: digit.to_string().repeat(64) }
}

fn segment(image: ImageName, output_bytes: u32) -> Segment {
    let digest = "5e".repeat(32);
    let (output_sha256, stored_sha256) = (digest.clone(), digest);
    Segment { image, output_bytes, output_sha256, stored_bytes: 10, stored_sha256 }
}

fn example() -> Header {
    let release = |version: &str| Release {
        version: version.to_owned(),
        epoch: 1,
        esp: image(2, 'e'),
        root: image(3, 'a'),
        root_hash: "ab".repeat(32),
        salt: "cd".repeat(32),
    };
    Header {
        format: 1,
        product: "gateway".to_owned(),
        machine: "qemu-x86_64".to_owned(),
        from: Some(release("1.0.0")),
        to: release("1.0.1"),
        segments: vec![
            segment(ImageName::Root, 8192),
            segment(ImageName::Root, 4096),
            segment(ImageName::Esp, 4096),
            segment(ImageName::Esp, 4096),
        ],
    }
}

#[test]
fn a_header_is_read_as_it_was_written_and_places_each_segment() {
    let bytes = example().to_json().expect("valid");
    let read = Header::from_json(&bytes).expect("valid");
    assert_eq!(read, example());
    let places: Vec<(u64, u64)> = read.places().map(|(stored, output, _)| (stored, output)).collect();
    assert_eq!(places, [(0, 0), (10, 8192), (20, 0), (30, 4096)]);
    assert_eq!(read.stored_bytes(), 40);
}

#[test]
fn each_rule_of_a_header_is_kept() {
    let wrong = |change: &dyn Fn(&mut Header)| {
        let mut header = example();
        change(&mut header);
        header.to_json().expect_err("a broken rule")
    };
    let value = |error: HeaderError| match error {
        HeaderError::Value { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(value(wrong(&|h| h.product = "a b".to_owned())), "product");
    assert_eq!(value(wrong(&|h| h.machine = String::new())), "machine");
    assert_eq!(value(wrong(&|h| h.to.version = "9".repeat(129))), "version");
    assert_eq!(value(wrong(&|h| h.product = "../gateway".to_owned())), "product");
    assert_eq!(value(wrong(&|h| h.to.epoch = LIMIT_EPOCH + 1)), "epoch");
    assert_eq!(value(wrong(&|h| h.to.root_hash = "AB".repeat(32))), "root_hash");
    assert_eq!(value(wrong(&|h| h.to.salt = "abc".to_owned())), "salt");
    let long = wrong(&|h| h.to.salt = "\n".repeat(1 << 20)).to_string();
    assert!(long.len() < 400 && !long.contains('\n'), "{} bytes", long.len());
    assert_eq!(value(wrong(&|h| h.to.root.sha256 = "ab".to_owned())), "sha256");
    assert_eq!(value(wrong(&|h| h.to.root.size_bytes = 5000)), "size_bytes");
    assert_eq!(value(wrong(&|h| h.from.as_mut().expect("a delta").esp.size_bytes = 0)), "size_bytes");
    assert_eq!(value(wrong(&|h| h.segments[0].output_bytes = LIMIT_OUTPUT_BYTES + 1)), "output_bytes");
    assert_eq!(value(wrong(&|h| h.segments[0].stored_bytes = 0)), "stored_bytes");
    assert_eq!(value(wrong(&|h| h.segments[3].stored_sha256 = "x".repeat(64))), "stored_sha256");
    assert!(matches!(wrong(&|h| h.format = 2), HeaderError::Format(2)));
    assert!(matches!(wrong(&|h| h.segments.reverse()), HeaderError::Order));
    assert!(matches!(wrong(&|h| drop(h.segments.pop())), HeaderError::Gap { image: "ESP", wanted: 8192, found: 4096 }));
    assert!(matches!(wrong(&|h| h.segments[0].output_bytes = 1), HeaderError::Gap { image: "root", .. }));
}

fn custom() -> TargetCustom {
    TargetCustom {
        format: 1,
        product: "gateway".to_owned(),
        machine: "qemu-x86_64".to_owned(),
        version: "1.0.1".to_owned(),
        epoch: 1,
        to: "ab".repeat(32),
        from: None,
        header: "cd".repeat(32),
        memory_bytes: 32 << 20,
        rollout_percent: 100,
    }
}

#[test]
fn each_rule_of_a_target_is_kept_and_a_later_format_is_named() {
    let json = |custom: &TargetCustom| serde_json::to_vec(custom).expect("JSON");
    assert_eq!(TargetCustom::from_json(&json(&custom())).expect("valid"), custom());
    let field = |custom: TargetCustom| match TargetCustom::from_json(&json(&custom)) {
        Err(TargetCustomError::Value { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(TargetCustom { rollout_percent: 101, ..custom() }), "rollout_percent");
    assert_eq!(field(TargetCustom { epoch: LIMIT_EPOCH + 1, ..custom() }), "epoch");
    assert_eq!(field(TargetCustom { version: "0".repeat(129), ..custom() }), "version");
    assert_eq!(field(TargetCustom { from: Some("ab".to_owned()), ..custom() }), "from");
    assert_eq!(field(TargetCustom { header: "CD".repeat(32), ..custom() }), "header");
    assert_eq!(field(TargetCustom { epoch: 1001, ..custom() }), "epoch");
    // As long as a record of the device's state, and yet a version that can be compared.
    assert_eq!(field(TargetCustom { version: format!("1.0.{}1", "0".repeat(4096)), ..custom() }), "version");
    assert_eq!(field(TargetCustom { product: "a/b".to_owned(), ..custom() }), "product");
    let hungry = TargetCustom { memory_bytes: u64::MAX, ..custom() };
    assert_eq!(TargetCustom::from_json(&json(&hungry)).expect("read, for the device to say why not"), hungry);
    let later = br#"{"format": 7, "whatever": true}"#;
    assert!(matches!(TargetCustom::from_json(later), Err(TargetCustomError::Format(7))));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Header::from_json(&bytes).is_err() && TargetCustom::from_json(&bytes).is_err());
    }

    #[test]
    fn a_changed_byte_gives_a_valid_header_or_an_error(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = example().to_json().expect("valid");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(header) = Header::from_json(&bytes) {
            prop_assert!(header.to_json().is_ok());
        }
    }
}
