use super::*;
use crate::io::file;
use crate::model::machine::{Architecture, PartitionSizes};
use crate::model::Digest;
use osbuild_format::gpt;
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const MIB: u64 = 1 << 20;
const SIZES: PartitionSizes =
    PartitionSizes { esp_bytes: 2 * MIB, root_bytes: 3 * MIB, verity_bytes: MIB, data_bytes: 4 * MIB };

fn payload(folder: &Path, name: &str, bytes: &[u8]) -> Payload {
    let path = folder.join(name);
    file::write_atomic(&path, bytes, 0o644).expect("written");
    Payload { path, digest: Digest::of(bytes) }
}

/// Something, zeros, something: with a tail that is not a whole block.
fn root_bytes() -> Vec<u8> {
    let mut bytes = vec![0; 2 * MIB as usize + 100];
    bytes[5] = 1;
    bytes[MIB as usize + 7] = 2;
    *bytes.last_mut().expect("not empty") = 3;
    bytes
}

fn disk(folder: &Path) -> Disk {
    let contents = SlotContents {
        esp: payload(folder, "esp", &[0x11; 5000]),
        root: payload(folder, "root", &root_bytes()),
        verity: payload(folder, "verity", &[0x22; 4096]),
        data: payload(folder, "data", &vec![0; 4 * MIB as usize]),
    };
    standard("gateway", &[9; 32], Architecture::X86_64, &SIZES, Some(contents))
}

#[test]
fn a_disk_has_its_table_its_parts_and_holes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let assembled = assemble(folder.path(), &disk(folder.path())).expect("assembled");
    let path = folder.path().join(DISK_IMAGE);
    let bytes = file::read(&path, 100 * MIB).expect("read");
    assert_eq!(bytes.len() as u64, (1 + 2 * (2 + 3 + 1) + 4 + 1) * MIB);
    assert_eq!(assembled.disk_image, Digest::of(&bytes));
    let end = &bytes[bytes.len() - gpt::END_BYTES..];
    assert_eq!(gpt::parse_exact(&bytes, end, assembled.disk_sectors).as_ref(), Ok(&assembled.layout));
    let names: Vec<&str> = assembled.layout.partitions.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["esp-a", "esp-b", "root-a", "root-b", "verity-a", "verity-b", "data"]);
    let root = assembled.layout.partitions[2].start_bytes() as usize;
    assert_eq!(bytes[root..root + root_bytes().len()], root_bytes());
    let metadata = std::fs::metadata(&path).expect("metadata");
    assert!(metadata.blocks() * 512 < MIB, "{} KiB are allocated", metadata.blocks() / 2);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o644);

    let zst = file::read(&folder.path().join(COMPRESSED), 100 * MIB).expect("read");
    assert_eq!(assembled.compressed, Digest::of(&zst));
    assert_eq!(zstd::decode_all(zst.as_slice()).expect("a frame"), bytes);
}

#[test]
fn all_bytes_are_pinned() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let assembled = assemble(folder.path(), &disk(folder.path())).expect("assembled");
    assert_eq!(assembled.disk_image.hex(), "eab5e3123e576d7f663c513c8a88bb29e7f1c966f06a3b27d59dba6b639de3f6");
}

#[test]
fn the_thread_count_does_not_change_a_byte() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = disk(folder.path());
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| assemble(folder.path(), &disk)).expect("assembled")
    };
    assert_eq!(run(1), run(2));
}

