//! The few fields of an ext4 superblock that decide about checking and growing.
//!
//! Invariant: sizes that come out are bounded, so that nothing computed from them overflows.
//! Layout: Linux `Documentation/filesystems/ext4/super.rst`.

pub const SUPERBLOCK_OFFSET: u64 = 1024;
pub const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xef53;
const VALID: u16 = 1;
const ERRORS: u16 = 2;
const FEATURE_64BIT: u32 = 0x80;
/// 2^48 blocks: the format's own limit.
const LIMIT_BLOCKS: u64 = 1 << 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    pub block_bytes: u64,
    pub blocks: u64,
    /// Unmounted in order, or with a journal that will make it so, and no error was ever seen.
    pub clean: bool,
}

impl Superblock {
    /// From the bytes at [`SUPERBLOCK_OFFSET`]; none: it is no ext4 file system.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SUPERBLOCK_BYTES)?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let scale = u32_at(0x18);
        if u16_at(0x38) != MAGIC || scale > 6 {
            return None;
        }
        let high = if u32_at(0x60) & FEATURE_64BIT != 0 { u32_at(0x150) } else { 0 };
        let blocks = u64::from(high) << 32 | u64::from(u32_at(0x4));
        let state = u16_at(0x3a);
        let clean = state & VALID != 0 && state & ERRORS == 0;
        (1..=LIMIT_BLOCKS).contains(&blocks).then_some(Superblock { block_bytes: 1024 << scale, blocks, clean })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Vec<u8> {
        let mut bytes = vec![0; SUPERBLOCK_BYTES];
        bytes[0x4..0x8].copy_from_slice(&16384u32.to_le_bytes());
        bytes[0x18] = 2;
        bytes[0x38..0x3a].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[0x3a] = 1;
        bytes
    }

    #[test]
    fn size_and_state_are_read() {
        let wanted = Superblock { block_bytes: 4096, blocks: 16384, clean: true };
        assert_eq!(Superblock::parse(&example()), Some(wanted));
        for (state, clean) in [(0, false), (1, true), (2, false), (3, false)] {
            let mut bytes = example();
            bytes[0x3a] = state;
            assert_eq!(Superblock::parse(&bytes).map(|s| s.clean), Some(clean), "{state}");
        }
    }

    #[test]
    fn what_is_not_ext4_is_none() {
        for (at, value) in [(0x38, 0), (0x18, 7), (0x5, 0)] {
            let mut bytes = example();
            bytes[at] = value;
            assert_eq!(Superblock::parse(&bytes), None, "byte {at}");
        }
        assert_eq!(Superblock::parse(&[0; 100]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 1000..1100)) {
            bytes[0x38..0x3a].copy_from_slice(&MAGIC.to_le_bytes());
            if let Some(superblock) = Superblock::parse(&bytes) {
                prop_assert!(superblock.blocks.checked_mul(superblock.block_bytes).is_some());
            }
        }
    }
}
