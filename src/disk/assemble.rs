//! A disk's parts in, the three files that are flashed or booted out.
//!
//! Invariants: blocks of zeros are holes in `disk.img`; the block map covers every byte that must be on the
//! device, holes included, because dm-verity and file systems read those zeros.

use super::{bmap, compress, layout, Disk, DiskError, Part, Payload, BLOCK_MAP, COMPRESSED, DISK_IMAGE};
use crate::io::file::{self, at, Pending};
use crate::model::digest::Digester;
use crate::model::Digest;
use crate::tree::size::SlotUse;
use osbuild_format::gpt::{self, Layout, Partition, SECTOR_BYTES};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

const CHUNK_BYTES: usize = 1 << 20;
const BLOCK_BYTES: usize = bmap::BLOCK_BYTES as usize;
/// What the map takes of an empty partition: enough to wipe the start of any file system that a
/// reused card still holds there.
pub const WIPED_BYTES: u64 = 64 << 10;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    pub layout: Layout,
    pub disk_sectors: u64,
    pub disk_image: Digest,
    pub block_map: Digest,
    pub compressed: Digest,
    pub slots: Vec<SlotUse>,
}

/// Writes [`DISK_IMAGE`], [`BLOCK_MAP`] and [`COMPRESSED`] into `folder`, which must exist.
pub fn assemble(folder: &Path, disk: &Disk) -> Result<Assembled, DiskError> {
    let (layout, disk_sectors) = layout(disk)?;
    let path = folder.join(DISK_IMAGE);
    let mut pending = Pending::create(&path, 0o644)?;
    let image = &*pending.file();
    image.set_len(disk_sectors * SECTOR_BYTES).map_err(at("set the size of", &path))?;

    let table = gpt::encode(&layout, disk_sectors)?;
    let end_bytes = table.end_lba * SECTOR_BYTES;
    let disk_bytes = disk_sectors * SECTOR_BYTES;
    let mut mapped = vec![0..gpt::START_BYTES as u64, end_bytes..disk_bytes];
    write_at(image, &table.start, 0, &path)?;
    write_at(image, &table.end, end_bytes, &path)?;
    let mut slots = disk.slots();
    for ((part, partition), slot) in disk.parts.iter().zip(&layout.partitions).zip(&mut slots) {
        mapped.push(mapped_bytes(part, partition));
        if let Some(payload) = &part.content {
            let written_bytes = copy(payload, image, partition.start_bytes(), &path)?;
            // A file system as large as its partition is as full as it has blocks that are not zeros.
            if slot.used_bytes == slot.size_bytes {
                slot.used_bytes = written_bytes;
            }
        }
    }

    let zst = || compress::compress(image, disk_bytes, &folder.join(COMPRESSED));
    let digests =
        || rayon::join(|| digest(image, 0..disk_bytes, &path), || write_map(image, disk_bytes, &mapped, folder));
    let (synced, (compressed, (disk_image, block_map))) = std::thread::scope(|scope| {
        // The disk writes while the processors hash; a thread of its own, for it does nothing but wait.
        let sync = scope.spawn(|| image.sync_data());
        let results = rayon::join(zst, digests);
        (sync.join().expect("syncing does not panic"), results)
    });
    synced.map_err(at("sync", &path))?;
    let (compressed, disk_image, block_map) = (compressed?, disk_image?, block_map?);
    pending.commit()?;
    Ok(Assembled { layout, disk_sectors, disk_image, block_map, compressed, slots })
}

/// The bytes of the disk that must be written for `part`.
fn mapped_bytes(part: &Part, partition: &Partition) -> Range<u64> {
    let start = partition.start_bytes();
    let used_bytes = part.content.as_ref().map_or(WIPED_BYTES, |payload| payload.digest.size_bytes);
    start..start + used_bytes.min(partition.size_bytes())
}

/// Copies a payload, leaving out blocks of zeros, and checks it on the way; returns how many bytes it wrote.
fn copy(payload: &Payload, image: &File, start_bytes: u64, image_path: &Path) -> Result<u64, DiskError> {
    let mut source = file::open(&payload.path)?;
    let mut digester = Digester::default();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = start_bytes;
    let mut written_bytes = 0;
    // A source that grows while it is read must not run into the next partition.
    let mut left_bytes = payload.digest.size_bytes;
    while left_bytes > 0 {
        let wanted = usize::try_from(left_bytes).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let count = fill(&mut source, &mut buffer[..wanted]).map_err(at("read", &payload.path))?;
        if count == 0 {
            break;
        }
        let bytes = &buffer[..count];
        let (written, ()) = rayon::join(|| write_at(image, bytes, offset, image_path), || digester.update(bytes));
        written_bytes += written?;
        offset += count as u64;
        left_bytes -= count as u64;
    }
    if digester.finish() != payload.digest {
        return Err(DiskError::Damaged { path: payload.path.clone(), digest: payload.digest });
    }
    Ok(written_bytes)
}

/// Reads until the buffer is full or the file ends.
fn fill(source: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Writes runs of blocks that are not all zeros, for the file already reads as zeros; returns their bytes.
fn write_at(image: &File, bytes: &[u8], offset: u64, path: &Path) -> Result<u64, DiskError> {
    let mut written_bytes = 0;
    let mut flush = |run: &Range<usize>| {
        written_bytes += run.len() as u64;
        image.write_all_at(&bytes[run.clone()], offset + run.start as u64).map_err(at("write", path))
    };
    let mut run: Range<usize> = 0..0;
    for (index, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let start = index * BLOCK_BYTES;
        if is_zero(block) {
            flush(&run)?;
            run = start + block.len()..start + block.len();
        } else {
            run.end = start + block.len();
        }
    }
    flush(&run)?;
    Ok(written_bytes)
}

fn is_zero(block: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    block == &ZEROS[..block.len()]
}

/// The digest of a range of `image`.
fn digest(image: &File, range: Range<u64>, path: &Path) -> Result<Digest, DiskError> {
    let mut digester = Digester::default();
    read_chunks(image, range, path, |chunk| digester.update(chunk))?;
    Ok(digester.finish())
}

/// Hands the bytes of a range on, piece by piece.
pub(super) fn read_chunks(
    image: &File,
    range: Range<u64>,
    path: &Path,
    mut each: impl FnMut(&[u8]),
) -> Result<(), DiskError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = range.start;
    while offset < range.end {
        let count = usize::try_from(range.end - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        image.read_exact_at(&mut buffer[..count], offset).map_err(at("read", path))?;
        each(&buffer[..count]);
        offset += count as u64;
    }
    Ok(())
}

fn write_map(image: &File, disk_bytes: u64, mapped: &[Range<u64>], folder: &Path) -> Result<Digest, DiskError> {
    let path = folder.join(BLOCK_MAP);
    let blocks = bmap::blocks(mapped, disk_bytes);
    let mut ranges = Vec::new();
    for blocks in blocks {
        let bytes = blocks.start * bmap::BLOCK_BYTES..(blocks.end * bmap::BLOCK_BYTES).min(disk_bytes);
        ranges.push((blocks, digest(image, bytes, &path)?));
    }
    let text = bmap::write(disk_bytes, &ranges);
    file::write_atomic(&path, text.as_bytes(), 0o644)?;
    Ok(Digest::of(text.as_bytes()))
}
