//! A boot option, such as `Boot0003`, as the firmware keeps it: name, partition and file to bytes, and back.
//!
//! Source: UEFI 2.10, sections 3.1.3 (load options), 10.3.5.1 (hard drive) and 10.3.5.4 (file path). Invariant: an option that
//! was made here and one that is read back have the same bytes, so a comparison tells whether it has to be written.

use osbuild_format::gpt::{Guid, Partition};

/// Longer ones are none of ours.
pub const LIMIT_BYTES: usize = 4096;

const ACTIVE: u32 = 1;
const HARD_DRIVE: [u8; 4] = [4, 1, 42, 0];
const FILE_PATH: [u8; 2] = [4, 4];
const END: [u8; 4] = [0x7f, 0xff, 4, 0];
/// The table is a GPT, and the signature the partition's GUID.
const GPT_BY_GUID: [u8; 2] = [2, 2];

/// Where the firmware looks on a medium that it does not know (section 3.5.1.1).
#[cfg(target_arch = "aarch64")]
pub const FILE: &str = "\\EFI\\BOOT\\BOOTAA64.EFI";
#[cfg(not(target_arch = "aarch64"))]
pub const FILE: &str = "\\EFI\\BOOT\\BOOTX64.EFI";

/// The option `name` that starts [`FILE`] from partition `number`, counted from 1.
pub fn encode(name: &str, number: u32, partition: &Partition) -> Vec<u8> {
    let file = utf16(FILE);
    let mut path = HARD_DRIVE.to_vec();
    path.extend(number.to_le_bytes());
    path.extend(partition.first_lba.to_le_bytes());
    path.extend(partition.sectors().to_le_bytes());
    path.extend(partition.guid.0);
    path.extend(GPT_BY_GUID);
    path.extend(FILE_PATH);
    path.extend(length(file.len() + 4));
    path.extend(file);
    path.extend(END);
    let mut option = ACTIVE.to_le_bytes().to_vec();
    option.extend(length(path.len()));
    option.extend(utf16(name));
    option.extend(path);
    option
}

/// Its name, and the partition that it begins its search in, if it names one.
pub fn parse(option: &[u8]) -> Option<(String, Option<Guid>)> {
    let rest = option.get(6..).filter(|_| option.len() <= LIMIT_BYTES)?;
    let units: Vec<u16> = rest.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let end = units.iter().position(|unit| *unit == 0)?;
    let name = char::decode_utf16(units[..end].iter().copied()).collect::<Result<String, _>>().ok()?;
    let path = &rest[(end + 1) * 2..];
    let guid = path.strip_prefix(&HARD_DRIVE).and_then(|node| {
        let by_guid = node.get(36..38)? == GPT_BY_GUID;
        let guid = node.get(20..36)?.try_into().ok()?;
        by_guid.then_some(Guid(guid))
    });
    Some((name, guid))
}

/// All that is encoded here is short.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use osbuild_format::gpt::types;
    use proptest::prelude::*;

    fn partition() -> Partition {
        let guid = "00112233-4455-6677-8899-aabbccddeeff".parse().expect("a GUID");
        Partition { type_guid: types::ESP, guid, name: "esp-b".into(), first_lba: 2048, last_lba: 4095, attributes: 0 }
    }

    /// As efibootmgr of other people writes it: fields in the order of the specification, all little-endian.
    #[test]
    fn an_option_has_the_bytes_of_the_specification() {
        let option = encode("x", 2, &partition());
        let file: Vec<u8> = FILE.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let file_length = u8::try_from(file.len() + 4).expect("short");
        let path_length = 42 + file_length + 4;
        let mut wanted = vec![1, 0, 0, 0, path_length, 0, b'x', 0, 0, 0, 4, 1, 42, 0, 2, 0, 0, 0];
        wanted.extend([0, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0]);
        let guid = [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        wanted.extend(guid);
        wanted.extend([2, 2, 4, 4, file_length, 0]);
        wanted.extend(file);
        wanted.extend([0x7f, 0xff, 4, 0]);
        assert_eq!(option, wanted);
        assert_eq!(parse(&option), Some(("x".into(), Some(partition().guid))));
    }

    #[test]
    fn options_of_others_are_read_as_far_as_they_go() {
        let other = [&[1, 0, 0, 0, 4, 0][..], &utf16("UEFI Disk"), &END].concat();
        assert_eq!(parse(&other), Some(("UEFI Disk".into(), None)));
        assert_eq!(parse(&other[..10]), None, "a name without an end");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
