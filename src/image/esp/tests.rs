//! File systems made by the real code, and then damaged.

use super::{read, volume_id, write, EspError};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::io::Cursor;
use std::sync::OnceLock;

const PATH: &str = "EFI/BOOT/BOOTX64.EFI";
/// FAT16 and FAT32.
const SIZES: [usize; 2] = [8 << 20, 64 << 20];

fn content() -> Vec<u8> {
    (0..100_000).map(|i| (i / 7 % 251) as u8).collect()
}

fn make(size: usize) -> Vec<u8> {
    let mut image = vec![0; size];
    write(Cursor::new(&mut image[..]), size as u64, volume_id(b"x"), &[(PATH, &content())]).expect("written");
    image
}

fn small() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| make(SIZES[0]))
}

fn offset_of(image: &[u8], name: &[u8; 11]) -> usize {
    image.windows(11).position(|window| window == name).expect("an entry")
}

#[test]
fn what_is_written_is_read_and_the_bytes_are_always_the_same() {
    // fsck.fat 4.2 finds nothing to mend in both, and mtools 4 reads the file.
    let pinned = [
        "6b173d09402be03d4df19e7fd7f451ea76e1a2651ddbffba8f18e78c5d564b50",
        "9c5021ebdf01175d7813ed29e7d22c4763cb40b3e350cded8bda239c04478b5e",
    ];
    for (size, pinned) in SIZES.into_iter().zip(pinned) {
        let image = make(size);
        assert_eq!(hex::encode(Sha256::digest(&image)), pinned, "{size} bytes");
        assert_eq!(read(&image, PATH, 1 << 20).expect("read"), content());
        assert!(matches!(read(&image, PATH, 99_999), Err(EspError::TooLarge { .. })));
        for absent in ["EFI", "EFI/BOOT", "EFI/BOOT/BOOTAA64.EFI", "BOOTX64.EFI", "", "/", "efi/boot/bootx64.efi"] {
            assert!(matches!(read(&image, absent, 1 << 20), Err(EspError::Absent(_))), "{absent}");
        }
    }
}

/// `fatfs` picks the size of clusters, and their number decides which kind of FAT a reader sees.
#[test]
fn every_size_is_read_as_the_kind_that_it_was_written_as() {
    for mib in [5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 259, 261] {
        let size = mib << 20;
        let written = write(Cursor::new(&mut vec![0; size - 1][..]), size as u64 - 1, 1, &[(PATH, b"x")]);
        assert_eq!(written.is_err(), mib == 5, "{mib} MiB less a byte: {written:?}");
        assert_eq!(read(&make(size), PATH, 1 << 20).expect("read"), content(), "{mib} MiB");
    }
    let error = write(Cursor::new(vec![0; 4 << 20]), 4 << 20, 1, &[(PATH, b"x")]).expect_err("too small");
    assert!(error.to_string().contains("`partitions.esp`"), "{error}");
}

#[test]
fn an_overflow_names_both_sizes() {
    let size = SIZES[0];
    let files: &[(&str, &[u8])] = &[("A", &vec![0; size])];
    let error = write(Cursor::new(vec![0; size]), size as u64, 1, files).expect_err("too large");
    assert!(matches!(error, EspError::Overflow { needed_bytes: n, size_bytes: s } if (n, s) == (8 << 20, 8 << 20)));
    let error = write(Cursor::new(vec![0; size]), size as u64, 1, &[("EFI/a long name", b"")]).expect_err("no name");
    assert!(matches!(error, EspError::Name(_)), "{error}");
}

/// A folder whose chain is a circle, all of it entries that are something else.
#[test]
fn a_folder_in_a_circle_ends() {
    let mut image = small().to_vec();
    let (table, tables) = (512, 2);
    let entry = offset_of(&image, b"EFI        ");
    let cluster = usize::from(image[entry + 26]);
    let table_bytes = usize::from(u16::from_le_bytes([image[22], image[23]])) * 512;
    let root = table + tables * table_bytes;
    let data = root + usize::from(u16::from_le_bytes([image[17], image[18]])) * 32;
    let cluster_bytes = usize::from(image[13]) * 512;
    let start = data + (cluster - 2) * cluster_bytes;
    image[start..start + cluster_bytes].fill(b'X');
    image[table + cluster * 2..table + cluster * 2 + 2].copy_from_slice(&(cluster as u16).to_le_bytes());
    assert!(matches!(read(&image, PATH, 1 << 20), Err(EspError::Absent(_))));
}

#[test]
fn chains_that_leave_the_file_system_are_refused() {
    for cluster in [0_u16, 1, 0xfff0, 0xffff] {
        let mut image = small().to_vec();
        let entry = offset_of(&image, b"BOOTX64 EFI");
        image[entry + 26..entry + 28].copy_from_slice(&cluster.to_le_bytes());
        assert!(matches!(read(&image, PATH, 1 << 20), Err(EspError::Damaged(_))), "{cluster}");
        image[entry + 28..entry + 32].fill(0xff);
        assert!(matches!(read(&image, PATH, u64::MAX), Err(EspError::Damaged(_))), "{cluster}");
    }
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(
        damage in proptest::collection::vec((0usize..64, any::<u8>()), 1..12), at in 0usize..70_000, cut: Option<u16>,
    ) {
        let end = cut.map_or(small().len(), usize::from);
        let mut image = small()[..end].to_vec();
        for (offset, value) in damage {
            // Half of it in the boot sector, half anywhere in the tables and folders.
            for place in [offset, at + offset] {
                if let Some(byte) = image.get_mut(place) {
                    *byte = value;
                }
            }
        }
        if let Ok(content) = read(&image, PATH, 1 << 20) {
            prop_assert!(content.len() <= 1 << 20);
        }
    }
}
