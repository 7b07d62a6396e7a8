use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const DISK_SECTORS: u64 = 64 * 2048;

fn partition(name: &str, type_guid: Guid, first_lba: u64, last_lba: u64) -> Partition {
    let guid = Guid::derive("gateway", name, &[7; 32]);
    Partition { type_guid, guid, name: name.into(), first_lba, last_lba, attributes: 0 }
}

fn layout() -> Layout {
    let mut root = partition("root-a", types::ROOT_X86_64, 6144, 22527);
    root.attributes = attributes::READ_ONLY;
    Layout {
        disk_guid: Guid::derive("gateway", "disk", &[7; 32]),
        partitions: vec![
            partition("esp-a", types::ESP, 2048, 6143),
            root,
            partition("verity-a", types::ROOT_VERITY_X86_64, 22528, 24575),
            partition("data", types::LINUX_GENERIC, 24576, 63 * 2048 - 1),
        ],
    }
}

#[test]
fn the_dump_is_golden() {
    let expected = "\
disk 988f10f1-1ba9-8666-8065-6c6fc3b60d28
1 \"esp-a\" esp a7599a72-52ce-8b97-b2ea-7c1dc9188c51 sectors 2048..=6143 (2097152 bytes) attributes 0000000000000000
2 \"root-a\" root-x86-64 f76d1084-edb1-8a55-919c-2bf897b95c28 sectors 6144..=22527 (8388608 bytes) attributes 1000000000000000
3 \"verity-a\" root-x86-64-verity 1b94331e-88f3-8bf5-a1b1-d1a2130e71c7 sectors 22528..=24575 (1048576 bytes) attributes 0000000000000000
4 \"data\" linux-generic 0e488237-0b08-8925-b865-d08d238490d9 sectors 24576..=129023 (53477376 bytes) attributes 0000000000000000
";
    assert_eq!(dump(&layout()), expected);
}

#[test]
fn the_bytes_are_pinned() {
    let encoded = encode(&layout(), DISK_SECTORS).expect("a valid layout");
    let mut hash = Sha256::new();
    hash.update(&encoded.start);
    hash.update(&encoded.end);
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "a9d721744bd98215e865ce7b3928b084cd0b28d585413c58ba6de160bfdf5ce3");
}

