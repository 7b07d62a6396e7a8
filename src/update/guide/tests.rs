//! A small file system by hand, whole and damaged; and images that the builder made, judged by its own tools.

use super::*;
use crate::image::erofs::Placed;
use crate::image::pe;
use proptest::prelude::*;

const BLOCK: usize = 4096;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A compact inode: layout, mode, size, first block.
fn inode(image: &mut [u8], number: usize, layout: u16, mode: u16, size: u32, block: u32) {
    let at = BLOCK + number * 32;
    put(image, at, &(layout << 1).to_le_bytes());
    put(image, at + 4, &mode.to_le_bytes());
    put(image, at + 8, &size.to_le_bytes());
    put(image, at + 16, &block.to_le_bytes());
}

/// The root with `a` (a block and 100 bytes behind its inode), `b` in two chunks apart, and the folder `d` with `c`.
fn example() -> Vec<u8> {
    let mut image = vec![0; 10 * BLOCK];
    put(&mut image, 1024, &0xe0f5_e1e2u32.to_le_bytes());
    image[1024 + 12] = 12;
    put(&mut image, 1024 + 40, &1u32.to_le_bytes());
    image[1024 + 80] = 4;
    let folder = |image: &mut [u8], at: usize, entries: &[(&str, u64)]| {
        let mut name_at = entries.len() * 12;
        for (index, (name, number)) in entries.iter().enumerate() {
            put(image, at + index * 12, &number.to_le_bytes());
            put(image, at + index * 12 + 8, &(name_at as u16).to_le_bytes());
            put(image, at + name_at, name.as_bytes());
            name_at += name.len();
        }
        name_at as u32
    };
    let size = folder(&mut image, 2 * BLOCK, &[(".", 0), ("..", 0), ("a", 10), ("b", 20), ("d", 30)]);
    inode(&mut image, 0, 0, 0o040755, size, 2);
    inode(&mut image, 10, 2, 0o100644, BLOCK as u32 + 100, 3);
    inode(&mut image, 20, 4, 0o100644, 2 * BLOCK as u32, 0);
    put(&mut image, BLOCK + 21 * 32, &[6, 0, 0, 0, 4, 0, 0, 0]);
    let size = folder(&mut image, 5 * BLOCK, &[(".", 30), ("..", 0), ("c", 40), ("hard", 10)]);
    inode(&mut image, 30, 0, 0o040755, size, 5);
    inode(&mut image, 40, 0, 0o100644, 5000, 7);
    image
}

#[test]
fn files_are_found_where_they_lie() {
    let placed = placed(&example()).expect("sound");
    let pairs = |file: &Placed| file.extents.iter().map(|extent| (extent.start, extent.end)).collect::<Vec<_>>();
    let found: Vec<_> = placed.iter().map(|file| (&file.path[..], file.kind, pairs(file))).collect();
    let block = |number: u64| number * BLOCK as u64;
    let tail = block(1) + 11 * 32;
    assert_eq!(
        found,
        [
            ("", PlacedKind::Folder, vec![(block(2), block(2) + 66)]),
            ("a", PlacedKind::File, vec![(block(3), block(4)), (tail, tail + 100)]),
            ("b", PlacedKind::File, vec![(block(6), block(7)), (block(4), block(5))]),
            ("d", PlacedKind::Folder, vec![(block(5), block(5) + 56)]),
            ("d/c", PlacedKind::File, vec![(block(7), block(7) + 5000)]),
        ]
    );
    assert_eq!(placed[1].inode, block(1) + 320..tail);
}

#[test]
fn compressed_file_systems_are_refused() {
    let mut image = example();
    image[1024 + 80] = 1;
    assert!(matches!(Guide::of_root(&image), Err(GuideError::Root(ErofsError::Unknown(_)))));
    let mut image = example();
    put(&mut image, BLOCK + 40 * 32, &(3u16 << 1).to_le_bytes());
    assert!(matches!(Guide::of_root(&image), Err(GuideError::Root(ErofsError::Unknown(_)))));
}

fn assert_ordered(guide: &Guide, image_bytes: usize) {
    let mut end = 0;
    for region in &guide.regions {
        assert!(region.offset >= end && region.length > 0, "{region:?} starts before {end}");
        end = region.offset + region.length;
    }
    assert!(end <= image_bytes as u64);
}

/// This test's own program: an ELF file with all kinds of sections.
#[test]
fn a_program_has_its_sections() {
    let path = std::env::current_exe().expect("a path");
    let program = crate::io::file::read(&path, 1 << 30).expect("read");
    let mut draft = Draft::new(ImageName::Root);
    let cut = program.len() as u64 / 2 / 4096 * 4096;
    // In two pieces, with a block between them.
    let extents = Extents::new(vec![0..cut, cut + 4096..program.len() as u64 + 4096]);
    let image = [&program[..cut as usize], &[0; 4096], &program[cut as usize..]].concat();
    elf::sections(&image, "p", &extents, &mut draft);
    let guide = draft.finish(image.len() as u64);
    assert_ordered(&guide, image.len());
    assert_eq!(guide.regions.iter().map(|region| region.length).sum::<u64>(), program.len() as u64);
    let has = |name: &str, kind| guide.regions.iter().any(|region| region.name == name && region.kind == kind);
    assert!(
        has("p#.text", RegionKind::Code) && has("p#.rodata", RegionKind::ReadOnly) && has("p#.data", RegionKind::Data)
    );
    assert!(has("p#.rela.dyn", RegionKind::Relocations) && has("p#.dynamic", RegionKind::Dynamic));
    assert!(has("p#.symtab", RegionKind::Symbols) && has("p", RegionKind::File));
}

#[test]
fn an_esp_has_the_sections_of_its_kernel_image() {
    let uki = pe::append(&pe::tests::example(), &[(".cmdline", b"quiet"), (".linux", &[7; 5000])]).expect("appended");
    let mut esp = std::io::Cursor::new(vec![0; 8 << 20]);
    esp::write(&mut esp, 8 << 20, 1, &[("EFI/BOOT/BOOTX64.EFI", &uki)]).expect("written");
    let esp = esp.into_inner();
    let guide = Guide::of_esp(&esp).expect("sound");
    assert_ordered(&guide, esp.len());
    let linux = guide.regions.iter().find(|region| region.name.ends_with("#.linux")).expect("there");
    assert_eq!(esp[linux.offset as usize..][..5000], [7; 5000]);
    assert_eq!(guide.regions.iter().map(|region| region.length).sum::<u64>(), uki.len() as u64);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(changes in prop::collection::vec((0usize..3 * BLOCK, any::<u8>()), 1..6), cut in 0usize..2) {
        let mut image = example();
        for (at, value) in changes {
            // The bytes that say something.
            let at = [1024, BLOCK, BLOCK + 320, BLOCK + 640, 2 * BLOCK, 5 * BLOCK][at % 6] + at / 6 % 96;
            image[at] = value;
        }
        image.truncate(10 * BLOCK - cut * 2 * BLOCK);
        if let Ok(guide) = Guide::of_root(&image) {
            assert_ordered(&guide, image.len());
        }
    }
}
