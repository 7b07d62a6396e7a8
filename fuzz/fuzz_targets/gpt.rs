//! Any bytes at both ends of a disk: the readers answer or refuse, and growing never writes what they refuse.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osbuild_format::gpt::{grow, parse_backup, parse_exact, parse_primary};

fuzz_target!(|input: (&[u8], &[u8], u32)| {
    let (start, end, disk_sectors) = input;
    let disk_sectors = u64::from(disk_sectors);
    let _ = (parse_primary(start), parse_backup(end), parse_exact(start, end, disk_sectors));
    if let Ok(grown) = grow(start, end, disk_sectors) {
        if let Some(write) = grown.write {
            assert_eq!(parse_exact(&write.start, &write.end, disk_sectors), Ok(grown.layout));
        }
    }
});
