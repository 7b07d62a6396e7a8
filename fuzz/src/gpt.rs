//! Any bytes at both ends of a disk: the readers answer or refuse, and growing never writes what they refuse.

use osbuild_format::gpt::{encode, grow, parse_backup, parse_exact, parse_primary, types};
use osbuild_format::gpt::{Guid, Layout, Partition, END_BYTES, START_BYTES};

/// The disk's sectors in four bytes, a byte that says whether checksums are set right, the start, and the end.
pub fn run(bytes: &[u8]) {
    let Some((&[a, b, c, d, repaired], rest)) = bytes.split_first_chunk() else { return };
    let disk_sectors = u64::from(u32::from_be_bytes([a, b, c, d]));
    let (start, end) = rest.split_at(rest.len().min(START_BYTES));
    let mut start = start.to_vec();
    if repaired & 1 == 1 && start.len() == START_BYTES {
        repair(&mut start);
    }
    if let Ok(table) = parse_primary(&start) {
        assert!(table.layout.check(table.disk_sectors).is_ok(), "what is read keeps the rules");
    }
    let _ = (parse_backup(end), parse_exact(&start, end, disk_sectors));
    if let Ok(grown) = grow(&start, end, disk_sectors) {
        if let Some(write) = grown.write {
            assert_eq!(parse_exact(&write.start, &write.end, disk_sectors), Ok(grown.layout));
        }
    }
}

/// What an attacker would do: the checksums of the header and of the entries fit.
pub fn repair(start: &mut [u8]) {
    let entries = crc32fast::hash(&start[1024..START_BYTES]);
    start[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
    start[512 + 16..512 + 20].fill(0);
    let header = crc32fast::hash(&start[512..512 + 92]);
    start[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
}

pub fn seeds() -> Vec<Vec<u8>> {
    let partition = |(index, name): (u64, &str)| {
        let (first_lba, guid) = (2048 * (index + 1), Guid([index as u8 + 1; 16]));
        Partition {
            type_guid: types::ESP,
            guid,
            name: name.into(),
            first_lba,
            last_lba: first_lba + 2047,
            attributes: 0,
        }
    };
    let partitions = (0..).zip(["esp-a", "root-a", "data"]).map(partition).collect();
    let sectors = 10 * 2048_u64;
    let table = encode(&Layout { disk_guid: Guid([9; 16]), partitions }, sectors).expect("a valid layout");
    let input = |sectors: u64, repaired: u8, end: &[u8]| {
        [&(sectors as u32).to_be_bytes()[..], &[repaired], &table.start, end].concat()
    };
    vec![input(sectors, 0, &table.end), input(sectors, 1, &table.end), input(2 * sectors, 1, &[0; END_BYTES])]
}
