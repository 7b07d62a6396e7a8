//! Files in, the EFI system partition of a slot out: a FAT file system that holds them and nothing else.
//!
//! Invariant: equal files, size and volume id give equal bytes; there is no clock in it.

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use sha2::{Digest, Sha256};
use std::io::{Read, Seek, Write};

const LABEL: [u8; 11] = *b"ESP        ";
/// FAT32 needs at least 65,525 clusters (Microsoft's "FAT: General Overview", "FAT Type Determination").
const FAT32_BYTES: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum EspError {
    #[error("the files for the EFI system partition have {needed_bytes} bytes, the partition has {size_bytes}: make `partitions.esp` of the machine larger")]
    Overflow { needed_bytes: u64, size_bytes: u64 },
    #[error("cannot write the file system of the EFI system partition")]
    Write(#[source] std::io::Error),
    #[error("cannot read `{path}` in the EFI system partition")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` in the EFI system partition is larger than {limit_bytes} bytes")]
    TooLarge { path: String, limit_bytes: u64 },
}

/// The volume id that belongs to `identity`.
pub fn volume_id(identity: &[u8]) -> u32 {
    let hash = Sha256::digest([b"osbuild esp volume ", identity].concat());
    u32::from_le_bytes(hash[..4].try_into().expect("4 bytes"))
}

/// Fills `target`, which is empty and `size_bytes` long, with `files` by their paths (`EFI/BOOT/X`).
pub fn write<T: Read + Write + Seek>(
    mut target: T,
    size_bytes: u64,
    volume_id: u32,
    files: &[(&str, &[u8])],
) -> Result<(), EspError> {
    let needed_bytes: u64 = files.iter().map(|(_, content)| content.len() as u64).sum();
    // The tables and folders take less than an eighth.
    if needed_bytes > size_bytes - size_bytes / 8 {
        return Err(EspError::Overflow { needed_bytes, size_bytes });
    }
    let kind = if size_bytes >= FAT32_BYTES { FatType::Fat32 } else { FatType::Fat16 };
    let options = FormatVolumeOptions::new().volume_id(volume_id).volume_label(LABEL).fat_type(kind);
    fatfs::format_volume(&mut target, options).map_err(EspError::Write)?;
    let system = FileSystem::new(&mut target, FsOptions::new()).map_err(EspError::Write)?;
    for (path, content) in files {
        let mut folder = system.root_dir();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                folder = folder.create_dir(part).map_err(EspError::Write)?;
            } else {
                let mut file = folder.create_file(part).map_err(EspError::Write)?;
                file.write_all(content).map_err(EspError::Write)?;
                file.flush().map_err(EspError::Write)?;
            }
        }
    }
    system.unmount().map_err(EspError::Write)
}

/// The content of `path` in a file system from outside.
pub fn read<T: Read + Write + Seek>(source: T, path: &str, limit_bytes: u64) -> Result<Vec<u8>, EspError> {
    let failed = |source| EspError::Read { path: path.to_owned(), source };
    let system = FileSystem::new(source, FsOptions::new()).map_err(failed)?;
    let file = system.root_dir().open_file(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limit_bytes {
        true => Err(EspError::TooLarge { path: path.to_owned(), limit_bytes }),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    const SIZE: usize = 8 << 20;

    fn example() -> Vec<u8> {
        let mut image = vec![0; SIZE];
        write(Cursor::new(&mut image[..]), SIZE as u64, volume_id(b"x"), &[("EFI/BOOT/BOOTX64.EFI", &[7; 100_000])])
            .expect("written");
        image
    }

    #[test]
    fn what_is_written_is_read_and_the_bytes_are_always_the_same() {
        let mut image = example();
        assert_eq!(image, example());
        let content = read(Cursor::new(&mut image[..]), "EFI/BOOT/BOOTX64.EFI", 1 << 20).expect("read");
        assert_eq!(content, [7; 100_000]);
    }

    #[test]
    fn an_overflow_names_both_sizes() {
        let error = write(Cursor::new(vec![0; SIZE]), SIZE as u64, 1, &[("A", &vec![0; SIZE])]).expect_err("too large");
        assert!(error.to_string().contains("8388608 bytes"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_damage_makes_it_panic(at in 0usize..70_000, value: u8) {
            let mut image = example();
            image[at] = value;
            let _ = read(Cursor::new(&mut image[..]), "EFI/BOOT/BOOTX64.EFI", 1 << 20);
        }
    }
}
