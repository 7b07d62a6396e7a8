//! Any changes of a FAT file system, behind its boot sector and in it: a file comes out within limits or not at all.

use osbuild::image::esp::{read, volume_id, write};
use std::cell::RefCell;
use std::io::Cursor;

const SIZE_BYTES: usize = 5 << 20;
const PATH: &str = "EFI/BOOT/BOOTX64.EFI";
const CONTENT: [u8; 5000] = [9; 5000];

thread_local! {
    static IMAGE: RefCell<Vec<u8>> = RefCell::new(image());
}

/// Five bytes a change: where in three bytes, and what in two.
pub fn run(bytes: &[u8]) {
    let _ = read(bytes, PATH, 1 << 20);
    IMAGE.with_borrow_mut(|image| {
        let mut before = Vec::new();
        for change in bytes.chunks_exact(5) {
            let at = usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
            let at = at % (SIZE_BYTES - 1);
            before.push((at, [image[at], image[at + 1]]));
            image[at..at + 2].copy_from_slice(&change[3..]);
        }
        if let Ok(content) = read(image, PATH, 1 << 20) {
            assert!(content.len() <= 1 << 20, "the limit holds");
        }
        for (at, was) in before.iter().rev() {
            image[*at..at + 2].copy_from_slice(was);
        }
        debug_assert!(!before.is_empty() || read(image, PATH, 1 << 20).expect("sound") == CONTENT);
    });
}

fn image() -> Vec<u8> {
    let mut image = vec![0; SIZE_BYTES];
    write(Cursor::new(&mut image[..]), SIZE_BYTES as u64, volume_id(b"x"), &[(PATH, &CONTENT)]).expect("written");
    image
}

/// Changes of the fields that decide about sizes, of the tables, and of the folders.
pub fn seeds() -> Vec<Vec<u8>> {
    let image = image();
    let change = |at: usize, value: u16| [&at.to_be_bytes()[5..], &value.to_le_bytes()].concat();
    let fields = [11, 13, 14, 16, 17, 19, 22, 32, 36, 44].map(|at| change(at, 1)).concat();
    let folders: Vec<u8> = (0..SIZE_BYTES - 1)
        .step_by(32)
        .filter(|&at| image[at..].starts_with(b"BOOT") || image[at..].starts_with(b"EFI"))
        .flat_map(|at| [change(at + 11, 0x10), change(at + 26, 2), change(at + 28, 0xffff)].concat())
        .collect();
    vec![Vec::new(), fields, folders, change(512 + 4, 2), image[..512].to_vec()]
}
