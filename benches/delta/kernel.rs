//! A packaged Linux kernel in, the plain vmlinux that it unpacks, and an ESP with that vmlinux out.
//!
//! Sources: Linux' `Documentation/arch/x86/boot.rst`, "LZ4 Block Format Description", "LZ4 Frame Format Description" (legacy frame), Microsoft's "PE Format".
//! Invariant: equal kernels give equal bytes. The ESP lays the kernel out as this project's do (an LZ4 frame that only stores,
//! decision 0019), but nothing in it boots.

use osbuild::image::{esp, pe};
use std::io::{Cursor, Read};

const XZ: &[u8] = b"\xfd7zXZ\0";
const LZ4_LEGACY: u32 = 0x184c_2102;
const BLOCK_BYTES: usize = 8 << 20;
/// What comes before the packed kernel.
const LIMIT_SETUP_BYTES: usize = 100_000;
const LIMIT_BYTES: u64 = 512 << 20;
const HEADER_BYTES: usize = 0x400;

/// What the `vmlinuz` of a package unpacks.
pub fn vmlinux(vmlinuz: &[u8]) -> Vec<u8> {
    let find = |magic: &[u8], within: usize| vmlinuz[..within].windows(magic.len()).position(|bytes| bytes == magic);
    let lz4 = find(&LZ4_LEGACY.to_le_bytes(), vmlinuz.len().min(LIMIT_SETUP_BYTES));
    let plain = match (lz4, find(XZ, vmlinuz.len())) {
        (Some(start), _) => unpack_lz4(&vmlinuz[start + 4..]),
        (None, Some(start)) => {
            let mut plain = Vec::new();
            let mut reader = liblzma::read::XzDecoder::new(&vmlinuz[start..]).take(LIMIT_BYTES);
            reader.read_to_end(&mut plain).expect("the kernel unpacks");
            plain
        }
        (None, None) => panic!("the kernel is compressed neither by LZ4 nor by xz: name others in the pair"),
    };
    assert!(plain.starts_with(b"\x7fELF"), "what the kernel unpacks is no ELF");
    plain
}

/// The blocks of a frame; the first that is not full is the last.
fn unpack_lz4(mut frame: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    loop {
        let (length, rest) = frame.split_first_chunk().expect("a length");
        let (block, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let before = plain.len();
        unpack_block(block, &mut plain);
        frame = rest;
        if plain.len() - before < BLOCK_BYTES {
            return plain;
        }
    }
}

/// Sequences of literals and a match; the last has no match.
fn unpack_block(block: &[u8], plain: &mut Vec<u8>) {
    let mut at = 0;
    while at < block.len() {
        let token = block[at];
        at += 1;
        let literals = length(block, &mut at, token >> 4);
        plain.extend(&block[at..at + literals]);
        at += literals;
        if at == block.len() {
            return;
        }
        let back = usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
        at += 2;
        let matched = length(block, &mut at, token & 15) + 4;
        assert!((1..=plain.len()).contains(&back), "a match begins before the kernel");
        // It may repeat what it has just copied.
        for _ in 0..matched {
            plain.push(plain[plain.len() - back]);
        }
    }
}

/// A nibble of 15 goes on in bytes, of which the last is not 255.
fn length(block: &[u8], at: &mut usize, nibble: u8) -> usize {
    let mut length = usize::from(nibble);
    let mut more = nibble == 15;
    while more {
        length += usize::from(block[*at]);
        more = block[*at] == 255;
        *at += 1;
    }
    length
}

/// An ESP whose only program is a PE of one section, `.linux`.
pub fn esp(vmlinux: &[u8]) -> Vec<u8> {
    let uki = pe::append(&program(), &[(".linux", &linux(vmlinux))]).expect("appended");
    // As much room as the tables take, in whole MiB.
    let size = ((uki.len() as u64 * 9 / 8 + (4 << 20)) >> 20) << 20;
    let mut image = Cursor::new(vec![0; size as usize]);
    esp::write(&mut image, size, 7, &[("EFI/BOOT/BOOTX64.EFI", &uki)]).expect("written");
    image.into_inner()
}

/// The image of a kernel for x86: setup, then the frame, whose blocks are one run of literals each.
fn linux(vmlinux: &[u8]) -> Vec<u8> {
    let mut frame = LZ4_LEGACY.to_le_bytes().to_vec();
    for block in vmlinux.chunks(BLOCK_BYTES) {
        let more = block.len().checked_sub(15).expect("a kernel ends in a block of 15 bytes or more");
        let length = 2 + more / 255 + block.len();
        frame.extend((length as u32).to_le_bytes());
        frame.push(0xf0);
        frame.extend(std::iter::repeat_n(0xff, more / 255));
        frame.push((more % 255) as u8);
        frame.extend(block);
    }
    frame.extend((vmlinux.len() as u32).to_le_bytes());
    let mut setup = vec![0; HEADER_BYTES];
    setup[0x1f1] = 1;
    setup[0x202..0x206].copy_from_slice(b"HdrS");
    // `payload_length`; `payload_offset` is 0.
    setup[0x24c..0x250].copy_from_slice(&(frame.len() as u32).to_le_bytes());
    [setup, frame].concat()
}

/// A PE without sections.
fn program() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &0x8664_u16.to_le_bytes());
    // The size of the optional header, and flags: executable, large addresses.
    put(0x54, &240_u16.to_le_bytes());
    put(0x56, &0x22_u16.to_le_bytes());
    let optional = 0x58;
    put(optional, &0x20b_u16.to_le_bytes());
    // Alignment in memory and in the file, size of the image, of the headers, number of directories.
    for (at, value) in [(32, 0x1000_u32), (36, 0x200), (56, 0x1000), (60, HEADER_BYTES as u32), (108, 16)] {
        put(optional + at, &value.to_le_bytes());
    }
    bytes
}