#[test]
fn guids_read_and_print_as_firmware_and_linux_write_them() {
    let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    assert_eq!(text.parse(), Ok(types::ESP));
    assert_eq!(text.to_uppercase().parse(), Ok(types::ESP));
    assert_eq!(types::ESP.to_string(), text);
    assert_eq!(types::ESP.0[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
    for bad in [
        "",
        "c12a7328f81f11d2ba4b00a0c93ec93b",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
        "é12a7328-f81f-11d2-ba4b-00a0c93ec93",
    ] {
        assert!(bad.parse::<Guid>().is_err(), "{bad}");
    }
    assert_ne!(Guid::derive("a", "bc", b""), Guid::derive("ab", "c", b""), "fields are framed");
}

#[test]
fn both_copies_come_back_and_one_flipped_bit_anywhere_is_found() {
    let encoded = encode(&layout(), DISK_SECTORS).expect("a valid layout");
    let primary = parse_primary(&encoded.start).expect("its own bytes");
    assert_eq!(primary, Table { layout: layout(), disk_sectors: DISK_SECTORS });
    assert_eq!(parse_backup(&encoded.end), Ok(primary));
    assert_eq!(parse_exact(&encoded.start, &encoded.end, DISK_SECTORS), Ok(layout()));
    for bit in 0..START_BYTES * 8 {
        let mut start = encoded.start.clone();
        start[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_exact(&start, &encoded.end, DISK_SECTORS).is_err(), "start, bit {bit}");
    }
    for bit in 0..END_BYTES * 8 {
        let mut end = encoded.end.clone();
        end[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_exact(&encoded.start, &end, DISK_SECTORS).is_err(), "end, bit {bit}");
    }
}

#[test]
fn rules_name_the_partitions_that_break_them() {
    type Change = fn(&mut Layout);
    let cases: [(Change, &str); 7] = [
        (|l| l.partitions[1].first_lba = 6000, "partitions `esp-a` and `root-a` overlap at sector 6000"),
        (|l| l.partitions[3].guid = l.partitions[0].guid, "partitions `esp-a` and `data` have the same GUID"),
        (|l| l.partitions[0].first_lba = 33, "partition `esp-a` (sectors 33 to 6143) is not inside sectors 34 to"),
        (|l| l.partitions[3].last_lba = DISK_SECTORS, "partition `data` (sectors 24576 to 131072) is not inside"),
        (|l| l.partitions[3].last_lba = 24575, "partition `data` (sectors 24576 to 24575) is not inside"),
        (|l| l.partitions[2].name = "x".repeat(37), "the name of partition 3"),
        (|l| l.partitions[2].guid = Guid::ZERO, "partition `verity-a` has a type or GUID of zero"),
    ];
    for (change, expected) in cases {
        let mut layout = layout();
        change(&mut layout);
        let error = encode(&layout, DISK_SECTORS).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(matches!(encode(&layout(), 60), Err(GptError::DiskSize { .. })));
}

/// A disk of `sectors` zeros with `encoded` written where it belongs: its first and last bytes.
fn ends(encoded: &Encoded, sectors: u64) -> (Vec<u8>, Vec<u8>) {
    let at_end = encoded.end_lba + END_SECTORS == sectors;
    (encoded.start.clone(), if at_end { encoded.end.clone() } else { vec![0; END_BYTES] })
}

#[test]
fn growing_fills_the_disk_survives_a_torn_write_and_is_done_once() {
    let larger = 100 * 2048 + 5;
    let before = encode(&layout(), DISK_SECTORS).expect("a valid layout");
    let (start, end) = ends(&before, larger);
    let grown = grow(&start, &end, larger).expect("grown");
    assert_eq!((grown.last, grown.layout.partitions[3].last_lba), (3, 99 * 2048 - 1));
    assert_eq!(grown.layout.partitions[..3], layout().partitions[..3]);
    let write = grown.write.expect("there is something to write");

    // Power fails after the end is written and half of the start.
    let mut torn = start.clone();
    torn[..1024].copy_from_slice(&write.start[..1024]);
    let again = grow(&torn, &write.end, larger).expect("the backup stands in");
    assert_eq!(again.write.as_ref(), Some(&write));

    let done = grow(&write.start, &write.end, larger).expect("grown already");
    assert_eq!((done.write, done.layout), (None, again.layout));
    assert!(matches!(grow(&start, &end, 2048), Err(GptError::Shrunk { .. })));
    assert!(matches!(grow(&[0; START_BYTES], &[0; END_BYTES], larger), Err(GptError::NoProtectiveMbr)));
}

/// Up to 12 partitions in order, with gaps, and the disk they fit on.
fn layouts() -> impl Strategy<Value = (Layout, u64)> {
    let one = (1_u64..5000, 1_u64..5000, "[a-zé𝄞]{0,18}", any::<u64>(), any::<[u8; 16]>());
    (proptest::collection::vec(one, 0..12), any::<[u8; 16]>(), 1_u64..9000).prop_map(|(parts, disk, spare)| {
        let mut next = START_SECTORS;
        let mut partitions = Vec::new();
        for (index, (gap, length, name, attributes, type_guid)) in parts.into_iter().enumerate() {
            let first_lba = next + gap;
            let last_lba = first_lba + length - 1;
            next = last_lba + 1;
            let guid = Guid::derive("p", &index.to_string(), &[]);
            let type_guid = if type_guid == [0; 16] { types::ESP } else { Guid(type_guid) };
            partitions.push(Partition { type_guid, guid, name, first_lba, last_lba, attributes });
        }
        (Layout { disk_guid: Guid(disk), partitions }, next + spare + END_SECTORS)
    })
}

proptest! {
    #[test]
    fn every_valid_layout_comes_back((layout, sectors) in layouts()) {
        let encoded = encode(&layout, sectors).expect("a valid layout");
        prop_assert_eq!(parse_exact(&encoded.start, &encoded.end, sectors), Ok(layout));
    }

    #[test]
    fn a_grown_table_is_exact_and_keeps_the_rest((layout, sectors) in layouts(), more in 0_u64..100_000) {
        let encoded = encode(&layout, sectors).expect("a valid layout");
        let (start, end) = ends(&encoded, sectors + more);
        if let Ok(Grown { layout: grown, last, write }) = grow(&start, &end, sectors + more) {
            let written = write.unwrap_or(encoded);
            prop_assert_eq!(parse_exact(&written.start, &written.end, sectors + more), Ok(grown.clone()));
            let mut shrunk = grown;
            prop_assert!(shrunk.partitions[last].last_lba >= layout.partitions[last].last_lba);
            shrunk.partitions[last].last_lba = layout.partitions[last].last_lba;
            prop_assert_eq!(shrunk, layout);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..START_BYTES + 10), sectors: u64) {
        let _ = (parse_primary(&bytes), parse_backup(&bytes), parse_exact(&bytes, &bytes, sectors), grow(&bytes, &bytes, sectors));
    }

    /// Damage behind valid checksums: what an attacker would write.
    #[test]
    fn no_field_behind_a_valid_checksum_makes_a_reader_panic(changes in proptest::collection::vec((0_usize..256, any::<u8>()), 0..24), sectors: u64) {
        let mut bytes = encode(&layout(), DISK_SECTORS).expect("a valid layout").start;
        for (at, value) in changes {
            let at = if at < 92 { 512 + at } else { 1024 + at - 92 };
            bytes[at] = value;
        }
        let entries_crc = crc32fast::hash(&bytes[1024..]);
        bytes[512 + 88..512 + 92].copy_from_slice(&entries_crc.to_le_bytes());
        let crc = format::header_crc(&bytes[512..1024]);
        bytes[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
        if let Ok(table) = parse_primary(&bytes) {
            prop_assert!(table.layout.check(table.disk_sectors).is_ok());
        }
        let _ = grow(&bytes, &bytes, sectors);
    }
}
