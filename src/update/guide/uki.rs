//! A unified kernel image in, a region for each of its sections out, and for each of the kernel's where it lies plain.
//!
//! Sources: the UAPI Group's "Unified Kernel Image"; Linux, `Documentation/arch/x86/boot.rst`; "LZ4 Block Format
//! Description". Invariant: a kernel that is compressed is one region.

use super::extent::Extents;
use super::{elf, Draft, GuideError, RegionKind};
use crate::image::pe::Pe;
use std::ops::Range;

const LZ4_LEGACY: u32 = 0x184c_2102;
/// 1 GiB of a kernel.
const LIMIT_BLOCKS: usize = 128;

/// Adds the regions of the program at `path`, which `extents` hold.
pub(super) fn sections(image: &[u8], path: &str, extents: &Extents, draft: &mut Draft) -> Result<(), GuideError> {
    let content = extents.content(image).ok_or(GuideError::Cut)?;
    let pe = Pe::parse(&content)?;
    let mut sections = pe.sections;
    sections.sort_by_key(|section| section.raw.start);
    let mut at = 0;
    for section in sections {
        let (start, end) = ((section.raw.start as u64).max(at), section.raw.end as u64);
        draft.part(path, extents, at..start, RegionKind::File, None);
        if start >= end {
            continue;
        }
        let name = format!("{path}#{}", section.name);
        match &section.name[..] {
            ".linux" => linux(image, &name, &content[start as usize..end as usize], &extents.part(start..end), draft),
            ".text" => draft.part(&name, extents, start..end, RegionKind::Code, Some(section.virtual_address.into())),
            _ => draft.part(&name, extents, start..end, RegionKind::Section, None),
        }
        at = end;
    }
    draft.part(path, extents, at..extents.size_bytes(), RegionKind::File, None);
    Ok(())
}

fn linux(image: &[u8], name: &str, bzimage: &[u8], extents: &Extents, draft: &mut Draft) {
    let Some(blocks) = stored(bzimage) else { return draft.cover(name, extents, RegionKind::Section) };
    let mut at = 0;
    let mut plain = Vec::new();
    for block in &blocks {
        draft.part(name, extents, at..block.start, RegionKind::Section, None);
        plain.extend(extents.places(block.clone()));
        at = block.end;
    }
    draft.part(name, extents, at..extents.size_bytes(), RegionKind::Section, None);
    elf::sections(image, &format!("{name}/vmlinux"), &Extents::new(plain), draft);
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

/// Where the kernel's bytes lie in a bzImage whose payload is a legacy frame of LZ4 with literals only.
fn stored(bzimage: &[u8]) -> Option<Vec<Range<u64>>> {
    if bzimage.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    // Fields `setup_sects`, `payload_offset` and `payload_length`.
    let setup = (number(bzimage, 0x1f1, 1)? + 1) * 512;
    let start = setup.checked_add(number(bzimage, 0x248, 4)?)?;
    // The last four bytes are the size of what is packed.
    let end = start.checked_add(number(bzimage, 0x24c, 4)?.checked_sub(4)?)?;
    let frame = bzimage.get(..end)?;
    if number(frame, start, 4)? != LZ4_LEGACY as usize {
        return None;
    }
    let mut blocks = Vec::new();
    let mut at = start + 4;
    while at < end {
        let block_end = (at + 4).checked_add(number(frame, at, 4)?)?;
        let literals = literals(frame.get(at + 4..block_end)?)?;
        blocks.push((block_end - literals) as u64..block_end as u64);
        at = block_end;
        if blocks.len() > LIMIT_BLOCKS {
            return None;
        }
    }
    Some(blocks)
}

/// How many bytes the literals have that a block of nothing else ends in.
fn literals(block: &[u8]) -> Option<usize> {
    let mut count = usize::from(block.first()? >> 4);
    let mut at = 1;
    if count == 15 {
        loop {
            let byte = *block.get(at)?;
            count = count.checked_add(usize::from(byte))?;
            at += 1;
            if byte != 255 {
                break;
            }
        }
    }
    (block.len() - at == count).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bzImage with nothing but `kernel`, in blocks of `block` bytes.
    pub fn bzimage(kernel: &[u8], block: usize) -> Vec<u8> {
        let mut frame = LZ4_LEGACY.to_le_bytes().to_vec();
        for literals in kernel.chunks(block) {
            let more = literals.len() - 15;
            frame.extend(((2 + more / 255 + literals.len()) as u32).to_le_bytes());
            frame.push(0xf0);
            frame.extend(vec![255; more / 255]);
            frame.push((more % 255) as u8);
            frame.extend(literals);
        }
        frame.extend((kernel.len() as u32).to_le_bytes());
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        image.extend(frame);
        image
    }

    #[test]
    fn a_stored_kernel_is_found_in_its_blocks() {
        let kernel: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        let image = bzimage(&kernel, 400);
        let blocks = stored(&image).expect("stored");
        let found: Vec<u8> = blocks.iter().flat_map(|b| &image[b.start as usize..b.end as usize]).copied().collect();
        assert_eq!((blocks.len(), found), (3, kernel));
        let mut packed = image.clone();
        // The first block's literals are fewer than it holds: something else follows.
        packed[1024 + 8] = 0x10;
        assert_eq!(stored(&packed), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..1500, value: u8, cut in 0usize..2100) {
            let mut image = bzimage(&[7; 1000], 300);
            image[at] = value;
            image.truncate(2100 - cut / 4);
            for block in stored(&image).unwrap_or_default() {
                prop_assert!(block.start <= block.end && block.end <= image.len() as u64);
            }
        }
    }
}