/// Flashes as bmaptool does: only what the map names, onto a device full of old bytes.
#[test]
fn flashing_by_the_map_restores_every_byte_of_every_part() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = disk(folder.path());
    let assembled = assemble(folder.path(), &disk).expect("assembled");
    assert_eq!(assembled.slots[6].used_bytes, 0, "the data partition is all zeros");
    let image = file::read(&folder.path().join(DISK_IMAGE), 100 * MIB).expect("read");
    let map = file::read_text(&folder.path().join(BLOCK_MAP)).expect("read");
    let own = map.split("<BmapFileChecksum> ").nth(1).and_then(|rest| rest.get(..64)).expect("a checksum");
    assert_eq!(Digest::of(map.replace(own, &"0".repeat(64)).as_bytes()).hex(), own);

    let mut device = vec![0xee; image.len()];
    let mut mapped = 0;
    for line in map.lines().filter_map(|line| line.trim().strip_prefix("<Range chksum=\"")) {
        let (checksum, rest) = line.split_once("\"> ").expect("a range");
        let span = rest.strip_suffix(" </Range>").expect("a range");
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let block = |text: &str| text.parse::<usize>().expect("a number");
        let bytes = block(first) * 4096..(block(last) + 1) * 4096;
        assert_eq!(Digest::of(&image[bytes.clone()]).hex(), checksum);
        mapped += bytes.len() / 4096;
        device[bytes.clone()].copy_from_slice(&image[bytes]);
    }
    assert!(map.contains(&format!("<MappedBlocksCount> {mapped} </MappedBlocksCount>")));
    assert_eq!(device[..gpt::START_BYTES], image[..gpt::START_BYTES]);
    assert_eq!(device[image.len() - gpt::END_BYTES..], image[image.len() - gpt::END_BYTES..]);
    for (slot, partition) in assembled.slots.iter().zip(&assembled.layout.partitions) {
        let start = partition.start_bytes() as usize;
        let content = disk.parts.iter().find(|part| part.label == slot.name).and_then(|part| part.content.as_ref());
        let used = content.map_or(64 << 10, |payload| payload.digest.size_bytes as usize);
        assert_eq!(device[start..start + used], image[start..start + used], "{}", slot.name);
    }
}

#[test]
fn an_overflow_shows_the_table_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut disk = disk(folder.path());
    disk.parts[2].size_bytes = 2 * MIB;
    let error = assemble(folder.path(), &disk).expect_err("an overflow").to_string();
    let expected = "\
the content does not fit into its partition: `root-a`
  partition        size (KiB)     used (KiB)     free (KiB)
  esp-a                  2048              5           2043
  esp-b                  2048              0           2048
  root-a                 2048           2049             -1  <- too small
  root-b                 3072              0           3072
  verity-a               1024              4           1020
  verity-b               1024              0           1024
  data                   4096           4096              0";
    assert_eq!(error, expected);
    assert!(!folder.path().join(DISK_IMAGE).exists());
}

#[test]
fn a_damaged_or_short_part_leaves_the_old_image() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = disk(folder.path());
    let before = assemble(folder.path(), &disk).expect("assembled").disk_image;
    for damaged in [root_bytes().split_off(1), {
        let mut bytes = root_bytes();
        bytes[9] ^= 1;
        bytes
    }] {
        file::write_atomic(&folder.path().join("root"), &damaged, 0o644).expect("written");
        let error = assemble(folder.path(), &disk).expect_err("damaged");
        assert!(matches!(error, DiskError::Damaged { .. }), "{error}");
    }
    assert_eq!(Digest::of(&file::read(&folder.path().join(DISK_IMAGE), 100 * MIB).expect("read")), before);
    let mut odd = disk;
    odd.parts[0].size_bytes += 512;
    assert!(matches!(layout(&odd), Err(DiskError::Size { .. })));
}

proptest! {
    #[test]
    fn block_ranges_are_sorted_apart_and_cover_their_bytes(
        ranges in proptest::collection::vec((0_u64..1_000_000, 0_u64..100_000), 0..20),
    ) {
        let image_bytes = 1_200_000;
        let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| start..start + length).collect();
        let blocks = bmap::blocks(&ranges, image_bytes);
        prop_assert!(blocks.windows(2).all(|pair| pair[0].end < pair[1].start));
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let covers = |b: &std::ops::Range<u64>| b.start * 4096 <= range.start && range.end <= b.end * 4096;
            prop_assert!(blocks.iter().any(covers));
        }
    }
}
